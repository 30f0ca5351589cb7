"""Keyed permutations: how keystream words move the cells of an image.

This is version 2 of the specification in `docs/permutation.md`: cells of a region trade
places in pairs, at distances of powers of two along rows and columns, as coins fall;
if channels mix, so do the cells of a pixel, in turns.
Every step is the same few vector instructions for all cells of an image, whatever their
regions, which is many times faster than sorting [measured: `benchmarks/`].
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vim_jax._types import Channels
from vim_jax.regions import Bounds, Regions

SPEC_VERSION = 2

_ROUNDS = 4
_LARGE = 8  # Sides of squares that take a round less.
_EXTRA_ROUNDS = 4
_EXTRA_LEVELS = 4
_FEW, _VERY_FEW = 64, 16
_BYTE = 8
_EXACT_BITS = 12
_LONG = 32


class Words(NamedTuple):
    """Parts of an image's keystream, uint32; see `docs/permutation.md`.

    One word a cell that moves by itself, but for turns.

    Attributes:
      coins: for distances below 256 cells.
      turns: for the cells of a pixel, `k` a pixel; None where channels do not mix.
      odds: for sides that are no powers of two; None where there are none.
      far: for distances of 256 cells and more; None where there are none.
    """

    coins: jax.Array
    turns: jax.Array | None = None
    odds: jax.Array | None = None
    far: jax.Array | None = None


class Grid(NamedTuple):
    """How the cells of a plane pair off, `h w`.

    Attributes:
      lines: the pairs along rows, and along columns.
      levels: how many powers of two are distances along rows, and along columns.
      rounds: which there are, and how many distances they have at most.
    """

    lines: "_Squares | _Lines"
    levels: tuple[int, int]
    rounds: tuple[tuple[range, int], ...]


class _Squares(NamedTuple):
    """How the cells of squares with sides of powers of two pair off.

    Bit k of a mask, uint8 or uint16, stands for the distance 2**k.

    Attributes:
      reach: `rows row_cells`, the distances at which the cell is one of a pair.
      upper: `2 rows row_cells`, those at which it is the upper one, along rows and
        along columns.
    """

    reach: jax.Array
    upper: jax.Array


class _Lines(NamedTuple):
    """How the cells of any lines pair off, `2 ... rows row_cells`; masks as above.

    Attributes:
      pairs: `2 | 4` a line, bit k set where the cell owns the coin of a pair: in rounds
        0 and 1, in 2 and 3, and so on.
      cut_off: the same for rounds 0 and 1, at the one distance where the cell's block
        is cut off.
      odds: uint8, 256ths in favour of an exchange there.
      large: bool, whether the cell is in a square that takes a round less.
    """

    pairs: jax.Array
    cut_off: jax.Array
    odds: jax.Array
    large: jax.Array


def moving_cells(shape: tuple[int, int, int], channels: Channels) -> int:
    """Returns how many cells of an `h w c` image move by themselves."""
    h, w, c = shape
    return h * w if channels == "joint" else h * w * c


def turn_words(image_channels: int, channels: Channels) -> int:
    """Returns how many words for turns a pixel has."""
    if channels != "mixed" or image_channels == 1:
        return 0
    return max(1, image_channels - 2)


def needs_odds(bounds: Bounds) -> bool:
    """Whether lines may have lengths that are no powers of two."""
    return not bounds.squares


def needs_far(bounds: Bounds) -> bool:
    """Whether lines may be longer than 256 cells."""
    return max(bounds.width, bounds.height) > 1 << _BYTE


class Starts(NamedTuple):
    """Where the parts of an image's keystream begin, see `docs/permutation.md`."""

    regions: int
    turns: int
    odds: int
    far: int
    end: int


def starts_of(shape: tuple[int, int, int], channels: Channels) -> Starts:
    """Returns where the parts of the keystream of an `h w c` image begin."""
    h, w, c = shape
    moving, pixels = moving_cells(shape, channels), h * w
    turns = moving + pixels
    odds = turns + pixels * turn_words(c, channels)
    return Starts(moving, turns, odds, odds + moving, odds + 2 * moving)


