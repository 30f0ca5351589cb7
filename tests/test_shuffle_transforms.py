"""`shuffle` under jit, vmap, grad and on several devices."""

import functools

import chex
import jax
import jax.numpy as jnp
import keystreams
import numpy as np
import pytest
import reference
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from shuffle_cases import (
    ADAPTIVE,
    COLLECTIVES,
    MODES,
    SECRET,
    as_plan,
    key_data,
    numbered,
)

import vim_jax


# --- The same bytes everywhere --------------------------------------------------------
def mix(key, image) -> jax.Array:
    return vim_jax.shuffle(
        key, image, as_plan(ADAPTIVE), channels="independent", scramble_regions=True
    )


def batch_of_keys(count: int = 64) -> jax.Array:
    return jax.random.key_data(jax.random.split(jax.random.key(5), count))


@functools.cache
def batch_of_images(count: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 11, 13, 3), np.uint8)


@functools.cache
def eager_batch() -> np.ndarray:
    pairs = zip(batch_of_keys(), batch_of_images(), strict=True)
    return np.stack([np.asarray(mix(key, image)) for key, image in pairs])


def mesh(**arguments) -> jax.sharding.Mesh:
    return jax.make_mesh((8,), ("batch",), **arguments)


def test_jitted_bytes_are_the_eager_ones():
    jitted = jax.jit(mix)
    for i in (0, 7):
        mixed = jitted(batch_of_keys()[i], batch_of_images()[i])
        np.testing.assert_array_equal(mixed, eager_batch()[i])


@pytest.mark.parametrize("count", [1, 64])
def test_bytes_of_a_batch_are_the_eager_ones(count):
    mixed = jax.vmap(mix)(batch_of_keys()[:count], batch_of_images()[:count])
    np.testing.assert_array_equal(mixed, eager_batch()[:count])


def test_bytes_of_a_jitted_batch_of_typed_keys_are_the_eager_ones():
    keys = jax.random.wrap_key_data(batch_of_keys())
    mixed = jax.jit(jax.vmap(mix))(keys, batch_of_images())
    np.testing.assert_array_equal(mixed, eager_batch())


def test_bytes_of_a_mapped_batch_are_the_eager_ones():
    pairs = (batch_of_keys(8), batch_of_images()[:8])
    mixed = jax.lax.map(lambda pair: mix(*pair), pairs)
    np.testing.assert_array_equal(
        mixed, [mix(key, image) for key, image in zip(*pairs, strict=True)]
    )


def test_sharded_bytes_are_the_eager_ones_and_need_no_collectives():
    sharding = NamedSharding(mesh(axis_types=(AxisType.Auto,)), P("batch"))
    arguments = jax.device_put((batch_of_keys(), batch_of_images()), sharding)
    sharded = jax.jit(jax.vmap(mix), out_shardings=sharding)
    compiled = sharded.lower(*arguments).compile()
    program = compiled.as_text() or ""
    assert not COLLECTIVES.findall(program)
    mixed = sharded(*arguments)
    assert len(mixed.sharding.device_set) == 8
    np.testing.assert_array_equal(mixed, eager_batch())


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_bytes_in_shard_map_are_the_eager_ones_and_need_no_collectives(axis_type):
    devices = mesh(axis_types=(axis_type,))
    arguments = (batch_of_keys(), batch_of_images())
    arguments = jax.device_put(arguments, NamedSharding(devices, P("batch")))
    mapped = jax.jit(
        jax.shard_map(
            jax.vmap(mix), mesh=devices, in_specs=P("batch"), out_specs=P("batch")
        )
    )
    program = mapped.lower(*arguments).compile().as_text() or ""
    assert not COLLECTIVES.findall(program)
    np.testing.assert_array_equal(mapped(*arguments), eager_batch())


