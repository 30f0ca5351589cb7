"""Finding the one permutation that a set of images was mixed by.

* Whoever knows a few originals reads it off them: a place that holds the same values
  in all mixed images as another does in all originals is where that one went.
* Whoever knows none predicts each place of an image from the region means, which
  mixing leaves in place, as images of the same kind teach; and looks which place of
  the mixed images follows the prediction.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.optimize
from jaxtyping import Float, Float32, Int, UInt8

from vim_jax.attacks.protocol import Plans
from vim_jax.mixer import VisualMixer

Flat: TypeAlias = UInt8[np.ndarray, "n values"]
"""Images of one shape, each flat."""

_RIDGE = 1e-3
_FEWEST = 10


class Group(NamedTuple):
    """Cells that trade places among themselves, in some of the images.

    Attributes:
      cells: int, each moving cell's values as numbers in the flat image: one, or with
        channels "joint" one a channel.
      images: numbers of the images that have this group.
    """

    cells: Int[np.ndarray, "cells values"]
    images: Int[np.ndarray, " images"]


class Placed(NamedTuple):
    """Where an attacker believes that the cells of a group come from.

    Attributes:
      now: flat numbers of the values where they are in mixed images.
      origin: where they are in the originals.
      images: numbers of the images that have the group.
    """

    now: Int[np.ndarray, "cells values"]
    origin: Int[np.ndarray, "cells values"]
    images: Int[np.ndarray, " images"]


def groups_of(plans: Plans, channels: int, mixer: VisualMixer) -> list[Group]:
    """Returns the groups of all images, by their region sizes.

    With scrambled regions, these are all regions of one height and width together.
    """
    alike: dict[bytes, list[int]] = {}
    for i, plan in enumerate(plans):
        alike.setdefault(np.asarray(plan, np.int32).tobytes(), []).append(i)
    found: dict[bytes, list[int]] = {}
    for numbers in alike.values():
        label = _labels(np.asarray(plans[numbers[0]]), mixer.scramble_regions)
        order = np.argsort(label.reshape(-1), kind="stable")
        ends = np.flatnonzero(np.diff(label.reshape(-1)[order])) + 1
        for pixels in np.split(order, ends):
            found.setdefault(pixels.tobytes(), []).extend(numbers)
    groups = []
    for name, numbers in found.items():
        pixels = np.frombuffer(name, np.int64)
        cells = pixels[:, None] * channels + np.arange(channels)
        # A region of one pixel keeps its colour.
        if mixer.channels == "mixed" and len(pixels) > 1:
            parts = [cells.reshape(-1, 1)]
        elif mixer.channels == "joint":
            parts = [cells]
        else:
            parts = np.split(cells, channels, axis=1)
        groups += [Group(part, np.asarray(numbers)) for part in parts]
    return groups


def _labels(size: np.ndarray, scrambled: bool) -> np.ndarray:
    """Returns a number for each pixel, the same all over its region, or its class."""
    h, w = size.shape
    top = np.arange(h)[:, None] // size * size
    left = np.arange(w)[None, :] // size * size
    if scrambled:
        return np.minimum(size, h - top) * (w + 1) + np.minimum(size, w - left)
    return top * w + left


def from_pairs(mixed: Flat, originals: Flat, groups: Sequence[Group]) -> list[Placed]:
    """Returns what known originals tell of the places of all groups they have.

    Args:
      mixed: the mixed images of known originals, the first of the set.
      originals: the known originals.
      groups: of the set.
    """
    placed = []
    for cells, images in groups:
        known = images[images < len(mixed)]
        if len(known) and len(cells) > 1:
            # Under one permutation both lists hold the same columns: sorted, they are
            # equal, and which of several equal columns is which matters little.
            now, origin = (
                np.lexsort(flat[known][:, cells].swapaxes(1, 2).reshape(-1, len(cells)))
                for flat in (mixed, originals)
            )
            placed.append(Placed(cells[now], cells[origin], images))
    return placed


def from_correlations(
    mixed: Flat,
    auxiliary: UInt8[np.ndarray, "m values"],
    groups: Sequence[Group],
    shape: tuple[int, int, int],
) -> list[Placed]:
    """Returns what mixed images alone tell of the places of groups, given their kind.

    A ridge regression on auxiliary images predicts each value from the region means
    around it. The assignment under which the mixed images are most likely, deviations
    taken as normal, is the answer.

    Args:
      mixed: mixed images, the first of the set.
      auxiliary: images of the same kind.
      groups: of the set; regions not scrambled.
      shape: height, width and channels of all images.
    """
    # Each auxiliary image is divided like some mixed one.
    like = np.arange(len(auxiliary)) % len(mixed)
    lessons = [np.flatnonzero(np.isin(like, images)) for _, images in groups]
    subjects = [images[images < len(mixed)] for _, images in groups]
    examples, values = auxiliary.astype(np.float32), mixed.astype(np.float32)
    example_means = _means(examples, groups, lessons)
    means = _means(values, groups, subjects)
    placed = []
    for group, lesson, subject in zip(groups, lessons, subjects, strict=True):
        cells, images = group
        if len(cells) < 2 or len(lesson) < _FEWEST or not len(subject):
            continue
        around = _around(cells, shape)
        predicted, variance = _predicted(
            example_means[np.ix_(lesson, around)],
            examples[np.ix_(lesson, cells.reshape(-1))],
            means[np.ix_(subject, around)],
        )
        seen = values[np.ix_(subject, cells.reshape(-1))]
        slots = cells.shape[1]
        now, origin = scipy.optimize.linear_sum_assignment(
            sum(
                _surprise(seen[:, k::slots], predicted[:, k::slots], variance[k::slots])
                for k in range(slots)
            )
        )
        placed.append(Placed(cells[now], cells[origin], images))
    return placed


def _means(
    flat: Float32[np.ndarray, "n values"],
    groups: Sequence[Group],
    images: Sequence[Int[np.ndarray, " _"]],
) -> Float32[np.ndarray, "n values"]:
    """Returns images of which each group's values are their mean."""
    means = flat.copy()
    for (cells, _), chosen in zip(groups, images, strict=True):
        rows = chosen[:, None, None]
        means[rows, cells] = flat[rows, cells].mean(1, keepdims=True)
    return means