def grid_of(regions: Regions, bounds: Bounds) -> Grid:
    """Returns how the cells of a plane pair off."""
    levels = ((bounds.width - 1).bit_length(), (bounds.height - 1).bit_length())
    dtype = jnp.uint8 if max(levels) <= _BYTE else jnp.uint16
    most, end = max(levels), _ROUNDS + _EXTRA_ROUNDS
    if not bounds.squares:
        rounds = ((range(_ROUNDS), most), (range(_ROUNDS, end), _EXTRA_LEVELS))
        return Grid(_any_lines(regions, dtype), levels, rounds)
    if bounds.smallest >= _LARGE:
        rounds = ((range(_ROUNDS - 1), most),)
    elif bounds.smallest > 2:
        rounds = ((range(_ROUNDS), most),)
    else:
        # Here the fourth round is for sides of 2 and 4, and those after it for 2.
        rounds = ((range(_ROUNDS - 1), most), (range(_ROUNDS - 1, end), 2))
    return Grid(_squares(regions.height, dtype), levels, rounds)


def _squares(side: jax.Array, dtype) -> _Squares:
    """Returns the pairs in squares, which lie at multiples of their sides."""
    h, w = side.shape
    reach = (side - 1).astype(dtype)
    x, y = (jnp.arange(length, dtype=jnp.int32).astype(dtype) for length in (w, h))
    return _Squares(reach, jnp.stack([reach & x[None], reach & y[:, None]]))


def _any_lines(regions: Regions, dtype) -> _Lines:
    """Returns the pairs of any regions."""
    top, left, height, width = regions
    h, w = top.shape
    x = jnp.arange(w, dtype=jnp.int32)[None] - left
    y = jnp.arange(h, dtype=jnp.int32)[:, None] - top
    # A loop rather than `vmap`, because XLA would compute it anew for each use.
    return jax.lax.map(
        lambda line: _lines(line[0], line[1], line[2], dtype),
        (jnp.stack([x, y]), jnp.stack([width, height]), jnp.stack([height, width])),
    )


def _smear(x: jax.Array, bits: int) -> jax.Array:
    """Returns `x` with all bits below its highest set, too."""
    shift = 1
    while shift < bits:
        x |= x >> shift
        shift *= 2
    return x


def _lines(place, length, other, dtype) -> _Lines:
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
    small = (n < _VERY_FEW) | ((n < _FEW) & ragged)
    near = jnp.where(small, 2**_EXTRA_LEVELS - 1, 0)
    pairs = jnp.stack([lower, upper, lower & near, upper & near]).astype(dtype)
    # Above this bit, cell number and length agree: the block is the line's last.
    highest = _smear(place ^ length, bits)
    highest ^= highest >> 1
    cut_off = lower & highest
    distance = jnp.maximum(cut_off, 1)
    block = distance + (length & (distance - 1))
    odds = _floor_of_ratio((distance << 9) + block, block << 1, bits)
    odds = jnp.minimum(odds, 255).astype(jnp.uint8)
    large = (length == other) & (length >= _LARGE) & ~ragged
    return _Lines(pairs, cut_off.astype(dtype), odds, large)


def _floor_of_ratio(number: jax.Array, divisor: jax.Array, bits: int) -> jax.Array:
    """Returns the integer part of the odds of lines of up to `2**bits` cells."""
    if bits > _EXACT_BITS:
        return jax.lax.div(number, divisor)
    # Several times faster. Both are exact in float32, and a quotient of about 256 that
    # is no integer is 1 / divisor or more from the next: rounding does not reach it.
    quotient = number.astype(jnp.float32) / divisor.astype(jnp.float32)
    return quotient.astype(jnp.int32)


