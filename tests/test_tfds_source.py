"""TFDS data sets are read without TensorFlow, and explain what they refuse."""

import concurrent.futures
import io
import json
import pickle
import shutil
import struct
import sys
from unittest import mock

import numpy as np
import pytest
from folders import sentence
from PIL import Image

from vim_jax.data import (
    DataError,
    Source,
    tfds,
)


@pytest.mark.parametrize(
    ("name", "split", "count", "mode", "shape"),
    [
        ("mnist", "test", 10000, "L", (28, 28)),
        ("cifar10", "train", 50000, "RGB", (32, 32, 3)),
    ],
)
def test_tfds_gives_what_tfds_gives(tfds_dir, name, split, count, mode, shape):
    library = pytest.importorskip("tensorflow_datasets")
    source = tfds(name, split, tfds_dir)
    expected = library.data_source(name, split=split, data_dir=tfds_dir, download=False)
    assert isinstance(source, Source)
    assert len(source) == count
    assert len(source.label_names or ()) == 10
    assert source.ids[:2] == (f"{split}-000000", f"{split}-000001")
    for i in (0, 17, count - 1):
        example = source[i]
        assert (example.id, example.mode) == (f"{split}-{i:06d}", mode)
        assert example.image.shape == shape
        np.testing.assert_array_equal(
            example.image.reshape(expected[i]["image"].shape), expected[i]["image"]
        )
        assert example.label == expected[i]["label"]


@pytest.mark.parametrize(
    ("name", "labels"), [("imagenette/160px-v2", 10), ("voc/2007", None)]
)
def test_tfds_photographs(tfds_dir, name, labels):
    library = pytest.importorskip("tensorflow_datasets")
    if not (tfds_dir / name).is_dir():
        pytest.skip(f"no {name}")
    source = tfds(name, "validation", tfds_dir)
    expected = library.builder(name, data_dir=tfds_dir).as_data_source("validation")
    for i in (0, len(source) - 1):
        np.testing.assert_array_equal(source[i].image, expected[i]["image"])
    assert (source.label_names and len(source.label_names)) == labels
    assert (source[0].label is None) == (labels is None)


def test_tfds_slices_keep_the_ids_of_the_split(tfds_dir):
    whole, part = tfds("mnist", "test", tfds_dir), tfds("mnist", "test[5:9]", tfds_dir)
    assert part.ids == whole.ids[5:9]
    np.testing.assert_array_equal(part[1].image, whole[6].image)
    both = tfds("mnist", "train[:2]+test[:1]", tfds_dir)
    assert both.ids == ("train-000000", "train-000001", "test-000000")
    with pytest.raises(DataError, match="names some images twice"):
        tfds("mnist", "test+test[:1]", tfds_dir)


def test_tfds_in_threads_and_pickled(tfds_dir):
    source = tfds("cifar10", "test", tfds_dir)
    expected = [source[i].image for i in range(50)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda i: source[i].image, range(50)))
    np.testing.assert_array_equal(again, expected)
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy[7].image, expected[7])


@pytest.mark.parametrize(
    ("name", "split", "words"),
    [
        ("nonsense", "train", ["'nonsense'", "unknown", "spelling"]),
        ("cifar100", "train", ["'cifar100'", "not prepared", "download_and_prepare"]),
        ("imagenette", "train", ["not prepared", "imagenette/160px-v2"]),
        ("cifar10", "dev", ["'dev'", "train, test"]),
        ("cifar10", "train[", ["'train['", "train, test"]),
        ("a b", "train", ["'a b'", "check its name"]),
        ("cifar10:9.9.9", "train", ["9.9.9"]),
    ],
)
def test_tfds_refuses_in_one_sentence(tfds_dir, caplog, name, split, words):
    with pytest.raises(DataError) as error:
        tfds(name, split, tfds_dir)
    message = sentence(error)
    for word in words:
        assert word in message
    assert not caplog.records


def test_missing_shard_is_one_sentence(tfds_dir, tmp_path):
    copied = tmp_path / "mnist/3.0.1"
    copied.mkdir(parents=True)
    for path in (tfds_dir / "mnist/3.0.1").iterdir():
        if "array_record" not in path.name:
            shutil.copy(path, copied)
    with pytest.raises(DataError) as error:
        tfds("mnist", "test", tmp_path)[0]
    assert "mnist" in sentence(error)


