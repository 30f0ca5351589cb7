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
from vim_jax.moments import (
    ENERGY_UNIT,
    exact,
    fixed_point,
    moments,
    squared,
)
from vim_jax.regions import RegionPlan, check_region_size, regions_of

_LEVEL_BITS = 20
_SCORE_UNIT = 1 << 13  # In energy units per pixel and pixel of block area.
_SCORE_BITS = 22
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
        makes smoother (a checkerboard). Inside `jit` nothing is raised: look at
        `reached`.

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
        goal = round(float(target_vfe) / scale * pixels.size / ENERGY_UNIT)
    high, low = divmod(min(goal, 2**63 - 1), 2**32)
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


class _Blocks(NamedTuple):
    """Sums over a grid of blocks: int64 `rows`, `cols`, `rows cols c` (twice)."""

    heights: jax.Array
    widths: jax.Array
    totals: jax.Array
    squares: jax.Array


def _grid_energy(blocks: _Blocks, channels: Channels, image_channels: int) -> jax.Array:
    """Returns each block's expected energy as a region, int64 `rows cols`.

    Its inside pairs, and its share of its borders with blocks of its own grid: its
    own variance and half of the step between the means. So the sum over the grid is
    the energy of the uniform plan. Blocks beyond the image have height or width 0,
    and energy 0.
    """
    heights, widths = blocks.heights[:, None, None], blocks.widths[None, :, None]
    totals, squares, count = blocks.totals, blocks.squares, heights * widths
    copies = 1
    if channels == "mixed":
        totals, squares = totals.sum(2, keepdims=True), squares.sum(2, keepdims=True)
        count, copies = count * image_channels, image_channels
    stats = moments(count, totals, squares)
    pairs = jnp.maximum(2 * heights * widths - heights - widths, 0)
    energy = pairs * stats.shuffled_difference
    for axis, length in ((0, widths), (1, heights)):
        n = energy.shape[axis]

        def side(x, start, n=n, axis=axis):
            return jax.lax.slice_in_dim(x, start, n - 1 + start, axis=axis)

        length = jnp.where(side(count, 1) > 0, length, 0)
        step = length * squared(side(stats.mean, 0) - side(stats.mean, 1))
        left = length * side(stats.variance, 0) + (step - step // 2)
        right = length * side(stats.variance, 1) + step // 2
        last, first = [(0, 0)] * 3, [(0, 0)] * 3
        last[axis], first[axis] = (0, 1), (1, 0)
        energy = energy + jnp.pad(left, last) + jnp.pad(right, first)
    return copies * energy.sum(2)


def _quarters(x: jax.Array) -> jax.Array:
    """Sums 2 x 2 blocks of the first two axes."""
    rows, cols = x.shape[0] // 2, x.shape[1] // 2
    return x.reshape(rows, 2, cols, 2, *x.shape[2:]).sum((1, 3))


def _stretch(x: jax.Array, factor: int) -> jax.Array:
    return jnp.repeat(jnp.repeat(x, factor, axis=0), factor, axis=1)


class _Quadtree(NamedTuple):
    """Blocks of 2, 4, ... pixels: one `rows cols` array a level.

    Attributes:
      gains: int64, energy that a block adds over its four quarters.
      thresholds: int64, a block is (part of) a region when the threshold is this or
        lower. Above its parent's, and no two are equal, so that plans change by one
        block at a time.
    """

    gains: list[jax.Array]
    thresholds: list[jax.Array]

    def size(self, threshold: jax.Array, shape: tuple[int, int]) -> jax.Array:
        """Returns the int32 `h w` sizes of the plan for a threshold."""
        h, w = shape
        size = jnp.ones((h, w), jnp.int32)
        for level, own in enumerate(self.thresholds, 1):
            merged = _stretch(own >= threshold, 2**level)[:h, :w]
            size = jnp.where(merged, jnp.int32(2**level), size)
        return size

    def gain(self, threshold: jax.Array) -> jax.Array:
        """Returns the energy that the plan for a threshold adds, about.

        Exact for uniform plans; across a border between regions of different sizes,
        half of the step between the means is taken as for the one size, half as for
        the other.
        """
        return sum(
            (
                jnp.where(own >= threshold, gain, 0).sum()
                for gain, own in zip(self.gains, self.thresholds, strict=True)
            ),
            start=jnp.int64(0),
        )


def _quadtree(values: jax.Array, depth: int, channels: Channels) -> _Quadtree:
    """Returns the scored quadtree of an int64 `h w c` image."""
    h, w, c = values.shape
    side = 2**depth
    padding = ((0, -h % side), (0, -w % side))
    padded = jnp.pad(values, (*padding, (0, 0)))
    blocks = _Blocks(
        jnp.pad(jnp.ones(h, jnp.int64), padding[0]),
        jnp.pad(jnp.ones(w, jnp.int64), padding[1]),
        padded,
        padded * padded,
    )
    energy = _grid_energy(blocks, "independent", c)
    gains, scores = [], []
    for level in range(1, depth + 1):
        blocks = _Blocks(
            blocks.heights.reshape(-1, 2).sum(1),
            blocks.widths.reshape(-1, 2).sum(1),
            _quarters(blocks.totals),
            _quarters(blocks.squares),
        )
        merged = _grid_energy(blocks, channels, c)
        gains.append(merged - _quarters(energy))
        pixels = jnp.maximum(blocks.heights[:, None] * blocks.widths[None], 1)
        score = jnp.maximum(gains[-1], 0) // (pixels * (_SCORE_UNIT * 4**level))
        scores.append(jnp.minimum(score, 2**_SCORE_BITS - 1))
        energy = merged
    return _Quadtree(gains, _thresholds(scores))


def _thresholds(scores: list[jax.Array]) -> list[jax.Array]:
    """Returns scores raised to the parent's where that is higher, with ties broken.

    Lower levels come first, so that a block's quarters are regions before the block.
    """
    raised = scores[-1:]
    for score in scores[-2::-1]:
        parent = _stretch(raised[0], 2)[: score.shape[0], : score.shape[1]]
        raised.insert(0, jnp.maximum(score, parent))
    ties = _tie_bits(scores)
    ranks = np.split(
        2**ties - 1 - np.arange(sum(score.size for score in scores)),
        np.cumsum([score.size for score in scores])[:-1],
    )
    return [
        (score << ties) + rank.reshape(score.shape)
        for score, rank in zip(raised, ranks, strict=True)
    ]


def _tie_bits(scores: list[jax.Array]) -> int:
    return max(1, sum(score.size for score in scores).bit_length())


def _bisect(above, low: jax.Array, high: jax.Array, steps: int) -> jax.Array:
    """Returns a `high` with `above(high)` and not `above(high - 1)`.

    Args:
      above: int64 scalar -> bool scalar; taken to hold at `high` and not at `low`.
      low: int64 scalar.
      high: int64 scalar.
      steps: bits of `high - low`.
    """

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) // 2
        is_above = above(middle)
        return jnp.where(is_above, low, middle), jnp.where(is_above, middle, high)

    return jax.lax.fori_loop(0, steps, halve, (low, high))[1]


