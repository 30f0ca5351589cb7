"""Shuffling batches of images of many shapes with few compiled programs.

No region reaches over the edge of a tile whose side all region sizes divide. So images
are cut into such tiles, which are shuffled in batches, whatever images they are from.
Squares with sides of powers of two have a program that is many times as fast as that
for any regions. So where the edges of an image cut off some of them, only these are
left to the other, in tiles of their own. An image with too large regions stays in one
piece and is padded to the shape of its bucket. Regions trade places on the host.
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
from vim_jax.regions import Bounds
from vim_jax.shuffling import shuffle_padded
from vim_jax.words import BYTES, Words, moving_planes, needs_far, needs_odds, turn_words

_TILE = 64  # Least side of a tile, in pixels.
_CUT_TILE = 16  # The same, of a tile for regions that are cut off.
_LARGEST_TILE = 512
_BATCH_PIXELS = 1 << 16
_CUT_BATCH_PIXELS = 1 << 13  # Of an image, there is little to fill a batch with.


class _Words:
    """Views of an image's words; they do not show in tracebacks.

    The parts are those of `vim_jax.words.Words`, as bytes, `h w k 4` each, and
    "regions", as words, `h w 1`.
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
        moving = moving_planes(c, self.channels)
        needed = {
            "coins": moving,
            "turns": turn_words(c, self.channels),
            "odds": moving if needs_odds(self.bounds) else 0,
            "far": moving if needs_far(self.bounds) else 0,
        }
        return tuple((name, count) for name, count in needed.items() if count)


def shuffle_images(
    images: Sequence[np.ndarray],
    sizes: Sequence[np.ndarray],
    keys: Sequence[ImageKey],
    bucket: Bucket,
    *,
    channels: Channels,
    scramble_regions: bool,
    uniform: bool = False,
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
      uniform: whether all plans have the same size throughout, which is worth programs
        of their own.
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
        for part, its_bucket, bounds in _pieces(piece, bucket, uniform):
            program = _Program(its_bucket, bounds, channels, inverse)
            work.setdefault(program, []).append(part)
    # Squares first: what is cut off, they leave as it was.
    for program in sorted(work, key=lambda program: not program.bounds.squares):
        pieces, count = work[program], program.bucket.images
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


def _pieces(
    piece: _Piece, bucket: Bucket, uniform: bool
) -> Iterator[tuple[_Piece, Bucket, Bounds]]:
    """Yields the pieces of an image, their buckets, and the bounds of their regions."""
    step = math.lcm(*np.flatnonzero(np.bincount(piece.size.reshape(-1))).tolist())
    side = step * max(1, _TILE // step)
    if side > _LARGEST_TILE:
        largest = max(bucket.height, bucket.width)
        yield piece, bucket, Bounds(largest, largest, smallest=1, squares=False)
    elif side & (side - 1):
        for tile, its_bucket in _tiles(piece, side, _BATCH_PIXELS):
            yield tile, its_bucket, Bounds(side, side, smallest=1, squares=False)
    else:
        cut_off = _cut_off(piece.size)
        # In pixels of their own, cells stay where they are.
        squares = piece._replace(size=np.where(cut_off, 1, piece.size))
        largest, smallest = (step, step) if uniform else (side, 1)
        for tile, its_bucket in _tiles(squares, side, _BATCH_PIXELS):
            yield tile, its_bucket, Bounds(largest, largest, smallest, squares=True)
        yield from _cut_off_tiles(piece, cut_off)


def _cut_off(size: np.ndarray) -> np.ndarray:
    """Returns whether pixels belong to regions that the edges of the image cut off."""
    h, w = size.shape
    found = np.zeros((h, w), bool)
    for s in np.unique(np.concatenate([size[-1], size[:, -1]])):
        bottom, right = np.s_[h // s * s :], np.s_[:, w // s * s :]
        found[bottom] |= size[bottom] == s
        found[right] |= size[right] == s
    return found


def _cut_off_tiles(
    piece: _Piece, cut_off: np.ndarray
) -> Iterator[tuple[_Piece, Bucket, Bounds]]:
    """Yields tiles of the regions that are cut off, which read what is mixed so far."""
    side_of = np.maximum(piece.size, _CUT_TILE)
    for side in np.unique(side_of[cut_off]).tolist():
        here = cut_off & (side_of == side)
        ours = piece._replace(image=piece.mixed, size=np.where(here, piece.size, 1))
        bounds = Bounds(side, side, smallest=1, squares=False)
        for tile, bucket in _tiles(ours, side, _CUT_BATCH_PIXELS):
            if tile.size.max() > 1:
                yield tile, bucket, bounds


def _tiles(
    piece: _Piece, side: int, batch_pixels: int
) -> Iterator[tuple[_Piece, Bucket]]:
    """Yields tiles and their bucket."""
    h, w, c = piece.image.shape
    images = max(1, batch_pixels // side**2)
    bucket = square((side, side, c), piece.image.dtype)
    bucket = dataclasses.replace(bucket, images=images)
    for top in range(0, h, side):
        for left in range(0, w, side):
            place = (slice(top, top + side), slice(left, left + side))
            tile = _Piece(
                piece.image[place],
                piece.size[place],
                piece.words[place],
                piece.mixed[place],
            )
            yield tile, bucket


def _words(key: ImageKey, shape: tuple[int, ...], channels: Channels) -> _Words:
    """Returns views of the words of an image `h w c` under its key."""
    h, w, c = shape
    moving = moving_planes(c, channels)
    words = np.asarray(key.words).astype("<u4", copy=False).reshape(-1, h * w)

    def view(first: int, count: int) -> np.ndarray:
        part = words[first : first + count]
        if len(part) < count or count == 0:  # Small images have none for far cells.
            return np.broadcast_to(np.uint8(0), (h, w, count, BYTES))
        rows = part.view(np.uint8).reshape(count, BYTES, h, w)
        return rows.transpose(2, 3, 0, 1)

    turns = turn_words(c, channels)
    odds = moving + 1 + turns
    return _Words(
        {
            "coins": view(0, moving),
            "regions": words[moving].reshape(h, w, 1),
            "turns": view(moving + 1, turns),
            "odds": view(odds, moving),
            "far": view(odds + moving, moving),
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
    batch = np.zeros((bucket.images, per_pixel * bucket.pixels), "<u4")
    for row, words in zip(batch, all_words, strict=False):
        end = 0
        for name, count in program.parts:
            start, end = end, end + count * bucket.pixels
            part = words.parts[name]
            h, w = part.shape[:2]
            shape = (count, BYTES, bucket.height, bucket.width)
            place = row[start:end].view(np.uint8).reshape(shape)
            place[:, :, :h, :w] = part.transpose(2, 3, 0, 1)
    return ImageKey(batch, np.zeros(0, np.uint32))


@functools.partial(jax.jit, static_argnums=4)
def _shuffle(key, images, extents, sizes, program):
    def shuffle(words, image, extent, size):
        parts, end = {"coins": words}, 0
        for name, count in program.parts:
            start, end = end, end + count * program.bucket.pixels
            parts[name] = words[start:end].reshape(count, -1)
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
