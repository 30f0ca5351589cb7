"""One way into every source: from a name on a command line."""

import contextlib
import os
from collections.abc import Iterator

from vim_jax.data.embedded import embedded
from vim_jax.data.errors import DataError
from vim_jax.data.example import LazySource
from vim_jax.data.image_folder import folder
from vim_jax.data.tfds_source import is_prepared_folder, split_names, tfds

_EMBEDDED = "embedded:"


def open_source(
    spec: str | os.PathLike[str],
    *,
    split: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    max_pixels: int | None = None,
) -> LazySource:
    """Opens the source that a string describes.

    Args:
      spec: in this order of preference: "embedded:digits" and the like; an existing
        folder, either one of a prepared TFDS data set or one of image files; the name
        of a TFDS data set.
      split: the split of a TFDS data set; may be left out where there is but one.
      data_dir: where the TFDS data sets lie.
      max_pixels: the largest image to decode; see `decode`.

    Raises:
      DataError: if there is no such source, or if `split` is missing or meaningless.
    """
    name = os.fspath(spec)
    if not _in_splits(name):
        if split is not None:
            raise DataError(
                f"split is {split!r}, but {name} has no splits: leave split out"
            )
        if name.startswith(_EMBEDDED):
            return embedded(name.removeprefix(_EMBEDDED))
        return folder(name, max_pixels=max_pixels)
    with _no_folder_either(name, data_dir):
        return _data_set(name, split, data_dir, max_pixels)


def splits_of(
    spec: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """Returns the names of the splits of what `open_source` would open.

    None, if it is no TFDS data set.

    Args:
      spec: see `open_source`.
      data_dir: where the TFDS data sets lie.

    Raises:
      DataError: if there is no such source.
    """
    name = os.fspath(spec)
    if not _in_splits(name):
        return ()
    with _no_folder_either(name, data_dir):
        return split_names(name, data_dir)


def _in_splits(name: str) -> bool:
    """Whether it can only be a TFDS data set."""
    if name.startswith(_EMBEDDED):
        return False
    if os.path.isdir(name):
        return is_prepared_folder(name)
    if os.path.isfile(name):
        raise DataError(f"{name} is a file: give the folder that it lies in")
    if _looks_like_a_path(name):
        raise DataError(f"folder {name} does not exist: check the path")
    return True


@contextlib.contextmanager
def _no_folder_either(
    name: str, data_dir: str | os.PathLike[str] | None
) -> Iterator[None]:
    """Errors say that there is no folder of this name, where one may be meant."""
    try:
        yield
    except DataError as error:
        if data_dir is None and not os.path.isdir(name):
            raise DataError(f"there is no folder {name}, and {error}") from error
        raise


def _data_set(
    name: str,
    split: str | None,
    data_dir: str | os.PathLike[str] | None,
    max_pixels: int | None,
) -> LazySource:
    if split is None:
        splits = split_names(name, data_dir)
        if len(splits) != 1:
            raise DataError(
                f"split is missing for data set {name!r}: choose one of "
                f"{', '.join(splits)}"
            )
        split = splits[0]
    return tfds(name, split, data_dir, max_pixels=max_pixels)


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "~", os.sep)) or name.endswith(os.sep)
