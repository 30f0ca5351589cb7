"""What `shuffle` moves, what it keeps, and how it is undone."""

from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import keystreams
import numpy as np
import pytest
import reference
from hypothesis import strategies as st
from shuffle_cases import (
    ADAPTIVE,
    ADAPTIVE_SIXES,
    MODES,
    SECRET,
    as_plan,
    key_data,
    numbered,
)

import vim_jax

# --- The inverse ----------------------------------------------------------------------
DTYPES = ["uint8", "uint16", "int16", "float16", "bfloat16", "int32", "float32", "bool"]


INVERSE_CASES = [
    ((1, 1), 1, "independent", False),
    ((1, 7, 3), 2, "mixed", True),
    ((5, 7), 3, "joint", False),
    ((8, 8, 3), 4, "independent", True),
    ((6, 5, 4), 50, "mixed", False),
]


@hypothesis.given(case=st.sampled_from(INVERSE_CASES), seed=st.integers(0, 2**32 - 1))
def test_unshuffle_is_the_inverse(case, seed):
    shape, size, channels, scramble = case
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    mode: dict[str, Any] = {"channels": channels, "scramble_regions": scramble}
    key = jax.random.key(seed)
    mixed = vim_jax.shuffle(key, image, size, **mode)
    restored = vim_jax.unshuffle(key, mixed, size, **mode)
    assert restored.shape == mixed.shape == image.shape
    assert restored.dtype == mixed.dtype == image.dtype
    np.testing.assert_array_equal(restored, image)


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES)
def test_unshuffle_is_the_inverse_of_adaptive_plans(channels, scramble):
    image = numbered((11, 13, 3))
    mode: dict[str, Any] = {"channels": channels, "scramble_regions": scramble}
    key = jax.random.key(0)
    for size in (ADAPTIVE, ADAPTIVE_SIXES):
        mixed = vim_jax.shuffle(key, image, as_plan(size), **mode)
        restored = vim_jax.unshuffle(key, mixed, as_plan(size), **mode)
        np.testing.assert_array_equal(restored, image)


