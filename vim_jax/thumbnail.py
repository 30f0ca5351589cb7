"""Thumbnails: what a mixed image shows without the key."""

import jax
import jax.numpy as jnp
from jaxtyping import Float32

from vim_jax._types import AnyArray, Pixels, as_pixels
from vim_jax.moments import exact
from vim_jax.regions import PlanOrSize, as_plan, regions_of


def thumbnail(image: Pixels, plan_or_size: PlanOrSize) -> Float32[jax.Array, "h w *c"]:
    """Replaces each pixel by the mean of its region.

    Shuffling keeps the values of a region, and so its mean: mixed images have the
    thumbnail of the original, as long as regions are not scrambled. For
    `channels="mixed"` that holds for the mean over channels only. The thumbnail is 3
    dB nearer to the original than the mixed image is, on average over keys.

    Args:
      image: `h w c` or `h w`, uint8 or float in [0, 1], original or mixed.
      plan_or_size: the regions.

    Returns:
      float32, of the shape and in the range of `image` (0 to 255 for uint8).

    Raises:
      ValueError: on an image that `vfe` refuses, a plan for another shape or a size
        below 1.
    """
    pixels = as_pixels(image)
    size = as_plan(pixels.shape, plan_or_size).size
    return _region_means(pixels, size).reshape(jnp.shape(image))


@exact
def _region_means(pixels: jax.Array, size: AnyArray) -> jax.Array:
    h, w, c = pixels.shape
    regions = regions_of(size)
    origin = regions.origin.reshape(-1)
    # In double precision: float32 is off by grey levels over millions of pixels.
    cells = pixels.reshape(h * w, c).astype(jnp.float64)
    totals = jax.ops.segment_sum(cells, origin, h * w)
    count = (regions.height * regions.width).reshape(-1, 1).astype(jnp.float64)
    return (totals[origin] / count).astype(jnp.float32)
