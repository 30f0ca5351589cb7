"""Linkage: finding the original of a published image among candidates.

Three ways to compare: the sorted values of every region, which shuffling does not
change; the region means; and a perceptual hash as reverse image search uses it, which
takes no plan.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, Int32, UInt8
from PIL import Image

from vim_jax.attacks import intervals
from vim_jax.attacks.intervals import Estimate
from vim_jax.attacks.protocol import (
    Control,
    Images,
    Knowledge,
    Known,
    Outcome,
    Plans,
    Score,
    Truth,
    score,
)
from vim_jax.regions import regions_of

_HASH_SIDE, _HASHED_SIDE = 8, 32


@dataclasses.dataclass(frozen=True)
class Config:
    """When the control counts as passed.

    Attributes:
      control_rank_1: share of unmixed images whose original must be found.
    """

    control_rank_1: float = 0.9


def run(
    published: Images, knowledge: Knowledge, truth: Truth, config: Config
) -> Outcome:
    """Looks each image up among the candidates. The control looks up the originals.

    The original of each published image must be among the candidates, once. Images are
    compared with candidates of their shape. Where there is no other of that, the shape
    tells which it is: such images do not count, and if all are such, nothing is known.
    """
    if knowledge.plans is None or knowledge.candidates is None:
        raise ValueError("knowledge has no plans or no candidates: this attack links")
    candidates = knowledge.candidates
    own = _places(truth.originals, candidates)
    several = _have_rivals(truth.originals, candidates)
    scrambled = knowledge.mixer is not None and knowledge.mixer.scramble_regions
    scores: list[Score] = []
    for name, known, features in _ways(scrambled):
        mixed = _distances(published, knowledge.plans, candidates, features)
        plain = _distances(truth.originals, knowledge.plans, candidates, features)
        control = Control(
            "the originals, not mixed",
            float(_found(plain, own)[several].mean()),
            config.control_rank_1,
        )
        scores += _scores(name, known, mixed[several], own[several], control)
    return Outcome(tuple(scores))


def _have_rivals(originals: Images, candidates: Images) -> Bool[np.ndarray, " n"]:
    """Returns which images have several candidates of their shape; all if none has."""
    count = collections.Counter(x.shape for x in candidates)
    found = np.asarray([count[x.shape] > 1 for x in originals])
    return found if found.any() else np.ones(len(found), bool)


_Features = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _ways(scrambled: bool) -> Sequence[tuple[str, tuple[Known, ...], _Features]]:
    values = sorted_values if not scrambled else _all_values
    return (
        (
            "linkage by sorted values",
            ("plan", "algorithm", "candidate originals"),
            values,
        ),
        ("linkage by thumbnail", ("plan", "candidate originals"), _region_means),
        ("linkage by perceptual hash", ("candidate originals",), _hash),
    )


def _places(originals: Images, candidates: Images) -> Int32[np.ndarray, " n"]:
    """Returns each original's number among the candidates."""
    numbers = {(x.shape, x.tobytes()): i for i, x in enumerate(candidates)}
    try:
        found = [numbers[x.shape, x.tobytes()] for x in originals]
    except KeyError:
        raise ValueError(
            "candidates lack an original: add the originals, and images like them"
        ) from None
    return np.asarray(found, np.int32)


def sorted_values(
    images: UInt8[np.ndarray, "m h w c"], size: Int32[np.ndarray, "h w"]
) -> Float[np.ndarray, "m k"]:
    """Returns the values of images, sorted within each region of a plan.

    All channels of a region are one set, so it does not matter how channels moved.
    """
    region = np.asarray(regions_of(size).origin).astype(np.int64)[..., None]
    keyed = (region * 256 + images).reshape(len(images), -1)
    return (np.sort(keyed, axis=1) % 256).astype(np.float32)


def _all_values(images, size):
    return sorted_values(images, np.full_like(size, max(size.shape)))


def _region_means(images, size):
    _, region, count = np.unique(
        np.asarray(regions_of(size).origin), return_inverse=True, return_counts=True
    )
    grey = images.mean(-1).reshape(len(images), -1)
    means = [np.bincount(region.ravel(), row) / count for row in grey]
    # As often as there are pixels, so that large regions count for more.
    return np.stack(means)[:, region.ravel()].astype(np.float32)


def _hash(images, size):
    """Returns which low frequencies are above their median, as 63 bits."""
    del size
    bits = np.empty((len(images), _HASH_SIDE**2 - 1), np.float32)
    for i, image in enumerate(images):
        grey = Image.fromarray(image.mean(-1).astype(np.uint8))
        small = grey.resize((_HASHED_SIDE, _HASHED_SIDE), Image.Resampling.LANCZOS)
        waves = np.asarray(scipy.fft.dctn(np.asarray(small, np.float64)))
        low = waves[:_HASH_SIDE, :_HASH_SIDE].ravel()[1:]
        bits[i] = low > np.median(low)
    return bits


def _distances(
    images: Images,
    plans: Plans,
    candidates: Images,
    features: _Features,
) -> Float[np.ndarray, "n m"]:
    """Returns how far each image is from each candidate; infinite at other shapes."""
    distance = np.full((len(images), len(candidates)), np.inf)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, candidate in enumerate(candidates):
        by_shape.setdefault(candidate.shape, []).append(i)
    stacks = {
        shape: np.stack([candidates[i] for i in numbers])
        for shape, numbers in by_shape.items()
    }
    known: tuple[bytes, np.ndarray] | None = None
    for i, (image, size) in enumerate(zip(images, plans, strict=True)):
        if image.shape not in stacks:
            continue
        # Many images share a plan, and so the features of the candidates.
        name = repr(image.shape).encode() + size.tobytes()
        if known is None or known[0] != name:
            known = (name, features(stacks[image.shape], size))
        own = features(image[None], size)
        distance[i, by_shape[image.shape]] = np.abs(known[1] - own).mean(1)
    return distance


def _found(
    distance: Float[np.ndarray, "n m"], own: Int32[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Returns whether an image's own original is nearer than all other candidates."""
    rows = np.arange(len(own))
    genuine = distance[rows, own]
    others = distance.copy()
    others[rows, own] = np.inf
    return genuine < others.min(1)


def _scores(name, known, distance, own, control) -> list[Score]:
    found = _found(distance, own)
    rows = np.arange(len(own))
    genuine = distance[rows, own][:, None]
    # Ties count half. The genuine one ties with itself.
    alike = np.isfinite(distance)  # Of one shape.
    farther = (alike & (distance > genuine)).sum(1)
    farther = farther + (distance == genuine).sum(1) / 2 - 0.5
    others = alike.sum(1) - 1
    rate = intervals.rate(int(found.sum()), len(found))
    areas = np.where(others, farther / np.maximum(others, 1), 0.5)
    # Images are resampled, each with the candidates it was compared to.
    area = intervals.share(areas)
    if not others.any():
        rate, area = (Estimate(x.value, -np.inf, np.inf) for x in (rate, area))
    return [
        score(
            rate,
            name=name,
            knowledge=known,
            metric="rank-1 (share)",
            chance=float(np.mean(1 / (others + 1))),
            control=control,
        ),
        score(
            area,
            name=name,
            knowledge=known,
            metric="AUC",
            chance=0.5,
            control=control,
        ),
    ]
