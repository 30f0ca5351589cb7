"""What a score means, and the intervals that it rests on."""

import json
import math

import numpy as np
import pytest
import scipy.stats

from vim_jax.attacks import intervals
from vim_jax.attacks.intervals import Estimate
from vim_jax.attacks.protocol import Control, Score, score

CONTROL = Control("where it must succeed", 0.9, 0.5)


def scored(value, low, high, *, chance=0.1, control=CONTROL):
    return score(
        Estimate(value, low, high),
        name="an attack",
        knowledge=("plan",),
        metric="share",
        chance=chance,
        control=control,
    )


# --- Verdicts -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.3, 0.1, np.nextafter(0.5, 0), "at chance"),
        (0.3, np.nextafter(0.1, 1), 0.4, "partial"),
        (0.3, 0.05, 0.4, "at chance"),
        (0.0, 0.0, 0.2, "at chance"),
        (0.3, 0.1, 0.5, "inconclusive"),  # Half-way between 0.1 and 0.9.
        (0.9, 0.05, 1.7, "inconclusive"),
        (np.nextafter(0.5, 0), 0.2, 1.0, "partial"),
        (0.5, 0.2, 1.0, "leaks"),
        (1.0, 0.2, 1.0, "leaks"),
        (0.9, -math.inf, math.inf, "inconclusive"),
    ],
)
def test_verdict_at_its_boundaries(value, low, high, verdict):
    assert scored(value, low, high).verdict == verdict


@pytest.mark.parametrize(
    ("reached", "needed", "passed"),
    [(0.5, 0.5, True), (np.nextafter(0.5, 0), 0.5, False), (math.nan, 0.5, False)],
)
def test_an_attack_that_fails_where_it_must_succeed_says_nothing(
    reached, needed, passed
):
    control = Control("case", float(reached), needed)
    assert control.passed is passed
    for value in (0.05, 0.95):
        found = scored(value, value - 0.01, value + 0.01, control=control)
        verdict = found.verdict
        assert (verdict == "inconclusive") is not passed


@pytest.mark.parametrize("low", [0.1, 0.05, -math.inf])
def test_a_control_that_may_be_luck_says_nothing(low):
    control = Control("case", 0.9, 0.5, low=low)
    found = scored(0.9, 0.8, 1.0, control=control)
    assert control.passed
    assert found.verdict == "inconclusive"
    plain = found.as_json()["control"]
    assert plain["passed"] is False
    assert plain["low"] == (low if math.isfinite(low) else None)
    sure = Control("case", 0.9, 0.5, low=float(np.nextafter(0.1, 1)))
    assert scored(0.9, 0.8, 1.0, control=sure).verdict == "leaks"


def test_a_control_that_is_no_better_than_chance_says_nothing():
    control = Control("case", 0.3, 0.2)
    assert control.passed
    found = scored(0.1, 0.05, 0.15, chance=0.3, control=control)
    assert (found.control_passed, found.verdict) == (False, "inconclusive")


def test_a_weak_attack_is_measured_by_the_best():
    weak = Control("case", 0.2, 0.15)
    assert scored(0.16, 0.12, 0.2, control=weak).verdict == "leaks"
    beside = Control("case", 0.2, 0.15, reach=0.5)
    assert scored(0.16, 0.12, 0.2, control=beside).verdict == "partial"
    assert scored(0.3, 0.2, 0.4, control=beside).verdict == "leaks"


def test_a_single_image_is_inconclusive():
    one = intervals.mean(np.asarray([0.8]))
    assert one == (0.8, -math.inf, math.inf)
    assert scored(*one).verdict == "inconclusive"


def test_shares_lie_between_0_and_1():
    values = np.asarray([0.0, 1.0, 0.1])
    wide, found = intervals.mean(values), intervals.share(values)
    assert wide.low < 0 < 1 < wide.high
    assert found == (wide.value, 0, 1)
    inside = np.linspace(0.4, 0.6, 30)
    assert intervals.share(inside) == intervals.mean(inside)
    assert intervals.share(values[:1]) == intervals.mean(values[:1])


def test_scores_keep_what_they_were_given():
    found = scored(0.3, 0.2, 0.4)
    assert found == Score(
        name="an attack",
        knowledge=("plan",),
        metric="share",
        score=0.3,
        low=0.2,
        high=0.4,
        chance=0.1,
        control=CONTROL,
    )


