"""Shuffling batches of images of many shapes with few compiled programs.

No region reaches over the edge of a tile whose side all region sizes divide. So images
are cut into such tiles, which are shuffled in batches, whatever images they are from.
An image with too large regions stays in one piece and is padded to the shape of its
bucket. Regions trade places on the host.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from vim_jax._types import Channels
from vim_jax.data.buckets import Bucket, square
from vim_jax.data.padded import batch_of, extents_of
from vim_jax.keys import ImageKey
from vim_jax.permute import Words, bounds_of_cells, needs_far, needs_odds
from vim_jax.regions import Bounds
from vim_jax.shuffling import shuffle_padded

_TILE = 64  # Least side of a tile, in pixels.
_LARGEST_TILE = 512
_BATCH_PIXELS = 1 << 16


class _Words:
    """Views of an image's words, `h w k` for each part; they do not show in tracebacks.

    The parts are those of `vim_jax.permute.Words`.
    """

    def __init__(self, parts: dict[str, np.ndarray]):
        self.parts = parts

    def __getitem__(self, place: tuple[slice, slice]) -> "_Words":
        return _Words({name: part[place] for name, part in self.parts.items()})


class _Piece(NamedTuple):
    """A piece of an image, as views `h w ...`, and where the mixed piece goes."""

    image: np.ndarray
    size: np.ndarray
    words: _Words
    mixed: np.ndarray


class _Program(NamedTuple):
    """What a compiled program is made for; see `shuffle_padded`."""

    bucket: Bucket
    bounds: Bounds
    channels: Channels
    inverse: bool

    @property
    def parts(self) -> tuple[tuple[str, int], ...]:
        """The parts of the words that it takes, and how many of them a pixel has."""
        c = self.bucket.channels
        bounds = bounds_of_cells(self.bounds, c, self.channels)
        moving = 1 if self.channels == "joint" else c
        needed = {
            "coins": moving,
            "odds": moving if needs_odds(bounds) else 0,
            "far": moving if needs_far(bounds) else 0,
        }
        return tuple((name, count) for name, count in needed.items() if count)

    @property
    def together(self) -> bool:
        """Whether the words of a pixel lie together, and not those of a channel."""
        return self.channels == "mixed"


def shuffle_images(
    images: Sequence[np.ndarray],
    sizes: Sequence[np.ndarray],
    keys: Sequence[ImageKey],
    bucket: Bucket,
    *,
    channels: Channels,
    scramble_regions: bool,
    inverse: bool = False,
) -> list[np.ndarray]:
    """Shuffles images as `shuffle` does.

    Args:
      images: `h w c` each, of the dtype of the bucket.
      sizes: int32 `h w` each, their plans.
      keys: their keys.
      bucket: a shape that they all fit into.
      channels: see `shuffle`.
      scramble_regions: see `shuffle`.
      inverse: whether to undo it.

    Returns:
      The mixed images, `h w c` each.
    """
    mixed = [np.empty_like(image) for image in images]
    work: dict[_Program, list[_Piece]] = {}
    for image, size, key, target in zip(images, sizes, keys, mixed, strict=True):
        words = _words(key, image.shape, channels)
        if scramble_regions and inverse:
            image = _exchanged(image, size, words, inverse=True)
        piece = _Piece(image, size, words, target)
        side = _tile_side(size)
        pieces = [(piece, bucket, False)] if side is None else _tiles(piece, side)
        for part, its_bucket, squares in pieces:
            largest = max(its_bucket.height, its_bucket.width)
            bounds = Bounds(largest, largest, smallest=1, squares=squares)
            program = _Program(its_bucket, bounds, channels, inverse)
            work.setdefault(program, []).append(part)
    for program, pieces in work.items():
        count = program.bucket.images
        for start in range(0, len(pieces), count):
            _shuffle_batch(program, pieces[start : start + count])
    if not scramble_regions or inverse:
        return mixed
    return [
        _exchanged(image, size, _words(key, image.shape, channels), inverse=False)
        for image, size, key in zip(mixed, sizes, keys, strict=True)
    ]


def _exchanged(
    image: np.ndarray, size: np.ndarray, words: _Words, *, inverse: bool
) -> np.ndarray:
    """Returns an image whose regions of equal height and width have traded places."""
    h, w = size.shape
    y, x = np.indices((h, w), sparse=True)
    top, left = np.nonzero((y % size == 0) & (x % size == 0))
    side, word = size[top, left], words.parts["regions"][top, left, 0]
    heights, widths = np.minimum(side, h - top), np.minimum(side, w - left)
    shapes, kinds = np.unique(np.stack([heights, widths]), axis=1, return_inverse=True)
    exchanged = np.empty_like(image)
    for kind, (height, width) in enumerate(shapes.T):
        (receivers,) = np.nonzero(kinds == kind)
        senders = receivers[np.argsort(word[receivers], kind="stable")]
        if inverse:
            receivers, senders = senders, receivers

        def places(regions, height=height, width=width):
            rows = top[regions][:, None, None] + np.arange(height)[:, None]
            return rows, left[regions][:, None, None] + np.arange(width)

        exchanged[places(receivers)] = image[places(senders)]
    return exchanged


def _tile_side(size: np.ndarray) -> int | None:
    """Returns the side of tiles that cut no region, or None if they are too large."""
    step = math.lcm(*np.flatnonzero(np.bincount(size.reshape(-1))).tolist())
    side = step * max(1, _TILE // step)
    return side if side <= _LARGEST_TILE else None


def _tiles(piece: _Piece, side: int) -> Iterator[tuple[_Piece, Bucket, bool]]:
    """Yields tiles, their bucket, and whether all regions are squares of 2**n."""
    h, w, c = piece.image.shape
    images = max(1, _BATCH_PIXELS // side**2)
    bucket = square((side, side, c), piece.image.dtype)
    bucket = dataclasses.replace(bucket, images=images)
    power = side & (side - 1) == 0
    for top in range(0, h, side):
        for left in range(0, w, side):
            place = (slice(top, top + side), slice(left, left + side))
            whole = top + side <= h and left + side <= w
            tile = _Piece(
                piece.image[place],
                piece.size[place],
                piece.words[place],
                piece.mixed[place],
            )
            yield tile, bucket, power and whole


def _words(key: ImageKey, shape: tuple[int, ...], channels: Channels) -> _Words:
    """Returns views of the words of an image `h w c` under its key."""
    h, w, c = shape
    moving = 1 if channels == "joint" else c
    words = np.asarray(key.words).reshape(-1, h * w)

    def view(first: int, count: int) -> np.ndarray:
        part = words[first : first + count]
        if not part.size:  # A small image has none for what only large ones have.
            return np.broadcast_to(np.uint32(0), (h, w, count))
        if channels == "mixed":
            return part.reshape(h, w, count)
        return part.reshape(count, h, w).transpose(1, 2, 0)

    return _Words(
        {
            "coins": view(0, moving),
            "regions": view(moving, 1),
            "odds": view(moving + 1, moving),
            "far": view(2 * moving + 1, moving),
        }
    )


def _shuffle_batch(program: _Program, pieces: Sequence[_Piece]) -> None:
    """Shuffles pieces, and puts them where they go."""
    bucket = program.bucket
    images = [piece.image for piece in pieces]
    moved = _shuffle(
        _batch_of_words(program, [piece.words for piece in pieces]),
        batch_of(images, bucket),
        extents_of(images, bucket),
        batch_of([piece.size.astype(np.int32) for piece in pieces], bucket, fill=1),
        program,
    )
    for piece, padded in zip(pieces, np.asarray(moved), strict=False):
        h, w, _ = piece.image.shape
        piece.mixed[:] = padded[:h, :w]


def _batch_of_words(program: _Program, all_words: Sequence[_Words]) -> ImageKey:
    """Returns words at their places in padded pieces, one row each, hidden as a key."""
    bucket = program.bucket
    per_pixel = sum(count for _, count in program.parts)
    batch = np.zeros((bucket.images, per_pixel * bucket.pixels), np.uint32)
    for row, words in zip(batch, all_words, strict=False):
        end = 0
        for name, count in program.parts:
            start, end = end, end + count * bucket.pixels
            part = words.parts[name]
            h, w, _ = part.shape
            if program.together and count > 1:
                place = row[start:end].reshape(bucket.height, bucket.width, count)
                place[:h, :w] = part
            else:
                place = row[start:end].reshape(count, bucket.height, bucket.width)
                place[:, :h, :w] = part.transpose(2, 0, 1)
    return ImageKey(batch, np.zeros(0, np.uint32))


@functools.partial(jax.jit, static_argnums=4)
def _shuffle(key, images, extents, sizes, program):
    def shuffle(words, image, extent, size):
        parts, end = {"coins": words}, 0
        for name, count in program.parts:
            start, end = end, end + count * program.bucket.pixels
            parts[name] = words[start:end]
        return shuffle_padded(
            Words(**parts),
            image,
            extent,
            size,
            program.bounds,
            channels=program.channels,
            inverse=program.inverse,
        )

    return jax.vmap(shuffle)(key.words, images, extents, sizes)
