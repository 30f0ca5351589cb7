"""Shuffling an image region by region, and getting it back."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Shaped

from vim_jax._types import (
    AnyArray,
    Channels,
    Image,
    check_channels,
    check_dtype,
    with_channel_axis,
)
from vim_jax.keystream import Key, key_material, keystream
from vim_jax.permute import source_cells, words_needed
from vim_jax.regions import PlanOrSize, as_plan, regions_of


def shuffle(
    key: Key,
    image: Image,
    plan_or_size: PlanOrSize,
    *,
    channels: Channels = "independent",
    scramble_regions: bool = False,
) -> Shaped[jax.Array, "h w *c"]:
    """Permutes the pixels of each region among themselves.

    Args:
      key: a JAX PRNG key of any implementation, typed or old-style, for augmentation
        and notebooks; or an image key from `SecretKey.for_image`, for publication.
      image: `h w c` or `h w`, of any dtype of 1, 2 or 4 bytes and any values.
      plan_or_size: a plan for this shape, or a region size in pixels.
      channels: "joint" moves the channels of a pixel together; "independent" gives
        each channel its own permutation; "mixed" permutes all values of a region, of
        all channels, as one set (regions of one pixel are left alone).
      scramble_regions: whether regions of equal height and width trade places too,
        channels together.

    Returns:
      The mixed image, of the shape and dtype of `image`.

    Guarantees:
      * Every arrangement of a region is equally likely, but for ties of 32-bit words,
        which leave two cells in order (among n cells, n*n / 2**33 pairs on average);
        and independent of other regions, channels and keys. Each region and channel
        costs 32 keystream bits a value.
      * Equal key data, image and regions give equal bytes: eager, jitted, vmapped, on
        any device and under any version of JAX. `docs/permutation.md` pins them down.
      * Every region's values stay in the region, so its mean does too: anyone can
        compute the region means of the original. `channels="mixed"` keeps only the
        mean over channels; `scramble_regions` hides which mean belongs where.

    Raises:
      ValueError: on an image of another rank or dtype, a plan for another shape, a
        size below 1, unknown `channels`, a batch of keys, or an image key with
        another number of words than this image takes.
      TypeError: if `key` is a `SecretKey`.

    Examples:
      >>> import jax, jax.numpy as jnp, vim_jax
      >>> image = jnp.arange(64, dtype=jnp.uint8).reshape(8, 8)
      >>> key = jax.random.key(0)
      >>> mixed = vim_jax.shuffle(key, image, 4)
      >>> bool((vim_jax.unshuffle(key, mixed, 4) == image).all())
      True

    References:
      Li et al., `You Can Use But Cannot Recognize: Preserving Visual Privacy in Deep
      Neural Networks`, NDSS 2024.
    """
    cells = _checked(image, channels)
    size = as_plan(cells.shape, plan_or_size).size
    material = key_material(key)
    mixed = _shuffle(material, cells, size, channels, scramble_regions)
    return mixed.reshape(jnp.shape(image))


def unshuffle(
    key: Key,
    image: Image,
    plan_or_size: PlanOrSize,
    *,
    channels: Channels = "independent",
    scramble_regions: bool = False,
) -> Shaped[jax.Array, "h w *c"]:
    """Undoes `shuffle`: the exact inverse for the same arguments.

    Args:
      key: the key that the image was shuffled with.
      image: the mixed image.
      plan_or_size: the same plan or region size.
      channels: as it was.
      scramble_regions: as it was.

    Returns:
      The original image, of the shape and dtype of `image`.

    Raises:
      ValueError: as `shuffle`. A wrong key raises nothing: it gives another shuffle.
    """
    cells = _checked(image, channels)
    size = as_plan(cells.shape, plan_or_size).size
    material = key_material(key)
    restored = _unshuffle(material, cells, size, channels, scramble_regions)
    return restored.reshape(jnp.shape(image))


def _checked(image: AnyArray, channels: str) -> jax.Array:
    """Returns `image` as `h w c`."""
    check_channels(channels)
    check_dtype(image)
    return with_channel_axis(image)


def _source(material, cells, size, channels, scramble_regions):
    h, w, c = cells.shape
    words = keystream(
        material,
        words_needed((h, w, c), channels, scramble_regions),
        words_needed((h, w, c), channels, True),
    )
    return source_cells(
        words, regions_of(size), c, channels=channels, scramble_regions=scramble_regions
    )


@functools.partial(jax.jit, static_argnums=(3, 4))
def _shuffle(material, cells, size, channels, scramble_regions):
    source = _source(material, cells, size, channels, scramble_regions)
    return _take(cells.reshape(source.shape[0], -1), source).reshape(cells.shape)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _unshuffle(material, cells, size, channels, scramble_regions):
    source = _source(material, cells, size, channels, scramble_regions)
    target = jnp.zeros_like(source)
    target = target.at[source].set(jnp.arange(source.shape[0], dtype=source.dtype))
    return _take(cells.reshape(source.shape[0], -1), target).reshape(cells.shape)


def _take(flat: jax.Array, source: jax.Array) -> jax.Array:
    """Returns `flat[source]`, bit for bit."""
    if jnp.issubdtype(flat.dtype, jnp.floating):
        return _take_floats(flat, source)
    return flat.at[source].get(mode="promise_in_bounds")


@jax.custom_jvp
def _take_floats(flat: jax.Array, source: jax.Array) -> jax.Array:
    """Moves floats as bits: XLA may compute narrow ones in float32, and lose NaNs."""
    bits = jax.lax.bitcast_convert_type(flat, f"uint{8 * flat.dtype.itemsize}")
    return jax.lax.bitcast_convert_type(_take(bits, source), flat.dtype)


@_take_floats.defjvp
def _take_floats_jvp(primals, tangents):
    (flat, source), (tangent, _) = primals, tangents
    moved = tangent.at[source].get(unique_indices=True, mode="promise_in_bounds")
    return _take_floats(flat, source), moved
