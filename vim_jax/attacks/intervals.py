"""95 % intervals of what attacks score."""

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float

_RESAMPLES = 2000
_ENOUGH = 20
_SEED = 0


class Estimate(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


def mean(values: Float[np.ndarray, " n"]) -> Estimate:
    """Returns the mean, with the interval of the percentile bootstrap.

    Of fewer than 20 values the bootstrap is too narrow: they get Student's interval.
    Of one value nothing is known about how far off it is: its interval is infinite.
    """
    n, value = len(values), float(np.mean(values))
    if n < 2:
        return Estimate(value, -np.inf, np.inf)
    if n < _ENOUGH:
        error = float(np.std(values, ddof=1)) / n**0.5
        half = float(scipy.stats.t.ppf(0.975, n - 1)) * error
        return Estimate(value, value - half, value + half)
    drawn = np.random.default_rng(_SEED).integers(n, size=(_RESAMPLES, n))
    low, high = np.quantile(np.mean(values[drawn], axis=1), [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def share(values: Float[np.ndarray, " n"]) -> Estimate:
    """Returns the `mean` of values in [0, 1], with what of its interval lies there."""
    found = mean(values)
    if len(values) < 2:
        return found
    return Estimate(found.value, max(0.0, found.low), min(1.0, found.high))


def mean_beside(
    values: Float[np.ndarray, " n"], chances: Float[np.ndarray, " n"]
) -> Estimate:
    """Returns the mean, with the interval of how far it is from mean chance.

    Some images are easy and some are hard, for an attack and for chance alike: their
    differences tell more than either.
    """
    difference, chance = mean(values - chances), float(np.mean(chances))
    return Estimate(
        float(np.mean(values)), difference.low + chance, difference.high + chance
    )


def rate(successes: int, trials: int) -> Estimate:
    """Returns successes / trials, with the interval of Clopper and Pearson."""
    interval = scipy.stats.binomtest(successes, trials).proportion_ci(method="exact")
    return Estimate(successes / trials, float(interval.low), float(interval.high))
