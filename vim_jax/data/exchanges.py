"""The exchanges of `docs/permutation.md`, in many rectangles of one shape at a time.

Rectangles lie side by side in buffers that fit a cache, see `rectangles`: so what is
exchanged are long runs of bytes, whatever the distance.
"""

from typing import no_type_check

import numpy as np

from vim_jax.data.compiled import compiled, helper
from vim_jax.data.rectangles import gather, scatter, transpose
from vim_jax.rounds import NEAR_LEVELS, ROUNDS

_BITS = 8
_COINS, _OTHERS = 0b1010, 0b1100  # Along which axis each byte decides, 1 for columns.
_BYTES = 1 << 16  # Of cells at a time; they and their coins fit a cache.
_SIDE_BY_SIDE = 64  # Rectangles at a time,
_FEW = 1 << 11  # or more if they have fewer cells than this.


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
        gather(cells, some, stride, height, width, -axis, x)
        gather(coins, some, stride, height, width, _COINS, c)
        gather(odds, some, stride, height, width, _OTHERS, o)
        gather(far, some, stride, height, width, _OTHERS, f)
        gather(turns, some, stride, height, width, 0, t)

        for step in range(2 * rounds):
            r = (2 * rounds - 1 - step if inverse else step) // 2
            if step:
                axis = 1 - axis
                rows, columns = (height, width) if axis else (width, height)
                for p in range(planes):
                    for m in range(members):
                        transpose(x[p, m], rows, columns, n, transposed[p, m])
                x, transposed = transposed, x
            turning = axis == 0 and turns.shape[0] > 0 and r < ROUNDS
            if turning and not inverse:
                _turn(x, t[:, r], area * n, inverse)
            length, run = (height, width * n) if axis else (width, height * n)
            for p in range(planes):
                _exchange_lines(x[p], length, run, r, axis, c[p], o[p], f[p], inverse)
            if turning and inverse:
                _turn(x, t[:, r], area * n, inverse)
        scatter(x, some, stride, height, width, axis, cells)


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
            limit, own = 0, key[owner : owner + pairs]
            if r < 2 and size < block:
                limit = min(255, (256 * block + size) // (2 * size))
                own = odds[r + 2 * axis, owner : owner + pairs]
            for member in x:
                _exchange(
                    member[lower : lower + pairs],
                    member[upper : upper + pairs],
                    own,
                    bit,
                    limit,
                )


@no_type_check
@helper
def _exchange(lower, upper, own, bit, limit):
    """Exchanges the cells of pairs whose coin shows heads.

    Args:
      lower: uint8 `pairs`, like the following.
      upper: uint8 `pairs`.
      own: uint8 `pairs`, the bytes of the owners.
      bit: which bit of them is the coin,
      limit: or below which number they show heads; 0 to look at the bit.
    """
    for k in range(lower.size):
        if limit:
            heads = -np.uint8(own[k] < np.uint8(limit))
        else:
            heads = -((own[k] >> np.uint8(bit)) & np.uint8(1))
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
