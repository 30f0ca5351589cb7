"""Key reuse: what one permutation for a whole set of images gives away.

vim_jax mixes no two images alike; the code released with the paper does. Then a few
known originals, or enough mixed images, give the permutation away
(`vim_jax.attacks.placing`), and with it all other images.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int32

from vim_jax.attacks import intervals
from vim_jax.attacks.placing import (
    Flat,
    Group,
    from_correlations,
    from_pairs,
    groups_of,
    random_rates,
    restored,
)
from vim_jax.attacks.protocol import (
    Control,
    Images,
    Knowledge,
    Known,
    Outcome,
    Truth,
    score,
)
from vim_jax.mixer import VisualMixer
from vim_jax.regions import RegionPlan
from vim_jax.shuffling import shuffle

_METRIC = "values restored exactly in images not used (share)"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """How much the attacker has.

    Attributes:
      known: how many originals it knows, each a case of its own.
      images: how many of the first published images are looked at.
      held_out: how many of these are kept for scoring, at most half.
      auxiliary: how many auxiliary images are learnt from, at most.
      seed: of the control's permutation.
    """

    known: tuple[int, ...] = (1, 4, 16)
    images: int = 1200
    held_out: int = 200
    auxiliary: int = 2000
    seed: int = 0

    def __post_init__(self):
        if not self.known or min(self.known) < 1:
            raise ValueError(
                f"known={self.known} is not one or more numbers from 1 up."
            )
        for name in ("images", "held_out", "auxiliary"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is below 1.")


def mixed_alike(
    originals: Flat,
    size: Int32[np.ndarray, "h w"],
    channels: int,
    mixer: VisualMixer,
    seed: int,
) -> Flat:
    """Returns images that are all mixed by one permutation.

    Args:
      originals: images of one shape.
      size: region sizes of all of them.
      channels: of the images.
      mixer: how cells move; its region sizes are not looked at.
      seed: of the PRNG key.
    """
    number = np.arange(size.size * channels, dtype=np.int32)
    moved = shuffle(
        jax.random.key(seed),
        number.reshape(*size.shape, channels),
        RegionPlan(jnp.asarray(size)),
        channels=mixer.channels,
        scramble_regions=mixer.scramble_regions,
    )
    return originals[:, np.asarray(moved).reshape(-1)]


def run(
    published: Images, knowledge: Knowledge, truth: Truth, config: Config
) -> Outcome:
    """Attacks a set as if all its images were mixed by one permutation.

    Chance is what a random arrangement within regions hits, and the control are the
    same originals, mixed by one permutation in regions of the most frequent size.

    Args:
      published: images of one shape.
      knowledge: with `plans`, `mixer`, `known_originals` and `auxiliary`; the attack by
        correlations is left out if there are no auxiliary images or regions are
        scrambled.
      truth: the originals.
      config: how much the attacker has.

    Returns:
      A score for each number of known originals, and one for the attack by
      correlations; the reconstructions are those of the last one.

    Raises:
      ValueError: if plans or mixer are missing, known originals are too few, images are
        of different shapes, or too few to keep some for scoring.
    """
    if knowledge.plans is None or knowledge.mixer is None:
        raise ValueError("knowledge has no plans or no mixer, which this attack takes")
    mixer = knowledge.mixer
    shape, used = _check(published, knowledge, truth, config)
    plaintext = knowledge.known_originals
    if plaintext is None or len(plaintext) < max(config.known):
        count = 0 if plaintext is None else len(plaintext)
        raise ValueError(
            f"knowledge has {count} known originals, known={config.known}: give more."
        )
    given = _flat(plaintext[: max(config.known)])
    mixed = _flat(published[: config.images])
    originals = _flat(truth.originals[: config.images])
    plans = [np.asarray(plan, np.int32) for plan in knowledge.plans[: len(mixed)]]
    sizes, pixels = np.unique(np.stack(plans), return_counts=True)
    pixels = np.where(sizes > 1, pixels, 0)  # Where nothing moves, nothing is shown.
    most = max(2, int(sizes[pixels.argmax()]))
    alike = np.full(shape[:2], most, np.int32)
    control = mixed_alike(originals, alike, shape[2], mixer, config.seed)
    auxiliary = knowledge.auxiliary
    if mixer.scramble_regions:
        auxiliary = None
    if auxiliary is not None:
        auxiliary = auxiliary[: config.auxiliary].reshape(-1, mixed.shape[1])

    def attack(mixed: Flat, groups: list[Group]) -> list[Flat]:
        sets = [
            restored(mixed, from_pairs(mixed[:k], given[:k], groups))
            for k in config.known
        ]
        if auxiliary is not None:
            placed = from_correlations(mixed[:used], auxiliary, groups, shape)
            sets.append(restored(mixed, placed))
        return sets

    names = [f"key reuse, {k} known" for k in config.known]
    known: list[tuple[Known, ...]] = [("plan", "algorithm", "known plaintext")] * len(
        names
    )
    if auxiliary is not None:
        names.append("key reuse, correlations")
        known.append(("plan", "algorithm", "auxiliary images"))
    groups = groups_of(plans, shape[2], mixer)
    alike_groups = groups_of([alike] * len(mixed), shape[2], mixer)
    found, controls = attack(mixed, groups), attack(control, alike_groups)
    chances = random_rates(originals, groups)[used:]
    needed = (1 + random_rates(originals, alike_groups)[used:].mean()) / 2
    scores = []
    for i, name in enumerate(names):
        scores.append(
            score(
                intervals.mean_beside((found[i] == originals).mean(1)[used:], chances),
                name=name,
                knowledge=known[i],
                metric=_METRIC,
                chance=float(chances.mean()),
                control=Control(
                    case=f"one permutation, regions of {most} pixels",
                    score=float((controls[i] == originals).mean(1)[used:].mean()),
                    needed=float(needed),
                ),
            )
        )
    return Outcome(tuple(scores), list(found[-1].reshape(-1, *shape)))


def _flat(images: Images) -> Flat:
    return np.stack([image.reshape(-1) for image in images])


def _check(
    published: Images, knowledge: Knowledge, truth: Truth, config: Config
) -> tuple[tuple[int, int, int], int]:
    """Returns the images' shape, and how many of them are not kept for scoring."""
    auxiliary = knowledge.auxiliary
    plans = 0 if knowledge.plans is None else len(knowledge.plans)
    if not len(published) == plans == len(truth.originals):
        raise ValueError(
            f"{len(published)} published images, {plans} plans and "
            f"{len(truth.originals)} originals: give one of each for each image."
        )
    shapes = {image.shape for image in (*published, *truth.originals)}
    if auxiliary is not None:
        shapes.add(auxiliary.shape[1:])
    if len(shapes) != 1:
        raise ValueError(f"images have {len(shapes)} shapes: this attack takes one.")
    count = min(len(published), config.images)
    used = count - min(config.held_out, count // 2)
    if max(config.known) > used or used == count:
        raise ValueError(
            f"known={config.known} of {count} images leaves too few to score: give "
            "more images."
        )
    return shapes.pop(), used
