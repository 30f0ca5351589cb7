"""The files of a TFDS data set in array_record, written without TensorFlow.

A data set is a folder. Its examples lie in shards, files of consecutive examples; its
description in `dataset_info.json` and `features.json`; the ids of a split in a file of
their own. Whoever writes the same examples in the same order writes the same bytes.
"""

import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from vim_jax.data.encode import mode_of
from vim_jax.data.errors import DataError
from vim_jax.data.tfds_library import import_tfds, quiet
from vim_jax.data.writers import sync_folder

NAME = "vim_jax_images"
VERSION = "1.0.0"

_SHARD_EXAMPLES = 10_000
_SHARD_BYTES = 256 << 20
# TFDS reads back as many dimensions of a tensor's shape as the tensor has bytes.
_MIN_BYTES = 3


def is_full(examples: int, size: int) -> bool:
    """Returns whether a shard of so many examples and bytes takes no more."""
    return examples >= _SHARD_EXAMPLES or size >= _SHARD_BYTES


def shard_path(folder: str | os.PathLike[str], split: str, index: int) -> pathlib.Path:
    """Returns the file of a shard, counted from 0."""
    return pathlib.Path(folder) / f"{NAME}-{split}.array_record-{index:05d}"


def id_line(id: str) -> str:
    """Returns an id as it stands in the list of the ids of a split."""
    return json.dumps(id) + "\n"


def check_example(
    id: str,
    image: np.ndarray,
    label: int | None,
    label_names: tuple[str, ...] | None,
) -> str:
    """Returns the mode of an example's image; takes what `serialize` takes.

    Raises:
      DataError: if no data set can hold the example.
    """
    mode = mode_of(image)
    if image.nbytes < _MIN_BYTES:
        raise DataError(
            f"image {id!r} has {image.nbytes} bytes, and TFDS cannot read back a "
            f"tensor of fewer than {_MIN_BYTES}: publish an image folder"
        )
    if label is not None and not 0 <= label < len(label_names or ()):
        raise DataError(
            f"label {label} of image {id!r} has no name: pass label_names with at "
            f"least {max(label, 0) + 1} names and labels from 0 on"
        )
    try:
        id.encode()
    except UnicodeEncodeError:
        raise DataError(f"id {id!r} is not valid UTF-8: rename the image") from None
    return mode


def other_mode(
    id: str, mode: str, path: str | os.PathLike[str], first: str
) -> DataError:
    """Returns the error of an image whose mode is not that of the first image."""
    return DataError(
        f"image {id!r} has the mode {mode}, but the data set {os.fspath(path)} was "
        f"begun with {first}: convert it, or publish an image folder"
    )


def serialize(
    id: str,
    image: np.ndarray,
    label: int | None,
    label_names: tuple[str, ...] | None,
) -> bytes:
    """Returns an example as it stands in a shard.

    Args:
      id: its name.
      image: uint8 or uint16 `(h, w)` or `(h, w, c)`.
      label: an index into `label_names`, or None for an image without a label.
      label_names: the names of the classes; None for a set without labels.
    """
    example: dict[str, Any] = {
        "id": id,
        "image": image.reshape(*image.shape[:2], -1),
    }
    if label_names is not None:
        example["label"] = -1 if label is None else label
    return _serializer(mode_of(image), label_names)(example)


@functools.lru_cache
def _serializer(
    mode: str, label_names: tuple[str, ...] | None
) -> Callable[[dict[str, Any]], bytes]:
    features = _features(mode, label_names)
    library = import_tfds()
    serializer = library.core.example_serializer.ExampleSerializer(
        features.get_serialized_info()
    )

    def serialized(example: dict[str, Any]) -> bytes:
        proto = serializer.get_tf_example(features.encode_example(example))
        # Otherwise the order of the features would be another in every process.
        return proto.SerializeToString(deterministic=True)

    return serialized


def _features(mode: str, label_names: tuple[str, ...] | None) -> Any:
    features = import_tfds().features
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
    if label_names is not None:
        spec["label"] = features.ClassLabel(names=label_names)
    return features.FeaturesDict(spec)


class ShardWriter:
    """Writes one shard.

    Attributes:
      examples: how many it holds.
      size: how many bytes they have.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Begins a new file."""
        # One record a group: any one can be read without its neighbours.
        self._writer = ArrayRecordWriter(os.fspath(path), "group_size:1")
        self.examples = self.size = 0

    def add(self, example: bytes) -> None:
        """Writes the next example."""
        self._writer.write(example)
        self.examples += 1
        self.size += len(example)

    def close(self) -> None:
        """Finishes the file."""
        self._writer.close()


def write_description(
    folder: str | os.PathLike[str],
    splits: Mapping[str, Iterable[tuple[int, int]]],
    *,
    mode: str,
    label_names: tuple[str, ...] | None,
    description: str = "Images mixed by vim_jax.",
) -> None:
    """Writes what TFDS needs to know to read the shards in a folder.

    Args:
      folder: where the shards are.
      splits: name -> the number of examples and of bytes of each shard, in order.
      mode: the images' mode.
      label_names: the names of the classes; None for a set without labels.
      description: what TFDS shows as the description of the data set.
    """
    library = import_tfds()
    core, file_format = library.core, "array_record"
    info = core.DatasetInfo(
        builder=core.DatasetIdentity(
            name=NAME,
            version=core.Version(VERSION),
            data_dir=os.fspath(folder),
            module_name="vim_jax",
        ),
        description=description,
        features=_features(mode, label_names),
        disable_shuffling=True,
    )
    info.set_file_format(file_format)
    template = core.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=NAME,
        filetype_suffix=file_format,
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
    )
    infos = []
    for split, shards in splits.items():
        lengths, sizes = zip(*shards, strict=True)
        infos.append(
            core.SplitInfo(
                name=split,
                shard_lengths=list(lengths),
                num_bytes=sum(sizes),
                filename_template=template.replace(split=split),
            )
        )
    with quiet():
        info.set_splits(core.splits.SplitDict(infos))
        info.write_to_directory(folder)


def publish_folder(folder: pathlib.Path, path: pathlib.Path) -> None:
    """Brings the files of a folder to the disk and gives it its final name.

    Raises:
      OSError: if the disk fails, or the name is taken by a file or a folder that is
        not empty.
    """
    for file in folder.iterdir():
        if file.is_file():
            with open(file, "rb") as written:
                os.fsync(written.fileno())
    sync_folder(folder)
    folder.rename(path)
    sync_folder(path.parent)
