"""Telling members of networks' training images by what the networks say.

Each network in turn is the target, with all others as its references.

References:
  Carlini et al, `Membership Inference Attacks From First Principles
  <https://arxiv.org/abs/2112.03570>`_, S&P 2022 (LiRA);
  Zarifzadeh et al, `Low-Cost High-Power Membership Inference Attacks
  <https://arxiv.org/abs/2312.03262>`_, ICML 2024 (RMIA)
"""

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float

from vim_jax.attacks import intervals
from vim_jax.attacks.intervals import Estimate
from vim_jax.attacks.many_networks import Members, Phi

_RESAMPLES = 200


def lira(phi: Phi, members: Members) -> Phi:
    """Returns LiRA's log likelihood ratio of each image for each network as the target.

    Online: each image has a Gaussian of phi over the references that learnt it, and one
    over those that did not. Their variances are pooled over all images, since few
    references tell little about one image's. An image that all references learnt, or
    none, has the mean over images in place of the one that is missing.
    """
    out = np.empty(phi.shape)
    for target in range(len(phi)):
        refs, learnt = np.delete(phi, target, 0), np.delete(members, target, 0)
        inside = _log_density(phi[target], refs, learnt)
        out[target] = inside - _log_density(phi[target], refs, ~learnt)
    return out


def _log_density(value, refs: np.ndarray, used: np.ndarray) -> np.ndarray:
    mean = _mean_over(refs, used)
    count = used.sum(0)
    freedom = max(1, int(count.sum() - np.count_nonzero(count)))
    variance = (np.where(used, refs - mean, 0.0) ** 2).sum() / freedom
    return scipy.stats.norm.logpdf(value, mean, np.sqrt(max(variance, 1e-12)))


def _mean_over(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Returns means over axis 0 of the values used; of none, the mean of the means."""
    count = used.sum(0)
    mean = np.where(used, values, 0.0).sum(0) / np.maximum(count, 1)
    return np.where(count > 0, mean, mean[count > 0].mean())


def rmia(
    phi: Phi,
    members: Members,
    population: Float[np.ndarray, "m z"],
    *,
    gamma: float = 1.0,
    offline_slope: float | None = None,
) -> Phi:
    """Returns RMIA's score of each image for each network as the target.

    It is the share of the population z for which
    `(p(x | target) / p(x)) / (p(z | target) / p(z)) >= gamma`. Online, p(x) is the mean
    of two means of probabilities, over references that learnt x and over those that did
    not; offline, `((1 + a) q + 1 - a) / 2` with only the latter mean, q. To the share,
    less than one z is added that grows with the ratio of x, so that images above all of
    the population are told apart, too.

    Args:
      phi: of the images in question.
      members: which network learnt which.
      population: phi of images that no network learnt.
      gamma: how far an image must stand out.
      offline_slope: a; None is online.
    """
    p, p_z = scipy.special.expit(phi), scipy.special.expit(population)
    out = np.empty(phi.shape)
    for target in range(len(phi)):
        refs, learnt = np.delete(p, target, 0), np.delete(members, target, 0)
        usual = _mean_over(refs, ~learnt)
        usual_z = np.delete(p_z, target, 0).mean(0)
        if offline_slope is None:
            usual = (usual + _mean_over(refs, learnt)) / 2
        else:
            a = offline_slope
            usual, usual_z = (((1 + a) * q + 1 - a) / 2 for q in (usual, usual_z))
        ratio, ratio_z = p[target] / usual, p_z[target] / usual_z
        below = np.searchsorted(np.sort(ratio_z) * gamma, ratio, side="right")
        out[target] = (below + ratio / (1 + ratio)) / len(ratio_z)
    return out


def area(values: Phi, members: Members) -> Estimate:
    """Returns the mean over targets of the area under the ROC curve.

    The bootstrap of its interval draws both targets and images anew, because an image
    is alike for all targets and a target for all images.
    """
    rng = np.random.default_rng(0)
    m, n = values.shape
    draws = []
    for _ in range(_RESAMPLES):
        images = rng.integers(n, size=n)
        areas = _areas(values[:, images], members[:, images])
        draws.append(np.nanmean(areas[rng.integers(m, size=m)]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Estimate(float(_areas(values, members).mean()), float(low), float(high))


def _areas(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    ranks = scipy.stats.rankdata(values, axis=1)
    inside = members.sum(1)
    above = (ranks * members).sum(1) - inside * (inside + 1) / 2
    return above / (inside * (members.shape[1] - inside))


def found_at(values: Phi, members: Members, rate: float) -> Estimate:
    """Returns the share of members found at a rate of false alarms, over all targets.

    The interval is that of Clopper and Pearson, at thresholds whose own false alarms
    are below or above the rate by another such interval. Where non-members are too few
    for one that is below, it has no lower end. All pairs of target and image count as
    independent. Members are drawn for each target on its own, so where there is nothing
    to find they nearly are, and the lower end is above the rate in 1 of 50 cases; but
    where there is something, the interval may be too narrow.
    """
    genuine, impostors = values[members], np.sort(values[~members])[::-1]
    n = len(impostors)
    allowed = int(np.floor(rate * n))
    alarms = np.arange(min(n, 2 * allowed + 50))
    above = scipy.stats.beta.ppf(0.975, alarms + 1, n - alarms)
    below = np.where(
        alarms > 0,
        scipy.stats.beta.ppf(0.025, np.maximum(alarms, 1), n - alarms + 1),
        0,
    )

    def found(alarms: int) -> Estimate:
        return intervals.rate(int((genuine > impostors[alarms]).sum()), len(genuine))

    safe = np.flatnonzero(above <= rate)
    low = found(int(safe[-1])).low if len(safe) else -np.inf
    generous = np.flatnonzero(below >= rate)
    high = found(int(generous[0])).high if len(generous) else 1.0
    return Estimate(found(allowed).value, low, high)
