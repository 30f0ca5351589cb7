"""What records say of images, on the host.

The functions of `vim_jax.vfe` would be compiled anew for every image shape. Sums are of
integers, and so the same in any order.
"""

import numpy as np

from vim_jax._types import Channels

_CHUNK = 1 << 15  # Values that are worked on at a time: they fit the cache.


def _unit(image: np.ndarray) -> float:
    """Returns grey levels per step of an image's integers."""
    return 255 / np.iinfo(image.dtype).max


def vfe(image: np.ndarray) -> float:
    """Returns the `vim_jax.vfe` of a uint8 or uint16 image `h w c`."""
    h, w, c = image.shape
    rows = image.reshape(h, w * c)
    # Differences, and squares of them.
    narrow, wide = (
        (np.int16, np.int32) if image.dtype == np.uint8 else (np.int32, np.int64)
    )
    step = max(1, _CHUNK // (w * c))
    energy = 0
    for top in range(0, h, step):
        chunk = rows[top : top + step + 1].astype(narrow)
        for difference in (
            chunk[1:] - chunk[:-1],
            chunk[:step, c:] - chunk[:step, :-c],
        ):
            squares = difference.astype(wide)
            squares *= squares
            energy += int(squares.sum(dtype=np.int64))
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
    h, w, c = image.shape
    region, height, width = _regions(size)
    cells = height * width
    n, sums, squares = cells[:, None], [], []
    for channel in image.reshape(h * w, c).T.astype(np.float64):
        sums.append(np.bincount(region.reshape(-1), channel))
        squares.append(np.bincount(region.reshape(-1), channel * channel))
    mean = np.stack(sums, axis=1) / n
    deviations = np.stack(squares, axis=1) - n * mean**2
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
    for a, b in ((region[1:], region[:-1]), (region[:, 1:], region[:, :-1])):
        apart = a != b
        a, b = kinds[a[apart]], kinds[b[apart]]
        across = spread[a] + between[a] + spread[b] + between[b]
        across += (centre[a] - centre[b]) ** 2
        energy += np.where((a == b)[:, None], within[a], across).sum()
    return float(energy) * _unit(image) ** 2 / image.size


def regions_in(size: np.ndarray) -> int:
    """Returns the number of regions of a plan with sizes int32 `h w`."""
    h, w = size.shape
    y, x = np.indices((h, w), sparse=True)
    return int(np.count_nonzero((y % size == 0) & (x % size == 0)))


def _regions(size: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the number of each pixel's region, and the regions' sides in pixels."""
    h, w = size.shape
    y, x = np.indices((h, w), sparse=True)
    top, left = y // size * size, x // size * size
    first = (top == y) & (left == x)
    number = np.cumsum(first).reshape(h, w) - 1
    side = size[first]
    height = np.minimum(side, h - np.broadcast_to(top, (h, w))[first])
    width = np.minimum(side, w - np.broadcast_to(left, (h, w))[first])
    return number[top, left], height, width
