"""Expected VFE: against the closed form, every arrangement, and real shuffles."""

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import skimage.data
from plan_cases import adaptive_sizes

import vim_jax

MODES = ["joint", "independent", "mixed"]
ADAPTIVE = adaptive_sizes((13, 18), seed=3)
ADAPTIVE_SIXES = adaptive_sizes((13, 18), steps=(6, 3, 1), seed=1)


@functools.cache
def patch(*shape: int) -> np.ndarray:
    """A textured part of a photograph, with different statistics per channel."""
    image = skimage.data.chelsea()[100 : 100 + shape[0], 110 : 110 + shape[1]]
    return np.ascontiguousarray(image if len(shape) == 3 else image[..., 1])


def as_plan(size) -> Any:
    if isinstance(size, np.ndarray):
        return vim_jax.RegionPlan(jnp.asarray(size))
    return size


def expected(image, size, channels: Any = "independent", scramble=False) -> float:
    plan = as_plan(size)
    return float(
        vim_jax.expected_vfe(image, plan, channels=channels, scramble_regions=scramble)
    )


# --- Against the closed form ----------------------------------------------------------


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize(
    ("shape", "channels"),
    [((13, 18, 3), mode) for mode in MODES] + [((13, 18), "independent")],
)
def test_matches_the_slow_closed_form(shape, channels, scramble):
    # Sizes that divide the image and that leave ragged edges, of one and more classes.
    image = patch(*shape)
    for size in (1, 2, 3, 5, 13, 17, "entire", ADAPTIVE, ADAPTIVE_SIXES):
        slow = reference.expected_vfe(image, size, channels, scramble)
        assert expected(image, size, channels, scramble) == pytest.approx(
            slow, rel=1e-5
        ), size


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES[1:])
@pytest.mark.parametrize(
    ("shape", "size"), [((1, 1, 3), 2), ((1, 7, 3), 2), ((7, 1, 2), 3), ((2, 9), 2)]
)
def test_matches_the_slow_closed_form_on_strips(shape, size, channels, scramble):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    slow = reference.expected_vfe(image, size, channels, scramble)
    assert expected(image, size, channels, scramble) == pytest.approx(slow, rel=1e-5)


def test_float_images_match_the_slow_closed_form():
    # Grey levels off the grid of 1/256 that the library rounds to.
    image = np.random.default_rng(0).random((9, 11, 3), np.float32)
    slow = reference.expected_vfe(image, 4)
    assert expected(image, 4) == pytest.approx(slow, rel=1e-4)


def test_equal_regions_have_equal_expectations():
    image = patch(13, 18, 3)
    uniform = vim_jax.uniform_plan(image.shape, 5)
    assert expected(image, 5) == float(vim_jax.expected_vfe(image, uniform))


# --- Against every arrangement --------------------------------------------------------


def mean_over_arrangements(values: np.ndarray, shape: tuple[int, int, int]) -> float:
    """Mean VFE over all orders of `values`, written into an image of `shape`."""
    orders = np.array(list(itertools.permutations(values.tolist())))
    images = orders.reshape(-1, *shape)
    energy = (np.diff(images, axis=1) ** 2).sum((1, 2, 3))
    energy += (np.diff(images, axis=2) ** 2).sum((1, 2, 3))
    return float(energy.mean()) / np.prod(shape)


@pytest.mark.parametrize("channels", MODES[1:])
@pytest.mark.parametrize("shape", [(2, 2), (1, 5), (4, 2)])
def test_is_the_mean_over_all_arrangements_of_a_grey_region(shape, channels):
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    every = mean_over_arrangements(image.ravel().astype(np.int64), (*shape, 1))
    assert expected(image, "entire", channels) == pytest.approx(every, rel=1e-5)


@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 2, 2), (1, 3, 2)])
def test_is_the_mean_over_all_arrangements_of_a_mixed_region(shape):
    image = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    every = mean_over_arrangements(image.ravel().astype(np.int64), shape)
    assert expected(image, "entire", "mixed") == pytest.approx(every, rel=1e-5)


def test_is_the_mean_over_all_orders_of_scrambled_regions():
    # Two regions of one column each, four pixels high, next to a third.
    image = np.random.default_rng(1).integers(0, 256, (2, 6), np.uint8)
    parts = [image[:, i : i + 2].ravel().astype(np.int64) for i in (0, 2, 4)]
    inside = [list(itertools.permutations(part.tolist())) for part in parts]
    total = count = 0.0
    for order in itertools.permutations(inside):
        left, middle, right = (np.array(part).reshape(-1, 2, 2) for part in order)
        for one, other in ((left, middle), (middle, right)):
            step = one[:, None, :, 1] - other[None, :, :, 0]
            total += (step**2).sum(-1).mean()
        for part in (left, middle, right):
            total += (np.diff(part, axis=1) ** 2).sum((1, 2)).mean()
            total += (np.diff(part, axis=2) ** 2).sum((1, 2)).mean()
        count += 1
    every = total / count / image.size
    assert expected(image, 2, scramble=True) == pytest.approx(every, rel=1e-5)


