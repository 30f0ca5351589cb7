"""The bytes of `shuffle` are those of docs/permutation.md, now and later."""

import hashlib

import hypothesis
import jax
import jax.numpy as jnp
import keystreams
import numpy as np
import pytest
import reference
from hypothesis import strategies as st
from plan_cases import adaptive_sizes
from shuffle_cases import (
    ADAPTIVE,
    ADAPTIVE_SIXES,
    KEYS,
    MODES,
    SECRET,
    as_plan,
    key_data,
    numbered,
)

import vim_jax
from vim_jax.keystream import key_material, keystream

# --- The specification ----------------------------------------------------------------
SIZES = [1, 2, 3, 5, 7, 8, 12, 13, ADAPTIVE, ADAPTIVE_SIXES]


def as_map(size, shape: tuple[int, ...]) -> vim_jax.RegionPlan:
    """A plan of which only the sizes are known: all share a program."""
    sizes = reference.size_map(shape, size)
    return vim_jax.RegionPlan(jnp.asarray(sizes, jnp.int32))


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES)
def test_bytes_are_those_of_the_specification(channels, scramble):
    image = numbered((11, 13, 3))
    key = jax.random.key(3)
    words = keystreams.prng_words(key_data(key), reference.words_for(image.shape))
    for size in SIZES:
        plan = as_map(size, image.shape)
        mixed = vim_jax.shuffle(
            key, image, plan, channels=channels, scramble_regions=scramble
        )
        slow = reference.shuffle(words, image, size, channels, scramble)
        np.testing.assert_array_equal(mixed, slow, err_msg=str(size))


@pytest.mark.parametrize("channels", MODES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, "entire"])
def test_bytes_of_one_region_size_are_those_of_the_specification(size, channels):
    image = numbered((11, 13, 3))
    key = jax.random.key(3)
    words = keystreams.prng_words(key_data(key), reference.words_for(image.shape))
    mixed = vim_jax.shuffle(key, image, size, channels=channels)
    slow = reference.shuffle(words, image, size, channels)
    np.testing.assert_array_equal(mixed, slow)


@pytest.mark.parametrize("channels", MODES)
@pytest.mark.parametrize("size", [1, 2, 4, 8, 16])
def test_bytes_of_squares_are_those_of_the_specification(size, channels):
    # Nothing is cut off and all sides are powers of two.
    image = numbered((16, 16, 2))
    key = jax.random.key(3)
    words = keystreams.prng_words(key_data(key), reference.words_for(image.shape))
    mixed = vim_jax.shuffle(key, image, size, channels=channels)
    slow = reference.shuffle(words, image, size, channels)
    np.testing.assert_array_equal(mixed, slow)


# Small ones, odd ones, and lines of 256 cells and more.
SHAPES = [
    ((1, 1), "independent", True),
    ((1, 1, 3), "mixed", True),
    ((1, 9), "independent", True),
    ((9, 1, 3), "mixed", False),
    ((2, 2, 3), "mixed", False),
    ((4, 10, 1), "independent", True),
    ((3, 5, 2), "mixed", True),
    ((2, 31, 2), "independent", False),
    ((1, 600), "independent", False),
    ((600, 1, 2), "joint", False),
    ((3, 200, 3), "mixed", True),
    ((2, 256), "independent", False),
    ((257, 1, 3), "mixed", False),
]


