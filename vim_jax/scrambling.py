"""Regions that trade places with others of their size, as keystream words say."""

import jax
import jax.numpy as jnp

from vim_jax.regions import Regions


def exchange_regions(words: jax.Array, regions: Regions) -> jax.Array:
    """Returns the pixel that each pixel comes from when regions trade places.

    Regions of equal height and width are put into the order of their words.

    Args:
      words: uint32 `h*w`, of which the one at its first pixel is a region's.
      regions: the plan's regions.

    Returns:
      int32 `h*w`.
    """
    h, w = regions.top.shape
    pixel = jnp.arange(h * w, dtype=jnp.int32)
    origin = regions.origin.reshape(-1)
    shape_class = (regions.height * (w + 1) + regions.width).reshape(-1)
    # Pixels other than first ones form a class of their own, and are never asked for.
    shape_class = jnp.where(origin == pixel, shape_class, 0).astype(jnp.uint32)
    receivers = _in_order(shape_class, groups=(h + 1) * (w + 1))
    senders = _in_order(shape_class, words, groups=(h + 1) * (w + 1))
    # Both lists run through the classes in the same order: pair them off.
    sender = jnp.zeros_like(senders).at[receivers].set(senders)
    return sender[origin] + pixel - origin


def _in_order(
    group: jax.Array, word: jax.Array | None = None, *, groups: int
) -> jax.Array:
    """Returns the cells sorted by (group, word, cell), as int32 `n`.

    XLA sorts a single integer operand several times faster than a key with payload
    [measured on CPU], so everything is packed into 64-bit integers.

    Args:
      group: uint32 `n`, below `groups`.
      word: uint32 `n`; None sorts by (group, cell).
      groups: bound of the group numbers.
    """
    n = group.shape[0]
    cell_bits = max(1, (n - 1).bit_length())
    with jax.enable_x64(True):
        cell = jnp.arange(n, dtype=jnp.uint64)
        group = group.astype(jnp.uint64)
        if word is None:
            packed = jax.lax.sort((group << 32) | cell, is_stable=False)
        elif (groups - 1).bit_length() + 32 + cell_bits <= 64:
            word = word.astype(jnp.uint64)
            packed = (group << (32 + cell_bits)) | (word << cell_bits) | cell
            packed = jax.lax.sort(packed, is_stable=False)
            packed &= (1 << cell_bits) - 1
        else:
            word = word.astype(jnp.uint64)
            by_word = jax.lax.sort((word << 32) | cell, is_stable=False)
            by_word &= 0xFFFFFFFF
            packed = (group[by_word.astype(jnp.uint32)] << 32) | cell
            packed = jax.lax.sort(packed, is_stable=False)
            packed = by_word[(packed & 0xFFFFFFFF).astype(jnp.uint32)]
        return packed.astype(jnp.uint32).astype(jnp.int32)