def values_of(dtype: str) -> np.ndarray:
    """A 4 x 5 x 3 image with extreme and negative values where there are any."""
    random = np.random.default_rng(0)
    kind = jnp.dtype(dtype)
    if jnp.issubdtype(kind, jnp.floating):
        return (random.normal(size=(4, 5, 3)) * 1e4).astype(kind)
    bits = random.integers(0, 256, (4, 5, 3, kind.itemsize), np.uint8)
    return bits[..., 0] > 99 if dtype == "bool" else bits.view(kind)[..., 0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_of_1_2_or_4_bytes_moves_alike_and_comes_back(dtype):
    image = values_of(dtype)
    key = jax.random.key(0)
    words = keystreams.prng_words(key_data(key), reference.words_for(image.shape))
    mixed = vim_jax.shuffle(key, image, 3)
    assert mixed.dtype == image.dtype
    slow = reference.shuffle(words, image, 3)
    assert np.asarray(mixed).tobytes() == slow.tobytes()
    restored = vim_jax.unshuffle(key, mixed, 3)
    assert np.asarray(restored).tobytes() == image.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_nan_payloads_and_negative_zeros_come_back(dtype):
    # Any values: a float image may carry bits that arithmetic would normalise.
    width = jnp.dtype(dtype).itemsize
    top = np.arange(60, dtype=np.uint64) * 97 + (0x7F81 if width == 2 else 0x7F810203)
    bits = np.concatenate([top[:58], np.array([1 << (8 * width - 1), 0], np.uint64)])
    image = bits.astype(f"u{width}").reshape(4, 5, 3).view(jnp.dtype(dtype))
    key = jax.random.key(0)
    restored = vim_jax.unshuffle(key, vim_jax.shuffle(key, image, 3), 3)
    assert np.asarray(restored).tobytes() == image.tobytes()


def test_a_wrong_key_raises_nothing_and_restores_nothing():
    image = numbered((11, 13, 3))
    mixed = vim_jax.shuffle(jax.random.key(0), image, 5)
    restored = vim_jax.unshuffle(jax.random.key(1), mixed, 5)
    assert np.asarray(restored != image).mean() > 0.8


# --- What stays where -----------------------------------------------------------------
@pytest.mark.parametrize("size", [4, "adaptive"])
@pytest.mark.parametrize("channels", MODES)
def test_every_region_keeps_its_values(channels, size):
    image = numbered((11, 13, 3))
    plan = ADAPTIVE if size == "adaptive" else size
    mixed = np.asarray(
        vim_jax.shuffle(jax.random.key(0), image, as_plan(plan), channels=channels)
    )
    for pixels in reference.regions(reference.size_map(image.shape, plan)).values():
        before = np.array([image[p] for p in pixels])
        after = np.array([mixed[p] for p in pixels])
        if channels == "joint":
            assert sorted(map(tuple, before)) == sorted(map(tuple, after))
        elif channels == "independent":
            np.testing.assert_array_equal(np.sort(before, 0), np.sort(after, 0))
        else:
            np.testing.assert_array_equal(np.sort(before, None), np.sort(after, None))


@pytest.mark.parametrize("channels", MODES)
def test_scrambled_regions_trade_places_whole_and_among_their_like(channels):
    image = numbered((11, 13, 3))
    mixed = np.asarray(
        vim_jax.shuffle(
            jax.random.key(0), image, 3, channels=channels, scramble_regions=True
        )
    )
    members = reference.regions(reference.size_map(image.shape, 3))
    home = {
        int(value): origin
        for origin, pixels in members.items()
        for p in pixels
        for value in image[p]
    }
    moved = 0
    for origin, pixels in members.items():
        sources = {home[int(value)] for p in pixels for value in mixed[p]}
        assert len(sources) == 1
        source = sources.pop()
        assert reference.extent(members[source]) == reference.extent(pixels)
        moved += source != origin
    assert moved > len(members) / 2


def test_channels_travel_together_only_when_joint():
    image = np.repeat(numbered((11, 13))[..., None], 3, -1)
    for channels in ("joint", "independent", "mixed"):
        mixed = np.asarray(
            vim_jax.shuffle(jax.random.key(0), image, 4, channels=channels)
        )
        together = (mixed == mixed[..., :1]).all()
        assert together == (channels == "joint")


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("shape", [(9, 10, 3), (5, 300)])
def test_no_row_or_column_of_a_ragged_edge_stays_in_clear(shape, scramble):
    # Each strip of the edge moves in nearly every one of 50 keys.
    image = numbered(shape)
    keys = jax.random.split(jax.random.key(0), 50)
    mixed = np.asarray(
        jax.vmap(lambda key: vim_jax.shuffle(key, image, 4, scramble_regions=scramble))(
            keys
        )
    )
    moved = (mixed != image).mean(0)
    assert moved[: shape[0] // 4 * 4, : shape[1] // 4 * 4].min() > 0.7
    if shape[0] % 4:
        assert moved[-1, :-1].min() > 0.2
    if shape[1] % 4:
        assert moved[:-1, -1].min() > 0.2


@pytest.mark.parametrize("channels", MODES)
def test_regions_of_one_pixel_leave_the_image_alone(channels):
    image = numbered((11, 13, 3))
    mixed = vim_jax.shuffle(jax.random.key(0), image, 1, channels=channels)
    np.testing.assert_array_equal(mixed, image)


def test_regions_of_one_pixel_trade_places_when_scrambled():
    image = numbered((11, 13, 3))
    mixed = vim_jax.shuffle(
        jax.random.key(0), image, 1, channels="mixed", scramble_regions=True
    )
    pixels = np.asarray(mixed).reshape(-1, 3)
    assert not np.array_equal(mixed, image)
    assert sorted(map(tuple, pixels)) == sorted(map(tuple, image.reshape(-1, 3)))


def test_a_lone_pixel_of_an_adaptive_plan_keeps_its_colour():
    image = numbered((11, 13, 3))
    mixed = vim_jax.shuffle(
        jax.random.key(0), image, as_plan(ADAPTIVE), channels="mixed"
    )
    alone = ADAPTIVE == 1
    assert alone.any()
    np.testing.assert_array_equal(np.asarray(mixed)[alone], image[alone])


# --- Equal plans, equal bytes ---------------------------------------------------------
def forms_of_size_five(shape: tuple[int, int]) -> dict[str, vim_jax.RegionPlan]:
    sizes = np.full(shape, 5, np.int32)
    # The corner of 11 x 13 is 1 x 3: sizes 10 and 5 start at the same pixel.
    sizes[10:, 10:] = 10
    return {
        "uniform": vim_jax.uniform_plan(shape, 5),
        "map": vim_jax.RegionPlan(jnp.full(shape, 5, jnp.int32)),
        "ragged": vim_jax.RegionPlan(jnp.asarray(sizes)),
        "with more to say": vim_jax.RegionPlan(
            jnp.full(shape, 5, jnp.int32), jnp.float32(3), jnp.bool_(True)
        ),
    }


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("form", forms_of_size_five((11, 13)))
def test_equal_regions_give_equal_bytes(form, scramble):
    image = numbered((11, 13, 3))
    key = jax.random.key(0)
    plain = vim_jax.shuffle(key, image, 5, scramble_regions=scramble)
    plan = forms_of_size_five((11, 13))[form]
    other = vim_jax.shuffle(key, image, plan, scramble_regions=scramble)
    np.testing.assert_array_equal(other, plain)


def test_plans_may_wait_on_the_host():
    image = numbered((11, 13, 3))
    plan = vim_jax.uniform_plan(image.shape, 4)
    kept = jax.device_get(plan)
    assert isinstance(kept.size, np.ndarray)
    np.testing.assert_array_equal(
        vim_jax.shuffle(jax.random.key(0), image, kept),
        vim_jax.shuffle(jax.random.key(0), image, plan),
    )


@pytest.mark.parametrize("shape", [(11, 13, 3), (1, 9)])
def test_sizes_beyond_the_image_are_the_whole_image(shape):
    image = numbered(shape)
    key = jax.random.key(0)
    whole = vim_jax.shuffle(key, image, "entire")
    for size in (13, 16, 1000, 2**31 - 1, vim_jax.uniform_plan(shape, 77)):
        np.testing.assert_array_equal(vim_jax.shuffle(key, image, size), whole)


def test_a_grey_image_and_its_one_channel_form_move_alike():
    image = numbered((9, 10))
    for channels in ("independent", "mixed"):
        plain = vim_jax.shuffle(jax.random.key(0), image, 4, channels=channels)
        other = vim_jax.shuffle(
            jax.random.key(0), image[..., None], 4, channels=channels
        )
        assert other.shape == (9, 10, 1)
        np.testing.assert_array_equal(other[..., 0], plain)


def test_a_region_moves_alike_whatever_the_plan_is_elsewhere():
    image = numbered((11, 13, 3))
    key = jax.random.key(0)
    whole = np.asarray(vim_jax.shuffle(key, image, 4))
    sizes = np.full((11, 13), 4, np.int32)
    sizes[4:, 4:] = 1
    other = np.asarray(vim_jax.shuffle(key, image, as_plan(sizes)))
    np.testing.assert_array_equal(other[:4], whole[:4])


# Squares of powers of two, and regions that are cut off: other programs.
@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((16, 16, 3), 2),
        ((16, 16, 3), 4),
        ((16, 16, 3), 16),
        ((11, 13, 3), 4),
        ((11, 13, 3), 8),
        ((3, 300), 300),
    ],
)
@pytest.mark.parametrize("channels", MODES)
def test_what_is_known_of_a_plan_does_not_change_its_bytes(shape, size, channels):
    image = numbered(shape)
    key = jax.random.key(0)
    sizes = jnp.full(shape[:2], size, jnp.int32)
    unknown = vim_jax.shuffle(key, image, vim_jax.RegionPlan(sizes), channels=channels)
    for form in (size, vim_jax.uniform_plan(shape, size)):
        known = vim_jax.shuffle(key, image, form, channels=channels)
        np.testing.assert_array_equal(known, unknown)


