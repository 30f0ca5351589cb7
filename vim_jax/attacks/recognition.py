"""Recognition: telling what a mixed image shows.

First by a classifier trained on plain images, which looks at the mixed images and at
their thumbnails; then by one that its owner adapted to the mixing, with labelled
auxiliary images. The labels that the images were published for are meant to be learnt:
that is their use. A second attribute, which nobody meant to release, is a leak.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Bool, Float, Int

from vim_jax.attacks import intervals, thumbnail
from vim_jax.attacks.features import features
from vim_jax.attacks.fitting import apply, fit
from vim_jax.attacks.mixing import mixed_by
from vim_jax.attacks.protocol import (
    Control,
    Images,
    Knowledge,
    Known,
    Outcome,
    Score,
    Truth,
    score,
)
from vim_jax.models.resnet import ResNet, ResNetConfig

Progress = Callable[[int, int], None]

SECOND_ATTRIBUTES: Mapping[str, tuple[str, Mapping[str, tuple[str, ...]]]] = {
    "cifar10": (
        "animal or vehicle",
        {
            "animal": ("bird", "cat", "deer", "dog", "frog", "horse"),
            "vehicle": ("airplane", "automobile", "ship", "truck"),
        },
    ),
    "mnist": (
        "odd or even digit",
        {"even": ("0", "2", "4", "6", "8"), "odd": ("1", "3", "5", "7", "9")},
    ),
}
"""For some data sets, an attribute that follows from the label: its name, its values,
and the labels that have each."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The network and its training.

    Attributes:
      blocks: residual blocks a stage; the network has 6 * blocks + 2 layers.
      epochs: how often each auxiliary image is seen.
      batch_size: images a step.
      learning_rate: at its peak.
      flip: whether auxiliary images are mirrored, too: not where that changes labels.
      seed: of the network, the order of images and the attacker's keys.
      control_share: the control must bridge this share of the way from chance to 1.
    """

    blocks: int = 1
    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 4e-3
    flip: bool = True
    seed: int = 0
    control_share: float = 0.25


@dataclasses.dataclass(frozen=True)
class SecondAttribute:
    """An attribute that follows from the label.

    Attributes:
      name: what it is.
      of_label: int `k`, its value for each label.
    """

    name: str
    of_label: Int[np.ndarray, " k"]


def second_attribute(
    data_set: str, label_names: tuple[str, ...]
) -> SecondAttribute | None:
    """Returns the second attribute of a data set, or None if none is known."""
    if data_set not in SECOND_ATTRIBUTES:
        return None
    name, values = SECOND_ATTRIBUTES[data_set]
    by_label = {
        label: i for i, labels in enumerate(values.values()) for label in labels
    }
    if set(by_label) != set(label_names):
        return None
    return SecondAttribute(name, np.asarray([by_label[x] for x in label_names]))


def run(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    attribute: SecondAttribute | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Trains two classifiers on auxiliary images, and shows them the published ones.

    The control of both is the plain-trained classifier on the originals.

    Args:
      published: the mixed images, all of one shape.
      knowledge: with plans, mixer and labelled auxiliary images.
      truth: with labels.
      config: the networks and their training.
      attribute: a second attribute, scored as well.
      progress: called with the steps done and the steps to do.
    """
    plans, mixer = knowledge.plans, knowledge.mixer
    auxiliary, labels = knowledge.auxiliary, knowledge.auxiliary_labels
    if plans is None or mixer is None or auxiliary is None or labels is None:
        raise ValueError("knowledge lacks plans, mixer or labelled auxiliary images")
    if truth.labels is None:
        raise ValueError("truth has no labels, so recognition cannot be scored")
    classes = int(max(labels.max(), truth.labels.max())) + 1
    if attribute is not None:
        classes = max(classes, len(attribute.of_label))
    if config.flip:
        auxiliary = np.concatenate([auxiliary, auxiliary[:, :, ::-1]])
        labels = np.concatenate([labels, labels])
    plain = trained(_as_input(auxiliary), labels, classes, config, progress)
    mixed, mixed_plans = mixed_by(mixer, auxiliary, config.seed)
    seen = features(mixed, mixed_plans, mixer)
    adapted = trained(seen, labels, classes, config, progress)
    thumbnails = np.stack(
        [
            thumbnail.enlarged(*pair, mixer.channels)
            for pair in zip(published, plans, strict=True)
        ]
    )
    control = probabilities(plain, _as_input(np.stack(list(truth.originals))))
    labelled: tuple[Known, ...] = ("labelled auxiliary images",)
    everything: tuple[Known, ...] = ("plan", "algorithm", *labelled)
    tried = [
        (
            "recognition, plain-trained",
            labelled,
            probabilities(plain, _as_input(np.stack(list(published)))),
        ),
        (
            "recognition of thumbnails, plain-trained",
            everything,
            probabilities(plain, np.clip(thumbnails / 255, 0, 1)),
        ),
        (
            "recognition, adapted",
            everything,
            probabilities(adapted, features(published, plans, mixer)),
        ),
    ]
    tasks = [("label", np.eye(classes, dtype=np.float32), truth.labels)]
    if attribute is not None:
        values = np.eye(attribute.of_label.max() + 1, dtype=np.float32)
        of_label = values[attribute.of_label]
        tasks.append((attribute.name, of_label, attribute.of_label[truth.labels]))
    return Outcome(
        tuple(
            _score(
                name,
                known,
                task,
                found @ groups,
                control @ groups,
                right,
                _most_frequent(groups[labels].argmax(1)),
                config,
            )
            for name, known, found in tried
            for task, groups, right in tasks
        )
    )


