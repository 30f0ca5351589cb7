"""Exchanges in rectangles of any size, cell by cell.

Partners are found by rolling planes along their first axis, of which XLA's CPU backend
makes a fast loop, unlike along the last [measured: `benchmarks/`]. So planes are
transposed while cells are exchanged along rows.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int32, UInt8

from vim_jax.regions import Bounds, regions_of
from vim_jax.rounds import EXTRA_ROUNDS, FEW, LARGE, NEAR_LEVELS, ROUNDS, VERY_FEW
from vim_jax.steps import Number, Step, kept, repeated, trade
from vim_jax.turns import turn_once
from vim_jax.words import BYTES, Words

_BYTE = 8
_NO_LAST_ROUND, _NO_EXTRA_ROUNDS, _NO_TURNS = 1, 2, 4
_CUT_OFF = 1 << 7
_EXACT_SIDE = 1 << 11


class Lines(NamedTuple):
    """How cells pair off along lines, `along across`: along rows (`w h`), or columns.

    Bit k of a number stands for the distance of `2**k` cells.

    Attributes:
      upper: uint8 or uint16, the distances at which the cell is the upper one of a
        pair: its number in its line.
      lower: the same, at which it is the lower one.
      odds: uint8, 256ths in favour of an exchange in a block that the line's end cuts
        off, which is over the longest distance in `lower`; 0 in no such block.
      sits_out: uint8, bits of what the cell takes no part in: `_NO_LAST_ROUND`,
        `_NO_EXTRA_ROUNDS` and `_NO_TURNS`.
    """

    upper: jax.Array
    lower: jax.Array
    odds: jax.Array
    sits_out: jax.Array


def lines_of(
    size: Int32[jax.Array, "h w"], bounds: Bounds, *, straight: bool
) -> tuple[Lines, Lines]:
    """Returns how the cells of a plane pair off, along rows and along columns."""
    dtype = jnp.uint8 if max(_levels(bounds)) <= _BYTE else jnp.uint16
    return _lines(size.T, dtype, straight), _lines(size, dtype, straight)


def _levels(bounds: Bounds) -> tuple[int, int]:
    """Returns how many powers of two are distances along rows, and along columns."""
    return (bounds.width - 1).bit_length(), (bounds.height - 1).bit_length()


def _lines(size: Int32[jax.Array, "along across"], dtype, straight: bool) -> Lines:
    """Returns how cells pair off along the first axis, as numbers of a dtype."""
    regions = regions_of(size)
    length, other = regions.height, regions.width
    place = jnp.arange(len(size), dtype=jnp.int32)[:, None] - regions.top
    lower = ~place & _smear(length - 1 - place)
    # Above this bit, cell number and length agree: the block is the line's last. No
    # longer distance is in `lower`, since the line ends before.
    highest = _smear(place ^ length)
    cut_off = lower & (highest ^ (highest >> 1))
    n = length * other
    ragged = ((length & (length - 1)) | (other & (other - 1))) > 0
    small = (n < VERY_FEW) | ((n < FEW) & ragged)
    large = (length == other) & (length >= LARGE) & ~ragged
    odds = _odds(jnp.maximum(cut_off, 1), length)

    def bit(where, number):
        return jnp.where(where, jnp.uint8(number), jnp.uint8(0))

    sits_out = (
        bit(large, _NO_LAST_ROUND)
        | bit(~small, _NO_EXTRA_ROUNDS)
        | bit(n == 1, _NO_TURNS)
    )
    return Lines(
        upper=place.astype(dtype),
        lower=lower.astype(dtype),
        # Otherwise XLA would keep the quotients, which are four times as large.
        odds=kept(jnp.where(cut_off > 0, odds, 0), straight=straight),
        sits_out=sits_out,
    )


def _odds(
    distance: Int32[jax.Array, "along across"], length: Int32[jax.Array, "along across"]
) -> UInt8[jax.Array, "along across"]:
    """Returns the odds of an exchange over a distance in a line's last block."""
    block = distance + (length & (distance - 1))
    number, divisor = (distance << 9) + block, block << 1
    if max(length.shape) > _EXACT_SIDE:
        return jnp.minimum(jax.lax.div(number, divisor), 255).astype(jnp.uint8)
    # Several times faster. Both are exact in float32, and a quotient of about 256 that
    # is no integer is 1 / divisor or more from the next: rounding does not reach it.
    quotient = number.astype(jnp.float32) / divisor.astype(jnp.float32)
    return jnp.minimum(quotient.astype(jnp.int32), 255).astype(jnp.uint8)