# --- Errors ---------------------------------------------------------------------------
IMAGE = np.zeros((4, 4, 3), np.uint8)


def both_ways() -> list:
    return [vim_jax.shuffle, vim_jax.unshuffle]


@pytest.mark.parametrize("function", both_ways(), ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    ("image", "named"),
    [
        (np.zeros((4, 4), np.float64), "float64"),
        (np.zeros((4, 4), np.int64), "int64"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.zeros((2, 4, 4, 3), np.uint8), "(2, 4, 4, 3)"),
        (np.zeros(4, np.uint8), "(4,)"),
        (np.zeros((0, 4), np.uint8), "(0, 4)"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_images_that_are_refused_are_named(function, image, named):
    with pytest.raises(ValueError, match="image") as error:
        function(jax.random.key(0), image, 2)
    assert named in str(error.value)


@pytest.mark.parametrize("function", both_ways(), ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unchecked")
def test_unknown_channels_are_named(function):
    with pytest.raises(ValueError, match="channels='rgb'"):
        function(jax.random.key(0), IMAGE, 2, channels="rgb")


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "whole", None])
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_size_is_named(size):
    with pytest.raises(ValueError, match="region_size"):
        vim_jax.shuffle(jax.random.key(0), IMAGE, size)


@pytest.mark.usefixtures("unchecked")
def test_a_traced_size_is_told_what_to_be():
    with pytest.raises(ValueError, match="region_size is traced by jit"):
        jax.jit(vim_jax.shuffle)(jax.random.key(0), IMAGE, 2)


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_array_is_named():
    nested: Any = IMAGE.tolist()
    with pytest.raises(ValueError, match=r"image is a list: pass an array"):
        vim_jax.shuffle(jax.random.key(0), nested, 2)


@pytest.mark.usefixtures("unchecked")
def test_a_plan_for_another_shape_is_refused():
    plan = vim_jax.uniform_plan((4, 5), 2)
    with pytest.raises(ValueError, match="plan") as error:
        vim_jax.shuffle(jax.random.key(0), IMAGE, plan)
    assert "(4, 5)" in str(error.value)
    assert "(4, 4" in str(error.value)


@pytest.mark.parametrize("function", both_ways(), ids=lambda f: f.__name__)
@pytest.mark.usefixtures("unchecked")
def test_a_secret_key_is_no_image_key(function):
    with pytest.raises(TypeError, match="for_image"):
        function(vim_jax.SecretKey.generate(), IMAGE, 2)


@pytest.mark.parametrize(
    "key",
    [
        lambda: jax.random.split(jax.random.key(0), 3),
        lambda: jax.random.split(jax.random.PRNGKey(0), 3),
        lambda: 7,
        lambda: np.arange(2, dtype=np.float32),
        lambda: np.arange(9, dtype=np.uint32),
        lambda: "secret",
        lambda: None,
    ],
    ids=["batch", "old-style batch", "int", "floats", "nine words", "text", "None"],
)
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_key_is_refused(key):
    with pytest.raises((TypeError, ValueError), match="key"):
        vim_jax.shuffle(key(), IMAGE, 2)


@pytest.mark.usefixtures("unchecked")
def test_an_image_key_of_a_smaller_image_is_refused():
    key = vim_jax.SecretKey(SECRET).for_image("a", IMAGE[:1])
    with pytest.raises(ValueError, match="key"):
        vim_jax.shuffle(key, IMAGE, 2)


def test_many_channels_cannot_be_mixed():
    image = np.zeros((2, 2, 17), np.uint8)
    with pytest.raises(ValueError, match=r"17 channels.*takes 16 at most"):
        vim_jax.shuffle(jax.random.key(0), image, 2, channels="mixed")
