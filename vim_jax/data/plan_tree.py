"""The quadtree that plans are cut from, on the host; see `vim_jax.quadtree`.

The numbers are the same, of all that lies inside the image.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Int32, Int64, UInt8, UInt16

from vim_jax import moments
from vim_jax._types import Channels
from vim_jax.data.compiled import compiled
from vim_jax.data.plan_grids import block_lengths, grid_energies, squared
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


class Level(NamedTuple):
    """The blocks of one size, see `vim_jax.quadtree.Level`."""

    key: Int32[np.ndarray, "rows cols"]
    top: Int32[np.ndarray, "rows cols"]
    gain: Int64[np.ndarray, "rows cols"]
    spread: Int64[np.ndarray, "rows cols"]
    mean: Int32[np.ndarray, "planes rows cols"]
    deviations: Int64[np.ndarray, "rows cols"]


@dataclasses.dataclass(frozen=True, eq=False)
class Quadtree:
    """An image in blocks of 2, 4, ... pixels.

    Attributes:
      pixels: unsigned integers.
      bits: binary digits that they have below one grey level.
      copies: number of channels that one plane of means stands for.
      own: energy of the image.
      pairs: energy of the pairs of pixels inside each block of 2 x 2 pixels, across its
        right edge, and across its lower edge.
      levels: from blocks of 2 x 2 pixels up.
      keys: of all levels, one after the other, like `tops` and `gains`.
      tops: see `Level`.
      gains: see `Level`.
    """

    pixels: UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"]
    bits: int
    copies: int
    own: int
    pairs: Int64[np.ndarray, "3 rows cols"]
    levels: Sequence[Level]
    keys: Int32[np.ndarray, " blocks"]
    tops: Int32[np.ndarray, " blocks"]
    gains: Int64[np.ndarray, " blocks"]


def quadtree(image: np.ndarray, largest: int, channels: Channels) -> Quadtree:
    """Returns the scored quadtree of an image.

    Args:
      image: `h w c`, uint8 or uint16.
      largest: no block larger than this many pixels is a region.
      channels: as in `shuffle`.
    """
    h, w, c = image.shape
    check_count(image.size)
    largest = min(largest, max(h, w) // 2)
    copies = c if channels == "mixed" else 1
    pixels, bits = _integers(image)

    shapes = []
    for level in range(1, max(1, (max(h, w) // 2).bit_length())):
        shapes.append((-(-h >> level), -(-w >> level)))
    total = sum(rows * cols for rows, cols in shapes)
    keys, tops = (np.empty(total, np.int32) for _ in range(2))
    gains, spreads = (np.empty(total, np.int64) for _ in range(2))

    rows, cols = -(-h // 2), -(-w // 2)
    pairs = np.zeros((3, rows, cols), np.int64)
    mean = np.empty((c // copies, rows, cols), np.int32)
    deviations = np.empty((rows, cols), np.int64)
    _finest_blocks(pixels, bits, copies, pairs, mean, deviations)
    energy, spread = pairs.sum(0), np.zeros_like(deviations)
    levels, start = [], 0
    for level, shape in enumerate(shapes, 1):
        end = start + shape[0] * shape[1]
        key, top, gain, more = (
            x[start:end].reshape(shape) for x in (keys, tops, gains, spreads)
        )
        heights, widths = (
            block_lengths(side, 1 << level, count + 1)
            for side, count in zip((h, w), shape, strict=True)
        )
        before = energy, spread
        energy, spread = np.empty_like(gain), np.empty_like(gain)
        grid_energies(deviations, mean, heights, widths, copies, spread, energy)
        np.subtract(energy, before[0], out=gain)
        np.subtract(spread, before[1], out=more)
        _score(gain, heights, widths, level, 1 << level <= largest, key)
        levels.append(Level(key, top, gain, more, mean, deviations))
        mean, deviations, energy, spread = _merged(
            mean, deviations, energy, spread, heights, widths, copies
        )
        start = end

    scores = best = np.zeros((1, 1), np.int32)
    scores = scores - 1
    for number, level in reversed(list(enumerate(levels, 1))):
        is_top = 1 << number <= largest < 2 << number
        scores = _give_keys(level.key, level.top, scores, best, number, is_top)
        best = level.top
    own = int(pairs.sum())
    return Quadtree(pixels, bits, copies, own, pairs, levels, keys, tops, gains)


def _integers(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns pixels, and their digits below one grey level."""
    if image.dtype == np.uint8:
        return image, 0
    scaled = (image.astype(np.float32) / 65535) * np.float32(LEVELS_16_BIT)
    return np.round(scaled).astype(np.uint16), 8


@no_type_check
@compiled
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
@compiled
def _merged(mean, deviations, energy, spread, heights, widths, copies):
    """Returns the moments of blocks of twice the size, and sums over their quarters."""
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
@compiled
def _between(first, second, share):
    """Returns a mean between two, by the share of the second in 2**30ths."""
    return first + ((np.int64(second) - first) * share + (1 << 29) >> 30)


@no_type_check
@compiled
def _score(gain, heights, widths, level, allowed, out):
    """Fills in the scores of blocks; -1 for those that are never regions."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            # A region of one pixel is none.
            if allowed and heights[i] * widths[j] > 1:
                out[i, j] = score_of(gain[i, j], level)
            else:
                out[i, j] = -1


@no_type_check
@compiled
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


@no_type_check
@compiled
def _give_keys(key, top, scores_above, tops_above, level, is_top):
    """Turns scores into keys and fills in tops, see `vim_jax.quadtree`.

    Args:
      key: int32 `rows cols`, the scores of the level.
      top: int32 `rows cols`, to be filled.
      scores_above: int32, of the blocks of twice the size, or a single one.
      tops_above: int32, as many.
      level: number of the level.
      is_top: whether these are the largest blocks.

    Returns:
      The scores, of which none is below its parent's.
    """
    scores = np.empty_like(key)
    single = scores_above.size == 1
    size = (1 << LEVEL_BITS) - 1 - level
    for i in range(key.shape[0]):
        for j in range(key.shape[1]):
            above = (0, 0) if single else (i >> 1, j >> 1)
            score = max(scores_above[above], key[i, j])
            place = ((i * _DOWN + j * _RIGHT) & _WORD) >> (32 - PLACE_BITS)
            new = (((score << LEVEL_BITS) | size) << PLACE_BITS) | place
            if score < 0:
                new = 0
            scores[i, j] = score
            top[i, j] = new if is_top else tops_above[above]
            key[i, j] = 0 if is_top else new
    return scores


def pixel_blocks(tree: Quadtree, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the moments of the first `side` x `side` pixels, or fewer, each a block.

    int32 `planes rows cols` and int64 `rows cols`.
    """
    pixels = tree.pixels[:side, :side].astype(np.int64) << (16 - tree.bits)
    pixels = np.moveaxis(pixels, -1, 0)
    mean = pixels.reshape(-1, tree.copies, *pixels.shape[1:]).sum(1) // tree.copies
    steps = pixels - mean.repeat(tree.copies, axis=0)
    deviations = moments.squared(steps).sum(0)
    return mean.astype(np.int32), deviations
