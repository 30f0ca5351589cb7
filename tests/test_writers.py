"""What is published is there in full, in order and readable, or not at all."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from folders import sentence

from vim_jax.data import (
    DataError,
    TfdsWriter,
    open_source,
    tfds,
    train_test_arrays,
)
from vim_jax.data.tfds_files import ShardWriter


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def image(height, width, *channels, seed=0, dtype=np.uint8):
    shape = (height, width, *channels)
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype, endpoint=True)


def test_tfds_round_trip_by_tfds_itself(tmp_path):
    library = pytest.importorskip("tensorflow_datasets")
    path = tmp_path / "new" / "set"
    images = [image(h, 3 * h + 1, 3, seed=h) for h in range(1, 30)]
    ids = [f"d/é {i}.png" for i in range(29)]
    with TfdsWriter(path, label_names=["cat", "dog é"]) as writer:
        for i in range(29):
            writer.add(ids[i], images[i], i % 2 if i != 5 else None)
        assert not path.exists()
    assert names(path.parent) == ["set"]
    builder = library.builder_from_directory(str(path))
    source = builder.as_data_source("train")
    assert builder.info.features["label"].names == ["cat", "dog é"]
    assert builder.info.features["image"].shape == (None, None, 3)
    assert builder.info.splits["train"].num_examples == 29
    for i in range(29):
        example = source[i]
        np.testing.assert_array_equal(example["image"], images[i])
        assert example["image"].dtype == np.uint8
        assert example["id"].decode() == ids[i]
        assert example["label"] == (i % 2 if i != 5 else -1)
    assert "tensorflow" not in sys.modules
    for stored in path.iterdir():
        assert str(tmp_path).encode() not in stored.read_bytes(), stored.name


@pytest.mark.parametrize(
    ("mode", "channels", "dtype"),
    [
        ("L", (), np.uint8),
        ("LA", (2,), np.uint8),
        ("RGB", (3,), np.uint8),
        ("RGBA", (4,), np.uint8),
        ("I;16", (), np.uint16),
    ],
)
def test_tfds_round_trip_of_every_mode(tmp_path, mode, channels, dtype):
    sizes = [(5, 300), (2, 2), (1, 3)]
    images = [image(*size, *channels, dtype=dtype) for size in sizes]
    with TfdsWriter(tmp_path / "set") as writer:
        for i in (2, 0, 1):
            writer.add(f"{i}.png", images[i])
    source = tfds(str(tmp_path / "set"), "train")
    assert source.ids == ("2.png", "0.png", "1.png")
    assert source.label_names is None
    for position, i in enumerate((2, 0, 1)):
        example = source[position]
        assert (example.id, example.mode, example.label) == (f"{i}.png", mode, None)
        assert example.image.dtype == dtype
        assert example.image.flags.writeable
        np.testing.assert_array_equal(example.image, images[i])


def test_one_pixel_with_three_channels(tmp_path):
    with TfdsWriter(tmp_path / "set") as writer:
        writer.add("one", np.array([[[1, 2, 3]]], np.uint8))
    assert tfds(str(tmp_path / "set"), "train")[0].image.tolist() == [[[1, 2, 3]]]


def test_writer_keeps_a_copy(tmp_path):
    pixels = image(3, 3)
    with TfdsWriter(tmp_path / "set") as writer:
        writer.add("a", pixels)
        expected = pixels.copy()
        pixels[:] = 0
    np.testing.assert_array_equal(
        tfds(str(tmp_path / "set"), "train")[0].image, expected
    )


def test_splits_and_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("vim_jax.data.tfds_files._SHARD_EXAMPLES", 4)
    path = tmp_path / "set"
    with TfdsWriter(path, label_names=["a", "b"]) as writer:
        for i in range(13):
            split = "test" if i % 4 == 3 else "train"
            writer.add(str(i), np.full((2, 2), i, np.uint8), i % 2, split=split)
    assert len(list(path.glob("*-train.array_record-*"))) == 3
    train, test = tfds(str(path), "train"), open_source(path, split="test")
    assert train.ids == tuple(str(i) for i in range(13) if i % 4 != 3)
    assert test.ids == ("3", "7", "11")
    for source in (train, test):
        for i in range(len(source)):
            assert source[i].image[0, 0] == int(source.ids[i])
    part = tfds(str(path), "train[4:6]")
    assert part.ids == train.ids[4:6]
    assert part[0].image[0, 0] == int(part.ids[0])
    arrays = train_test_arrays(path)
    assert arrays.test.images[:, 0, 0, 0].tolist() == [3, 7, 11]
    assert arrays.label_names == ("a", "b")


def test_interrupted_writer_leaves_nothing(tmp_path):
    def interrupted():
        with TfdsWriter(tmp_path / "set") as writer:
            writer.add("a", image(3, 3))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == []


def test_killed_writer_leaves_no_data_set_under_its_name(tmp_path):
    code = (
        "import os, sys, numpy as np; from vim_jax.data import TfdsWriter\n"
        "with TfdsWriter(sys.argv[1]) as writer:\n"
        "    for i in range(300): writer.add(str(i), np.zeros((4, 4), np.uint8))\n"
        "    os._exit(9)"
    )
    path = tmp_path / "set"
    result = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert result.returncode == 9
    assert [name.startswith(".vim-jax-tmp-") for name in names(tmp_path)] == [True]
    with TfdsWriter(path) as writer:  # and it is in nobody's way
        writer.add("a", image(3, 3))
    assert tfds(str(path), "train").ids == ("a",)


def test_writer_refuses_images_one_by_one(tmp_path):
    path = tmp_path / "set"
    with TfdsWriter(path, label_names=["a", "b"]) as writer:
        writer.add("first", image(3, 3, 3), 0)
        for id, pixels, label, split, words in [
            ("grey", image(3, 3), 0, "train", ["'grey'", "mode L", "RGB"]),
            ("float", image(3, 3, 3) / 255, 0, "train", ["float64"]),
            ("empty", image(0, 3, 3), 0, "train", ["(0, 3, 3)"]),
            ("first", image(3, 3, 3), 0, "train", ["'first'", "twice"]),
            ("high", image(3, 3, 3), 2, "train", ["label 2", "'high'", "3 names"]),
            ("low", image(3, 3, 3), -1, "train", ["label -1", "'low'"]),
            ("split", image(3, 3, 3), 0, "a/b", ["'a/b'"]),
            ("\udcff", image(3, 3, 3), 0, "train", ["UTF-8"]),
        ]:
            with pytest.raises(DataError) as error:
                writer.add(id, pixels, label, split=split)
            message = sentence(error)
            for word in words:
                assert word in message
        writer.add("last", image(3, 3, 3), 1)
    assert tfds(str(path), "train").ids == ("first", "last")


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 1, 2)])
def test_tensors_that_tfds_cannot_read_back_are_refused(tmp_path, shape):
    with pytest.raises(DataError) as error, TfdsWriter(tmp_path / "set") as writer:
        writer.add("tiny", np.zeros(shape, np.uint8))
    assert "'tiny'" in sentence(error)


def test_writer_refuses_its_arguments(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    for path, options, words in [
        ("there", {}, ["there exists"]),
        ("dead", {}, ["dead exists"]),
        ("file/set", {}, ["file/set", "cannot be written"]),
        ("set", {"label_names": ["a", "a"]}, ["label_names", "'a'"]),
        ("set", {"label_names": ["a\nb"]}, ["line break"]),
    ]:
        with pytest.raises(DataError) as error:
            TfdsWriter(tmp_path / path, **options)
        message = sentence(error)
        for word in words:
            assert word in message
    assert names(tmp_path) == ["dead", "file", "there"]


def test_set_without_images_is_refused(tmp_path):
    with pytest.raises(DataError, match="has no images"), TfdsWriter(tmp_path / "set"):
        pass
    assert names(tmp_path) == []


def test_name_taken_in_the_meantime_is_kept(tmp_path):
    path = tmp_path / "set"
    writer = TfdsWriter(path)
    writer.add("a", image(3, 3))
    path.mkdir()
    (path / "precious").write_text("mine")
    with pytest.raises(DataError) as error, writer:
        pass
    assert "set cannot be written" in sentence(error)
    assert names(tmp_path) == ["set"]
    assert names(path) == ["precious"]


def test_failing_disk_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    writer = TfdsWriter(tmp_path / "set")
    writer.add("a", image(3, 3))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DataError) as error, writer:
        pass
    assert "No space left on device" in sentence(error)
    assert names(tmp_path) == []


def test_after_a_failed_write_nothing_is_published(tmp_path, monkeypatch):
    path = tmp_path / "set"
    writer = TfdsWriter(path)
    writer.add("a", image(3, 3))
    with monkeypatch.context() as patch:
        patch.setattr(ShardWriter, "add", lambda *_: 1 / 0)
        with pytest.raises(DataError, match="division by zero"):
            writer.add("b", image(3, 3))
    # A caller may go on, as if only this image had been refused.
    with pytest.raises(DataError, match="division by zero"):
        writer.add("c", image(3, 3))
    with pytest.raises(DataError, match="division by zero"), writer:
        pass
    assert names(tmp_path) == []


def test_files_beside_the_records_are_published_with_them(tmp_path):
    with TfdsWriter(tmp_path / "set") as writer:
        writer.add("a", image(3, 3))
        (writer.folder / "manifest").write_text("more")
        (writer.folder / "notes").mkdir()
    assert (tmp_path / "set/manifest").read_text() == "more"
    assert tfds(str(tmp_path / "set"), "train").ids == ("a",)


def test_ids_are_listed_beside_the_records(tmp_path):
    with TfdsWriter(tmp_path / "set") as writer:
        writer.add('odd "id"\n\u2028', image(3, 3))
        writer.add("plain", image(3, 3))
    listed = (tmp_path / "set/ids-train.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in listed] == ['odd "id"\n\u2028', "plain"]
    assert list(tfds(str(tmp_path / "set"), "train").ids) == [
        'odd "id"\n\u2028',
        "plain",
    ]
