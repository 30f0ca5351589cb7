"""Keyed permutations: how keystream words move the cells of an image.

This is version 2 of the specification in `docs/permutation.md`: cells of a region trade
places in pairs, at distances of powers of two along rows and columns, as coins fall.
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
_EXTRA_ROUNDS = 4
_EXTRA_LEVELS = 4
_FEW, _VERY_FEW = 64, 16
_BYTE = 8


class Words(NamedTuple):
    """Parts of an image's keystream, uint32, in the order of `docs/permutation.md`.

    Of the first, third and fourth, there is one word a cell that moves by itself.

    Attributes:
      coins: for distances below 256 cells.
      regions: `h*w`, for scrambling regions; None if they are not.
      odds: for sides that are no powers of two; None where there are none.
      far: for distances of 256 cells and more; None where there are none.
    """

    coins: jax.Array
    regions: jax.Array | None
    odds: jax.Array | None
    far: jax.Array | None


class Grid(NamedTuple):
    """How the cells that move by themselves pair off.

    They lie in planes that do not mix: `planes rows row_cells`.

    Attributes:
      lines: the pairs along rows, and along columns, of any plane: `2 rows row_cells`.
      levels: how many powers of two are distances along rows, and along columns.
      rounds: how many there are.
      extra_levels: how many distances there are in the rounds from the fifth on.
    """

    lines: "_Lines"
    levels: tuple[int, int]
    rounds: int
    extra_levels: int


class _Lines(NamedTuple):
    """How the cells of lines pair off. Bit k of a mask stands for the distance 2**k.

    Attributes:
      pairs: uint8 or uint16 `2 | 4 ...`, bit k set where the cell owns the coin of a
        pair: in rounds 0 and 1, in 2 and 3, and so on.
      cut_off: the same for rounds 0 and 1, at the one distance where the cell's block
        is cut off; None where no block is.
      odds: uint8, 256ths in favour of an exchange there.
    """

    pairs: jax.Array
    cut_off: jax.Array | None
    odds: jax.Array | None


def moving_cells(shape: tuple[int, int, int], channels: Channels) -> int:
    """Returns how many cells of an `h w c` image move by themselves."""
    h, w, c = shape
    return h * w if channels == "joint" else h * w * c


def bounds_of_cells(bounds: Bounds, image_channels: int, channels: Channels) -> Bounds:
    """Returns the bounds of regions in cells that move by themselves."""
    if channels == "mixed" and image_channels > 1:
        return bounds._replace(width=bounds.width * image_channels, squares=False)
    return bounds


def needs_odds(bounds: Bounds) -> bool:
    """Whether lines may have lengths that are no powers of two."""
    return not bounds.squares


def needs_far(bounds: Bounds) -> bool:
    """Whether lines may be longer than 256 cells."""
    return max(bounds.width, bounds.height) > 1 << _BYTE


def grid_of(
    regions: Regions, image_channels: int, channels: Channels, bounds: Bounds
) -> Grid:
    """Returns the cells of an `h w c` image as they move under `channels`."""
    h, w = regions.top.shape
    top, left, height, width = regions
    x = jnp.arange(w, dtype=jnp.int32)[None] - left
    y = jnp.arange(h, dtype=jnp.int32)[:, None] - top
    if channels == "mixed" and image_channels > 1:
        c = image_channels

        def spread(per_pixel):
            return jnp.broadcast_to(per_pixel[:, :, None], (h, w, c)).reshape(h, w * c)

        # A region of one pixel keeps its colour: there each cell is a region.
        single = spread((height == 1) & (width == 1))
        channel = jnp.broadcast_to(jnp.arange(c, dtype=jnp.int32), (h, w, c))
        x = jnp.where(single, 0, spread(x) * c + channel.reshape(h, w * c))
        width = jnp.where(single, 1, spread(width) * c)
        y, height = spread(y), spread(height)
    bounds = bounds_of_cells(bounds, image_channels, channels)
    levels = ((bounds.width - 1).bit_length(), (bounds.height - 1).bit_length())
    extra_levels = _EXTRA_LEVELS
    if bounds.squares:
        # Of squares, only those of 2 x 2 cells are small.
        extra_levels = 1 if bounds.smallest <= 2 else 0
    # A loop rather than `vmap`, because XLA would compute it anew for each use.
    lines = jax.lax.map(
        lambda line: _lines(
            line[0], line[1], line[2], max(levels), bounds.squares, extra_levels
        ),
        (jnp.stack([x, y]), jnp.stack([width, height]), jnp.stack([height, width])),
    )
    rounds = _ROUNDS + (_EXTRA_ROUNDS if extra_levels else 0)
    return Grid(lines, levels, rounds, extra_levels)


def _smear(x: jax.Array, bits: int) -> jax.Array:
    """Returns `x` with all bits below its highest set, too."""
    shift = 1
    while shift < bits:
        x |= x >> shift
        shift *= 2
    return x


def _lines(place, length, other, levels, squares, extra_levels) -> _Lines:
    """Returns the pairs of lines.

    Args:
      place: int32, the cell's number in its line.
      length: int32, of its line, in cells.
      other: int32, of the line across it.
      levels: lines have at most 2**levels cells.
      squares: whether all lines are of powers of two, and as many as they are long.
      extra_levels: how many distances the extra rounds have; 0 if there are none.
    """
    dtype = jnp.uint8 if levels <= _BYTE else jnp.uint16
    lower, upper = ~place & _smear(length - 1 - place, levels + 1), place
    pairs = [lower, upper]
    if extra_levels:
        n = length * other
        small = n < _VERY_FEW
        if not squares:
            small |= (n < _FEW) & ((length & (length - 1)) | (other & (other - 1)) > 0)
        near = jnp.where(small, 2**_EXTRA_LEVELS - 1, 0)
        pairs += [lower & near, upper & near]
    pairs = jnp.stack(pairs).astype(dtype)
    if squares:
        return _Lines(pairs, None, None)
    # Above this bit, cell number and length agree: the block is the line's last.
    highest = _smear(place ^ length, levels + 1)
    highest ^= highest >> 1
    cut_off = lower & highest
    distance = jnp.maximum(cut_off, 1)
    block = distance + (length & (distance - 1))
    odds = jax.lax.div((distance << 9) + block, block << 1)
    odds = jnp.minimum(odds, 255).astype(jnp.uint8)
    return _Lines(pairs, cut_off.astype(dtype), odds)


def exchange_cells(
    cells: jax.Array, words: Words, grid: Grid, *, inverse: bool = False
) -> jax.Array:
    """Permutes the cells of each region among themselves.

    Args:
      cells: of any unsigned dtype, `planes rows row_cells`.
      words: the keystream, of as many words as there are cells.
      grid: how the cells pair off.
      inverse: whether to undo it.
    """
    strides = (1, cells.shape[2])
    # Each plane flat, for long loops: pairs never reach into another line.
    planes = cells.reshape(cells.shape[0], -1)
    lines = jax.tree.map(lambda x: x.reshape(*x.shape[:-2], -1), grid.lines)

    def one_round(i, cells):
        r = grid.rounds - 1 - i if inverse else i
        for axis in (1, 0) if inverse else (0, 1):
            levels = grid.levels[axis]
            if levels:
                count = levels
                if grid.extra_levels:
                    fewer = min(levels, grid.extra_levels)
                    count = jnp.where(r < _ROUNDS, levels, fewer)
                heads = _heads(words, lines, r, axis, planes.shape)
                cells = _trade(cells, heads, r, count, levels, strides[axis], inverse)
        return cells

    return jax.lax.fori_loop(0, grid.rounds, one_round, planes).reshape(cells.shape)


def _heads(words: Words, lines: _Lines, r, axis: int, shape) -> jax.Array:
    """Returns the distances at which the coin that a cell owns shows heads."""
    pairs = jax.lax.dynamic_index_in_dim(lines.pairs[axis], r >> 1)
    start = _BYTE * ((r & 1) + 2 * axis)

    def byte(words, start, dtype):
        word = words.reshape(shape) >> start.astype(jnp.uint32)
        return (word & jnp.uint32(0xFF)).astype(dtype)

    heads = byte(
        words.coins, start + jnp.where(r < _ROUNDS, 0, _EXTRA_LEVELS), pairs.dtype
    )
    if pairs.dtype == jnp.uint16:
        heads |= byte(words.far, start, pairs.dtype) << _BYTE
    if lines.odds is not None and lines.cut_off is not None:
        drawn = byte(words.odds, start, jnp.uint8) < lines.odds[axis][None]
        cut_off = jnp.where(r < 2, lines.cut_off[axis][None], 0).astype(pairs.dtype)
        heads = jnp.where(drawn, heads | cut_off, heads & ~cut_off)
    return heads & pairs


def _trade(cells, heads, r, count, levels, stride, inverse):
    """Exchanges cells along lines, farthest first; their neighbours lie `stride` apart.

    A loop over a switch, because XLA would fuse the steps into one another, and compute
    each anew for every cell that it has a share in.
    """

    def branch(level, owner_is_upper):
        distance = (-stride if owner_is_upper else stride) << level

        return lambda cells, heads: _exchange(cells, heads & (1 << level), distance)

    branches = [branch(k, upper) for upper in (False, True) for k in range(levels)]
    owner = jnp.where((r & 2) != 0, levels, 0)

    def exchange(i, cells):
        level = i if inverse else count - 1 - i
        return jax.lax.switch(owner + level, branches, cells, heads)

    return jax.lax.fori_loop(0, count, exchange, cells)


def _exchange(cells: jax.Array, heads: jax.Array, distance: int) -> jax.Array:
    """Exchanges each cell that shows heads with the cell at a distance from it."""
    mask = jnp.where(heads != 0, ~jnp.zeros_like(cells), jnp.zeros_like(cells))
    change = (cells ^ _shifted(cells, distance)) & mask
    return cells ^ change ^ _shifted(change, -distance)


def _shifted(x: jax.Array, distance: int) -> jax.Array:
    """Returns what lies at a distance from each element of a plane, or 0."""
    if abs(distance) >= x.shape[1]:
        return jnp.zeros_like(x)
    if distance > 0:
        return jnp.pad(x[:, distance:], ((0, 0), (0, distance)))
    return jnp.pad(x[:, :distance], ((0, 0), (-distance, 0)))


def exchange_regions(words: jax.Array, regions: Regions) -> jax.Array:
    """Returns the pixel that each pixel comes from when regions trade places.

    Regions of equal height and width are put into the order of their words.

    Args:
      words: uint32 `h*w`, of which the one at its first pixel is a region's.
      regions: the plan's regions.

    Returns:
      int32 `h*w`.
    """
    h, w = regions.top.shape
    pixel = jnp.arange(h * w, dtype=jnp.int32)
    origin = regions.origin.reshape(-1)
    shape_class = (regions.height * (w + 1) + regions.width).reshape(-1)
    # Pixels other than first ones form a class of their own, and are never asked for.
    shape_class = jnp.where(origin == pixel, shape_class, 0).astype(jnp.uint32)
    receivers = _in_order(shape_class, groups=(h + 1) * (w + 1))
    senders = _in_order(shape_class, words, groups=(h + 1) * (w + 1))
    # Both lists run through the classes in the same order: pair them off.
    sender = jnp.zeros_like(senders).at[receivers].set(senders)
    return sender[origin] + pixel - origin


def _in_order(
    group: jax.Array, word: jax.Array | None = None, *, groups: int
) -> jax.Array:
    """Returns the cells sorted by (group, word, cell), as int32 `n`.

    XLA sorts a single integer operand several times faster than a key with payload
    [measured on CPU], so everything is packed into 64-bit integers.

    Args:
      group: uint32 `n`, below `groups`.
      word: uint32 `n`; None sorts by (group, cell).
      groups: bound of the group numbers.
    """
    n = group.shape[0]
    cell_bits = max(1, (n - 1).bit_length())
    with jax.enable_x64(True):
        cell = jnp.arange(n, dtype=jnp.uint64)
        group = group.astype(jnp.uint64)
        if word is None:
            packed = jax.lax.sort((group << 32) | cell, is_stable=False)
        elif (groups - 1).bit_length() + 32 + cell_bits <= 64:
            word = word.astype(jnp.uint64)
            packed = (group << (32 + cell_bits)) | (word << cell_bits) | cell
            packed = jax.lax.sort(packed, is_stable=False)
            packed &= (1 << cell_bits) - 1
        else:
            word = word.astype(jnp.uint64)
            by_word = jax.lax.sort((word << 32) | cell, is_stable=False)
            by_word &= 0xFFFFFFFF
            packed = (group[by_word.astype(jnp.uint32)] << 32) | cell
            packed = jax.lax.sort(packed, is_stable=False)
            packed = by_word[(packed & 0xFFFFFFFF).astype(jnp.uint32)]
        return packed.astype(jnp.uint32).astype(jnp.int32)
