"""Plans of the host: bit for bit those of `vim_jax.plan_regions`."""

import jax
import numpy as np
import pytest
from folders import photograph, photographs
from hypothesis import given
from hypothesis import strategies as st

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import folder, plan_cuts, plan_grids, plan_tree
from vim_jax.data.measures import as_grey_levels
from vim_jax.data.plans import plan_image
from vim_jax.data.publish import publish
from vim_jax.planning import goal_words, plan_for

SIDE = 72
# JAX compiles a program for each.
SHAPES = [
    (17, 33), (1, 1), (2, 3), (31, 32), (7, 5), (1, 9), (SIDE, 40), (8, 8), (3, 64),
]  # fmt: skip
KINDS = {"photograph": 4, "noise": 3, "steps": 2, "flat": 1, "checkerboard": 1}


def image_of(kind, shape, dtype, seed=0):
    h, w, c = shape
    random = np.random.default_rng(seed)
    if kind == "noise":
        image = random.integers(0, 256, shape, np.uint8)
    elif kind == "flat":
        image = np.full(shape, 200, np.uint8)
    elif kind == "checkerboard":
        image = (np.indices((h, w)).sum(0) % 2 * 255)[..., None].repeat(c, 2)
        image = image.astype(np.uint8)
    else:
        image = photograph(sides=(SIDE, SIDE))[:h, :w, :c]
        image = image // 64 * 64 if kind == "steps" else image
    if dtype == np.uint16:
        return image.astype(np.uint16) * 256 + random.integers(0, 256, shape, np.uint8)
    return np.ascontiguousarray(image)


def check(image, mixer):
    """The plan of the host, which is that of JAX."""
    expected, reach = plan_for(
        as_grey_levels(image),
        goal_words(mixer.level, mixer.target_vfe, image.size),
        is_level=mixer.level is not None,
        max_region=mixer.max_region,
        channels=mixer.channels,
    )
    found = plan_image(image, mixer)
    np.testing.assert_array_equal(found.size, expected.size)
    assert found.expected_vfe == float(np.asarray(expected.expected_vfe))
    assert found.reached == bool(expected.reached)
    assert found.reach == tuple(float(x) for x in reach)
    return found


@pytest.mark.parametrize(
    ("dtype", "c", "channels", "max_region", "shapes"),
    [
        (np.uint8, 3, "independent", None, SHAPES),
        (np.uint8, 3, "mixed", None, SHAPES[::3]),
        (np.uint8, 1, "joint", 8, SHAPES[::2]),
        (np.uint16, 1, "independent", None, SHAPES[1::2]),
    ],
)
@given(
    data=st.data(),
    kind=st.sampled_from([kind for kind, n in KINDS.items() for _ in range(n)]),
    level=st.one_of(st.floats(0, 1), st.sampled_from([0.0, 1.0])),
    seed=st.integers(0, 9),
)
def test_levels(dtype, c, channels, max_region, shapes, data, kind, level, seed):
    image = image_of(kind, (*data.draw(st.sampled_from(shapes)), c), dtype, seed)
    mixer = VisualMixer(
        level=level, channels=channels, max_region=max_region, clip=True
    )
    check(image, mixer)


@pytest.mark.parametrize(
    ("dtype", "c", "channels"),
    [
        (np.uint8, 2, "mixed"),
        (np.uint8, 4, "mixed"),
        (np.uint8, 4, "independent"),
        (np.uint8, 5, "mixed"),
        (np.uint16, 1, "mixed"),
    ],
)
def test_other_numbers_of_channels(dtype, c, channels):
    for seed, (kind, h, w) in enumerate([("noise", 41, 60), ("checkerboard", 9, 2)]):
        image = image_of(kind, (h, w, c), dtype, seed)
        image[: h // 2] //= 3
        check(image, VisualMixer(level=0.6, channels=channels, clip=True))


@pytest.mark.parametrize("channels", ["independent", "mixed"])
def test_a_photograph_of_many_blocks(channels):
    image = photograph(sides=(260, 389))
    for level in (0.1, 0.6, 0.95):
        check(image, VisualMixer(level=level, channels=channels, clip=True))


@given(kind=st.sampled_from(list(KINDS)), target=st.floats(0, 30_000))
def test_targets(kind, target):
    image = image_of(kind, (50, 61, 3), np.uint8)
    found = check(image, VisualMixer(target_vfe=target, clip=True))
    if kind == "photograph" and 2000 < target < 3000:
        assert found.reached


def test_logarithms_of_large_numbers_are_exact():
    """Floats round numbers just below a power of two up to it."""
    exponents = np.arange(2, 62)
    for number in (2**exponents - 1, 2**exponents, 2**exponents + 1):
        digits = [int(x).bit_length() for x in number]
        mantissa = [
            (int(x) << 64 - n >> 58) % 32 for x, n in zip(number, digits, strict=True)
        ]
        expected = [
            ((n - 1 + 22 - 4) << 5) | m for n, m in zip(digits, mantissa, strict=True)
        ]
        found = [plan_tree.score_of(int(x), 1) for x in number]
        np.testing.assert_array_equal(found, np.clip(expected, 0, 2**11 - 1))


def test_loops_are_compiled_once_for_images_of_a_kind():
    mixer = VisualMixer(level=0.6, clip=True)
    image = image_of("photograph", (SIDE, SIDE, 3), np.uint8)
    plan_image(image[:40, :50].copy(), mixer)
    loops = (plan_tree._measure, plan_grids.uniform_energies, plan_cuts.energy_at)
    before = [len(x.signatures) for x in loops]
    plan_image(image[:33, 5:], mixer)  # A view.
    image.flags.writeable = False
    for h, w in ((1, 1), (1, 9), (3, 2), (70, 7), (SIDE, SIDE)):
        plan_image(image[:h, :w], mixer)
    assert [len(x.signatures) for x in loops] == before


def test_too_many_values_are_refused_in_one_sentence():
    huge = np.broadcast_to(np.uint8(0), (20_000, 20_000, 3))
    with pytest.raises(ValueError, match="1,200,000,000 values"):
        plan_image(huge, VisualMixer(level=0.5))


def test_publishing_has_jax_compile_nothing(tmp_path):
    compiled = []

    def listen(event, *_, **__):
        if "compile" in event:
            compiled.append(event)

    photographs(tmp_path / "src", 4)
    jax.monitoring.register_event_duration_secs_listener(listen)
    mixer = VisualMixer(level=0.5, scramble_regions=True)
    publish(folder(tmp_path / "src"), tmp_path / "dst", mixer, SecretKey.generate())
    assert compiled == []
    jax.jit(lambda x: x + 17)(3).block_until_ready()
    assert compiled
    jax.monitoring.clear_event_listeners()
