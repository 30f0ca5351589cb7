"""Image files to arrays, exactly: nothing is lost without a word.

"Bit for bit" means everywhere in `vim_jax`: the pixels as Pillow decodes them, after
the EXIF orientation was applied.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import threading
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from vim_jax.data.errors import DataError, brief

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_KEPT = ("L", "LA", "RGB", "RGBA")
_GREY16 = ("I;16", "I;16B", "I;16L", "I;16N")
_WITH_ALPHA = {"1": "LA", "L": "LA", "RGB": "RGBA"}
_CONVERTED = {
    "1": ("1-bit", "L"),
    "PA": ("a palette", "RGBA"),
    "La": ("premultiplied grey", "LA"),
    "RGBa": ("premultiplied RGBA", "RGBA"),
    "RGBX": ("padded RGB", "RGB"),
    "CMYK": ("CMYK", "RGB"),
    "YCbCr": ("YCbCr", "RGB"),
    "LAB": ("LAB", "RGB"),
}
_REFUSED = {"I": "32-bit integers", "F": "floating-point numbers"}
_PNG_GREY = 0
_BITS_PER_SAMPLE = 258

# Pillow's pixel limit and Python's warning filters are global: one thread at a time.
_PILLOW_GLOBALS = threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """The pixels of one image file.

    Attributes:
      image: uint8 or uint16, `(h, w)` or `(h, w, c)`; see `vim_jax.data.Example`.
      mode: "L", "LA", "RGB", "RGBA" or "I;16".
      note: what decoding changed, such as "converted from a palette to RGB"; None
        where the pixels are those of the file.
    """

    image: np.ndarray
    mode: str
    note: str | None


def decode(path: str | os.PathLike[str], *, max_pixels: int | None = None) -> Decoded:
    """Reads the pixels of an image file.

    PNG, JPEG, WebP, BMP and TIFF are read. Grey, grey with alpha, RGB, RGBA (8 bits a
    channel) and 16-bit grey keep their mode; other pixel formats are converted, and
    `note` says so, unless a conversion would lose bits, which is refused.

    Args:
      path: the file; its suffix must be one of `SUFFIXES`, in any case.
      max_pixels: the largest image to decode, in pixels; by default Pillow's limit
        against decompression bombs, 89,478,485 unless the program changed it.

    Returns:
      The pixels, upright after the EXIF orientation.

    Raises:
      DataError: if the file is missing, empty, damaged, too large, of several frames
        or of a pixel format that Pillow cannot read without loss.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"{path} is not read because its suffix is none of {', '.join(SUFFIXES)}: "
            "convert it to PNG"
        )
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: check the path") from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({brief(error)}): check the path and its rights"
        ) from error
    return decode_bytes(data, str(path), max_pixels=max_pixels)


def decode_bytes(
    data: bytes, name: str, *, max_pixels: int | None = None, upright: bool = True
) -> Decoded:
    """Decodes the content of a file as `decode` does.

    Args:
      data: the encoded image.
      name: what messages call it.
      max_pixels: as for `decode`.
      upright: whether to apply the EXIF orientation.

    Raises:
      DataError: as `decode`.
    """
    if not data:
        raise DataError(f"{name} is empty (0 bytes): replace or remove it")
    notes: list[str] = []
    try:
        with _quiet_pillow() as usual_limit:
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
            frames = getattr(image, "n_frames", 1)
    except Exception as error:
        raise DataError(
            f"{name} is not an image that Pillow can open ({len(data)} bytes, damaged "
            "or of another format): replace or remove it"
        ) from error
    limit = usual_limit if max_pixels is None else max_pixels
    _check_size(image, name, limit)
    if image.format == "MPO":
        # Phones and stereo cameras append previews, depth or a second view.
        notes.append(f"kept the main picture of {frames}")
    elif frames > 1:
        raise DataError(
            f"{name} holds {frames} frames, of which a single image would keep only "
            "the first: split it into files of one frame"
        )
    _refuse_what_pillow_would_cut(image, data, name)
    pixels, mode = _pixels(image, name, notes)
    if upright:
        pixels = _turn(pixels, _orientation(image, notes))
    return Decoded(np.ascontiguousarray(pixels), mode, "; ".join(notes) or None)


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[int | None]:
    """Silences Pillow and lifts its pixel limit, which `_check_size` replaces.

    Pillow's limit is one for the whole process, and warns where ours raises.

    Yields:
      The limit that Pillow had, and has again afterwards.
    """
    with _PILLOW_GLOBALS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield limit
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_size(image: Image.Image, name: str, limit: int | None) -> None:
    pixels = image.width * image.height
    if pixels == 0:
        raise DataError(f"{name} has no pixels ({image.width}x{image.height}): drop it")
    if limit is not None and pixels > limit:
        raise DataError(
            f"{name} has {pixels:,} pixels, more than the limit of {limit:,} that "
            f"guards against decompression bombs: if you trust the file, pass "
            f"max_pixels={pixels} or more"
        )


