"""Timing alternatives fairly: alternating, medians over repeats."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

Ways = Mapping[str, Callable[[], Any]]
"""Ways to do one job, by name."""

# A turn takes at least so many seconds: a single call of a fast way would find caches
# and threads as the slow one before it left them.
_TURN = 0.1


def seconds(ways: Ways, repeats: int) -> dict[str, float]:
    """Returns the median seconds that a call of each way takes.

    Args:
      ways: see `rounds`.
      repeats: see `rounds`.
    """
    times = rounds(ways, repeats)
    return {name: statistics.median(values) for name, values in times.items()}


def rounds(ways: Ways, repeats: int) -> dict[str, list[float]]:
    """Returns the seconds that a call of each way takes, round by round.

    They take turns, so that a slower or busier moment of the machine hits all of them,
    in another order each round, so that none always follows the same.

    Args:
      ways: called once before timing, to compile.
      repeats: number of timed rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        jax.block_until_ready(way())
    orders = random.Random(0)
    for _ in range(repeats):
        for name in orders.sample(list(ways), len(ways)):
            times[name].append(_turn(ways[name]))
    return times


def _turn(way: Callable[[], Any]) -> float:
    """Returns the mean seconds of as many calls as fit a turn, one at least."""
    calls, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < _TURN:
        jax.block_until_ready(way())
        calls += 1
    return spent / calls


def mvalues_per_s(ways: Ways, values: int, repeats: int) -> dict[str, float]:
    """Returns the millions of values a second of each way, to four digits.

    Args:
      ways: see `seconds`.
      values: how many values each way handles.
      repeats: see `seconds`.
    """
    return {
        name: float(f"{values / s / 1e6:.4g}")
        for name, s in seconds(ways, repeats).items()
    }


def temporary_bytes_per_byte(
    function: Callable[..., Any], *arguments: Any, of: jax.Array
) -> float:
    """Returns how many times the bytes of an array a jitted function needs besides."""
    compiled = jax.jit(function).lower(*arguments).compile()
    temporary = getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0)
    return round(temporary / of.nbytes, 2)
