"""Shuffling in tiles and batches: to the byte what `shuffle` does image by image."""

import jax.numpy as jnp
import numpy as np
import pytest
import reference
from folders import photograph

import vim_jax
from vim_jax import SecretKey
from vim_jax.data.buckets import Bucket
from vim_jax.data.tiled import shuffle_images

KEY = SecretKey(bytes(range(32)))
SIDES = [(97, 130), (40, 200), (128, 64)]


def plan(kind, shape):
    """Sizes of a plan, among them regions of one pixel that padding could hold, too."""
    if isinstance(kind, int):
        return np.full(shape, min(kind, max(shape)), np.int32)
    if kind == "adaptive":
        return reference.adaptive_sizes(shape, seed=3).astype(np.int32)
    blocks = np.random.default_rng(0).choice([1, 2, 8, 32], (8, 8))
    sizes = np.kron(blocks, np.ones((32, 32), np.int32))
    return sizes[: shape[0], : shape[1]].astype(np.int32)


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
        (7, "independent", False),
        (1000, "mixed", False),
    ],
)
def test_batches_are_shuffled_as_each_image(kind, channels, scramble):
    images = [photograph(sides=(*sides,)) for sides in SIDES]
    sizes = [plan(kind, image.shape[:2]) for image in images]
    keys = [KEY.for_image(str(i), image) for i, image in enumerate(images)]
    bucket = Bucket(136, 208, 3, np.dtype(np.uint8), images=4)
    options = {"channels": channels, "scramble_regions": scramble}
    uniform = isinstance(kind, int)
    mixed = shuffle_images(images, sizes, keys, bucket, **options, uniform=uniform)
    for image, size, key, found in zip(images, sizes, keys, mixed, strict=True):
        regions = vim_jax.RegionPlan(jnp.asarray(size))
        alone = vim_jax.shuffle(key, image, regions, **options)
        np.testing.assert_array_equal(found, alone)
    restored = shuffle_images(
        mixed, sizes, keys, bucket, **options, uniform=uniform, inverse=True
    )
    for image, found in zip(images, restored, strict=True):
        np.testing.assert_array_equal(found, image)


def test_words_do_not_show():
    image = photograph(sides=SIDES[0])
    key = KEY.for_image("a", image)
    from vim_jax.data.tiled import _words

    assert "array" not in repr(_words(key, image.shape, "independent"))
