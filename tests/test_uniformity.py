"""Shuffles are uniform and independent, as far as statistics can see.

Every statistic is a z-score against its exact expectation under uniform permutations,
over keys with fixed seeds. Weak methods are put through the same statistics below, and
fail. The last part searches for the key of a natural image, with and without luck.
"""

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import skimage.data

import vim_jax

LIMIT = 5.0
SHAPES = [
    (2, 2),
    (3, 3),
    (4, 4),
    (7, 7),
    (16, 16),
    (32, 32),
    (1, 16),
    (16, 1),
    (2, 16),
    (3, 5),
]


# --- Statistics -----------------------------------------------------------------------


def z_score(samples: np.ndarray, expected: float) -> float:
    """How far the mean of samples lies from `expected`, in standard errors."""
    samples = samples.astype(np.float64)
    error = samples.std() / len(samples) ** 0.5
    if error == 0:
        return 0.0 if math.isclose(samples[0], expected) else math.inf
    return (samples.mean() - expected) / error


def chi_square_z(statistic: float, freedom: int) -> float:
    """The z-score of equal probability."""
    tail = scipy.stats.chi2.logsf(statistic, freedom)
    if tail < -700:
        return math.inf
    return float(scipy.stats.norm.isf(math.exp(tail)))


def position_z(sources: np.ndarray) -> float:
    """Chi-square over (place, source): does every value go everywhere?"""
    count, n = sources.shape
    cells = np.arange(n) * n + sources
    observed = np.bincount(cells.ravel(), minlength=n * n)
    expected = count / n
    statistic = ((observed - expected) ** 2 / expected).sum() * (n - 1) / n
    return chi_square_z(statistic, (n - 1) ** 2)


