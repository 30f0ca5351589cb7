"""Multiset assignment: each region keeps its values, put where they fit best."""

import functools
import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixing_by_hand import cells_of
from picture_cases import as_multiset, photographs, plans_of
from plan_cases import adaptive_sizes

import vim_jax
from vim_jax import RegionPlan
from vim_jax._types import Channels
from vim_jax.attacks import multiset

CHANNELS: list[Channels] = ["independent", "joint", "mixed"]
QUICK = multiset.Config(refinements=1)


@settings(max_examples=12)
@given(
    st.sampled_from(CHANNELS),
    st.sampled_from([1, 3]),
    st.integers(0, 1000),
    st.sampled_from([None, 1, 5, 16]),
    st.integers(0, 3),
)
def test_every_region_keeps_exactly_its_values(channels, c, seed, size, refinements):
    shape = (14, 16, c)
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    sizes = (
        adaptive_sizes(shape, seed=seed)
        if size is None
        else np.full(shape[:2], size, np.int32)
    )
    config = multiset.Config(refinements=refinements)
    picture = multiset.reconstruct(image, sizes, channels, config)
    assert picture.dtype == np.uint8
    for cells in cells_of(sizes):
        kept = as_multiset(picture[cells], channels)
        assert kept == as_multiset(image[cells], channels)


def test_large_regions_of_colours_keep_them_too():
    image = photographs()[0]
    plan = plans_of(48, 1)[0]
    picture = multiset.reconstruct(image, plan, "joint", QUICK)
    assert as_multiset(picture[:].reshape(-1, 3), "joint") == as_multiset(
        image.reshape(-1, 3), "joint"
    )


def test_single_pixels_are_left_alone_however_channels_move():
    image = photographs()[0]
    for channels in CHANNELS:
        picture = multiset.reconstruct(image, plans_of(1, 1)[0], channels, QUICK)
        np.testing.assert_array_equal(picture, image)


def error(picture, guide):
    return ((picture.astype(float) - guide) ** 2).sum()


def best_error(values, wanted):
    """The least squared distance over all arrangements of rows."""
    return min(
        ((values[list(order)].astype(float) - wanted) ** 2).sum()
        for order in itertools.permutations(range(len(values)))
    )


@pytest.mark.parametrize("grey_levels", [3, 40, 256])
@pytest.mark.parametrize("seed", range(3))
def test_assignment_has_the_least_error_of_all(seed, grey_levels):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, grey_levels, (2, 6, 2)).astype(np.uint8)
    guide = rng.uniform(0, grey_levels, image.shape).astype(np.float32)
    region = np.repeat(np.asarray([[0, 3]], np.int32), 3, axis=1).repeat(2, axis=0)
    halves = [(image[:, x : x + 3], guide[:, x : x + 3]) for x in (0, 3)]
    rows = [(v.reshape(6, 2), g.reshape(6, 2)) for v, g in halves]
    joint = sum(best_error(*pair) for pair in rows)
    apart = sum(best_error(v[:, [k]], g[:, [k]]) for v, g in rows for k in (0, 1))
    wanted: dict[Channels, float] = {"joint": joint, "independent": apart}
    for channels, least in wanted.items():
        picture = multiset._assignment(channels, 2)(image, region, guide)
        assert error(picture, guide) == pytest.approx(least, rel=1e-5)


@pytest.mark.parametrize("grey_levels", [3, 256])
@pytest.mark.parametrize("seed", range(4))
def test_assignment_across_channels_has_the_least_error(seed, grey_levels):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, grey_levels, (1, 2, 3)).astype(np.uint8)
    guide = rng.uniform(0, grey_levels, image.shape).astype(np.float32)
    picture = multiset._assignment("mixed", 3)(image, np.zeros((1, 2), np.int32), guide)
    wanted = best_error(image.reshape(6, 1), guide.reshape(6, 1))
    assert error(picture, guide) == pytest.approx(wanted, rel=1e-5)


def test_grey_pixels_are_colours_of_one_channel():
    image = photographs()[0][..., :1].copy()
    size = plans_of(8, 1)[0]
    pictures = [multiset.reconstruct(image, size, x, QUICK) for x in CHANNELS]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("channels", CHANNELS)
def test_of_distinct_values_luck_puts_one_in_n_right(channels, size):
    image = np.random.default_rng(0).permutation(192).astype(np.uint8).reshape(8, 8, 3)
    n = size**2 * (3 if channels == "mixed" and size > 1 else 1)
    plan = np.full((8, 8), size, np.int32)
    assert multiset.blind_rate(image, plan, channels) == pytest.approx(1 / n)


@pytest.mark.parametrize("channels", CHANNELS)
def test_luck_is_what_shuffling_leaves_in_place(channels):
    image = np.random.default_rng(0).integers(0, 5, (16, 14, 3)).astype(np.uint8)
    sizes = adaptive_sizes(image.shape)
    assert set(np.unique(sizes)) == {1, 2, 4, 8}
    shuffle = functools.partial(vim_jax.shuffle, channels=channels)
    keys = jax.random.split(jax.random.key(1), 300)
    mixed = jax.vmap(shuffle, (0, None, None))(keys, image, RegionPlan(sizes))
    shares = (np.asarray(mixed) == image).mean((1, 2, 3))
    error = shares.std() / np.sqrt(len(shares))
    luck = multiset.blind_rate(image, sizes, channels)
    assert luck == pytest.approx(shares.mean(), abs=4 * error)
    assert error < 0.002