def _fit_quadtree(values, tree: _Quadtree, own, target, channels):
    """Returns quadtree plans near the target, with their energies.

    The quadtree's own sums are a little off where sizes change, so aim again by the
    error of the plan found.
    """
    h, w, _ = values.shape
    bits = _SCORE_BITS + _tie_bits(tree.thresholds)
    start = own * 0  # Varies over devices as the image does, inside `shard_map`.
    aim, found = target, []
    for _ in range(_ROUNDS):
        # Negated, so that the energy is above the target at the upper end.
        threshold = -_bisect(
            lambda t, aim=aim: own + tree.gain(-t) >= aim, start - 2**bits, start, bits
        )
        size = tree.size(threshold, (h, w))
        energy = plan_energy(values, regions_of(size), channels)
        found.append((size, energy))
        aim = aim + target - energy
    return found


def _uniform_energy(values: jax.Array, smallest: int, channels: Channels):
    """Returns the function from a region size, `smallest` or more, to its energy."""
    h, w, c = values.shape
    rows, cols = -(-h // smallest), -(-w // smallest)

    def integral(x):
        return jnp.pad(x, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)

    totals, squares = integral(values), integral(values * values)

    def energy(size):
        y = jnp.minimum(jnp.arange(rows + 1) * size, h)
        x = jnp.minimum(jnp.arange(cols + 1) * size, w)

        def sums(table):
            return jnp.diff(jnp.diff(table[y][:, x], axis=0), axis=1)

        blocks = _Blocks(jnp.diff(y), jnp.diff(x), sums(totals), sums(squares))
        return _grid_energy(blocks, channels, c).sum()

    return energy


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

    uniform_energy = _uniform_energy(values, 2**depth, channels)
    own = (jnp.diff(values, axis=0) ** 2).sum() + (jnp.diff(values, axis=1) ** 2).sum()
    top, whole = uniform_energy(largest), uniform_energy(entire)
    target = own * 0 + goal
    if is_level:
        span = whole - own  # Times level, rounded down, without leaving 64 bits.
        high, low = span >> _LEVEL_BITS, span & (2**_LEVEL_BITS - 1)
        target = own + high * goal + ((low * goal) >> _LEVEL_BITS)

    def uniform(size):
        return jnp.broadcast_to(jnp.asarray(size, jnp.int32), (h, w))

    unshuffled, coarsest = (uniform(1), own), (uniform(largest), top)
    found = [unshuffled, coarsest]
    if depth:
        tree = _quadtree(values, depth, channels)
        found += _fit_quadtree(values, tree, own, target, channels)
    if 2**depth < largest:
        size = _bisect(
            lambda s: uniform_energy(s) >= target,
            target * 0 + 2**depth,
            target * 0 + largest,
            (largest - 2**depth).bit_length(),
        )
        found += [(uniform(s), uniform_energy(s)) for s in (size - 1, size)]

    best = found[0]
    for plan in found[1:]:
        best = _where(jnp.abs(plan[1] - target) < jnp.abs(best[1] - target), plan, best)
    # Beyond the ends there is nothing to search, and where shuffling lowers the VFE
    # the nearest plan would mean nothing.
    best = _where(target > jnp.maximum(top, own), coarsest, best)
    best = _where(target <= own, unshuffled, best)
    best = _where(whole < own, coarsest, best)
    size, energy = _where(values.min() == values.max(), unshuffled, best)

    def as_vfe(energy):
        grey = energy.astype(jnp.float64) * (scale * ENERGY_UNIT / values.size)
        return grey.astype(jnp.float32)

    reached = (own <= target) & (target <= jnp.maximum(own, top)) & (own <= whole)
    plan = RegionPlan(size, expected_vfe=as_vfe(energy), reached=reached)
    return plan, tuple(map(as_vfe, (own, top, whole)))


def _where(condition: jax.Array, then, otherwise):
    return jax.tree.map(functools.partial(jnp.where, condition), then, otherwise)
