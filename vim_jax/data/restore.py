"""Restoring a published set: the job behind `vim-jax restore`."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from vim_jax.data import manifest
from vim_jax.data.decode import decode
from vim_jax.data.encode import as_mode, encode
from vim_jax.data.errors import DataError
from vim_jax.data.image_folder import output_name
from vim_jax.data.mixing import restore_image
from vim_jax.data.parallel import map_in_order
from vim_jax.data.publish import Failures, Progress, WrongKeyError
from vim_jax.data.tfds_source import tfds
from vim_jax.data.writers import write_atomically
from vim_jax.keys import SecretKey


@dataclasses.dataclass
class Restored:
    """What came of restoring a set.

    Attributes:
      names: the restored files, relative to the output folder.
      failures: published id -> one sentence, for images that were not restored.
    """

    names: list[str] = dataclasses.field(default_factory=list)
    failures: Failures = dataclasses.field(default_factory=dict)


def restore(
    src: str | os.PathLike[str],
    dst: str | os.PathLike[str],
    key: SecretKey,
    *,
    max_pixels: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Restored:
    """Restores what `publish` published, as PNG files under the original names.

    Every image is checked against its nonce: what is written are the original pixels,
    bit for bit. Plans come from the manifest and are never computed again.

    Args:
      src: the published folder or TFDS data set, with its manifest.
      dst: the folder to write to. Equal files in it are left alone, others are never
        overwritten.
      key: the secret key.
      max_pixels: the largest image to decode; see `decode`.
      workers: number of threads; by default one a core.
      progress: called with the number of images done and of all images.

    Raises:
      WrongKeyError: if the set was mixed with another key.
      DataError: if there is no manifest, or the key was discarded. Images that fail are
        in the result instead.
    """
    src, dst = pathlib.Path(src), pathlib.Path(dst)
    head, records, _ = manifest.read(src / manifest.NAME)
    if head["key"] is None:
        raise DataError(
            f"{src} was mixed with a key that was discarded: nobody can restore it"
        )
    if head["key"] != key.fingerprint:
        raise WrongKeyError(
            f"{src} was mixed with the key {head['key']}, this key is "
            f"{key.fingerprint}: use that key"
        )
    load = _loader(src, head["file_format"], max_pixels)
    one = functools.partial(_restore_one, load, head["settings"], key)
    result = Restored()
    for count, (record, outcome) in enumerate(
        zip(records, map_in_order(one, records, workers=workers), strict=True), 1
    ):
        try:
            if isinstance(outcome, DataError):
                raise outcome
            original_id, data = outcome
            name = output_name(original_id, ".png")
            if name in result.names:  # Of a.jpg and a.png, one keeps both suffixes.
                name = f"{original_id}.png"
            write_atomically(dst / name, data)
            result.names.append(name)
        except DataError as error:
            result.failures[record["id"]] = str(error)
        if progress:
            progress(count, len(records))
    return result


def _loader(
    src: pathlib.Path, file_format: str, max_pixels: int | None
) -> Callable[[str], np.ndarray]:
    """Returns the function from a published id to the published pixels."""
    if file_format == "tfds":
        source = tfds(os.fspath(src), "train")
        index = {id: i for i, id in enumerate(source.ids)}

        def load(id):
            if id not in index:
                raise DataError(f"{id} is not in the data set {src}: get it anew")
            return source[index[id]].image

        return load

    def load_file(id):
        output_name(id, "")  # Refuses ids that lead out of the folder.
        return decode(src / id, max_pixels=max_pixels).image

    return load_file


def _restore_one(
    load: Callable[[str], np.ndarray],
    settings: dict[str, Any],
    key: SecretKey,
    record: dict[str, Any],
) -> tuple[str, bytes] | DataError:
    """Returns the original id and the PNG file, or what went wrong."""
    id = record["id"]
    try:
        sealed = manifest.unseal(key, id, record.get("sealed", ""))
        pixels = as_mode(load(id), sealed.mode)
        original = restore_image(pixels, sealed, settings, key)
        if original is None:
            raise DataError(
                f"{id} was changed after mixing (re-encoded, edited or swapped), so "
                "its pixels cannot be put back: get the published file anew"
            )
        return sealed.id, encode(original, "png")
    except DataError as error:
        return error
