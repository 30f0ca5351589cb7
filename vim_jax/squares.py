"""Exchanges in squares with sides of powers of two, four cells at a time.

Such squares lie at multiples of their sides. So where the width of a plane is a
multiple of four, cells can be read as uint32 words of four neighbours each, or lanes;
partners are in one word or in the same lane of two words, and the coins of four cells
are a word of the keystream as it comes. That is several times as fast as cell by cell
[measured: `benchmarks/`].
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int32, UInt8, UInt32

from vim_jax.regions import Bounds
from vim_jax.rounds import EXTRA_ROUNDS, LARGE, NEAR_LEVELS, ROUNDS
from vim_jax.steps import Number, repeated, trade
from vim_jax.turns import spread, turn_once
from vim_jax.words import BYTES, Words

LANES = 4
_LOG_LANES = 2
_BITS = 8
_LOW_HALVES = 0x0F0F0F0F
_LONG = 32  # Words, from which on halves are exchanged one by one.
_SMALL_LEVELS = LARGE.bit_length() - 2  # Of distances in squares that are not large.


class Squares(NamedTuple):
    """How the cells of squares pair off: bit k stands for the distance `2**k`.

    Attributes:
      reach: the distances at which the cell is one of a pair, lanes `parts q`: those
        below `2**8`, and those from there up, if there are any.
      upper: those at which it is the upper one, along rows and along columns, the same.
    """

    reach: jax.Array
    upper: tuple[jax.Array, jax.Array]


class _Coins(NamedTuple):
    """The bytes of coins as lanes, uint32 `groups bytes q`.

    Attributes:
      near: for distances below 16.
      middle: for those from there up, and for extra rounds; None where there are none.
      far: for those from 256 up; None where there are none.
    """

    near: jax.Array
    middle: jax.Array | None
    far: jax.Array | None


def squares_of(size: Int32[jax.Array, "h w"], bounds: Bounds) -> Squares:
    """Returns how the cells of a plane pair off; its regions must be such squares."""
    h, w = size.shape
    parts = max(1, -(-_levels(bounds) // _BITS))

    def lanes(numbers):
        bits = jnp.stack([numbers >> _BITS * part for part in range(parts)])
        return _as_lanes(bits.astype(jnp.uint8).reshape(parts, -1))

    reach = lanes(size - 1)
    x = lanes(jnp.arange(w, dtype=jnp.int32))
    y = lanes(jnp.repeat(jnp.arange(h, dtype=jnp.int32), LANES))
    grid = reach.reshape(parts, h, -1)
    upper = (grid & place for place in (x[:, None], y[..., None]))
    rows, columns = (mask.reshape(reach.shape) for mask in upper)
    return Squares(reach, (rows, columns))


def exchange_squares(
    cells: UInt8[jax.Array, "groups members h w"],
    words: Words,
    squares: Squares,
    bounds: Bounds,
    *,
    inverse: bool,
    straight: bool,
) -> UInt8[jax.Array, "groups members h w"]:
    """Exchanges cells, see `vim_jax.permute.exchange_cells`."""
    groups, members, h, w = cells.shape
    lanes = _as_lanes(cells.reshape(groups, members, h * w))
    near, middle = jnp.split(words.coins.reshape(groups, BYTES, -1), 2, axis=1)
    coins = _Coins(
        near,
        middle if _needs_middle(bounds) else None,
        None if words.far is None else words.far.reshape(groups, BYTES, -1),
    )
    turns = words.turns
    if straight:
        coins, turns = jax.lax.optimization_barrier((coins, turns))

    def exchanged(lanes, rounds, most_levels):
        levels = min(_levels(bounds), most_levels)

        def turn(lanes, r):
            if turns is None:
                return lanes
            numbers = _turn_numbers(turns, squares, r)
            return turn_once(lanes, numbers, r < ROUNDS, inverse=inverse)

        def one_round(i, lanes):
            r = rounds.stop - 1 - i if inverse else rounds.start + i
            lanes = lanes if inverse else turn(lanes, r)
            for axis in (1, 0) if inverse else (0, 1):
                heads = _heads(coins, squares, r, axis, rounds, levels)
                ways = [
                    [
                        functools.partial(
                            _exchanged,
                            levels=group,
                            axis=axis,
                            upper_owns=upper_owns,
                            shape=(h, w),
                        )
                        for group in _grouped(levels, axis, inverse, straight)
                    ]
                    for upper_owns in (False, True)
                ]
                lanes = trade(lanes, heads, *ways, upper_owns=(r & 2) != 0)
            return turn(lanes, r) if inverse else lanes

        return repeated(len(rounds), one_round, lanes, straight=straight)

    if _levels(bounds):
        passes = list(_passes(bounds))
        for rounds, most_levels in reversed(passes) if inverse else passes:
            lanes = exchanged(lanes, rounds, most_levels)
    return jax.lax.bitcast_convert_type(lanes, jnp.uint8).reshape(cells.shape)


def _as_lanes(x: UInt8[jax.Array, "... n"]) -> UInt32[jax.Array, "... q"]:
    return jax.lax.bitcast_convert_type(x.reshape(*x.shape[:-1], -1, LANES), jnp.uint32)


def _levels(bounds: Bounds) -> int:
    return (bounds.height - 1).bit_length()


def _turn_numbers(
    turns: UInt32[jax.Array, "k n"], squares: Squares, r: Number
) -> UInt32[jax.Array, "k q"]:
    """Returns the numbers of a round's turns, as squares take them.

    A square of one pixel keeps its colour.
    """
    lanes = turns.reshape(len(turns), BYTES, -1)
    numbers = jax.lax.dynamic_index_in_dim(lanes, r % ROUNDS, 1, keepdims=False)
    reach = squares.reach[0]
    taken = spread(reach) & ~_left_out(reach, r)
    return numbers & taken[None]


def _left_out(reach: UInt32[jax.Array, " q"], r: Number) -> jax.Array:
    """Returns lanes that are full of ones in squares without a round of this number.

    The fourth round is for sides up to 4, those after it for sides of 2.
    """
    smaller = jnp.where(r < ROUNDS, jnp.uint32(_SMALL_LEVELS), jnp.uint32(1))
    return jnp.where(r < ROUNDS - 1, jnp.uint32(0), spread(reach >> smaller))


def _needs_middle(bounds: Bounds) -> bool:
    return _levels(bounds) > NEAR_LEVELS or bounds.smallest <= 2


def _passes(bounds: Bounds) -> Iterator[tuple[range, int]]:
    """Yields rounds, and how many distances they have: small squares have more rounds.

    Never one round alone: XLA would dissolve the loop, and fuse what is in it with what
    makes the keystream.
    """
    if bounds.smallest >= LARGE:
        yield range(ROUNDS - 1), _levels(bounds)
    elif bounds.smallest > 2:
        yield range(ROUNDS), _levels(bounds)
    else:
        yield range(ROUNDS - 1), _levels(bounds)
        yield range(ROUNDS - 1, ROUNDS + EXTRA_ROUNDS), _SMALL_LEVELS


def _grouped(
    levels: int, axis: int, inverse: bool, straight: bool
) -> list[tuple[int, ...]]:
    """Returns levels from the highest, those together that stay within a word.

    The other way round if `inverse`. If `straight`, the next distance joins those
    within a word, which saves a pass over memory.
    """
    together = min(levels, _LOG_LANES) if axis == 0 else 0
    if straight and together:
        together = min(levels, together + 1)
    order = list(reversed(range(levels)))
    groups: list[tuple[int, ...]] = [(level,) for level in order[: levels - together]]
    if together:
        groups.append(tuple(order[-together:]))
    return [group[::-1] for group in reversed(groups)] if inverse else groups


def _heads(
    coins: _Coins, squares: Squares, r: Number, axis: int, rounds: range, levels: int
) -> UInt32[jax.Array, "parts groups 1 q"]:
    """Returns the distances at which the coin that a cell owns shows heads.

    Args:
      coins: of all cells.
      squares: of the plane.
      r: the round.
      axis: 0 along rows, 1 along columns.
      rounds: those that it is one of.
      levels: how many distances they have.
    """
    upper = squares.upper[axis]
    pairs = jnp.where((r & 2) != 0, upper, squares.reach ^ upper)
    if rounds.stop >= ROUNDS:
        pairs &= ~_left_out(squares.reach[0], r)[None]

    def half(lanes):
        """Rounds take turns in which half of a byte is theirs."""
        shift = jnp.uint32(NEAR_LEVELS * (r & 1))
        return (lanes[:, axis] >> shift) & jnp.uint32(_LOW_HALVES)

    shown = half(coins.near)
    if coins.middle is not None and rounds.stop > ROUNDS:
        shown = jnp.where(r < ROUNDS, shown, half(coins.middle))
    elif coins.middle is not None and levels > NEAR_LEVELS:
        shown |= half(coins.middle) << NEAR_LEVELS
    parts = [shown]
    if coins.far is not None:
        index = (r & 1) + 2 * axis
        parts.append(jax.lax.dynamic_index_in_dim(coins.far, index, 1, keepdims=False))
    return (jnp.stack(parts) & pairs[:, None])[:, :, None]


def _exchanged(
    lanes: UInt32[jax.Array, "groups members q"],
    heads: UInt32[jax.Array, "parts groups 1 q"],
    *,
    levels: tuple[int, ...],
    axis: int,
    upper_owns: bool,
    shape: tuple[int, int],
) -> UInt32[jax.Array, "groups members q"]:
    """Exchanges cells whose coins show heads with their partners, level by level."""
    h, row = shape[0], shape[1] // LANES
    for level in levels:
        part, bit = divmod(level, _BITS)
        mask = spread(heads[part] >> bit)
        if axis == 0 and level < _LOG_LANES:
            lanes = _exchanged_in_words(lanes, mask, _BITS << level, upper_owns)
            continue
        if axis == 0:
            distance = 1 << level - _LOG_LANES
            in_halves = row % (2 * distance) == 0
        else:
            distance = row << level
            in_halves = h % (2 << level) == 0
        if not in_halves:
            exchange = _exchanged_at
        elif 1 < distance < _LONG:
            exchange = _exchanged_nearby
        else:
            exchange = _exchanged_halves
        lanes = exchange(lanes, mask, distance, upper_owns)
    return lanes


def _exchanged_in_words(lanes, mask, shift, upper_owns):
    """Exchanges over so many bits of a word."""
    if upper_owns:
        change = (lanes ^ (lanes << shift)) & mask
        return lanes ^ change ^ (change >> shift)
    change = (lanes ^ (lanes >> shift)) & mask
    return lanes ^ change ^ (change << shift)


def _exchanged_halves(lanes, mask, distance, upper_owns):
    """Exchanges over so many words, where they divide into blocks of twice as many."""
    halves = lanes.reshape(*lanes.shape[:2], -1, 2, distance)
    mask = mask.reshape(*mask.shape[:2], -1, 2, distance)[..., int(upper_owns), :]
    lower, upper = halves[..., 0, :], halves[..., 1, :]
    change = (lower ^ upper) & mask
    return jnp.stack([lower ^ change, upper ^ change], axis=-2).reshape(lanes.shape)


def _exchanged_nearby(lanes, mask, distance, upper_owns):
    """The same in one go for both halves: faster, if they are a few words each."""
    halves = lanes.reshape(*lanes.shape[:2], -1, 2, distance)
    mask = mask.reshape(*mask.shape[:2], -1, 2, distance)[..., int(upper_owns), :]
    change = (halves ^ halves[..., ::-1, :]) & mask[..., None, :]
    return (halves ^ change).reshape(lanes.shape)


def _exchanged_at(lanes, mask, distance, upper_owns):
    """The same, where they do not: words without a partner own no coin."""
    away = distance if upper_owns else -distance
    change = (lanes ^ jnp.roll(lanes, away, axis=-1)) & mask
    return lanes ^ change ^ jnp.roll(change, -away, axis=-1)
