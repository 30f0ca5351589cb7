"""Sources list without decoding, read at random, and explain what they refuse."""

import concurrent.futures
import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import subprocess
import sys
import types

import grain
import numpy as np
import pytest
from PIL import Image

from vim_jax.data import (
    DataError,
    Source,
    collisions,
    embedded,
    folder,
    open_source,
    output_name,
    split_names,
    tfds,
    train_test_arrays,
)


def put(root, name, value=0, size=(4, 3)):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def sentence(error):
    message = str(error.value)
    assert "\n" not in message
    assert ": " in message, "no remedy"
    return message


def test_folder_lists_sorted_relative_paths_with_classes(tmp_path):
    put(tmp_path, "dogs/rex 1.jpg", 10)
    put(tmp_path, "dogs/old/Ärger.PNG", 20)
    put(tmp_path, "cats/a.webp", 30)
    put(tmp_path, "dogs.bmp", 40)  # "." comes before "/"
    put(tmp_path, ".hidden/x.png")
    put(tmp_path, "cats/.x.png")
    (tmp_path / "cats/notes.txt").write_text("no image")
    (tmp_path / "cats/model.gif").write_bytes(b"")
    source = folder(tmp_path)
    assert isinstance(source, Source)
    assert source.ids == (
        "cats/a.webp",
        "dogs.bmp",
        "dogs/old/Ärger.PNG",
        "dogs/rex 1.jpg",
    )
    assert source.label_names == ("cats", "dogs")
    assert source.skipped == ("cats/model.gif", "cats/notes.txt")
    examples = [source[i] for i in range(len(source))]
    assert [example.label for example in examples] == [0, None, 1, 1]
    assert [example.id for example in examples] == list(source.ids)
    assert [e.suffix for e in examples] == [".webp", ".bmp", ".PNG", ".jpg"]
    assert (examples[2].mode, examples[2].image.tolist()) == ("L", [[20] * 4] * 3)
    assert source[-1].id == "dogs/rex 1.jpg"
    with pytest.raises(IndexError):
        source[4]


def test_folder_without_classes_has_no_labels(tmp_path):
    put(tmp_path, "b.png")
    put(tmp_path, "a.png")
    source = folder(str(tmp_path))
    assert source.ids == ("a.png", "b.png")
    assert source.label_names is None
    assert source[0].label is None


def test_folder_opens_files_only_when_asked(tmp_path):
    put(tmp_path, "good.png", 7)
    (tmp_path / "bad.png").write_bytes(b"nonsense")
    source = folder(tmp_path)
    assert source[1].image[0, 0] == 7
    with pytest.raises(DataError, match=r"bad\.png"):
        source[0]
    with pytest.raises(DataError, match="max_pixels=12"):
        folder(tmp_path, max_pixels=11)[1]


def test_folder_survives_links_and_pipes(tmp_path):
    put(tmp_path, "a/x.png")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "dead.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    source = folder(tmp_path)
    assert source.ids == ("a/x.png", "b/x.png")
    assert source.skipped == ("a/up", "b/up", "dead.png", "pipe.png")


def test_folder_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/a.txt").write_text("")
    for name, word in [
        ("missing", "does not exist"),
        ("file", "is not a folder"),
        ("empty", "1 other files"),
    ]:
        with pytest.raises(DataError) as error:
            folder(tmp_path / name)
        message = sentence(error)
        assert word in message
        assert str(tmp_path / name) in message


def test_folder_names_must_be_utf8(tmp_path):
    try:
        pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(DataError) as error:
        folder(tmp_path)
    assert "rename" in sentence(error)


def test_sources_work_in_threads_processes_and_grain(tmp_path):
    for i in range(20):
        put(tmp_path, f"{i % 2}/{i:02}.png", i)
    source = folder(tmp_path)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        values = [int(e.image[0, 0]) for e in pool.map(source.__getitem__, range(20))]
    assert values == [int(source[i].image[0, 0]) for i in range(20)]
    assert pickle.loads(pickle.dumps(source))[3].id == source.ids[3]
    dataset = grain.MapDataset.source(source).map(lambda example: example.label)
    assert [dataset[i] for i in range(20)] == [0] * 10 + [1] * 10


