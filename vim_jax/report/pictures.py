"""Arrays to pictures: PNG data, strips of images, region maps."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_GAP = 6


def png(image: UInt8[np.ndarray, "h w *c"]) -> bytes:
    """Returns an image as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_uri(data: bytes, mime: str = "image/png") -> str:
    """Returns a file's content as a URI, for pages that need no other file."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


def as_rgb(
    image: UInt8[np.ndarray, "h w *c"] | Float[np.ndarray, "h w *c"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a grey or RGB image, 0 to 255, as uint8 RGB."""
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return np.broadcast_to(pixels.reshape(*pixels.shape[:2], -1), (*image.shape[:2], 3))


def square(
    image: UInt8[np.ndarray, "h w *c"], side: int
) -> UInt8[np.ndarray, "s s *c"]:
    """Returns the centre square of a photograph, resized."""
    picture = Image.fromarray(image)
    cut = min(picture.size)
    left, top = (picture.width - cut) // 2, (picture.height - cut) // 2
    box = (left, top, left + cut, top + cut)
    return np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS, box))


def strip(
    rows: Sequence[Sequence[np.ndarray]], gap: int = _GAP
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a grid of images of one size on white."""
    cells = [[as_rgb(image) for image in row] for row in rows]
    h, w, _ = cells[0][0].shape
    columns = len(cells[0])
    canvas = np.full(
        (len(cells) * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, np.uint8
    )
    for i, row in enumerate(cells):
        for j, image in enumerate(row):
            y, x = i * (h + gap), j * (w + gap)
            canvas[y : y + h, x : x + w] = image
    return canvas


def psnr(image: np.ndarray, original: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio of 8-bit images, in decibels."""
    error = np.mean((image.astype(np.float64) - original.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)
