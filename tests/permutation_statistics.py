"""Statistics of permutations, as z-scores against exact expectations if uniform.

Permutations are given by where each place's content comes from: `count n` numbers.
"""

import math

import numpy as np
import scipy.stats

LIMIT = 6.0
"""Exceeded by chance once in 500 million statistics."""


def z_score(samples: np.ndarray, expected: float) -> float:
    """How far the mean of samples lies from `expected`, in standard errors."""
    samples = samples.astype(np.float64)
    error = samples.std() / len(samples) ** 0.5
    if error == 0:
        return 0.0 if math.isclose(samples[0], expected) else math.inf
    return (samples.mean() - expected) / error


def normal_z(log_tail: float) -> float:
    """The z-score of a probability, given its logarithm."""
    if log_tail < -700:
        return math.inf
    return float(scipy.stats.norm.isf(math.exp(log_tail)))


def chi_square_z(statistic: float, freedom: int) -> float:
    """The z-score of equal probability."""
    return normal_z(float(scipy.stats.chi2.logsf(statistic, freedom)))


def worst_of(z: float, count: int) -> float:
    """The z-score of the largest of so many z-scores, or 0 where it is a small one."""
    tail = float(scipy.stats.norm.logsf(z)) + math.log(count)
    return normal_z(min(tail, math.log(0.5)))


def position_z(sources: np.ndarray) -> float:
    """Chi-square over (place, source): does every value go everywhere?"""
    count, n = sources.shape
    cells = np.arange(n) * n + sources
    observed = np.bincount(cells.ravel(), minlength=n * n)
    expected = count / n
    statistic = ((observed - expected) ** 2 / expected).sum() * (n - 1) / n
    return chi_square_z(statistic, (n - 1) ** 2)


