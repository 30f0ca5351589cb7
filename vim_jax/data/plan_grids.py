"""Grids of blocks, on the host; see `vim_jax.grids`."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from vim_jax.grids import FACTOR_BITS, MOST, UNITS
from vim_jax.moments import squared


class Blocks(NamedTuple):
    """The moments of a grid of blocks, see `vim_jax.grids.Blocks`."""

    mean: Int32[np.ndarray, "planes *n rows cols"]
    deviations: Int64[np.ndarray, "*n rows cols"]


def sum_over_planes(
    function: Callable[..., np.ndarray], *arrays: np.ndarray
) -> np.ndarray:
    """Returns the sum over planes of a function of one plane of each array.

    One after the other: what is computed of a plane fits a cache.
    """
    first, *rest = zip(*arrays, strict=True)
    total = function(*first)
    for planes in rest:
        total += function(*planes)
    return total


def paired(x: np.ndarray, axis: int) -> np.ndarray:
    """Returns sums of two neighbours each, from the first; the last may be alone.

    Args:
      x: `... rows cols`.
      axis: -2 for two rows, -1 for two columns.
    """
    after = (slice(None),) * (-1 - axis)
    sums = x[..., 0::2, *after].copy()
    sums[..., : x.shape[axis] // 2, *after] += x[..., 1::2, *after]
    return sums


def block_lengths(extent: int, step, count: int) -> np.ndarray:
    """Returns how much of each block lies inside the image, `... count`.

    Args:
      extent: size of the image along the axis.
      step: size of the blocks, integer or `... 1`.
      count: number of blocks.
    """
    return np.minimum(np.maximum(extent - np.arange(count) * step, 0), step)


def spread_energy(
    deviations: np.ndarray, heights: np.ndarray, widths: np.ndarray, copies: int
) -> np.ndarray:
    """Returns what the variance of each block adds to the energy.

    Args:
      deviations: int64 `... rows cols`.
      heights: int64 `... rows+1`.
      widths: int64 `... cols+1`.
      copies: number of channels that one plane stands for.
    """

    def neighbours(lengths):
        after = lengths[..., 1:] > 0
        return (np.arange(after.shape[-1]) > 0).astype(np.int64) + after

    h, w = heights[..., :-1, None], widths[..., None, :-1]
    area = h * w
    inside = copies * (2 * area - h - w)
    border = neighbours(widths)[..., None, :] * h + neighbours(heights)[..., None] * w
    factor = (2 * inside << FACTOR_BITS) // np.maximum(area * copies - 1, 1)
    factor += (border << FACTOR_BITS) // np.maximum(area, 1)
    high, low = deviations >> FACTOR_BITS, deviations & (2**FACTOR_BITS - 1)
    return high * factor + (low * factor >> FACTOR_BITS)


def step_energy(
    mean: np.ndarray, heights: np.ndarray, widths: np.ndarray, copies: int
) -> np.ndarray:
    """Returns the steps from each block to those right of it and below it.

    Args:
      mean: integers `planes ... rows+1 cols+1`.
      heights: int64 `... rows+1`.
      widths: int64 `... cols+1`.
      copies: number of channels that one plane stands for.
    """
    below = (heights[..., 1:, None] > 0) * widths[..., None, :-1] * copies
    beside = (widths[..., None, 1:] > 0) * heights[..., :-1, None] * copies

    def steps(plane):
        here = plane[..., :-1, :-1]
        down = squared((here - plane[..., 1:, :-1]).astype(np.int64))
        right = squared((here - plane[..., :-1, 1:]).astype(np.int64))
        down *= below
        right *= beside
        down += right
        return down

    return sum_over_planes(steps, mean)


def merged(
    blocks: Blocks, heights: np.ndarray, widths: np.ndarray, copies: int
) -> Blocks:
    """Returns the blocks of twice the size.

    Args:
      blocks: those of now.
      heights: int64 `rows+1`.
      widths: int64 `cols+1`.
      copies: number of channels that one plane stands for.
    """
    rows, cols = blocks.deviations.shape[-2:]
    down, right = rows % 2, cols % 2
    heights, widths = heights[: rows + down], widths[: cols + right]
    mean = extended(blocks.mean, down, right)

    def weights(lengths):
        first, second = lengths[0::2], lengths[1::2]
        both = first + second
        return (second << 30) // both, (first * second << 16) // both

    def between(first, second, share):
        step = (second - first).astype(np.int64) * share
        return first + (step + (1 << 29) >> 30).astype(np.int32)

    def step(one, other):
        return squared((one - other).astype(np.int64))

    (share_y, weight_y), (share_x, weight_x) = weights(heights), weights(widths)
    a, b, c, d = (mean[..., y::2, x::2] for y in (0, 1) for x in (0, 1))
    upper, lower = between(a, b, share_x), between(c, d, share_x)
    of_upper, of_lower = (weight_x * heights[y::2, None] for y in (0, 1))
    of_both = weight_y[:, None] * (widths[0::2] + widths[1::2])

    def more(a, b, c, d, upper, lower):
        energy = step(a, b) * of_upper
        energy += step(c, d) * of_lower
        energy += step(upper, lower) * of_both
        energy >>= 16
        return energy

    between_quarters = sum_over_planes(more, a, b, c, d, upper, lower)
    return Blocks(
        between(upper, lower, share_y[:, None]),
        paired(paired(blocks.deviations, -2), -1) + copies * between_quarters,
    )


def extended(mean: np.ndarray, down: int, right: int) -> np.ndarray:
    """Returns means with so many rows and columns of nothing more."""
    if not down and not right:
        return mean
    *before, rows, cols = mean.shape
    larger = np.zeros((*before, rows + down, cols + right), mean.dtype)
    larger[..., :rows, :cols] = mean
    return larger


def uniform_energies(
    finest: Blocks, shape: tuple[int, int], unit: int, copies: int
) -> list[list[int]]:
    """Returns the energies of grids of 1, 2, ... 32 units a side, of each image.

    Those of more than eight blocks along a side mean nothing.

    Args:
      finest: the blocks of one unit, of n images.
      shape: of the images.
      unit: in pixels; 32 units or more cover an image.
      copies: see `Quadtree`.
    """
    mean, deviations = (x[..., :UNITS, :UNITS] for x in finest)
    rows, cols = deviations.shape[-2:]
    heights, widths = (
        block_lengths(side, unit, count)
        for side, count in zip(shape, (rows, cols), strict=True)
    )
    area = heights[:, None] * widths
    # Centred, so that means and squares lose nothing when they are summed.
    mean = mean.astype(np.int64)
    mean -= (mean * area).sum((-2, -1), keepdims=True) // (shape[0] * shape[1])
    energy = deviations + copies * (area * squared(mean)).sum(0)
    table = np.concatenate([mean * area, energy[None]])
    table = np.pad(table, ((0, 0), (0, 0), (1, UNITS - rows), (1, UNITS - cols)))
    table = table.cumsum(-2).cumsum(-1)

    side = np.arange(1, UNITS + 1)[:, None]
    edges = np.minimum(side * np.arange(MOST + 2), UNITS)
    sums = table[..., edges[:, :, None], edges[:, None, :]]
    sums = np.diff(np.diff(sums, axis=-2), axis=-1)
    sizes = np.minimum(side * unit, max(shape))
    heights, widths = (block_lengths(extent, sizes, MOST + 1) for extent in shape)
    count = np.maximum(heights[:, :, None] * widths[:, None, :], 1)
    mean = sums[:-1] // count
    deviations = sums[-1] - copies * (count * squared(mean)).sum(0)
    deviations = np.maximum(deviations, 0)[..., :MOST, :MOST]
    energies = spread_energy(deviations, heights, widths, copies)
    energies += step_energy(mean, heights, widths, copies)
    return energies.sum((-2, -1)).tolist()
