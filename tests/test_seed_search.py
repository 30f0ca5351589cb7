"""Seed search: seeds of few bits are found, secret keys are not."""

import dataclasses

import jax
import numpy as np
import pytest
from folders import photograph

import vim_jax
from vim_jax.attacks import seed_patch
from vim_jax.attacks.protocol import Knowledge, Truth
from vim_jax.attacks.seed_search import Config, extrapolate, restore, run, search
from vim_jax.mixer import VisualMixer

SHAPE = (16, 16, 3)


def originals(count=3, shape=SHAPE):
    h, w, _ = shape
    images = [np.asarray(photograph(seed=i, sides=(w, h))) for i in range(count)]
    return [image.astype(np.uint8) for image in images]


def published(key, images, mixer):
    mixed, plans = mixer(key, np.stack(images))
    return list(np.asarray(mixed)), list(np.asarray(plans.size))


def found(mixer, *, seed, config, images=None):
    images = originals() if images is None else images
    mixed, plans = published(jax.random.key(seed), images, mixer)
    result = search(mixed, plans, mixer, config)
    restored = restore(result.seed, mixed, plans, mixer)
    return result, all(map(np.array_equal, restored, images))


def attack(key, config, mixer=None, images=None, progress=None):
    mixer = VisualMixer(region_size=4) if mixer is None else mixer
    images = originals() if images is None else images
    mixed, plans = published(key, images, mixer)
    knowledge = Knowledge(plans=plans, mixer=mixer)
    return run(mixed, knowledge, Truth(originals=images), config, progress=progress)


# --- What is found --------------------------------------------------------------------
@pytest.mark.parametrize("seed", [0, 40_503, 2**16 - 1])
def test_a_seed_of_16_bits_is_found(seed):
    result, exact = found(VisualMixer(region_size=4), seed=seed, config=Config())
    assert result.seed == seed
    assert exact
    assert result.stands_out > 6
    assert result.seeds_per_second > 0


@pytest.mark.slow
def test_a_seed_of_20_bits_is_found():
    config = Config(seed_bits=20)
    result, exact = found(VisualMixer(region_size=4), seed=987_654, config=config)
    assert result.seed == 987_654
    assert exact


