"""Keyed permutations: how keystream words move the cells of an image.

This is version 1 of the specification in `docs/permutation.md`. Cells of a region
are put into the order of their words, so that every arrangement of a region is as
likely as any other, whatever its shape, and costs 32 fresh keystream bits a cell.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Int32, UInt32

from vim_jax._types import Channels
from vim_jax.regions import Regions

SPEC_VERSION = 1


def words_needed(
    shape: tuple[int, int, int], channels: Channels, scramble_regions: bool
) -> int:
    """Returns how many keystream words `source_cells` reads for an `h w c` image."""
    h, w, c = shape
    if scramble_regions:
        return h * w * (c + 1)
    return h * w * (1 if channels == "joint" else c)


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


def _permute_groups(group: jax.Array, words: jax.Array, groups: int) -> jax.Array:
    """Returns, for each cell, the cell of its group whose value it receives.

    Args:
      group: uint32 `n`.
      words: uint32 `k n`, the words of k independent permutations.
      groups: bound of the group numbers.

    Returns:
      int32 `k n`.
    """
    receivers = _in_order(group, groups=groups)
    senders = jax.vmap(lambda word: _in_order(group, word, groups=groups))(words)
    # Both lists run through the groups in the same order: pair them off.
    return jnp.zeros_like(senders).at[:, receivers].set(senders)


def source_cells(
    words: UInt32[jax.Array, " n"],
    regions: Regions,
    image_channels: int,
    *,
    channels: Channels,
    scramble_regions: bool,
) -> Int32[jax.Array, "..."]:
    """Returns which cell of the image each cell of the mixed image comes from.

    Args:
      words: the image's keystream, `words_needed` words or more.
      regions: the plan's regions, for an `h w` image.
      image_channels: c.
      channels: see `shuffle`.
      scramble_regions: see `shuffle`.

    Returns:
      int32 `h*w` for `channels="joint"`, row-major pixels; otherwise `h*w*c`,
      row-major cells (y, x, channel).
    """
    h, w = regions.top.shape
    n, c = h * w, image_channels
    origin = regions.origin.reshape(-1).astype(jnp.uint32)
    if channels == "mixed":
        # A region of one pixel keeps its colour: there each cell is its own group.
        cell = jnp.arange(n * c, dtype=jnp.uint32).reshape(n, c)
        single = ((regions.height == 1) & (regions.width == 1)).reshape(-1, 1)
        group = jnp.where(single, cell, origin[:, None] * c).reshape(-1)
        word = words[: n * c].reshape(c, n).T.reshape(1, -1)
        source = _permute_groups(group, word, n * c)[0].reshape(n, c)
    else:
        planes = 1 if channels == "joint" else c
        pixel = _permute_groups(origin, words[: n * planes].reshape(planes, n), n)
        source = pixel.T
        if channels == "independent":
            source = source * c + jnp.arange(c, dtype=jnp.int32)[None]
    if scramble_regions:
        source = source[_exchange(words[n * c : n * (c + 1)], regions)]
    return source.reshape(-1)


def _exchange(words: jax.Array, regions: Regions) -> jax.Array:
    """Returns the pixel that each pixel comes from when regions trade places.

    Regions of equal height and width are permuted by the words at their first
    pixels. int32 `h*w`.
    """
    h, w = regions.top.shape
    pixel = jnp.arange(h * w, dtype=jnp.int32)
    origin = regions.origin.reshape(-1)
    shape_class = (regions.height * (w + 1) + regions.width).reshape(-1)
    # Pixels other than first ones form a class of their own, and are never asked for.
    shape_class = jnp.where(origin == pixel, shape_class, 0).astype(jnp.uint32)
    sender = _permute_groups(shape_class, words[None], (h + 1) * (w + 1))[0]
    return sender[origin] + pixel - origin