def _refuse_what_pillow_would_cut(image: Image.Image, data: bytes, name: str) -> None:
    """Raises for pixel formats that Pillow opens, or converts, with a loss of bits.

    Pillow opens 16-bit colour as 8-bit colour without a word, so the file's header
    has to be asked.
    """
    if image.mode in _REFUSED:
        raise DataError(
            f"{name} stores {_REFUSED[image.mode]}, which image formats for publishing "
            "cannot hold: convert it to 8-bit or to 16-bit grey"
        )
    bits: tuple[int, ...] = ()
    if image.format == "PNG" and data[25] != _PNG_GREY:
        # The header chunk is always the first: bit depth at byte 24, colour type at 25.
        bits = (data[24],)
    elif isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = tuple(image.tag_v2.get(_BITS_PER_SAMPLE, ()))
    if image.mode not in _GREY16 and max(bits, default=8) > 8:
        raise DataError(
            f"{name} has {max(bits)} bits per colour channel, of which Pillow keeps 8: "
            "convert it to 8 bits per channel or to 16-bit grey"
        )


def _pixels(image: Image.Image, name: str, notes: list[str]) -> tuple[np.ndarray, str]:
    """Decodes an opened image into an array and its mode."""
    # Loading a TIFF parses its tags again, with warnings; the others only decode.
    parses = isinstance(image, TiffImagePlugin.TiffImageFile)
    try:
        with _quiet_pillow() if parses else contextlib.nullcontext():
            image.load()
        image, note = _convert(image)
        pixels = np.array(image)
    except MemoryError:
        raise DataError(
            f"{name} ({image.width}x{image.height} pixels) does not fit into memory: "
            "lower max_pixels or shrink it"
        ) from None
    except Exception as error:
        raise DataError(
            f"{name} is damaged or cut short ({brief(error)}): replace or remove it"
        ) from error
    if note:
        notes.append(note)
    if image.mode in _GREY16:
        return pixels.astype(np.uint16), "I;16"
    if image.mode not in _KEPT:
        raise DataError(
            f"{name} has the pixel format {image.mode!r}, which is not supported: "
            "convert it to RGB"
        )
    return pixels, image.mode


def _convert(image: Image.Image) -> tuple[Image.Image, str | None]:
    """Returns the image in a mode that is kept, and what was changed."""
    marked = "transparency" in image.info
    if image.mode == "P":
        origin, mode = "a palette", "RGBA" if image.has_transparency_data else "RGB"
    elif marked and image.mode in _WITH_ALPHA:
        # The file has no alpha channel but declares one colour transparent.
        mode = _WITH_ALPHA[image.mode]
        origin = f"{image.mode} with a transparent colour"
    elif image.mode in _CONVERTED:
        origin, mode = _CONVERTED[image.mode]
    else:
        return image, "dropped the transparent colour" if marked else None
    return image.convert(mode), f"converted from {origin} to {mode}"


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """Returns the EXIF orientation, 1 (upright) to 8; Pillow turns TIFF by itself."""
    try:
        with _quiet_pillow():
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        # Viewers show such an image as it is stored, and so do we.
        notes.append("ignored a damaged EXIF block")
        return 1
    return orientation if orientation in range(1, 9) else 1


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undoes an EXIF orientation on `(h, w)` or `(h, w, c)` pixels."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
