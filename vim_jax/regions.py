"""Region plans: which region size each part of an image has."""

import dataclasses
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax._types import AnyArray, concrete

_COUNTED = 1 << 20
_EXACT_SIDE = 1 << 20

RegionSize: TypeAlias = int | Literal["entire"]
"""Side of the regions in pixels; `"entire"` makes the image one region."""


class Bounds(NamedTuple):
    """What is known of a plan's regions beforehand: it shapes the compiled program.

    Attributes:
      height: no region is higher, in pixels.
      width: no region is wider, in pixels.
      smallest: no region has a shorter side, in pixels.
      squares: whether all regions are whole squares with sides of powers of two, which
        are their sizes.
    """

    height: int
    width: int
    smallest: int
    squares: bool


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RegionPlan:
    """A division of an image into regions, as a pytree.

    Pixel (y, x) of size s belongs to the block of s x s pixels that holds it on the
    grid of step s anchored at the top left corner, cut off at the image's edges. In
    a valid plan all pixels of such a block have the same size. Plans of different
    sizes can describe equal regions (ragged edges); they give equal bytes.

    Attributes:
      size: int32 `h w`, the region size in pixels of each pixel's region, 1 or more.
      expected_vfe: float32 scalar, VFE to be expected after shuffling, regions not
        scrambled, in squared grey levels per pixel; None if no image was looked at
        (`uniform_plan`).
      reached: bool scalar, whether the target lay within reach; None if there was no
        target.
      nonce: uint32 `8`, public number of the image key that was used, which a
        `SecretKey` needs to restore the image; None under PRNG keys.
      bounds: what is known of the regions without looking at `size`, to make the
        compiled program smaller; static; None if nothing is.
    """

    size: AnyArray
    expected_vfe: AnyArray | None = None
    reached: AnyArray | None = None
    nonce: AnyArray | None = None
    bounds: Bounds | None = dataclasses.field(default=None, metadata={"static": True})


PlanOrSize: TypeAlias = RegionPlan | RegionSize


class Regions(NamedTuple):
    """Each pixel's region, as int32 `h w` arrays, in pixels."""

    top: jax.Array
    left: jax.Array
    height: jax.Array
    width: jax.Array

    @property
    def origin(self) -> jax.Array:
        """Row-major index of the region's first pixel: it names the region."""
        return self.top * self.top.shape[1] + self.left


def regions_of(size: AnyArray) -> Regions:
    """Returns the regions that an int32 `h w` map of sizes stands for."""
    size = jnp.asarray(size)
    h, w = size.shape
    y = jnp.arange(h, dtype=jnp.int32)[:, None]
    x = jnp.arange(w, dtype=jnp.int32)[None, :]
    top, left = _block_start(y, size), _block_start(x, size)
    height, width = jnp.minimum(size, h - top), jnp.minimum(size, w - left)
    return Regions(top, left, height, width)


def sizes_in(size: np.ndarray) -> list[int]:
    """Returns which sizes there are in a map of them, in order, on the host."""
    if (first := int(size[0, 0])) == size.min() == size.max():  # Often, and sooner.
        return [first]
    flat, found = size.reshape(-1), np.zeros(0, np.int64)
    for start in range(0, flat.size, _COUNTED):  # Counting copies to 64 bits.
        counts = np.bincount(flat[start : start + _COUNTED])
        found = np.union1d(found, np.flatnonzero(counts))
    return found.tolist()


def _block_start(position: jax.Array, size: jax.Array) -> jax.Array:
    """Returns the multiple of `size` at or below `position`."""
    if max(position.shape) > _EXACT_SIDE:
        return jax.lax.div(jnp.broadcast_to(position, size.shape), size) * size
    # Several times faster than integers, one division for both axes. The quotient is at
    # least 1 / (2 * size) from an integer, more than any device's rounding takes away.
    quotient = (position.astype(jnp.float32) + 0.5) * (1 / size.astype(jnp.float32))
    return quotient.astype(jnp.int32) * size