def exchange_cells(
    cells: jax.Array, words: Words, grid: Grid, *, inverse: bool = False
) -> jax.Array:
    """Permutes the cells of each region among themselves.

    Args:
      cells: of any unsigned dtype, `planes h w`. Cells stay in their plane, unless
        there are words for turns.
      words: the keystream, plane by plane.
      grid: how the cells of a plane pair off.
      inverse: whether to undo it.
    """
    planes, h, w = cells.shape
    aligned = isinstance(grid.lines, _Squares)
    # Flat, for long loops: pairs never reach into another line.
    lines = jax.tree.map(lambda x: x.reshape(*x.shape[:-2], 1, -1), grid.lines)
    words = jax.tree.map(lambda x: x.reshape(-1, h * w), words)

    def turned(cells, r):
        if words.turns is None:
            return cells
        cells = cells.reshape(planes, h * w)
        return _turned(cells, words.turns, r, inverse).reshape(-1)

    def exchanged(cells, rounds, most_levels):
        def one_round(i, cells):
            r = rounds.stop - 1 - i if inverse else rounds.start + i
            cells = cells if inverse else turned(cells, r)
            for axis in (1, 0) if inverse else (0, 1):
                levels = min(grid.levels[axis], most_levels)
                if levels:
                    along = (h, w) if axis else (w, 1)
                    steps = [_step(k, *along, aligned) for k in range(levels)]
                    heads = _heads(words, lines, r, axis).reshape(-1)
                    cells = _trade(cells, heads, r, steps, inverse)
            return turned(cells, r) if inverse else cells

        return jax.lax.fori_loop(0, len(rounds), one_round, cells)

    flat = cells.reshape(-1)
    for rounds, most_levels in reversed(grid.rounds) if inverse else grid.rounds:
        flat = exchanged(flat, rounds, most_levels)
    return flat.reshape(cells.shape)


def turns_in(regions: Regions, words: jax.Array) -> jax.Array:
    """Returns words for turns, `k h w`, as regions take them.

    A region of one pixel keeps its colour, and some squares take a round less.
    """
    height, width = regions.height, regions.width
    single = (height == 1) & (width == 1)
    large = (height == width) & (height >= _LARGE) & ((height & (height - 1)) == 0)
    last = jnp.uint32(0xFF << _BYTE * (_ROUNDS - 1))
    read = jnp.where(single, 0, jnp.where(large, ~last, ~jnp.uint32(0)))
    return words.reshape(-1, *height.shape) & read[None]


def _turned(cells: jax.Array, words: jax.Array, r, inverse: bool) -> jax.Array:
    """Returns cells with those of each pixel in random order.

    From the last plane on, each trades places with one so many planes before it.

    Args:
      cells: `planes n`.
      words: `k n`.
      r: the round.
      inverse: whether to undo it.
    """
    shift = (_BYTE * (r % _ROUNDS)).astype(jnp.uint32)
    byte = ((words >> shift) & jnp.uint32(0xFF)).astype(jnp.uint16)
    byte = jnp.where(r < _ROUNDS, byte, 0)
    # Computed once, and not by each exchange.
    byte = jax.lax.optimization_barrier(byte)

    def back(j):
        if j == 1:
            return byte[:1] & 1
        if j == 2:
            return ((byte[:1] >> 1) * 3) >> (_BYTE - 1)
        return (byte[j - 2 : j - 1] * (j + 1)) >> _BYTE

    steps = [(i, j) for j in reversed(range(1, len(cells))) for i in range(j)]
    for i, j in reversed(steps) if inverse else steps:
        one, other = cells[i : i + 1], cells[j : j + 1]
        change = jnp.where(back(j) == j - i, one ^ other, 0)
        # In place: to stack planes anew takes ten times as long [measured].
        change = jax.lax.optimization_barrier(change)
        for k, plane in ((i, one), (j, other)):
            cells = jax.lax.dynamic_update_slice_in_dim(cells, plane ^ change, k, 0)
    return cells


