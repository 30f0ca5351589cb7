"""Recognition: what classifiers tell of mixed images, and what by chance."""

import dataclasses

import numpy as np
import pytest
from mixing_by_hand import mixed_by_hand

from vim_jax import VisualMixer
from vim_jax.attacks import recognition
from vim_jax.attacks.protocol import Knowledge, Truth
from vim_jax.data.arrays import train_test_arrays

MIXER = VisualMixer(region_size=2)


pytestmark = pytest.mark.usefixtures("standard_promotion")


BRIEF = recognition.Config(epochs=6, flip=False, learning_rate=1e-2)
EVEN = recognition.SecondAttribute("odd or even digit", np.asarray([0, 1] * 5))


def recognised(*, shuffle_labels=False, **options):
    """Scores on the embedded digits by name and metric."""
    data = train_test_arrays("embedded:digits", limit=600)
    labels = [part.labels.astype(np.int64) for part in (data.train, data.test)]
    if shuffle_labels:
        rng = np.random.default_rng(0)
        labels = [rng.permutation(part) for part in labels]
    originals, count = data.test.images[:150], 150
    mixed, plans = mixed_by_hand(originals, 2)
    outcome = recognition.run(
        mixed,
        Knowledge(
            plans=plans, mixer=MIXER,
            auxiliary=data.train.images, auxiliary_labels=labels[0],
        ),
        Truth(originals=originals, labels=labels[1][:count]),
        BRIEF,
        **options,
    )  # fmt: skip
    return {(score.name, score.metric): score for score in outcome.scores}


LABEL, PARITY = "label (share right)", "odd or even digit (share right)"


@pytest.mark.slow
def test_an_adapted_classifier_knows_digits_in_mixed_images():
    told = []
    scores = recognised(attribute=EVEN, progress=lambda *numbers: told.append(numbers))
    adapted = scores["recognition, adapted", LABEL]
    parity = scores["recognition, adapted", PARITY]
    assert adapted.control.score > 0.8
    assert adapted.verdict == "leaks"
    assert adapted.score > 0.6
    assert parity.verdict == "leaks"
    assert parity.score >= adapted.score
    assert 0.05 < adapted.chance < 0.15
    assert 0.4 < parity.chance < 0.6
    plain = scores["recognition, plain-trained", LABEL]
    assert adapted.low > plain.score
    assert plain.knowledge == ("labelled auxiliary images",)
    assert adapted.knowledge == ("plan", "algorithm", "labelled auxiliary images")
    assert told.count((9 * 6, 9 * 6)) == 2


@pytest.mark.slow
def test_labels_that_mean_nothing_are_not_learnt():
    scores = recognised(shuffle_labels=True)
    assert len(scores) == 3
    for score in scores.values():
        assert score.score < 0.2
        # The plain-trained classifier fails as well, so that nothing is known.
        assert score.verdict == "inconclusive"


def test_chance_is_to_name_what_is_most_frequent_elsewhere():
    found = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    right, known = np.asarray([2, 2, 2, 1]), np.asarray([1, 1, 0, 2])
    usual = recognition._most_frequent(known)
    score = recognition._score(
        "an attack", ("plan",), "kind", found, found, right, usual, BRIEF
    )
    assert score.chance == 0.25


def test_probabilities_of_labels_add_up_to_those_of_the_attribute():
    probabilities = np.asarray([[0.4, 0.3, 0.3], [0.1, 0.5, 0.4]], np.float32)
    score = recognition._score(
        "an attack", ("plan",), "kind",
        probabilities @ np.asarray([[1, 0], [0, 1], [0, 1]], np.float32),
        np.eye(2, dtype=np.float32), np.asarray([1, 1]), 1, BRIEF,
    )  # fmt: skip
    assert score.score == 1  # Though label 0 is the likeliest of the first.
    assert score.chance == 1
    assert score.control.score == 0.5


@pytest.mark.parametrize("name", ["plans", "mixer", "auxiliary", "auxiliary_labels"])
def test_recognition_without_what_it_learns_from_is_refused(name):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    mixed, plans = mixed_by_hand(images, 2)
    whole = Knowledge(
        plans=plans, mixer=MIXER, auxiliary=images, auxiliary_labels=np.asarray([0, 1])
    )
    truth = Truth(originals=images, labels=np.asarray([0, 1]))
    knowledge = dataclasses.replace(whole, **{name: None})
    with pytest.raises(ValueError, match="knowledge lacks plans, mixer or labelled"):
        recognition.run(mixed, knowledge, truth, BRIEF)
    with pytest.raises(ValueError, match="truth has no labels"):
        recognition.run(mixed, whole, Truth(originals=images), BRIEF)


# --- Second attributes ----------------------------------------------------------------

CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


def attribute_of(data_set, names):
    found = recognition.second_attribute(data_set, names)
    assert found is not None
    return found


def test_second_attributes_of_known_sets():
    cifar = attribute_of("cifar10", CIFAR10)
    assert cifar.name == "animal or vehicle"
    animals = {CIFAR10[i] for i in np.flatnonzero(cifar.of_label == cifar.of_label[3])}
    assert animals == {"bird", "cat", "deer", "dog", "frog", "horse"}
    digits = attribute_of("mnist", tuple("0123456789"))
    assert digits.name == "odd or even digit"
    assert digits.of_label.tolist() == [0, 1] * 5


def test_second_attributes_follow_the_order_of_the_labels():
    one = attribute_of("cifar10", CIFAR10)
    other = attribute_of("cifar10", CIFAR10[::-1])
    assert other.of_label.tolist() == one.of_label[::-1].tolist()


@pytest.mark.parametrize(
    ("data_set", "names"),
    [
        ("photos/", CIFAR10),
        ("embedded:digits", tuple("0123456789")),
        ("cifar10", CIFAR10[:-1]),
        ("cifar10", (*CIFAR10[:-1], "lorry")),
        ("mnist", CIFAR10),
        ("mnist", ()),
    ],
)
def test_other_sets_have_no_second_attribute(data_set, names):
    assert recognition.second_attribute(data_set, names) is None


def test_real_sets_have_the_labels_of_their_second_attributes(tfds_dir):
    for name in recognition.SECOND_ATTRIBUTES:
        data = train_test_arrays(name, data_dir=tfds_dir, limit=1)
        assert recognition.second_attribute(name, data.label_names) is not None
