"""Mixed images as a TFDS data set in array_record, without TensorFlow."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from vim_jax.data.encode import mode_of
from vim_jax.data.errors import DataError, WriteError, brief
from vim_jax.data.tfds_library import import_tfds, quiet
from vim_jax.data.tfds_source import ids_path
from vim_jax.data.writers import locked, make_folder, sync_folder, temporary_beside

NAME = "vim_jax_images"
VERSION = "1.0.0"

_SHARD_EXAMPLES = 10_000
# TFDS writes its description anew with every batch, so images wait for company.
_BATCH_EXAMPLES = 256
_BATCH_BYTES = 32 << 20
# TFDS reads back as many dimensions of a tensor's shape as the tensor has bytes.
_MIN_BYTES = 3


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
        """Prepare a data set; creates nothing but a hidden folder.

        Args:
          path: the folder of the data set, which must not exist yet.
          label_names: the names of the classes; None for a set without labels.
          description: what TFDS shows as the description of the data set.

        Raises:
          DataError: if `path` exists, if label names are repeated, or if TFDS does not
            work here.
          WriteError: if its folder cannot be written to.
        """
        self._library = import_tfds()
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
        self._writer: Any = None
        # The values are nothing: a dictionary is a set that keeps the order.
        self._ids: dict[str, dict[str, None]] = {}
        self._batch: list[tuple[str, dict[str, Any]]] = []
        self._batch_bytes = 0
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
        """Return the writer itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the data set its name, or removes it if there was an exception."""
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
        """Add one image at the end of a split.

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
        mode = mode_of(image)
        if self._mode not in (None, mode):
            raise DataError(
                f"image {id!r} has the mode {mode}, but the data set {self._path} was "
                f"begun with {self._mode}: convert it, or publish an image folder"
            )
        if image.nbytes < _MIN_BYTES:
            raise DataError(
                f"image {id!r} has {image.nbytes} bytes, and TFDS cannot read back a "
                f"tensor of fewer than {_MIN_BYTES}: publish an image folder"
            )
        if label is not None and not 0 <= label < len(self._label_names or ()):
            raise DataError(
                f"label {label} of image {id!r} has no name: pass label_names with at "
                f"least {max(label, 0) + 1} names and labels from 0 on"
            )
        if not split.isidentifier():
            raise DataError(f"split {split!r} is no name of a split: use letters")
        try:
            id.encode()
        except UnicodeEncodeError:
            raise DataError(f"id {id!r} is not valid UTF-8: rename the image") from None
        if id in self._ids.get(split, ()):
            raise DataError(f"id {id!r} was added twice: give each image its own id")
        example: dict[str, Any] = {"id": id, "image": image.copy()}
        example["image"].shape = (*image.shape[:2], -1)
        if self._label_names is not None:
            example["label"] = -1 if label is None else label
        try:
            self._open(mode, split)
            self._ids[split][id] = None
            self._batch.append((split, example))
            self._batch_bytes += image.nbytes
            full = len(self._batch) == _BATCH_EXAMPLES
            if full or self._batch_bytes >= _BATCH_BYTES:
                self._flush()
        except Exception as error:
            self._failure = self._cannot_write(error)
            raise self._failure from error

    def _open(self, mode: str, split: str) -> None:
        """Start the data set with the first image, and a split with its first."""
        if self._writer is None:
            self._writer = self._new_writer(mode)
            self._mode = mode
        if split not in self._ids:
            with quiet():
                self._writer.initialize_splits([split])
            self._ids[split] = {}

    def _new_writer(self, mode: str) -> Any:
        features, core = self._library.features, self._library.core
        dtype = np.uint16 if mode == "I;16" else np.uint8
        channels = {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
        # Raw bytes: shuffled pixels hardly compress, and TFDS's feature `Image` turns
        # arrays into PNG with TensorFlow only.
        spec = {
            "id": features.Text(),
            "image": features.Tensor(
                shape=(None, None, channels), dtype=dtype, encoding="bytes"
            ),
        }
        if self._label_names is not None:
            spec["label"] = features.ClassLabel(names=self._label_names)
        info = core.DatasetInfo(
            builder=core.DatasetIdentity(
                name=NAME,
                version=core.Version(VERSION),
                data_dir=os.fspath(self._folder),
                module_name="vim_jax",
            ),
            description=self._description,
            features=features.FeaturesDict(spec),
            disable_shuffling=True,
        )
        return core.SequentialWriter(
            info, max_examples_per_shard=_SHARD_EXAMPLES, file_format="array_record"
        )

    def _flush(self) -> None:
        batches: dict[str, list[dict[str, Any]]] = {}
        for split, example in self._batch:
            batches.setdefault(split, []).append(example)
        self._writer.add_examples(batches)
        self._batch, self._batch_bytes = [], 0

    def _finish(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._writer is None:
            raise DataError(f"data set {self._path} has no images: add at least one")
        try:
            self._flush()
            self._writer.close_all()
            for split, ids in self._ids.items():
                lines = (json.dumps(id) + "\n" for id in ids)
                ids_path(self._folder, split).write_text("".join(lines), "utf-8")
            for path in self._folder.iterdir():
                if path.is_file():
                    with open(path, "rb") as written:
                        os.fsync(written.fileno())
            sync_folder(self._folder)
            # Fails where another process has put something there in the meantime.
            self._folder.rename(self._path)
            sync_folder(self._path.parent)
        except Exception as error:
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: Exception) -> WriteError:
        return WriteError(
            f"data set {self._path} cannot be written ({brief(error)}): choose another "
            "path or make room"
        )
