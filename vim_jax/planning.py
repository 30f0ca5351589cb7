"""Planning: the region sizes that bring an image to a target VFE.

Plans come from one family, ordered from the untouched image to one region:

1. Quadtrees. Blocks of 2, 4, 8, ... pixels, up to half of the image. A block becomes
   one region when its score, the VFE per pixel that it adds over its four quarters
   divided by its area, reaches a threshold; the largest such block wins. So lowering
   the threshold spends shuffling where it buys most VFE with the smallest regions.
2. Uniform grids of a quarter of the image and up, because a quadtree is too coarse near
   the top.

No step is taken to raise the VFE: a search only needs that one end of the family lies
below the target and the other above it. All decisions compare integers, so that a plan
is the same eager, jitted, vmapped and on every device.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax._types import (
    AnyArray,
    Channels,
    Pixels,
    as_pixels,
    check_channels,
    concrete,
)
from vim_jax.cuts import (
    NO_REGION,
    Curve,
    Cut,
    curve_of,
    energy_at,
    merged_at,
    search,
    sizes_at,
    total_gain,
)
from vim_jax.grids import grids_of, uniform_energies
from vim_jax.moments import ENERGY_UNIT, exact, grey_integers
from vim_jax.quadtree import Quadtree, blocks_of, quadtree
from vim_jax.regions import Bounds, RegionPlan, check_region_size

GOAL_BITS = 20
_VFE_LIMIT = 2.0**18
ROUNDS = 2


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
    plan, reach = plan_for(
        pixels,
        goal_words(level, target_vfe, pixels.size, scale),
        is_level=level is not None,
        max_region=max_region,
        channels=channels,
        scale=scale,
    )
    reached = None if plan.reached is None else concrete(plan.reached)
    if not clip and reached is not None and not reached:
        raise TargetError(out_of_reach(level, target_vfe, max_region, reach))
    return plan


def _bounds(shape: tuple[int, ...], max_region: int | None) -> Bounds:
    """Returns what is known of all plans for images of a shape."""
    h, w = shape[:2]
    entire = max(h, w)
    largest = min(entire, max_region or entire)
    block = 1 << (largest.bit_length() - 1)
    # Up to about a quarter of the image, regions are blocks of powers of two.
    quarter = 1 << max(0, (entire >> 2).bit_length() - 1)
    squares = largest <= quarter and h % block == 0 and w % block == 0
    if squares:
        largest = block
    return Bounds(
        height=min(largest, h), width=min(largest, w), smallest=1, squares=squares
    )


def goal_words(
    level: float | None, target_vfe: float | None, values: int, scale: float = 1.0
) -> np.ndarray:
    """Returns a goal as `plan_for` takes it, uint32 `2`.

    Args:
      level: see `plan_regions`.
      target_vfe: see `plan_regions`.
      values: number of values of the image, all its channels.
      scale: see `plan_regions`.
    """
    if target_vfe is None:
        goal = round((level or 0.0) * 2**GOAL_BITS)
    else:
        if not 0 < scale < float("inf"):
            raise ValueError(f"scale={scale!r} is no factor: use a number above 0.")
        # No image has a VFE above the limit, and in its units all sums fit 64 bits.
        goal = round(min(float(target_vfe) / scale, _VFE_LIMIT) * values / ENERGY_UNIT)
    return np.array(divmod(goal, 2**32), np.uint32)


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


def out_of_reach(level, target_vfe, max_region, reach) -> str:
    """Returns what a `TargetError` says, from the VFEs that `plan_for` returns."""
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
    """A plan, in scalars.

    Attributes:
      cut: where the quadtree is cut.
      size: int32, of a uniform grid's regions in pixels, 0 for a quadtree.
      energy: int64, its expected energy.
    """

    cut: Cut
    size: jax.Array
    energy: jax.Array


def _where(condition: jax.Array, then: _Fit, otherwise: _Fit) -> _Fit:
    return jax.tree.map(functools.partial(jnp.where, condition), then, otherwise)


def _nearer(target: jax.Array, a: _Fit, b: _Fit) -> _Fit:
    """Returns the plan that is nearer to the target; `a` if both are as near."""
    return _where(abs(b.energy - target) < abs(a.energy - target), b, a)


def _fit_quadtree(tree: Quadtree, curve: Curve, target: jax.Array, best: _Fit) -> _Fit:
    """Returns the quadtree plan nearest to the target, or `best` if that is nearer.

    The quadtree's own sums are a little off where sizes change, so it aims again by
    the error of the plan found.
    """
    if not tree.fine and not len(tree.coarse.key):
        return best  # An image of up to three pixels a side has no blocks.

    def improve(turn, state):
        last, best = state
        found = curve.gain(curve.under(last.cut.top), last.cut.other)
        error = last.energy - tree.own - found
        cut = search(curve, target - tree.own - error, last.cut, turn == 0)
        energy = energy_at(tree, merged_at(tree, curve, cut), turn)
        found = _Fit(cut, last.size, energy)
        return found, _nearer(target, best, found)

    return jax.lax.fori_loop(0, ROUNDS, improve, (_untouched(tree), best))[1]


def _untouched(tree: Quadtree) -> _Fit:
    # Varies over devices as the image does, which loops insist on inside `shard_map`.
    zero = (tree.own * 0).astype(jnp.int32)
    return _Fit(Cut(zero + NO_REGION, zero + NO_REGION), zero, tree.own)


@functools.partial(
    jax.jit, static_argnames=("is_level", "max_region", "channels", "scale")
)
@exact
def plan_for(
    image: AnyArray,
    goal: AnyArray,
    *,
    is_level: bool,
    max_region: int | None,
    channels: Channels,
    scale: float = 1.0,
) -> tuple[RegionPlan, tuple[jax.Array, jax.Array, jax.Array]]:
    """Plans an image for a goal that need not be known when this is compiled.

    Args:
      image: `h w c`, uint8 or float in [0, 1].
      goal: from `goal_words`.
      is_level: whether that is a level or a target.
      max_region: see `plan_regions`.
      channels: see `plan_regions`.
      scale: see `plan_regions`.

    Returns:
      The plan, and the VFE of: the image, its largest regions, its shuffle as one
      region.
    """
    goal = (goal[0].astype(jnp.int64) << 32) + goal[1].astype(jnp.int64)
    pixels, bits = grey_integers(image)
    h, w, c = pixels.shape
    copies = c if channels == "mixed" else 1
    largest = min(max(h, w), max_region or max(h, w))
    tree = quadtree(pixels, bits, largest, channels)
    own, untouched = tree.own, _untouched(tree)
    grids = grids_of((h, w), largest)
    unit_blocks = blocks_of(tree, grids.step, copies)
    energies = uniform_energies(
        unit_blocks, (h, w), 1 << grids.step, grids.units, copies
    )
    whole = energies[-1]
    curve = curve_of(tree, whole)

    def uniform(index):
        sizes = jnp.array(grids.sizes, jnp.int32)
        return _Fit(untouched.cut, untouched.size + sizes[index], energies[index])

    one = untouched.size + 1
    lowest = Cut(one, one)
    blocks = total_gain(tree, merged_at(tree, curve, lowest))
    coarsest = _Fit(lowest, untouched.size, own + blocks)
    if grids.plans:
        coarsest = uniform(grids.plans - 1)

    target = own * 0 + goal
    if is_level:
        span = whole - own  # Times level, rounded down, without leaving 64 bits.
        high, low = span >> GOAL_BITS, span & (2**GOAL_BITS - 1)
        target = own + high * goal + ((low * goal) >> GOAL_BITS)
    best = _nearer(target, untouched, coarsest)
    best = _fit_quadtree(tree, curve, target, best)
    if grids.plans:
        misses = abs(energies[: grids.plans] - target)
        numbers = jnp.arange(grids.plans)
        # The last of those that are as near.
        nearest = jnp.where(misses == misses.min(), numbers, 0).max()
        best = _nearer(target, best, uniform(nearest))
    # Beyond the ends there is nothing to search, and where shuffling lowers the VFE
    # the nearest plan would mean nothing.
    top = jnp.maximum(own, coarsest.energy)
    best = _where(target > top, coarsest, best)
    best = _where(target <= own, untouched, best)
    best = _where(whole < own, coarsest, best)
    best = _where((own == 0) & (whole == 0), untouched, best)

    size = sizes_at(tree, merged_at(tree, curve, best.cut))
    size = jnp.where(best.size > 0, best.size, size)
    factor = scale * ENERGY_UNIT * (1 / (h * w * c))

    def as_vfe(energy):
        return (energy.astype(jnp.float64) * factor).astype(jnp.float32)

    # A target that is the VFE or max VFE of the image, as float32, is within reach.
    within = (own - (own >> 20) <= target) & (target <= top + (top >> 20))
    plan = RegionPlan(
        size,
        expected_vfe=as_vfe(best.energy),
        reached=within & (own <= whole),
        bounds=_bounds((h, w), max_region),
    )
    return plan, tuple(map(as_vfe, (own, top, whole)))
