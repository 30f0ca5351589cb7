"""Shuffles are uniform and independent, as far as statistics can see.

Every statistic is a z-score against its exact expectation under uniform permutations,
over keys with fixed seeds. Weak methods are put through the same statistics below, and
fail; so do fewer rounds of the exchanges. `test_coins.py` has what can be computed
exactly.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pair_chain import network
from permutation_statistics import (
    LIMIT,
    arrangements_z,
    assert_rejected,
    assert_uniform,
    relative,
)

import vim_jax

pytestmark = pytest.mark.usefixtures("compiled_well")

SHAPES = [
    (2, 2),
    (3, 3),
    (4, 4),
    (5, 5),
    (7, 7),
    (8, 8),
    (16, 16),
    (32, 32),
    (1, 7),
    (1, 16),
    (16, 1),
    (1, 24),
    (2, 16),
    (3, 17),
    (3, 5),
]


# --- Samples --------------------------------------------------------------------------


def prng_keys(count: int, seed: int = 0) -> jax.Array:
    """Key data of keys that differ in little: seeds that follow each other."""
    return jnp.stack(
        [
            jnp.zeros(count, jnp.uint32),
            jnp.arange(seed, seed + count, dtype=jnp.uint32),
        ],
        1,
    )


def image_keys(count: int, shape: tuple[int, ...]) -> vim_jax.ImageKey:
    """Image keys of one image under names that follow each other."""
    secret = vim_jax.SecretKey(bytes(range(32)))
    image = np.zeros(shape, np.int32)
    keys = [secret.for_image(str(i), image) for i in range(count)]
    return vim_jax.ImageKey(
        np.stack([key.words for key in keys]), np.stack([key.nonce for key in keys])
    )


def sample(keys, shape: tuple, size, channels: Any = "independent", scramble=False):
    """Returns where every value came from, `count *shape`."""
    image = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)

    @jax.jit
    @jax.vmap
    def mix(key):
        return vim_jax.shuffle(
            key, image, size, channels=channels, scramble_regions=scramble
        )

    return np.asarray(mix(keys))


def count_for(values: int) -> int:
    return min(40_000, 3_000_000 // values)


class Sample(NamedTuple):
    """Two regions side by side (or one above the other), of two channels.

    Attributes:
      left, right: the first channel, `count height*width`.
      other: the second channel of the left region.
    """

    left: np.ndarray
    right: np.ndarray
    other: np.ndarray


def regions_of(sources: np.ndarray, height: int, width: int) -> Sample:
    """Returns the sources of images `count h w 2` of two regions, by region."""
    axis = 1 if height > width else 2
    assert (sources % 2 == np.arange(2)).all()
    first, second = np.split(sources // 2, 2, axis)

    def within(part, channel):
        y, x = np.divmod(part[..., channel], sources.shape[2])
        return (y % height * width + x % width).reshape(len(part), -1)

    return Sample(within(first, 0), within(second, 0), within(first, 1))


def shape_of_two(height: int, width: int) -> tuple[int, int, int]:
    return (2 * height, width, 2) if height > width else (height, 2 * width, 2)


@functools.cache
def prng_sample(height: int, width: int) -> Sample:
    keys = prng_keys(count_for(2 * height * width))
    sources = sample(keys, shape_of_two(height, width), max(height, width))
    return regions_of(sources, height, width)


@functools.cache
def image_key_sample(height: int, width: int) -> Sample:
    shape = shape_of_two(height, width)
    keys = image_keys(min(5000, count_for(2 * height * width)), shape)
    return regions_of(sample(keys, shape, max(height, width)), height, width)


# --- One region -----------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_regions_are_uniform(height, width):
    assert_uniform(prng_sample(height, width).left, height, width)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_channels_are_independent(height, width):
    left, _, other = prng_sample(height, width)
    assert_uniform(relative(left, other), height, width)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_neighbouring_regions_are_independent(height, width):
    left, right, _ = prng_sample(height, width)
    assert_uniform(relative(left, right), height, width)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_keys_that_follow_each_other_are_independent(height, width):
    left, _, _ = prng_sample(height, width)
    assert_uniform(relative(left[:-1], left[1:]), height, width)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 3), (8, 8), (1, 12)])
def test_mixed_values_are_uniform(height, width):
    count = count_for(2 * height * width)
    sources = sample(prng_keys(count), (height, width, 2), "entire", "mixed")
    assert_uniform(sources.reshape(count, -1), height, 2 * width)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (7, 7), (3, 5)])
def test_joint_pixels_are_uniform(height, width):
    count = count_for(2 * height * width)
    sources = sample(prng_keys(count), (height, width, 2), "entire", "joint")
    pixels = sources.reshape(count, -1, 2) // 2
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 1])
    assert_uniform(pixels[..., 0], height, width)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 3), (8, 8), (1, 24)])
def test_image_keys_are_uniform_and_independent(height, width):
    left, right, other = image_key_sample(height, width)
    assert_uniform(left, height, width)
    assert_uniform(other, height, width)
    assert_uniform(relative(left, other), height, width)
    assert_uniform(relative(left, right), height, width)
    assert_uniform(relative(left[:-1], left[1:]), height, width)


def test_image_keys_of_images_that_differ_in_one_bit_are_independent():
    secret = vim_jax.SecretKey(bytes(range(32)))
    images = np.zeros((2000, 4, 4), np.int32)
    images[:, 1, 2] = np.arange(2000)
    keys = [secret.for_image("a", image) for image in images]
    stacked = vim_jax.ImageKey(
        np.stack([key.words for key in keys]), np.stack([key.nonce for key in keys])
    )
    sources = sample(stacked, (4, 4), "entire").reshape(2000, 16)
    assert_uniform(sources, 4, 4)
    assert_uniform(relative(sources[::2], sources[1::2]), 4, 4)


# 2, 3 and 4 cells.
FEW = [((1, 2), 2), ((2, 1), 2), ((1, 3), 3), ((1, 4), 4), ((2, 2), 2), ((4, 1), 4)]


@pytest.mark.parametrize(("shape", "size"), FEW)
def test_every_arrangement_is_equally_likely(shape, size):
    # Many regions side by side, and one below the other.
    tiles = (1, 50) if shape[0] <= shape[1] else (50, 1)
    image = (shape[0] * tiles[0], shape[1] * tiles[1])
    sources = sample(prng_keys(5000), image, size)
    grid = sources.reshape(5000, tiles[0], shape[0], tiles[1], shape[1])
    y, x = np.divmod(grid.transpose(0, 1, 3, 2, 4), image[1])
    regions = (y % shape[0] * shape[1] + x % shape[1]).reshape(-1, math.prod(shape))
    assert abs(arrangements_z(regions)) < LIMIT


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((2, 2, 3), "joint"), ((1, 5), "independent"), ((1, 2, 2), "mixed")],
)
def test_every_arrangement_of_a_lone_region_is_equally_likely(shape, channels):
    count = 100_000
    sources = sample(prng_keys(count), shape, "entire", channels).reshape(count, -1)
    if channels == "joint":
        sources = sources[:, ::3] // 3
    assert abs(arrangements_z(sources)) < LIMIT


@pytest.mark.parametrize("shape", [(1, 3), (1, 4), (2, 2)])
def test_every_arrangement_under_image_keys_is_equally_likely(shape):
    sources = sample(image_keys(8000, shape), shape, "entire")
    assert abs(arrangements_z(sources.reshape(8000, -1))) < LIMIT


# --- Several regions ------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 4, 7])
def test_regions_above_and_below_are_independent(size):
    # With a ragged edge at the right.
    width = size + 1
    count = count_for(2 * size * width)
    sources = sample(prng_keys(count), (2 * size, width), size)

    def region(top):
        part = sources[:, top : top + size, :size].reshape(count, -1)
        return (part // width - top) * size + part % width

    assert_uniform(region(0), size, size)
    assert_uniform(relative(region(0), region(size)), size, size)


def test_ragged_edges_are_uniform():
    sources = sample(prng_keys(20_000), (9, 8), 4)
    edge = sources[:, 8, :4] - 8 * 8
    assert abs(arrangements_z(edge)) < LIMIT


@pytest.mark.parametrize("channels", ["joint", "mixed"])
def test_scrambled_regions_are_uniform(channels):
    sources = sample(prng_keys(10_000), (8, 8), 2, channels, scramble=True)
    corner = sources[:, ::2, ::2].reshape(-1, 16)
    places = corner // 8 // 2 * 4 + corner % 8 // 2
    assert_uniform(places, 4, 4)


def test_scrambled_edges_trade_places_uniformly_among_their_like():
    # 9 x 9 in regions of 2: four of 2 x 1 at the right, four of 1 x 2 below.
    sources = sample(prng_keys(20_000), (9, 9), 2, scramble=True)
    right = sources[:, :8:2, 8] // 9 // 2
    below = sources[:, 8, :8:2] % 9 // 2
    assert abs(arrangements_z(right)) < LIMIT
    assert abs(arrangements_z(below)) < LIMIT
    assert_uniform(relative(right, below), 2, 2)
    np.testing.assert_array_equal(sources[:, 8, 8], 80)


def test_the_order_of_regions_is_independent_of_what_happens_inside():
    sources = sample(prng_keys(20_000), (4, 4), 2, scramble=True)
    block = sources[:, :2, :2].reshape(-1, 4)
    place = (block // 4 // 2 * 2 + block % 4 // 2)[:, 0]
    inside = block // 4 % 2 * 2 + block % 4 % 2
    for i in range(4):
        assert_uniform(inside[place == i], 2, 2)


# --- Weak methods, which the statistics must reject -----------------------------------


def rotation_network(count: int, height: int, width: int, passes: int) -> np.ndarray:
    """Rows and columns rotated in turn, each by an offset of its own."""
    random = np.random.default_rng(0)
    grid = np.tile(np.arange(height * width).reshape(height, width), (count, 1, 1))
    for step in range(passes):
        axis = 2 - step % 2
        other, length = grid.shape[3 - axis], grid.shape[axis]
        offset = random.integers(0, length, (count, other))
        places = (np.arange(length) + offset[..., None]) % length
        if axis == 1:
            places = places.transpose(0, 2, 1)
        grid = np.take_along_axis(grid, places, axis)
    return grid.reshape(count, -1)


def ranks(count: int, n: int, bits: int) -> np.ndarray:
    """A stable sort of words of too few bits."""
    words = np.random.default_rng(0).integers(0, 2**bits, (count, n))
    return np.argsort(words, 1, kind="stable")


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_fewer_rounds_of_exchanges_are_rejected(height, width):
    # In regions as large as these, two rounds leave too little to see.
    rounds = 1 if height * width >= 256 else 2
    count = count_for(2 * height * width)
    assert_rejected(network(count, height, width, rounds=rounds), height, width)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (7, 7), (1, 24), (3, 5)])
def test_all_rounds_of_exchanges_are_not_rejected(height, width):
    count = count_for(2 * height * width)
    assert_uniform(network(count, height, width), height, width)


@pytest.mark.parametrize(("height", "width"), [(3, 3), (1, 16), (2, 16)])
def test_a_short_rotation_network_is_rejected(height, width):
    assert_rejected(rotation_network(20_000, height, width, 8), height, width)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 4), (7, 7)])
def test_a_sort_of_4_bit_words_is_rejected(height, width):
    assert_rejected(ranks(20_000, height * width, 4), height, width)


def test_a_naive_exchange_of_random_places_is_rejected():
    random = np.random.default_rng(0)
    sources = np.tile(np.arange(9), (20_000, 1))
    every = np.arange(len(sources))
    for i in range(9):
        j = random.integers(0, 9, len(sources))
        sources[every, i], sources[every, j] = (
            sources[every, j],
            sources[every, i].copy(),
        )
    assert_rejected(sources, 3, 3)


def test_permutations_that_are_shared_are_rejected():
    good = ranks(2000, 16, 32)
    assert_uniform(good, 4, 4)
    assert_rejected(relative(good, good), 4, 4)


def test_arrangements_of_4_bit_words_are_rejected():
    assert arrangements_z(ranks(40_000, 4, 4)) > 2 * LIMIT
    assert abs(arrangements_z(ranks(40_000, 4, 32))) < LIMIT
