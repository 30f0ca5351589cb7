"""Plans cut from a quadtree at thresholds: their sizes, their energy, the search."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax.corners import pair_energies
from vim_jax.grids import block_lengths
from vim_jax.quadtree import KEY_BITS, Quadtree, repeated
from vim_jax.steps import kept

NO_REGION = 2**KEY_BITS
"""The threshold above all keys: no block is a region. The lowest is 1."""

GAIN_BITS = 26
_SUMMED = 16


class Cut(NamedTuple):
    """Thresholds, int32 scalars: of the largest blocks, and of those in no such one."""

    top: jax.Array | int
    other: jax.Array | int

    def merges(self, keys: jax.Array, tops: jax.Array) -> jax.Array:
        """Returns which blocks are regions or parts of them, bool of their shape."""
        return (tops >= self.top) | (keys >= self.other)


class Curve(NamedTuple):
    """What plans gain, about, for a fast search: of all blocks, `16 n`.

    Attributes:
      keys: int32, see `Level`.
      tops: int32, see `Level`.
      gains: int32, rounded so that 16 of them add up within 32 bits.
      shift: int64 scalar, binary digits that rounding took.
    """

    keys: jax.Array
    tops: jax.Array
    gains: jax.Array
    shift: jax.Array

    def gain(self, keys: jax.Array, threshold: jax.Array) -> jax.Array:
        """Returns the energy that blocks of some keys add, about."""
        chosen = jnp.where(keys >= threshold, self.gains, 0)
        # In 32 bits first: twice as fast.
        return chosen.sum(0, dtype=jnp.int32).astype(jnp.int64).sum() << self.shift

    def under(self, top: jax.Array | int) -> jax.Array:
        """Returns keys under a threshold of the largest blocks."""
        return jnp.where(self.tops >= top, NO_REGION - 1, self.keys)


def curve_of(tree: Quadtree, whole: jax.Array) -> Curve:
    """Returns the curve of a quadtree.

    Args:
      tree: the quadtree.
      whole: int64 scalar, energy of the image as one region. No block gains more than
        four times that.
    """
    levels = [*tree.fine, tree.coarse]
    shift = jnp.maximum(0, 66 - jax.lax.clz(whole) - GAIN_BITS)
    half = (jnp.int64(1) << shift) >> 1
    gains = [(level.gain + half >> shift).astype(jnp.int32) for level in levels]
    return Curve(
        keys=_flat([level.key for level in levels]),
        tops=_flat([level.top for level in levels]),
        gains=_flat(gains),
        shift=shift,
    )


def _flat(parts: list[jax.Array]) -> jax.Array:
    """Returns int32 arrays as one, `16 n`; filled up by 0 to what XLA sums by, 32."""
    missing = -sum(part.size for part in parts) % (32 * _SUMMED)
    parts = [*parts, jnp.zeros(missing, jnp.int32)]
    flat = jnp.concatenate([part.reshape(-1) for part in parts])
    return flat.reshape(_SUMMED, flat.size // _SUMMED)


def search(curve: Curve, gain: jax.Array, last: Cut, first: jax.Array) -> Cut:
    """Returns the cut whose plan gains about `gain`.

    Args:
      curve: the curve.
      gain: int64 scalar.
      last: the cut to improve, whose largest regions stay.
      first: bool scalar, whether to choose these too: as many as it takes to gain more
        than asked for, so that the cut can be improved by fewer small regions.
    """
    both = jnp.where(curve.keys > 0, curve.keys, curve.tops)
    keys = jnp.where(first, both, curve.under(last.top))

    def halve(_, state):
        low, high, nearest, distance = state
        middle = (low + high) >> 1
        found = curve.gain(keys, middle)
        enough = found >= gain
        nearer = abs(found - gain) < distance
        return (
            jnp.where(enough, middle, low),
            jnp.where(enough, high, middle),
            jnp.where(nearer, middle, nearest),
            jnp.minimum(distance, abs(found - gain)),
        )

    # Varies over devices as the image does, for loops inside `shard_map`.
    zero = (gain * 0).astype(jnp.int32)
    start = (zero + 1, zero + NO_REGION, zero + NO_REGION, abs(gain))
    low, _, nearest, _ = jax.lax.fori_loop(0, KEY_BITS, halve, start)
    return Cut(jnp.where(first, low, last.top), jnp.where(first, low, nearest))


def merged_at(tree: Quadtree, curve: Curve, cut: Cut) -> list[jax.Array]:
    """Returns which blocks are regions or parts of them at a cut.

    Read from the curve, so that keys need not be kept twice.

    Args:
      tree: the quadtree.
      curve: its curve.
      cut: the thresholds.

    Returns:
      bool `rows cols`, one a fine level, and the coarse ones as one.
    """
    shapes = [level.gain.shape for level in (*tree.fine, tree.coarse)]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    merged = cut.merges(curve.keys, curve.tops).reshape(-1)
    parts = jnp.split(merged, ends)
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=False)]


def total_gain(tree: Quadtree, merged: list[jax.Array]) -> jax.Array:
    """Returns the energy that blocks add, int64: exact for the grid of the largest."""
    levels = zip((*tree.fine, tree.coarse), merged, strict=True)
    gains = (jnp.where(chosen, level.gain, 0) for level, chosen in levels)
    return sum((x.sum(-2).sum() for x in gains), start=jnp.int64(0))


def sizes_at(tree: Quadtree, merged: list[jax.Array]) -> jax.Array:
    """Returns the int32 `h w` sizes of the plan that `merged_at` tells of."""

    def count(above, merged):
        return repeated(above, merged.shape) + merged.astype(jnp.int32), None

    *fine, coarse = merged
    start = jnp.zeros(coarse.shape[1:], jnp.int32) + 0 * coarse.sum(dtype=jnp.int32)
    levels, _ = jax.lax.scan(count, start, coarse, reverse=True)
    for level in reversed(fine):
        levels, _ = count(levels, level)
        # XLA would fuse all of them into each pixel's size.
        levels = kept(levels, straight=False)
    return repeated(jnp.int32(1) << levels, tree.shape)


def energy_at(tree: Quadtree, merged: list[jax.Array], turn: jax.Array) -> jax.Array:
    """Returns the expected energy of a plan, int64.

    Args:
      tree: the quadtree.
      merged: from `merged_at`.
      turn: int32 scalar that is not known at compile time and equal for all images of a
        batch: a loop counter.
    """
    levels = [*tree.fine, tree.coarse]
    spreads = [
        jnp.where(merged, level.spread, 0)
        for merged, level in zip(merged, levels, strict=True)
    ]
    if not tree.fine:
        spreads.insert(0, spreads[0][0])
        spreads[1] = spreads[1][1:]

    means, shuffled = _region_means(tree, merged, turn)
    rows, cols = shuffled.shape
    zero = turn >> 30  # Unknown to XLA, lest it keeps copies of all pixels in 32 bits.

    def corner(pixels):
        pixels = (pixels[:, :rows, :cols] + zero.astype(pixels.dtype)).astype(jnp.int32)
        return jnp.where(shuffled[None] > 0, means, pixels << (16 - tree.bits))

    a, b, c, d = map(corner, tree.corners)
    height, width = tree.shape
    heights, widths = block_lengths(height, 2, rows), block_lengths(width, 2, cols)
    steps = pair_energies((a, b, c, d), heights, widths, jnp.int64, 16, len(a) <= 4)
    # One after the other, so that XLA sums over channels where it computes the steps.
    return (steps + spreads[0]).sum() + sum(spread.sum() for spread in spreads[1:])


def _region_means(
    tree: Quadtree, merged: list[jax.Array], turn: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the mean of each finest block's region, and whether it is in one.

    int32 `planes rows+1 cols+1` and `rows+1 cols+1`.
    """
    *fine, coarse = merged

    def down(state, merged, own_means):
        means, above = state
        rows, cols = (n + 1 for n in merged.shape)
        above = repeated(above, (rows, cols))[None] > 0
        means = repeated(means, (rows, cols))
        means = jnp.where(above, means, own_means[:, :rows, :cols])
        return means, jnp.pad(merged.astype(jnp.int32), ((0, 1), (0, 1)))

    def start(merged, own_means):
        shape = own_means.shape[-3], *(n + 1 for n in merged.shape[-2:])
        means = jnp.zeros(shape, jnp.int32) + 0 * merged.sum(dtype=jnp.int32)
        return means, means[0]

    means = tree.coarse.blocks.mean
    state, _ = jax.lax.scan(
        lambda state, level: (down(state, *level), None),
        start(coarse, means),
        (coarse, means),
        reverse=True,
    )
    for merges, level in reversed(list(zip(fine, tree.fine, strict=True))):
        # XLA would fuse means into all that reads them, and compute them many times. It
        # cannot see that this loop has one turn.
        args = merges, level.blocks.mean
        state = jax.lax.fori_loop(
            turn,
            turn + 1,
            lambda _, __, state=state, args=args: down(state, *args),
            start(*args),
        )
    return state
