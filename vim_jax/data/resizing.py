"""Copies of photographs in one size and mode, as training takes them."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from vim_jax.data.arrays import middle_square
from vim_jax.data.encode import encode
from vim_jax.data.errors import DataError, Failures, WriteError
from vim_jax.data.example import LazySource
from vim_jax.data.image_folder import collisions, output_name
from vim_jax.data.parallel import MemoryShare, Progress, map_in_order
from vim_jax.data.writers import filling

_WHITE = 255


@dataclasses.dataclass
class Resized:
    """What came of resizing a set.

    Attributes:
      names: the files, relative to the output folder.
      failures: id -> one sentence, for images that were not resized.
      notes: id -> what decoding changed, for the others.
    """

    names: list[str] = dataclasses.field(default_factory=list)
    failures: Failures = dataclasses.field(default_factory=dict)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)


def resize(
    source: LazySource,
    dst: str | os.PathLike[str],
    side: int,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Resized:
    """Writes copies of images, 8-bit RGB squares, as PNG files of the same names.

    Args:
      source: the images, such as those of `vim_jax.data.folder`.
      dst: the folder to write to. Equal files in it are left alone, others are never
        overwritten.
      side: of the square in the middle of each image, in pixels after resizing
        (bilinear, averaged over what becomes one pixel).
      workers: number of threads; by default one a core.
      progress: called with the number of images done and of all images.

    Raises:
      WriteError: if `dst` cannot be written to: run this again to go on.
      DataError: if `side` is below 1. Images that fail are in the result instead.
    """
    if side < 1:
        raise DataError(f"side is {side}: use 1 or more")
    dst = pathlib.Path(dst)
    result = Resized()
    names = _names(source.ids, result.failures)
    pending = [i for i, id in enumerate(source.ids) if id in names]
    one = functools.partial(_resized, source, side, MemoryShare())
    with filling(dst) as fill:
        files = map_in_order(one, pending, workers=workers)
        for done, (index, found) in enumerate(zip(pending, files, strict=True), 1):
            id = source.ids[index]
            try:
                if isinstance(found, DataError):
                    raise found
                data, note = found
                fill(names[id], data)
                result.names.append(names[id])
                if note is not None:
                    result.notes[id] = note
            except WriteError:
                raise
            except DataError as error:
                result.failures[id] = str(error)
            if progress:
                progress(done, len(pending))
    return result


def _names(ids: Sequence[str], failures: Failures) -> dict[str, str]:
    """Returns each image's file, and adds those that can have none to `failures`."""
    names: dict[str, str] = {}
    for id in ids:
        try:
            names[id] = output_name(id, ".png")
        except DataError as error:
            failures[id] = str(error)
    for id, other in collisions(names, ".png").items():
        del names[id]
        failures[id] = f"{id} would get the name of {other}: rename one of them"
    return names


def _resized(
    source: LazySource, side: int, memory: MemoryShare, index: int
) -> tuple[bytes, str | None] | DataError:
    """Returns a PNG file and what decoding changed, or what went wrong."""
    try:
        example = source[index]
        with memory.of(example.image.size):
            copy = middle_square(as_rgb(example.image), side)
            return encode(copy, "png"), example.note
    except DataError as error:
        return error
    except MemoryError:
        return DataError(
            f"{source.ids[index]} is too large for this machine's memory: shrink it"
        )


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Returns an image of any mode as 8-bit RGB, over white where it is transparent.

    Args:
      image: as in `Example`.

    Returns:
      uint8 `(h, w, 3)`.
    """
    pixels = image.reshape(*image.shape[:2], -1)
    if pixels.dtype == np.uint16:
        pixels = np.rint(pixels / 257).astype(np.uint8)
    if pixels.shape[2] in (2, 4):
        share = pixels[..., -1:] / np.float32(255)
        blended = share * pixels[..., :-1] + (1 - share) * _WHITE
        pixels = np.rint(blended).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))