# --- Against real shuffles ------------------------------------------------------------


def mean_vfe(image, size, channels, scramble, count=600) -> tuple[float, float]:
    """Returns the mean VFE after shuffling with many keys, and its standard error."""
    plan = as_plan(size)

    @jax.jit
    def measure(keys):
        def once(key):
            mixed = vim_jax.shuffle(
                key, image, plan, channels=channels, scramble_regions=scramble
            )
            return vim_jax.vfe(mixed)

        return jax.lax.map(once, keys, batch_size=100)

    scores = np.asarray(measure(jax.random.split(jax.random.key(5), count)))
    return float(scores.mean()), float(scores.std() / count**0.5)


@pytest.mark.parametrize("scramble", [False, True])
@pytest.mark.parametrize("channels", MODES)
@pytest.mark.parametrize("size", [5, ADAPTIVE], ids=["5", "adaptive"])
def test_is_the_mean_over_real_shuffles(size, channels, scramble):
    image = patch(13, 18, 3)
    mean, error = mean_vfe(image, size, channels, scramble)
    formula = expected(image, size, channels, scramble)
    assert abs(mean - formula) < max(0.01 * formula, 4 * error)
    # The bound above means something: both are small beside the signal.
    assert error < 0.01 * formula


def test_is_the_mean_over_real_shuffles_of_a_grey_strip():
    image = patch(2, 37)
    mean, error = mean_vfe(image, 8, "independent", False)
    assert abs(mean - expected(image, 8)) < 4 * error


def test_is_the_mean_over_real_shuffles_of_a_large_photograph():
    image = patch(96, 110, 3)
    for size in (2, 7, 64):
        mean, _ = mean_vfe(image, size, "independent", False, count=20)
        assert mean == pytest.approx(expected(image, size), rel=0.01), size


# --- What must hold besides -----------------------------------------------------------


@pytest.mark.parametrize("channels", MODES)
def test_regions_of_one_pixel_change_nothing(channels):
    image = patch(13, 18, 3)
    before = float(vim_jax.vfe(image))
    assert expected(image, 1, channels) == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("channels", MODES)
def test_max_vfe_is_that_of_one_region(channels):
    image = patch(13, 18, 3)
    whole = float(vim_jax.max_vfe(image, channels=channels))
    assert whole == pytest.approx(expected(image, "entire", channels), rel=1e-6)
    assert whole == pytest.approx(expected(image, 18, channels), rel=1e-6)


def test_joint_and_independent_have_equal_expectations():
    image = patch(13, 18, 3)
    assert expected(image, 5, "joint") == expected(image, 5, "independent")


def test_mixing_channels_of_different_means_is_rougher():
    image = np.stack([np.full((8, 8), v, np.uint8) for v in (10, 100, 250)], -1)
    assert expected(image, 4, "independent") == 0
    assert expected(image, 4, "mixed") > 1000


@pytest.mark.parametrize("scramble", [False, True])
def test_a_constant_image_stays_at_zero(scramble):
    image = np.full((7, 9, 3), 200, np.uint8)
    assert expected(image, 4, "mixed", scramble) == 0


@pytest.mark.parametrize("scramble", [False, True])
def test_works_jitted_and_vmapped_over_images_and_plans(scramble):
    images = np.stack([patch(13, 18, 3), patch(13, 18, 3)[::-1]])
    plans = vim_jax.RegionPlan(jnp.stack([jnp.asarray(ADAPTIVE)] * 2))

    @jax.jit
    @jax.vmap
    def both(image, plan):
        return vim_jax.expected_vfe(image, plan, scramble_regions=scramble)

    eager = [expected(image, ADAPTIVE, scramble=scramble) for image in images]
    np.testing.assert_allclose(both(images, plans), eager, rtol=1e-6)


@pytest.mark.usefixtures("unchecked")
def test_refuses_a_plan_for_another_shape():
    with pytest.raises(ValueError, match="plan") as error:
        vim_jax.expected_vfe(patch(13, 18), vim_jax.uniform_plan((18, 13), 2))
    assert "13" in str(error.value)


@pytest.mark.usefixtures("unchecked")
def test_refuses_unknown_channels():
    with pytest.raises(ValueError, match="channels='rgb'"):
        vim_jax.expected_vfe(patch(13, 18), 2, channels="rgb")  # pyright: ignore
