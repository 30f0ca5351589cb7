"""Folders of image files as a source, and the names of their outputs."""

import functools
import os
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator

from vim_jax.data.decode import SUFFIXES, decode
from vim_jax.data.errors import DataError, brief
from vim_jax.data.example import Example, LazySource


def folder(
    path: str | os.PathLike[str], *, max_pixels: int | None = None
) -> LazySource:
    """Lists the images of a folder and of its sub-folders; decodes none of them.

    An image's id is its path below the folder, with forward slashes; images come in
    the order of their ids. The first part of that path is the image's class. Hidden
    files and folders are ignored. Links are followed, except into a folder that
    contains the link.

    Args:
      path: the folder.
      max_pixels: the largest image to decode; see `decode`.

    Returns:
      The source. `skipped` names the files of other suffixes, dead links and links
      that lead round in a circle. Images in the folder itself have the label None.

    Raises:
      DataError: if the folder is missing, unreadable or without images, or if a name
        in it is not UTF-8.
    """
    root = pathlib.Path(path)
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"folder {root} {problem}: check the path")
    ids, skipped = [], []
    for name, is_image in _walk(root, "", ()):
        (ids if is_image else skipped).append(name)
    if not ids:
        raise DataError(
            f"folder {root} holds no images ({len(skipped)} other files): put files "
            f"ending in {', '.join(SUFFIXES)} there"
        )
    ids.sort()
    classes = tuple(sorted({id.split("/")[0] for id in ids if "/" in id}))
    read = functools.partial(_read, root, tuple(ids), classes, max_pixels)
    return LazySource(tuple(ids), read, classes or None, tuple(sorted(skipped)))


def output_name(id: str, suffix: str) -> str:
    """Returns the relative path under which an image is published.

    Args:
      id: an image's id: a relative path with forward slashes, or any other name.
      suffix: the suffix of the output, such as ".png". It replaces the suffix of an
        image file and is appended to any other name.

    Raises:
      DataError: if the id would lead out of the output folder, as those of a set
        from a stranger might.
    """
    parts = id.split("/")
    if "\0" in id or "\\" in id or any(part in ("", ".", "..") for part in parts):
        raise DataError(
            f"id {id!r} is no relative path inside a folder: rename the image"
        )
    stem, ending = os.path.splitext(id)
    return (stem if ending.lower() in SUFFIXES else id) + suffix


def collisions(ids: Iterable[str], suffix: str) -> dict[str, str]:
    """Finds the images whose output would overwrite that of another.

    "d/a.jpg" and "d/a.png" both become "d/a.png". Names that differ only in case or
    in Unicode composition collide too, since on some file systems they are one file.

    Args:
      ids: the ids of the images of one source.
      suffix: the suffix of the outputs, such as ".png".

    Returns:
      A mapping of every id to refuse to the id that it collides with. Of colliding
      images, the first by name is kept.

    Raises:
      DataError: as `output_name`.
    """
    keys = {id: file_key(output_name(id, suffix)) for id in sorted(ids)}
    # A folder named like an output file ("a.png/b.jpg" beside "a.jpg") is in its way.
    folders: dict[str, str] = {}
    for id, key in keys.items():
        for end, letter in enumerate(key):
            if letter == "/":
                folders.setdefault(key[:end], id)
    refused: dict[str, str] = {}
    taken: dict[str, str] = {}
    for id, key in keys.items():
        if key in folders:
            refused[id] = folders[key]
        elif taken.setdefault(key, id) != id:
            refused[id] = taken[key]
    return refused


def file_key(name: str) -> str:
    """Returns what names have in common that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _walk(
    directory: pathlib.Path, prefix: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, bool]]:
    """Yields the relative path of every file, and whether it is an image.

    Args:
      directory: the folder to list.
      prefix: its path below the root, "" or ending in "/".
      above: device and inode of the folders that contain it.
    """
    try:
        status = directory.stat()
        entries = list(os.scandir(directory))
    except OSError as error:
        raise DataError(
            f"folder {directory} cannot be listed ({brief(error)}): check its rights"
        ) from error
    here = (status.st_dev, status.st_ino)
    if here in above:
        yield prefix.rstrip("/"), False
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        name = prefix + entry.name
        is_folder, readable = _kind(entry)
        if is_folder:
            yield from _walk(pathlib.Path(entry.path), name + "/", (*above, here))
        else:
            ending = os.path.splitext(entry.name)[1].lower()
            is_image = readable and ending in SUFFIXES
            if is_image:
                _check_name(name)
            yield name, is_image


def _kind(entry: os.DirEntry) -> tuple[bool, bool]:
    """Returns whether an entry is a folder, and whether it is a file.

    It is neither if it is a pipe or a device, which would block the reader, or a link
    that leads nowhere, in a circle, or where one may not go.
    """
    try:
        return entry.is_dir(), entry.is_file()
    except OSError:
        return False, False


def _check_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"file name {os.fsencode(name)!r} is not valid UTF-8: rename the file"
        ) from None


def _read(
    root: pathlib.Path,
    ids: tuple[str, ...],
    classes: tuple[str, ...],
    max_pixels: int | None,
    index: int,
) -> Example:
    id = ids[index]
    decoded = decode(root / id, max_pixels=max_pixels)
    label = classes.index(id.split("/")[0]) if "/" in id else None
    suffix = pathlib.PurePosixPath(id).suffix
    return Example(id, decoded.image, label, decoded.mode, suffix, decoded.note)