def _heads(words: Words, lines: _Squares | _Lines, r, axis: int) -> jax.Array:
    """Returns the distances at which the coin that a cell owns shows heads.

    Args:
      words: `planes n`.
      lines: `... 1 n`.
      r: the round.
      axis: 0 along rows, 1 along columns.
    """
    if isinstance(lines, _Squares):
        upper = lines.upper[axis]
        pairs = jnp.where((r & 2) != 0, upper, lines.reach ^ upper)
        # The fourth round is for sides up to 4, those after it for sides of 2.
        most = jnp.where(r < _ROUNDS, _LARGE // 2 - 1, 1).astype(pairs.dtype)
        left_out = (r >= _ROUNDS - 1) & (lines.reach > most)
    else:
        pairs = jax.lax.dynamic_index_in_dim(lines.pairs[axis], r >> 1, keepdims=False)
        left_out = (r == _ROUNDS - 1) & lines.large[axis]
    pairs = jnp.where(left_out, 0, pairs)
    start = _BYTE * ((r & 1) + 2 * axis)

    def byte(words, start, dtype):
        word = words >> start.astype(jnp.uint32)
        return (word & jnp.uint32(0xFF)).astype(dtype)

    heads = byte(
        words.coins, start + jnp.where(r < _ROUNDS, 0, _EXTRA_LEVELS), pairs.dtype
    )
    if pairs.dtype == jnp.uint16:
        heads |= byte(words.far, start, pairs.dtype) << _BYTE
    if isinstance(lines, _Lines):
        drawn = byte(words.odds, start, jnp.uint8) < lines.odds[axis]
        cut_off = jnp.where(r < 2, lines.cut_off[axis], 0).astype(pairs.dtype)
        heads = jnp.where(drawn, heads | cut_off, heads & ~cut_off)
    return heads & pairs


class _Step(NamedTuple):
    """Exchanges over one power of two.

    Attributes:
      level: its exponent.
      distance: between partners in a flat plane.
      in_halves: whether blocks of `2 * distance` cells are halves that pair off.
    """

    level: int
    distance: int
    in_halves: bool


def _step(level: int, length: int, stride: int, aligned: bool) -> _Step:
    """Returns the exchanges along lines whose neighbours lie `stride` apart."""
    distance = stride << level
    # Of short halves XLA makes scalar code.
    in_halves = aligned and length % (2 << level) == 0 and distance >= _LONG
    return _Step(level, distance, in_halves)


def _trade(cells, heads, r, steps, inverse):
    """Exchanges cells along lines, farthest first.

    A loop over a switch, because XLA would fuse the steps into one another, and compute
    each anew for every cell that it has a share in. Two at a time, because it copies
    what a loop hands on, unless that went from one buffer to another and back.
    """

    def branch(step, owner_is_upper):
        def exchange(cells, heads):
            here = heads & (1 << step.level)
            if step.in_halves:
                return _exchange_halves(cells, here, step.distance, owner_is_upper)
            away = -step.distance if owner_is_upper else step.distance
            return _exchange(cells, here, away)

        return exchange

    branches = [branch(step, upper) for upper in (False, True) for step in steps]
    count = len(steps)
    owner = jnp.where((r & 2) != 0, count, 0)

    def exchange(i, cells):
        level = i if inverse else count - 1 - i
        return jax.lax.switch(owner + level, branches, cells, heads)

    def two(i, cells):
        return exchange(2 * i + 1, exchange(2 * i, cells))

    cells = jax.lax.fori_loop(0, count // 2, two, cells)
    return exchange(count - 1, cells) if count % 2 else cells


def _exchange(cells: jax.Array, heads: jax.Array, distance: int) -> jax.Array:
    """Exchanges each cell that shows heads with the cell at a distance from it."""
    change = (cells ^ _shifted(cells, distance)) & _mask(heads, cells.dtype)
    return cells ^ change ^ _shifted(change, -distance)


def _exchange_halves(
    cells: jax.Array, heads: jax.Array, distance: int, owner_is_upper: bool
) -> jax.Array:
    """The same, where the cells divide into blocks of twice the distance: faster."""
    halves = cells.reshape(-1, 2, distance)
    heads = heads.reshape(halves.shape)[:, int(owner_is_upper)]
    lower, upper = halves[:, 0], halves[:, 1]
    change = (lower ^ upper) & _mask(heads, cells.dtype)
    return jnp.stack([lower ^ change, upper ^ change], axis=1).reshape(cells.shape)


def _mask(heads: jax.Array, dtype) -> jax.Array:
    """Returns all bits where there are heads, none elsewhere."""
    zero = jnp.zeros_like(heads, dtype)
    return jnp.where(heads != 0, ~zero, zero)


def _shifted(x: jax.Array, distance: int) -> jax.Array:
    """Returns what lies at a distance from each element, or 0."""
    if abs(distance) >= x.shape[0]:
        return jnp.zeros_like(x)
    if distance > 0:
        return jnp.pad(x[distance:], (0, distance))
    return jnp.pad(x[:distance], (-distance, 0))
