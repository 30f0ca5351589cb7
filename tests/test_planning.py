"""Plans meet their targets on photographs, and say so when they cannot."""

import hypothesis
import jax
import numpy as np
import pytest
import reference
from hypothesis import strategies as st
from PIL import Image
from plan_cases import (
    LEVELS,
    PHOTOGRAPHS,
    checkerboard,
    names_about,
    patches,
    photograph,
    plan_regions,
    target_of,
)

import vim_jax

# --- Targets are met ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("channels", ["independent", "mixed"])
def test_vfe_after_shuffling_is_near_the_target_on_photographs(channels):
    missed = {}
    for name in PHOTOGRAPHS:
        for how in ("crop", "resize"):
            image = photograph(name, how)
            for level in LEVELS:
                plan = plan_regions(image, level=level, channels=channels)
                key = jax.random.key(1)
                mixed = vim_jax.shuffle(key, image, plan, channels=channels)
                measured = float(vim_jax.vfe(mixed))
                error = measured / target_of(image, level, channels) - 1
                if abs(error) > 0.05:
                    missed[name, how, level] = error
    assert not missed


def test_joint_plans_are_those_of_independent_channels():
    image = patches(1)[0]
    joint = plan_regions(image, level=0.4, channels="joint")
    independent = plan_regions(image, level=0.4)
    np.testing.assert_array_equal(joint.size, independent.size)


@pytest.mark.parametrize("level", LEVELS)
def test_target_vfe_is_met(level):
    image = patches(3)[2]
    target = target_of(image, level)
    plan = plan_regions(image, target_vfe=target)
    # Small images have few plans: 10 %, not 5.
    assert float(vim_jax.expected_vfe(image, plan)) == pytest.approx(target, rel=0.1)
    assert bool(plan.reached)


def test_a_level_and_its_target_give_near_plans():
    image = patches(1)[0]
    by_level = plan_regions(image, level=0.3)
    by_target = plan_regions(image, target_vfe=target_of(image, 0.3))
    np.testing.assert_allclose(by_level.expected_vfe, by_target.expected_vfe, rtol=0.01)


def test_target_vfe_is_times_scale():
    image = patches(1)[0]
    target = target_of(image, 0.3)
    plain = plan_regions(image, target_vfe=target)
    scaled = plan_regions(image, target_vfe=4 * target, scale=4.0)
    np.testing.assert_array_equal(plain.size, scaled.size)
    np.testing.assert_allclose(scaled.expected_vfe, plain.expected_vfe * 4, rtol=1e-6)


# --- What a plan says of itself -------------------------------------------------------


@pytest.mark.parametrize("channels", ["independent", "mixed"])
@pytest.mark.parametrize("level", LEVELS)
def test_plans_of_photographs_are_valid_and_know_their_expected_vfe(level, channels):
    image = patches(1)[0]
    plan = plan_regions(image, level=level, channels=channels)
    sizes = np.asarray(plan.size)
    assert reference.is_valid(sizes)
    slow = reference.expected_vfe(image, sizes, channels)
    assert float(plan.expected_vfe) == pytest.approx(slow, rel=1e-5)
    assert bool(plan.reached)


@pytest.mark.parametrize("level", [0.2, 0.9])
def test_large_plans_are_valid_and_know_their_expected_vfe(level):
    image = photograph("astronaut")
    plan = plan_regions(image, level=level)
    sizes = np.asarray(plan.size)
    assert reference.is_valid(sizes)
    slow = reference.expected_vfe(image, sizes)
    assert float(plan.expected_vfe) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("channels", ["independent", "mixed"])
@pytest.mark.parametrize("shape", [(31, 45), (40, 70), (65, 33)])
def test_plans_with_ragged_edges_know_their_expected_vfe(shape, channels):
    image = photograph("chelsea")[: shape[0], : shape[1]]
    for level in (0.05, 0.2, 0.4, 0.5, 0.6, 0.7, 0.9):
        plan = plan_regions(image, level=level, channels=channels)
        assert reference.is_valid(np.asarray(plan.size))
        exact = vim_jax.expected_vfe(image, plan, channels=channels)
        np.testing.assert_allclose(plan.expected_vfe, exact, rtol=1e-5)


