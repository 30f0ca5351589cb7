"""Arrays to image files without loss and without metadata."""

import io
import zlib

import numpy as np
from PIL import Image

from vim_jax.data.errors import DataError

FORMATS = ("png", "webp")

_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}
_WEBP_SIDE = 16383
_USUAL = -1  # Whichever strategy Pillow has for images.


def mode_of(image: np.ndarray) -> str:
    """Returns the mode of an array of pixels.

    Args:
      image: uint8 `(h, w)`, `(h, w, 1)`, `(h, w, 2)`, `(h, w, 3)` or `(h, w, 4)`, or
        uint16 `(h, w)` or `(h, w, 1)`.

    Returns:
      "L", "LA", "RGB", "RGBA" or "I;16".

    Raises:
      DataError: if the array is none of these, or has no pixels.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    modes = {("uint16", 1): "I;16"}
    modes |= {("uint8", _CHANNELS[mode]): mode for mode in ("L", "LA", "RGB", "RGBA")}
    mode = modes.get((image.dtype.name, channels))
    if mode is None or image.ndim not in (2, 3) or image.size == 0:
        raise DataError(
            f"image has shape {image.shape} and type {image.dtype}, which is no image: "
            "give at least one pixel, as uint8 with 1 to 4 channels or uint16 with 1"
        )
    return mode


def encode(image: np.ndarray, fmt: str, *, shuffled: bool = False) -> bytes:
    """Encodes pixels so that `decode` gives them back bit for bit.

    Nothing but pixels is written: no EXIF (hence no GPS position), no colour profile,
    no text.

    Args:
      image: uint8 or uint16 pixels; see `mode_of` for the shapes.
      fmt: "png", which keeps every mode, or "webp" (lossless; also the colours of
        fully transparent pixels). WebP stores RGB and RGBA only: what is decoded from
        it goes through `as_mode` to have its first mode again.
      shuffled: whether most pixels are, so that there is little to find in them but
        runs: PNG looks for nothing else then, which takes half the time or less, for
        files of about the same size.

    Returns:
      The content of the file.

    Raises:
      DataError: for an unknown format, an array that is no image, and 16-bit grey or
        a side above 16383 pixels in WebP.
    """
    mode = mode_of(image)
    pixels = image[:, :, 0] if image.ndim == 3 and _CHANNELS[mode] == 1 else image
    buffer = io.BytesIO()
    if fmt == "png":
        strategy = zlib.Z_RLE if shuffled else _USUAL
        Image.fromarray(np.ascontiguousarray(pixels)).save(
            buffer, "PNG", compress_type=strategy
        )
    elif fmt == "webp":
        _check_webp(pixels, mode)
        wide = {"L": "RGB", "LA": "RGBA"}.get(mode, mode)
        Image.fromarray(as_mode(pixels, wide)).save(
            buffer, "WEBP", lossless=True, exact=True
        )
    else:
        raise DataError(f"fmt is {fmt!r}: choose one of {', '.join(FORMATS)}")
    return buffer.getvalue()


def _check_webp(pixels: np.ndarray, mode: str) -> None:
    if mode == "I;16":
        raise DataError(
            "image is 16-bit grey, which WebP cannot hold: choose fmt='png'"
        )
    height, width = pixels.shape[:2]
    if max(height, width) > _WEBP_SIDE:
        raise DataError(
            f"image has {width}x{height} pixels, and WebP ends at {_WEBP_SIDE} a side: "
            "choose fmt='png'"
        )


def as_mode(image: np.ndarray, mode: str) -> np.ndarray:
    """Rewrites pixels in another mode where that loses nothing.

    Args:
      image: pixels; see `mode_of` for the shapes.
      mode: "L", "LA", "RGB", "RGBA" or "I;16".

    Returns:
      The same pixels, `(h, w)` for "L" and "I;16", else `(h, w, c)`, contiguous.

    Raises:
      DataError: if the mode cannot hold the pixels: colours in a grey mode,
        transparency in a mode without alpha, 8-bit values in a 16-bit mode or the
        other way round.
    """
    present = mode_of(image)
    if mode not in _CHANNELS:
        raise DataError(f"mode is {mode!r}: choose one of {', '.join(_CHANNELS)}")
    grey, opaque = mode in ("L", "LA", "I;16"), mode in ("L", "RGB", "I;16")
    pixels = image.reshape(*image.shape[:2], -1)
    colour, alpha = pixels, np.full_like(pixels[..., :1], 255)
    if present in ("LA", "RGBA"):
        colour, alpha = pixels[..., :-1], pixels[..., -1:]
    if (
        (present == "I;16") != (mode == "I;16")
        or (grey and bool((colour != colour[..., :1]).any()))
        or (opaque and present in ("LA", "RGBA") and bool((alpha != 255).any()))
    ):
        raise DataError(
            f"image has the mode {present} and pixels that the mode {mode} cannot "
            f"hold: keep it as {present}"
        )
    if grey:
        colour = colour[..., :1]
    elif colour.shape[2] == 1:
        colour = np.repeat(colour, 3, axis=2)
    pixels = colour if opaque else np.concatenate([colour, alpha], axis=2)
    return np.ascontiguousarray(pixels[..., 0] if grey and opaque else pixels)
