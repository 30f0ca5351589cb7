"""The key of a natural image is searched for among 65,536 seeds, in vain if secret."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

import vim_jax

SEEDS = 2**16
TRUE_SEED = 31_337


def natural_region() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[90:106, 210:226, 1])


@functools.cache
def search_program():
    """Compiled: VFE of an image unshuffled under each seed in turn."""

    @jax.jit
    def search(mixed, keys):
        def roughness(key):
            return vim_jax.vfe(vim_jax.unshuffle(key, mixed, "entire"))

        return jax.lax.map(roughness, keys, batch_size=4096)

    return search


def search(mixed) -> tuple[int, float]:
    """Returns the seed that gives the smoothest image, and how far it stands out."""
    seeds = jnp.arange(SEEDS, dtype=jnp.uint32)
    keys = jnp.stack([jnp.zeros_like(seeds), seeds], 1)  # Data of `jax.random.key`.
    scores = np.asarray(search_program()(mixed, keys))
    return int(scores.argmin()), float((scores.mean() - scores.min()) / scores.std())


@pytest.mark.slow
def test_a_16_bit_seed_is_found_by_trying_all():
    mixed = vim_jax.shuffle(jax.random.key(TRUE_SEED), natural_region(), "entire")
    seed, sigmas = search(mixed)
    assert seed == TRUE_SEED
    assert sigmas > 10


@pytest.mark.slow
def test_the_same_search_finds_nothing_under_a_secret_key():
    region = natural_region()
    key = vim_jax.SecretKey(bytes(range(32))).for_image("a", region)
    mixed = vim_jax.shuffle(key, region, "entire")
    seed, sigmas = search(mixed)
    # What the smoothest of 65,536 random arrangements is expected to reach.
    assert sigmas < 6.5
    restored = vim_jax.unshuffle(jax.random.key(seed), mixed, "entire")
    assert np.mean(np.asarray(restored) == region) < 0.2
