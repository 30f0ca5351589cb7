"""Arrangement entropy against integer factorials and closed forms."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from plan_cases import adaptive_sizes

import vim_jax

MODES = ["joint", "independent", "mixed"]
ADAPTIVE = adaptive_sizes((11, 13), seed=2)


@pytest.mark.parametrize("grey_levels", [2, 10, 256])
@pytest.mark.parametrize("channels", MODES)
@pytest.mark.parametrize("shape", [(11, 13, 3), (11, 13)])
def test_matches_integer_factorials(shape, channels, grey_levels):
    random = np.random.default_rng(0)
    image = random.integers(0, grey_levels, shape).astype(np.uint8)
    for size in (1, 2, 5, "entire", ADAPTIVE):
        plan: Any = size
        if isinstance(size, np.ndarray):
            plan = vim_jax.RegionPlan(jnp.asarray(size))
        bits = vim_jax.arrangement_bits(image, plan, channels=channels)
        slow = reference.arrangement_bits(image, size, channels)
        assert bits.shape == (len(slow),)
        np.testing.assert_allclose(np.sort(bits), np.sort(slow), rtol=1e-9, atol=1e-9)


def test_four_different_pixels_have_log2_of_24_bits():
    image = np.array([[1, 2], [3, 4]], np.uint8)
    bits = vim_jax.arrangement_bits(image, 2)
    np.testing.assert_allclose(bits, [math.log2(24)])


@pytest.mark.parametrize("channels", MODES)
def test_constant_regions_have_no_bits(channels):
    image = np.full((6, 6, 3), 9, np.uint8)
    bits = vim_jax.arrangement_bits(image, 3, channels=channels)
    np.testing.assert_array_equal(bits, np.zeros_like(bits))


def test_mixing_channels_of_one_colour_has_bits():
    image = np.zeros((2, 2, 3), np.uint8) + np.array([1, 2, 3], np.uint8)
    assert float(vim_jax.arrangement_bits(image, 2, channels="joint").sum()) == 0
    mixed = vim_jax.arrangement_bits(image, 2, channels="mixed")
    ways = math.factorial(12) // math.factorial(4) ** 3
    np.testing.assert_allclose(mixed, [math.log2(ways)])


@pytest.mark.parametrize("channels", MODES)
def test_single_pixels_have_no_bits(channels):
    image = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    bits = vim_jax.arrangement_bits(image, 1, channels=channels)
    np.testing.assert_array_equal(bits, np.zeros_like(bits))


@pytest.mark.parametrize("channels", MODES)
def test_there_is_one_value_a_permutation(channels):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    count = 4 * (3 if channels == "independent" else 1)
    assert vim_jax.arrangement_bits(image, 4, channels=channels).shape == (count,)


@pytest.mark.parametrize("channels", MODES)
def test_shuffling_keeps_the_bits(channels):
    image = np.random.default_rng(0).integers(0, 20, (11, 13, 3), np.uint8)
    mixed = vim_jax.shuffle(jax.random.key(0), image, 5, channels=channels)
    np.testing.assert_allclose(
        vim_jax.arrangement_bits(mixed, 5, channels=channels),
        vim_jax.arrangement_bits(image, 5, channels=channels),
    )


def test_regions_of_256_different_values_have_1684_bits():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    bits = vim_jax.arrangement_bits(image, "entire")
    np.testing.assert_allclose(bits, [math.lgamma(257) / math.log(2)], rtol=1e-9)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float16"])
def test_any_dtype_is_counted(dtype):
    image = np.array([[1, 2], [2, 7]], dtype)
    np.testing.assert_allclose(vim_jax.arrangement_bits(image, 2), [math.log2(12)])


def test_equal_regions_have_equal_bits():
    image = np.random.default_rng(0).integers(0, 20, (11, 13), np.uint8)
    plain = vim_jax.arrangement_bits(image, 4)
    plan = vim_jax.uniform_plan(image.shape, 4)
    np.testing.assert_array_equal(vim_jax.arrangement_bits(image, plan), plain)


@pytest.mark.usefixtures("unchecked")
def test_wrong_arguments_are_named():
    image = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="channels='rgb'"):
        vim_jax.arrangement_bits(image, 2, channels="rgb")  # pyright: ignore
    with pytest.raises(ValueError, match="region_size"):
        vim_jax.arrangement_bits(image, 0)
    with pytest.raises(ValueError, match="plan"):
        vim_jax.arrangement_bits(image, vim_jax.uniform_plan((4, 5), 2))
    with pytest.raises(ValueError, match="image"):
        vim_jax.arrangement_bits(np.zeros((2, 4, 4, 3), np.uint8), 2)
