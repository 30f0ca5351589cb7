"""Plans of images of any shapes on the host: those of `vim_jax.plan_regions`.

Files come in any shape, for each of which JAX would compile for seconds; this is
compiled once. All decisions compare integers, so that both come to equal plans. What
the numbers stand for is said in `vim_jax.planning` and the modules that it is made of.
"""

from typing import NamedTuple

import numpy as np

from vim_jax.data.plan_cuts import (
    NO_CUT,
    Cut,
    curve,
    energy_at,
    sizes_at,
    total_gain,
)
from vim_jax.data.plan_grids import uniform_energies
from vim_jax.data.plan_tree import Quadtree, blocks_of, quadtree
from vim_jax.grids import grids_of
from vim_jax.mixer import VisualMixer
from vim_jax.moments import ENERGY_UNIT
from vim_jax.planning import GOAL_BITS, ROUNDS, goal_words


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


class _Fit(NamedTuple):
    """A plan: where the quadtree is cut, or the size of a grid, and its energy."""

    cut: Cut
    size: int
    energy: int


def plan_image(image: np.ndarray, mixer: VisualMixer) -> Plan:
    """Plans an image for a level or a target.

    Args:
      image: `h w c`, uint8 or uint16.
      mixer: the settings, with a level or a target.

    Raises:
      ValueError: as `plan_regions`, on an image with too many values.
    """
    h, w, c = image.shape
    entire = max(h, w)
    largest = min(entire, mixer.max_region or entire)
    tree = quadtree(image, largest, mixer.channels)
    own = int(tree.pairs.sum())
    coarse, whole = _uniform_grids(tree, largest)
    blocks = _Fit(Cut(1, 1), 0, own + total_gain(tree))
    coarsest = coarse[-1] if coarse else blocks
    untouched = _Fit(NO_CUT, 0, own)

    high, low = goal_words(mixer.level, mixer.target_vfe, c * h * w)
    goal = (int(high) << 32) + int(low)
    target = goal
    if mixer.level is not None:
        target = own + ((whole - own) * goal >> GOAL_BITS)

    best = _nearer(target, untouched, coarsest)
    best = _fit_quadtree(tree, own, whole, target, best)
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
        size = sizes_at(tree, best.cut)
    factor = ENERGY_UNIT * (1 / (c * h * w))
    within = own - (own >> 20) <= target <= top + (top >> 20)
    return Plan(
        size,
        float(np.float32(best.energy * factor)),
        within and own <= whole,
        tuple(float(np.float32(x * factor)) for x in (own, top, whole)),
    )


def _uniform_grids(tree: Quadtree, largest: int) -> tuple[list[_Fit], int]:
    """Returns the uniform grids that may be plans, and the energy of one region."""
    h, w, _ = tree.pixels.shape
    grids = grids_of((h, w), largest)
    mean, deviations = blocks_of(tree, grids.step)
    units = np.array(grids.units)
    energies = uniform_energies(
        mean, deviations, h, w, 1 << grids.step, units, tree.copies
    ).tolist()
    found = zip(grids.sizes, energies, strict=True)
    return [_Fit(NO_CUT, *grid) for grid in found][: grids.plans], energies[-1]


def _nearer(target: int, a: _Fit, b: _Fit) -> _Fit:
    """Returns the plan that is nearer to the target; `a` if both are as near."""
    return b if abs(b.energy - target) < abs(a.energy - target) else a


def _fit_quadtree(
    tree: Quadtree, own: int, whole: int, target: int, best: _Fit
) -> _Fit:
    """Returns the quadtree plan nearest to the target, or `best` if that is nearer."""
    if not len(tree.shapes):
        return best
    gains = curve(tree, whole)
    last = _Fit(NO_CUT, 0, own)
    for turn in range(ROUNDS):
        error = last.energy - own - gains.gain(last.cut)
        gain = target - own - error
        cut = gains.search(gain, None if turn == 0 else last.cut.top)
        last = _Fit(cut, 0, int(energy_at(tree, cut)))
        best = _nearer(target, best, last)
    return best
