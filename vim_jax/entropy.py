"""Arrangement entropy: how many arrangements an attacker would have to try.

Computed on the host, in NumPy: it is reported, not trained on.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64
from scipy.special import gammaln

from vim_jax._types import Channels, Image, check_channels, with_channel_axis
from vim_jax.regions import PlanOrSize, as_plan, sizes_in

_CHUNK = 1 << 20  # Values that are sorted at a time: they fit the cache.
_FEW = 16  # Their factorial is exact in float64.
_TABLE = 1 << 16
_RADIX_FROM = 512  # Values in a row, above which it is faster [measured].


def arrangement_bits(
    image: Image, plan_or_size: PlanOrSize, *, channels: Channels = "independent"
) -> Float64[np.ndarray, " permutations"]:
    """Arrangement entropy of each permutation of an image, in bits.

    `log2(n! / prod m_v!)` for a region of n cells of which m_v have value v: the
    number of different arrangements of what the region holds. A key cannot make a
    region stronger than that, and regions fall one by one, so look at the smallest
    and the median and not at the sum. Shuffling keeps it: mixed images give the same.

    Args:
      image: `h w c` or `h w`, of any dtype.
      plan_or_size: a plan for this shape, or a region size in pixels.
      channels: as in `shuffle`. "independent" has one permutation a region and
        channel; "joint" (cells are pixels) and "mixed" (cells are values) have one a
        region.

    Returns:
      float64, one value a permutation, smaller regions first; 0 for a constant region
      or a single pixel.

    Raises:
      ValueError: as `shuffle`.
    """
    check_channels(channels)
    cells = np.asarray(with_channel_axis(image))
    plan = as_plan(cells.shape, plan_or_size)
    bits, single = permutation_bits(cells, np.asarray(plan.size), channels)
    return np.concatenate([np.zeros(single), bits])


def permutation_bits(
    cells: np.ndarray, size: np.ndarray, channels: Channels
) -> tuple[np.ndarray, int]:
    """Returns the bits of the permutations of two pixels or more.

    Args:
      cells: `h w c`, of any dtype.
      size: int32 `h w`, the sizes of a valid plan.
      channels: see `arrangement_bits`.

    Returns:
      float64, and the number of permutations of a single pixel, which have 0 bits.
    """
    if channels == "joint":
        cells = _numbered_colours(cells)[:, :, None]
    elif cells.dtype not in (np.uint8, np.uint16):
        cells = np.unique(cells, return_inverse=True)[1].reshape(cells.shape)
    bits, single = [np.zeros(0)], 0
    for regions in _equal_regions(cells, size):
        count, area, c = regions.shape
        if area == 1:  # Keeps its colour even where channels are mixed.
            single += count * (1 if channels == "mixed" else c)
        elif channels == "mixed":
            bits.append(_bits(regions.reshape(count, area * c)))
        else:
            bits.append(_bits(regions.swapaxes(1, 2).reshape(count * c, area)))
    return np.concatenate(bits), single


def _equal_regions(cells: np.ndarray, size: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the cells of regions of one height and width, as `regions pixels c`."""
    h, w, c = cells.shape
    for s in sizes_in(size):
        for top, rows, height in ((0, h // s, s), (h // s * s, 1, h % s)):
            for left, cols, width in ((0, w // s, s), (w // s * s, 1, w % s)):
                if rows * height * cols * width == 0:
                    continue
                part = np.s_[top : top + rows * height, left : left + cols * width]
                chosen = size[part][::height, ::width] == s
                blocks = cells[part].reshape(rows, height, cols, width, c)
                blocks = blocks.swapaxes(1, 2)[chosen]
                yield blocks.reshape(-1, height * width, c)


def _numbered_colours(cells: np.ndarray) -> np.ndarray:
    """Returns a number for each pixel, equal for equal colours, as `h w`."""
    h, w, c = cells.shape
    if cells.dtype == np.uint8 and c <= 4:
        packed = np.zeros((h, w), np.uint32)
        for channel in range(c):
            packed = packed << 8 | cells[:, :, channel]
        return packed
    colours = cells.reshape(h * w, c)
    return np.unique(colours, axis=0, return_inverse=True)[1].reshape(h, w)


def _bits(rows: np.ndarray) -> np.ndarray:
    """Returns the arrangement entropy of each row of `permutations cells`, in bits."""
    count, n = rows.shape
    step = max(1, _CHUNK // n)
    repeated = [
        _log_repetitions(rows[start : start + step]) for start in range(0, count, step)
    ]
    bits = (gammaln(n + 1) - np.concatenate([*repeated, []])) / np.log(2)
    return np.maximum(bits, 0)


def _log_repetitions(rows: np.ndarray) -> np.ndarray:
    """Returns the log of the product of factorials of how often a value comes up."""
    count, n = rows.shape
    if n <= _FEW:
        # The product of each value's rank among its equals, with nothing to sort.
        cells = np.ascontiguousarray(rows.T)
        ranks = np.ones((n, count), np.uint8)
        for distance in range(1, n):
            ranks[distance:] += cells[distance:] == cells[:-distance]
        return np.log(np.multiply.reduce(ranks, axis=0, dtype=np.float64))
    if rows.dtype == np.uint8:
        rows = rows.astype(np.uint16)  # NumPy has vector instructions for these.
    radix = n >= _RADIX_FROM and rows.dtype == np.uint16
    rows = np.sort(rows, axis=1, kind="stable" if radix else None)
    first = np.ones((count, n), bool)  # Of a run of equal values.
    np.not_equal(rows[:, 1:], rows[:, :-1], out=first[:, 1:])
    starts = np.flatnonzero(first)
    lengths = np.diff(starts, append=count * n)
    small = n < _TABLE
    logs = gammaln(np.arange(1, n + 2))[lengths] if small else gammaln(lengths + 1)
    return np.add.reduceat(logs, np.searchsorted(starts, np.arange(count) * n))
