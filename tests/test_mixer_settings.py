"""Settings of VisualMixer: checked in one sentence, and never changed."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

import vim_jax


@pytest.mark.usefixtures("unchecked")
def test_numbers_become_pythons():
    several: tuple[dict[str, Any], ...] = (
        {"level": np.float32(0.5), "max_region": np.int64(4)},
        {"region_size": np.int64(4), "scramble_regions": np.True_},
        {"target_vfe": np.float64(100)},
    )
    for given in several:
        mixer = vim_jax.VisualMixer(**given)
        settings = dataclasses.asdict(mixer)
        assert json.loads(json.dumps(settings)) == settings
        assert mixer == vim_jax.VisualMixer(**{k: x.item() for k, x in given.items()})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "level"),
        ({"level": 0.5, "region_size": 4}, "region_size"),
        ({"level": 0.5, "target_vfe": 4.0}, "target_vfe"),
        ({"level": 0.5, "target_vfe": 4.0, "region_size": 4}, "level"),
        ({"level": 1.5}, "level=1.5"),
        ({"level": -0.5}, "level=-0.5"),
        ({"level": float("nan")}, "level=nan"),
        ({"target_vfe": -2.0}, "target_vfe=-2.0"),
        ({"target_vfe": float("inf")}, "target_vfe=inf"),
        ({"region_size": 0}, "region_size=0"),
        ({"region_size": -4}, "region_size=-4"),
        ({"region_size": 2.5}, "region_size=2.5"),
        ({"region_size": True}, "region_size=True"),
        ({"region_size": "whole"}, "region_size='whole'"),
        ({"level": 0.5, "max_region": 0}, "max_region=0"),
        ({"level": 0.5, "max_region": 2.5}, "max_region=2.5"),
        ({"region_size": 4, "max_region": 8}, "max_region"),
        ({"level": 0.5, "channels": "rgb"}, "channels='rgb'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_settings_are_named_in_one_sentence(settings, named):
    with pytest.raises(ValueError, match=r"\w") as error:
        vim_jax.VisualMixer(**settings)
    assert named in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"level": 0.0},
        {"level": 1.0, "max_region": 1},
        {"target_vfe": 100.0, "clip": True},
        {"region_size": 1},
        {"region_size": "entire", "scramble_regions": True},
        {"region_size": 10_000, "channels": "mixed"},
    ],
)
def test_right_settings_are_accepted(settings):
    vim_jax.VisualMixer(**settings)


def test_a_mixer_cannot_be_changed():
    mixer = vim_jax.VisualMixer(region_size=4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        mixer.region_size = 5  # pyright: ignore


def test_mixers_of_equal_settings_are_equal():
    one, other = vim_jax.VisualMixer(level=0.5), vim_jax.VisualMixer(level=0.5)
    assert one == other
    assert hash(one) == hash(other)


def test_replaced_settings_are_validated_too():
    with pytest.raises(ValueError, match="level"):
        dataclasses.replace(vim_jax.VisualMixer(level=0.5), level=2.0)
