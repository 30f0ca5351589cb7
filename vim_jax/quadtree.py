"""The quadtree that plans are cut from: blocks of 2, 4, 8, ... pixels, with scores.

Fine levels are arrays of their own shapes. The coarse ones, of at most 16 x 16 blocks,
share one shape and are looped over, so that they cost little to compile.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vim_jax._types import Channels
from vim_jax.corners import Corners, corners_of, pair_energies
from vim_jax.grids import (
    Blocks,
    block_lengths,
    merge,
    quarters,
    spread_energy,
    step_energy,
)
from vim_jax.moments import divide, squared

COARSE = 16
"""Levels of at most this many blocks a side are looped over."""

EXPONENT_BITS, MANTISSA_BITS, LEVEL_BITS, PLACE_BITS = 6, 5, 4, 4
SMALLEST_EXPONENT = -22

LATTICE = 3242174889, 2447445413
"""Multiples of two irrational numbers, which spread places evenly."""

KEY_BITS = EXPONENT_BITS + MANTISSA_BITS + LEVEL_BITS + PLACE_BITS
"""Keys of blocks, and the thresholds they are compared with, have this many bits."""


class Level(NamedTuple):
    """The blocks of one size, or, stacked, of several.

    Attributes:
      key: int32 `rows cols`. A block is (part of) a region when its key is a threshold
        or more. Above its parent's, so that its quarters are regions before the block
        is; 0 for what is never a region, and for the largest blocks.
      top: int32 `rows cols`, the key of the largest block that holds the block, 0 if
        there is none. They have a threshold of their own: there are few of them, and
        each changes the energy much.
      gain: int64 `rows cols`, energy that the block adds over its four quarters, about:
        exact where all blocks around are of its size.
      spread: int64 `rows cols`, what of that is certain (`spread_energy`).
      blocks: its moments.
    """

    key: jax.Array
    top: jax.Array
    gain: jax.Array
    spread: jax.Array
    blocks: Blocks


class Quadtree(NamedTuple):
    """An image in blocks of 2, 4, ... pixels.

    Attributes:
      shape: its height and width in pixels.
      corners: its pixels, one row and column of blocks or more beyond it.
      bits: binary digits that pixels have below one grey level.
      own: int64 scalar, energy of the image.
      fine: levels of more than `COARSE` blocks a side.
      coarse: the other levels, stacked.
    """

    shape: tuple[int, int]
    corners: Corners
    bits: int
    own: jax.Array
    fine: list[Level]
    coarse: Level


def _scores(gain: jax.Array, level: jax.Array | int) -> jax.Array:
    """Returns the logarithm of gain over squared area, int32, about; 0 for none.

    The energy per pixel that a region gains, for its size: where shuffling buys most
    with the smallest regions comes first.
    """
    zeros = jax.lax.clz(jnp.maximum(gain, 1))
    mantissa = (gain << zeros) >> (63 - MANTISSA_BITS) & (2**MANTISSA_BITS - 1)
    exponent = 63 - zeros - (4 * level + SMALLEST_EXPONENT)
    score = ((exponent << MANTISSA_BITS) | mantissa).astype(jnp.int32)
    score = jnp.clip(score, 0, 2 ** (EXPONENT_BITS + MANTISSA_BITS) - 1)
    return jnp.where(gain > 0, score, 0)


def _keys(scores: jax.Array, level: jax.Array | int) -> jax.Array:
    """Returns keys from scores: small blocks first, and equal ones told apart."""
    rows, cols = (
        jnp.arange(n, dtype=jnp.uint32) * jnp.uint32(step)
        for n, step in zip(scores.shape, LATTICE, strict=True)
    )
    place = rows[:, None] + cols[None]
    place = (place >> (32 - PLACE_BITS)).astype(jnp.int32)
    size = jnp.int32(2**LEVEL_BITS - 1) - jnp.asarray(level, jnp.int32)
    key = (((scores << LEVEL_BITS) | size) << PLACE_BITS) | place
    return jnp.where(scores >= 0, key, 0)


def _level(
    blocks: Blocks,
    quarter_energies: tuple[jax.Array, jax.Array],
    level: jax.Array | int,
    shape: tuple[int, int],
    largest: int,
    copies: int,
) -> tuple[Level, tuple[jax.Array, jax.Array]]:
    """Returns a level, with its scores for keys, and its energies and spreads."""
    rows, cols = blocks.deviations.shape
    size = jnp.int64(1) << level
    heights = block_lengths(shape[0], size, rows + 1)
    widths = block_lengths(shape[1], size, cols + 1)
    spread = spread_energy(blocks.deviations, heights, widths, copies)
    mean = blocks.mean[:, : rows + 1, : cols + 1]
    energy = spread + step_energy(mean, heights, widths, copies)
    energies, spreads = quarter_energies
    gain = energy - energies
    # A region of one pixel is none.
    allowed = (heights[:-1, None] * widths[None, :-1] > 1) & (size <= largest)
    score = jnp.where(allowed, _scores(gain, level), -1)
    return Level(score, score, gain, spread - spreads, blocks), (energy, spread)


def repeated(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Repeats each of `... rows cols` 2 x 2 times, and cuts that to a shape."""
    *lead, rows, cols = x.shape
    x = jnp.broadcast_to(x[..., :, None, :, None], (*lead, rows, 2, cols, 2))
    return x.reshape(*lead, 2 * rows, 2 * cols)[..., : shape[0], : shape[1]]