def uniform_plan(image_shape: tuple[int, ...], region_size: RegionSize) -> RegionPlan:
    """Returns the plan with one region size everywhere.

    Args:
      image_shape: `(h, w)` or `(h, w, c)`.
      region_size: side of the regions in pixels, 1 or more. A size larger than a
        side of the image is clipped to that side; `"entire"` makes the whole image
        one region.

    Raises:
      ValueError: if `region_size` is below 1.
    """
    h, w = image_shape[:2]
    size = uniform_size(image_shape, region_size)
    sides = {min(size, h), min(size, w), h % size or size, w % size or size}
    bounds = Bounds(
        height=min(size, h),
        width=min(size, w),
        smallest=min(sides),
        squares=len(sides) == 1 and size & (size - 1) == 0,
    )
    return RegionPlan(jnp.full((h, w), size, jnp.int32), bounds=bounds)


def uniform_size(image_shape: tuple[int, ...], region_size: RegionSize) -> int:
    """Returns the size that `uniform_plan` has everywhere.

    At most the longer side of the image, so that all sizes from there up give equal
    plans.

    Raises:
      ValueError: if `region_size` is below 1.
    """
    longer = max(image_shape[:2])
    if region_size == "entire":
        return longer
    check_region_size("region_size", region_size)
    return min(region_size, longer)


def bounds_of(plan: RegionPlan) -> Bounds:
    """Returns what is known of a plan's regions without looking at its sizes."""
    h, w = plan.size.shape[-2:]  # A batch of plans has one more.
    return plan.bounds or Bounds(height=h, width=w, smallest=1, squares=False)


def as_plan(image_shape: tuple[int, ...], plan_or_size: PlanOrSize) -> RegionPlan:
    """Returns `plan_or_size` as a plan for images of `image_shape`.

    Raises:
      ValueError: if it is a size below 1, a plan for images of another shape, or one
        whose sizes do not fit together.
    """
    if not isinstance(plan_or_size, RegionPlan):
        return uniform_plan(image_shape, plan_or_size)
    if jnp.shape(plan_or_size.size) != tuple(image_shape[:2]):
        raise ValueError(
            f"plan_or_size is a plan for images of {jnp.shape(plan_or_size.size)} "
            f"pixels, the image has {tuple(image_shape[:2])}: plan it for this shape."
        )
    size = jnp.asarray(plan_or_size.size, jnp.int32)
    _check_sizes(size)
    return dataclasses.replace(plan_or_size, size=size)


def _check_sizes(size: jax.Array) -> None:
    """Raises ValueError on sizes that do not divide an image into regions.

    Inside `jit` and `vmap` they are not known, and taken to be valid.
    """
    sizes = concrete(size)
    if sizes is None:
        return
    h, w = sizes.shape
    if sizes.min() >= 1:
        top = np.arange(h)[:, None] // sizes * sizes
        left = np.arange(w)[None, :] // sizes * sizes
        if np.array_equal(sizes[top, left], sizes):
            return
    raise ValueError(
        "plan_or_size is a plan whose sizes do not fit together: each must be 1 or "
        "more, and the same all over its region. Use uniform_plan or plan_regions."
    )


def check_region_size(name: str, size: object) -> None:
    """Raises ValueError unless `size` is an integer from 1 up."""
    if isinstance(size, jax.Array) and concrete(size) is None:
        raise ValueError(
            f"{name} is traced by jit or vmap: make it static, by functools.partial or "
            "static_argnames, or pass a RegionPlan."
        )
    valid = isinstance(size, (int, np.integer)) and not isinstance(size, bool)
    if not valid or int(size) < 1:  # pyright: ignore[reportArgumentType]
        raise ValueError(
            f"{name}={size!r} is not a region size: use an integer of 1 or more, or "
            '"entire".'
        )
