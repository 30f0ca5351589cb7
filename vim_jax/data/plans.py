"""Plans of images of any shapes on the host: those of `vim_jax.plan_regions`.

Files come in any shape, and JAX compiles for seconds for each; this has nothing to
compile. All decisions compare integers, so that both come to equal plans. What the
numbers stand for is said in `vim_jax.planning` and the modules that it is made of.
"""

import collections
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vim_jax.cuts import GAIN_BITS, NO_REGION
from vim_jax.data.plan_grids import uniform_energies
from vim_jax.data.plan_tree import (
    Level,
    Quadtree,
    pixel_blocks,
    quadtree,
    repeated,
)
from vim_jax.grids import UNITS
from vim_jax.mixer import VisualMixer
from vim_jax.moments import ENERGY_UNIT
from vim_jax.planning import GOAL_BITS, ROUNDS, UNIT_STEPS, goal_words
from vim_jax.quadtree import KEY_BITS


class Plan(NamedTuple):
    """The plan of one image, on the host.

    Attributes:
      size: integers `h w`, the region size of each pixel.
      expected_vfe: see `RegionPlan`.
      reached: whether the target lay within reach.
      reach: the VFE of the image, of its largest regions and of its whole shuffle.
    """

    size: np.ndarray
    expected_vfe: float
    reached: bool
    reach: tuple[float, ...]


class _Cut(NamedTuple):
    """Thresholds, see `vim_jax.cuts.Cut`."""

    top: int
    other: int

    def merges(self, level: Level) -> np.ndarray:
        """Returns which blocks are regions or parts of them, bool `rows cols`."""
        return (level.top >= self.top) | (level.key >= self.other)


class _Fit(NamedTuple):
    """A plan: where the quadtree is cut, or the size of a grid, and its energy."""

    cut: _Cut
    size: int
    energy: int


_NO_CUT = _Cut(NO_REGION, NO_REGION)

# Of small images of one shape, planned together: steps are long, and fit a cache.
_PIXELS = 1 << 16


def plan_image(image: np.ndarray, mixer: VisualMixer) -> Plan:
    """Plans an image for a level or a target.

    Args:
      image: `h w c`, uint8 or uint16.
      mixer: the settings, with a level or a target.

    Raises:
      ValueError: as `plan_regions`, on an image with too many values.
    """
    return plan_images([image], mixer)[0]


