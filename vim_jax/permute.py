"""Keyed permutations: how keystream words move the cells of an image.

This is version 3 of the specification in `docs/permutation.md`: cells of a region trade
places in pairs, at distances of powers of two along rows and columns, as coins fall;
if channels mix, so do the cells of a pixel, in turns.
Every step is the same few vector instructions for all cells of an image, whatever their
regions, which is many times faster than sorting [measured: `benchmarks/`].
"""

from typing import TypeAlias

import jax
from jaxtyping import Int32, UInt8

from vim_jax.lines import Lines, exchange_lines, lines_of
from vim_jax.regions import Bounds
from vim_jax.squares import LANES, Squares, exchange_squares, squares_of
from vim_jax.words import Words

SPEC_VERSION = 3

Pairs: TypeAlias = Squares | tuple[Lines, Lines]
"""How the cells of a plane pair off."""


def pairs_of(size: Int32[jax.Array, "h w"], bounds: Bounds, *, straight: bool) -> Pairs:
    """Returns how the cells of a plane of regions of these sizes pair off."""
    if bounds.squares and size.shape[1] % LANES == 0:
        return squares_of(size, bounds)
    return lines_of(size, bounds, straight=straight)


def takes_bytes(pairs: Pairs) -> bool:
    """Returns whether cells that pair off so take the bytes of words."""
    return not isinstance(pairs, Squares)


def exchange_cells(
    cells: UInt8[jax.Array, "groups members h w"],
    words: Words,
    pairs: Pairs,
    bounds: Bounds,
    *,
    inverse: bool = False,
    straight: bool = False,
) -> UInt8[jax.Array, "groups members h w"]:
    """Permutes the cells of each region among themselves.

    Args:
      cells: byte by byte. The members of a group move together; groups move by
        themselves, and cells stay in theirs, unless there are words for turns.
      words: the keystream, with a plane of coins a group; bytes if `takes_bytes`.
      pairs: what `pairs_of` returned.
      bounds: of the regions.
      inverse: whether to undo it.
      straight: whether exchanges follow one another, rather than in loops: to the same
        bytes, and faster on GPUs, see `vim_jax.steps`.
    """
    if isinstance(pairs, Squares):
        return exchange_squares(
            cells, words, pairs, bounds, inverse=inverse, straight=straight
        )
    return exchange_lines(
        cells, words, pairs, bounds, inverse=inverse, straight=straight
    )
