"""Shuffling images of any shapes on the host, to the byte as `vim_jax.shuffle` does.

The regions of several images are sorted by their shape, and those of one shape are
shuffled together. Images with many pixels are cut into bands that no region reaches
over, and words are drawn for a band at a time: so the memory does not grow with them.
"""

import collections
import math
import os
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vim_jax._types import Channels
from vim_jax.data.exchanges import Part, exchange_rectangles
from vim_jax.keys import ImageStream
from vim_jax.regions import sizes_in
from vim_jax.rounds import rounds_of
from vim_jax.words import BYTES, moving_planes, starts_of, turn_words

_BATCH_PIXELS = 1 << 21
_CHUNK = 1 << 18  # Bytes that are exchanged at a time: they and coins fit caches.

# Threads that shuffle at the same time: with more, they would wait for Python's lock
# at each of many short steps, while others encode [measured on two cores].
_TURNS = threading.BoundedSemaphore(max(1, (os.cpu_count() or 1) // 4))


class _Band(NamedTuple):
    """Rows of an image, as views, and the keystream of the whole image."""

    image: np.ndarray
    size: np.ndarray
    mixed: np.ndarray
    stream: ImageStream
    shape: tuple[int, int, int]
    top: int


def shuffle_images(
    images: Sequence[np.ndarray],
    sizes: Sequence[np.ndarray],
    streams: Sequence[ImageStream],
    *,
    channels: Channels,
    scramble_regions: bool = False,
    inverse: bool = False,
) -> list[np.ndarray]:
    """Shuffles images.

    Args:
      images: `h w c` each, all of one dtype of whole bytes and one number of channels.
      sizes: integers `h w` each, the sizes of their plans.
      streams: their keystreams.
      channels: see `shuffle`.
      scramble_regions: see `shuffle`.
      inverse: whether to undo it.

    Returns:
      The mixed images, `h w c` each.
    """
    if scramble_regions and inverse:
        images = [
            _exchange_regions(*each, channels, inverse=True)
            for each in zip(images, sizes, streams, strict=True)
        ]
    mixed = [image.copy() for image in images]
    batch, pixels = [], 0
    for image, size, out, stream in zip(images, sizes, mixed, streams, strict=True):
        for band in _bands(_Band(image, size, out, stream, image.shape, 0)):
            batch.append(band)
            pixels += band.size.size
            if pixels >= _BATCH_PIXELS:
                _shuffle_batch(batch, channels, inverse)
                batch, pixels = [], 0
    if batch:
        _shuffle_batch(batch, channels, inverse)
    if not scramble_regions or inverse:
        return mixed
    return [
        _exchange_regions(*each, channels, inverse=False)
        for each in zip(mixed, sizes, streams, strict=True)
    ]


def _bands(whole: _Band) -> Iterator[_Band]:
    """Yields bands of an image that no region reaches over."""
    h, w = whole.size.shape
    step = math.lcm(*sizes_in(whole.size)) if h * w > _BATCH_PIXELS else h
    step *= max(1, _BATCH_PIXELS // (step * w))
    for top in range(0, h, step):
        rows = np.s_[top : top + step]
        yield whole._replace(
            image=whole.image[rows],
            size=whole.size[rows],
            mixed=whole.mixed[rows],
            top=top,
        )


class _Regions(NamedTuple):
    """Regions that are shuffled together.

    Attributes:
      first: numbers of their first pixels.
      stride: of their images, in pixels.
      height: of each, in pixels.
      width: of each, in pixels.
    """

    first: np.ndarray
    stride: np.ndarray
    height: np.ndarray
    width: np.ndarray


class _Batch:
    """The bytes of several bands, pixel after pixel, and those of their keystreams.

    Attributes:
      bytes_a_pixel: of the images.
      starts: number of the first pixel of each band.
    """

    def __init__(self, bands: Sequence[_Band], channels: Channels):
        """Lays the bands out one after the other."""
        c = bands[0].shape[2]
        self.bytes_a_pixel = c * bands[0].image.itemsize
        pixels = [0, *(band.size.size for band in bands)]
        *self.starts, self._pixels = np.cumsum(pixels).tolist()
        self._bands = bands
        self._channels: Channels = channels
        self._turn_words = turn_words(c, channels)
        self._planes = moving_planes(c, channels)
        # `members cells`; the last cell of each is that of padding.
        members = self.bytes_a_pixel // self._planes
        self._cells = np.empty((members, self._planes * self._pixels + 1), np.uint8)
        for band, place in self._places():
            values = np.ascontiguousarray(band.image).view(np.uint8)
            values = values.reshape(-1, self._planes, members)
            self._planar()[:, :, place] = values.transpose(2, 1, 0)
        rows = [0, *(len(band.size) for band in bands)]
        *self._rows, self._all_rows = np.cumsum(rows).tolist()
        self._parts: dict[tuple[Part, int], tuple[np.ndarray, np.ndarray]] = {}

    def _places(self) -> Iterator[tuple[_Band, slice]]:
        for band, start in zip(self._bands, self.starts, strict=True):
            yield band, slice(start, start + band.size.size)

    def _planar(self) -> np.ndarray:
        """Returns a view of the cells, `members planes pixels`."""
        return self._cells[:, :-1].reshape(-1, self._planes, self._pixels)

    def put_back(self) -> None:
        """Writes the cells to the mixed images."""
        for band, place in self._places():
            values = np.ascontiguousarray(
                self._planar()[:, :, place].transpose(2, 1, 0)
            )
            band.mixed[:] = values.view(band.mixed.dtype).reshape(band.mixed.shape)

    def exchange(self, regions: _Regions, rounds: int, inverse: bool) -> None:
        """Shuffles the cells of regions, which take so many rounds."""
        height, width = regions.height.max(), regions.width.max()
        y, x = np.indices((height, width), sparse=True)
        y, x = y[:, :, None], x[:, :, None]
        number = y * regions.stride + x + regions.first
        inside = (y < regions.height) & (x < regions.width)
        # Numbers of cells, `h w n`, plane after plane.
        planes = np.arange(self._planes)[:, None] * self._pixels
        number = number[:, :, None] + planes
        if not inside.all():
            number = np.where(inside[:, :, None], number, self._cells.shape[1] - 1)
        number = number.reshape(height, width, -1)
        rows = list(self._rows_of(regions))

        def draw(name: Part, byte: int) -> np.ndarray:
            drawn = self._drawn(name, byte, rows)
            # Of turns there are fewer planes.
            count = number.shape[2] * len(drawn) // self._planes
            return np.take(drawn, number[:, :, :count], mode="clip")

        moved = exchange_rectangles(
            np.take(self._cells, number, axis=1, mode="clip"),
            draw,
            (self._lengths(regions.height), self._lengths(regions.width)),
            rounds=rounds,
            turning=self._planes if self._turn_words else 1,
            inverse=inverse,
        )
        for cells, member in zip(self._cells, moved, strict=True):
            cells[number] = member

    def _lengths(self, sides: np.ndarray) -> np.ndarray | None:
        """Returns sides for all planes, or None if they are equal."""
        return None if (sides == sides[0]).all() else np.tile(sides, self._planes)

    def _rows_of(self, regions: _Regions) -> Iterator[tuple[int, int, int]]:
        """Yields numbers of bands, and the rows of each from and to which regions lie.

        These are sorted by band.
        """
        band = np.searchsorted(self.starts, regions.first, side="right") - 1
        top = (regions.first - np.take(self.starts, band)) // regions.stride
        numbers, each = np.unique(band, return_index=True)
        tops = np.minimum.reduceat(top, each)
        bottoms = np.maximum.reduceat(top + regions.height, each)
        yield from zip(numbers.tolist(), tops.tolist(), bottoms.tolist(), strict=True)

    def _drawn(
        self, name: Part, byte: int, rows: Sequence[tuple[int, int, int]]
    ) -> np.ndarray:
        """Returns a byte of a part of the keystreams, uint8 `planes pixels`.

        Some rows of it, lest all are drawn for a few regions; in others is anything.
        """
        planes = self._turn_words if name == "turns" else self._planes
        if (name, byte) not in self._parts:
            part = np.empty((planes, self._pixels), np.uint8)
            self._parts[name, byte] = part, np.zeros(self._all_rows, bool)
        part, drawn = self._parts[name, byte]
        for number, top, bottom in rows:
            before = self._rows[number]
            (missing,) = np.nonzero(~drawn[before + top : before + bottom])
            if len(missing) == 0:
                continue
            top, bottom = top + int(missing[0]), top + int(missing[-1]) + 1
            drawn[before + top : before + bottom] = True
            band = self._bands[number]
            h, w, _ = band.shape
            starts = starts_of(band.shape, self._channels)
            start = BYTES * (0 if name == "coins" else getattr(starts, name))
            place = slice(*(self.starts[number] + row * w for row in (top, bottom)))
            part[:, place] = 0
            for plane in range(planes):
                row = (plane * BYTES + byte) * h + band.top + top
                band.stream.read_into(start + row * w, part[plane, place])
        return part


def _shuffle_batch(bands: Sequence[_Band], channels: Channels, inverse: bool) -> None:
    """Shuffles bands within their regions, and puts them where they go."""
    with _TURNS:
        batch = _Batch(bands, channels)
        for rounds, regions in _kinds_of_regions(bands, batch.starts):
            pixels = int(regions.height.max() * regions.width.max())
            count = max(1, _CHUNK // (pixels * batch.bytes_a_pixel))
            for start in range(0, len(regions.first), count):
                chunk = _Regions(*(x[start : start + count] for x in regions))
                batch.exchange(chunk, rounds, inverse)
        batch.put_back()


def _kinds_of_regions(
    bands: Sequence[_Band], starts: Sequence[int]
) -> Iterator[tuple[int, _Regions]]:
    """Yields regions of two pixels and more, and how many rounds they take.

    The whole ones of one size together, and those of it that edges cut off.
    """
    kinds = collections.defaultdict(list)
    for band, start in zip(bands, starts, strict=True):
        h, w = band.size.shape
        for s in sizes_in(band.size):
            if s == 1:
                continue
            y, x = np.nonzero(band.size[::s, ::s] == s)
            y, x = y * s, x * s
            low, right = y + s > h, x + s > w
            for height, in_rows in ((s, ~low), (h % s, low)):
                for width, in_columns in ((s, ~right), (w % s, right)):
                    here = np.flatnonzero(in_rows & in_columns)
                    if len(here) == 0 or height == width == 1:
                        continue
                    first = start + y[here] * w + x[here]
                    each = (np.full(len(here), side) for side in (w, height, width))
                    kind = s, rounds_of(height, width), height == s, width == s
                    kinds[kind].append(_Regions(first, *each))
    for (_, rounds, *_), regions in kinds.items():
        yield rounds, _Regions(*map(np.concatenate, zip(*regions, strict=True)))


def _exchange_regions(
    image: np.ndarray,
    size: np.ndarray,
    stream: ImageStream,
    channels: Channels,
    *,
    inverse: bool,
) -> np.ndarray:
    """Returns an image whose regions of equal height and width have traded places."""
    h, w = size.shape
    start = BYTES * starts_of(image.shape, channels).regions
    words = np.zeros((h, w), "<u4")
    stream.read_into(start, words.reshape(-1).view(np.uint8))
    y, x = np.indices((h, w), sparse=True)
    top, left = np.nonzero((y % size == 0) & (x % size == 0))
    side, word = size[top, left], words[top, left]
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
