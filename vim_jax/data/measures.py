"""What records say of images, on the host.

The functions of `vim_jax.vfe` would be compiled anew for every image shape. Sums are of
integers, and so the same in any order.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vim_jax._types import Channels
from vim_jax.regions import sizes_in

_CHUNK = 1 << 15  # Values that are worked on at a time: they fit the cache.


def as_grey_levels(image: np.ndarray) -> np.ndarray:
    """Returns an image as the metrics take it: 16-bit grey becomes float32."""
    return image.astype(np.float32) / 65535 if image.dtype == np.uint16 else image


def _unit(image: np.ndarray) -> float:
    """Returns grey levels per step of an image's integers."""
    return 255 / np.iinfo(image.dtype).max


def vfe(image: np.ndarray) -> float:
    """Returns the `vim_jax.vfe` of a uint8 or uint16 image `h w c`."""
    h, w, c = image.shape
    rows = image.reshape(h, w * c)
    # Squares of differences fit as many bits, without a sign.
    signed, unsigned = (
        (np.int16, np.uint16) if image.dtype == np.uint8 else (np.int32, np.uint32)
    )
    step = max(1, _CHUNK // (w * c))
    energy = 0
    for top in range(0, h, step):
        chunk = rows[top : top + step + 1].astype(signed)
        for difference in (
            chunk[1:] - chunk[:-1],
            chunk[:step, c:] - chunk[:step, :-c],
        ):
            difference *= difference
            energy += int(difference.view(unsigned).sum(dtype=np.uint64))
    return energy * _unit(image) ** 2 / image.size


def expected_vfe(
    image: np.ndarray,
    size: np.ndarray,
    *,
    channels: Channels,
    scramble_regions: bool = False,
) -> float:
    """Returns the `vim_jax.expected_vfe` of a uint8 or uint16 image `h w c`.

    Args:
      image: the image.
      size: int32 `h w`, the sizes of a plan.
      channels: see `shuffle`.
      scramble_regions: see `shuffle`.
    """
    _, w, c = image.shape
    height, width, sums, borders = _regions(size)
    cells = height * width
    n = cells[:, None]
    mean = sums(image) / n
    deviations = sums(np.square(image, dtype=np.uint32)) - n * mean**2
    if channels == "mixed":
        pooled = mean.mean(1, keepdims=True)
        spread = (deviations + n * (mean - pooled) ** 2).sum(1, keepdims=True)
        shuffled = n > 1  # A region of one pixel keeps its colour.
        deviations = np.where(shuffled, spread, 0) / c
        mean = np.where(shuffled, pooled, mean)
        inside = 2 * deviations * c / np.maximum(n * c - 1, 1)
    else:
        inside = 2 * deviations / np.maximum(n - 1, 1)
    inside, variance = np.broadcast_arrays(inside, deviations / n, mean)[:2]
    kinds = np.arange(len(cells))
    if scramble_regions:
        _, kinds = np.unique(height * (w + 1) + width, return_inverse=True)
    members = np.bincount(kinds)[:, None]

    def average(x):
        """Averages over the regions of each kind."""
        return np.stack([np.bincount(kinds, column) for column in x.T], 1) / members

    centre, spread = average(mean), average(variance)
    between = average((mean - centre[kinds]) ** 2)
    within = 2 * (spread + between * members / np.maximum(members - 1, 1))

    energy = ((2 * cells - height - width)[:, None] * inside).sum()
    for a, b, pairs in borders:
        a, b = kinds[a], kinds[b]
        across = spread[a] + between[a] + spread[b] + between[b]
        across += (centre[a] - centre[b]) ** 2
        across = np.where((a == b)[:, None], within[a], across)
        energy += (pairs[:, None] * across).sum()
    return float(energy) * _unit(image) ** 2 / image.size


def regions_in(size: np.ndarray) -> int:
    """Returns the number of regions of a plan with sizes int32 `h w`."""
    return sum(int(np.count_nonzero(size[::s, ::s] == s)) for s in sizes_in(size))


class _Regions(NamedTuple):
    """The regions of a plan, numbered.

    Attributes:
      height: of each, in pixels.
      width: of each, in pixels.
      sums: from unsigned integers `h w c` to the sums over each region, `regions c`.
      borders: numbers of regions side by side, and how many pairs of pixels face each
        other across their border.
    """

    height: np.ndarray
    width: np.ndarray
    sums: Callable[[np.ndarray], np.ndarray]
    borders: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]


def _regions(size: np.ndarray) -> _Regions:
    """Returns the regions of a plan with sizes int32 `h w`."""
    first = int(size[0, 0])
    return _grid(size.shape, first) if (size == first).all() else _any(size)


def _grid(shape: tuple[int, int], size: int) -> _Regions:
    """Returns regions of one size: many times faster than any."""
    tops, lefts = (np.arange(0, side, size) for side in shape)
    heights, widths = (
        np.diff(starts, append=side)
        for starts, side in zip((tops, lefts), shape, strict=True)
    )
    number = np.arange(tops.size * lefts.size).reshape(tops.size, lefts.size)
    height, width = np.broadcast_arrays(heights[:, None], widths)

    def sums(values):
        rows = np.empty((tops.size, *values.shape[1:]), np.uint64)
        # Not `reduceat`, which takes three times as long.
        for top, row in zip(tops, rows, strict=True):
            values[top : top + size].sum(0, dtype=np.uint64, out=row)
        return np.add.reduceat(rows, lefts, axis=1).reshape(number.size, -1)

    def border(a, b, pairs):
        return a.reshape(-1), b.reshape(-1), pairs.reshape(-1)

    return _Regions(
        height.reshape(-1),
        width.reshape(-1),
        sums,
        [
            border(number[1:], number[:-1], width[1:]),
            border(number[:, 1:], number[:, :-1], height[:, 1:]),
        ],
    )


def _any(size: np.ndarray) -> _Regions:
    """Returns regions of several sizes."""
    h, w = size.shape
    y, x = np.indices((h, w), sparse=True)
    top, left = y // size * size, x // size * size
    first = (top == y) & (left == x)
    number = (np.cumsum(first).reshape(h, w) - 1)[top, left]
    side = size[first]
    height = np.minimum(side, h - np.broadcast_to(top, (h, w))[first])
    width = np.minimum(side, w - np.broadcast_to(left, (h, w))[first])

    def sums(values):
        flat = number.reshape(-1)
        channels = values.reshape(h * w, -1).T
        return np.stack([np.bincount(flat, channel) for channel in channels], axis=1)

    borders = []
    for a, b in ((number[1:], number[:-1]), (number[:, 1:], number[:, :-1])):
        apart = a != b
        borders.append((a[apart], b[apart], np.ones(np.count_nonzero(apart))))
    return _Regions(height, width, sums, borders)
