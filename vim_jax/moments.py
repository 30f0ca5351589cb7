"""Exact first and second moments of regions, in integers.

Plans must not depend on the order in which a compiler adds floats: a flipped
comparison would change published bytes. So everything that a plan is decided by is
an integer here. Intensities are fixed-point numbers of 1/256 grey level; energies
(squared differences) are in 1/65536 squared grey levels. All of it fits 64 bits for
images of up to 3e8 values: divisions round down, and are arranged so that no
intermediate product overflows.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax._types import Channels, Pixels, as_pixels
from vim_jax.regions import Regions

_LARGEST = 300_000_000

LEVELS_16_BIT = 255 * 256
"""White, in 1/256 grey level."""

ENERGY_UNIT = 1 / 65536
"""One unit of energy, in squared grey levels."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_A = TypeVar("_A", jax.Array, np.ndarray)


def exact(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Runs `function` with 64-bit integers, whatever `jax_enable_x64` says."""

    @functools.wraps(function)
    def wrapped(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped


def check_count(values: int) -> None:
    """Raises ValueError on so many values that sums would not fit 64 bits."""
    if values > _LARGEST:
        raise ValueError(
            f"image has {values:,} values, expected VFE and plans take up to "
            f"{_LARGEST:,}: cut it, or choose a region size."
        )


def grey_integers(image: Pixels) -> tuple[jax.Array, int]:
    """Returns an image as integers `h w c`, and their binary digits below a grey level.

    A uint8 image as it is, a float image in [0, 1] as uint16 in 1/256 grey level.

    Raises:
      ValueError: on an image so large that sums would not fit 64 bits.
    """
    pixels = as_pixels(image)
    check_count(pixels.size)
    if pixels.dtype == jnp.uint8:
        return pixels, 0
    return jnp.round(pixels.astype(jnp.float32) * float(LEVELS_16_BIT)).astype(
        jnp.uint16
    ), 8


@exact
def fixed_point(image: Pixels) -> jax.Array:
    """Returns a uint8 image, or a float image in [0, 1], as int64 `h w c`.

    In 1/256 grey level.

    Raises:
      ValueError: as `grey_integers`.
    """
    pixels, bits = grey_integers(image)
    return pixels.astype(jnp.int64) << (8 - bits)


def divide(a: jax.Array, b: jax.Array | int) -> jax.Array:
    """Returns `a // b` for int64 a >= 0 and b > 0, where that is below 2**52.

    Processors have no vector instruction for it. So a float makes a guess, and integers
    correct it: whatever the float is rounded to, the result is exact.
    """
    a, b = jnp.broadcast_arrays(a, jnp.asarray(b, a.dtype))
    guess = (a.astype(jnp.float64) / b.astype(jnp.float64)).astype(a.dtype)
    rest = a - guess * b
    return guess + (rest >= b).astype(a.dtype) - (rest < 0).astype(a.dtype)


class Moments(NamedTuple):
    """What shuffling needs to know of a set of values, in int64 arrays.

    Attributes:
      count: number of values, 1 or more (0 stands for a set that is not there).
      mean: 1/65536 grey level.
      deviations: sum of squared deviations from the mean, in energy units.
    """

    count: jax.Array
    mean: jax.Array
    deviations: jax.Array

    @property
    def variance(self) -> jax.Array:
        """Population variance, in energy units."""
        return divide(self.deviations, jnp.maximum(self.count, 1))

    @property
    def shuffled_difference(self) -> jax.Array:
        """Expected squared difference of two of the values in random order.

        2 * variance * n / (n - 1), in energy units; 0 for a single value.
        """
        return divide(2 * self.deviations, jnp.maximum(self.count - 1, 1))


def moments(count: jax.Array, total: jax.Array, squares: jax.Array) -> Moments:
    """Returns the moments of sets of fixed-point values from their sums."""
    n = jnp.maximum(count, 1)
    quotient = divide(total, n)
    rest = total - quotient * n
    # total**2 / n, without forming total**2, which may need more than 64 bits.
    squared_total = quotient * (total + rest) + divide(rest * rest, n)
    return Moments(
        count=count,
        mean=divide(total * 256, n),
        deviations=jnp.maximum(squares - squared_total, 0),
    )


def border_energy(a: Moments, b: Moments) -> jax.Array:
    """Returns the expected squared difference across a border of two regions."""
    return a.variance + b.variance + squared(a.mean - b.mean)


def squared(difference: _A) -> _A:
    """Returns the square of a difference of means, in energy units."""
    return difference * difference >> 16


@exact
def region_moments(values: jax.Array, regions: Regions, channels: Channels) -> Moments:
    """Returns the moments of each pixel's region, as arrays that fit `h w c`.

    Args:
      values: int64 `h w c` from `fixed_point`.
      regions: the regions of a plan.
      channels: "mixed" takes a region's values of all channels as one set.
    """
    h, w, c = values.shape
    origin = regions.origin.reshape(-1)

    def per_region(x):
        totals = jax.ops.segment_sum(x.reshape(h * w, -1), origin, h * w)
        return totals[origin].reshape(h, w, -1)

    count = (regions.height * regions.width).astype(jnp.int64)[:, :, None]
    if channels != "mixed":
        return moments(count, per_region(values), per_region(values * values))
    pooled = moments(
        count * c,
        per_region(values.sum(2)),
        per_region((values * values).sum(2)),
    )
    single = count == 1  # A region of one pixel keeps its colour.
    return Moments(
        count=jnp.where(single, 1, pooled.count),
        mean=jnp.where(single, values * 256, pooled.mean),
        deviations=jnp.where(single, 0, pooled.deviations),
    )
