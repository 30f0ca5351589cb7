"""The exchanges of `docs/permutation.md` in NumPy, in many rectangles at a time.

Files come in any shape, and JAX compiles for seconds for each; this has nothing to
compile. Of rectangles of one shape, pairs are slices, which makes up for what NumPy
cannot fuse. Those that the edges of images cut off lie in larger ones, with masks.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import numpy as np

from vim_jax.rounds import NEAR_LEVELS, ROUNDS

Part: TypeAlias = Literal["coins", "turns", "odds", "far"]

Draw: TypeAlias = Callable[[Part, int], np.ndarray]
"""Gives a byte of a part of the keystream for each cell, uint8 `h w n`."""

_BITS = 8
_SHORT = 256  # Fewer rectangles are worth a copy in which loops are longer [measured].


def exchange_rectangles(
    cells: np.ndarray,
    draw: Draw,
    sides: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    *,
    rounds: int,
    turning: int = 1,
    inverse: bool,
) -> np.ndarray:
    """Returns the cells of rectangles after all rounds.

    Args:
      cells: uint8 `members h w n`, of n rectangles; members move together. They may be
        overwritten.
      draw: gives the bytes that decide.
      sides: heights and widths, int64 `n` each, of rectangles in the upper left corners
        of theirs; anything may be in the rest, and will be. None of those that fill it.
      rounds: how many each takes, see `vim_jax.rounds.rounds_of`.
      turning: how many planes take turns: a part of the rectangles has the first
        channels of the pixels, the next part the second ones, and so on.
      inverse: whether to undo it.
    """
    read = functools.cache(lambda part, byte, axis: _lines(draw(part, byte), axis))
    for r in reversed(range(rounds)) if inverse else range(rounds):
        turn = turning > 1 and r < ROUNDS
        if turn and not inverse:
            _turn(cells, draw("turns", r), turning, inverse=False)
        for axis in (1, 0) if inverse else (0, 1):
            lines = _lines(cells, axis)
            lengths = sides[1 - axis]
            levels = range((lines.shape[1] - 1).bit_length())
            if r >= ROUNDS:
                levels = levels[:NEAR_LEVELS]
            byte = functools.partial(read, axis=axis)
            for level in levels if inverse else reversed(levels):
                pairs = _pairs(lines, lengths, r, axis, level, byte)
                for lower, upper, heads in pairs:
                    change = lower ^ upper
                    change &= heads
                    lower ^= change
                    upper ^= change
            cells = lines.swapaxes(1, 2) if axis == 0 else lines
        if turn and inverse:
            _turn(cells, draw("turns", r), turning, inverse=True)
    return cells


def _lines(x: np.ndarray, axis: int) -> np.ndarray:
    """Returns `... h w n` with the axis along the lines before that across them."""
    lines = x.swapaxes(-3, -2) if axis == 0 else x
    return lines if x.shape[-1] >= _SHORT else np.ascontiguousarray(lines)


def _pairs(
    lines: np.ndarray,
    lengths: np.ndarray | None,
    r: int,
    axis: int,
    level: int,
    byte: Callable[[Part, int], np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields views of lower cells and of upper ones, and bytes full of ones for heads.

    Args:
      lines: `members length lines n`.
      lengths: of the lines, int64 `n`; None if all are filled.
      r: the round.
      axis: 0 along rows, 1 along columns.
      level: of the distance `2**level`.
      byte: gives bytes of the keystream, `length lines n`.
    """
    distance, length = 1 << level, lines.shape[1]
    block = 2 * distance
    part, number, bit = _coin(r, axis, level)
    whole = length - length % block
    for start, end in ((0, whole), (whole, length)):
        if end - start <= distance:
            continue
        half = functools.partial(_half, start=start, end=end, distance=distance)
        own = half(upper=bool(r & 2))
        first = np.arange(start, end, block)[:, None, None, None]
        if lengths is None:
            cut_off = np.array(end - start < block)
        else:
            cut_off = (first < lengths) & (lengths < first + block)
        fair = r >= 2 or not cut_off.any()
        if fair or not cut_off.all():
            heads = _spread(own(byte(part, number)), bit)
        if not fair:
            odds = _odds(length if lengths is None else lengths, block)
            shown = _full(own(byte("odds", r + 2 * axis)) < odds)
            heads = shown if cut_off.all() else np.where(cut_off, shown, heads)
        if lengths is not None:
            place = first + np.arange(heads.shape[1])[:, None, None]
            heads &= _full(place + distance < lengths)
        yield half(upper=False)(lines), half(upper=True)(lines), heads


def _half(
    start: int, end: int, distance: int, upper: bool
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns how to view the lower or the upper cells of pairs.

    From `... length lines n` to `... blocks places lines n`.
    """

    def view(x):
        if (end - start) % (2 * distance):
            pairs = end - start - distance
            first = start + distance * upper
            return x[..., None, first : first + pairs, :, :]
        x = x[..., start:end, :, :]
        x = x.reshape(*x.shape[:-3], -1, 2, distance, *x.shape[-2:])
        return x[..., int(upper), :, :, :]

    return view


def _odds(length, block: int):
    """Returns the 256ths of an exchange in the last block, which a line cuts off."""
    size = np.maximum(length % block, 1)
    return np.minimum(255, (256 * block + size) // (2 * size)).astype(np.uint8)


def _coin(r: int, axis: int, level: int) -> tuple[Part, int, int]:
    """Returns where the coin of a pair is: part, byte and bit."""
    if level >= _BITS:
        return "far", (r & 1) + 2 * axis, level - _BITS
    half = NEAR_LEVELS * (r & 1)
    if level < NEAR_LEVELS and r < ROUNDS:
        return "coins", axis, level + half
    return "coins", 2 + axis, level % NEAR_LEVELS + half


def _spread(numbers: np.ndarray, bit: int) -> np.ndarray:
    """Returns bytes of which all bits are the given one."""
    shown = np.bitwise_and(numbers, np.uint8(1 << bit))
    return _full(np.not_equal(shown, 0, out=shown.view(bool)))


def _full(truth: np.ndarray) -> np.ndarray:
    """Returns bytes full of ones where something is true; overwrites it."""
    ones = truth.view(np.uint8)
    return np.negative(ones, out=ones)


def _turn(cells: np.ndarray, numbers: np.ndarray, planes: int, *, inverse: bool):
    """Has the cells of each pixel trade places.

    Args:
      cells: `members h w n`, n of all planes.
      numbers: a byte of each turns word of a pixel, `h w n`, n of planes of words.
      planes: of channels.
      inverse: whether to undo it.
    """
    channels = np.split(cells, planes, axis=-1)  # Views.
    words = np.split(numbers, max(1, planes - 2), axis=-1)
    last = range(1, planes)
    for j in last if inverse else reversed(last):
        back = _back(j, words[max(0, j - 2)])
        for i in range(j):
            change = (channels[i] ^ channels[j]) & _full(back == j - i)
            channels[i] ^= change
            channels[j] ^= change


def _back(j: int, numbers: np.ndarray) -> np.ndarray:
    """Returns how many planes before plane j the one is that it meets."""
    number = numbers.astype(np.uint16)
    if j == 1:
        return number & 1
    return (number >> 1) * 3 >> 7 if j == 2 else number * (j + 1) >> 8
