"""Squares are exchanged four cells at a time, to the same bytes as cell by cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plan_cases import adaptive_sizes
from shuffle_cases import MODES, numbered

import vim_jax
from vim_jax.regions import Bounds

CASES = [
    *[((32, 32, 3), (16, 8, 4, 2, 1), np.uint8, channels) for channels in MODES],
    # Rows that do not divide into twice the largest distance.
    ((16, 36, 3), (4, 2, 1, 1), np.uint16, "mixed"),
    ((8, 16, 2), (8, 2, 1), np.float32, "joint"),
    # Distances above 256 cells.
    ((520, 512), (512, 512, 8), np.uint8, "independent"),
]


@pytest.mark.parametrize(("shape", "steps", "dtype", "channels"), CASES)
def test_squares_are_shuffled_as_any_regions_are(shape, steps, dtype, channels):
    size = adaptive_sizes(shape, steps, 3)
    if steps[0] == 512:
        size[:512] = 512
        size[512:] = 8
    image = numbered(shape, dtype)
    key = jax.random.key(5)
    largest = int(size.max())
    bounds = Bounds(largest, largest, smallest=1, squares=True)
    squares = vim_jax.RegionPlan(jnp.asarray(size), bounds=bounds)
    mixed = vim_jax.shuffle(key, image, squares, channels=channels)
    regions = vim_jax.RegionPlan(jnp.asarray(size))
    expected = vim_jax.shuffle(key, image, regions, channels=channels)
    np.testing.assert_array_equal(mixed, expected)
    restored = vim_jax.unshuffle(key, mixed, squares, channels=channels)
    np.testing.assert_array_equal(restored, image)