def _fitted(x: jax.Array, rows: int, cols: int) -> jax.Array:
    """Pads `... r c` with zeros to `... rows cols`."""
    pads = [(0, 0)] * (x.ndim - 2)
    return jnp.pad(x, [*pads, (0, rows - x.shape[-2]), (0, cols - x.shape[-1])])


def _finest_blocks(
    corners: Corners,
    shape: tuple[int, int],
    bits: int,
    channels: Channels,
    rows: int,
    cols: int,
) -> tuple[Blocks, jax.Array]:
    """Returns the 2 x 2 blocks, and the energy of the pixels in each.

    Args:
      corners: from `corners_of`.
      shape: height and width of the image.
      bits: see `Quadtree`.
      channels: as in `shuffle`.
      rows: number of rows of blocks wanted.
      cols: number of columns.
    """
    heights, widths = (
        block_lengths(side, 2, count)
        for side, count in zip(shape, corners[0].shape[1:], strict=True)
    )
    # Sums of 8-bit integers, and four times their squares, fit 32 bits.
    dtype = jnp.int64 if bits else jnp.int32
    a, b, c, d = (corner.astype(dtype) for corner in corners)
    unit = 16 - 2 * bits
    near = tuple(x[:, : rows + 1, : cols + 1] for x in (a, b, c, d))
    pairs = pair_energies(near, heights[: rows + 1], widths[: cols + 1], dtype)
    # Blocks at the edge have 1 or 2 pixels: in quarters all means are whole numbers.
    doubled = [
        jnp.where(length == 2, 1, 2).astype(dtype) for length in (heights, widths)
    ]
    scale = (doubled[0][:, None] * doubled[1][None])[None]
    totals = a + b + c + d
    squares = 4 * (a * a + b * b + c * c + d * d).sum(0, dtype=dtype)[:rows, :cols]
    if channels == "mixed":
        copies = len(a)
        totals = totals.sum(0, dtype=jnp.int64, keepdims=True)
        scaled = totals * scale.astype(jnp.int64)
        means = divide(scaled << (14 - bits), copies)
        rest = copies * squares.astype(jnp.int64) - (totals * scaled)[0, :rows, :cols]
        deviations = divide(rest << unit, 4 * copies)
    else:
        scaled = totals * scale
        means = scaled << (14 - bits)
        rest = squares - (totals * scaled).sum(0, dtype=dtype)[:rows, :cols]
        deviations = rest.astype(jnp.int64) << unit >> 2
    blocks = Blocks(means.astype(jnp.int32), deviations)
    return blocks, pairs.astype(jnp.int64) << unit


