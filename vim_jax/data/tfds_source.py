"""Prepared TFDS data sets as a source, without TensorFlow."""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from vim_jax.data.decode import decode_bytes
from vim_jax.data.encode import as_mode, mode_of
from vim_jax.data.errors import DataError, brief
from vim_jax.data.example import Example, LazySource
from vim_jax.data.tfds_library import import_tfds, quiet
from vim_jax.data.tfrecord import Shard, TfRecords


def tfds(
    name: str,
    split: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    max_pixels: int | None = None,
) -> LazySource:
    """Opens one split of a data set that TFDS has prepared; downloads nothing.

    Both the array_record and the default tfrecord format are read, and neither needs
    TensorFlow. Images are decoded by Pillow and, as in TFDS, not turned by their EXIF
    orientation, so that bounding boxes still fit.

    Args:
      name: the data set as TFDS calls it, such as "cifar10" or "imagenette/160px-v2",
        or the folder of a prepared one, which holds a `dataset_info.json`.
      split: a split, or a part of one such as "train[:10%]".
      data_dir: where the prepared data sets lie; by default TFDS's own place.
      max_pixels: the largest image to decode; see `decode`.

    Returns:
      The source. Ids are "train-000000" and so on, counted from the start of the
      split, also for a part; a set written by `TfdsWriter` has the ids given to it.
      Labels are those of the feature "label", or of the only `ClassLabel`.

    Raises:
      DataError: if there is no such data set or split, if it is not prepared or has
        no image, or if TFDS does not work here.
    """
    builder = open_builder(name, data_dir)
    features = builder.info.features
    image_key = _image_key(features, name)
    label_key = _label_key(features)
    names = features[label_key].names if label_key else None
    ids = _ids(builder, split, name)
    records = _records(builder, split, name, image_key)
    feature = features[image_key]
    channels = feature.shape[-1] if _is_encoded(feature) else None
    read = functools.partial(
        _read, records, ids, name, image_key, channels, label_key, max_pixels
    )
    return LazySource(ids, read, tuple(names) if names else None)


def split_names(
    name: str, data_dir: str | os.PathLike[str] | None = None
) -> tuple[str, ...]:
    """Returns the names of the splits of a prepared data set.

    Raises:
      DataError: as `tfds`.
    """
    return tuple(open_builder(name, data_dir).info.splits)