def _around(
    cells: Int[np.ndarray, "cells values"], shape: tuple[int, int, int]
) -> Int[np.ndarray, " features"]:
    """Returns flat numbers on a grid over a region and one region's breadth around."""
    h, w, c = shape
    y, x = np.divmod(np.unique(cells // c), w)

    def grid(places: np.ndarray, end: int) -> np.ndarray:
        side = places.max() - places.min() + 1
        line = np.arange(
            places.min() - side, places.max() + side + 1, max(1, side // 2)
        )
        return line[(line >= 0) & (line < end)]

    pixels = np.add.outer(grid(y, h) * w, grid(x, w))
    return np.add.outer(pixels * c, np.arange(c)).reshape(-1)


def _predicted(
    features: Float32[np.ndarray, "m f"],
    targets: Float32[np.ndarray, "m t"],
    new: Float32[np.ndarray, "n f"],
) -> tuple[Float[np.ndarray, "n t"], Float[np.ndarray, " t"]]:
    """Returns targets predicted from new features, and the variance left."""
    middle, level = features.mean(0), targets.mean(0)
    centred = features - middle
    gram = (centred.T @ centred).astype(np.float64)
    gram += np.eye(len(gram)) * (_RIDGE * np.trace(gram) / len(gram) + 1e-6)
    weights = np.linalg.solve(gram, centred.T @ (targets - level)).astype(np.float32)
    # Never below the rounding to grey levels.
    variance = np.square(targets - level - centred @ weights).mean(0) + 1 / 12
    return (new - middle) @ weights + level, variance


def _surprise(seen, predicted, variance) -> Float[np.ndarray, "places places"]:
    """Returns what taking place i for place j costs, in nats: -log likelihood."""
    squares = (
        np.square(seen).sum(0)[:, None]
        - 2 * seen.T @ predicted
        + np.square(predicted).sum(0)
    )
    return squares / (2 * variance) + len(seen) / 2 * np.log(variance)


def restored(mixed: Flat, placed: Sequence[Placed]) -> Flat:
    """Returns a whole set with its values put where they are believed to belong."""
    images = mixed.copy()
    for now, origin, numbers in placed:
        rows = numbers[:, None, None]
        images[rows, origin] = mixed[rows, now]
    return images


def random_rates(originals: Flat, groups: Sequence[Group]) -> Float[np.ndarray, " n"]:
    """Returns the share of each image that a random arrangement is expected to hit.

    Above 1 / cells, because cells of equal value stand for each other.
    """
    right = np.zeros(len(originals))
    for cells, images in groups:
        for column in cells.T:
            values = (
                originals[np.ix_(images, column)]
                + 256 * np.arange(len(images))[:, None]
            )
            counts = np.bincount(values.reshape(-1), minlength=256 * len(images))
            counts = counts.reshape(-1, 256).astype(np.float64)
            right[images] += np.square(counts).sum(1) / len(column)
    return right / originals.shape[1]
