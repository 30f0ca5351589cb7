"""Whole labelled sets as arrays, for training on small images of one size."""

import collections
import functools
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from vim_jax.data.errors import DataError
from vim_jax.data.example import Example, LazySource
from vim_jax.data.sources import open_source, splits_of

_Progress = Callable[[int, int], None]

# One image in so many is a test image where a set has no split of its own.
_TEST_SHARE = 5

# So many images show whether a set is of one size.
_LOOKED_AT = 20

_NAMES_OF_TESTS = ("test", "val", "valid", "validation")


class LabelledImages(NamedTuple):
    """Images of one size and their labels.

    Attributes:
      images: uint8 or uint16 `(n, h, w, c)`, c = 1 for grey, full integer range.
      labels: int32 `(n,)`, indices into the label names.
    """

    images: np.ndarray
    labels: np.ndarray


class TrainTest(NamedTuple):
    """What `train_test_arrays` returns."""

    train: LabelledImages
    test: LabelledImages
    label_names: tuple[str, ...]


def train_test_arrays(
    spec: str | os.PathLike[str],
    *,
    test_spec: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    max_pixels: int | None = None,
    limit: int | None = None,
    side: int | None = None,
    progress: _Progress | None = None,
) -> TrainTest:
    """Reads the training and the test images of a labelled set into memory.

    A TFDS data set with a split "train" is read by its own splits: "test", or else
    "validation", is the test set. Every other set is divided here: of each class,
    every fifth image in the set's order is a test image, the same ones each time.

    Args:
      spec: the set; see `open_source`. All images must have one mode and, without
        `side`, one size.
      test_spec: another set to test on. Then nothing is divided: all images of `spec`,
        or of its split "train", are training images; and all of this one, or of its
        split "test" or "validation", are test images. Its classes are some of those of
        `spec`, of the same names if both sets have names.
      data_dir: where the TFDS data sets lie.
      max_pixels: the largest image to decode; see `decode`.
      limit: the largest number of images, at least 1, of each of the two parts; the
        first ones are taken.
      side: crops each image to the square in its middle, and resizes that to so many
        pixels a side (bilinear, averaged over what becomes one pixel).
      progress: called after each image with the number of images read so far and
        the number of images to read at most.

    Returns:
      `(train_images, train_labels), (test_images, test_labels), label_names`.

    Raises:
      DataError: if a set cannot be opened, has no labels, or holds images of
        different sizes; if the test set has a class that `spec` lacks.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit is {limit}: give at least 1")
    if side is not None and side < 1:
        raise DataError(f"side is {side}: give at least 1")
    name = os.fspath(spec)
    splits = splits_of(name, data_dir=data_dir)
    train = "train" if "train" in splits else None
    if test_spec is not None:
        test_name = os.fspath(test_spec)
        test = _test_split(splits_of(test_name, data_dir=data_dir))
    else:
        test_name, test = name, _test_split(splits) if train else None
    opened = functools.partial(open_source, data_dir=data_dir, max_pixels=max_pixels)
    source = opened(name, split=train)
    _check_classes(name, source.label_names)
    if test_spec is None and test is None:
        return _by_count(name, source, limit, side, progress)
    test_source = opened(test_name, split=test)
    return _of_two((name, source), (test_name, test_source), limit, side, progress)


def _check_classes(name: str, label_names: tuple[str, ...] | None) -> None:
    """Raises DataError where folders of a set are its parts, and not its classes."""
    labels = label_names or ()
    tests = [label for label in labels if label in _NAMES_OF_TESTS]
    if "train" in labels and tests and len(labels) == len(tests) + 1:
        raise DataError(
            f"{name} has the folders {', '.join(labels)}, which look like "
            f"parts of a set and not like classes: give {os.path.join(name, 'train')}, "
            f"and {os.path.join(name, tests[0])} as the set to test on (--test-data)"
        )


def _test_split(splits: tuple[str, ...]) -> str | None:
    return next((split for split in ("test", "validation") if split in splits), None)


def _of_two(
    train: tuple[str, LazySource],
    test: tuple[str, LazySource],
    limit: int | None,
    side: int | None,
    progress: _Progress | None,
) -> TrainTest:
    """Returns the images of two sources, which come with their names."""
    chosen = [(*pair, _order(pair[1], limit)[:limit]) for pair in (train, test)]
    total = sum(len(indices) for *_, indices in chosen)
    done = 0
    parts = []
    for name, source, indices in chosen:
        part = _Part(name, len(indices), side)
        for index in indices:
            part.add(source[index])
            done += 1
            if progress is not None:
                progress(done, total)
        parts.append(part)
    label_names = train[1].label_names
    _relabel(parts[1].labels, test, label_names)
    return _result(parts[0], parts[1], label_names)


def _relabel(
    labels: np.ndarray,
    test: tuple[str, LazySource],
    label_names: tuple[str, ...] | None,
) -> None:
    """Gives test labels, in place, the numbers that the training set has for them.

    Classes without names keep their numbers.
    """
    name, source = test
    if source.label_names is None or label_names is None:
        return
    own = source.label_names
    numbers = {label: number for number, label in enumerate(label_names)}
    for label in np.unique(labels):
        if own[label] not in numbers:
            raise DataError(
                f"{name} has test images of the class {own[label]!r}, of which there "
                "are no training images: leave it out, or give classes the same names"
            )
    labels[:] = [numbers[own[label]] for label in labels]


def _by_count(
    name: str,
    source: LazySource,
    limit: int | None,
    side: int | None,
    progress: _Progress | None,
) -> TrainTest:
    capacity = min(len(source), limit or len(source))
    train, test = (_Part(name, capacity, side) for _ in range(2))
    seen: collections.Counter[int | None] = collections.Counter()
    for number, index in enumerate(_order(source, limit)):
        example = source[index]
        part = test if seen[example.label] % _TEST_SHARE == _TEST_SHARE - 1 else train
        seen[example.label] += 1
        if part.count < capacity:
            part.add(example)
        if progress is not None:
            progress(number + 1, len(source))
        if train.count == test.count == capacity:
            break
    if progress is not None:
        progress(train.count + test.count, train.count + test.count)
    return _result(train, test, source.label_names)


def _order(source: LazySource, limit: int | None) -> Sequence[int]:
    """Returns the numbers of all images.

    Folders take turns if there is a limit, so that the first images are of all classes.
    """
    if limit is None:
        return range(len(source))
    seen: collections.Counter[str] = collections.Counter()
    turns = []
    for id in source.ids:
        folder = id.rpartition("/")[0]
        turns.append(seen[folder])
        seen[folder] += 1
    return sorted(range(len(source)), key=turns.__getitem__)


def _result(
    train: "_Part", test: "_Part", label_names: tuple[str, ...] | None
) -> TrainTest:
    if not train.count or not test.count:
        raise DataError(
            f"{train.name} has {train.count} training images, and {test.name} "
            f"{test.count} test images: choose a set with at least {_TEST_SHARE} "
            "images of some class, or another one to test on"
        )
    found = train.result(), test.result()
    (shape, dtype), (test_shape, test_dtype) = ((x.shape, x.dtype) for x, _ in found)
    if (shape[1:], dtype) != (test_shape[1:], test_dtype):
        raise DataError(
            f"test images of {test.name} have shape {test_shape[1:]} and type "
            f"{test_dtype}, but training images of {train.name} {shape[1:]} and "
            f"{dtype}: {_remedy(test_shape[1:], shape[1:])}"
        )
    # A data set may know the number of its classes but not their names.
    classes = 1 + int(max(train.labels.max(), test.labels.max()))
    names = label_names or tuple(str(label) for label in range(classes))
    return TrainTest(*found, names)


def _remedy(shape: tuple[int, ...], other: tuple[int, ...]) -> str:
    """Returns what to do about images `h w c` that differ."""
    if shape[:2] == other[:2]:
        return (
            "bring all images to one mode, before they are mixed, by `vim-jax resize`"
        )
    return (
        "bring all images to one size, before they are mixed: `side` does that, and "
        "`vim-jax resize`"
    )


def native_sides(
    spec: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    max_pixels: int | None = None,
) -> set[int]:
    """Returns the shorter sides, in pixels, of some images all over a set.

    Args:
      spec: the set; see `train_test_arrays`.
      data_dir: where the TFDS data sets lie.
      max_pixels: the largest image to decode; see `decode`.
    """
    name = os.fspath(spec)
    split = "train" if "train" in splits_of(name, data_dir=data_dir) else None
    source = open_source(name, split=split, data_dir=data_dir, max_pixels=max_pixels)
    few = np.linspace(0, len(source) - 1, min(len(source), _LOOKED_AT)).astype(int)
    return {min(source[int(index)].image.shape[:2]) for index in few}


def middle_square(image: np.ndarray, side: int) -> np.ndarray:
    """Returns the square in an image's middle, resized to so many pixels a side."""
    if image.shape[:2] == (side, side):
        return image
    picture = ImageOps.fit(
        Image.fromarray(image), (side, side), Image.Resampling.BILINEAR
    )
    return np.asarray(picture)