def is_prepared_folder(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is the folder of a data set prepared by TFDS."""
    return (pathlib.Path(path) / "dataset_info.json").is_file()


def open_builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """Returns the TFDS builder of a prepared data set.

    Raises:
      DataError: as `tfds`.
    """
    library = import_tfds()
    place = "TFDS's default data_dir" if data_dir is None else os.fspath(data_dir)
    try:
        with quiet():
            if is_prepared_folder(name):
                return library.builder_from_directory(name)
            builder = library.builder(name, data_dir=data_dir)
            prepared = builder.is_prepared()
    except library.core.DatasetNotFoundError:
        raise DataError(
            f"data set {name!r} is unknown to TFDS and not in {place}: check the "
            "spelling and data_dir"
        ) from None
    except Exception as error:
        raise DataError(
            f"data set {name!r} cannot be opened in {place} ({brief(error)}): check "
            "its name and data_dir"
        ) from error
    if not prepared:
        raise DataError(
            f"data set {name!r} is not prepared in {place}{_found(name, data_dir)}: "
            f"pass another data_dir or {_recipe(name)}"
        )
    return builder


def _recipe(name: str) -> str:
    return (
        f"run tfds.builder({name!r}, file_format='array_record').download_and_prepare()"
    )


def _found(name: str, data_dir: str | os.PathLike[str] | None) -> str:
    """Names the configurations that are there when the one asked for is not."""
    if data_dir is None:
        return ""
    base = name.partition("/")[0].partition(":")[0]
    folders = pathlib.Path(data_dir, base).glob("*/*/dataset_info.json")
    found = sorted({f"{base}/{path.parents[1].name}" for path in folders})
    return f" (which has {', '.join(found)})" if found else ""


def _image_key(features: Any, name: str) -> str:
    library = import_tfds()
    keys = []
    if isinstance(features, library.features.FeaturesDict):
        for key, feature in features.items():
            encoded = _is_encoded(feature)
            # Subclasses of Tensor are labels, texts and boxes.
            raw = type(feature) is library.features.Tensor and len(feature.shape) == 3
            if (encoded or raw) and feature.np_dtype in (np.uint8, np.uint16):
                keys.append(key)
    if "image" in keys:
        return "image"
    if len(keys) != 1:
        many = f"several images ({', '.join(sorted(keys))})"
        what = many if keys else "no image feature"
        raise DataError(
            f"data set {name!r} has {what}: choose a data set with one feature 'image'"
        )
    return keys[0]


def _is_encoded(feature: Any) -> bool:
    """Returns whether a feature holds image files; masks do not count."""
    features = import_tfds().features
    labelled = isinstance(feature, features.LabeledImage)
    return isinstance(feature, features.Image) and not labelled


def _label_key(features: Any) -> str | None:
    label = import_tfds().features.ClassLabel
    keys = [key for key, feature in features.items() if isinstance(feature, label)]
    if "label" in keys:
        return "label"
    return keys[0] if len(keys) == 1 else None


def _ids(builder: Any, split: str, name: str) -> tuple[str, ...]:
    """Returns the ids of a split or of a part of one."""
    library = import_tfds()
    splits = builder.info.splits
    try:
        parts = library.core.ReadInstruction.from_spec(split).to_absolute(splits)
    except Exception as error:
        raise DataError(
            f"split {split!r} of data set {name!r} does not exist: choose one of "
            f"{', '.join(splits) or 'none'}"
        ) from error
    ids: list[str] = []
    for part in parts:
        wanted = range(splits[part.splitname].num_examples)[part.from_ : part.to]
        stored = ids_path(builder.data_dir, part.splitname)
        if stored.is_file():
            lines = stored.read_text(encoding="utf-8").splitlines()
            ids += [json.loads(lines[i]) for i in wanted]
        else:
            ids += [f"{part.splitname}-{i:06d}" for i in wanted]
    if len(set(ids)) != len(ids):
        raise DataError(f"split {split!r} names some images twice: remove the overlap")
    return tuple(ids)


def ids_path(folder: str | os.PathLike[str], split: str) -> pathlib.Path:
    """Returns the file in which `TfdsWriter` notes the ids of a split.

    The records hold them too, but to learn them there means to read every image.
    """
    return pathlib.Path(folder) / f"ids-{split}.jsonl"


@dataclasses.dataclass(frozen=True)
class _Records:
    """The examples of a split, parsed, with images still encoded."""

    raw: Sequence[bytes] | TfRecords
    features: Any
    decoders: dict[str, Any] | None

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.raw[index]
        return self.features.deserialize_example_np(record, decoders=self.decoders)


def _records(builder: Any, split: str, name: str, image_key: str) -> _Records:
    library = import_tfds()
    features = builder.info.features
    decoders = None
    if _is_encoded(features[image_key]):
        # TFDS would decode with OpenCV where there is one, whose JPEGs differ.
        decoders = {image_key: library.decode.SkipDecoding()}
    formats = {fmt.value for fmt in builder.info.available_file_formats()}
    try:
        if "array_record" in formats:
            raw = builder.as_data_source(
                split,
                deserialize_method=library.decode.DeserializeMethod.RAW_BYTES,
                file_format="array_record",
            )
            return _Records(raw, features, decoders)
        if "tfrecord" in formats:
            files = builder.info.splits[split].file_instructions
            shards = (Shard(str(f.filename), f.skip, f.take) for f in files)
            return _Records(TfRecords(tuple(shards)), features, decoders)
    except Exception as error:
        raise DataError(
            f"data set {name!r} cannot be opened ({brief(error)}): {_recipe(name)}"
        ) from error
    raise DataError(
        f"data set {name!r} is stored as {', '.join(sorted(formats)) or 'nothing'}, "
        f"which cannot be read here: {_recipe(name)}"
    )


def _read(
    records: _Records,
    ids: tuple[str, ...],
    name: str,
    image_key: str,
    channels: int | None,
    label_key: str | None,
    max_pixels: int | None,
    index: int,
) -> Example:
    id = ids[index]
    try:
        example = records[index]
        stored = example[image_key]
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"image {id!r} of data set {name!r} cannot be read ({brief(error)}): "
            "prepare the data set again"
        ) from error
    note = None
    if isinstance(stored, bytes):
        decoded = decode_bytes(
            stored, f"image {id!r} of {name!r}", max_pixels=max_pixels, upright=False
        )
        image, mode, note = decoded.image, decoded.mode, decoded.note
        if mode == "L" and channels == 3:
            # The data set promises RGB; a few of its files are grey.
            image, mode = as_mode(image, "RGB"), "RGB"
            note = "; ".join([*filter(None, [note]), "converted from L to RGB"])
    else:
        mode = mode_of(stored)
        # A view into the record is read-only.
        image = np.array(stored[..., 0] if stored.shape[-1] == 1 else stored)
    label = int(example[label_key]) if label_key else -1
    # TFDS writes -1 for the labels of a test set that has none.
    return Example(id, image, label if label >= 0 else None, mode, None, note)