def as_tfrecord(tfds_dir, data_dir, shards=2, count=10):
    """Rewrites the first MNIST test images in TFDS's default format, as TFDS lays it.

    The checksums are zero: they are not read.
    """
    library = pytest.importorskip("tensorflow_datasets")
    raw = library.builder("mnist", data_dir=tfds_dir).as_data_source(
        "test", deserialize_method=library.decode.DeserializeMethod.RAW_BYTES
    )
    target = data_dir / "mnist/3.0.1"
    shutil.copytree(
        tfds_dir / "mnist/3.0.1",
        target,
        ignore=shutil.ignore_patterns("*array_record*"),
    )
    per_shard = count // shards
    for shard in range(shards):
        records = [raw[shard * per_shard + i] for i in range(per_shard)]
        content = b"".join(
            struct.pack("<QI", len(record), 0) + record + b"\0\0\0\0"
            for record in records
        )
        name = f"mnist-test.tfrecord-{shard:05d}-of-{shards:05d}"
        (target / name).write_bytes(content)
    info = json.loads((target / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    info["splits"] = [split for split in info["splits"] if split["name"] == "test"]
    info["splits"][0]["shardLengths"] = [str(per_shard)] * shards
    (target / "dataset_info.json").write_text(json.dumps(info))
    return target


def test_default_tfrecord_format_is_read_without_tensorflow(tfds_dir, tmp_path):
    as_tfrecord(tfds_dir, tmp_path)
    expected = tfds("mnist", "test", tfds_dir)
    source = tfds("mnist", "test", tmp_path)
    assert len(source) == 10
    for i in (9, 0, 4, 5):
        np.testing.assert_array_equal(source[i].image, expected[i].image)
        assert source[i].label == expected[i].label
    part = tfds("mnist", "test[3:7]", tmp_path)
    for i in range(4):
        np.testing.assert_array_equal(part[i].image, expected[3 + i].image)
    assert "tensorflow" not in sys.modules


def test_damaged_tfrecord_is_one_sentence(tfds_dir, tmp_path):
    target = as_tfrecord(tfds_dir, tmp_path)
    first, second = sorted(target.glob("*.tfrecord-*"))
    first.write_bytes(first.read_bytes()[:-1])
    second.unlink()
    source = tfds("mnist", "test", tmp_path)
    for index, path, word in [(0, first, "cut short"), (9, second, "No such file")]:
        with pytest.raises(DataError) as error:
            source[index]
        message = sentence(error)
        assert str(path) in message
        assert word in message


def test_unreadable_format_names_the_recipe(tfds_dir, tmp_path):
    target = as_tfrecord(tfds_dir, tmp_path)
    info = json.loads((target / "dataset_info.json").read_text())
    info["fileFormat"] = "riegeli"
    (target / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(DataError) as error:
        tfds("mnist", "test", tmp_path)
    message = sentence(error)
    assert "riegeli" in message
    assert "file_format='array_record'" in message


def write_tfds(path, features, examples):
    """Writes a small data set of any features."""
    library = pytest.importorskip("tensorflow_datasets")
    path.mkdir()
    identity = library.core.DatasetIdentity(
        name="odd", version="1.0.0", data_dir=str(path), module_name="tests"
    )
    info = library.core.DatasetInfo(
        builder=identity, features=library.features.FeaturesDict(features)
    )
    writer = library.core.SequentialWriter(info, 10, file_format="array_record")
    writer.initialize_splits(["train"])
    writer.add_examples({"train": examples})
    writer.close_all()


def test_tfds_chooses_the_image_and_the_label(tmp_path):
    features = pytest.importorskip("tensorflow_datasets").features
    picture = features.Tensor(shape=(2, 2, 1), dtype=np.uint8, encoding="bytes")
    value = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    kind = features.ClassLabel(names=["x", "y"])
    cases = {
        "none": ({"n": features.Scalar(np.int64)}, {"n": 1}),
        "two": ({"a": picture, "b": picture}, {"a": value, "b": value}),
        "other": ({"photo": picture, "kind": kind}, {"photo": value, "kind": 1}),
        "labels": (
            {"image": picture, "coarse": kind, "label": kind},
            {"image": value, "coarse": 0, "label": -1},
        ),
        "unclear": (
            {"image": picture, "one": kind, "two": kind},
            {"image": value, "one": 0, "two": 1},
        ),
    }
    for name, (spec, example) in cases.items():
        write_tfds(tmp_path / name, spec, [example])
    for name, word in [("none", "no image feature"), ("two", "several images (a, b)")]:
        with pytest.raises(DataError) as error:
            tfds(str(tmp_path / name), "train")
        assert word in sentence(error)
    other = tfds(str(tmp_path / "other"), "train")
    assert (other[0].label, other.label_names) == (1, ("x", "y"))
    np.testing.assert_array_equal(other[0].image, value[..., 0])
    unlabelled = tfds(str(tmp_path / "labels"), "train")
    assert (unlabelled[0].label, unlabelled.label_names) == (None, ("x", "y"))
    unclear = tfds(str(tmp_path / "unclear"), "train")
    assert (unclear[0].label, unclear.label_names) == (None, None)


def test_tfds_images_are_not_turned_and_grey_ones_become_rgb(tmp_path):
    features = pytest.importorskip("tensorflow_datasets").features
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = io.BytesIO()
    Image.linear_gradient("L").resize((16, 8)).save(stored, "JPEG", exif=exif)
    spec = {"image": features.Image(shape=(None, None, 3), encoding_format="jpeg")}
    write_tfds(tmp_path / "set", spec, [{"image": io.BytesIO(stored.getvalue())}])
    example = tfds(str(tmp_path / "set"), "train")[0]
    assert (example.mode, example.note) == ("RGB", "converted from L to RGB")
    grey = np.array(Image.open(stored))
    np.testing.assert_array_equal(example.image, np.stack([grey] * 3, axis=-1))


@pytest.fixture
def tfds_package(monkeypatch, tmp_path):
    """Yields a folder from which TFDS is imported, and what was imported forgotten."""
    package = tmp_path / "tensorflow_datasets"
    package.mkdir()
    # It only logs why it stopped half-way.
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.25.8")
    with mock.patch.dict(sys.modules):
        for name in [x for x in sys.modules if x.startswith("tensorflow_datasets")]:
            del sys.modules[name]
        yield package


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("raise TypeError('no descriptors')", "(no descriptors) with protobuf 4.25.8"),
        ("raise TypeError('no descriptors')", "pip install 'protobuf>=6.33'"),
        ("import promise_of_tfds", "because promise_of_tfds is missing: pip install"),
        ("", "damaged: pip install"),
    ],
)
def test_what_keeps_tfds_from_being_imported_is_said(tfds_package, cause, said):
    (tfds_package / "public_api.py").write_text(cause)
    with pytest.raises(DataError) as error:
        tfds("mnist", "train")
    assert said in sentence(error)


def test_missing_tfds_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match="pip install tensorflow-datasets"):
        tfds("mnist", "train")
