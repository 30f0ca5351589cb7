"""Region placing: scrambled regions come back where the values tell, and only there."""

import dataclasses

import jax
import numpy as np
import pytest
from audited import digits

from experiments import privacy_page, scrambled_regions
from vim_jax import VisualMixer
from vim_jax.attacks import audit, region_placing
from vim_jax.attacks.mixing import mixed_by
from vim_jax.attacks.protocol import Knowledge, Truth

MIXER = VisualMixer(region_size=4, scramble_regions=True)
CONFIG = region_placing.Config(width=64, epochs=60, batch_size=30, learning_rate=5e-3)


def ramps(count, seed):
    """Images of 16 pixels, brighter downwards and redder to the right."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    light = 60 + 8 * y + rng.integers(-20, 20, (count, 1, 1))
    images = np.stack([light + 4 * x, light, light - 2 * x], axis=-1)
    images = images + rng.integers(-6, 7, images.shape)
    return images.clip(0, 255).astype(np.uint8)


def noise(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)


def placed(images):
    originals, auxiliary = images(30, 0), images(300, 1)
    mixed, plans = mixed_by(MIXER, originals, 5)
    knowledge = Knowledge(plans=plans, mixer=MIXER, auxiliary=auxiliary)
    with jax.numpy_dtype_promotion("standard"):  # Optax needs it.
        return region_placing.run(mixed, knowledge, Truth(originals=originals), CONFIG)


def test_regions_whose_values_tell_their_place_come_back():
    similarity, decibels = placed(ramps).scores
    assert decibels.verdict == "leaks"
    assert decibels.low > decibels.chance + 3
    assert similarity.control_passed
    # As near as if they had never left, and nearer than the mean of other ramps.
    assert similarity.score > similarity.control.score - 0.01
    assert similarity.knowledge == ("plan", "algorithm", "auxiliary images")


def test_regions_of_noise_do_not():
    for score in placed(noise).scores:
        assert score.low <= score.chance + 0.01


def test_the_order_of_regions_and_of_pixels_does_not_count():
    images = ramps(3, 0)
    size = np.full((16, 16), 4, np.int32)
    seen = region_placing._features(images, size, False)
    moved, _ = mixed_by(MIXER, images, 7)
    again = region_placing._features(np.stack(moved), size, False)
    assert (seen != again).any()
    for one, other in zip(seen, again, strict=True):
        rows = [sorted(map(tuple, x.round(5).tolist())) for x in (one, other)]
        assert rows[0] == rows[1]


def test_shares_add_up_for_regions_and_places():
    odds = np.random.default_rng(0).normal(0, 2, (4, 9, 9)).astype(np.float32)
    shares = np.exp(region_placing._balanced(odds, 30))
    np.testing.assert_allclose(shares.sum(2), 1, atol=1e-5)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-2)
    sure = np.where(np.eye(9)[None] > 0, 50.0, 0.0).astype(np.float32)
    shares = np.exp(region_placing._balanced(sure, 30))
    np.testing.assert_allclose(shares[0], np.eye(9), atol=1e-5)


def test_regions_at_the_edges_stay():
    image = noise(1, 0)[:, :14]
    size = np.full((14, 16), 4, np.int32)
    odds = np.zeros((1, 12, 12), np.float32)
    (found,) = region_placing._placed(image, size, odds, 5)
    np.testing.assert_array_equal(found[12:], image[0, 12:])
    mean = image[0, :12].astype(float).mean((0, 1))
    assert np.abs(found[:12] - mean).max() <= 1


def test_what_it_cannot_learn_from_is_refused():
    images = list(ramps(2, 0))
    plans = [np.full((16, 16), s, np.int32) for s in (4, 8)]
    knowledge = Knowledge(plans=plans, mixer=MIXER, auxiliary=np.stack(images))
    for given, words in (
        (dataclasses.replace(knowledge, auxiliary=None), "lacks plans, mixer or aux"),
        (knowledge, "plans differ"),
    ):
        with pytest.raises(ValueError, match=words):
            region_placing.run(images, given, Truth(originals=images), CONFIG)


def test_audits_try_it_on_scrambled_regions_only():
    case = digits()
    assert "region_placing" not in {x.name for x in audit.attacks_on(case, "full")[0]}
    mixer = VisualMixer(region_size=2, scramble_regions=True)
    case = dataclasses.replace(case, mixer=mixer)
    attacks, skipped = audit.attacks_on(case, "full")
    assert "region_placing" in {x.name for x in attacks}
    assert "region_placing" not in skipped


@pytest.mark.slow
def test_the_experiment_smokes_and_goes_on(tmp_path):
    path = tmp_path / "results.json"
    with jax.numpy_dtype_promotion("standard"):
        (row,) = scrambled_regions.run("smoke", None, path)
    assert scrambled_regions.run("smoke", None, path) == [row]
    page = privacy_page.placing_table({"rows": [row]})
    assert page.startswith("20 test images, regions scrambled; the attacker has 40")
    assert len(page.splitlines()) == 6
