"""Grids of blocks, each of them one region, and the expected energy of such plans.

The energy of a plan is a sum over regions, of their inside pairs and of their variance
for each pair across their border, plus the squared steps between the means of
neighbouring regions. So means and squared deviations of blocks are all it takes.
Larger blocks get theirs from smaller ones by pairwise updates, which never subtract
large numbers from each other.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax.moments import divide, squared

FACTOR_BITS = 24
_UNIT_STEPS = 2


class Blocks(NamedTuple):
    """The moments of a grid of blocks.

    Attributes:
      mean: int32 `planes rows+ cols+`, in 1/65536 grey level, with one row and one
        column or more beyond the grid. One plane a channel, or one for all of them if
        they are mixed.
      deviations: int64 `rows cols`, sum over all values of squared deviations from the
        mean of their plane, in energy units.
    """

    mean: jax.Array
    deviations: jax.Array


def sum_over_planes(function, *arrays: jax.Array) -> jax.Array:
    """Returns the sum over planes of a function of one plane of each array.

    A few are added one after the other, which compiles to faster code than a sum over
    an axis.
    """
    if len(arrays[0]) > 4:
        return jax.vmap(function)(*arrays).sum(0)
    return functools.reduce(jnp.add, map(function, *arrays))


def block_lengths(length: int, step: jax.Array | int, count: int) -> jax.Array:
    """Returns how much of each block lies inside the image, along one axis.

    Args:
      length: of the image along the axis, in pixels.
      step: integer scalar, size of the blocks.
      count: number of blocks.

    Returns:
      int64 `count`, 0 for blocks beyond the image.
    """
    start = jnp.arange(count, dtype=jnp.int64) * step
    return jnp.clip(length - start, 0, step)


def spread_energy(
    deviations: jax.Array, heights: jax.Array, widths: jax.Array, copies: int
) -> jax.Array:
    """Returns what the variance of each block adds to the energy, int64 `rows cols`.

    Its inside pairs, and its own part of the pairs across its borders.

    Args:
      deviations: int64 `rows cols`.
      heights: int64 `rows+1` or more.
      widths: int64 `cols+1` or more.
      copies: number of channels that one plane stands for.
    """
    rows, cols = deviations.shape

    def neighbours(lengths, count):
        after = lengths[1 : count + 1] > 0
        return (jnp.arange(count) > 0).astype(jnp.int64) + after.astype(jnp.int64)

    h, w = heights[:rows, None], widths[None, :cols]
    area = h * w
    inside = copies * (2 * area - h - w)
    border = neighbours(widths, cols)[None] * h + neighbours(heights, rows)[:, None] * w
    # Of the shape of the grid alone: one factor for all images of a batch.
    factor = divide(2 * inside << FACTOR_BITS, jnp.maximum(area * copies - 1, 1))
    factor += divide(border << FACTOR_BITS, jnp.maximum(area, 1))
    # In two halves: the product may need more than 64 bits.
    high, low = deviations >> FACTOR_BITS, deviations & (2**FACTOR_BITS - 1)
    return high * factor + (low * factor >> FACTOR_BITS)


def step_energy(
    mean: jax.Array, heights: jax.Array, widths: jax.Array, copies: int
) -> jax.Array:
    """Returns the steps from each block to those right of it and below it.

    Args:
      mean: `planes rows+1 cols+1`, as of `Blocks`.
      heights: int64 `rows+1`.
      widths: int64 `cols+1`.
      copies: number of channels that one plane stands for.

    Returns:
      int64 `rows cols`: squared steps between the means, for all pairs of pixels.
    """
    below = jnp.where(heights[1:, None] > 0, widths[None, :-1] * copies, 0)
    beside = jnp.where(widths[None, 1:] > 0, heights[:-1, None] * copies, 0)

    def steps(plane):
        here = plane[:-1, :-1]
        down = squared((here - plane[1:, :-1]).astype(jnp.int64))
        right = squared((here - plane[:-1, 1:]).astype(jnp.int64))
        return down * below + right * beside

    return sum_over_planes(steps, mean)


def _weights(lengths: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns what merging pairs of neighbours takes.

    The share of the second, in 2**-30, and `n1 * n2 / (n1 + n2)`, in 2**-16.
    """
    first, second = lengths[0::2], lengths[1::2]
    both = jnp.maximum(first + second, 1)
    return divide(second << 30, both), divide(first * second << 16, both)


def _between(first: jax.Array, second: jax.Array, share: jax.Array) -> jax.Array:
    """Returns the mean of two sets from their means, rounded to nearest."""
    step = (second - first).astype(jnp.int64) * share
    return first + (step + (1 << 29) >> 30).astype(jnp.int32)


def quarters(x: jax.Array) -> jax.Array:
    """Sums 2 x 2 blocks of `rows cols`."""
    zero = jnp.zeros((), x.dtype)
    return jax.lax.reduce_window(x, zero, jax.lax.add, (2, 2), (2, 2), "VALID")


