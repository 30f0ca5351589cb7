"""Shuffling on the host: to the byte what `docs/permutation.md` says."""

import numpy as np
import pytest
import reference
from folders import photograph
from plan_cases import adaptive_sizes

import vim_jax
from vim_jax import SecretKey
from vim_jax.data import exchanges, shuffling
from vim_jax.data.shuffling import shuffle_image

KEY = SecretKey(bytes(range(32)))
SIDES = [(35, 70), (20, 41), (64, 32), (1, 9), (3, 1)]


def plan(kind, shape):
    """Sizes of a plan, whole regions among them and some that edges cut off."""
    if isinstance(kind, int):
        return np.full(shape, min(kind, max(shape)), np.int32)
    if kind == "adaptive":
        return adaptive_sizes(shape, seed=3).astype(np.int32)
    blocks = np.random.default_rng(0).choice([1, 2, 8, 32], (8, 8))
    sizes = np.kron(blocks, np.ones((32, 32), np.int32))
    return sizes[: shape[0], : shape[1]].astype(np.int32)


def cells(sides, dtype, channels):
    """A photograph, or one of its channels, as `h w c`."""
    image = photograph(sides=sides)[:, :, :channels].copy()
    return image.astype(dtype) * 257 if dtype == np.uint16 else image


def check(image, size, channels, scramble_regions=False):
    """As the reference does, and back."""
    options = {"channels": channels, "scramble_regions": scramble_regions}
    key = KEY.for_image("0", image)
    stream, original = KEY.stream(key.nonce), image.copy()
    mixed = shuffle_image(image, size, stream, **options)
    np.testing.assert_array_equal(image, original)
    words = np.asarray(key.words).tolist()
    words += [0] * 2 * image.size  # Short sides have no words for long distances.
    expected = reference.shuffle(words, image, size, channels, scramble_regions)
    np.testing.assert_array_equal(mixed, expected)
    restored = shuffle_image(mixed, size, stream, **options, inverse=True)
    np.testing.assert_array_equal(restored, original)


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
@pytest.mark.parametrize("sides", SIDES)
def test_images_of_any_shape(kind, channels, scramble, sides):
    image = photograph(sides=sides)
    check(image, plan(kind, sides), channels=channels, scramble_regions=scramble)


@pytest.mark.parametrize("channels", ["independent", "joint", "mixed"])
@pytest.mark.parametrize(
    ("dtype", "c"), [(np.uint16, 1), (np.uint16, 3), (np.uint8, 1)]
)
def test_other_kinds_of_pixels(dtype, c, channels):
    image = cells((40, 55), dtype, c)
    check(image, plan("adaptive", (40, 55)), channels=channels)


@pytest.mark.parametrize("channels", ["independent", "joint", "mixed"])
@pytest.mark.parametrize("c", [2, 4, 5])
def test_other_numbers_of_channels(c, channels):
    image = np.random.default_rng(c).integers(0, 256, (23, 37, c), np.uint8)
    check(image, plan("adaptive", (23, 37)), channels=channels)


def test_a_long_region_of_mixed_channels():
    image = photograph(sides=(270, 9))
    check(image, np.full((270, 9), 270, np.int32), channels="mixed")


def test_a_plan_of_another_shape_is_refused():
    image = photograph(sides=(8, 9))
    stream = KEY.stream(KEY.nonce("a", image))
    with pytest.raises(ValueError, match=r"size is of \(9, 8\) pixels.*\(8, 9\)"):
        shuffle_image(image, plan(4, (9, 8)), stream, channels="joint")


@pytest.mark.parametrize("shape", [(1, 65_537), (65_537, 1)])
def test_regions_too_long_for_coins_are_refused(shape):
    image = np.zeros((*shape, 1), np.uint8)
    key = KEY.for_image("a", image)
    size = np.full(shape, 65_537, np.int32)
    with pytest.raises(ValueError, match="too long to be shuffled: use regions of up"):
        shuffle_image(image, size, KEY.stream(key.nonce), channels="independent")
    with pytest.raises(ValueError, match="too long to be shuffled: use regions of up"):
        vim_jax.shuffle(key, image, 65_537)


@pytest.mark.parametrize("shape", [(2, 600), (300, 3)])
def test_sides_longer_than_a_byte_counts(shape):
    size = np.full(shape, max(shape), np.int32)
    check(photograph(sides=shape), size, channels="independent")


@pytest.mark.parametrize("kind", ["quadtree", 20, 70])
@pytest.mark.parametrize("channels", ["independent", "joint", "mixed"])
def test_bands_are_shuffled_as_the_whole(monkeypatch, kind, channels):
    monkeypatch.setattr(shuffling, "_BAND_PIXELS", 1500)
    for shape in ((50, 70), (35, 50)):
        check(photograph(sides=shape), plan(kind, shape), channels=channels)


def test_loops_are_compiled_once():
    check(photograph(sides=(20, 30)), plan(7, (20, 30)), channels="independent")
    before = len(exchanges.exchange_rectangles.signatures)
    check(cells((9, 40), np.uint16, 1), plan(4, (9, 40)), channels="joint")
    for channels in ("independent", "joint", "mixed"):
        check(photograph(sides=(5, 6)), plan(16, (5, 6)), channels=channels)
    assert len(exchanges.exchange_rectangles.signatures) == before


def test_words_do_not_show():
    image = photograph(sides=SIDES[0])
    stream = KEY.stream(KEY.nonce("a", image))
    assert repr(stream) == "ImageStream(<hidden>)"
    words = shuffling._Words(stream, image.shape, "mixed", 0, len(image))
    assert repr(words) == "_Words(<hidden>)"
    with pytest.raises(TypeError, match="pickled"):
        stream.__reduce__()
