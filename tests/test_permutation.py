"""The bytes of `shuffle` are those of docs/permutation.md, now and later."""

import hashlib

import jax
import numpy as np
import pytest
import reference
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


# --- The specification ----------------------------------------------------------------
@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES)
def test_bytes_are_those_of_the_specification(channels, scramble):
    image = numbered((11, 13, 3))
    key = jax.random.key(3)
    words = reference.prng_words(key_data(key), reference.words_for(image.shape))
    for size in (1, 2, 3, 5, 7, 12, "entire", ADAPTIVE, ADAPTIVE_SIXES):
        mixed = vim_jax.shuffle(
            key, image, as_plan(size), channels=channels, scramble_regions=scramble
        )
        slow = reference.shuffle(words, image, size, channels, scramble)
        np.testing.assert_array_equal(mixed, slow, err_msg=str(size))


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 1, 3), (1, 9), (9, 1, 3), (2, 2, 3), (4, 10, 1), (3, 5, 2)]
)
def test_bytes_are_those_of_the_specification_on_other_shapes(shape):
    image = numbered(shape)
    key = jax.random.key(3)
    words = reference.prng_words(key_data(key), reference.words_for(image.shape))
    for channels in ("independent", "mixed"):
        mixed = vim_jax.shuffle(key, image, 2, channels=channels, scramble_regions=True)
        slow = reference.shuffle(words, image, 2, channels, True)
        np.testing.assert_array_equal(mixed, slow)


@pytest.mark.parametrize("name", KEYS)
def test_every_kind_of_prng_key_follows_the_specification(name):
    image = numbered((11, 13, 3))
    key = KEYS[name]()
    words = reference.prng_words(key_data(key), reference.words_for(image.shape))
    slow = reference.shuffle(words, image, 4)
    np.testing.assert_array_equal(vim_jax.shuffle(key, image, 4), slow)


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES)
def test_image_keys_follow_the_specification(channels, scramble):
    image = numbered((11, 13, 3))
    key = vim_jax.SecretKey(SECRET).for_image("d/a.png", image)
    count = reference.words_for(image.shape)
    words = reference.secret_words(SECRET, "d/a.png", image, count)
    for size in (3, ADAPTIVE):
        mixed = vim_jax.shuffle(
            key, image, as_plan(size), channels=channels, scramble_regions=scramble
        )
        slow = reference.shuffle(words, image, size, channels, scramble)
        np.testing.assert_array_equal(mixed, slow)


def test_typed_and_old_style_keys_of_equal_data_are_one():
    image = numbered((11, 13, 3))
    typed = vim_jax.shuffle(jax.random.key(7), image, 4)
    np.testing.assert_array_equal(
        vim_jax.shuffle(jax.random.PRNGKey(7), image, 4), typed
    )


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES)
def test_ties_of_words_are_broken_as_specified(channels, scramble):
    image = numbered((11, 13, 3))
    random = np.random.default_rng(0)
    for values in ([7], [0, 1], [0, 5, 2**31, 2**32 - 1]):
        words = random.choice(np.array(values, np.uint32), 4 * 11 * 13)
        key = vim_jax.ImageKey(words, np.zeros(8, np.uint32))
        mixed = vim_jax.shuffle(
            key, image, 5, channels=channels, scramble_regions=scramble
        )
        slow = reference.shuffle(words, image, 5, channels, scramble)
        np.testing.assert_array_equal(mixed, slow)


# --- Golden vectors -------------------------------------------------------------------
# Computed by `reference`: they pin the reference and the library at once. Whoever
# changes one of these loses every image mixed before.


def digest(image) -> str:
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()[:16]


GOLDEN_SOURCES = {
    "joint": "080906070a0b0001020304050e0f0c0d1011",
    "independent": "080906010a0b0007020304050e0d0c0f1011",
    "mixed": "080609000b05010207030a040e0d0c0f1011",
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
    ("threefry", 4, "joint", False): "c60ca8dd1f5162e6",
    ("threefry", 4, "independent", False): "602d08c33963d4ef",
    ("threefry", 4, "mixed", False): "7d1cc59acd6ae9a5",
    ("threefry", 4, "joint", True): "8ef28160b3ec76dd",
    ("threefry", 4, "independent", True): "3a6260803f9acff1",
    ("threefry", 4, "mixed", True): "ebc95fbcf58bd135",
    ("threefry", "adaptive", "independent", False): "3e760660832869b1",
    ("threefry", "adaptive", "mixed", True): "5d9ecf969c781918",
    ("threefry", "entire", "independent", False): "56c8b44bf77c4829",
    ("old-style", 4, "independent", False): "f6a9a17d78f2ba6b",
    ("rbg", 4, "independent", False): "4e39ab01f572f621",
    ("secret", 4, "independent", False): "a2fe585de1b53396",
    ("secret", "adaptive", "mixed", True): "d7a0cc0152908389",
}


@pytest.mark.parametrize("case", GOLDEN_DIGESTS, ids=str)
def test_golden_digests(case):
    name, size, channels, scramble = case
    image = numbered((11, 13, 3))
    count = reference.words_for(image.shape)
    if name == "secret":
        key = vim_jax.SecretKey(SECRET).for_image("ö.png", image)
        words = reference.secret_words(SECRET, "ö.png", image, count)
    else:
        key = KEYS[name]()
        words = reference.prng_words(key_data(key), count)
    plan = golden_sizes() if size == "adaptive" else size
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