def quadtree(
    pixels: jax.Array, bits: int, largest: int, channels: Channels
) -> Quadtree:
    """Returns the scored quadtree of an image.

    Args:
      pixels: `h w c` integers.
      bits: binary digits that pixels have below one grey level: 0 or 8.
      largest: no block larger than this many pixels is a region.
      channels: as in `shuffle`.
    """
    h, w, c = pixels.shape
    # Above half of the image a tree is too coarse: grids of other sizes take over.
    largest = min(largest, max(h, w) // 2)
    copies = c if channels == "mixed" else 1
    depth = max(0, (max(h, w) // 2).bit_length() - 1)
    rows, cols, fine_levels = -(-h // 2), -(-w // 2), 0
    while max(rows, cols) > COARSE and fine_levels < depth:
        rows, cols, fine_levels = -(-rows // 2), -(-cols // 2), fine_levels + 1
    # All fine levels keep a row and a column of blocks beyond the image.
    corners = corners_of(pixels, (rows + 1) << fine_levels, (cols + 1) << fine_levels)
    counts = rows << fine_levels, cols << fine_levels
    blocks, pairs = _finest_blocks(corners, (h, w), bits, channels, *counts)
    own = pairs.sum(0).sum()

    def lengths(size, blocks):
        return (
            block_lengths(side, size, count)
            for side, count in zip((h, w), blocks.mean.shape[1:], strict=True)
        )

    fine = []
    energies = pairs, jnp.zeros_like(pairs)
    for level in range(1, fine_levels + 1):
        found, energies = _level(blocks, energies, level, (h, w), largest, copies)
        fine.append(found)
        heights, widths = lengths(2**level, blocks)
        blocks = merge(blocks, heights, widths, copies)
        energies = quarters(energies[0]), quarters(energies[1])

    even = rows + rows % 2, cols + cols % 2
    half = even[0] // 2, even[1] // 2

    def climb(state, level):
        blocks, energies = state
        found, energies = _level(blocks, energies, level, (h, w), largest, copies)
        wide = Blocks(
            _fitted(blocks.mean, even[0] + 2, even[1] + 2),
            _fitted(blocks.deviations, *even),
        )
        heights, widths = lengths(jnp.int64(1) << level, wide)
        wide = merge(wide, heights, widths, copies)
        means = _fitted(wide.mean, max(rows, half[0]) + 1, max(cols, half[1]) + 1)
        above = Blocks(
            means[:, : rows + 1, : cols + 1], _fitted(wide.deviations, rows, cols)
        )
        energies = tuple(
            _fitted(quarters(_fitted(x, *even)), rows, cols) for x in energies
        )
        return (above, energies), found

    start = jax.tree.map(lambda x: x + (own * 0).astype(x.dtype), (blocks, energies))
    levels = jnp.arange(fine_levels + 1, depth + 1)
    _, coarse = jax.lax.scan(climb, start, levels)
    return Quadtree((h, w), corners, bits, own, *_keyed(fine, coarse, largest))


def _keyed(fine: list[Level], coarse: Level, largest: int) -> tuple[list[Level], Level]:
    """Returns the levels with keys, from scores of which none is below its parent's."""

    def down(above, score, level):
        scores, tops = (repeated(x, score.shape) for x in above)
        scores = jnp.maximum(scores, score)
        keys = _keys(scores, level)
        is_top = (jnp.int64(1) << level <= largest) & (jnp.int64(2) << level > largest)
        tops = jnp.where(is_top, keys, tops)
        return (scores, tops), (jnp.where(is_top, 0, keys), tops)

    start = jnp.zeros_like(coarse.key, shape=coarse.key.shape[1:])
    start += 0 * coarse.key.sum(dtype=jnp.int32)
    levels = len(fine) + 1 + jnp.arange(len(coarse.key))
    above, (keys, tops) = jax.lax.scan(
        lambda above, x: down(above, *x),
        (start - 1, start),
        (coarse.key, levels),
        reverse=True,
    )
    coarse = coarse._replace(key=keys, top=tops)
    keyed = []
    for number, level in reversed(list(enumerate(fine, 1))):
        above, (keys, tops) = down(above, level.key, number)
        keyed.insert(0, level._replace(key=keys, top=tops))
    return keyed, coarse


def blocks_of(tree: Quadtree, level: int, copies: int) -> Blocks:
    """Returns the blocks of `2**level` pixels, and maybe some beyond the image.

    Args:
      tree: the quadtree.
      level: from 0 to the number of its levels.
      copies: number of channels that one plane of blocks stands for.
    """
    if level == 0:
        return _pixel_blocks(tree, copies)
    if level <= len(tree.fine):
        return tree.fine[level - 1].blocks
    return jax.tree.map(lambda x: x[level - 1 - len(tree.fine)], tree.coarse.blocks)


def _pixel_blocks(tree: Quadtree, copies: int) -> Blocks:
    pixels = jnp.stack(tree.corners)
    c, rows, cols = pixels.shape[1:]
    pixels = pixels.reshape(2, 2, c, rows, cols).transpose(2, 3, 0, 4, 1)
    pixels = pixels.reshape(c, 2 * rows, 2 * cols).astype(jnp.int64)
    pixels = pixels << (16 - tree.bits)
    mean = divide(pixels.reshape(-1, copies, *pixels.shape[1:]).sum(1), copies)
    deviations = squared(pixels - jnp.repeat(mean, copies, axis=0)).sum(0)
    return Blocks(mean.astype(jnp.int32), deviations)