SMALL_SHAPES = [(1, 9), (5, 7), (8, 8, 3)]


@hypothesis.given(
    shape=st.sampled_from(SMALL_SHAPES),
    seed=st.integers(0, 2**32 - 1),
    grey_levels=st.sampled_from([1, 2, 3, 256]),
    level=st.floats(0, 1),
)
@hypothesis.settings(max_examples=40)
def test_plans_of_any_image_are_valid_and_know_their_expected_vfe(
    shape, seed, grey_levels, level
):
    random = np.random.default_rng(seed)
    image = random.integers(0, grey_levels, shape).astype(np.uint8)
    plan = plan_regions(image, level=level, clip=True)
    sizes = np.asarray(plan.size)
    assert reference.is_valid(sizes)
    slow = reference.expected_vfe(image, sizes)
    assert float(plan.expected_vfe) == pytest.approx(slow, rel=1e-5, abs=1e-4)


# --- Ends of the range ----------------------------------------------------------------


@pytest.mark.parametrize("channels", ["independent", "mixed"])
def test_level_zero_leaves_the_image_alone(channels):
    image = patches(1)[0]
    plan = plan_regions(image, level=0.0, channels=channels)
    assert (np.asarray(plan.size) == 1).all()
    assert bool(plan.reached)
    np.testing.assert_allclose(plan.expected_vfe, vim_jax.vfe(image), rtol=1e-6)


@pytest.mark.parametrize("channels", ["independent", "mixed"])
def test_level_one_makes_one_region(channels):
    image = patches(1)[0]
    plan = plan_regions(image, level=1.0, channels=channels)
    assert len(reference.regions(np.asarray(plan.size))) == 1
    assert bool(plan.reached)
    whole = vim_jax.max_vfe(image, channels=channels)
    np.testing.assert_allclose(plan.expected_vfe, whole, rtol=1e-6)


def test_the_vfe_of_an_image_is_a_target_within_reach():
    for image in patches(6):
        plan = plan_regions(image, target_vfe=float(vim_jax.vfe(image)))
        assert bool(plan.reached)
        np.testing.assert_allclose(plan.expected_vfe, vim_jax.vfe(image), rtol=1e-3)


def test_max_vfe_is_a_target_within_reach():
    for image in patches(6):
        whole = float(vim_jax.max_vfe(image))
        plan = plan_regions(image, target_vfe=whole)
        assert bool(plan.reached)
        np.testing.assert_allclose(plan.expected_vfe, whole, rtol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(40, 44, 3), (1, 1)])
def test_a_constant_image_is_left_alone(shape, level):
    image = np.full(shape, 90, np.uint8)
    plan = plan_regions(image, level=level)
    assert (np.asarray(plan.size) == 1).all()
    assert float(plan.expected_vfe) == 0


def test_a_constant_float_image_is_left_alone():
    plan = plan_regions(np.full((40, 44, 3), 0.3, np.float32), level=0.5)
    assert (np.asarray(plan.size) == 1).all()


@pytest.mark.parametrize("level", [0.5, 1.0])
def test_level_means_nothing_on_a_checkerboard(level):
    with pytest.raises(vim_jax.TargetError):
        plan_regions(checkerboard(40, 44), level=level)


def test_a_checkerboard_clips_to_the_whole_image():
    plan = plan_regions(checkerboard(40, 44), level=0.5, clip=True)
    assert len(reference.regions(np.asarray(plan.size))) == 1
    assert not bool(plan.reached)


def test_target_error_is_a_value_error():
    assert issubclass(vim_jax.TargetError, ValueError)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_targets_out_of_reach_name_the_reachable_range(factor):
    image = patches(1)[0]
    low, high = float(vim_jax.vfe(image)), float(vim_jax.max_vfe(image))
    target = low * factor if factor < 1 else high * factor
    with pytest.raises(vim_jax.TargetError) as error:
        plan_regions(image, target_vfe=target)
    message = str(error.value)
    assert "target_vfe" in message
    assert names_about(message, target), message
    assert names_about(message, low), message
    assert names_about(message, high), message


