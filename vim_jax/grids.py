"""The expected energy of grids of blocks, each of them one region.

Cheaper than `plan_energy`, which takes any plan: sums over blocks are all it needs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from vim_jax._types import Channels
from vim_jax.moments import moments, squared


class Blocks(NamedTuple):
    """Sums over a grid of blocks: int64 `rows`, `cols`, `rows cols c` (twice)."""

    heights: jax.Array
    widths: jax.Array
    totals: jax.Array
    squares: jax.Array


def grid_energy(blocks: Blocks, channels: Channels, image_channels: int) -> jax.Array:
    """Returns each block's expected energy as a region, int64 `rows cols`.

    Its inside pairs, and its share of its borders with blocks of its own grid: its
    own variance and half of the step between the means. So the sum over the grid is
    the energy of the uniform plan. Blocks beyond the image have height or width 0,
    and energy 0.
    """
    heights, widths = blocks.heights[:, None, None], blocks.widths[None, :, None]
    totals, squares, count = blocks.totals, blocks.squares, heights * widths
    copies = 1
    if channels == "mixed":
        totals, squares = totals.sum(2, keepdims=True), squares.sum(2, keepdims=True)
        count, copies = count * image_channels, image_channels
    stats = moments(count, totals, squares)
    pairs = jnp.maximum(2 * heights * widths - heights - widths, 0)
    energy = pairs * stats.shuffled_difference
    for axis, length in ((0, widths), (1, heights)):
        n = energy.shape[axis]

        def side(x, start, n=n, axis=axis):
            return jax.lax.slice_in_dim(x, start, n - 1 + start, axis=axis)

        length = jnp.where(side(count, 1) > 0, length, 0)
        step = length * squared(side(stats.mean, 0) - side(stats.mean, 1))
        left = length * side(stats.variance, 0) + (step - (step >> 1))
        right = length * side(stats.variance, 1) + (step >> 1)
        last, first = [(0, 0)] * 3, [(0, 0)] * 3
        last[axis], first[axis] = (0, 1), (1, 0)
        energy = energy + jnp.pad(left, last) + jnp.pad(right, first)
    return copies * energy.sum(2)


def quarters(x: jax.Array) -> jax.Array:
    """Sums 2 x 2 blocks of the first two axes."""
    rows, cols = x.shape[0] // 2, x.shape[1] // 2
    return x.reshape(rows, 2, cols, 2, *x.shape[2:]).sum((1, 3))


def uniform_energy(values: jax.Array, smallest: int, channels: Channels):
    """Returns the function from a region size, `smallest` or more, to its energy."""
    h, w, c = values.shape
    rows, cols = -(-h // smallest), -(-w // smallest)

    def integral(x):
        return jnp.pad(x, ((1, 0), (1, 0), (0, 0))).cumsum(0).cumsum(1)

    totals, squares = integral(values), integral(values * values)

    def energy(size):
        y = jnp.minimum(jnp.arange(rows + 1) * size, h)
        x = jnp.minimum(jnp.arange(cols + 1) * size, w)

        def sums(table):
            return jnp.diff(jnp.diff(table[y][:, x], axis=0), axis=1)

        blocks = Blocks(jnp.diff(y), jnp.diff(x), sums(totals), sums(squares))
        return grid_energy(blocks, channels, c).sum()

    return energy
