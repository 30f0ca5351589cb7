"""Array types and the checks every public image function starts with."""

import math
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int32, Shaped, UInt8, UInt32

AnyArray: TypeAlias = jax.Array | np.ndarray

Image: TypeAlias = Shaped[AnyArray, "h w *c"]
"""One image, `h w c` or `h w`, of any dtype that `shuffle` accepts."""

Pixels: TypeAlias = UInt8[AnyArray, "h w *c"] | Float[AnyArray, "h w *c"]
"""One image, uint8 or float in [0, 1], as the metrics and the planner take it."""

Scalar: TypeAlias = Float32[jax.Array, ""]
SizeMap: TypeAlias = Int32[jax.Array, "h w"]
Words: TypeAlias = UInt32[AnyArray, " n"]

Channels: TypeAlias = Literal["joint", "independent", "mixed"]
"""How colour channels move: together, each by itself, or across each other."""


def check_channels(channels: str) -> None:
    """Raises ValueError unless `channels` is one of the three modes."""
    if channels not in get_args(Channels):
        raise ValueError(
            f'channels={channels!r} is unknown: use "joint", "independent" or "mixed".'
        )


def with_channel_axis(image: Shaped[AnyArray, "h w *c"]) -> Shaped[jax.Array, "h w c"]:
    """Returns `image` as `h w c`.

    Raises:
      ValueError: if it is not `h w` or `h w c`, or holds no pixel.
    """
    shape = jnp.shape(image)
    if len(shape) not in (2, 3) or 0 in shape:
        raise ValueError(
            f"image has shape {shape}: pass one image as (h, w) or (h, w, c) with "
            "at least one pixel, and batches through jax.vmap."
        )
    if math.prod(shape) >= 2**31:
        raise ValueError(
            f"image has {math.prod(shape)} values, the limit is {2**31 - 1}: cut it."
        )
    return jnp.asarray(image).reshape(*shape[:2], -1)


def check_dtype(images: AnyArray) -> None:
    """Raises ValueError on what is no array, or not of 1, 2 or 4 bytes a value.

    JAX would silently narrow them.
    """
    if not hasattr(images, "dtype"):
        raise ValueError(
            f"image is a {type(images).__name__}: pass an array, such as "
            "numpy.asarray(image)."
        )
    dtype = np.dtype(images.dtype)
    if dtype.itemsize not in (1, 2, 4):
        raise ValueError(
            f"image has dtype {dtype}: use a dtype of 1, 2 or 4 bytes, such as uint8, "
            "uint16 or float32."
        )


def as_pixels(image: Pixels) -> Shaped[jax.Array, "h w c"]:
    """Returns a uint8 or float image as `h w c`.

    Raises:
      ValueError: on any other dtype, or what `with_channel_axis` refuses.
    """
    pixels = with_channel_axis(image)
    if pixels.dtype != jnp.uint8 and not jnp.issubdtype(pixels.dtype, jnp.floating):
        raise ValueError(
            f"image has dtype {pixels.dtype}: pass uint8, or a float image in [0, 1] "
            "(16-bit images: divide by 65535)."
        )
    values = concrete(pixels) if pixels.dtype != jnp.uint8 else None
    if values is not None and not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(
            f"image has values from {values.min()} to {values.max()}: scale float "
            "images to [0, 1]."
        )
    return pixels


def concrete(x: AnyArray) -> np.ndarray | None:
    """Returns the value of `x`, or None where `jit` or `vmap` traces it."""
    try:
        return np.asarray(x)
    except jax.errors.TracerArrayConversionError:
        return None
