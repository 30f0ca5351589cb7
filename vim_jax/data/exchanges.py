"""The exchanges of `docs/permutation.md`, in many rectangles of one shape at a time.

Rectangles lie side by side in buffers that fit a cache, a byte of each after the other,
and lines along one axis before those across: so what is exchanged are long runs of
bytes, whatever the distance.
"""

from typing import no_type_check

import numpy as np

from vim_jax.data.compiled import compiled, helper
from vim_jax.rounds import NEAR_LEVELS, ROUNDS

_BITS = 8
_COINS, _OTHERS = 0b1010, 0b1100  # Along which axis each byte decides, 1 for columns.
_BYTES = 1 << 16  # Of cells at a time; they and their coins fit a cache.
_SIDE_BY_SIDE = 64  # Rectangles at a time,
_FEW = 1 << 11  # or more if they have fewer cells than this.
_LONG = 16  # Bytes that are worth a loop of their own.
_TILE = 32  # Side of what is transposed at a time, for the sake of the cache.


@no_type_check
@compiled
def bytes_needed(height, width, rounds):
    """Returns how many bytes of each word of coins, odds and far a shape takes."""
    longest = max(height, width)
    wide = longest > 1 << NEAR_LEVELS or rounds > ROUNDS
    ragged = height & (height - 1) or width & (width - 1)
    return 4 if wide else 2, 4 if ragged else 0, 4 if longest > 1 << _BITS else 0


