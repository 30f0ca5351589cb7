"""Shuffling images of any shapes on the host, to the byte as `vim_jax.shuffle` does.

Images with many pixels are cut into bands that no region reaches over, and keystreams
are drawn for a band at a time: so the memory does not grow with them.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vim_jax._types import Channels
from vim_jax.data.exchanges import exchange_rectangles
from vim_jax.keys import ImageStream
from vim_jax.regions import sizes_in
from vim_jax.rounds import ROUNDS, rounds_of
from vim_jax.words import BYTES, moving_planes, starts_of, turn_words

_BAND_PIXELS = 1 << 21
_NEAR = 16  # Longer sides take all coins,
_FAR = 256  # and those of more pixels than this words for far distances, too.


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
    """
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


class _Words(NamedTuple):
    """The keystream of some rows of an image."""

    stream: ImageStream
    shape: tuple[int, int, int]
    channels: Channels
    top: int
    rows: int

    def bytes_of(self, part: str, planes: slice, count: int) -> np.ndarray:
        """Returns the first bytes of the words of planes, uint8 `planes bytes pixels`.

        Args:
          part: "coins", or one of `vim_jax.words.Starts`.
          planes: which.
          count: how many bytes of each word.
        """
        h, w, _ = self.shape
        start = 0
        if part != "coins":
            start = BYTES * getattr(starts_of(self.shape, self.channels), part)
        numbers = range(planes.start, planes.stop)
        drawn = np.zeros((len(numbers), count, self.rows * w), np.uint8)
        for plane, number in zip(drawn, numbers, strict=True):
            first = start + number * BYTES * h * w
            if self.rows == h:
                self.stream.read_into(first, plane.reshape(-1))
                continue
            for byte, row in enumerate(plane):
                self.stream.read_into(first + (byte * h + self.top) * w, row)
        return drawn


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
    rounds = [rounds_of(x.height, x.width) for x in regions]
    sides = [side for x in regions for side in (x.height, x.width)]
    long = max(sides, default=0) > _NEAR or max(rounds, default=0) > ROUNDS
    coin_bytes = BYTES if long else BYTES // 2
    odd_bytes = BYTES if any(side & (side - 1) for side in sides) else 0
    far_bytes = BYTES if max(sides, default=0) > _FAR else 0
    planes = moving_planes(c, words.channels)
    values = np.ascontiguousarray(image).view(np.uint8).reshape(h * w, planes, -1)
    cells = values.transpose(1, 2, 0).copy()  # Exchanges are in place.
    turning = turn_words(c, words.channels)
    turns = words.bytes_of("turns", slice(0, turning), BYTES if turning else 0)
    # Planes that do not take turns are shuffled one by one, which saves memory.
    together = planes if turning else 1
    for plane in range(0, planes, together):
        some = slice(plane, plane + together)
        coins = words.bytes_of("coins", some, coin_bytes)
        odds = words.bytes_of("odds", some, odd_bytes)
        far = words.bytes_of("far", some, far_bytes)
        for (first, height, width), count in zip(regions, rounds, strict=True):
            exchange_rectangles(
                cells[some],
                first,
                w,
                height,
                width,
                coins,
                odds,
                far,
                turns,
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