def _as_input(images: np.ndarray) -> Float[np.ndarray, "n h w c"]:
    return images.astype(np.float32) / np.float32(255)


def trained(
    inputs: Float[np.ndarray, "m h w k"],
    labels: Int[np.ndarray, " m"],
    classes: int,
    config: Config,
    progress: Progress | None = None,
) -> ResNet:
    """Returns a classifier.

    Args:
      inputs: what it sees, 0 to 1.
      labels: 0 to `classes - 1`.
      classes: how many there are.
      config: the network and its training.
      progress: called with the steps done and the steps to do.
    """
    _, h, w, channels = inputs.shape
    shape = ResNetConfig(
        num_classes=classes,
        image_size=(h, w),
        channels=channels,
        blocks=config.blocks,
    )
    return fit(
        ResNet(shape, rngs=nnx.Rngs(config.seed)),
        _loss,
        {"inputs": inputs, "labels": labels.astype(np.int32)},
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        progress=progress,
    )


def _loss(model: ResNet, batch) -> jax.Array:
    logits = model(batch["inputs"], train=True)
    return optax.softmax_cross_entropy_with_integer_labels(
        logits, batch["labels"]
    ).mean()


def probabilities(model: ResNet, inputs: np.ndarray) -> Float[np.ndarray, "n k"]:
    """Returns what a classifier thinks of each input."""
    logits = apply(model, inputs.astype(np.float32))
    return np.asarray(jax.nn.softmax(jnp.asarray(logits)))


def _most_frequent(values: Int[np.ndarray, " m"]) -> int:
    """Returns what an attacker names who sees nothing."""
    return int(np.bincount(values).argmax())


def _score(name, known, task, found, control, right, usual, config: Config) -> Score:
    chance = float(np.mean(right == usual))
    hit: Bool[np.ndarray, " n"] = found.argmax(1) == right
    works = intervals.rate(int((control.argmax(1) == right).sum()), len(right))
    return score(
        intervals.rate(int(hit.sum()), len(hit)),
        name=name,
        knowledge=known,
        metric=f"{task} (share right)",
        chance=chance,
        control=Control(
            "the originals, not mixed, by the plain-trained classifier",
            works.value,
            chance + config.control_share * (1 - chance),
            low=works.low,
        ),
    )
