"""Plans are the same eager, jitted, in batches and on several devices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from plan_cases import PHOTOGRAPHS, checkerboard, patches, photograph, plan_regions
from shuffle_cases import COLLECTIVES

import vim_jax


def plan_third(image) -> Any:
    return plan_regions(image, level=0.3)


@functools.cache
def eager_plans() -> tuple[np.ndarray, np.ndarray]:
    plans = [plan_third(image) for image in patches(64)]
    sizes = np.stack([np.asarray(plan.size) for plan in plans])
    return sizes, np.stack([np.asarray(plan.expected_vfe) for plan in plans])


def assert_as_eager(plans: vim_jax.RegionPlan, count: int = 64) -> None:
    sizes, expected = eager_plans()
    np.testing.assert_array_equal(plans.size, sizes[:count])
    np.testing.assert_array_equal(plans.expected_vfe, expected[:count])


def test_plans_differ_between_images():
    sizes, _ = eager_plans()
    assert len({size.tobytes() for size in sizes}) > 30


def test_jitted_plans_are_the_eager_ones():
    jitted = jax.jit(plan_third)
    plans = [jitted(image) for image in patches(64)]
    assert_as_eager(jax.tree.map(lambda *parts: jnp.stack(parts), *plans))


@pytest.mark.parametrize("count", [1, 64])
def test_plans_of_a_batch_are_the_eager_ones(count):
    assert_as_eager(jax.vmap(plan_third)(patches(64)[:count]), count)


def batch_over_devices() -> NamedSharding:
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    return NamedSharding(mesh, P("batch"))


def test_plans_sharded_over_devices_are_the_eager_ones():
    sharding = batch_over_devices()
    batch = jax.device_put(patches(64), sharding)
    run = jax.jit(jax.vmap(plan_third), out_shardings=sharding).lower(batch).compile()
    assert not COLLECTIVES.findall(run.as_text() or "")
    plans = run(batch)
    assert len(plans.size.sharding.device_set) == 8
    assert_as_eager(plans)


def test_plans_in_shard_map_are_the_eager_ones():
    sharding = batch_over_devices()
    plan = jax.shard_map(
        jax.vmap(plan_third),
        mesh=sharding.mesh,
        in_specs=P("batch"),
        out_specs=P("batch"),
    )
    run = jax.jit(plan).lower(patches(64)).compile()
    assert not COLLECTIVES.findall(run.as_text() or "")
    assert_as_eager(run(patches(64)))


def test_large_plans_of_a_batch_are_the_eager_ones():
    images = [photograph(name) for name in PHOTOGRAPHS[:2]]
    eager = np.stack([np.asarray(plan_third(image).size) for image in images])
    np.testing.assert_array_equal(jax.vmap(plan_third)(np.stack(images)).size, eager)


def test_uint8_and_float_forms_get_the_same_plan():
    for image in patches(8):
        as_float = image.astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(plan_third(as_float).size, plan_third(image).size)


def test_grey_and_one_channel_forms_get_the_same_plan():
    image = patches(1)[0][..., 0]
    np.testing.assert_array_equal(
        plan_third(image[..., None]).size, plan_third(image).size
    )


# --- Inside jit -----------------------------------------------------------------------


def test_inside_jit_reached_tells_and_nothing_raises():
    @jax.jit
    def plan(image):
        return plan_regions(image, target_vfe=1e4)

    assert not bool(plan(patches(1)[0]).reached)


def test_inside_vmap_each_image_has_its_own_reached():
    batch = patches(64)
    batch[5] = checkerboard(40, 44)[..., None]
    reached = np.asarray(jax.vmap(plan_third)(batch).reached)
    assert reached.tolist() == [i != 5 for i in range(64)]
