"""Arrangement entropy: how many arrangements an attacker would have to try.

Computed on the host, in NumPy: it is reported, not trained on.
"""

import numpy as np
from jaxtyping import Float64
from scipy.special import gammaln

from vim_jax._types import Channels, Image, check_channels, with_channel_axis
from vim_jax.regions import PlanOrSize, as_plan, regions_of


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
    h, w, c = cells.shape
    origin = regions_of(as_plan(cells.shape, plan_or_size).size).origin
    region = np.asarray(origin).reshape(-1, 1)
    values = cells.reshape(h * w, c)
    if channels == "joint":
        values = np.unique(values, axis=0, return_inverse=True)[1].reshape(-1, 1)
        group = region
    else:
        values = np.unique(values, return_inverse=True)[1].reshape(h * w, c)
        group = region * c
        if channels == "independent":
            group = group + np.arange(c)
    bits, sizes = _log2_arrangements(np.broadcast_to(group, values.shape), values)
    if channels == "mixed":
        bits[sizes == c] = 0  # A region of one pixel keeps its colour.
    return bits


def _log2_arrangements(
    group: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns each group's arrangement entropy in bits, and its number of cells."""
    group = np.unique(group, return_inverse=True)[1].reshape(-1)
    kinds = int(values.max()) + 1
    pairs, multiplicity = np.unique(
        group * kinds + values.reshape(-1), return_counts=True
    )
    sizes = np.bincount(group)
    repeated = np.bincount(pairs // kinds, gammaln(multiplicity + 1), len(sizes))
    return np.maximum(gammaln(sizes + 1) - repeated, 0) / np.log(2), sizes