def test_a_program_with_collectives_is_told_apart():
    # The negative control of the two tests above.
    devices = mesh(axis_types=(AxisType.Auto,))
    values = jax.device_put(jnp.arange(8.0), NamedSharding(devices, P("batch")))
    everywhere = NamedSharding(devices, P())
    total = jax.jit(lambda x: x.sum(), out_shardings=everywhere)
    program = total.lower(values).compile().as_text() or ""
    assert COLLECTIVES.findall(program)


def test_image_keys_stack_for_vmap():
    images = batch_of_images()[:3]
    secret = vim_jax.SecretKey(SECRET)
    keys = [secret.for_image(str(i), image) for i, image in enumerate(images)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *keys)
    mixed = jax.jit(jax.vmap(mix))(stacked, images)
    eager = [mix(key, image) for key, image in zip(keys, images, strict=True)]
    np.testing.assert_array_equal(mixed, eager)


# --- Differentiation ------------------------------------------------------------------
@pytest.mark.parametrize("channels", MODES)
def test_gradients_travel_back_along_the_permutation(channels):
    image, weights = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    key = jax.random.key(0)
    words = keystreams.prng_words(key_data(key), reference.words_for(image.shape))

    def loss(x):
        mixed = vim_jax.shuffle(key, x, 3, channels=channels, scramble_regions=True)
        return (weights * mixed).sum()

    back = reference.unshuffle(words, weights, 3, channels, True)
    np.testing.assert_array_equal(jax.grad(loss)(image), back)


@pytest.mark.parametrize("channels", MODES)
def test_derivatives_are_the_matrix_of_the_permutation(channels):
    image = np.random.default_rng(0).random((3, 5, 2), np.float32)
    key = jax.random.key(0)
    words = keystreams.prng_words(key_data(key), reference.words_for(image.shape))

    def mix(x):
        return vim_jax.shuffle(key, x.reshape(image.shape), 4, channels=channels)

    matrix = np.zeros((30, 30), np.float32)
    sources = reference.sources(words, image.shape, 4, channels)
    for cell, source in sources.items():
        pair = np.transpose([cell, source])
        row, column = np.ravel_multi_index(tuple(pair), image.shape)  # pyright: ignore
        matrix[row, column] = 1
    flat = image.reshape(-1)
    for derivative in (jax.jacfwd(mix), jax.jacrev(mix)):
        np.testing.assert_array_equal(derivative(flat).reshape(30, 30), matrix)


def test_gradients_travel_forward_and_through_unshuffle():
    image = np.random.default_rng(0).random((5, 7), np.float32)
    key = jax.random.key(0)

    def there_and_back(x):
        return vim_jax.unshuffle(key, vim_jax.shuffle(key, x, 3), 3)

    tangent = np.ones_like(image) * image
    _, out = jax.jvp(there_and_back, (image,), (tangent,))
    np.testing.assert_array_equal(out, tangent)


# --- Keys are arguments ---------------------------------------------------------------
def test_two_keys_share_one_program():
    image = numbered((11, 13, 3))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(key, x):
        return vim_jax.shuffle(key, x, 2)

    one, other = (run(jax.random.key(seed), image) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_the_program_of_an_eager_shuffle_does_not_hold_the_key():
    image = numbered((11, 13, 3))
    secret = vim_jax.SecretKey(SECRET)
    keys = [jax.random.key(s) for s in range(3)]
    vim_jax.shuffle(keys[0], image, 5)
    with jax.log_compiles(False), jax.no_tracing():
        for key in keys:
            vim_jax.shuffle(key, image, 5)
    image_keys = [secret.for_image(name, image) for name in "abc"]
    vim_jax.shuffle(image_keys[0], image, 5)
    with jax.no_tracing():
        for image_key in image_keys:
            vim_jax.shuffle(image_key, image, 5)


def test_the_jaxpr_holds_no_constant_of_the_key():
    image = numbered((11, 13, 3))
    key = jnp.array([0x12345678, 0x1ABCDEF0], jnp.uint32)
    jaxpr = str(jax.make_jaxpr(lambda k: vim_jax.shuffle(k, image, 2))(key))
    assert str(0x12345678) not in jaxpr
    assert "12345678" not in jaxpr
