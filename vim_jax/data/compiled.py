"""Loops over pixels on the host, compiled by Numba.

JAX compiles for each shape, and image files come in any: such loops are compiled once,
when they are first called, and kept for other processes. They hold no lock of Python's,
so that threads run them side by side.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function of arrays and numbers, which compiles when it is called."""
    fast = numba.njit(nogil=True, error_model="numpy")(function)
    with contextlib.suppress(RuntimeError):  # There is nowhere to write.
        fast.enable_caching()
    return fast