def pair_z(sources: np.ndarray, height: int, width: int) -> float:
    """Chi-square over (pair of places, pair of sources), of the worst pair of places.

    Of near and far pairs, side by side and one above the other, and random ones.
    """
    count, n = sources.shape
    random = np.random.default_rng(0)
    pairs = {(0, 1), (0, n - 1), (n - 2, n - 1), (n // 4, n // 2)}
    pairs |= {(n // 3, n // 3 + 2**e) for e in range(8)}
    pairs |= {tuple(random.integers(0, n, 2).tolist()) for _ in range(8)}
    pairs |= {(width * (height // 3), width * (height - 1))}
    pairs = [(i, j) for i, j in sorted(pairs) if 0 <= i < n and 0 <= j < n and i != j]
    kinds = n * (n - 1)
    expected = count / kinds
    worst = -math.inf
    for i, j in pairs:
        observed = np.bincount(sources[:, i] * n + sources[:, j], minlength=n * n)
        # No content is in two places: n of the sums are zero, and not expected.
        statistic = (observed.astype(np.float64) ** 2).sum() / expected - count
        if expected < 5:
            # Too few of each for a chi-square distribution: mean and deviation of
            # this sum are exact, and it has very many terms.
            deviation = (2 * (kinds - 1) * (count - 1) / count) ** 0.5
            z = (statistic - (kinds - 1)) / deviation
        else:
            z = chi_square_z(statistic, kinds - 1)
        worst = max(worst, z)
    return worst_of(worst, len(pairs))


def distances(height: int, width: int) -> list[tuple[np.ndarray, ...]]:
    """Returns what a butterfly does at each distance `d` along rows and columns.

    Returns:
      The one and the other places of all pairs, and the half of each place, `n`: in
      which `d` of `2*d` cells of its line it is.
    """
    place = np.arange(height * width).reshape(height, width)
    found = []
    for lines in (place, place.T):
        d = 1
        while d < lines.shape[1]:
            half = np.arange(lines.shape[1]) // d % 2
            first = np.flatnonzero(half[:-d] == 0)
            halves = np.zeros(height * width, bool)
            halves[lines] = half
            found.append((lines[:, first].ravel(), lines[:, first + d].ravel(), halves))
            d *= 2
    return found


def halves_z(sources: np.ndarray, height: int, width: int) -> float:
    """Pairs at one distance, from two halves at another: the worst two distances."""
    n = height * width
    found = distances(height, width)
    worst = 0.0
    for one, other, _ in found:
        left, right = sources[:, one], sources[:, other]
        for _, _, halves in found:
            upper = int(halves.sum())
            expected = len(one) * 2 * upper * (n - upper) / (n * (n - 1))
            apart = (halves[left] != halves[right]).sum(1)
            worst = max(worst, abs(z_score(apart, expected)))
    return worst_of(worst, 2 * len(found) ** 2)


def survival_z(grid: np.ndarray) -> float:
    """Neighbours in a row that were neighbours in a row. `grid`: `count h w`."""
    _, height, width = grid.shape
    n = height * width
    left, right = grid[:, :, :-1], grid[:, :, 1:]
    kept = (np.abs(right - left) == 1) & (left // width == right // width)
    pairs = height * (width - 1)
    return z_score(kept.sum((1, 2)), 2 * pairs * pairs / (n * (n - 1)))


def same_line_z(lines: np.ndarray) -> float:
    """Pairs of one row that came from one row. `lines`: source rows, `count h w`."""
    count, height, width = lines.shape
    n = height * width
    number = (np.arange(count)[:, None, None] * height + np.arange(height)[:, None]) * (
        height
    ) + lines
    together = np.bincount(number.ravel(), minlength=count * height * height)
    pairs = (together * (together - 1)).reshape(count, -1).sum(1)
    own = height * width * (width - 1)
    return z_score(pairs, own * own / (n * (n - 1)))


def cycles_of(sources: np.ndarray) -> np.ndarray:
    """Returns the number of cycles of each permutation."""
    n = sources.shape[1]
    lowest = np.broadcast_to(np.arange(n), sources.shape)
    ahead, steps = sources, 1
    while steps < n:
        # `lowest` is of as many cells ahead as `ahead` jumps over.
        lowest = np.minimum(lowest, np.take_along_axis(lowest, ahead, 1))
        ahead = np.take_along_axis(ahead, ahead, 1)
        steps *= 2
    return (lowest == np.arange(n)).sum(1)


def statistics(sources: np.ndarray, height: int, width: int) -> dict[str, float]:
    """Returns z-scores of permutations, `count height*width`, by name."""
    n = height * width
    assert sources.shape[1] == n
    assert (np.sort(sources[:50], 1) == np.arange(n)).all()
    grid = sources.reshape(-1, height, width)
    turned = grid.transpose(0, 2, 1)
    cycles = cycles_of(sources)
    scores = {
        "position": position_z(sources),
        "pairs": pair_z(sources, height, width),
        "halves": halves_z(sources, height, width),
        "fixed points": z_score((sources == np.arange(n)).sum(1), 1),
        "cycles": z_score(cycles, sum(1 / k for k in range(1, n + 1))),
        "parity": z_score(1 - 2 * ((n - cycles) % 2), 0),
    }
    if width > 1:
        scores["horizontal neighbours"] = survival_z(grid)
        scores["same row"] = same_line_z(grid // width)
    if height > 1:
        # Numbered by columns, vertical neighbours are horizontal ones.
        renumbered = turned % width * height + turned // width
        scores["vertical neighbours"] = survival_z(renumbered)
        scores["same column"] = same_line_z(turned % width)
    return scores


def arrangements_z(sources: np.ndarray) -> float:
    """Chi-square over all n! arrangements."""
    n = sources.shape[1]
    number = (sources * n ** np.arange(n)).sum(1)
    _, observed = np.unique(number, return_counts=True)
    ways = math.factorial(n)
    expected = len(sources) / ways
    statistic = ((observed - expected) ** 2).sum() / expected
    statistic += (ways - len(observed)) * expected
    return chi_square_z(statistic, ways - 1)


def inverse_of(sources: np.ndarray) -> np.ndarray:
    """Returns where the content of each place goes to."""
    places = np.empty_like(sources)
    every = np.broadcast_to(np.arange(sources.shape[1]), sources.shape)
    np.put_along_axis(places, sources, every.astype(sources.dtype), 1)
    return places


def relative(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Permutations that lead from `one` to `other`: uniform if they are independent."""
    return np.take_along_axis(other, inverse_of(one), 1)


def assert_uniform(sources: np.ndarray, height: int, width: int) -> None:
    """Looks at permutations and, as pairs start and end differently, their inverses."""
    scores = statistics(sources, height, width)
    scores["pairs, inversely"] = pair_z(inverse_of(sources), height, width)
    assert max(map(abs, scores.values())) < LIMIT, scores


def assert_rejected(sources: np.ndarray, height: int, width: int) -> None:
    scores = statistics(sources, height, width)
    assert max(map(abs, scores.values())) > 2 * LIMIT, scores
