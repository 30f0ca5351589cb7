"""From a key to the keystream that an image is shuffled by."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax._types import AnyArray
from vim_jax.keys import ImageKey, SecretKey
from vim_jax.threefry import threefry2x32
from vim_jax.words import BYTES

Key: TypeAlias = AnyArray | ImageKey
"""A JAX PRNG key (typed or old-style), or the image key of a `SecretKey`."""

_KEY_WORDS = 8
_PARTS = 16
_DOMAIN = 0x56494D00  # "VIM": keeps apart from what else is drawn from the same key.


def key_material(key: Key | SecretKey) -> jax.Array | ImageKey:
    """Returns an image key, or a PRNG key's data as uint32 `k`.

    Raises:
      TypeError: if `key` is a `SecretKey` or no key at all.
      ValueError: if it is an array other than one PRNG key.
    """
    if isinstance(key, ImageKey):
        return key
    if isinstance(key, SecretKey):
        raise TypeError(
            "key is a SecretKey, which belongs to a set of images: pass "
            "key.for_image(image_id, pixels), or use VisualMixer."
        )
    if not isinstance(key, jax.Array | np.ndarray):
        raise TypeError(
            f"key is of type {type(key).__name__}: pass a PRNG key, as from "
            "jax.random.key(0), or an image key, as from SecretKey.for_image."
        )
    # An old-style key is its own data, of whatever implementation.
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    data = jax.random.key_data(key) if typed else key
    if data.ndim != 1 or data.dtype != jnp.uint32 or data.size > _KEY_WORDS:
        raise ValueError(
            f"key has data of shape {data.shape} and dtype {data.dtype}: pass one PRNG "
            "key, as from jax.random.key(0), and batches of keys through jax.vmap."
        )
    return jnp.asarray(data)


def check_words(material: jax.Array | ImageKey, needed: int) -> None:
    """Raises ValueError if an image key has fewer words than an image needs."""
    if isinstance(material, ImageKey) and material.words.shape[0] < needed:
        raise ValueError(
            f"key is an image key with {material.words.shape[0]} words, this image "
            f"takes {needed}: derive it for this image."
        )


def keystream(
    material: jax.Array | ImageKey, start: int | jax.Array, length: int
) -> jax.Array:
    """Returns a part of an image's keystream, as `docs/permutation.md` defines it.

    Args:
      material: what `key_material` returned.
      start: number of the first word.
      length: how many words; an image key must have them, see `check_words`.

    Returns:
      uint32 `length`.
    """
    if isinstance(material, ImageKey):
        words = jnp.asarray(material.words)
        return jax.lax.dynamic_slice_in_dim(words, start, length)
    count = material.shape[0]
    padded = jnp.pad(material, (0, -count % 2))
    key = (padded[0], padded[1])
    for i in range(2, count, 2):
        key = threefry2x32(key, (padded[i], padded[i + 1]))
    # Added to, so that all words vary over devices as the key does, for `shard_map`.
    zero = key[0] * jnp.uint32(0)
    first = jnp.asarray(start, jnp.uint32) + zero
    number = jnp.arange(length, dtype=jnp.uint32) + first
    # The number of key words keeps apart keys that only differ by trailing zeros.
    return threefry2x32(key, (number, number * 0 + jnp.uint32(_DOMAIN + count)))[0]


def keystream_bytes(
    material: jax.Array | ImageKey,
    start: int | jax.Array,
    length: int,
    *,
    straight: bool,
) -> jax.Array:
    """Returns the bytes of a part of an image's keystream, least significant first.

    Args:
      material: see `keystream`.
      start: see `keystream`.
      length: how many words.
      straight: whether to draw all at once, see `vim_jax.steps`.

    Returns:
      uint8 `4 * length`.
    """
    if straight:
        return _bytes_of(
            jax.lax.optimization_barrier(keystream(material, start, length))
        )
    size = -(-length // _PARTS)

    def first(i):
        return jnp.minimum(i * size, length - size)

    def step(i, state):
        part, found = state
        at = BYTES * first(i)
        found = jax.lax.dynamic_update_slice_in_dim(found, _bytes_of(part), at, 0)
        return keystream(material, start + first(i + 1), size), found

    # What a loop hands on lies in memory: otherwise XLA would make each word anew for
    # each of its bytes. In parts, so that words are not all there beside their bytes.
    part = keystream(material, start, size)
    found = jnp.broadcast_to(part[0].astype(jnp.uint8), BYTES * length)
    return jax.lax.fori_loop(0, _PARTS, step, (part, found))[1]


def _bytes_of(words: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)