def test_a_target_below_the_image_clips_to_the_image():
    image = patches(1)[0]
    target = float(vim_jax.vfe(image)) / 2
    plan = plan_regions(image, target_vfe=target, clip=True)
    assert (np.asarray(plan.size) == 1).all()
    assert not bool(plan.reached)


def test_a_target_above_the_maximum_clips_to_the_maximum():
    image = patches(1)[0]
    whole = float(vim_jax.max_vfe(image))
    plan = plan_regions(image, target_vfe=3 * whole, clip=True)
    assert float(plan.expected_vfe) >= whole * (1 - 1e-6)
    assert not bool(plan.reached)


# --- max_region -----------------------------------------------------------------------


@pytest.mark.parametrize("max_region", [7])
def test_max_region_is_respected(max_region):
    image = patches(1)[0]
    plan = plan_regions(image, level=0.9, max_region=max_region, clip=True)
    assert np.asarray(plan.size).max() <= max_region
    assert reference.is_valid(np.asarray(plan.size))


def test_max_region_out_of_reach_names_the_reachable_range():
    image = patches(1)[0]
    with pytest.raises(vim_jax.TargetError, match="max_region=7") as error:
        plan_regions(image, level=0.99, max_region=7)
    # In the target's own terms: levels, or the VFE that belongs to them.
    low, high = float(vim_jax.vfe(image)), float(vim_jax.max_vfe(image))
    most = float(vim_jax.expected_vfe(image, 4))  # The largest power of two.
    level = (most - low) / (high - low)
    message = str(error.value)
    assert names_about(message, most) or names_about(message, level), message


def test_max_region_beyond_the_image_changes_nothing():
    image = patches(1)[0]
    free = plan_regions(image, level=0.8)
    capped = plan_regions(image, level=0.8, max_region=500)
    np.testing.assert_array_equal(free.size, capped.size)


def test_a_target_that_small_regions_reach_is_met_under_max_region():
    image = patches(1)[0]
    plan = plan_regions(image, level=0.1, max_region=7)
    assert bool(plan.reached)
    target = target_of(image, 0.1)
    assert float(plan.expected_vfe) == pytest.approx(target, rel=0.05)


# --- Where shuffling goes -------------------------------------------------------------


def test_low_levels_spend_on_texture_and_leave_flat_parts_alone():
    random = np.random.default_rng(0)
    image = np.full((40, 44), 120, np.uint8)
    smooth = random.integers(0, 256, (8, 5)).astype(np.uint8)
    image[:, 24:] = np.asarray(Image.fromarray(smooth).resize((20, 40)))
    plan = plan_regions(image, level=0.1)
    sizes = np.asarray(plan.size)
    assert (sizes[:, :23] == 1).all()
    assert (sizes[:, 24:] > 1).any()


def test_higher_levels_shuffle_more():
    image = patches(1)[0]
    expected = [
        float(plan_regions(image, level=level).expected_vfe)
        for level in (0.1, 0.3, 0.6, 0.9)
    ]
    assert expected == sorted(expected)


# --- Wrong arguments ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "level"),
        ({"level": 0.5, "target_vfe": 3.0}, "level"),
        ({"level": -0.1}, "level=-0.1"),
        ({"level": 1.1}, "level=1.1"),
        ({"level": float("nan")}, "level=nan"),
        ({"target_vfe": float("nan")}, "target_vfe=nan"),
        ({"target_vfe": float("inf")}, "target_vfe=inf"),
        ({"target_vfe": -1.0}, "target_vfe=-1.0"),
        ({"level": 0.5, "max_region": 0}, "max_region=0"),
        ({"level": 0.5, "channels": "rgb"}, "channels='rgb'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_named(arguments, named):
    with pytest.raises(ValueError, match=named):
        plan_regions(np.zeros((4, 4), np.uint8), **arguments)


@pytest.mark.parametrize("shape", [(2, 4, 4, 3), (4,)])
@pytest.mark.usefixtures("unchecked")
def test_images_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match="image"):
        plan_regions(np.zeros(shape, np.uint8), level=0.5)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "bool"])
@pytest.mark.usefixtures("unchecked")
def test_images_of_another_dtype_are_refused(dtype):
    with pytest.raises(ValueError, match=dtype):
        plan_regions(np.zeros((4, 4), dtype), level=0.5)
