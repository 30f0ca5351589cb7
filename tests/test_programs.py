"""Compiled programs: what devices tell each other, how many there are, their memory."""

import functools
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from plan_cases import adaptive_sizes
from shuffle_cases import COLLECTIVES, MODES, as_plan, numbered

import vim_jax
from vim_jax.regions import Bounds

SHAPE = (12, 16, 3)
SECRET = vim_jax.SecretKey(bytes(range(100, 132)))
ADAPTIVE = adaptive_sizes(SHAPE, seed=3)


def batch() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, *SHAPE), np.uint8)


def photographs() -> np.ndarray:
    image = np.asarray(skimage.data.astronaut())
    return np.stack([image[60 * i : 60 * i + 20, 100:122] for i in range(3)])


def keys() -> jax.Array:
    return jax.random.key_data(jax.random.split(jax.random.key(0), 16))


def shuffled(size) -> Callable:
    return jax.vmap(lambda key, image: vim_jax.shuffle(key, image, as_plan(size)))


def mixed(**settings) -> Callable:
    mixer = vim_jax.VisualMixer(**settings)
    return lambda keys, images: mixer(keys[0], images)[0]


RUNS = {
    "shuffle by 4": shuffled(4),
    "shuffle adaptively": shuffled(ADAPTIVE),
    "mix by 4": mixed(region_size=4),
    "mix to a level": mixed(level=0.5, clip=True),
}


# --- Devices keep to themselves -------------------------------------------------------
def mesh(axis_type: AxisType) -> jax.sharding.Mesh:
    return jax.make_mesh((8,), ("batch",), axis_types=(axis_type,))


def assert_no_collectives(run, *arguments) -> None:
    text = run.lower(*arguments).compile().as_text()
    assert "uint8" in text or "u8[" in text
    assert not COLLECTIVES.findall(text)


@pytest.mark.parametrize("name", RUNS)
def test_a_sharded_batch_needs_no_collectives(name):
    devices = mesh(AxisType.Auto)
    images = NamedSharding(devices, P("batch"))
    # The mixer folds one key, which all devices have.
    one_key = NamedSharding(devices, P())
    arguments = (
        jax.device_put(keys(), images if name.startswith("shuffle") else one_key),
        jax.device_put(batch(), images),
    )
    run = jax.jit(RUNS[name], out_shardings=images)
    assert_no_collectives(run, *arguments)
    out = run(*arguments)
    assert len(out.sharding.device_set) == 8
    np.testing.assert_array_equal(out, jax.jit(RUNS[name])(keys(), batch()))


@pytest.mark.parametrize("name", RUNS)
def test_shard_map_needs_no_collectives(name):
    devices = mesh(AxisType.Auto)
    split = NamedSharding(devices, P("batch"))
    arguments = jax.device_put((keys(), batch()), split)
    run = jax.jit(
        jax.shard_map(
            RUNS[name], mesh=devices, in_specs=P("batch"), out_specs=P("batch")
        )
    )
    assert_no_collectives(run, *arguments)
    alone = jax.jit(RUNS[name])
    parts = zip(np.split(np.asarray(keys()), 8), np.split(batch(), 8), strict=True)
    expected = [np.asarray(alone(*part)) for part in parts]
    np.testing.assert_array_equal(run(*arguments), np.concatenate(expected))


# --- One program for all adaptive plans of a shape ------------------------------------
@pytest.mark.parametrize("channels", MODES)
def test_plans_and_keys_of_one_shape_share_a_program(channels):
    image = numbered(SHAPE)
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(key, x, plan):
        return vim_jax.shuffle(key, x, plan, channels=channels)

    outputs = set()
    for seed in range(4):
        plan = as_plan(adaptive_sizes(SHAPE, seed=seed))
        outputs.add(np.asarray(run(jax.random.key(seed), image, plan)).tobytes())
    assert len(outputs) == 4


def test_planned_images_share_a_program_whatever_their_level():
    image = skimage.data.astronaut()[100:124, 200:232]
    plans = [vim_jax.plan_regions(image, level=0.5)]
    with jax.no_tracing():
        plans += [vim_jax.plan_regions(image, level=x) for x in (0.2, 0.4, 0.7)]
    outputs = [vim_jax.shuffle(jax.random.key(0), image, plans[0])]
    with jax.no_tracing():
        for i, plan in enumerate(plans[1:]):
            outputs.append(vim_jax.shuffle(jax.random.key(i), image, plan))
    assert len({np.asarray(x).tobytes() for x in outputs}) == 4


def test_batches_share_a_program_whatever_their_key():
    images = photographs()
    mixer = vim_jax.VisualMixer(region_size=6)
    for first, others in (
        (jax.random.key(0), [jax.random.key(seed) for seed in range(1, 4)]),
        (SECRET, [vim_jax.SecretKey.generate() for _ in range(3)]),
    ):
        mixed, plans = mixer(first, images)
        mixer.restore(first, mixed, plans)
        with jax.no_tracing():
            for key in others:
                mixed, plans = mixer(key, images)
                mixer.restore(key, mixed, plans)


def test_batches_share_a_program_whatever_their_level():
    images = photographs()

    def mixer(**goal):
        return vim_jax.VisualMixer(**goal, clip=True)

    for one, others in (
        (mixer(level=0.5), [mixer(level=x) for x in (0.0, 0.3, 1.0)]),
        (mixer(target_vfe=25.0), [mixer(target_vfe=x) for x in (0.5, 40.0)]),
    ):
        mixed, plans = one(SECRET, images)
        one.restore(SECRET, mixed, plans)
        with jax.no_tracing():
            for other in others:
                mixed, plans = other(SECRET, images)
                restored = other.restore(SECRET, mixed, plans)
                np.testing.assert_array_equal(restored, images)


# --- Memory ---------------------------------------------------------------------------
@functools.cache
def temporary_memory(size) -> float:
    """Returns temporary bytes per byte of 16 images of 224 x 224 x 3."""
    images = jax.ShapeDtypeStruct((16, 224, 224, 3), jnp.uint8)
    many_keys = jax.ShapeDtypeStruct((16, 2), jnp.uint32)

    def mix(key, image):
        plan = size
        if size == "planned":  # As `plan_regions` bounds them, up to 32 pixels.
            bounds = Bounds(height=32, width=32, smallest=1, squares=True)
            plan = vim_jax.RegionPlan(image[..., 0].astype(jnp.int32), bounds=bounds)
        elif size == "any":
            plan = vim_jax.RegionPlan(image[..., 0].astype(jnp.int32))
        return vim_jax.shuffle(key, image, plan)

    compiled = jax.jit(jax.vmap(mix)).lower(many_keys, images).compile()
    memory = compiled.memory_analysis()
    assert memory is not None
    return memory.temp_size_in_bytes / (16 * 224 * 224 * 3)


def test_planning_needs_little_memory():
    images = jax.ShapeDtypeStruct((4, 224, 224, 3), jnp.uint8)

    @jax.jit
    @jax.vmap
    def plans(image):
        return vim_jax.plan_regions(image, level=0.5, clip=True)

    memory = plans.lower(images).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes <= 8 * images.size


@pytest.mark.parametrize("size", [4, 16, "planned", "any"])
def test_temporary_memory_is_at_most_8_times_the_batch(size):
    assert temporary_memory(size) <= 8