@pytest.mark.parametrize("low", [0.2, -math.inf], ids=["many images", "one image"])
def test_a_score_is_plain_json(low):
    plain = scored(0.3, low, -low if low < 0 else 0.4).as_json()
    text = json.dumps(plain, allow_nan=False)
    assert json.loads(text) == {
        "name": "an attack",
        "knowledge": ["plan"],
        "metric": "share",
        "score": 0.3,
        "low": None if low < 0 else 0.2,
        "high": None if low < 0 else 0.4,
        "chance": 0.1,
        "control": {
            "case": "where it must succeed",
            "score": 0.9,
            "needed": 0.5,
            "low": None,
            "reach": None,
            "passed": True,
        },
        "verdict": "inconclusive" if low < 0 else "partial",
    }


# --- Means ----------------------------------------------------------------------------


def test_interval_of_a_mean_is_the_percentile_bootstrap():
    values = np.random.default_rng(3).exponential(size=20)
    drawn = np.random.default_rng(7)
    means = []
    for _ in range(20_000):
        total = 0.0
        for i in drawn.integers(len(values), size=len(values)):
            total += values[i]
        means.append(total / len(values))
    low, high = np.quantile(means, [0.025, 0.975])
    found = intervals.mean(values)
    assert found.value == pytest.approx(values.mean())
    # 2,000 draws leave a standard error of about 0.02 widths.
    assert found.low == pytest.approx(low, abs=0.08 * (high - low))
    assert found.high == pytest.approx(high, abs=0.08 * (high - low))


def test_interval_of_a_mean_of_many_is_that_of_normal_theory():
    values = np.random.default_rng(0).normal(5, 2, 1000)
    error = 1.96 * values.std() / np.sqrt(len(values))
    found = intervals.mean(values)
    assert found.low == pytest.approx(values.mean() - error, abs=0.1 * error)
    assert found.high == pytest.approx(values.mean() + error, abs=0.1 * error)


@pytest.mark.parametrize("n", [2, 5, 19])
def test_interval_of_a_mean_of_few_is_that_of_student(n):
    values = np.random.default_rng(n).normal(5, 2, n)
    test = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    wanted = (values.mean(), test.low, test.high)
    assert intervals.mean(values) == pytest.approx(wanted)


@pytest.mark.parametrize("n", [1, 7, 50])
def test_interval_beside_chance_is_that_of_the_differences(n):
    rng = np.random.default_rng(n)
    chances = rng.uniform(0, 10, n)
    values = chances + rng.normal(1, 0.1, n)
    found = intervals.mean_beside(values, chances)
    assert found.value == pytest.approx(values.mean())
    differences = intervals.mean(values - chances)
    assert found.low == pytest.approx(differences.low + chances.mean())
    assert found.high == pytest.approx(differences.high + chances.mean())
    if n > 1:
        assert chances.mean() < found.low < found.value < found.high
        assert found.high - found.low < intervals.mean(values).high - values.mean()


def test_interval_of_equal_values_is_a_point():
    assert intervals.mean(np.full(5, 0.25)) == (0.25, 0.25, 0.25)


def test_intervals_are_the_same_each_time():
    values = np.random.default_rng(0).normal(size=30)
    assert intervals.mean(values) == intervals.mean(values)


def test_intervals_of_means_cover_the_truth():
    rng = np.random.default_rng(1)
    found = [intervals.mean(rng.normal(3, 1, 40)) for _ in range(300)]
    covered = np.mean([low <= 3 <= high for _, low, high in found])
    # 95 %, less what the bootstrap lacks for 40 values; 0.013 of luck.
    assert 0.9 < covered < 0.98


# --- Rates ----------------------------------------------------------------------------


@pytest.mark.parametrize("trials", [1, 2, 10, 137])
def test_interval_of_a_rate_is_that_of_clopper_and_pearson(trials):
    for successes in sorted({0, 1, trials // 3, trials - 1, trials}):
        k, n = successes, trials
        low = scipy.stats.beta.ppf(0.025, k, n - k + 1) if k else 0.0
        high = scipy.stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
        assert intervals.rate(k, n) == pytest.approx((k / n, low, high), abs=1e-9)


@pytest.mark.parametrize("p", [0.02, 0.5, 0.9])
def test_intervals_of_rates_cover_the_truth_at_least_as_often_as_said(p):
    n = 25
    chance = scipy.stats.binom.pmf(np.arange(n + 1), n, p)
    found = [intervals.rate(k, n) for k in range(n + 1)]
    inside = np.asarray([low <= p <= high for _, low, high in found])
    assert 0.95 <= chance @ inside < 1 + 1e-9
    assert not inside.all()