@no_type_check
@compiled
def exchange_rectangles(
    cells, first, stride, height, width, coins, odds, far, turns, rounds, inverse
):
    """Exchanges the cells of rectangles that do not overlap, in place.

    Args:
      cells: uint8 `planes members pixels` of an image. Members of a cell move together.
        If there are turns, the cells of a pixel take them.
      first: int64 `n`, numbers of the first pixels of rectangles.
      stride: from a pixel to the one below it.
      height: of each rectangle, in pixels.
      width: of each rectangle, in pixels.
      coins: uint8 `planes bytes pixels`, of the keystream, bytes as many as are needed
        or more, like the following.
      odds: uint8 `planes bytes pixels`.
      far: uint8 `planes bytes pixels`.
      turns: uint8 `words 4 pixels`; no words if there are no turns.
      rounds: see `vim_jax.rounds.rounds_of`.
      inverse: whether to undo it.
    """
    planes, members, _ = cells.shape
    area = height * width
    most = max(_SIDE_BY_SIDE, _FEW // area)
    most = max(1, min(most, _BYTES // (area * planes * members)))
    x = np.empty((planes, members, area * most), np.uint8)
    transposed = np.empty_like(x)
    coin_bytes, odd_bytes, far_bytes = bytes_needed(height, width, rounds)
    c = np.empty((planes, coin_bytes, area * most), np.uint8)
    o = np.empty((planes, odd_bytes, area * most), np.uint8)
    f = np.empty((planes, far_bytes, area * most), np.uint8)
    t = np.empty((turns.shape[0], turns.shape[1], area * most), np.uint8)

    for start in range(0, first.size, most):
        some = first[start : start + most]
        n = some.size
        axis = 1 if inverse else 0
        _gather(cells, some, stride, height, width, -axis, x)
        _gather(coins, some, stride, height, width, _COINS, c)
        _gather(odds, some, stride, height, width, _OTHERS, o)
        _gather(far, some, stride, height, width, _OTHERS, f)
        _gather(turns, some, stride, height, width, 0, t)

        for step in range(2 * rounds):
            r = (2 * rounds - 1 - step if inverse else step) // 2
            if step:
                axis = 1 - axis
                rows, columns = (height, width) if axis else (width, height)
                for p in range(planes):
                    for m in range(members):
                        _transpose(x[p, m], rows, columns, n, transposed[p, m])
                x, transposed = transposed, x
            turning = axis == 0 and turns.shape[0] > 0 and r < ROUNDS
            if turning and not inverse:
                _turn(x, t[:, r], area * n, inverse)
            length, run = (height, width * n) if axis else (width, height * n)
            for p in range(planes):
                _exchange_lines(x[p], length, run, r, axis, c[p], o[p], f[p], inverse)
            if turning and inverse:
                _turn(x, t[:, r], area * n, inverse)
        _scatter(x, some, stride, height, width, axis, cells)


@no_type_check
@helper
def _gather(planes, first, stride, height, width, axes, out):
    """Reads rectangles, one pixel of each after the other.

    Args:
      planes: uint8 `planes bytes pixels`.
      first: see `exchange_rectangles`, as the following.
      stride: from a pixel to the one below it.
      height: of each rectangle, in pixels.
      width: of each rectangle, in pixels.
      axes: bits, one for each byte of a pixel: 0 to have the pixels of a column follow
        each other first, 1 those of a row.
      out: uint8 `planes bytes cells`, to be filled; it may have fewer bytes.
    """
    for p in range(out.shape[0]):
        for b in range(out.shape[1]):
            axis = axes >> b & 1
            _copy(planes[p, b], first, stride, height, width, axis, out[p, b], True)


@no_type_check
@helper
def _scatter(x, first, stride, height, width, axis, planes):
    """Writes rectangles back to where they were, see `_gather`."""
    for p in range(planes.shape[0]):
        for b in range(planes.shape[1]):
            _copy(planes[p, b], first, stride, height, width, axis, x[p, b], False)


@no_type_check
@helper
def _copy(plane, first, stride, height, width, axis, flat, gather):
    """Copies a byte of the pixels of rectangles, see `_gather`, or back."""
    length, lines, along, across = _lines(stride, height, width, axis)
    n = first.size
    if n >= _LONG:
        for i in range(length):
            for j in range(lines):
                there, here = i * along + j * across, (i * lines + j) * n
                for k in range(n):
                    if gather:
                        flat[here + k] = plane[first[k] + there]
                    else:
                        plane[first[k] + there] = flat[here + k]
        return
    cells = flat[: length * lines * n].reshape(length, lines, n)
    image = plane.reshape(-1, stride)
    for k in range(n):
        top, left = first[k] // stride, first[k] % stride
        for i in range(0, length, _TILE):
            for j in range(0, lines, _TILE):
                some = cells[i : i + _TILE, j : j + _TILE, k]
                rows, columns = some.shape
                y, x = (top + i, left + j) if axis else (top + j, left + i)
                part = image[y:, x:]
                for r in range(rows):
                    for c in range(columns):
                        if axis and gather:
                            some[r, c] = part[r, c]
                        elif axis:
                            part[r, c] = some[r, c]
                        elif gather:
                            some[r, c] = part[c, r]
                        else:
                            part[c, r] = some[r, c]


@no_type_check
@helper
def _lines(stride, height, width, axis):
    """Returns the length and number of lines, and the steps along and across them."""
    if axis == 0:
        return width, height, 1, stride
    return height, width, stride, 1


@no_type_check
@helper
def _transpose(x, rows, columns, n, out):
    """Turns `columns rows n` into `rows columns n`, both at the start of arrays."""
    cells = rows * columns * n
    x = x[:cells].reshape(columns, rows, n)
    out = out[:cells].reshape(rows, columns, n)
    if n >= _LONG:
        for i in range(rows):
            for j in range(columns):
                for k in range(n):
                    out[i, j, k] = x[j, i, k]
        return
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            here = x[left : left + _TILE, top : top + _TILE]
            there = out[top : top + _TILE, left : left + _TILE]
            for k in range(n):
                for i in range(there.shape[0]):
                    for j in range(there.shape[1]):
                        there[i, j, k] = here[j, i, k]


@no_type_check
@helper
def _exchange_lines(x, length, run, r, axis, coins, odds, far, inverse):
    """Does the exchanges of a round along one axis, of all distances.

    Args:
      x: uint8 `members cells`: first the first cells of all lines, then the second
        ones, and so on.
      length: of the lines, in cells.
      run: how many lines there are.
      r: the round.
      axis: 0 along rows, 1 along columns.
      coins: bytes of the cells, `bytes cells`, like `odds` and `far`.
      odds: see `exchange_rectangles`.
      far: see `exchange_rectangles`.
      inverse: whether to undo it.
    """
    levels = 0
    while 1 << levels < length:
        levels += 1
    if r >= ROUNDS:
        levels = min(levels, NEAR_LEVELS)
    half = NEAR_LEVELS * (r & 1)
    for step in range(levels):
        level = step if inverse else levels - 1 - step
        if level >= _BITS:
            key, bit = far[(r & 1) + 2 * axis], level - _BITS
        elif level < NEAR_LEVELS and r < ROUNDS:
            key, bit = coins[axis], level + half
        else:
            key, bit = coins[2 + axis], level % NEAR_LEVELS + half
        distance = 1 << level
        block = 2 * distance
        for start in range(0, length - distance, block):
            size = min(block, length - start)
            pairs = (size - distance) * run
            lower = start * run
            upper = lower + distance * run
            owner = upper if r & 2 else lower
            if r < 2 and size < block:
                own = odds[r + 2 * axis, owner : owner + pairs]
                limit = min(255, (256 * block + size) // (2 * size))
                for member in x:
                    _exchange_by_odds(
                        member[lower : lower + pairs],
                        member[upper : upper + pairs],
                        own,
                        limit,
                    )
            else:
                own = key[owner : owner + pairs]
                for member in x:
                    _exchange_by_coin(
                        member[lower : lower + pairs],
                        member[upper : upper + pairs],
                        own,
                        bit,
                    )


@no_type_check
@helper
def _exchange_by_coin(lower, upper, own, bit):
    """Exchanges cells where a bit of the owner's byte is set, all uint8 `pairs`."""
    for k in range(lower.size):
        heads = -((own[k] >> np.uint8(bit)) & np.uint8(1))
        change = (lower[k] ^ upper[k]) & heads
        lower[k] ^= change
        upper[k] ^= change


@no_type_check
@helper
def _exchange_by_odds(lower, upper, own, limit):
    """Exchanges cells where the owner's byte is below a limit, all uint8 `pairs`."""
    for k in range(lower.size):
        heads = -np.uint8(own[k] < np.uint8(limit))
        change = (lower[k] ^ upper[k]) & heads
        lower[k] ^= change
        upper[k] ^= change


@no_type_check
@helper
def _turn(x, numbers, count, inverse):
    """Has the cells of each pixel trade places.

    Args:
      x: `planes members cells`.
      numbers: a byte of each turns word of a pixel, `words cells`.
      count: how many cells a plane has.
      inverse: whether to undo it.
    """
    planes, members, _ = x.shape
    for step in range(planes - 1):
        j = 1 + step if inverse else planes - 1 - step
        word = numbers[max(0, j - 2)]
        for k in range(count):
            number = np.int64(word[k])
            if j == 1:
                back = number & 1
            elif j == 2:
                back = (number >> 1) * 3 >> 7
            else:
                back = number * (j + 1) >> 8
            for m in range(members):
                x[j, m, k], x[j - back, m, k] = x[j - back, m, k], x[j, m, k]
