"""Timing alternatives fairly: alternating, medians over repeats."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax


def seconds(
    functions: Mapping[str, Callable[[], Any]], repeats: int
) -> dict[str, float]:
    """Returns the median seconds of each function.

    Runs take turns, so that a slower or busier moment of the machine hits all of them.

    Args:
      functions: by name; called once before timing, to compile.
      repeats: number of timed rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        jax.block_until_ready(function())
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            jax.block_until_ready(function())
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