def test_output_names():
    assert output_name("d/rex 1.JPG", ".png") == "d/rex 1.png"
    assert output_name("train-000001", ".png") == "train-000001.png"
    assert output_name("d/v1.2", ".webp") == "d/v1.2.webp"


@pytest.mark.parametrize(
    "id", ["../a.png", "a/../../b.png", "/etc/a.png", "a//b.png", "", "a\0.png", "a\\b"]
)
def test_output_names_stay_inside_the_folder(id):
    with pytest.raises(DataError) as error:
        output_name(id, ".png")
    assert repr(id) in sentence(error)


def test_collisions_keep_the_first_by_name():
    ids = ["d/a.png", "d/a.jpg", "d/A.webp", "d/b.png", "e/a.png", "D/b.tif"]
    assert collisions(ids, ".png") == {
        "d/a.jpg": "d/A.webp",
        "d/a.png": "d/A.webp",
        "d/b.png": "D/b.tif",
    }
    assert collisions(["a.png", "b.png"], ".png") == {}


def test_collisions_of_unicode_forms_and_of_folders():
    composed, decomposed = "caf\u00e9.png", "cafe\u0301.png"
    assert collisions([composed, decomposed], ".png") == {composed: decomposed}
    assert collisions(["a.jpg", "a.png/b.jpg"], ".png") == {"a.jpg": "a.png/b.jpg"}