class _Part:
    """Arrays of a known capacity that fill up one example at a time."""

    def __init__(self, name: str, capacity: int, side: int | None) -> None:
        self.name = name
        self.count = 0
        self.labels = np.full(capacity, -1, np.int32)
        self._images: np.ndarray | None = None
        self._side = side

    def add(self, example: Example) -> None:
        image = example.image
        if self._side is not None:
            image = middle_square(image, self._side)
        image = image.reshape(*image.shape[:2], -1)
        if example.label is None:
            raise DataError(
                f"image {example.id!r} of {self.name} has no label: choose a labelled "
                "set, such as a folder with one sub-folder for each class"
            )
        if self._images is None:
            self._images = self._room(image)
        expected = self._images.shape[1:], self._images.dtype
        if (image.shape, image.dtype) != expected:
            raise DataError(
                f"image {example.id!r} of {self.name} has shape {image.shape} and "
                f"type {image.dtype}, but the first has {expected[0]} and "
                f"{expected[1]}: {_remedy(image.shape, expected[0])}"
            )
        self._images[self.count] = image
        self.labels[self.count] = example.label
        self.count += 1

    def _room(self, image: np.ndarray) -> np.ndarray:
        """Returns space for all images, which are like one."""
        try:
            # Memory is taken by the operating system only where it is written to.
            return np.empty((len(self.labels), *image.shape), image.dtype)
        except MemoryError:
            height, width = image.shape[:2]
            raise DataError(
                f"{len(self.labels):,} images of {width} x {height} pixels of "
                f"{self.name} do not fit into memory: give a smaller `side`, or a limit"
            ) from None

    def result(self) -> LabelledImages:
        assert self._images is not None
        return LabelledImages(self._images[: self.count], self.labels[: self.count])
