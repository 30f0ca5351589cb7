"""95 % intervals of what attacks score."""

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float

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


def auc(
    genuine: Float[np.ndarray, " n"], impostors: Float[np.ndarray, " m"]
) -> Estimate:
    """Returns the area under the ROC curve, with the bootstrap's interval.

    Of one genuine score the interval is infinite, as in `mean`. Without any scores on
    one side the area is 0.5.

    Args:
      genuine: scores that should be high.
      impostors: scores that should be low.
    """
    if len(genuine) < 2 or not len(impostors):
        return Estimate(_area(genuine, impostors), -np.inf, np.inf)
    rng = np.random.default_rng(_SEED)
    draws = [
        _area(rng.choice(genuine, len(genuine)), rng.choice(impostors, len(impostors)))
        for _ in range(_RESAMPLES // 10)
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(_area(genuine, impostors), float(low), float(high))


def _area(genuine: np.ndarray, impostors: np.ndarray) -> float:
    """Returns the chance that a genuine score is above an impostor's; ties half."""
    if not len(genuine) or not len(impostors):
        return 0.5
    ranks = scipy.stats.rankdata(np.concatenate([genuine, impostors]))
    n, m = len(genuine), len(impostors)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def true_positive_rate(
    genuine: Float[np.ndarray, " n"],
    impostors: Float[np.ndarray, " m"],
    *,
    false_positive_rate: float,
) -> Estimate:
    """Returns the share of genuine scores above all but a rate of the impostors'."""
    allowed = int(np.floor(false_positive_rate * len(impostors)))
    falling = np.append(np.sort(impostors)[::-1], -np.inf)
    threshold = falling[allowed]
    found: Bool[np.ndarray, " n"] = genuine > threshold
    return rate(int(found.sum()), len(found))
