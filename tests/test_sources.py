"""Sources list without decoding, read at random, and explain what they refuse."""

import concurrent.futures
import os
import pathlib
import pickle
import subprocess
import sys

import grain
import numpy as np
import pytest
from folders import put, sentence

from vim_jax.data import (
    DataError,
    Source,
    collisions,
    embedded,
    folder,
    open_source,
    output_name,
    split_names,
)


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
    (tmp_path / "itself.png").symlink_to("itself.png")
    os.mkfifo(tmp_path / "pipe.png")
    source = folder(tmp_path)
    assert source.ids == ("a/x.png", "b/x.png")
    assert source.skipped == ("a/up", "b/up", "dead.png", "itself.png", "pipe.png")


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
    pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).unlink()
    pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt")).touch()
    put(tmp_path, "a.png", 1)
    source = folder(tmp_path)
    assert (list(source.ids), len(source.skipped)) == (["a.png"], 1)


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
