"""Exchanges in rectangles of any size, cell by cell."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import UInt8, UInt32

from vim_jax.regions import Bounds, Regions
from vim_jax.rounds import EXTRA_ROUNDS, FEW, LARGE, NEAR_LEVELS, ROUNDS, VERY_FEW
from vim_jax.steps import Number, repeated, trade
from vim_jax.turns import turn_once
from vim_jax.words import Words, bytes_of

_BYTE = 8
_EXACT_BITS = 12


class Lines(NamedTuple):
    """How the cells of any lines pair off, `2 ... n`: along rows, and along columns.

    Bit k of a mask, uint8 or uint16, stands for the distance `2**k`.

    Attributes:
      pairs: `2 4 n`, bit k set where the cell owns the coin of a pair: in rounds 0 and
        1, in 2 and 3, and so on.
      cut_off: the same for rounds 0 and 1, at the one distance where the cell's block
        is cut off.
      odds: uint8, 256ths in favour of an exchange there.
      large: bool, whether the cell is in a square that takes a round less.
      single: bool, whether the cell is a region of its own.
    """

    pairs: jax.Array
    cut_off: jax.Array
    odds: jax.Array
    large: jax.Array
    single: jax.Array


def lines_of(regions: Regions, bounds: Bounds) -> Lines:
    """Returns how the cells of a plane pair off."""
    dtype = jnp.uint8 if max(_levels(bounds)) <= _BYTE else jnp.uint16
    top, left, height, width = regions
    h, w = top.shape
    x = jnp.arange(w, dtype=jnp.int32)[None] - left
    y = jnp.arange(h, dtype=jnp.int32)[:, None] - top
    # A loop rather than `vmap`, because XLA would compute it anew for each use.
    lines = jax.lax.map(
        lambda line: _lines(line[0], line[1], line[2], dtype),
        (jnp.stack([x, y]), jnp.stack([width, height]), jnp.stack([height, width])),
    )
    return jax.tree.map(lambda mask: mask.reshape(*mask.shape[:-2], h * w), lines)


def _levels(bounds: Bounds) -> tuple[int, int]:
    """Returns how many powers of two are distances along rows, and along columns."""
    return (bounds.width - 1).bit_length(), (bounds.height - 1).bit_length()


def _smear(x: jax.Array, bits: int) -> jax.Array:
    """Returns `x` with all bits below its highest set, too."""
    shift = 1
    while shift < bits:
        x |= x >> shift
        shift *= 2
    return x


def _lines(place, length, other, dtype) -> Lines:
    """Returns the pairs of lines.

    Args:
      place: int32, the cell's number in its line.
      length: int32, of its line, in cells.
      other: int32, of the line across it.
      dtype: of the masks.
    """
    bits = jnp.iinfo(dtype).bits + 1
    lower, upper = ~place & _smear(length - 1 - place, bits), place
    n = length * other
    ragged = ((length & (length - 1)) | (other & (other - 1))) > 0
    small = (n < VERY_FEW) | ((n < FEW) & ragged)
    near = jnp.where(small, 2**NEAR_LEVELS - 1, 0)
    pairs = jnp.stack([lower, upper, lower & near, upper & near]).astype(dtype)
    # Above this bit, cell number and length agree: the block is the line's last.
    highest = _smear(place ^ length, bits)
    highest ^= highest >> 1
    cut_off = lower & highest
    distance = jnp.maximum(cut_off, 1)
    block = distance + (length & (distance - 1))
    odds = _floor_of_ratio((distance << 9) + block, block << 1, bits)
    odds = jnp.minimum(odds, 255).astype(jnp.uint8)
    large = (length == other) & (length >= LARGE) & ~ragged
    return Lines(pairs, cut_off.astype(dtype), odds, large, single=n == 1)


def _floor_of_ratio(number: jax.Array, divisor: jax.Array, bits: int) -> jax.Array:
    """Returns the integer part of the odds of lines of up to `2**bits` cells."""
    if bits > _EXACT_BITS:
        return jax.lax.div(number, divisor)
    # Several times faster. Both are exact in float32, and a quotient of about 256 that
    # is no integer is 1 / divisor or more from the next: rounding does not reach it.
    quotient = number.astype(jnp.float32) / divisor.astype(jnp.float32)
    return quotient.astype(jnp.int32)


def exchange_lines(
    cells: UInt8[jax.Array, "groups members h w"],
    words: Words,
    lines: Lines,
    bounds: Bounds,
    *,
    inverse: bool,
    straight: bool,
) -> UInt8[jax.Array, "groups members h w"]:
    """Exchanges cells, see `vim_jax.permute.exchange_cells`."""
    groups, members, h, w = cells.shape
    # Flat, for long loops: pairs never reach into another line.
    flat = cells.reshape(groups, members, h * w)
    if straight:
        words = jax.lax.optimization_barrier(words)

    def turn(cells, r):
        if words.turns is None:
            return cells
        numbers = _byte(words.turns, r % ROUNDS)
        left_out = lines.single[:1] | (lines.large[:1] & (r == ROUNDS - 1))
        numbers = jnp.where(left_out, 0, numbers)
        return turn_once(cells, numbers, r < ROUNDS, inverse=inverse)

    def exchanged(cells, rounds, most_levels):
        def one_round(i, cells):
            r = rounds.stop - 1 - i if inverse else rounds.start + i
            cells = cells if inverse else turn(cells, r)
            for axis in (1, 0) if inverse else (0, 1):
                levels = range(min(_levels(bounds)[axis], most_levels))
                heads = _heads(words, lines, r, axis)[:, None]
                ways = [
                    [
                        functools.partial(_exchanged, level=level, distance=away)
                        for level in (levels if inverse else reversed(levels))
                    ]
                    for away in ((w, -w) if axis else (1, -1))
                ]
                cells = trade(cells, heads, *ways, upper_owns=(r & 2) != 0)
            return turn(cells, r) if inverse else cells

        return repeated(len(rounds), one_round, cells, straight=straight)

    usual = range(ROUNDS), max(_levels(bounds))
    extra = range(ROUNDS, ROUNDS + EXTRA_ROUNDS), NEAR_LEVELS
    for rounds, most_levels in (extra, usual) if inverse else (usual, extra):
        flat = exchanged(flat, rounds, most_levels)
    return flat.reshape(cells.shape)


def _byte(words: UInt32[jax.Array, "planes n"], number) -> UInt8[jax.Array, "planes n"]:
    """Returns one of the four bytes of each cell."""
    return jax.lax.dynamic_index_in_dim(bytes_of(words), number, 1, keepdims=False)


def _heads(words: Words, lines: Lines, r: Number, axis: int) -> jax.Array:
    """Returns the distances at which the coin that a cell owns shows heads.

    Args:
      words: of all cells.
      lines: of the plane.
      r: the round.
      axis: 0 along rows, 1 along columns.
    """
    pairs = jax.lax.dynamic_index_in_dim(lines.pairs[axis], r >> 1)
    left_out = (r == ROUNDS - 1) & lines.large[axis][None]
    pairs = jnp.where(left_out, 0, pairs)

    def half(byte):
        """Rounds take turns in which half of a byte is theirs."""
        shift = jnp.uint8(NEAR_LEVELS * (r & 1))
        return (_byte(words.coins, byte + axis) >> shift) & jnp.uint8(0x0F)

    whole = (r & 1) + 2 * axis
    near, middle = half(0), half(2)
    heads = jnp.where(r < ROUNDS, near | (middle << NEAR_LEVELS), middle)
    heads = heads.astype(pairs.dtype)
    if words.far is not None:
        heads |= _byte(words.far, whole).astype(pairs.dtype) << _BYTE
    if words.odds is not None:
        shown = _byte(words.odds, whole) < lines.odds[axis][None]
        cut_off = jnp.where(r < 2, lines.cut_off[axis][None], 0).astype(pairs.dtype)
        heads = jnp.where(shown, heads | cut_off, heads & ~cut_off)
    return heads & pairs


def _exchanged(
    cells: UInt8[jax.Array, "groups members n"],
    heads: jax.Array,
    *,
    level: int,
    distance: int,
) -> UInt8[jax.Array, "groups members n"]:
    """Exchanges each cell that shows heads with the one so many times 2**level away."""
    mask = jnp.where((heads & (1 << level)) != 0, jnp.uint8(0xFF), jnp.uint8(0))
    change = (cells ^ shifted(cells, distance << level)) & mask
    return cells ^ change ^ shifted(change, -distance << level)


def shifted(x: jax.Array, distance: int) -> jax.Array:
    """Returns what lies at a distance from each element along the last axis, or 0."""
    if abs(distance) >= x.shape[-1]:
        return jnp.zeros_like(x)
    around = [(0, 0)] * (x.ndim - 1)
    if distance > 0:
        return jnp.pad(x[..., distance:], [*around, (0, distance)])
    return jnp.pad(x[..., :distance], [*around, (-distance, 0)])
