"""Arrangement entropy: how many arrangements an attacker would have to try.

Computed on the host, in NumPy: it is reported, not trained on.
"""

import numpy as np
from jaxtyping import Float64, Int, Int32
from scipy.special import gammaln

from vim_jax._types import AnyArray, Channels, Image, check_channels, with_channel_axis
from vim_jax.regions import PlanOrSize, as_plan


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
      float64, one value a permutation, 0 for a constant region or a single pixel.

    Raises:
      ValueError: as `shuffle`.
    """
    check_channels(channels)
    cells = np.asarray(with_channel_axis(image))
    plan = as_plan(cells.shape, plan_or_size)
    region = _region_numbers(np.asarray(plan.size))
    h, w, c = cells.shape
    if channels == "joint":
        colours, kinds = _numbered_colours(cells.reshape(h * w, c))
        return _bits(region, colours, kinds)[0]
    values, kinds = _numbered(cells.reshape(h * w, c))
    if channels == "independent":
        return np.stack(
            [_bits(region, values[:, i], kinds)[0] for i in range(c)], axis=1
        ).reshape(-1)
    bits, sizes = _bits(np.repeat(region, c), values.reshape(-1), kinds)
    bits[sizes == c] = 0  # A region of one pixel keeps its colour.
    return bits


def region_areas(size: Int32[AnyArray, "h w"]) -> Int[np.ndarray, " regions"]:
    """Returns the pixels of each region of a plan, in the order of their bits."""
    return np.bincount(_region_numbers(np.asarray(size)))


def _region_numbers(size: np.ndarray) -> np.ndarray:
    """Returns the number of each pixel's region, counted by their first pixels."""
    h, w = size.shape
    top = np.arange(h, dtype=size.dtype)[:, None] // size * size
    left = np.arange(w, dtype=size.dtype)[None, :] // size * size
    origin = (top.astype(np.int64) * w + left).reshape(-1)
    first = origin == np.arange(h * w)
    return (np.cumsum(first) - 1)[origin]


def _numbered(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns values as numbers from 0 in the same order, and a bound of them."""
    if values.dtype in (np.uint8, np.uint16):
        return values, np.iinfo(values.dtype).max + 1
    kinds, numbers = np.unique(values, return_inverse=True)
    return numbers.reshape(values.shape), len(kinds)


def _numbered_colours(colours: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns the rows of an `n c` array as numbers from 0, and a bound of them."""
    n, c = colours.shape
    if colours.dtype == np.uint8 and c <= 4:
        packed = np.zeros(n, np.int64)
        for channel in range(c):
            packed = packed << 8 | colours[:, channel]
        return packed, 1 << (8 * c)
    kinds, numbers = np.unique(colours, axis=0, return_inverse=True)
    return numbers.reshape(-1), len(kinds)


def _bits(
    region: np.ndarray, values: np.ndarray, kinds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each region's arrangement entropy in bits, and its number of cells.

    Args:
      region: int64 `n`, the number of each cell's region, without gaps.
      values: `n`, the number of each cell's value, below `kinds`.
      kinds: bound of the values.
    """
    sizes = np.bincount(region)
    pairs = region * kinds + values
    if len(sizes) * kinds < 2**32:  # Half as long to sort.
        pairs = pairs.astype(np.uint32)
    # Sorted in place, in one go: `np.unique` takes several times as long.
    pairs.sort()
    starts = np.flatnonzero(np.diff(pairs, prepend=pairs[:1] ^ 1))
    multiplicity = np.diff(starts, append=len(pairs))
    of_region = pairs[starts] // kinds
    log_factorial = gammaln(np.arange(1, multiplicity.max() + 2))
    repeated = np.bincount(of_region, log_factorial[multiplicity], len(sizes))
    return np.maximum(gammaln(sizes + 1) - repeated, 0) / np.log(2), sizes
