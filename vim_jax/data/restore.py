"""Restoring a published set: the job behind `vim-jax restore`."""

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from vim_jax.data import manifest
from vim_jax.data.decode import decode
from vim_jax.data.encode import as_mode, encode
from vim_jax.data.errors import DataError, Failures, WriteError, WrongKeyError
from vim_jax.data.image_folder import collisions, file_key, output_name
from vim_jax.data.mixing import restore_image
from vim_jax.data.parallel import MemoryShare, Progress, map_in_order
from vim_jax.data.tfds_source import tfds
from vim_jax.data.writers import filling
from vim_jax.keys import SecretKey


@dataclasses.dataclass
class Restored:
    """What came of restoring a set.

    Attributes:
      names: the restored files, relative to the output folder.
      failures: published id -> one sentence, for images that were not restored; or
        the line of the manifest, where that is damaged.
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
      WriteError: if `dst` cannot be written to.
      DataError: if there is no manifest, or the key was discarded. Images that fail are
        in the result instead.
    """
    src, dst = pathlib.Path(src), pathlib.Path(dst)
    result = Restored()
    head, _, entries = manifest.read(src / manifest.NAME, result.failures)
    if head["key"] is None:
        raise DataError(
            f"{src} was mixed with a key that was discarded: nobody can restore it"
        )
    if head["key"] != key.fingerprint:
        raise WrongKeyError(
            f"{src} was mixed with the key {head['key']}, this key is "
            f"{key.fingerprint}: use that key"
        )
    originals = _originals(key, entries)
    names = _final_names(originals)
    load = _loader(src, head["file_format"], max_pixels)
    one = functools.partial(_restore_one, load, head["settings"], key, MemoryShare())
    # Read a second time rather than kept in memory: sealed records are large.
    records = (record for record, _ in manifest.read(src / manifest.NAME, {})[2])
    with contextlib.ExitStack() as stack:
        fill = stack.enter_context(filling(dst))
        files = map_in_order(
            one, itertools.islice(records, len(originals)), workers=workers
        )
        stack.callback(files.close)
        for count, (id, data) in enumerate(zip(originals, files, strict=True), 1):
            try:
                if isinstance(data, DataError):
                    raise data
                name = names[id]  # There is none where the record did not open.
                if isinstance(name, DataError):
                    raise name
                fill(name, data)
                result.names.append(name)
            except WriteError:
                raise
            except DataError as error:
                result.failures[id] = str(error)
            if progress:
                progress(count, len(originals))
    return result


def _originals(key: SecretKey, entries: manifest.Records) -> dict[str, str | None]:
    """Returns the sealed names by published id, None where the record is damaged."""
    originals = {}
    for record, _ in entries:
        originals[record["id"]] = None
        with contextlib.suppress(DataError):
            originals[record["id"]] = manifest.original_id(key, record)
    return originals


def _final_names(originals: dict[str, str | None]) -> dict[str, str | DataError]:
    """Returns the restored files by published id, no two alike, or why there is none.

    Of a.jpg and a.png, which can only be published as numbers, one keeps both endings.
    """
    known = {id: original for id, original in originals.items() if original is not None}
    both = collisions(list(known.values()), ".png")
    names: dict[str, str | DataError] = {}
    used: set[str] = set()
    # The others first: they keep the names that they have alone.
    for id in sorted(known, key=lambda id: known[id] in both):
        try:
            name = output_name(known[id], ".png")
        except DataError as error:
            names[id] = error
            continue
        if known[id] in both:
            name = f"{known[id]}.png"
        while file_key(name) in used:
            name += ".png"
        used.add(file_key(name))
        names[id] = name
    return names


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
        path = src / id
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no file: get the published file anew")
        return decode(path, max_pixels=max_pixels).image

    return load_file


def _restore_one(
    load: Callable[[str], np.ndarray],
    settings: dict[str, Any],
    key: SecretKey,
    memory: MemoryShare,
    record: dict[str, Any],
) -> bytes | DataError:
    """Returns the restored image as a PNG file, or what went wrong."""
    id = record["id"]
    try:
        sealed = manifest.unseal(key, record)
        published = load(id)
        with memory.of(published.size):
            original = _original(published, sealed, settings, key)
        if original is None:
            raise DataError(
                f"{id} was changed after mixing (re-encoded, edited or swapped), so "
                "its pixels cannot be put back: get the published file anew"
            )
        return encode(original, "png")
    except DataError as error:
        return error
    except MemoryError:
        return DataError(f"{id} is too large for this machine's memory: use another")


def _original(
    published: np.ndarray,
    sealed: manifest.Sealed,
    settings: dict[str, Any],
    key: SecretKey,
) -> np.ndarray | None:
    """Returns the original pixels, or None if the published ones were changed."""
    try:
        mixed = as_mode(published, sealed.mode)
    except DataError:
        return None
    return restore_image(mixed, sealed, settings, key)