@pytest.mark.parametrize(
    ("name", "count", "names"),
    [
        ("photographs", 8, None),
        ("faces", 200, ("non-face", "face")),
        ("digits", 1797, tuple("0123456789")),
    ],
)
def test_embedded_sets(name, count, names):
    source = embedded(name)
    assert len(source) == len(set(source.ids)) == count
    assert source.label_names == names
    for i in (0, count // 2, count - 1):
        example = source[i]
        assert example.id == source.ids[i]
        assert example.image.dtype == np.uint8
        assert int(np.ptp(example.image)) > 30
        assert (example.label is None) == (names is None)


def test_embedded_values():
    photographs = embedded("photographs")
    modes = [photographs[i].mode for i in range(8)]
    assert sorted(set(modes)) == ["L", "RGB"]
    faces, digits = embedded("faces"), embedded("digits")
    assert faces[0].image.shape == (25, 25)
    assert [faces[i].label for i in (0, 99, 100, 199)] == [1, 1, 0, 0]
    assert digits[0].image.shape == (8, 8)
    assert [digits[i].label for i in range(10)] == list(range(10))
    assert digits[0].image[0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    before = digits[0].image.copy()
    digits[0].image[:] = 0  # what a caller does to its copy stays there
    np.testing.assert_array_equal(digits[0].image, before)


def test_embedded_without_its_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("photographs", "faces", "digits"):
        with pytest.raises(DataError) as error:
            embedded(name)
        assert "pip install '.[demo]'" in sentence(error)
    with pytest.raises(DataError, match="'cats' is unknown: choose photographs"):
        embedded("cats")


def test_importing_the_package_stays_light():
    code = (
        "import sys, vim_jax.data; heavy = {'tensorflow_datasets', 'tensorflow', "
        "'skimage', 'sklearn', 'flax'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


# Real data.


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


def test_old_protobuf_and_missing_tfds_are_said(monkeypatch):
    half = types.ModuleType("tensorflow_datasets")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", half)
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.25.8")
    with pytest.raises(DataError) as error:
        tfds("mnist", "train")
    message = sentence(error)
    assert "protobuf 4.25.8 is too old" in message
    assert "protobuf>=6.33" in message
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(DataError, match="pip install tensorflow-datasets"):
        tfds("mnist", "train")


def test_open_source_finds_each_kind(tfds_dir, tmp_path, monkeypatch):
    put(tmp_path, "mnist/a.png")
    assert open_source("embedded:digits").ids[0] == "digits-000000"
    assert open_source(tmp_path).ids == ("mnist/a.png",)
    assert len(open_source("mnist", split="test", data_dir=tfds_dir)) == 10000
    assert len(open_source(tfds_dir / "mnist/3.0.1", split="test")) == 10000
    assert set(split_names("mnist", tfds_dir)) == {"train", "test"}
    monkeypatch.chdir(tmp_path)
    assert open_source("mnist").ids == ("a.png",)  # a folder comes before TFDS


def test_open_source_refuses(tfds_dir, tmp_path):
    put(tmp_path, "a.png")
    for spec, split, words in [
        ("mnist", None, ["split is missing", "train"]),
        (tmp_path, "train", ["'train'", "no splits"]),
        ("embedded:digits", "train", ["'train'", "no splits"]),
        (tmp_path / "missing", None, ["does not exist"]),
        ("./missing", None, ["./missing does not exist"]),
        ("embedded:cats", None, ["'cats'"]),
    ]:
        with pytest.raises(DataError) as error:
            open_source(spec, split=split, data_dir=tfds_dir)
        message = sentence(error)
        for word in words:
            assert word in message


def test_train_test_digits():
    calls = []
    (train, train_labels), (test, test_labels), names = train_test_arrays(
        "embedded:digits", progress=lambda done, total: calls.append((done, total))
    )
    assert (train.dtype, train.shape[1:]) == (np.uint8, (8, 8, 1))
    assert len(train) + len(test) == 1797
    assert names == tuple("0123456789")
    for label in range(10):
        count = (train_labels == label).sum() + (test_labels == label).sum()
        assert (test_labels == label).sum() == count // 5
    source = embedded("digits")
    everything = np.concatenate([train, test])
    whole = np.stack([source[i].image for i in range(1797)])[..., None]
    assert sorted(map(bytes, everything)) == sorted(map(bytes, whole))
    assert calls[0] == (1, 1797)
    assert calls[-1] == (1797, 1797)
    again = train_test_arrays("embedded:digits")
    np.testing.assert_array_equal(again.test.images, test)


def test_train_test_limit():
    full, some = (train_test_arrays("embedded:digits", limit=n) for n in (None, 50))
    for part, limited in zip(full[:2], some[:2], strict=True):
        assert limited.images.shape == (50, 8, 8, 1)
        np.testing.assert_array_equal(limited.images, part.images[:50])
        np.testing.assert_array_equal(limited.labels, part.labels[:50])


def test_train_test_of_tfds(tfds_dir):
    calls = []
    train, test, names = train_test_arrays(
        "cifar10", data_dir=tfds_dir, limit=30, progress=lambda *n: calls.append(n)
    )
    assert train.images.shape == test.images.shape == (30, 32, 32, 3)
    assert names[0] == "airplane"
    for part, split in [(train, "train"), (test, "test")]:
        source = tfds("cifar10", split, tfds_dir)
        np.testing.assert_array_equal(part.images[29], source[29].image)
        assert part.labels[29] == source[29].label
    assert calls[-1] == (60, 60)


def test_train_test_uses_the_validation_split(tfds_dir):
    if not (tfds_dir / "imagenette").is_dir():
        pytest.skip("no imagenette")
    train, test, _ = train_test_arrays(
        "imagenette/160px-v2", data_dir=tfds_dir, limit=3
    )
    assert train.images.shape == (3, 160, 160, 3)
    source = tfds("imagenette/160px-v2", "validation", tfds_dir)
    np.testing.assert_array_equal(test.images[2], source[2].image)


def test_train_test_of_a_folder(tmp_path):
    for label in "ab":
        for i in range(5):
            put(tmp_path, f"{label}/{i}.png", i)
    train, test, names = train_test_arrays(tmp_path)
    assert (len(train.images), len(test.images), names) == (8, 2, ("a", "b"))
    assert test.labels.tolist() == [0, 1]
    assert test.images[:, 0, 0, 0].tolist() == [4, 4]


def test_train_test_refuses(tmp_path):
    put(tmp_path, "mixed/a/1.png")
    put(tmp_path, "mixed/a/2.png", size=(5, 3))
    put(tmp_path, "bare/1.png")
    put(tmp_path, "few/a/1.png")
    for spec, limit, words in [
        (tmp_path / "mixed", None, ["'a/2.png'", "(3, 5, 1)", "one size"]),
        (tmp_path / "bare", None, ["'1.png'", "no label"]),
        (tmp_path / "few", None, ["1 training and 0 test"]),
        ("embedded:photographs", None, ["'astronaut'", "no label"]),
        ("embedded:digits", 0, ["limit is 0"]),
    ]:
        with pytest.raises(DataError) as error:
            train_test_arrays(spec, limit=limit)
        message = sentence(error)
        for word in words:
            assert word in message
