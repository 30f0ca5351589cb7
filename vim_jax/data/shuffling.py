"""Shuffling images of any shapes on the host, to the byte as `vim_jax.shuffle` does.

Images with many pixels are cut into bands that no region reaches over, and keystreams
are drawn for a band at a time: so the memory does not grow with them.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vim_jax._types import Channels
from vim_jax.data.exchanges import bytes_needed, exchange_rectangles
from vim_jax.keys import ImageStream
from vim_jax.regions import sizes_in
from vim_jax.rounds import check_sides, rounds_of
from vim_jax.words import BYTES, moving_planes, starts_of, turn_words

_BAND_PIXELS = 1 << 21


def shuffle_image(
    image: np.ndarray,
    size: np.ndarray,
    stream: ImageStream,
    *,
    channels: Channels,
    scramble_regions: bool = False,
    inverse: bool = False,
) -> np.ndarray:
    """Shuffles an image.

    Args:
      image: `h w c`, of a dtype of whole bytes.
      size: integers `h w`, the sizes of its plan.
      stream: its keystream.
      channels: see `shuffle`.
      scramble_regions: see `shuffle`.
      inverse: whether to undo it.

    Returns:
      The mixed image, `h w c`.

    Raises:
      ValueError: if the plan is that of another shape, or has regions of more than
        65,536 pixels a side.
    """
    if size.shape != image.shape[:2]:
        raise ValueError(
            f"size is of {size.shape} pixels, and the image of {image.shape[:2]}: give "
            "the plan of this image."
        )
    if scramble_regions and inverse:
        image = _exchange_regions(image, size, stream, channels, inverse=True)
    mixed = np.empty_like(image)
    h, w, c = image.shape
    for top, rows in _bands(size):
        words = _Words(stream, (h, w, c), channels, top, len(size[rows]))
        mixed[rows] = _shuffle_band(image[rows], size[rows], words, inverse)
    if scramble_regions and not inverse:
        mixed = _exchange_regions(mixed, size, stream, channels, inverse=False)
    return mixed


def _bands(size: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Yields the first row and all rows of bands that no region reaches over."""
    h, w = size.shape
    step = math.lcm(*sizes_in(size)) if h * w > _BAND_PIXELS else h
    step *= max(1, _BAND_PIXELS // (step * w))
    for top in range(0, h, step):
        yield top, slice(top, top + step)


class _Words:
    """The keystream of some rows of an image, and bytes of it; they do not show.

    Attributes:
      coins: bytes of the words of some planes, uint8 `planes bytes pixels`.
      odds: the same.
      far: the same.
      turns: all bytes of the turns, uint8 `words 4 pixels`.
    """

    def __init__(
        self,
        stream: ImageStream,
        shape: tuple[int, int, int],
        channels: Channels,
        top: int,
        rows: int,
    ):
        """Takes the keystream of an image, and which rows of it: `top` and so many."""
        self._stream, self._shape, self._top, self._rows = stream, shape, top, rows
        self.channels: Channels = channels
        self._starts = starts_of(shape, channels)
        turning = turn_words(shape[2], channels)
        self.turns = self._bytes(self._starts.turns, slice(0, turning), BYTES)

    def draw(self, planes: slice, coins: int, odds: int, far: int) -> None:
        """Draws so many bytes of the words of planes."""
        self.coins = self._bytes(0, planes, coins)
        self.odds = self._bytes(self._starts.odds, planes, odds)
        self.far = self._bytes(self._starts.far, planes, far)

    def _bytes(self, start: int, planes: slice, count: int) -> np.ndarray:
        h, w, _ = self._shape
        numbers = range(planes.start, planes.stop)
        drawn = np.zeros((len(numbers), count, self._rows * w), np.uint8)
        for plane, number in zip(drawn, numbers, strict=True):
            first = BYTES * (start + number * h * w)
            if self._rows == h:
                self._stream.read_into(first, plane.reshape(-1))
                continue
            for byte, row in enumerate(plane):
                self._stream.read_into(first + (byte * h + self._top) * w, row)
        return drawn

    def __repr__(self) -> str:
        return "_Words(<hidden>)"


class _Regions(NamedTuple):
    """Regions of one height and width, by the numbers of their first pixels."""

    first: np.ndarray
    height: int
    width: int


def _shuffle_band(
    image: np.ndarray, size: np.ndarray, words: _Words, inverse: bool
) -> np.ndarray:
    """Returns rows of an image, shuffled within their regions."""
    h, w, c = image.shape
    regions = list(_regions_by_shape(size))
    for _, height, width in regions:
        check_sides(height, width)
    rounds = [rounds_of(x.height, x.width) for x in regions]
    needed = [
        bytes_needed(x.height, x.width, r) for x, r in zip(regions, rounds, strict=True)
    ]
    needed = [max(counts) for counts in zip((0, 0, 0), *needed, strict=True)]
    planes = moving_planes(c, words.channels)
    values = np.ascontiguousarray(image).view(np.uint8).reshape(h * w, planes, -1)
    cells = values.transpose(1, 2, 0).copy()  # Exchanges are in place.
    # Planes that do not take turns are shuffled one by one, which saves memory.
    together = planes if len(words.turns) else 1
    for plane in range(0, planes, together):
        some = slice(plane, plane + together)
        words.draw(some, *needed)
        for (first, height, width), count in zip(regions, rounds, strict=True):
            exchange_rectangles(
                cells[some],
                first,
                w,
                height,
                width,
                words.coins,
                words.odds,
                words.far,
                words.turns,
                count,
                inverse,
            )
    values = np.ascontiguousarray(cells.transpose(2, 0, 1))
    return values.view(image.dtype).reshape(image.shape)


def _regions_by_shape(size: np.ndarray) -> Iterator[_Regions]:
    """Yields the regions of two pixels and more: whole ones, and those cut off."""
    h, w = size.shape
    for s in sizes_in(size):
        if s == 1:
            continue
        y, x = np.nonzero(size[::s, ::s] == s)
        y, x = y * s, x * s
        low, right = y + s > h, x + s > w
        for height, in_rows in ((s, ~low), (h % s, low)):
            for width, in_columns in ((s, ~right), (w % s, right)):
                here = in_rows & in_columns
                if here.any() and height * width > 1:
                    yield _Regions(y[here] * w + x[here], height, width)


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
    kinds = kinds.reshape(-1)  # Of more dimensions in NumPy 2.0.
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
