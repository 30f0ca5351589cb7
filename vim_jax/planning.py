"""Planning: the region sizes that bring an image to a target VFE.

Plans come from one family, ordered from the untouched image to one region:

1. Quadtrees. Blocks of 2, 4, 8, ... pixels, up to about a quarter of the image. A block
   becomes one region when its score, the VFE per pixel that it adds over its four
   quarters divided by its area, reaches a threshold; the largest such block wins. So
   lowering the threshold spends shuffling where it buys most VFE with the smallest
   regions.
2. Uniform grids of every size from there up, because a quadtree is too coarse near
   the top.

No step is taken to raise the VFE: bisection only needs that one end of the family
lies below the target and the other above it. All decisions compare integers, so that
a plan is the same eager, jitted, vmapped and on every device.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax._types import Channels, Pixels, as_pixels, check_channels, concrete
from vim_jax.expectation import plan_energy
from vim_jax.grids import uniform_energy
from vim_jax.moments import ENERGY_UNIT, exact, fixed_point
from vim_jax.quadtree import quadtree
from vim_jax.regions import RegionPlan, check_region_size, regions_of

_LEVEL_BITS = 20
_VFE_LIMIT = 2.0**18
_ROUNDS = 3


class TargetError(ValueError):
    """A target VFE that no plan for the image reaches."""


def plan_regions(
    image: Pixels,
    *,
    level: float | None = None,
    target_vfe: float | None = None,
    max_region: int | None = None,
    channels: Channels = "independent",
    clip: bool = False,
    scale: float = 1.0,
) -> RegionPlan:
    """Chooses region sizes over the image so that its VFE meets a target.

    Args:
      image: `h w c` or `h w`, uint8 or float in [0, 1] (planned as rounded to 1/256
        grey level).
      level: privacy level in [0, 1]: 0 is `vfe(image)`, 1 is `max_vfe(image)`, linear
        between. Give `level` or `target_vfe`.
      target_vfe: VFE after shuffling, in squared grey levels per pixel times `scale`.
      max_region: largest region size allowed, in pixels; None allows all.
      channels: as in `shuffle`.
      clip: what to do with a target out of reach: raise (False), or come as near as
        possible (True).
      scale: the factor F of the VFE.

    Returns:
      A plan with `expected_vfe` and `reached`. A constant image stays unplanned: all
      its regions have size 1.

    Guarantees:
      Equal images give equal plans: eager, jitted, vmapped, in any batch and on any
      device.

    Raises:
      ValueError: unless exactly one valid target is given.
      TargetError: if the target is out of reach and `clip` is False: below the VFE of
        the image or above what its largest regions give, or for an image that shuffling
        makes smoother (a checkerboard). Inside `jit` and `vmap` nothing is raised:
        look at `reached`.

    References:
      The paper chooses regions "according to the desired VFE" and gives no more
      detail; this way to choose them is ours.
    """
    check_target(level, target_vfe, max_region)
    check_channels(channels)
    pixels = as_pixels(image)
    if target_vfe is None:
        goal = round((level or 0.0) * 2**_LEVEL_BITS)
    else:
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale={scale!r} is no factor: use a number above 0.")
        # No image has a VFE above the limit, and in its units all sums fit 64 bits.
        vfe = min(float(target_vfe) / scale, _VFE_LIMIT)
        goal = round(vfe * pixels.size / ENERGY_UNIT)
    high, low = divmod(goal, 2**32)
    goal_words = np.array([high, low], np.uint32)
    plan, reach = _plan(
        pixels, goal_words, level is not None, max_region, channels, scale
    )
    if not clip and concrete(plan.reached) is not None and not plan.reached:
        raise TargetError(_out_of_reach(level, target_vfe, max_region, reach))
    return plan


def check_target(
    level: float | None, target_vfe: float | None, max_region: int | None
) -> None:
    """Raises ValueError unless exactly one valid target is given."""
    if (level is None) == (target_vfe is None):
        raise ValueError(
            f"level={level!r} and target_vfe={target_vfe!r}: give exactly one of them."
        )
    if level is not None and not 0 <= level <= 1:
        raise ValueError(
            f"level={level!r} is not a privacy level: use a number from 0 (leave the "
            "image as it is) to 1 (as rough as a shuffle of the whole image)."
        )
    if target_vfe is not None and not 0 <= target_vfe < float("inf"):
        raise ValueError(f"target_vfe={target_vfe!r} is not a VFE: use a number >= 0.")
    if max_region is not None:
        check_region_size("max_region", max_region)


def _out_of_reach(level, target_vfe, max_region, reach) -> str:
    asked = f"level={level}" if level is not None else f"target_vfe={target_vfe}"
    low, high, whole = (float(x) for x in reach)
    if whole < low:
        return (
            f"{asked} means nothing for this image: its VFE is {low:.6g}, and "
            f"shuffling it whole lowers that to {whole:.6g}. Use clip=True to shuffle "
            "it whole, or a region size."
        )
    where = "" if max_region is None else f" with max_region={max_region}"
    levels = ""
    if level is not None and whole > low:
        levels = f", levels 0 to {max(0.0, (high - low) / (whole - low)):.3g}"
    return (
        f"{asked} is out of reach{where}: plans for this image reach a VFE of "
        f"{low:.6g} to {high:.6g}{levels}. Choose a target in that range, or use "
        "clip=True to come as near as possible."
    )


class _Fit(NamedTuple):
    """A plan's int32 `h w` sizes and its int64 expected energy."""

    size: jax.Array
    energy: jax.Array


