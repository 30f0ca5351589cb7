"""From a key to the keystream that an image is shuffled by."""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax._types import AnyArray
from vim_jax.chacha import chacha20
from vim_jax.keys import ImageKey, SecretKey

Key: TypeAlias = AnyArray | ImageKey
"""A JAX PRNG key (typed or old-style), or the image key of a `SecretKey`."""

_KEY_WORDS = 8


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


def keystream(
    material: jax.Array | ImageKey, length: int, image_key_words: int
) -> jax.Array:
    """Returns the words of an image's keystream, as `docs/permutation.md` defines it.

    Args:
      material: what `key_material` returned.
      length: how many words are needed.
      image_key_words: how many words an image key for an image of this shape has.

    Returns:
      uint32, `length` words or more.

    Raises:
      ValueError: if an image key has another number of words.
    """
    if isinstance(material, ImageKey):
        if material.words.shape[0] != image_key_words:
            raise ValueError(
                f"key is an image key with {material.words.shape[0]} words, an image "
                f"of this shape takes {image_key_words}: derive it for this image."
            )
        return jnp.asarray(material.words)
    # The number of key words keeps apart keys that only differ by trailing zeros.
    words = material.shape[0]
    nonce = jnp.array([0x314D4956, words, 0], jnp.uint32)  # "VIM1"
    return chacha20(jnp.pad(material, (0, _KEY_WORDS - words)), nonce, length)
