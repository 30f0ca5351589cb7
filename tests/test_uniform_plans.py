"""Plans of one region size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from plan_cases import patches, plan_regions

import vim_jax
from vim_jax.regions import regions_of


@pytest.mark.parametrize("size", [1, 2, 7, 9])
def test_uniform_plans_have_one_size(size):
    plan = vim_jax.uniform_plan((10, 12, 3), size)
    assert plan.size.shape == (10, 12)
    assert plan.size.dtype == jnp.int32
    assert (np.asarray(plan.size) == size).all()


@pytest.mark.parametrize("size", [12, 500, "entire"])
@pytest.mark.parametrize("shape", [(10, 12), (12, 10, 3), (1, 12)])
def test_sizes_beyond_the_image_make_one_region(shape, size):
    sizes = np.asarray(vim_jax.uniform_plan(shape, size).size)
    assert len(reference.regions(sizes)) == 1


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "all"])
@pytest.mark.usefixtures("unchecked")
def test_uniform_plans_refuse_what_is_no_size(size):
    with pytest.raises(ValueError, match="region_size"):
        vim_jax.uniform_plan((4, 4), size)


def test_a_plan_is_a_pytree():
    plan = plan_regions(patches(1)[0], level=0.5)
    doubled = jax.jit(lambda p: jax.tree.map(lambda leaf: leaf, p))(plan)
    assert isinstance(doubled, vim_jax.RegionPlan)
    np.testing.assert_array_equal(doubled.size, plan.size)


@pytest.mark.parametrize("length", [1, 2, 999, 2**16 + 1, 2**20, 2**20 + 7])
def test_regions_start_at_multiples_of_their_size(length):
    random, x = np.random.default_rng(length), np.arange(length)
    # Most pixels are among the first of their region, or the last of it.
    size = (x + random.integers(0, 2, length)) // random.integers(1, 50, length)
    size = np.maximum(size, 1).astype(np.int32)[None]
    regions = jax.jit(regions_of)(size)
    np.testing.assert_array_equal(regions.left[0], x // size[0] * size[0])
    np.testing.assert_array_equal(regions.top, 0 * size)