def _where(condition: jax.Array, then: _Fit, otherwise: _Fit) -> _Fit:
    return jax.tree.map(functools.partial(jnp.where, condition), then, otherwise)


def _nearer(target: jax.Array, a: _Fit, b: _Fit) -> _Fit:
    """Returns the plan that is nearer to the target; `a` if both are as near."""
    return _where(abs(b.energy - target) < abs(a.energy - target), b, a)


def _search(energy, target, low, high):
    """Bisects for an argument whose energy is near the target.

    Args:
      energy: int64 scalar -> int64 scalar; taken to be below the target at `low` and
        not at `high`, and not to be monotone between.
      target: int64 scalar.
      low: Python integer.
      high: Python integer, above `low`; not itself an answer.

    Returns:
      The nearest of all arguments tried, and its energy.
    """
    # Varies over devices as the image does, which loops insist on inside `shard_map`.
    zero = target * 0

    def halve(_, state):
        low, high, nearest, nearest_energy = state
        middle = (low + high) >> 1
        found = energy(middle)
        nearer = abs(found - target) < abs(nearest_energy - target)
        return (
            jnp.where(found >= target, low, middle),
            jnp.where(found >= target, middle, high),
            jnp.where(nearer, middle, nearest),
            jnp.where(nearer, found, nearest_energy),
        )

    start = (zero + low, zero + high, zero + low, zero - 2**62)
    steps = (high - low).bit_length()
    return jax.lax.fori_loop(0, steps, halve, start)[2:]


def _fit_quadtree(values, depth, channels, own, target, best):
    """Returns the quadtree plan nearest to the target, or `best` if that is nearer.

    The quadtree's own sums are a little off where sizes change, so it aims again by
    the error of the plan found.
    """
    h, w, _ = values.shape
    tree = quadtree(values, depth, channels)
    most = 2**tree.threshold_bits

    def improve(_, state):
        aim, best = state
        # Negated, so that the energy is above the target at the upper end.
        threshold, _ = _search(lambda t: own + tree.gain(-t), aim, -most, 1)
        size = tree.size(-threshold, (h, w))
        energy = plan_energy(values, regions_of(size), channels)
        return aim + target - energy, _nearer(target, best, _Fit(size, energy))

    return jax.lax.fori_loop(0, _ROUNDS, improve, (target, best))[1]


@functools.partial(jax.jit, static_argnums=(2, 3, 4, 5))
@exact
def _plan(image, goal, is_level, max_region, channels, scale):
    """Returns the plan, and the VFE of: the image, its largest regions, its shuffle.

    Args:
      image: `h w c`.
      goal: uint32 `2`, the high and low word of a level in 2**-_LEVEL_BITS, or of a
        target in energy units: an argument, so that targets share a program.
      is_level: which of them.
      max_region: see `plan_regions`.
      channels: see `plan_regions`.
      scale: see `plan_regions`.
    """
    goal = (goal[0].astype(jnp.int64) << 32) + goal[1].astype(jnp.int64)
    values = fixed_point(as_pixels(image))
    h, w, _ = values.shape
    entire = max(h, w)
    largest = min(entire, max_region or entire)
    depth = max(0, min(largest, entire // 4).bit_length() - 1)

    energy_of_grid = uniform_energy(values, 2**depth, channels)
    own = (jnp.diff(values, axis=0) ** 2).sum() + (jnp.diff(values, axis=1) ** 2).sum()
    top, whole = jax.vmap(energy_of_grid)(jnp.array([largest, entire], jnp.int64))
    target = own * 0 + goal
    if is_level:
        span = whole - own  # Times level, rounded down, without leaving 64 bits.
        high, low = span >> _LEVEL_BITS, span & (2**_LEVEL_BITS - 1)
        target = own + high * goal + ((low * goal) >> _LEVEL_BITS)

    def uniform(size):
        # Varies over devices as the image does, for loops inside `shard_map`.
        return jnp.broadcast_to((own * 0 + size).astype(jnp.int32), (h, w))

    unshuffled, coarsest = _Fit(uniform(1), own), _Fit(uniform(largest), top)
    best = _nearer(target, unshuffled, coarsest)
    if depth:
        best = _fit_quadtree(values, depth, channels, own, target, best)
    if 2**depth < largest:
        size, energy = _search(energy_of_grid, target, 2**depth, largest)
        best = _nearer(target, best, _Fit(uniform(size), energy))
    # Beyond the ends there is nothing to search, and where shuffling lowers the VFE
    # the nearest plan would mean nothing.
    best = _where(target > jnp.maximum(top, own), coarsest, best)
    best = _where(target <= own, unshuffled, best)
    best = _where(whole < own, coarsest, best)
    size = _where(values.min() == values.max(), unshuffled, best).size

    expected = plan_energy(values, regions_of(size), channels)

    def as_vfe(energy):
        grey = energy.astype(jnp.float64) * (scale * ENERGY_UNIT / values.size)
        return grey.astype(jnp.float32)

    # A target that is the VFE or max VFE of the image, as float32, is within reach.
    top = jnp.maximum(own, top)
    within = (own - (own >> 20) <= target) & (target <= top + (top >> 20))
    reached = within & (own <= whole)
    plan = RegionPlan(size, expected_vfe=as_vfe(expected), reached=reached)
    return plan, tuple(map(as_vfe, (own, top, whole)))
