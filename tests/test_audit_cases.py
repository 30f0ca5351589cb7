"""What an audit looks at."""

import collections
import dataclasses

import audited
import numpy as np
import pytest
from audited import (
    same_regions,
)

from vim_jax import VisualMixer
from vim_jax.attacks import cases
from vim_jax.attacks.cases import from_data
from vim_jax.attacks.recognition import SecondAttribute


@pytest.fixture(scope="module")
def digits():
    return audited.digits()


def test_a_case_from_data_is_mixed_test_images_and_known_training_images(digits):
    assert np.shape(digits.published) == np.shape(digits.originals) == (12, 8, 8, 1)
    assert digits.auxiliary.shape == (40, 8, 8, 1)
    assert digits.labels.shape == (12,)
    assert digits.auxiliary_labels.shape == (40,)
    assert same_regions(digits)
    assert (np.asarray(digits.plans) == 2).all()
    both = {x.tobytes() for x in digits.auxiliary} & {
        x.tobytes() for x in digits.originals
    }
    assert not both
    assert digits.notes == ()
    assert digits.attribute is None
    assert len(digits.other) == 0


def test_originals_are_among_the_candidates_once(digits):
    names = collections.Counter(x.tobytes() for x in digits.candidates)
    assert len(digits.candidates) == 12 + 40
    assert all(names[x.tobytes()] == 1 for x in digits.originals)


def test_each_image_has_its_own_permutation(digits):
    moves = {
        (mixed - plain).tobytes()
        for mixed, plain in zip(digits.published, digits.originals, strict=True)
    }
    assert len(moves) == 12


def test_equal_cases_have_equal_digests(digits):
    again = from_data(
        "embedded:digits", VisualMixer(region_size=2),
        data_dir=None, images=12, auxiliary=40,
    )  # fmt: skip
    np.testing.assert_array_equal(again.published, digits.published)
    assert again.digest == digits.digest


@pytest.mark.parametrize(
    "other",
    [
        {"mixer": VisualMixer(region_size=2, channels="joint")},
        {"images": 11},
        {"auxiliary": 39},
    ],
)
def test_other_cases_have_other_digests(digits, other):
    given = {"mixer": VisualMixer(region_size=2), "images": 12, "auxiliary": 40}
    given |= other
    case = from_data("embedded:digits", given.pop("mixer"), data_dir=None, **given)
    assert case.digest != digits.digest


def test_a_digest_changes_with_name_attribute_and_attacks(digits, monkeypatch):
    kinds = [SecondAttribute("kind", np.arange(10) % k) for k in (2, 3)]
    found = {digits.digest, dataclasses.replace(digits, name="other").digest}
    found |= {dataclasses.replace(digits, attribute=kind).digest for kind in kinds}
    monkeypatch.setattr(cases, "_code", lambda: b"better")
    found.add(digits.digest)
    assert len(found) == 5


def test_a_change_of_any_attack_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "__file__", str(tmp_path / "attacks/cases.py"))
    code = cases._code.__wrapped__
    for name in ("attacks/one.py", "models/resnet.py", "mixer.py"):
        before = code()
        assert code() == before
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
        assert code() != before


def test_targets_out_of_reach_are_approached():
    case = from_data(
        "embedded:digits", VisualMixer(target_vfe=1e6),
        data_dir=None, images=2, auxiliary=2,
    )  # fmt: skip
    assert case.mixer.clip
    assert len(case.published) == 2


def test_real_images_have_a_second_attribute_and_others_to_transfer_to(tfds_dir):
    case = from_data(
        "cifar10", VisualMixer(region_size=4),
        data_dir=str(tfds_dir), images=3, auxiliary=4,
    )  # fmt: skip
    assert same_regions(case)
    assert case.attribute is not None
    assert case.attribute.name == "animal or vehicle"
    assert case.other[0].shape == (32, 32, 3)
