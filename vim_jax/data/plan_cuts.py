"""Plans cut from a quadtree at thresholds, on the host; see `vim_jax.cuts`."""

from typing import NamedTuple, no_type_check

import numpy as np

from vim_jax.cuts import GAIN_BITS, NO_REGION
from vim_jax.data.compiled import compiled, helper
from vim_jax.data.plan_grids import squared
from vim_jax.data.plan_tree import Quadtree, level_above
from vim_jax.quadtree import KEY_BITS


class Cut(NamedTuple):
    """Thresholds, see `vim_jax.cuts.Cut`."""

    top: int
    other: int


NO_CUT = Cut(NO_REGION, NO_REGION)


class Curve(NamedTuple):
    """What plans gain, about, for a fast search; see `vim_jax.cuts.Curve`."""

    keys: np.ndarray
    tops: np.ndarray
    gains: np.ndarray
    shift: int

    def gain(self, cut: Cut) -> int:
        """Returns the energy that the blocks of a cut add, about."""
        return int(self.gains[self._under(cut.top) >= cut.other].sum()) << self.shift

    def _under(self, top: int) -> np.ndarray:
        """Returns keys under a threshold of the largest blocks."""
        return np.where(self.tops >= top, np.int32(NO_REGION - 1), self.keys)

    def search(self, gain: int, top: int | None) -> Cut:
        """Returns the cut whose plan gains about `gain`.

        Args:
          gain: what is asked for.
          top: threshold of the largest blocks; None to choose it too, as high as gives
            all that was asked for.
        """
        if top is None:
            keys = np.where(self.keys > 0, self.keys, self.tops)
        else:
            keys = self._under(top)
        low, nearest = _search(keys, self.gains.copy(), self.shift, gain)
        return Cut(low, low) if top is None else Cut(top, nearest)


def curve(tree: Quadtree, whole: int) -> Curve:
    """Returns the curve of a quadtree, of which `whole` is the energy as one region."""
    shift = max(0, whole.bit_length() + 2 - GAIN_BITS)
    gains = tree.gains + (1 << shift >> 1) >> shift
    return Curve(tree.keys, tree.tops, gains, shift)


@no_type_check
@compiled
def _search(keys, gains, shift, goal):
    """Returns the lowest threshold found to gain enough, and that nearest to the goal.

    Args:
      keys: int32 `blocks`. They and the gains are put into another order: those that
        are decided about are not looked at again.
      gains: int64 `blocks`.
      shift: see `vim_jax.cuts.Curve`.
      goal: what is to be gained.
    """
    low, high, nearest, distance = 1, NO_REGION, NO_REGION, abs(goal)
    start, end, above = 0, keys.size, 0
    for _ in range(KEY_BITS):
        middle = (low + high) >> 1
        first, added = start, 0  # Keys from the threshold up go to the front.
        for k in range(start, end):
            if keys[k] >= middle:
                added += gains[k]
                keys[first], keys[k] = keys[k], keys[first]
                gains[first], gains[k] = gains[k], gains[first]
                first += 1
        found = above + (added << shift)
        if abs(found - goal) < distance:
            nearest, distance = middle, abs(found - goal)
        if found >= goal:
            low, end = middle, first
        else:
            high, start, above = middle, first, found
    return low, nearest


def total_gain(tree: Quadtree) -> int:
    """Returns the energy that all blocks add: of the grid of the largest."""
    return int(tree.gains[(tree.tops >= 1) | (tree.keys >= 1)].sum())


@no_type_check
@helper
def _merges(key, top, cut):
    """Returns whether a block with these keys is a region or a part of one.

    It takes no tree: counting who refers to its arrays, for each block, would take
    longer than all the rest.
    """
    return top >= cut.top or key >= cut.other


@no_type_check
@compiled
def sizes_at(tree, cut):
    """Returns the int32 `h w` sizes of the plan for a cut of a quadtree."""
    h, w, _ = tree.pixels.shape
    keys, tops = tree.keys, tree.tops
    count = np.empty(keys.size, np.uint8)  # Of blocks that are regions, above too.
    for number in range(tree.shapes.shape[0] - 1, -1, -1):
        k, (rows, cols) = tree.starts[number], tree.shapes[number]
        start, wide = level_above(tree, number)
        for i in range(rows):
            for j in range(cols):
                count[k] = _merges(keys[k], tops[k], cut)
                if start >= 0:
                    count[k] += count[start + (i >> 1) * wide + (j >> 1)]
                k += 1
    size = np.ones((h, w), np.int32)
    if count.size:
        for y in range(h):
            for x in range(w):
                size[y, x] = 1 << count[(y >> 1) * tree.shapes[0, 1] + (x >> 1)]
    return size


@no_type_check
@compiled
def energy_at(tree, cut):
    """Returns the expected energy of the plan for a cut of a quadtree, int64."""
    planes = tree.means.shape[0]
    keys, tops = tree.keys, tree.tops
    merged = np.empty(keys.size, np.bool_)
    means = np.empty((planes, keys.size), np.int32)
    energy = 0
    for number in range(tree.shapes.shape[0] - 1, -1, -1):
        k, (rows, cols) = tree.starts[number], tree.shapes[number]
        start, wide = level_above(tree, number)
        for i in range(rows):
            for j in range(cols):
                merged[k] = _merges(keys[k], tops[k], cut)
                if merged[k]:
                    energy += tree.spreads[k]
                above = start + (i >> 1) * wide + (j >> 1)
                inherits = start >= 0 and merged[above]
                for p in range(planes):
                    means[p, k] = means[p, above] if inherits else tree.means[p, k]
                k += 1
    rows, cols = tree.shapes[0, 0], tree.shapes[0, 1]
    merged = merged[: rows * cols].reshape(rows, cols)
    return energy + _steps(tree, merged, means)


@no_type_check
@helper
def _steps(tree, merged, means):
    """Returns the energy of all pairs, pixels in regions replaced by their means.

    Args:
      tree: the quadtree.
      merged: whether each block of 2 x 2 pixels lies in a region, bool `rows cols`.
      means: of that region, int32 `planes blocks`.
    """
    pixels, pairs, copies = tree.pixels, tree.pairs, tree.copies
    h, w, c = pixels.shape
    rows, cols = merged.shape
    planes = means.shape[0]
    unit = 16 - tree.bits
    energy = 0
    for i in range(rows):
        for j in range(cols):
            if not merged[i, j]:
                energy += pairs[0, i, j]
            for down in range(2):
                y, x = i + down, j + 1 - down
                if y == rows or x == cols:
                    continue
                here, there = i * cols + j, y * cols + x
                lines = min(2, w - 2 * j if down else h - 2 * i)
                if not merged[i, j] and not merged[y, x]:
                    energy += pairs[1 + down, i, j]
                elif merged[i, j] and merged[y, x]:
                    for p in range(planes):
                        step = np.int64(means[p, here]) - means[p, there]
                        energy += copies * lines * squared(step)
                else:
                    for line in range(lines):
                        row = 2 * i + (1 if down else line)
                        column = 2 * j + (line if down else 1)
                        for k in range(c):
                            p = 0 if copies > 1 else k
                            a = np.int64(pixels[row, column, k]) << unit
                            b = np.int64(pixels[row + down, column + 1 - down, k])
                            b <<= unit
                            if merged[i, j]:
                                a = np.int64(means[p, here])
                            else:
                                b = np.int64(means[p, there])
                            energy += squared(a - b)
    return energy
