"""The expected energy of an image after shuffling, in closed form.

Energy is the sum of squared differences over all pairs of neighbouring pixels and
all channels; VFE is energy per pixel and channel.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from vim_jax._types import Channels
from vim_jax.moments import ENERGY_UNIT, border_energy, exact, region_moments
from vim_jax.regions import Regions

_Maps = TypeVar("_Maps")


def _sum_over_pairs(
    regions: Regions,
    maps: _Maps,
    inside: Callable[[_Maps, _Maps], jax.Array],
    across: Callable[[_Maps, _Maps], jax.Array],
) -> jax.Array:
    """Sums an energy over all pairs of neighbouring pixels.

    Args:
      regions: the regions of a plan.
      maps: pytree of `h w k` arrays.
      inside: energy of pairs within a region, from the maps at both pixels.
      across: energy of pairs that a border of two regions separates.
    """
    total = []
    for axis in (0, 1):

        def side(x, start, axis=axis):
            return jax.lax.slice_in_dim(x, start, x.shape[axis] - 1 + start, axis=axis)

        a = jax.tree.map(lambda x: side(x, 0), maps)
        b = jax.tree.map(lambda x: side(x, 1), maps)
        same = side(regions.origin, 0) == side(regions.origin, 1)
        total.append(jnp.where(same[:, :, None], inside(a, b), across(a, b)).sum())
    return total[0] + total[1]


@exact
def plan_energy(values: jax.Array, regions: Regions, channels: Channels) -> jax.Array:
    """Returns the expected energy after shuffling, an int64 scalar in energy units.

    Args:
      values: int64 `h w c` from `fixed_point`.
      regions: the regions of a plan.
      channels: as in `shuffle`.
    """
    return _sum_over_pairs(
        regions,
        region_moments(values, regions, channels),
        inside=lambda a, _: a.shuffled_difference,
        across=border_energy,
    )


class _Place(NamedTuple):
    """What is found at a pixel after the regions of a class traded places.

    float64 `h w c` (`h w 1` for `shape_class` and `members`), in grey levels.
    """

    shape_class: jax.Array
    members: jax.Array
    inside: jax.Array
    variance: jax.Array
    mean: jax.Array
    variance_of_means: jax.Array


@exact
def scrambled_energy(
    values: jax.Array, regions: Regions, channels: Channels
) -> jax.Array:
    """Returns the expected energy with regions scrambled too, in energy units.

    A float64 scalar. Regions of equal height and width trade places, so a border
    pair sees two regions drawn from their classes, without replacement within one
    class.

    Args:
      values: int64 `h w c` from `fixed_point`.
      regions: the regions of a plan.
      channels: as in `shuffle`.
    """
    h, w, _ = values.shape
    stats = region_moments(values, regions, channels)
    shape_class = (regions.height * (w + 1) + regions.width).reshape(-1)
    first = regions.origin.reshape(-1) == jnp.arange(h * w, dtype=jnp.int32)

    def class_sum(x):
        """Sums an `h w k` map over the regions (not the pixels) of each class."""
        x = jnp.where(first[:, None], x.reshape(h * w, -1), 0)
        totals = jax.ops.segment_sum(x, shape_class, (h + 1) * (w + 1))
        return totals[shape_class].reshape(h, w, -1)

    count = stats.count.astype(jnp.float64)
    spread = stats.deviations.astype(jnp.float64) * ENERGY_UNIT
    mean = jnp.broadcast_to(stats.mean, values.shape).astype(jnp.float64) / 65536
    members = class_sum(jnp.ones((h, w, 1), jnp.float64))
    class_mean = class_sum(mean) / members
    place = _Place(
        shape_class=shape_class.reshape(h, w, 1),
        members=members,
        inside=jnp.broadcast_to(2 * spread / jnp.maximum(count - 1, 1), values.shape),
        variance=jnp.broadcast_to(class_sum(spread / count) / members, values.shape),
        mean=class_mean,
        variance_of_means=class_sum((mean - class_mean) ** 2) / members,
    )

    def across(a: _Place, b: _Place) -> jax.Array:
        one_class = 2 * a.variance + 2 * a.variance_of_means * a.members / jnp.maximum(
            a.members - 1, 1
        )
        two_classes = (
            (a.variance + a.variance_of_means)
            + (b.variance + b.variance_of_means)
            + (a.mean - b.mean) ** 2
        )
        return jnp.where(a.shape_class == b.shape_class, one_class, two_classes)

    energy = _sum_over_pairs(regions, place, lambda a, _: a.inside, across)
    return energy / ENERGY_UNIT