def survival_z(grid: np.ndarray) -> float:
    """Neighbours in a row that were neighbours in a row. `grid`: `count h w`."""
    _, height, width = grid.shape
    n = height * width
    left, right = grid[:, :, :-1], grid[:, :, 1:]
    kept = (np.abs(right - left) == 1) & (left // width == right // width)
    pairs = height * (width - 1)
    return z_score(kept.sum((1, 2)), 2 * pairs * pairs / (n * (n - 1)))


def same_line_z(lines: np.ndarray) -> float:
    """Pairs of one row that came from one row. `lines`: source rows, `count h w`."""
    _, height, width = lines.shape
    n = height * width
    pairs = (lines[:, :, :, None] == lines[:, :, None, :]).sum((1, 2, 3)) - n
    own = height * width * (width - 1)
    return z_score(pairs, own * own / (n * (n - 1)))


def parity_z(sources: np.ndarray) -> float:
    """Even permutations less odd ones."""
    n = sources.shape[1]
    inversions = np.zeros(len(sources), np.int64)
    for i, j in itertools.combinations(range(n), 2):
        inversions += sources[:, i] > sources[:, j]
    return z_score(1 - 2 * (inversions % 2), 0)


def statistics(sources: np.ndarray, height: int, width: int) -> dict[str, float]:
    """Returns z-scores of permutations, `count height*width`, by name."""
    n = height * width
    assert sources.shape[1] == n
    assert (np.sort(sources[:50], 1) == np.arange(n)).all()
    grid = sources.reshape(-1, height, width)
    turned = grid.transpose(0, 2, 1)
    scores = {
        "position": position_z(sources),
        "fixed points": z_score((sources == np.arange(n)).sum(1), 1),
    }
    if width > 1:
        scores["horizontal neighbours"] = survival_z(grid)
        scores["same row"] = same_line_z(grid // width)
    if height > 1:
        # Numbered by columns, vertical neighbours are horizontal ones.
        renumbered = turned % width * height + turned // width
        scores["vertical neighbours"] = survival_z(renumbered)
        scores["same column"] = same_line_z(turned % width)
    if n <= 16:
        scores["parity"] = parity_z(sources)
    return scores


def arrangements_z(sources: np.ndarray) -> float:
    """Chi-square over all n! arrangements."""
    n = sources.shape[1]
    number = (sources * n ** np.arange(n)).sum(1)
    _, observed = np.unique(number, return_counts=True)
    ways = math.factorial(n)
    expected = len(sources) / ways
    statistic = ((observed - expected) ** 2).sum() / expected
    statistic += (ways - len(observed)) * expected
    return chi_square_z(statistic, ways - 1)


def relative(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Permutations that lead from `one` to `other`: uniform if they are independent."""
    inverse = np.argsort(one, 1)
    return np.take_along_axis(other, inverse, 1)


def assert_uniform(sources: np.ndarray, height: int, width: int) -> None:
    scores = statistics(sources, height, width)
    assert max(map(abs, scores.values())) < LIMIT, scores


def assert_rejected(sources: np.ndarray, height: int, width: int) -> None:
    scores = statistics(sources, height, width)
    assert max(map(abs, scores.values())) > 2 * LIMIT, scores


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
    return min(20_000, 1_500_000 // values)


@functools.cache
def independent_sample(height: int, width: int) -> np.ndarray:
    """One region of two channels, as pixels: `count 2 height*width`."""
    count = count_for(2 * height * width)
    sources = sample(prng_keys(count), (height, width, 2), "entire")
    assert (sources % 2 == np.arange(2)).all()
    return sources.reshape(count, -1, 2).transpose(0, 2, 1) // 2


# --- One region -----------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_channels_are_uniform(height, width):
    sources = independent_sample(height, width)
    assert_uniform(sources[:, 0], height, width)
    assert_uniform(sources[:, 1], height, width)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_channels_are_independent(height, width):
    sources = independent_sample(height, width)
    assert_uniform(relative(sources[:, 0], sources[:, 1]), height, width)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_keys_that_follow_each_other_are_independent(height, width):
    sources = independent_sample(height, width)[:, 0]
    assert_uniform(relative(sources[:-1], sources[1:]), height, width)


@pytest.mark.parametrize(("height", "width"), SHAPES)
def test_mixed_values_are_uniform(height, width):
    count = count_for(2 * height * width)
    sources = sample(prng_keys(count), (height, width, 2), "entire", "mixed")
    assert_uniform(sources.reshape(count, -1), height, 2 * width)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (7, 7), (1, 16), (3, 5)])
def test_joint_pixels_are_uniform(height, width):
    count = count_for(2 * height * width)
    sources = sample(prng_keys(count), (height, width, 2), "entire", "joint")
    pixels = sources.reshape(count, -1, 2) // 2
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 1])
    assert_uniform(pixels[..., 0], height, width)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 4), (16, 16), (2, 16)])
def test_image_keys_are_uniform_and_independent(height, width):
    count = min(4000, count_for(2 * height * width))
    shape = (height, width, 2)
    sources = sample(image_keys(count, shape), shape, "entire")
    pixels = sources.reshape(count, -1, 2) // 2
    assert_uniform(pixels[..., 0], height, width)
    assert_uniform(relative(pixels[..., 0], pixels[..., 1]), height, width)
    assert_uniform(relative(pixels[:-1, :, 0], pixels[1:, :, 0]), height, width)


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


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((2, 2), "joint"), ((1, 5), "independent"), ((2, 3), "independent")],
)
def test_every_arrangement_is_equally_likely(shape, channels):
    sources = sample(prng_keys(40_000), shape, "entire", channels)
    assert abs(arrangements_z(sources.reshape(40_000, -1))) < LIMIT


def test_every_mixed_arrangement_is_equally_likely():
    sources = sample(prng_keys(40_000), (1, 2, 3), "entire", "mixed")
    assert abs(arrangements_z(sources.reshape(40_000, -1))) < LIMIT


# --- Several regions ------------------------------------------------------------------


def region_sources(sources: np.ndarray, top: int, left: int, size: int, width: int):
    """Sources of one square region of grey images, numbered within the region."""
    part = sources[:, top : top + size, left : left + size].reshape(len(sources), -1)
    return (part // width - top) * size + part % width - left


@pytest.mark.parametrize("size", [2, 4, 7])
def test_regions_are_uniform_and_independent(size):
    # Side by side, one above the other, and a ragged edge below.
    shape = (2 * size + 1, 2 * size)
    sources = sample(prng_keys(count_for(math.prod(shape))), shape, size)
    width = shape[1]
    first = region_sources(sources, 0, 0, size, width)
    right = region_sources(sources, 0, size, size, width)
    below = region_sources(sources, size, 0, size, width)
    assert_uniform(first, size, size)
    assert_uniform(below, size, size)
    assert_uniform(relative(first, right), size, size)
    assert_uniform(relative(first, below), size, size)


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


# --- Seed search ----------------------------------------------------------------------

SEEDS = 2**16
TRUE_SEED = 31_337


def natural_region() -> np.ndarray:
    return np.ascontiguousarray(skimage.data.astronaut()[90:106, 210:226, 1])


@functools.cache
def search_program():
    """Compiled: VFE of an image unshuffled under each seed in turn."""

    @jax.jit
    def search(mixed, keys):
        def roughness(key):
            return vim_jax.vfe(vim_jax.unshuffle(key, mixed, "entire"))

        return jax.lax.map(roughness, keys, batch_size=4096)

    return search


def search(mixed) -> tuple[int, float]:
    """Returns the seed that gives the smoothest image, and how far it stands out."""
    scores = np.asarray(search_program()(mixed, prng_keys(SEEDS)))
    return int(scores.argmin()), float((scores.mean() - scores.min()) / scores.std())


@pytest.mark.slow
def test_a_16_bit_seed_is_found_by_trying_all():
    mixed = vim_jax.shuffle(jax.random.key(TRUE_SEED), natural_region(), "entire")
    seed, sigmas = search(mixed)
    assert seed == TRUE_SEED
    assert sigmas > 10


@pytest.mark.slow
def test_the_same_search_finds_nothing_under_a_secret_key():
    region = natural_region()
    key = vim_jax.SecretKey(bytes(range(32))).for_image("a", region)
    mixed = vim_jax.shuffle(key, region, "entire")
    seed, sigmas = search(mixed)
    # What the smoothest of 65,536 random arrangements is expected to reach.
    assert sigmas < 6.5
    restored = vim_jax.unshuffle(jax.random.key(seed), mixed, "entire")
    assert np.mean(np.asarray(restored) == region) < 0.2


def test_keystream_words_of_regions_and_channels_are_distinct():
    # 32 fresh bits a cell: no word of an image key serves twice.
    key = vim_jax.SecretKey(bytes(range(32))).for_image("a", np.zeros((16, 16, 3)))
    words = np.asarray(key.words)
    assert words.shape == (4 * 256,)
    assert len(np.unique(words)) == len(words)
