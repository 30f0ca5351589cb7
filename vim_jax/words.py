"""The parts of an image's keystream, and where `docs/permutation.md` has them."""

from typing import NamedTuple

import jax

from vim_jax._types import Channels
from vim_jax.regions import Bounds

BYTES = 4  # Of a word.
_LONGEST = 256


class Words(NamedTuple):
    """Parts of an image's keystream: words, uint32 `planes pixels`, or their bytes.

    The words of a plane of n pixels are `BYTES` rows of n bytes: byte B of pixel p lies
    at `B * n + p`, counted from the least significant byte of the first word. So bytes
    are uint8 `planes BYTES*pixels`.

    Attributes:
      coins: for distances below 256 cells; a plane for each plane of cells that moves
        by itself.
      turns: for the cells of a pixel, `turn_words` planes; None where channels do not
        mix.
      odds: for sides that are no powers of two; None where there are none.
      far: for distances of 256 cells and more; None where there are none.
    """

    coins: jax.Array
    turns: jax.Array | None = None
    odds: jax.Array | None = None
    far: jax.Array | None = None


class Starts(NamedTuple):
    """Numbers of the words with which parts of a keystream begin; coins are first."""

    regions: int
    turns: int
    odds: int
    far: int
    end: int


def moving_planes(image_channels: int, channels: Channels) -> int:
    """Returns how many planes of cells move by themselves."""
    return 1 if channels == "joint" else image_channels


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
    return max(bounds.width, bounds.height) > _LONGEST


def starts_of(shape: tuple[int, int, int], channels: Channels) -> Starts:
    """Returns where the parts of the keystream of an `h w c` image begin."""
    h, w, c = shape
    pixels = h * w
    moving = pixels * moving_planes(c, channels)
    turns = moving + pixels
    odds = turns + pixels * turn_words(c, channels)
    return Starts(moving, turns, odds, odds + moving, odds + 2 * moving)