def merge(blocks: Blocks, heights: jax.Array, widths: jax.Array, copies: int) -> Blocks:
    """Returns the blocks of twice the size.

    Args:
      blocks: even in all shapes.
      heights: int64, as many as rows of `blocks.mean`.
      widths: int64, as many as its columns.
      copies: number of channels that one plane stands for.
    """
    rows, cols = (n // 2 for n in blocks.deviations.shape)
    (share_y, weight_y), (share_x, weight_x) = _weights(heights), _weights(widths)
    a, b, c, d = (blocks.mean[:, y::2, x::2] for y in (0, 1) for x in (0, 1))
    upper, lower = (_between(*x, share_x[None, None]) for x in ((a, b), (c, d)))
    both_wide = (widths[0::2] + widths[1::2])[None, :cols]
    weight_x, weight_y = weight_x[None, :cols], weight_y[:rows, None]

    def added(a, b, c, d, upper, lower):
        def step(one, other):
            return squared((one - other)[:rows, :cols].astype(jnp.int64))

        energy = step(a, b) * (weight_x * heights[0::2][:rows, None])
        energy += step(c, d) * (weight_x * heights[1::2][:rows, None])
        return (energy + step(upper, lower) * (weight_y * both_wide)) >> 16

    more = copies * sum_over_planes(added, a, b, c, d, upper, lower)
    return Blocks(
        mean=_between(upper, lower, share_y[None, :, None]),
        deviations=quarters(blocks.deviations) + more,
    )


class Grids(NamedTuple):
    """Uniform grids of about a quarter of an image and up.

    Attributes:
      step: binary logarithm of their unit, in pixels.
      units: sizes of their regions in units, in order; the last is one region.
      sizes: the same in pixels.
      plans: how many of them, from the first, may be plans.
    """

    step: int
    units: list[int]
    sizes: list[int]
    plans: int


def grids_of(shape: tuple[int, int], largest: int) -> Grids:
    """Returns the grids of an image.

    Args:
      shape: height and width in pixels.
      largest: the largest region size of a plan, in pixels.
    """
    entire = max(shape)
    # The largest power of two that is no more than a quarter of the image.
    quarter = max(entire >> 2, 1).bit_length() - 1
    step = max(quarter - _UNIT_STEPS, 0)
    most, least = -(-entire >> step), max(1 << quarter, 2) >> step
    units = [n for n in range(least, most + 1) if min(n << step, entire) <= largest]
    plans = len(units)
    if most not in units:
        units.append(most)
    return Grids(step, units, [min(n << step, entire) for n in units], plans)


def uniform_energies(
    finest: Blocks,
    shape: tuple[int, int],
    unit: int,
    sizes: Sequence[int],
    copies: int,
) -> jax.Array:
    """Returns the energies of uniform grids, where they are coarse.

    Args:
      finest: blocks of one unit that cover the image.
      shape: height and width of the image in pixels.
      unit: in pixels.
      sizes: of the grids' regions in units, in order.
      copies: number of channels that one plane stands for.

    Returns:
      int64, one a grid.
    """
    counts = tuple(-(-side // unit) for side in shape)
    heights, widths = map(block_lengths, shape, (unit, unit), counts)
    area = (heights[:, None] * widths[None])[None]
    # Centred, so that means and squares lose nothing when they are summed.
    mean = finest.mean[:, : counts[0], : counts[1]].astype(jnp.int64)
    whole = divide((mean * area).sum((1, 2), keepdims=True), shape[0] * shape[1])
    mean = mean - whole
    energy = finest.deviations[: counts[0], : counts[1]]
    energy += copies * (area * squared(mean)).sum(0)

    def table(x):
        """Sums over all rectangles at the upper left corner."""
        # Not `cumsum`, which takes long to run or to compile.
        for _ in range(2):
            zero = jnp.zeros_like(x[:, 0])
            _, x = jax.lax.scan(
                lambda s, row: (s + row, s + row), zero, x.swapaxes(0, 1)
            )
            x = jnp.concatenate([zero[None], x]).transpose(1, 2, 0)
        return x

    most = [-(-count // sizes[0]) for count in counts]  # Regions a side.
    rows, cols = (
        np.minimum(np.outer(sizes, np.arange(n + 2)), count)
        for n, count in zip(most, counts, strict=True)
    )
    sums = table(jnp.concatenate([mean * area, energy[None]]))
    sums = sums[:, rows[:, :, None], cols[:, None, :]]
    sums = jnp.diff(jnp.diff(sums, axis=2), axis=3)

    def grid(size, sums):
        heights, widths = (
            block_lengths(side, size, n + 1)
            for side, n in zip(shape, most, strict=True)
        )
        count = jnp.maximum(heights[:, None] * widths[None], 1)[None]
        # Of a signed number: by an offset that is a multiple of the count.
        mean = divide(sums[:-1] + (count << 24), count) - (1 << 24)
        deviations = sums[-1] - copies * (count * squared(mean)).sum(0)
        deviations = jnp.maximum(deviations, 0)[:-1, :-1]
        spread = spread_energy(deviations, heights, widths, copies)
        return (spread + step_energy(mean, heights, widths, copies)).sum()

    in_pixels = jnp.array([min(size * unit, max(shape)) for size in sizes], jnp.int64)
    return jax.vmap(grid, (0, 1))(in_pixels, sums)
