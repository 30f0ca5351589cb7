"""Mixed images as a TFDS data set, written one after the other."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from vim_jax.data.errors import DataError, WriteError, brief
from vim_jax.data.tfds_files import (
    ShardWriter,
    check_example,
    id_line,
    is_full,
    other_mode,
    publish_folder,
    serialize,
    shard_path,
    write_description,
)
from vim_jax.data.tfds_library import import_tfds
from vim_jax.data.tfds_source import ids_path
from vim_jax.data.writers import locked, make_folder, temporary_beside


class TfdsWriter:
    """Write images, one at a time, into a data set that TFDS reads as it is.

    A context manager. The data set is built in a hidden folder beside its final place
    and moved there when the `with` block ends; if that ends with an exception, nothing
    is left behind. Images are read back in the order in which they were added, with
    `tfds.builder_from_directory(path).as_data_source("train")` or
    `vim_jax.data.tfds(path, "train")`. Of the images
    added, only the ids stay in memory.

    Features: "image", uint8 or uint16 `(None, None, c)`; "id", text; and "label", a
    `ClassLabel`, if there are label names. Image heights and widths may vary.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        label_names: Sequence[str] | None = None,
        description: str = "Images mixed by vim_jax.",
    ) -> None:
        """Prepares a data set; creates nothing but a hidden folder.

        Args:
          path: the folder of the data set, which must not exist yet.
          label_names: the names of the classes; None for a set without labels.
          description: what TFDS shows as the description of the data set.

        Raises:
          DataError: if `path` exists, if label names are repeated, or if TFDS does not
            work here.
          WriteError: if its folder cannot be written to.
        """
        import_tfds()
        self._path = pathlib.Path(path)
        self._label_names = None if label_names is None else tuple(label_names)
        self._description = description
        if os.path.lexists(self._path):
            raise DataError(f"{self._path} exists: choose another path or remove it")
        names = self._label_names or ()
        if len(set(names)) != len(names) or any("\n" in name for name in names):
            raise DataError(
                f"label_names {names} repeat a name or hold a line break: rename them"
            )
        self._failure: DataError | None = None
        self._mode: str | None = None
        # The values are nothing: a dictionary is a set that keeps the order.
        self._ids: dict[str, dict[str, None]] = {}
        self._shards: dict[str, list[ShardWriter]] = {}
        self._folder = temporary_beside(self._path)
        try:
            make_folder(self._path.parent)
        except OSError as error:
            raise self._cannot_write(error) from error
        # Tells it from what killed processes left, which may be removed.
        self._lock = contextlib.ExitStack()
        self._lock.enter_context(locked(self._folder))

    @property
    def folder(self) -> pathlib.Path:
        """The hidden folder, whose files all move to the final place at the end."""
        return self._folder

    def __enter__(self) -> "TfdsWriter":
        """Returns the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives the data set its name, or removes it if there was an exception."""
        try:
            if kind is None:
                self._finish()
        finally:
            with contextlib.suppress(OSError):
                if self._folder.exists():
                    shutil.rmtree(self._folder)
            self._lock.close()

    def add(
        self,
        id: str,
        image: np.ndarray,
        label: int | None = None,
        *,
        split: str = "train",
    ) -> None:
        """Adds one image at the end of a split.

        An image that is refused changes nothing: others may follow. After a failure to
        write, the data set is lost: nothing more is accepted or given its name.

        Args:
          id: its name, unique within the split.
          image: uint8 or uint16 `(h, w)` or `(h, w, c)`, of the same mode as the first
            image added.
          label: an index into `label_names`, or None for an image without a label.
          split: the split that it belongs to.

        Raises:
          DataError: if the image cannot be stored, is of another mode than the first,
            has an id that was used before or a label that has no name.
          WriteError: if the data set cannot be written, and ever after.
        """
        if self._failure is not None:
            raise self._failure
        mode = check_example(id, image, label, self._label_names)
        if self._mode not in (None, mode):
            raise other_mode(id, mode, self._path, self._mode)
        if not split.isidentifier():
            raise DataError(f"split {split!r} is no name of a split: use letters")
        if id in self._ids.get(split, ()):
            raise DataError(f"id {id!r} was added twice: give each image its own id")
        try:
            example = serialize(id, image, label, self._label_names)
            self._open_shard(split).add(example)
        except Exception as error:
            self._failure = self._cannot_write(error)
            raise self._failure from error
        self._mode = mode
        self._ids.setdefault(split, {})[id] = None

    def _open_shard(self, split: str) -> ShardWriter:
        """Returns the last shard of a split, which may be a new one."""
        shards = self._shards.setdefault(split, [])
        if not shards or is_full(shards[-1].examples, shards[-1].size):
            if shards:
                shards[-1].close()
            shards.append(ShardWriter(shard_path(self._folder, split, len(shards))))
        return shards[-1]

    def _finish(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._mode is None:
            raise DataError(f"data set {self._path} has no images: add at least one")
        try:
            for shards in self._shards.values():
                shards[-1].close()
            write_description(
                self._folder,
                {
                    split: [(shard.examples, shard.size) for shard in shards]
                    for split, shards in self._shards.items()
                },
                mode=self._mode,
                label_names=self._label_names,
                description=self._description,
            )
            for split, ids in self._ids.items():
                text = "".join(map(id_line, ids))
                ids_path(self._folder, split).write_text(text, "utf-8")
            # Fails where another process has put something there in the meantime.
            publish_folder(self._folder, self._path)
        except Exception as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: Exception) -> WriteError:
        return WriteError(
            f"data set {self._path} cannot be written ({brief(error)}): choose another "
            "path or make room"
        )
