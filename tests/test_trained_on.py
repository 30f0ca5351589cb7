"""What a run says of its images, and what `vim-jax predict` makes of that."""

import pytest

from vim_jax import VisualMixer
from vim_jax.cli import published, trained_on

SIZE_2 = {"region_size": 2, "channels": "independent", "scramble_regions": False}
PLANNED = {**SIZE_2, "region_size": None}


@pytest.fixture
def manifests(monkeypatch):
    """Settings of sets by name, as manifests would have them."""
    known = {
        "mixed": SIZE_2,
        "planned": PLANNED,
        "joint": {**SIZE_2, "channels": "joint"},
    }
    monkeypatch.setattr(published, "settings_of", known.get)


@pytest.mark.parametrize(
    ("data", "mixer", "already", "expected"),
    [
        ("plain", None, False, {"mixed": False}),
        ("plain", None, True, {"mixed": True}),
        ("plain", VisualMixer(region_size=2), False, {"mixed": True, **SIZE_2}),
        ("plain", VisualMixer(level=0.5), False, {"mixed": True, **PLANNED}),
        ("mixed", None, True, {"mixed": True, **SIZE_2}),
    ],
)
def test_a_run_says_how_its_images_were_mixed(
    data, mixer, already, expected, manifests
):
    told = trained_on.described(data, mixer, already)
    assert told == {"data": data, "fresh": False, "remixed": False, **expected}
    for way in ({"fresh": True}, {"remix": True}):
        told = trained_on.described(data, mixer, already, **way)
        assert (told["fresh"], told["remixed"]) == ("fresh" in way, "remix" in way)


@pytest.mark.parametrize(
    ("trained", "data", "split", "words"),
    [
        ("plain", "others", None, None),
        ("plain", "mixed", None, "learned from plain images, and those of mixed are"),
        ("mixed", "mixed", "test", None),
        ("mixed", "plain", None, "in regions of 2 pixels, channels independent, and"),
        ("mixed", "joint", None, "and those of joint have regions of 2 pixels, channe"),
        ("mixed", "planned", None, "and those of planned have planned regions"),
        ("plain", "plain", "train", "plain is what the network was trained on"),
        ("plain", "plain", "test", None),
    ],
)
def test_images_unlike_those_it_learned_from_get_a_warning(
    trained, data, split, words, manifests
):
    told = trained_on.described(trained, None, trained == "mixed")
    found = list(trained_on.warnings(told, data, split))
    assert len(found) == (words is not None)
    assert words is None or words in found[0]
    assert list(trained_on.warnings({}, data, split)) == []


def test_a_run_that_only_knows_its_images_are_mixed_warns_of_no_settings(manifests):
    told = trained_on.described("plain", None, True)
    assert list(trained_on.warnings(told, "mixed", None)) == []
    (warning,) = trained_on.warnings(told, "others", None)
    assert "from mixed images, and nothing says" in warning


def test_images_are_shuffled_again_in_the_regions_of_the_training(manifests):
    told = trained_on.described("mixed", None, True)
    assert trained_on.mixer_of(told, None) == VisualMixer(region_size=2)
    same, other = VisualMixer(region_size=2), VisualMixer(region_size=4)
    assert trained_on.mixer_of(told, same) == same
    with pytest.raises(ValueError, match=r"regions of 2 .*, not with regions of 4 "):
        trained_on.mixer_of(told, other)
    assert trained_on.mixer_of({}, other) == other
    with pytest.raises(ValueError, match="needs to know the regions"):
        trained_on.mixer_of(trained_on.described("plain", None, True), None)
    planned = trained_on.described("planned", None, True)
    for mixer in (None, other):
        with pytest.raises(ValueError, match="only their plans tell: leave --remixes"):
            trained_on.mixer_of(planned, mixer)
