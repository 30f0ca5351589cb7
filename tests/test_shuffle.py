"""Shuffling: the specified permutation to the bit, its inverse, and where it runs."""

import functools
import hashlib
import re
from typing import Any

import chex
import hypothesis
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import reference
from hypothesis import strategies as st
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import vim_jax

MODES = ["joint", "independent", "mixed"]
SECRET = bytes(range(100, 132))
COLLECTIVES = re.compile(
    r"all-gather|all-reduce|all-to-all|reduce-scatter|"
    r"collective-permute|collective-broadcast"
)


@pytest.fixture
def unchecked(monkeypatch):
    """Turns the tests' type checks off, to see the errors that users see."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def numbered(shape: tuple[int, ...], dtype: Any = np.int32) -> np.ndarray:
    """An image in which every value is another."""
    return np.arange(np.prod(shape)).astype(dtype).reshape(shape)


def as_plan(size) -> Any:
    if isinstance(size, np.ndarray):
        return vim_jax.RegionPlan(jnp.asarray(size, jnp.int32))
    return size


ADAPTIVE = reference.adaptive_sizes((11, 13), seed=2)
ADAPTIVE_SIXES = reference.adaptive_sizes((11, 13), steps=(6, 2, 1), seed=1)
KEYS = {
    "threefry": lambda: jax.random.key(2024),
    "old-style": lambda: jax.random.PRNGKey(7),
    "rbg": lambda: jax.random.key(2024, impl="rbg"),
    "unsafe_rbg": lambda: jax.random.key(1, impl="unsafe_rbg"),
    "folded": lambda: jax.random.fold_in(jax.random.key(0), 9),
}


def key_data(key) -> np.ndarray:
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(key))
    return np.asarray(key)


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
    words = reference.prng_words(key_data(key), reference.words_for(image.shape))
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


def test_words_are_addressed_by_place():
    # The first channel moves alike however many channels there are, and a region
    # alike whatever the plan is elsewhere.
    image = numbered((11, 13, 3))
    key = jax.random.key(0)
    whole = np.asarray(vim_jax.shuffle(key, image, 4))
    first = vim_jax.shuffle(key, image[..., 0], 4)
    np.testing.assert_array_equal(first, whole[..., 0])
    sizes = np.full((11, 13), 4, np.int32)
    sizes[4:, 4:] = 1
    other = np.asarray(vim_jax.shuffle(key, image, as_plan(sizes)))
    np.testing.assert_array_equal(other[:4], whole[:4])


# --- The same bytes everywhere --------------------------------------------------------


def mix(key, image) -> jax.Array:
    return vim_jax.shuffle(
        key, image, as_plan(ADAPTIVE), channels="independent", scramble_regions=True
    )


def batch_of_keys(count: int = 64) -> jax.Array:
    return jax.random.key_data(jax.random.split(jax.random.key(5), count))


@functools.cache
def batch_of_images(count: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 11, 13, 3), np.uint8)


@functools.cache
def eager_batch() -> np.ndarray:
    pairs = zip(batch_of_keys(), batch_of_images(), strict=True)
    return np.stack([np.asarray(mix(key, image)) for key, image in pairs])


def mesh(**arguments) -> jax.sharding.Mesh:
    return jax.make_mesh((8,), ("batch",), **arguments)


def test_jitted_bytes_are_the_eager_ones():
    jitted = jax.jit(mix)
    for i in (0, 7):
        mixed = jitted(batch_of_keys()[i], batch_of_images()[i])
        np.testing.assert_array_equal(mixed, eager_batch()[i])


@pytest.mark.parametrize("count", [1, 64])
def test_bytes_of_a_batch_are_the_eager_ones(count):
    mixed = jax.vmap(mix)(batch_of_keys()[:count], batch_of_images()[:count])
    np.testing.assert_array_equal(mixed, eager_batch()[:count])


def test_bytes_of_a_jitted_batch_of_typed_keys_are_the_eager_ones():
    keys = jax.random.wrap_key_data(batch_of_keys())
    mixed = jax.jit(jax.vmap(mix))(keys, batch_of_images())
    np.testing.assert_array_equal(mixed, eager_batch())


def test_bytes_of_a_mapped_batch_are_the_eager_ones():
    pairs = (batch_of_keys(8), batch_of_images()[:8])
    mixed = jax.lax.map(lambda pair: mix(*pair), pairs)
    np.testing.assert_array_equal(
        mixed, [mix(key, image) for key, image in zip(*pairs, strict=True)]
    )


def test_sharded_bytes_are_the_eager_ones_and_need_no_collectives():
    sharding = NamedSharding(mesh(axis_types=(AxisType.Auto,)), P("batch"))
    arguments = jax.device_put((batch_of_keys(), batch_of_images()), sharding)
    sharded = jax.jit(jax.vmap(mix), out_shardings=sharding)
    compiled = sharded.lower(*arguments).compile()
    program = compiled.as_text() or ""
    assert not COLLECTIVES.findall(program)
    mixed = sharded(*arguments)
    assert len(mixed.sharding.device_set) == 8
    np.testing.assert_array_equal(mixed, eager_batch())


@pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit])
def test_bytes_in_shard_map_are_the_eager_ones_and_need_no_collectives(axis_type):
    devices = mesh(axis_types=(axis_type,))
    arguments = (batch_of_keys(), batch_of_images())
    arguments = jax.device_put(arguments, NamedSharding(devices, P("batch")))
    mapped = jax.jit(
        jax.shard_map(
            jax.vmap(mix), mesh=devices, in_specs=P("batch"), out_specs=P("batch")
        )
    )
    program = mapped.lower(*arguments).compile().as_text() or ""
    assert not COLLECTIVES.findall(program)
    np.testing.assert_array_equal(mapped(*arguments), eager_batch())


def test_a_program_with_collectives_is_told_apart():
    # The negative control of the two tests above.
    devices = mesh(axis_types=(AxisType.Auto,))
    values = jax.device_put(jnp.arange(8.0), NamedSharding(devices, P("batch")))
    everywhere = NamedSharding(devices, P())
    total = jax.jit(lambda x: x.sum(), out_shardings=everywhere)
    program = total.lower(values).compile().as_text() or ""
    assert COLLECTIVES.findall(program)


def test_image_keys_stack_for_vmap():
    images = batch_of_images()[:3]
    secret = vim_jax.SecretKey(SECRET)
    keys = [secret.for_image(str(i), image) for i, image in enumerate(images)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *keys)
    mixed = jax.jit(jax.vmap(mix))(stacked, images)
    eager = [mix(key, image) for key, image in zip(keys, images, strict=True)]
    np.testing.assert_array_equal(mixed, eager)


# --- Differentiation ------------------------------------------------------------------


@pytest.mark.parametrize("channels", MODES)
def test_gradients_travel_back_along_the_permutation(channels):
    image, weights = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    key = jax.random.key(0)
    words = reference.prng_words(key_data(key), reference.words_for(image.shape))

    def loss(x):
        mixed = vim_jax.shuffle(key, x, 3, channels=channels, scramble_regions=True)
        return (weights * mixed).sum()

    back = reference.unshuffle(words, weights, 3, channels, True)
    np.testing.assert_array_equal(jax.grad(loss)(image), back)


def test_gradients_travel_forward_and_through_unshuffle():
    image = np.random.default_rng(0).random((5, 7), np.float32)
    key = jax.random.key(0)

    def there_and_back(x):
        return vim_jax.unshuffle(key, vim_jax.shuffle(key, x, 3), 3)

    tangent = np.ones_like(image) * image
    _, out = jax.jvp(there_and_back, (image,), (tangent,))
    np.testing.assert_array_equal(out, tangent)


# --- Keys are arguments ---------------------------------------------------------------


def test_two_keys_share_one_program():
    image = numbered((11, 13, 3))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(key, x):
        return vim_jax.shuffle(key, x, 2)

    one, other = (run(jax.random.key(seed), image) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_the_program_of_an_eager_shuffle_does_not_hold_the_key():
    image = numbered((11, 13, 3))
    secret = vim_jax.SecretKey(SECRET)
    keys = [jax.random.key(s) for s in range(3)]
    vim_jax.shuffle(keys[0], image, 5)
    with jax.log_compiles(False), jax.no_tracing():
        for key in keys:
            vim_jax.shuffle(key, image, 5)
    image_keys = [secret.for_image(name, image) for name in "abc"]
    vim_jax.shuffle(image_keys[0], image, 5)
    with jax.no_tracing():
        for image_key in image_keys:
            vim_jax.shuffle(image_key, image, 5)


def test_the_jaxpr_holds_no_constant_of_the_key():
    image = numbered((11, 13, 3))
    key = jnp.array([0x12345678, 0x1ABCDEF0], jnp.uint32)
    jaxpr = str(jax.make_jaxpr(lambda k: vim_jax.shuffle(k, image, 2))(key))
    assert str(0x12345678) not in jaxpr
    assert "12345678" not in jaxpr


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
    key = vim_jax.SecretKey(SECRET).for_image("a", IMAGE[:2])
    with pytest.raises(ValueError, match="key"):
        vim_jax.shuffle(key, IMAGE, 2)