def plan_images(images: Sequence[np.ndarray], mixer: VisualMixer) -> list[Plan]:
    """Plans images of any shapes; see `plan_image`."""
    alike = collections.defaultdict(list)
    for i, image in enumerate(images):
        alike[image.shape, image.dtype].append(i)
    plans: dict[int, Plan] = {}
    for (shape, _), places in alike.items():
        count = max(1, _PIXELS // (shape[0] * shape[1]))
        for start in range(0, len(places), count):
            some = places[start : start + count]
            found = _plan_alike(np.stack([images[i] for i in some]), mixer)
            plans.update(zip(some, found, strict=True))
    return [plans[i] for i in range(len(images))]


def _plan_alike(images: np.ndarray, mixer: VisualMixer) -> list[Plan]:
    """Plans images of one shape, `n h w c`."""
    _, h, w, _ = images.shape
    entire = max(h, w)
    largest = min(entire, mixer.max_region or entire)
    trees = quadtree(images, largest, mixer.channels)
    # The largest power of two that is no more than a quarter of the image.
    quarter = max(entire >> 2, 1).bit_length() - 1
    step = max(quarter - UNIT_STEPS, 0)
    units = trees.levels[step - 1].blocks if step else pixel_blocks(trees, UNITS)
    energies = uniform_energies(units, (h, w), 1 << step, trees.copies)
    sizes = [min(n << step, entire) for n in range(1, UNITS + 1)]
    least = max(1 << quarter, 2)
    return [
        _plan(
            trees.of(i),
            [_Fit(_NO_CUT, *grid) for grid in zip(sizes, energies[i], strict=True)],
            least,
            largest,
            mixer,
        )
        for i in range(len(images))
    ]


def _plan(
    tree: Quadtree, grids: Sequence[_Fit], least: int, largest: int, mixer: VisualMixer
) -> Plan:
    """Returns the plan of one image.

    Args:
      tree: its quadtree.
      grids: uniform ones, the last of them one region.
      least: from this size up, they are plans.
      largest: to this size.
      mixer: the settings.
    """
    c, h, w = tree.pixels.shape
    high, low = goal_words(mixer.level, mixer.target_vfe, c * h * w)
    goal = (int(high) << 32) + int(low)
    own, whole = tree.own, grids[-1].energy
    untouched = _Fit(_NO_CUT, 0, own)
    coarse = [x for x in grids if least <= x.size <= largest]
    blocks = _Fit(_Cut(1, 1), 0, own + _total_gain(tree.levels))
    coarsest = coarse[-1] if coarse else blocks

    target = goal
    if mixer.level is not None:
        target = own + ((whole - own) * goal >> GOAL_BITS)

    best = _nearer(target, untouched, coarsest)
    best = _fit_quadtree(tree, whole, target, best)
    if coarse:
        misses = [abs(x.energy - target) for x in coarse]
        last = len(misses) - 1 - misses[::-1].index(min(misses))
        best = _nearer(target, best, coarse[last])
    top = max(own, coarsest.energy)
    if target > top:
        best = coarsest
    if target <= own:
        best = untouched
    if whole < own:
        best = coarsest
    if own == whole == 0:
        best = untouched

    if best.size:
        size = np.full((h, w), best.size, np.int32)
    else:
        size = _sizes_at(tree, best.cut)
    factor = ENERGY_UNIT * (1 / (c * h * w))
    within = own - (own >> 20) <= target <= top + (top >> 20)
    return Plan(
        size,
        float(np.float32(best.energy * factor)),
        within and own <= whole,
        tuple(float(np.float32(x * factor)) for x in (own, top, whole)),
    )


def _nearer(target: int, a: _Fit, b: _Fit) -> _Fit:
    """Returns the plan that is nearer to the target; `a` if both are as near."""
    return b if abs(b.energy - target) < abs(a.energy - target) else a


def _fit_quadtree(tree: Quadtree, whole: int, target: int, best: _Fit) -> _Fit:
    """Returns the quadtree plan nearest to the target, or `best` if that is nearer."""
    if not tree.levels:
        return best
    curve = _Curve(tree.levels, whole)
    last = _Fit(_NO_CUT, 0, tree.own)
    for turn in range(ROUNDS):
        error = last.energy - tree.own - curve.gain(last.cut)
        gain = target - tree.own - error
        cut = curve.search(gain, None if turn == 0 else last.cut.top)
        last = _Fit(cut, 0, _energy_at(tree, cut))
        best = _nearer(target, best, last)
    return best


class _Curve:
    """What plans gain, about, for a fast search; see `vim_jax.cuts.Curve`."""

    def __init__(self, levels: Sequence[Level], whole: int):
        """Takes all levels, and the energy of the image as one region."""
        self._shift = max(0, whole.bit_length() + 2 - GAIN_BITS)
        half = 1 << self._shift >> 1
        self._keys, self._tops, gains = (
            np.concatenate([x.reshape(-1) for x in parts])
            for parts in zip(*((x.key, x.top, x.gain) for x in levels), strict=True)
        )
        self._gains = gains + half >> self._shift

    def gain(self, cut: _Cut) -> int:
        """Returns the energy that the blocks of a cut add, about."""
        return self._sum(self._gains[self._under(cut.top) >= cut.other])

    def _sum(self, gains: np.ndarray) -> int:
        return int(gains.sum()) << self._shift

    def _under(self, top: int) -> np.ndarray:
        """Returns keys under a threshold of the largest blocks."""
        return np.where(self._tops >= top, NO_REGION - 1, self._keys)

    def search(self, gain: int, top: int | None) -> _Cut:
        """Returns the cut whose plan gains about `gain`.

        Args:
          gain: what is asked for.
          top: threshold of the largest blocks; None to choose it too, as high as gives
            all that was asked for.
        """
        if top is None:
            keys = np.where(self._keys > 0, self._keys, self._tops)
        else:
            keys = self._under(top)
        gains, above = self._gains, 0
        low, high, nearest, distance = 1, NO_REGION, NO_REGION, abs(gain)
        for _ in range(KEY_BITS):
            middle = (low + high) >> 1
            chosen = keys >= middle
            found = above + self._sum(gains[chosen])
            if abs(found - gain) < distance:
                nearest, distance = middle, abs(found - gain)
            # Keys outside are decided about: only those between are looked at again.
            if found >= gain:
                low = middle
                keys, gains = keys[chosen], gains[chosen]
            else:
                high, above = middle, found
                keys, gains = keys[~chosen], gains[~chosen]
        return _Cut(low, low) if top is None else _Cut(top, nearest)


def _total_gain(levels: Sequence[Level]) -> int:
    """Returns the energy that all blocks add: of the grid of the largest."""
    return sum(int(x.gain[_Cut(1, 1).merges(x)].sum()) for x in levels)


def _sizes_at(tree: Quadtree, cut: _Cut) -> np.ndarray:
    """Returns the int32 `h w` sizes of the plan for a cut."""
    count = np.zeros((1, 1), np.uint8)
    for level in reversed(tree.levels):
        merged = cut.merges(level)
        count = repeated(count, merged.shape) + merged
    size = np.left_shift(1, count, dtype=np.int32)
    return repeated(size, tree.pixels.shape[1:])


def _energy_at(tree: Quadtree, cut: _Cut) -> int:
    """Returns the expected energy of the plan for a cut."""
    means, spread = None, 0
    merged = np.zeros((1, 1), bool)
    for level in reversed(tree.levels):
        above = repeated(merged, level.key.shape)
        merged = cut.merges(level)
        own = level.blocks.mean
        if means is not None:
            own = np.where(above, repeated(means, level.key.shape), own)
        means = own
        spread += int(level.spread[merged].sum())
    assert means is not None
    return spread + tree.steps(merged, means)
