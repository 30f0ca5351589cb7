"""Training and test images as arrays, from every kind of source."""

import numpy as np
import pytest
from folders import put, save, sentence

from vim_jax.data import (
    DataError,
    arrays,
    embedded,
    tfds,
    train_test_arrays,
)


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


def test_sets_that_do_not_fit_into_memory_are_named(tmp_path, monkeypatch):
    put(tmp_path, "a/1.png")

    def no_room(*_):
        raise MemoryError

    monkeypatch.setattr(arrays.np, "empty", no_room)
    with pytest.raises(DataError, match=r"images of 4 x 3 pixels .* do not fit into"):
        train_test_arrays(tmp_path)


def test_few_images_of_a_folder_are_of_all_classes(tmp_path):
    for name in "abc":
        for number in range(10):
            put(tmp_path, f"{name}/{number:02}.png", 10 * number)
    train, test, names = train_test_arrays(tmp_path, limit=6)
    assert names == ("a", "b", "c")
    assert sorted(train.labels) == [0, 0, 1, 1, 2, 2]
    assert set(test.labels) == {0, 1, 2}


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


def test_train_test_of_one_size(tmp_path):
    for i, size in enumerate([(40, 20), (20, 40), (30, 30), (20, 20), (42, 20)]):
        wide = np.zeros((size[1], size[0], 3), np.uint8)
        top, left = (max(0, (side - min(size)) // 2) for side in size[::-1])
        middle = np.arange(min(size), dtype=np.uint8) * 4
        wide[top : top + min(size), left : left + min(size)] = middle[:, None, None]
        save(tmp_path / f"a/{i}.png", wide)
    train, test, _ = train_test_arrays(tmp_path, side=10)
    assert train.images.shape == (4, 10, 10, 3)
    assert test.images.shape == (1, 10, 10, 3)
    for image in train.images:
        # The square in the middle has rows of 0, 4, 8, ...; its edges see beyond it.
        inner = image[1:-1, 1:-1].astype(int)
        assert (np.diff(inner, axis=0) > 4).all()
        assert (inner == inner[:, :1, :1]).all()


def test_another_set_to_test_on(tmp_path):
    for name in ("bee", "cat", "dog"):
        put(tmp_path, f"train/{name}/1.png", 7)
    for number, name in enumerate(["cat", "dog", "cat"]):
        put(tmp_path, f"test/{name}/{number}.png", number)
    calls = []
    train, test, names = train_test_arrays(
        tmp_path / "train",
        test_spec=tmp_path / "test",
        progress=lambda *n: calls.append(n),
    )
    assert names == ("bee", "cat", "dog")
    assert train.labels.tolist() == [0, 1, 2]
    # Cats are class 0 of the folder of two.
    assert test.labels.tolist() == [1, 1, 2]
    assert test.images[:, 0, 0, 0].tolist() == [0, 2, 1]
    assert calls == [(n, 6) for n in range(1, 7)]
    few = train_test_arrays(tmp_path / "train", test_spec=tmp_path / "test", limit=2)
    assert [len(part.labels) for part in few[:2]] == [2, 2]


def test_another_set_to_test_on_has_splits_or_none(tmp_path, tfds_dir):
    cifar10 = {"data_dir": tfds_dir, "limit": 20}
    own = train_test_arrays("cifar10", **cifar10)
    for label, name in enumerate(own.label_names[:3]):
        image = np.full((32, 32, 3), label, np.uint8)
        save(tmp_path / name / "1.png", image)
    train, test, names = train_test_arrays("cifar10", test_spec=tmp_path, **cifar10)
    np.testing.assert_array_equal(train.images, own.train.images)
    assert test.labels.tolist() == [0, 1, 2]
    assert names == own.label_names
    reverse = train_test_arrays(tmp_path, test_spec=tmp_path, **cifar10)
    np.testing.assert_array_equal(reverse.train.images, test.images)
    with pytest.raises(DataError, match="no training images"):
        train_test_arrays(tmp_path, test_spec="cifar10", **cifar10)


def test_test_images_are_as_the_training_images_are(tmp_path):
    put(tmp_path, "train/a/1.png")
    put(tmp_path, "wide/a/1.png", size=(5, 3))
    put(tmp_path, "strange/b/1.png")
    put(tmp_path, "bare/1.png")
    for name, words in [
        ("wide", ["(3, 5, 1)", "(3, 4, 1)", "one size"]),
        ("strange", ["'b'", "no training images"]),
        ("bare", ["'1.png'", "no label"]),
        ("missing", ["does not exist"]),
    ]:
        with pytest.raises(DataError) as error:
            train_test_arrays(tmp_path / "train", test_spec=tmp_path / name)
        message = sentence(error)
        assert str(tmp_path / name) in message
        for word in words:
            assert word in message


def test_train_test_refuses(tmp_path):
    put(tmp_path, "mixed/a/1.png")
    put(tmp_path, "mixed/a/2.png", size=(5, 3))
    put(tmp_path, "bare/1.png")
    put(tmp_path, "few/a/1.png")
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        put(tmp_path, f"parts/{name}/1.png")
    for spec, limit, words in [
        (tmp_path / "mixed", None, ["'a/2.png'", "(3, 5, 1)", "one size"]),
        (tmp_path / "bare", None, ["'1.png'", "no label"]),
        (tmp_path / "parts", None, ["train, val", "parts/val as the set to test on"]),
        (tmp_path / "few", None, ["1 training images", "0 test images"]),
        ("embedded:photographs", None, ["'astronaut'", "no label"]),
        ("embedded:digits", 0, ["limit is 0"]),
    ]:
        with pytest.raises(DataError) as error:
            train_test_arrays(spec, limit=limit)
        message = sentence(error)
        for word in words:
            assert word in message
