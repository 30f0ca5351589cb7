"""Exchanges one after the other, as on GPUs, give the bytes that loops of them give."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from plan_cases import adaptive_sizes
from shuffle_cases import MODES

import vim_jax
from vim_jax.keystream import key_material
from vim_jax.regions import Bounds, RegionPlan, as_plan, bounds_of
from vim_jax.shuffling import exchange_planes


def adaptive(shape, steps):
    size = jnp.asarray(adaptive_sizes(shape, steps, 3))
    bounds = Bounds(steps[0], steps[0], smallest=1, squares=True)
    return RegionPlan(size, bounds=bounds)


PLANS = {
    "squares of 4": as_plan((16, 16, 3), 4),
    "squares of many sizes": adaptive((32, 32, 3), (16, 8, 4, 2, 1)),
    "rectangles": as_plan((14, 15, 3), 7),
    "lines above 256 cells": as_plan((4, 520, 3), 520),
}


@pytest.mark.parametrize(
    ("platform", "straight"),
    [("cpu", False), ("tpu", False), ("cuda", True), ("rocm", True)],
)
def test_gpus_take_straight_steps_and_others_loops(platform, straight):
    image = jnp.zeros((8, 8, 3), jnp.uint8)
    shuffle = jax.jit(lambda key, image: vim_jax.shuffle(key, image, 4))
    traced = shuffle.trace(jax.random.key(0), image)
    program = traced.lower(lowering_platforms=(platform,)).as_text()
    assert ("stablehlo.while" not in program) == straight
    assert ("optimization_barrier" in program) == straight


def test_one_program_for_all_platforms_shuffles_the_same():
    image = jnp.arange(192, dtype=jnp.uint8).reshape(8, 8, 3)
    key = jax.random.key_data(jax.random.key(0))
    shuffle = jax.jit(lambda key, image: vim_jax.shuffle(key, image, 4))
    exported = export.export(shuffle, platforms=["cpu", "cuda"])(key, image)
    np.testing.assert_array_equal(exported.call(key, image), shuffle(key, image))


@pytest.mark.parametrize(
    ("channels", "inverse"), [*((mode, False) for mode in MODES), ("mixed", True)]
)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_straight_exchanges_are_those_of_loops(plan, channels, inverse):
    h, w = plan.size.shape
    random = np.random.default_rng(0)
    planes = random.integers(0, 256, (3, 2, h, w), np.uint8)
    exchanged = functools.partial(
        exchange_planes,
        key_material(jax.random.key(3)),
        plan.size,
        bounds_of(plan),
        channels,
        jnp.asarray(planes),
        inverse=inverse,
    )
    looped = jax.jit(functools.partial(exchanged, straight=False))()
    # Step by step: CPUs take long to compile what is made for GPUs.
    straight = exchanged(straight=True)
    assert (np.asarray(looped) != planes).any()
    np.testing.assert_array_equal(straight, looped)
