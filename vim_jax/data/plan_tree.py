"""The quadtree that plans are cut from, on the host; see `vim_jax.quadtree`.

The numbers are the same, of all that lies inside the image.
"""

from typing import NamedTuple, no_type_check

import numpy as np

from vim_jax import moments
from vim_jax._types import Channels
from vim_jax.data.compiled import compiled, helper
from vim_jax.data.plan_grids import grid_energies, lengths, squared
from vim_jax.moments import LEVELS_16_BIT, check_count
from vim_jax.quadtree import (
    EXPONENT_BITS,
    LATTICE,
    LEVEL_BITS,
    MANTISSA_BITS,
    PLACE_BITS,
    SMALLEST_EXPONENT,
)

_DOWN, _RIGHT = LATTICE
_WORD = (1 << 32) - 1


class Quadtree(NamedTuple):
    """An image in blocks of 2, 4, ... pixels, see `vim_jax.quadtree.Level`.

    What blocks have is in arrays of all levels, one after the other, from blocks of
    2 x 2 pixels up.

    Attributes:
      pixels: uint8 or uint16 `h w c`.
      bits: binary digits that they have below one grey level.
      copies: number of channels that one plane of means stands for.
      pairs: energy of the pairs of pixels inside each block of 2 x 2 pixels, across its
        right edge, and across its lower edge, int64 `3 rows cols`.
      shapes: rows and columns of each level, int64 `levels 2`.
      starts: how many blocks come before those of each level, int64 `levels`.
      keys: int32 `blocks`.
      tops: int32 `blocks`.
      gains: int64 `blocks`.
      spreads: int64 `blocks`.
      means: int32 `planes blocks`.
      deviations: int64 `blocks`.
    """

    pixels: np.ndarray
    bits: int
    copies: int
    pairs: np.ndarray
    shapes: np.ndarray
    starts: np.ndarray
    keys: np.ndarray
    tops: np.ndarray
    gains: np.ndarray
    spreads: np.ndarray
    means: np.ndarray
    deviations: np.ndarray


