"""What records say, against the metrics of the library."""

import jax.numpy as jnp
import numpy as np
import pytest
from folders import photograph
from plan_cases import adaptive_sizes

import vim_jax
from vim_jax.data import measures
from vim_jax.data.measures import as_grey_levels

SHAPES = [(16, 24, 3), (1, 1, 1), (1, 7, 4), (23, 5, 2), (40, 3000, 3)]


def noise(shape, dtype: type = np.uint8):
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, shape, dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", SHAPES)
def test_vfe(shape, dtype):
    image = noise(shape, dtype)
    expected = float(vim_jax.vfe(as_grey_levels(image)))
    assert measures.vfe(image) == pytest.approx(expected, rel=1e-5)


def test_vfe_of_a_photograph_is_exact():
    image = photograph(sides=(37, 41))
    energy = sum((np.diff(image.astype(int), axis=a) ** 2).sum() for a in (0, 1))
    assert measures.vfe(image) == int(energy) / image.size


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", ["joint", "independent", "mixed"])
@pytest.mark.parametrize("size", [1, 3, 4, 100, "adaptive"])
def test_expected_vfe(size, channels, scramble):
    image = photograph(sides=(17, 23))
    sizes = np.full((17, 23), min(size, 23) if isinstance(size, int) else 1, np.int32)
    if size == "adaptive":
        sizes = adaptive_sizes((17, 23), seed=1)
    plan = vim_jax.RegionPlan(jnp.asarray(sizes))
    options = {"channels": channels, "scramble_regions": scramble}
    expected = float(vim_jax.expected_vfe(image, plan, **options))
    found = measures.expected_vfe(image, sizes, **options)
    assert found == pytest.approx(expected, rel=1e-4)


def test_expected_vfe_of_16_bits():
    image, sizes = noise((12, 13, 1), np.uint16), np.full((12, 13), 5, np.int32)
    expected = float(vim_jax.expected_vfe(as_grey_levels(image), 5))
    found = measures.expected_vfe(image, sizes, channels="independent")
    assert found == pytest.approx(expected, rel=1e-5)
