"""Grids of blocks, on the host; see `vim_jax.grids`."""

from typing import no_type_check

import numpy as np

from vim_jax.data.compiled import compiled, helper
from vim_jax.grids import FACTOR_BITS

_LOW = (1 << FACTOR_BITS) - 1


@no_type_check
@helper
def lengths(extent, size, count):
    """Returns how much of each block lies inside the image, int64 `count`.

    Args:
      extent: of the image along the axis, in pixels.
      size: of the blocks, in pixels.
      count: number of blocks.
    """
    found = np.empty(count, np.int64)
    for k in range(count):
        found[k] = min(max(extent - k * size, 0), size)
    return found


@no_type_check
@helper
def squared(difference):
    """Returns the square of a difference of means, in energy units."""
    return difference * difference >> 16


@no_type_check
@helper
def grid_energies(deviations, mean, heights, widths, copies, spread, energy):
    """Computes what blocks add to the energy of a plan in which each is a region.

    Args:
      deviations: int64 `rows cols`.
      mean: integers `planes rows cols`, or more of both.
      heights: int64 `rows+1`.
      widths: int64 `cols+1`.
      copies: number of channels that one plane stands for.
      spread: int64 `rows cols`, to be filled: by what the variance of each block adds.
      energy: int64 `rows cols`, to be filled: by that, and the steps to the blocks
        right of it and below it.
    """
    rows, cols = deviations.shape
    planes = mean.shape[0]
    last, factor = (0, 0, 0), 0  # Most blocks are like the one before.
    for i in range(rows):
        for j in range(cols):
            h, w = heights[i], widths[j]
            down, right = heights[i + 1] > 0, widths[j + 1] > 0
            border = ((j > 0) + right) * h + ((i > 0) + down) * w
            if (h, w, border) != last:
                last = h, w, border
                area = h * w
                inside = copies * (2 * area - h - w)
                factor = (2 * inside << FACTOR_BITS) // max(area * copies - 1, 1)
                factor += (border << FACTOR_BITS) // max(area, 1)
            high, low = deviations[i, j] >> FACTOR_BITS, deviations[i, j] & _LOW
            spread[i, j] = high * factor + (low * factor >> FACTOR_BITS)
            steps = 0
            for p in range(planes):
                here = np.int64(mean[p, i, j])
                if down:
                    steps += squared(here - mean[p, i + 1, j]) * w
                if right:
                    steps += squared(here - mean[p, i, j + 1]) * h
            energy[i, j] = spread[i, j] + copies * steps


@no_type_check
@compiled
def uniform_energies(mean, deviations, height, width, unit, sizes, copies):
    """Returns the energies of uniform grids, int64 `grids`.

    Args:
      mean: int32 `planes rows cols` of the blocks of one unit, which cover the image.
      deviations: int64 `rows cols`.
      height: of the image, in pixels.
      width: of the image, in pixels.
      unit: in pixels.
      sizes: of the grids' regions in units, in order, integers `grids`.
      copies: see `grid_energies`.
    """
    planes, rows, cols = mean.shape
    table = _sums(mean, deviations, height, width, unit, copies)
    energies = np.empty(sizes.size, np.int64)
    down, right = -(-rows // sizes[0]), -(-cols // sizes[0])  # Regions, at most.
    means = np.empty((planes, down + 1, right + 1), np.int32)
    rest = np.empty((down, right), np.int64)
    spread = np.empty((down, right), np.int64)
    energy = np.empty((down, right), np.int64)
    for grid in range(sizes.size):
        side = sizes[grid]
        size = min(side * unit, max(height, width))
        heights = lengths(height, size, down + 1)
        widths = lengths(width, size, right + 1)
        for i in range(down + 1):
            top, bottom = min(side * i, rows), min(side * (i + 1), rows)
            for j in range(right + 1):
                first, last = min(side * j, cols), min(side * (j + 1), cols)
                count = max(heights[i] * widths[j], 1)
                squares = 0
                for p in range(planes + 1):
                    x = table[p]
                    total = x[bottom, last] - x[top, last]
                    total += x[top, first] - x[bottom, first]
                    if p < planes:
                        means[p, i, j] = total // count
                        squares += count * squared(total // count)
                    elif i < down and j < right:
                        rest[i, j] = max(total - copies * squares, 0)
        grid_energies(rest, means, heights, widths, copies, spread, energy)
        total = 0
        for i in range(down):
            for j in range(right):
                total += energy[i, j]
        energies[grid] = total
    return energies


@no_type_check
@helper
def _sums(mean, deviations, height, width, unit, copies):
    """Returns sums over all blocks above and left of each corner of blocks.

    int64 `planes+1 rows+1 cols+1`: of means times area, and, last, of squares.

    Args:
      mean: see `uniform_energies`, as the following.
      deviations: int64 `rows cols`.
      height: of the image, in pixels.
      width: of the image, in pixels.
      unit: in pixels.
      copies: see `grid_energies`.
    """
    planes, rows, cols = mean.shape
    table = np.zeros((planes + 1, rows + 1, cols + 1), np.int64)
    for p in range(planes):
        # Centred, so that means and squares lose nothing when they are summed.
        total = 0
        for i in range(rows):
            for j in range(cols):
                total += mean[p, i, j] * _area(i, j, height, width, unit)
        centre = total // (height * width)
        for i in range(rows):
            for j in range(cols):
                area = _area(i, j, height, width, unit)
                centred = mean[p, i, j] - centre
                table[p, i + 1, j + 1] = centred * area
                table[planes, i + 1, j + 1] += copies * area * squared(centred)
    for i in range(rows):
        for j in range(cols):
            table[planes, i + 1, j + 1] += deviations[i, j]
    for i in range(1, rows + 1):
        for j in range(1, cols + 1):
            for p in range(planes + 1):
                table[p, i, j] += table[p, i - 1, j] + table[p, i, j - 1]
                table[p, i, j] -= table[p, i - 1, j - 1]
    return table


@no_type_check
@helper
def _area(i, j, height, width, unit):
    """Returns how many pixels of a block lie inside the image."""
    return min(unit, height - i * unit) * min(unit, width - j * unit)
