"""Visual Feature Entropy (VFE) and the metrics beside it.

Intensities are 8-bit grey levels: uint8 images as they are, float images in [0, 1]
times 255. VFE is in squared grey levels per pixel, averaged over channels, so that a
grey image, its RGB copy, its uint8 and its float form score the same. It is a measure
of roughness, not of information: brightness, contrast and noise raise it too, and it
cannot see that the region means of a shuffled image are those of the original.

References:
  Li et al., `You Can Use But Cannot Recognize: Preserving Visual Privacy in Deep
  Neural Networks`, NDSS 2024 (VFE). Geary, `The Contiguity Ratio and Statistical
  Mapping`, 1954 (Geary's C).
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float32

from vim_jax._types import (
    Channels,
    Pixels,
    Scalar,
    as_pixels,
    check_channels,
)
from vim_jax.expectation import plan_energy, scrambled_energy
from vim_jax.moments import ENERGY_UNIT, exact, fixed_point
from vim_jax.regions import PlanOrSize, as_plan, check_region_size, regions_of


def _values(image: Pixels) -> tuple[jax.Array, float]:
    """Returns the values of an image as float32 `h w c`, and their unit in grey levels.

    Kept apart until differences are taken: a compiler may fuse the product into the
    difference, and equal pixels would differ by a rounding error.
    """
    pixels = as_pixels(image)
    unit = 1.0 if pixels.dtype == jnp.uint8 else 255.0
    return pixels.astype(jnp.float32), unit


def _squared_gradient(image: Pixels) -> jax.Array:
    """Returns (dx I)^2 + (dy I)^2 per pixel, averaged over channels, `h w`."""
    values, unit = _values(image)
    # A missing right or lower neighbour counts as no difference.
    dy = jnp.pad(jnp.diff(values, axis=0), ((0, 1), (0, 0), (0, 0)))
    dx = jnp.pad(jnp.diff(values, axis=1), ((0, 0), (0, 1), (0, 0)))
    return (dx**2 + dy**2).mean(2) * unit**2


@exact
def _pair_energy(image: Pixels) -> jax.Array:
    """Returns the sum of squared differences over all pairs and channels.

    In squared grey levels; int64, exact, of a uint8 image, float64 of others.
    """
    pixels = as_pixels(image)
    h, w, c = pixels.shape
    if pixels.dtype == jnp.uint8:
        fits = 2 * 255**2 * w * c < 2**31
        values, unit = pixels.astype(jnp.int32), 1
        row_sum, all_sums = jnp.int32 if fits else jnp.int64, jnp.int64
    else:
        values, unit = pixels.astype(jnp.float32), 255.0**2
        row_sum, all_sums = jnp.float64, jnp.float64
    values = values.reshape(h, w * c)

    def squares(first, second):
        return (values[second] - values[first]) ** 2

    def total(steps):
        return steps.sum(1, dtype=row_sum).astype(all_sums).sum()

    upper, lower, last = slice(None, -1), slice(1, None), slice(-1, None)
    left, right, edge = slice(None, -c), slice(c, None), slice(-c, None)
    # All but the last column and row in one loop, which is twice as fast as two.
    most = squares((upper, left), (lower, left)) + squares(
        (upper, left), (upper, right)
    )
    column = squares((upper, edge), (lower, edge))
    row = squares((last, left), (last, right))
    return unit * (total(most) + total(column) + total(row))


@exact
def _precise_sum(x: jax.Array, axis: tuple[int, ...]) -> jax.Array:
    """Sums in double precision, so that sums of parts add up to sums of wholes."""
    return x.astype(jnp.float64).sum(axis)


@exact
def _scaled(x: jax.Array, scale: float, count: int) -> jax.Array:
    return (x.astype(jnp.float64) * (scale / count)).astype(jnp.float32)


@functools.partial(jax.jit, static_argnames="scale")
def vfe(image: Pixels, *, scale: float = 1.0) -> Scalar:
    """Visual Feature Entropy of an image.

    `scale / (h*w) * sum over pixels of (dx I)^2 + (dy I)^2`, the mean over channels;
    dx and dy are forward differences, and a missing neighbour is skipped.

    Args:
      image: `h w c` or `h w`, uint8 or float in [0, 1].
      scale: the factor F of the definition.

    Returns:
      float32 scalar, 0 or more, in squared grey levels per pixel.

    Raises:
      ValueError: if `image` has another rank or dtype, or no pixel.

    Examples:
      >>> import jax.numpy as jnp, vim_jax
      >>> float(vim_jax.vfe(jnp.array([[0, 1], [0, 3]], jnp.uint8)))
      3.5
    """
    return _scaled(_pair_energy(image), scale, as_pixels(image).size)


@functools.partial(jax.jit, static_argnames=("region_size", "scale"))
def vfe_map(
    image: Pixels, region_size: int, *, scale: float = 1.0
) -> Float32[jax.Array, "rows cols"]:
    """Each region's contribution to the VFE, on the grid of regions.

    A difference belongs to the region of its left or upper pixel. The map sums to
    `vfe(image)`: contributions are divided by the pixels of the image, not of the
    region.

    Args:
      image: `h w c` or `h w`, uint8 or float in [0, 1].
      region_size: side of the regions in pixels; regions at the right and lower edge
        may be smaller.
      scale: the factor F of the definition.

    Returns:
      float32 `ceil(h/s) ceil(w/s)`, in squared grey levels per pixel.

    Raises:
      ValueError: if `region_size` is below 1, or on an image that `vfe` refuses.
    """
    check_region_size("region_size", region_size)
    energy = _squared_gradient(image)
    h, w = energy.shape
    s = region_size
    padded = jnp.pad(energy, ((0, -h % s), (0, -w % s)))
    blocks = padded.reshape(padded.shape[0] // s, s, padded.shape[1] // s, s)
    return _scaled(_precise_sum(blocks, (1, 3)), scale, energy.size)


def expected_vfe(
    image: Pixels,
    plan_or_size: PlanOrSize,
    *,
    channels: Channels = "independent",
    scramble_regions: bool = False,
    scale: float = 1.0,
) -> Scalar:
    """VFE to be expected after shuffling, in closed form.

    The mean over all keys. Intensities are rounded to 1/256 grey level.

    Args:
      image: `h w c` or `h w`, uint8 or float in [0, 1].
      plan_or_size: a plan for this shape, or a region size in pixels.
      channels: as in `shuffle` ("joint" and "independent" have equal expectations).
      scramble_regions: as in `shuffle`.
      scale: the factor F of the definition.

    Returns:
      float32 scalar, in squared grey levels per pixel.

    Raises:
      ValueError: on a plan for another shape, a size below 1, unknown `channels`, or
        an image that `vfe` refuses.
    """
    check_channels(channels)
    size = as_plan(as_pixels(image).shape, plan_or_size).size
    return _expected_vfe(image, size, channels, scramble_regions, scale)


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
@exact
def _expected_vfe(image, size, channels, scramble_regions, scale):
    values = fixed_point(image)
    energy = scrambled_energy if scramble_regions else plan_energy
    total = energy(values, regions_of(size), channels).astype(jnp.float64)
    return _scaled(total * ENERGY_UNIT, scale, values.size)


def max_vfe(
    image: Pixels, *, channels: Channels = "independent", scale: float = 1.0
) -> Scalar:
    """VFE to be expected after shuffling the image as one region.

    Not a strict maximum: an image may be rougher than its own shuffle (a
    checkerboard), and some plan may exceed both.

    Args:
      image: `h w c` or `h w`, uint8 or float in [0, 1].
      channels: as in `shuffle`.
      scale: the factor F of the definition.

    Returns:
      float32 scalar, in squared grey levels per pixel.

    Raises:
      ValueError: as `expected_vfe`.
    """
    return expected_vfe(image, "entire", channels=channels, scale=scale)


@jax.jit
def gearys_c(image: Pixels) -> Scalar:
    """Geary's C, a roughness that ignores brightness and contrast.

    `(N-1) * sum over pairs (xi-xj)^2 / (2 * pairs * sum (x-mean)^2)`; channels add up
    in the numerator and in the denominator. Equals `vfe / max_vfe`.

    Args:
      image: `h w c` or `h w`, uint8 or float in [0, 1].

    Returns:
      float32 scalar, 0 or more: near 0 for smooth images, 1 on average for pixels in
      random order, above 1 where neighbours differ more than that. A constant image
      has no contrast to compare with and gives NaN.

    Raises:
      ValueError: on an image that `vfe` refuses.
    """
    values, unit = _values(image)
    h, w, c = values.shape
    pairs = h * (w - 1) + w * (h - 1)
    differences = _squared_gradient(image).sum() * c
    # Shifted, so that a constant channel deviates by exactly 0 in spite of rounding.
    shifted = values - values[:1, :1]
    deviations = ((shifted - shifted.mean((0, 1), keepdims=True)) ** 2).sum()
    return (h * w - 1) * differences / (2 * pairs * unit**2 * deviations)