def quadtree(image: np.ndarray, largest: int, channels: Channels) -> Quadtree:
    """Returns the scored quadtree of an image.

    Args:
      image: `h w c`, uint8 or uint16.
      largest: no block larger than this many pixels is a region.
      channels: as in `shuffle`.
    """
    h, w, c = image.shape
    check_count(image.size)
    copies = c if channels == "mixed" else 1
    levels = max(0, (max(h, w) // 2).bit_length() - 1)
    shapes = [(-(-h >> level), -(-w >> level)) for level in range(1, levels + 1)]
    shapes = np.array(shapes, np.int64).reshape(-1, 2)
    blocks = shapes.prod(1)
    total = int(blocks.sum())
    pixels, bits = _integers(image)
    tree = Quadtree(
        pixels=pixels,
        bits=bits,
        copies=copies,
        pairs=np.zeros((3, -(-h // 2), -(-w // 2)), np.int64),
        shapes=shapes,
        starts=blocks.cumsum() - blocks,
        keys=np.empty(total, np.int32),
        tops=np.empty(total, np.int32),
        gains=np.empty(total, np.int64),
        spreads=np.empty(total, np.int64),
        means=np.empty((c // copies, total), np.int32),
        deviations=np.empty(total, np.int64),
    )
    _measure(tree)
    _give_keys(tree, min(largest, max(h, w) // 2))
    return tree


@no_type_check
@helper
def level_above(tree, number):
    """Returns where the level of twice the size starts, and the blocks of its rows.

    -1 if there is none. Asked for once a level: in loops, it would take a while.
    """
    above = number + 1
    if above == tree.shapes.shape[0]:
        return -1, 0
    return tree.starts[above], tree.shapes[above, 1]


@no_type_check
@compiled
def _measure(tree):
    """Fills in the moments of all blocks, and what they gain."""
    h, w, _ = tree.pixels.shape
    planes = tree.means.shape[0]
    _, rows, cols = tree.pairs.shape
    mean = np.empty((planes, rows, cols), np.int32)
    deviations = np.empty((rows, cols), np.int64)
    _finest_blocks(tree.pixels, tree.bits, tree.copies, tree.pairs, mean, deviations)
    energy_before = np.empty((rows, cols), np.int64)
    spread_before = np.zeros((rows, cols), np.int64)
    for i in range(rows):
        for j in range(cols):
            energy_before[i, j] = tree.pairs[0, i, j]
            energy_before[i, j] += tree.pairs[1, i, j] + tree.pairs[2, i, j]
    for number in range(tree.shapes.shape[0]):
        rows, cols = tree.shapes[number, 0], tree.shapes[number, 1]
        size = 2 << number
        heights, widths = lengths(h, size, rows + 1), lengths(w, size, cols + 1)
        energy = np.empty((rows, cols), np.int64)
        spread = np.empty((rows, cols), np.int64)
        grid_energies(deviations, mean, heights, widths, tree.copies, spread, energy)
        k = tree.starts[number]
        for i in range(rows):
            for j in range(cols):
                tree.gains[k] = energy[i, j] - energy_before[i, j]
                tree.spreads[k] = spread[i, j] - spread_before[i, j]
                tree.deviations[k] = deviations[i, j]
                for p in range(planes):
                    tree.means[p, k] = mean[p, i, j]
                k += 1
        mean, deviations, energy_before, spread_before = _merged(
            mean, deviations, energy, spread, heights, widths, tree.copies
        )


@no_type_check
@compiled
def _give_keys(tree, largest):
    """Fills in keys and tops by what blocks gain.

    Args:
      tree: the quadtree.
      largest: see `quadtree`, half of the image or less.
    """
    h, w, _ = tree.pixels.shape
    scores = np.empty(tree.keys.size, np.int32)
    for number in range(tree.shapes.shape[0] - 1, -1, -1):
        rows, cols = tree.shapes[number, 0], tree.shapes[number, 1]
        size = 2 << number
        heights, widths = lengths(h, size, rows + 1), lengths(w, size, cols + 1)
        k = tree.starts[number]
        start, wide = level_above(tree, number)
        for i in range(rows):
            for j in range(cols):
                score = -1
                # A region of one pixel is none.
                if size <= largest and heights[i] * widths[j] > 1:
                    score = score_of(tree.gains[k], number + 1)
                top = 0
                if start >= 0:
                    above = start + (i >> 1) * wide + (j >> 1)
                    score, top = max(score, scores[above]), tree.tops[above]
                key = _key(score, number + 1, i, j)
                if size <= largest < 2 * size:
                    key, top = 0, key
                scores[k], tree.keys[k], tree.tops[k] = score, key, top
                k += 1


@no_type_check
@helper
def _key(score, level, i, j):
    """Returns a key: small blocks first, and equal ones told apart by their places."""
    if score < 0:
        return 0
    size = (1 << LEVEL_BITS) - 1 - level
    place = ((i * _DOWN + j * _RIGHT) & _WORD) >> (32 - PLACE_BITS)
    return (((score << LEVEL_BITS) | size) << PLACE_BITS) | place


def _integers(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns pixels, and their digits below one grey level."""
    # Loops would be compiled anew for an array that lies otherwise.
    image = np.require(image, requirements=("C", "W"))
    if image.dtype == np.uint8:
        return image, 0
    scaled = (image.astype(np.float32) / 65535) * np.float32(LEVELS_16_BIT)
    return np.round(scaled).astype(np.uint16), 8


@no_type_check
@helper
def _finest_blocks(pixels, bits, copies, pairs, mean, deviations):
    """Fills in the energies and moments of blocks of 2 x 2 pixels.

    Args:
      pixels: see `Quadtree`.
      bits: see `Quadtree`.
      copies: see `Quadtree`.
      pairs: see `Quadtree`, zeros at first.
      mean: int32 `planes rows cols`.
      deviations: int64 `rows cols`.
    """
    h, w, channels = pixels.shape
    unit = 16 - 2 * bits
    for i in range(mean.shape[1]):
        # Pixels stand in for those that they lack: they are no step away.
        y = 2 * i
        y1, y2 = min(y + 1, h - 1), min(y + 2, h - 1)
        tall = y1 - y
        for j in range(mean.shape[2]):
            x = 2 * j
            x1, x2 = min(x + 1, w - 1), min(x + 2, w - 1)
            wide = x1 - x
            # Blocks at the edge have 1 or 2 pixels, each of them 4 or 2 times.
            times = 2 - tall - wide
            inside, right, below, total, squares, deviation = 0, 0, 0, 0, 0, 0
            for k in range(channels):
                a, b = np.int64(pixels[y, x, k]), np.int64(pixels[y, x1, k])
                c, d = np.int64(pixels[y1, x, k]), np.int64(pixels[y1, x1, k])
                inside += (a - b) ** 2 + tall * (c - d) ** 2
                inside += (a - c) ** 2 + wide * (b - d) ** 2
                right += (b - pixels[y, x2, k]) ** 2
                right += tall * (d - pixels[y1, x2, k]) ** 2
                below += (c - pixels[y2, x, k]) ** 2
                below += wide * (d - pixels[y2, x1, k]) ** 2
                own, own_squares = a + b + c + d, a * a + b * b + c * c + d * d
                # In quarters, all means are whole numbers.
                if copies == 1:
                    mean[k, i, j] = own << (14 - bits)
                    deviation += 4 * own_squares - own * own >> times
                total += own
                squares += own_squares
            if copies > 1:
                mean[0, i, j] = (total << (14 - bits)) // copies
                rest = copies * 4 * squares - total * total >> times
                deviations[i, j] = (rest << unit) // (4 * copies)
            else:
                deviations[i, j] = deviation << unit >> 2
            pairs[0, i, j] = inside << unit
            pairs[1, i, j] = right << unit
            pairs[2, i, j] = below << unit


@no_type_check
@helper
def _merged(mean, deviations, energy, spread, heights, widths, copies):
    """Returns what blocks of twice the size have.

    Their means and deviations, and sums of energies and spreads over their quarters, of
    the dtypes and shapes in `grid_energies`.
    """
    planes, rows, cols = mean.shape
    half_rows, half_cols = (rows + 1) // 2, (cols + 1) // 2
    larger = np.empty((planes, half_rows, half_cols), np.int32)
    rest = np.zeros((3, half_rows, half_cols), np.int64)
    for i in range(rows):
        for j in range(cols):
            rest[0, i >> 1, j >> 1] += deviations[i, j]
            rest[1, i >> 1, j >> 1] += energy[i, j]
            rest[2, i >> 1, j >> 1] += spread[i, j]
    for i in range(half_rows):
        upper_height, lower_height = heights[2 * i], heights[2 * i + 1]
        height = upper_height + lower_height
        down = 2 * i + (lower_height > 0)
        share_down = (lower_height << 30) // height
        weight_down = (upper_height * lower_height << 16) // height
        for j in range(half_cols):
            left_width, right_width = widths[2 * j], widths[2 * j + 1]
            width = left_width + right_width
            right = 2 * j + (right_width > 0)
            share = (right_width << 30) // width
            weight = (left_width * right_width << 16) // width
            for p in range(planes):
                a, b = mean[p, 2 * i, 2 * j], mean[p, 2 * i, right]
                c, d = mean[p, down, 2 * j], mean[p, down, right]
                upper, lower = _between(a, b, share), _between(c, d, share)
                larger[p, i, j] = _between(upper, lower, share_down)
                added = squared(np.int64(a) - b) * (weight * upper_height)
                added += squared(np.int64(c) - d) * (weight * lower_height)
                added += squared(upper - lower) * (weight_down * width)
                rest[0, i, j] += copies * (added >> 16)
    return larger, rest[0], rest[1], rest[2]


@no_type_check
@helper
def _between(first, second, share):
    """Returns a mean between two, by the share of the second in 2**30ths."""
    return first + ((np.int64(second) - first) * share + (1 << 29) >> 30)


@no_type_check
@helper
def score_of(gain, level):
    """Returns the logarithm of gain over squared area, about; 0 for none."""
    if gain <= 0:
        return 0
    digits, rest = 1, gain
    for n in (32, 16, 8, 4, 2, 1):
        if rest >> n:
            rest >>= n
            digits += n
    mantissa = (gain << (64 - digits)) >> (63 - MANTISSA_BITS)
    mantissa &= (1 << MANTISSA_BITS) - 1
    exponent = digits - 1 - (4 * level + SMALLEST_EXPONENT)
    score = (exponent << MANTISSA_BITS) | mantissa
    return min(max(score, 0), (1 << (EXPONENT_BITS + MANTISSA_BITS)) - 1)


def blocks_of(tree: Quadtree, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the moments of blocks of `2**level` pixels.

    int32 `planes rows cols` and int64 `rows cols`.
    """
    if level == 0:
        return _pixel_blocks(tree)
    rows, cols = tree.shapes[level - 1]
    start = tree.starts[level - 1]
    here = slice(start, start + rows * cols)
    mean = np.ascontiguousarray(tree.means[:, here])
    return mean.reshape(-1, rows, cols), tree.deviations[here].reshape(rows, cols)


def _pixel_blocks(tree: Quadtree) -> tuple[np.ndarray, np.ndarray]:
    pixels = tree.pixels.astype(np.int64) << (16 - tree.bits)
    pixels = np.moveaxis(pixels, -1, 0)
    mean = pixels.reshape(-1, tree.copies, *pixels.shape[1:]).sum(1) // tree.copies
    steps = pixels - mean.repeat(tree.copies, axis=0)
    deviations = moments.squared(steps).sum(0)
    return np.ascontiguousarray(mean.astype(np.int32)), deviations