def _smear(x: jax.Array) -> jax.Array:
    """Returns `x` with all bits below its highest set, too."""
    for shift in (1, 2, 4, 8, 16):
        if shift < jnp.iinfo(x.dtype).bits:
            x |= x >> shift
    return x


class _Coins(NamedTuple):
    """The bytes that decide over exchanges along lines, `groups ... along across`.

    Attributes:
      near: for distances below 16.
      middle: for those from there up to 128, and for extra rounds.
      odds: in bit r, whether that of round r shows heads, for blocks that are cut off,
        and `_CUT_OFF` in these; None where there are none.
      far: `groups 2 ...`, for distances from 256 up; None where there are none.
    """

    near: jax.Array
    middle: jax.Array
    odds: jax.Array | None
    far: jax.Array | None


def exchange_lines(
    cells: UInt8[jax.Array, "groups members h w"],
    words: Words,
    lines: tuple[Lines, Lines],
    bounds: Bounds,
    *,
    inverse: bool,
    straight: bool,
) -> UInt8[jax.Array, "groups members h w"]:
    """Exchanges cells, see `vim_jax.permute.exchange_cells`."""
    h, w = cells.shape[2:]
    planes = jax.tree.map(lambda x: x.reshape(-1, BYTES, h, w), words)
    coins = [_coins(planes, lines[axis], axis) for axis in (0, 1)]
    turns = None if planes.turns is None else planes.turns.swapaxes(-1, -2)

    def turn(cells, r):
        if turns is None:
            return cells
        numbers = jax.lax.dynamic_index_in_dim(turns, r % ROUNDS, 1, keepdims=False)
        some = jnp.where(r == ROUNDS - 1, _NO_TURNS | _NO_LAST_ROUND, _NO_TURNS)
        sits_out = (lines[0].sits_out & some.astype(jnp.uint8)) != 0
        numbers = jnp.where(sits_out, 0, numbers)
        return turn_once(cells, numbers, r < ROUNDS, inverse=inverse)

    def along(axis, r, cells):
        heads = _heads(coins[axis], lines[axis], r)[:, None]
        ways = [
            _exchanges(_levels(bounds)[axis], towards, inverse) for towards in (1, -1)
        ]
        count = len(ways[0])
        # Pairs are near in extra rounds.
        left_out = max(0, count - NEAR_LEVELS) * (r // ROUNDS)
        span = (0, count - left_out) if inverse else (left_out, count)
        return trade(cells, heads, *ways, upper_owns=(r & 2) != 0, span=span)

    def one_round(i, cells):
        """Takes cells transposed, and returns them so."""
        r = rounds - 1 - i if inverse else i
        if not inverse:
            cells = along(0, r, turn(cells, r))
        cells = along(1, r, cells.swapaxes(-1, -2)).swapaxes(-1, -2)
        if inverse:
            cells = turn(along(0, r, cells), r)
        return cells

    rounds = ROUNDS + EXTRA_ROUNDS
    cells = repeated(rounds, one_round, cells.swapaxes(-1, -2), straight=straight)
    return cells.swapaxes(-1, -2)


def _exchanges(levels: int, towards: int, inverse: bool) -> list[Step]:
    """Returns exchanges over all distances, an even number: one may do nothing."""
    steps: list[Step] = [
        functools.partial(_exchanged, level=level, towards=towards)
        for level in range(levels)
    ]
    if levels % 2:
        steps.append(lambda cells, _: cells)
    return steps if inverse else steps[::-1]


def _coins(planes: Words, lines: Lines, axis: int) -> _Coins:
    """Returns the coins along an axis, transposed as cells are there.

    Args:
      planes: the words as bytes, uint8 `planes 4 h w`.
      lines: how cells pair off along it.
      axis: 0 along rows, 1 along columns.
    """

    def taken(planes, number):
        """Returns None for None."""
        found = jax.tree.map(lambda planes: planes[:, number], planes)
        return found if axis else jax.tree.map(lambda x: x.swapaxes(-1, -2), found)

    both = slice(2 * axis, 2 * axis + 2)
    odds = taken(planes.odds, both)
    if odds is not None:
        shown = (odds < lines.odds[None, None]).astype(jnp.uint8)
        first, second = shown[:, 0], shown[:, 1]
        # The first adds nothing to the mark, but makes it differ from plane to plane:
        # otherwise XLA would keep it in memory for all of them.
        odds = first | second << 1 | ((lines.odds[None] | first) & _CUT_OFF)
    return _Coins(
        near=taken(planes.coins, axis),
        middle=taken(planes.coins, 2 + axis),
        odds=odds,
        far=taken(planes.far, both),
    )


def _heads(coins: _Coins, lines: Lines, r: Number) -> jax.Array:
    """Returns the distances at which the coin that a cell owns shows heads.

    Args:
      coins: along the lines.
      lines: how their cells pair off.
      r: the round.
    """
    part = jnp.where(r == ROUNDS - 1, _NO_LAST_ROUND, 0)
    part = jnp.where(r < ROUNDS, part, _NO_EXTRA_ROUNDS).astype(jnp.uint8)
    pairs = jnp.where((r & 2) != 0, lines.upper, lines.lower)
    pairs = jnp.where((lines.sits_out & part) != 0, 0, pairs)[None]

    def half(byte):
        """Rounds take turns in which half of a byte is theirs."""
        return (byte >> jnp.uint8(NEAR_LEVELS * (r & 1))) & jnp.uint8(0x0F)

    def whole(byte):
        """Rounds take turns in which byte is theirs."""
        return jax.lax.dynamic_index_in_dim(byte, r & 1, 1, keepdims=False)

    near, middle = half(coins.near), half(coins.middle)
    heads = jnp.where(r < ROUNDS, near | (middle << NEAR_LEVELS), middle)
    heads = heads.astype(pairs.dtype)
    if coins.far is not None:
        heads |= whole(coins.far).astype(pairs.dtype) << _BYTE
    if coins.odds is not None:
        mark = jnp.where(r < 2, jnp.uint8(_CUT_OFF), jnp.uint8(0))
        up_to_longest = _smear(pairs)
        longest = up_to_longest ^ (up_to_longest >> 1)
        cut_off = jnp.where(coins.odds & mark != 0, longest, 0)
        shown = (coins.odds >> jnp.uint8(r & 1)) & 1 != 0
        heads = jnp.where(shown, heads | cut_off, heads & ~cut_off)
    return heads & pairs


def _exchanged(
    cells: UInt8[jax.Array, "groups members along across"],
    heads: jax.Array,
    *,
    level: int,
    towards: int,
) -> UInt8[jax.Array, "groups members along across"]:
    """Exchanges each cell that shows heads with the one `2**level` away.

    None shows heads whose partner would lie beyond the plane.
    """
    mask = jnp.where((heads & (1 << level)) != 0, jnp.uint8(0xFF), jnp.uint8(0))
    away = -towards << level
    change = (cells ^ jnp.roll(cells, away, axis=-2)) & mask
    return cells ^ change ^ jnp.roll(change, -away, axis=-2)