@pytest.mark.parametrize(("shape", "channels", "scramble"), SHAPES)
@hypothesis.settings(max_examples=10)
@hypothesis.given(data=st.data())
def test_bytes_of_any_plan_are_those_of_the_specification(
    shape, channels, scramble, data
):
    longest = max(shape[:2])
    size = data.draw(st.integers(1, longest) | st.just(longest))
    if data.draw(st.booleans()):
        size *= 8
        steps = (size, size // 2, size // 4, size // 8)
        size = adaptive_sizes(shape, steps, data.draw(st.integers(0, 99)))
    key = jax.random.key(data.draw(st.integers(0, 2**32 - 1)))
    words = keystreams.prng_words(key_data(key), reference.words_for(shape))
    image = numbered(shape)
    mode: dict = {"channels": channels, "scramble_regions": scramble}
    mixed = vim_jax.shuffle(key, image, as_map(size, shape), **mode)
    slow = reference.shuffle(words, image, size, channels, scramble)
    np.testing.assert_array_equal(mixed, slow)
    restored = vim_jax.unshuffle(key, mixed, as_map(size, shape), **mode)
    np.testing.assert_array_equal(restored, image)


@pytest.mark.parametrize(("shape", "channels", "scramble"), SHAPES)
def test_bytes_of_one_region_are_those_of_the_specification(shape, channels, scramble):
    image = numbered(shape)
    key = jax.random.key(5)
    words = keystreams.prng_words(key_data(key), reference.words_for(shape))
    mixed = vim_jax.shuffle(
        key, image, "entire", channels=channels, scramble_regions=scramble
    )
    slow = reference.shuffle(words, image, "entire", channels, scramble)
    np.testing.assert_array_equal(mixed, slow)


@pytest.mark.parametrize("name", KEYS)
def test_every_kind_of_prng_key_follows_the_specification(name):
    image = numbered((11, 13, 3))
    key = KEYS[name]()
    words = keystreams.prng_words(key_data(key), reference.words_for(image.shape))
    slow = reference.shuffle(words, image, 4)
    np.testing.assert_array_equal(vim_jax.shuffle(key, image, 4), slow)


@pytest.mark.parametrize("count", range(1, 9))
def test_prng_keys_of_any_number_of_words_follow_the_specification(count):
    data = np.random.default_rng(count).integers(0, 2**32, count, np.uint32)
    words = keystream(key_material(data), 3, 20)
    assert words.dtype == np.uint32
    assert np.asarray(words).tolist() == keystreams.prng_words(data, 23)[3:]


def test_prng_keys_that_differ_by_a_zero_word_have_different_words():
    data = np.array([5, 6, 7, 0], np.uint32)
    one, other = (keystream(key_material(data[:count]), 0, 50) for count in (3, 4))
    assert (np.asarray(one) != np.asarray(other)).all()


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES)
def test_image_keys_follow_the_specification(channels, scramble):
    image = numbered((11, 13, 3))
    key = vim_jax.SecretKey(SECRET).for_image("d/a.png", image)
    count = reference.words_for(image.shape)
    words = keystreams.secret_words(SECRET, "d/a.png", image, count)
    for size in (3, ADAPTIVE):
        mixed = vim_jax.shuffle(
            key,
            image,
            as_map(size, image.shape),
            channels=channels,
            scramble_regions=scramble,
        )
        slow = reference.shuffle(words, image, size, channels, scramble)
        np.testing.assert_array_equal(mixed, slow)


@pytest.mark.parametrize("channels", ["independent", "mixed"])
def test_image_keys_of_long_lines_follow_the_specification(channels):
    image = numbered((2, 300, 2))
    key = vim_jax.SecretKey(SECRET).for_image("a", image)
    count = reference.words_for(image.shape)
    words = keystreams.secret_words(SECRET, "a", image, count)
    mixed = vim_jax.shuffle(key, image, "entire", channels=channels)
    slow = reference.shuffle(words, image, "entire", channels)
    np.testing.assert_array_equal(mixed, slow)


def test_typed_and_old_style_keys_of_equal_data_are_one():
    image = numbered((11, 13, 3))
    typed = vim_jax.shuffle(jax.random.key(7), image, 4)
    np.testing.assert_array_equal(
        vim_jax.shuffle(jax.random.PRNGKey(7), image, 4), typed
    )


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES)
def test_extreme_words_and_ties_follow_the_specification(channels, scramble):
    # No coin shows heads, or each; all odds do, or none; regions are not in order.
    image = numbered((11, 13, 3))
    random = np.random.default_rng(0)
    for values in ([0], [2**32 - 1], [7], [0, 1], [0, 5, 2**31, 2**32 - 1]):
        count = reference.words_for(image.shape)
        words = random.choice(np.array(values, np.uint32), count)
        key = vim_jax.ImageKey(words, np.zeros(8, np.uint32))
        mixed = vim_jax.shuffle(
            key,
            image,
            as_map(5, image.shape),
            channels=channels,
            scramble_regions=scramble,
        )
        slow = reference.shuffle(words, image, 5, channels, scramble)
        np.testing.assert_array_equal(mixed, slow)


