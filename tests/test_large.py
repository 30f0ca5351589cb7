"""Large images, planned and measured in tiles."""

import jax.numpy as jnp
import numpy as np
import pytest
from folders import photograph, pixels, save

import vim_jax
from vim_jax import SecretKey, VisualMixer
from vim_jax.data import DataError, folder, large
from vim_jax.data.plans import Plan
from vim_jax.data.publish import publish
from vim_jax.data.restore import restore

KEY = SecretKey(bytes(range(32)))
SIDES = (50, 90)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """What is large is small here."""
    monkeypatch.setattr(large, "LARGE_PIXELS", 4000)
    monkeypatch.setattr(large, "_PLANNED", 32)
    monkeypatch.setattr(large, "_LARGEST", 16)
    monkeypatch.setattr(large, "_MEASURED", 8)


def quadtree_sizes():
    """Sizes of 1, 2, 4 and 8 that fit together."""
    blocks = np.random.default_rng(0).choice([1, 2, 4, 8], (7, 12))
    return np.kron(blocks, np.ones((8, 8), int))[:50, :90].astype(np.int32)


@pytest.mark.parametrize("channels", ["joint", "independent", "mixed"])
def test_bits_of_tiles_are_those_of_the_whole(channels):
    image, sizes = photograph(sides=SIDES), quadtree_sizes()
    bits = large.bits_of_large(image, sizes, channels)
    plan = vim_jax.RegionPlan(jnp.asarray(sizes))
    whole = vim_jax.arrangement_bits(image, plan, channels=channels)
    whole = np.sort(whole)[-len(bits) :]  # Those of single pixels are left out.
    np.testing.assert_allclose(np.sort(bits), whole, rtol=1e-6)


@pytest.mark.parametrize("level", [0.0, 0.6])
def test_plans_meet_the_level_about(level):
    image = photograph(sides=(130, 90))
    plan = large.plan_large(image, VisualMixer(level=level, clip=True))
    regions = vim_jax.RegionPlan(jnp.asarray(plan.size.astype(np.int32)))
    expected = float(vim_jax.expected_vfe(image, regions))  # Checks the sizes, too.
    assert plan.expected_vfe == pytest.approx(expected, rel=0.1)
    assert set(np.unique(plan.size)) <= {1, 2, 4, 8, 16, 32}
    if level == 0:
        assert (plan.size == 1).all()


def test_a_smooth_tile_becomes_one_region():
    blocks = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    image = blocks.repeat(4, 0).repeat(4, 1)
    slope = np.arange(32)[:, None] + np.arange(32)
    image[:32, :32] = slope[..., None] * 3
    mixer = VisualMixer(level=0.5)
    plan = large.plan_large(image, mixer)
    assert plan.reached
    assert (plan.size[:32, :32] == 32).all()
    assert plan.size[32:].max() <= 16
    regions = vim_jax.RegionPlan(jnp.asarray(plan.size.astype(np.int32)))
    expected = float(vim_jax.expected_vfe(image, regions))
    assert plan.expected_vfe == pytest.approx(expected, rel=0.1)
    # Not where larger regions are not wanted, nor for a target that nothing reaches.
    bounded = VisualMixer(level=0.5, max_region=16)
    assert not large.plan_large(image, bounded).reached
    assert not large.plan_large(image, VisualMixer(target_vfe=1e6)).reached


@pytest.mark.parametrize("region_size", [4, 7, 100_000, "entire"])
def test_plans_of_one_region_size(region_size, monkeypatch):
    monkeypatch.setattr(large, "_MEASURED", 32)
    image = photograph(sides=SIDES)
    plan: Plan = large.plan_large(image, VisualMixer(region_size=region_size))
    whole = vim_jax.uniform_plan(image.shape, region_size)
    np.testing.assert_array_equal(plan.size, whole.size)
    expected = float(vim_jax.expected_vfe(image, whole))
    assert plan.expected_vfe == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    "mixer",
    [
        VisualMixer(level=0.5, clip=True),
        VisualMixer(region_size=6, channels="mixed"),
        VisualMixer(level=0.5, scramble_regions=True, clip=True),
    ],
)
def test_published_and_restored_bit_for_bit(tmp_path, mixer):
    image = photograph(sides=SIDES)
    save(tmp_path / "src/a.png", image)
    save(tmp_path / "src/b.png", photograph("I;16", sides=SIDES))
    report = publish(folder(tmp_path / "src"), tmp_path / "dst", mixer, KEY)
    assert report.failures == {}
    for record in report.records:
        assert record["vfe_after"] == pytest.approx(
            record.get("expected_vfe_scrambled", record["expected_vfe"]), rel=0.3
        )
    assert not restore(tmp_path / "dst", tmp_path / "back", KEY).failures
    assert not np.array_equal(pixels(tmp_path / "dst")["a.png"], image)
    np.testing.assert_array_equal(pixels(tmp_path / "back")["a.png"], image)


def test_pixel_limit_is_an_option(tmp_path):
    save(tmp_path / "src/a.png", photograph(sides=SIDES))
    source = folder(tmp_path / "src", max_pixels=4499)
    with pytest.raises(DataError, match="max_pixels=4500 or more"):
        source[0]
