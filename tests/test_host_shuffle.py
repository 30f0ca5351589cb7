"""Shuffling on the host: to the byte what `docs/permutation.md` says."""

import gc
import weakref

import numpy as np
import pytest
import reference
from folders import photograph

from vim_jax import SecretKey
from vim_jax.data import exchanges, shuffling
from vim_jax.data.shuffling import shuffle_images

KEY = SecretKey(bytes(range(32)))
SIDES = [(35, 70), (20, 41), (64, 32), (1, 9), (3, 1)]


def plan(kind, shape):
    """Sizes of a plan, whole regions among them and some that edges cut off."""
    if isinstance(kind, int):
        return np.full(shape, min(kind, max(shape)), np.int32)
    if kind == "adaptive":
        return reference.adaptive_sizes(shape, seed=3).astype(np.int32)
    blocks = np.random.default_rng(0).choice([1, 2, 8, 32], (8, 8))
    sizes = np.kron(blocks, np.ones((32, 32), np.int32))
    return sizes[: shape[0], : shape[1]].astype(np.int32)


def cells(sides, dtype, channels):
    """A photograph, or one of its channels, as `h w c`."""
    image = photograph(sides=sides)[:, :, :channels]
    return image.astype(dtype) * 257 if dtype == np.uint16 else image


def check(images, sizes, channels, scramble_regions=False):
    """All together, and back."""
    options = {"channels": channels, "scramble_regions": scramble_regions}
    keys = [KEY.for_image(str(i), image) for i, image in enumerate(images)]
    streams = [KEY.stream(key.nonce) for key in keys]
    originals = [image.copy() for image in images]
    mixed = shuffle_images(images, sizes, streams, **options)
    for image, original in zip(images, originals, strict=True):
        np.testing.assert_array_equal(image, original)
    for image, size, key, found in zip(images, sizes, keys, mixed, strict=True):
        words = np.asarray(key.words).tolist()
        words += [0] * 2 * image.size  # Short sides have no words for long distances.
        alone = reference.shuffle(words, image, size, channels, scramble_regions)
        np.testing.assert_array_equal(found, alone)
    restored = shuffle_images(mixed, sizes, streams, **options, inverse=True)
    for image, found in zip(images, restored, strict=True):
        np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize(
    ("kind", "channels", "scramble"),
    [
        (16, "independent", False),
        (2, "joint", False),
        (64, "mixed", True),
        ("quadtree", "independent", False),
        ("quadtree", "mixed", True),
        ("quadtree", "joint", True),
        ("adaptive", "independent", True),
        ("adaptive", "mixed", False),
        (7, "independent", False),
        (1000, "mixed", False),
    ],
)
def test_images_are_shuffled_together_as_alone(kind, channels, scramble):
    images = [photograph(sides=(*sides,)) for sides in SIDES]
    sizes = [plan(kind, image.shape[:2]) for image in images]
    check(images, sizes, channels=channels, scramble_regions=scramble)


@pytest.mark.parametrize("channels", ["independent", "joint", "mixed"])
@pytest.mark.parametrize(
    ("dtype", "c"), [(np.uint16, 1), (np.uint16, 3), (np.uint8, 1)]
)
def test_other_kinds_of_pixels(dtype, c, channels):
    images = [cells((40, 55), dtype, c)]
    check(images, [plan("adaptive", (40, 55))], channels=channels)


def test_sides_longer_than_a_byte_counts():
    shapes = [(2, 600), (300, 3)]
    images = [photograph(sides=shape) for shape in shapes]
    sizes = [np.full(shape, max(shape), np.int32) for shape in shapes]
    check(images, sizes, channels="independent")


@pytest.mark.parametrize("kind", ["quadtree", 20, 70])
@pytest.mark.parametrize("channels", ["independent", "joint", "mixed"])
def test_bands_and_chunks_are_shuffled_as_the_whole(monkeypatch, kind, channels):
    monkeypatch.setattr(shuffling, "_BATCH_PIXELS", 1500)
    monkeypatch.setattr(shuffling, "_CHUNK", 500)
    sides = [(50, 70), (35, 50)]
    images = [photograph(sides=(*shape,)) for shape in sides]
    check(images, [plan(kind, shape) for shape in sides], channels=channels)


def test_odds_are_those_of_the_document():
    for d in (1, 2, 64, 512):
        sizes = np.arange(d + 1, 2 * d)
        expected = [min(255, (512 * d + s) // (2 * s)) for s in sizes.tolist()]
        found = exchanges._odds(10 * d + sizes, 2 * d)
        np.testing.assert_array_equal(found, expected)


def test_words_do_not_show():
    image = photograph(sides=SIDES[0])
    stream = KEY.stream(KEY.nonce("a", image))
    assert repr(stream) == "ImageStream(<hidden>)"
    with pytest.raises(TypeError, match="pickled"):
        stream.__reduce__()


def test_a_batch_is_freed_at_once(monkeypatch):
    """Not when Python looks for cycles: by then, there would be many."""
    batches = []

    class Watched(shuffling._Batch):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            batches.append(weakref.ref(self))

    monkeypatch.setattr(shuffling, "_Batch", Watched)
    image = photograph(sides=SIDES[0])
    gc.disable()
    try:
        stream = KEY.stream(KEY.nonce("a", image))
        size = plan("quadtree", SIDES[0])
        shuffle_images([image], [size], [stream], channels="independent")
        (batch,) = batches
        assert batch() is None
    finally:
        gc.enable()
