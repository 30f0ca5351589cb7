"""Padded images get the plan and the VFE of the images without padding."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import vim_jax
from vim_jax.planning import goal_words, plan_padded

SHAPES = [(1, 1), (1, 9), (2, 3), (7, 5), (8, 8), (17, 33), (28, 28), (40, 70)]
PADDED = [(40, 70), (57, 90)]


def photograph(height: int, width: int, dtype="uint8") -> np.ndarray:
    image = skimage.data.chelsea()[90 : 90 + height, 110 : 110 + width]
    return image if dtype == "uint8" else (image / 255).astype(dtype)


def padded(image: np.ndarray, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """`image` at the upper left of an image of `shape`, with noise around."""
    random = np.random.default_rng(seed)
    around = random.integers(0, 256, (*shape, image.shape[2])).astype(np.uint8)
    if image.dtype != np.uint8:
        around = np.where(around < 9, np.nan, around * 3).astype(image.dtype)
    around[: image.shape[0], : image.shape[1]] = image
    return around


def extent_of(image: np.ndarray) -> np.ndarray:
    return np.array(image.shape[:2], np.int32)


def plan(image, shape, level=None, target_vfe=None, seed=0, **settings) -> Any:
    settings = {"max_region": None, "channels": "independent", **settings}
    return plan_padded(
        padded(image, shape, seed),
        extent_of(image),
        goal_words(level, target_vfe, image.size),
        is_level=level is not None,
        **settings,
    )[0]


def plan_of(image, **settings) -> Any:
    return vim_jax.plan_regions(image, **settings)


def assert_equal_plans(found, image, expected) -> None:
    h, w = image.shape[:2]
    sizes = np.asarray(found.size)
    np.testing.assert_array_equal(sizes[:h, :w], expected.size)
    assert (sizes[h:] == 1).all()
    assert (sizes[:, w:] == 1).all()
    np.testing.assert_array_equal(found.expected_vfe, expected.expected_vfe)
    np.testing.assert_array_equal(found.reached, expected.reached)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_padded_image_gets_its_own_plan(shape, dtype):
    image = photograph(*shape, dtype=dtype)
    for level in (0.1, 0.5, 0.8, 1.0):
        expected = vim_jax.plan_regions(image, level=level, clip=True)
        for padding in PADDED:
            assert_equal_plans(plan(image, padding, level), image, expected)


@pytest.mark.parametrize("settings", [{"channels": "mixed"}, {"max_region": 6}])
@pytest.mark.parametrize("shape", SHAPES[1::2])
def test_a_padded_image_gets_its_own_plan_under_settings(shape, settings):
    image = photograph(*shape)
    expected: Any = vim_jax.plan_regions(image, level=0.6, clip=True, **settings)
    assert_equal_plans(plan(image, PADDED[1], 0.6, **settings), image, expected)


def test_a_padded_image_gets_its_own_plan_for_a_target():
    image = photograph(31, 45)
    target = float(vim_jax.vfe(image)) * 1.5
    expected = vim_jax.plan_regions(image, target_vfe=target)
    assert bool(expected.reached)
    assert_equal_plans(plan(image, PADDED[0], target_vfe=target), image, expected)


def test_what_is_in_the_padding_changes_nothing():
    image = photograph(17, 33)
    first, other = (plan(image, PADDED[0], 0.4, seed=seed) for seed in (1, 2))
    chex.assert_trees_all_equal(first, other)


def test_reach_is_that_of_the_image():
    image = photograph(17, 33)
    _, reach = plan_padded(
        padded(image, PADDED[0]),
        extent_of(image),
        goal_words(0.5, None, image.size),
        is_level=True,
        max_region=None,
        channels="independent",
    )
    own, top, whole = map(float, reach)
    np.testing.assert_allclose(own, vim_jax.vfe(image), rtol=1e-6)
    np.testing.assert_allclose(whole, vim_jax.max_vfe(image), rtol=1e-6)
    assert top == whole


def test_images_of_a_batch_have_extents_of_their_own():
    shapes = [shape for shape in SHAPES for _ in range(3)]
    images = [photograph(*shape) for shape in shapes]
    batch = np.stack([padded(image, (40, 70), i) for i, image in enumerate(images)])
    extents = np.stack([extent_of(image) for image in images])

    @jax.jit
    @jax.vmap
    def plans(image, extent):
        return plan_padded(
            image,
            extent,
            goal_words(0.5, None, 1),
            is_level=True,
            max_region=None,
            channels="independent",
        )[0]

    found = plans(batch, extents)
    for i, image in enumerate(images):
        own = jax.tree.map(lambda x, i=i: x[i], found)
        expected = vim_jax.plan_regions(image, level=0.5, clip=True)
        assert_equal_plans(own, image, expected)


def test_levels_and_extents_share_a_program():
    def plans_once(image, extent, goal):
        return plan_padded(
            image,
            extent,
            goal,
            is_level=True,
            max_region=None,
            channels="independent",
        )[0]

    plans: Any = jax.jit(chex.assert_max_traces(plans_once, n=1))

    for shape in SHAPES[:4]:
        image = photograph(*shape)
        for level in (0.2, 0.7):
            goal = goal_words(level, None, image.size)
            plans(padded(image, (40, 70)), extent_of(image), goal)


def test_a_batch_over_devices_needs_no_communication():
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(AxisType.Auto,))
    sharding = NamedSharding(mesh, P("batch"))
    batch = np.stack([photograph(40, 44)] * 16)

    def plans(batch):
        return jax.vmap(lambda x: plan_of(x, level=0.4, clip=True).size)(batch)

    sharded = jax.jit(plans, in_shardings=sharding, out_shardings=sharding)
    mapped = jax.jit(
        jax.shard_map(plans, mesh=mesh, in_specs=P("batch"), out_specs=P("batch"))
    )
    for function in (sharded, mapped):
        hlo = function.lower(batch).compile().as_text() or ""
        for collective in ("all-", "collective-", "reduce-scatter"):
            assert f" {collective}" not in hlo


def test_planning_needs_little_memory():
    batch = jnp.zeros((4, 224, 224, 3), jnp.uint8)

    @jax.jit
    @jax.vmap
    def plans(image):
        return vim_jax.plan_regions(image, level=0.5, clip=True)

    analysis: Any = plans.lower(batch).compile().memory_analysis()
    assert analysis.temp_size_in_bytes < 9 * batch.nbytes