MIXERS = {
    "level": VisualMixer(level=0.6),
    "mixed": VisualMixer(region_size=4, channels="mixed"),
    "scrambled": VisualMixer(region_size=4, scramble_regions=True),
    "ragged": VisualMixer(region_size=5),
    "entire": VisualMixer(region_size="entire"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MIXERS)
def test_every_way_of_mixing_falls(name):
    config = Config(seed_bits=9, batch=200, finalists=3, patch=8)
    result, exact = found(MIXERS[name], seed=300, config=config)
    assert result.seed == 300
    assert exact


@pytest.mark.parametrize("channels", ["joint", "independent", "mixed"])
def test_a_patch_holds_what_the_whole_image_does(channels):
    mixer = VisualMixer(region_size=4, channels=channels)
    images = originals()
    mixed, plans = published(jax.random.key(5), images, mixer)
    patch, bounds = seed_patch.choose_patch(mixed, plans, mixer, 8)
    assert patch.pixels.shape[:2] == (8, 8)
    k = seed_patch.patch_channels(mixer)
    rough = seed_patch.patch_roughness(
        np.arange(5, 7, dtype=np.uint32), patch, bounds, k
    )
    parts = [
        image[y : y + 8, x : x + 8, channel]
        for image in images
        for y in (0, 8)
        for x in (0, 8)
        for channel in (slice(0, 1), slice(1, 2), slice(2, 3), slice(None))
    ]
    energies = [
        (np.diff(part.astype(float), axis=0) ** 2).sum()
        + (np.diff(part.astype(float), axis=1) ** 2).sum()
        for part in parts
    ]
    assert float(rough[0]) in energies
    assert float(rough[1]) not in energies


@pytest.mark.parametrize("size", [4, 8, 9, 100])
def test_bounds_of_a_part_do_not_change_what_is_shuffled(size):
    # Of an image of 17 x 17 pixels, regions of 9 leave squares of 8 in a corner.
    sizes, image = np.full((8, 8), size, np.int32), np.arange(64, dtype=np.uint8)
    bounds = seed_patch.bounds_of_sizes(sizes)
    assert bounds.squares == (size <= 8)
    known, unknown = (
        vim_jax.shuffle(
            jax.random.key(0),
            image.reshape(8, 8),
            vim_jax.RegionPlan(sizes, bounds=given),
        )
        for given in (bounds, None)
    )
    np.testing.assert_array_equal(known, unknown)


def test_a_flat_first_image_does_not_stop_it():
    images = [np.zeros(SHAPE, np.uint8), *originals(2)]
    config = Config(seed_bits=9)
    result, exact = found(
        VisualMixer(region_size=4), seed=77, config=config, images=images
    )
    assert result.seed == 77
    assert exact


def test_flat_images_give_no_evidence():
    flat = [np.full(SHAPE, 7, np.uint8)] * 2
    result, _ = found(
        VisualMixer(region_size=4), seed=77, config=Config(seed_bits=4), images=flat
    )
    assert result.stands_out == 0


# --- The attack -----------------------------------------------------------------------
def test_an_outcome_under_a_seed_leaks():
    images = originals()
    outcome = attack(jax.random.key(1000), Config(seed_bits=10), images=images)
    (score,) = outcome.scores
    assert (score.score, score.control.score, score.chance) == (1, 1, 0)
    assert score.verdict == "leaks"
    assert outcome.reconstructions is not None
    assert all(map(np.array_equal, outcome.reconstructions, images))


def test_a_seed_beyond_the_range_is_not_found():
    (score,) = attack(jax.random.key(2000), Config(seed_bits=10)).scores
    assert score.score == 0
    assert score.control.passed
    assert score.verdict == "inconclusive"  # Of so few images.
    assert dataclasses.replace(score, high=0.4).verdict == "at chance"


def test_a_secret_key_is_not_found():
    key = vim_jax.SecretKey(bytes(range(32)))
    (score,) = attack(key, Config(seed_bits=10)).scores
    assert score.score == 0
    assert score.control.passed
    assert score.verdict == "inconclusive"  # Of so few images.
    assert dataclasses.replace(score, high=0.4).verdict == "at chance"


def test_under_a_secret_key_no_seed_of_16_bits_stands_out():
    mixer = VisualMixer(region_size=4)
    key = vim_jax.SecretKey(bytes(range(32)))
    mixed, plans = published(key, originals(), mixer)
    assert search(mixed, plans, mixer, Config()).stands_out < 6


def test_only_the_first_images_are_tried():
    config = Config(seed_bits=6, images=2)
    outcome = attack(jax.random.key(3), config)
    assert outcome.reconstructions is not None
    assert len(outcome.reconstructions) == 2


def test_progress_counts_all_seeds():
    calls = []
    config = Config(seed_bits=7, batch=50)
    attack(jax.random.key(3), config, progress=lambda *call: calls.append(call))
    assert calls == [(50, 128), (100, 128), (128, 128)] * 2


def test_arrays_do_as_well_as_lists():
    images, mixer = np.stack(originals()), VisualMixer(region_size=4)
    mixed, plans = published(jax.random.key(5), images, mixer)
    knowledge = Knowledge(plans=np.stack(plans), mixer=mixer)
    config = Config(seed_bits=4)
    outcome = run(np.stack(mixed), knowledge, Truth(originals=images), config)
    assert outcome.scores[0].score == 1


# --- Arithmetic -----------------------------------------------------------------------
def test_extrapolation():
    assert extrapolate(2.0**16, 32) == 2.0**16
    assert extrapolate(1000.0, 0) == 0.001
    years = extrapolate(1e6, 64) / (365.25 * 24 * 3600)
    assert 584_000 < years < 585_000


@pytest.mark.parametrize("speed", [0.0, -1.0, float("nan")])
def test_no_extrapolation_from_no_speed(speed):
    with pytest.raises(ValueError, match="seeds_per_second"):
        extrapolate(speed, 32)


# --- Bad input ------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "value"),
    [("seed_bits", 0), ("seed_bits", 33), ("images", 0), ("batch", 0), ("patch", 0)],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        Config(**{name: value})


def test_plans_and_mixer_are_needed():
    images = originals()
    truth = Truth(originals=images)
    for knowledge in (Knowledge(), Knowledge(mixer=VisualMixer(region_size=4))):
        with pytest.raises(ValueError, match="no plans or no mixer"):
            run(images, knowledge, truth, Config())


def test_images_must_have_one_shape(unchecked):
    images = [*originals(1), *originals(1, (16, 20, 3))]
    plans = [np.full(image.shape[:2], 4, np.int32) for image in images]
    knowledge = Knowledge(plans=plans, mixer=VisualMixer(region_size=4))
    with pytest.raises(ValueError, match="2 shapes"):
        run(images, knowledge, Truth(originals=images), Config())


def test_there_must_be_images_and_as_many_plans():
    mixer, truth = VisualMixer(region_size=4), Truth(originals=originals())
    with pytest.raises(ValueError, match="no image"):
        run([], Knowledge(plans=[], mixer=mixer), Truth(originals=[]), Config())
    with pytest.raises(ValueError, match="0 plans"):
        run(originals(), Knowledge(plans=[], mixer=mixer), truth, Config())