@pytest.mark.parametrize("channels", MODES)
def test_every_bit_is_read_where_the_specification_says(channels):
    # One word of the keystream is set at a time, to one bit of each byte.
    image = numbered((3, 5, 2))
    count = reference.words_for(image.shape)
    rows = np.eye(count, dtype=np.uint32) * np.uint32(0x01010101)
    rows = np.concatenate([rows << bit for bit in range(8)])
    keys = vim_jax.ImageKey(rows, np.zeros((len(rows), 8), np.uint32))
    mixed = jax.vmap(lambda key: vim_jax.shuffle(key, image, 4, channels=channels))(
        keys
    )
    slow = [reference.shuffle(words, image, 4, channels) for words in rows]
    np.testing.assert_array_equal(mixed, slow)


# --- Golden vectors -------------------------------------------------------------------
# Computed by `reference`: they pin the reference and the library at once. Whoever
# changes one of these loses every image mixed before.


def digest(image) -> str:
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()[:16]


GOLDEN_SOURCES = {
    "joint": "020308090a0b0001060704050e0f0c0d1011",
    "independent": "020308090a0b0007060104050e0f0c0d1011",
    "mixed": "060109070a0b0203080005040d0f0e0c1011",
}


@pytest.mark.parametrize("channels", MODES)
def test_golden_bytes(channels):
    image = numbered((3, 3, 2), np.uint8)
    mixed = vim_jax.shuffle(
        jax.random.key(0), image, 2, channels=channels, scramble_regions=True
    )
    assert np.asarray(mixed).tobytes().hex() == GOLDEN_SOURCES[channels]


def golden_sizes() -> np.ndarray:
    """An adaptive plan with regions of 1, 2, 4 and 8 pixels and ragged edges."""
    sizes = np.full((11, 13), 4)
    sizes[:8, :8] = 8
    sizes[:4, 8:12] = 2
    sizes[8:, :4] = 1
    return sizes


GOLDEN_DIGESTS: dict[tuple, str] = {
    ("threefry", 4, "joint", False): "92218f1308366214",
    ("threefry", 4, "independent", False): "4691bbb6b38704af",
    ("threefry", 4, "mixed", False): "0b457f3412810bc8",
    ("threefry", 4, "joint", True): "c5e0878f360477a9",
    ("threefry", 4, "independent", True): "6c30e6a6258d4779",
    ("threefry", 4, "mixed", True): "6bba33b5cc2af92b",
    ("threefry", 2, "independent", False): "41398bcc6939b6e2",
    ("threefry", "adaptive", "independent", False): "02437330e9146d86",
    ("threefry", "adaptive", "mixed", True): "52592f23802350ea",
    ("threefry", "entire", "independent", False): "d98db3e32dbc405a",
    ("threefry", "entire", "mixed", False): "dfcbf22d49d63e33",
    ("threefry", "line", "independent", False): "4aae13992e696c83",
    ("old-style", 4, "independent", False): "5e7a62a86e993807",
    ("rbg", 4, "independent", False): "03e7bc5fde121825",
    ("secret", 4, "independent", False): "234e7874d5838068",
    ("secret", "adaptive", "mixed", True): "955395246c389624",
    ("secret", "line", "joint", False): "0b6dad6bf35d50e8",
}


@pytest.mark.parametrize("case", GOLDEN_DIGESTS, ids=str)
def test_golden_digests(case):
    name, size, channels, scramble = case
    image = numbered((1, 600, 2) if size == "line" else (11, 13, 3))
    count = reference.words_for(image.shape)
    if name == "secret":
        key = vim_jax.SecretKey(SECRET).for_image("ö.png", image)
        words = keystreams.secret_words(SECRET, "ö.png", image, count)
    else:
        key = KEYS[name]()
        words = keystreams.prng_words(key_data(key), count)
    plan = {"adaptive": golden_sizes(), "line": "entire"}.get(size, size)
    slow = reference.shuffle(words, image, plan, channels, scramble)
    mixed = vim_jax.shuffle(
        key, image, as_plan(plan), channels=channels, scramble_regions=scramble
    )
    assert digest(slow) == GOLDEN_DIGESTS[case]
    assert digest(mixed) == GOLDEN_DIGESTS[case]


def test_golden_key_data():
    # What the golden vectors take for granted about JAX.
    assert key_data(jax.random.key(2024)).tolist() == [0, 2024]
    assert key_data(jax.random.PRNGKey(7)).tolist() == [0, 7]
    assert key_data(jax.random.key(2024, impl="rbg")).tolist() == [0, 2024, 0, 2024]
