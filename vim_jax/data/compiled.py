"""Loops over pixels on the host, compiled by Numba.

JAX compiles for each shape, and image files come in any: such loops are compiled for
each kind of pixels, when they are first called, and kept in the user's cache folder.
They hold no lock of Python's, so that threads run them side by side, and check no
bounds. `typing.no_type_check` above them keeps away the type checks of the tests, which
Numba could not compile.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numba
import numba.core.config

from vim_jax._cache import cache_folder

_settings: Any = numba.core.config

helper = numba.njit(nogil=True, error_model="numpy")
"""Compiles a function that only compiled ones call."""


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a function, compiled at the first call for each set of argument types."""
    fast: Any = helper(function)
    folder = _folder()
    if folder is not None and hasattr(fast, "enable_caching"):
        before = _settings.CACHE_DIR
        _settings.CACHE_DIR = os.fspath(folder)
        with contextlib.suppress(RuntimeError):  # Nowhere to write, after all.
            fast.enable_caching()
            fast._cache = _Dispensable(fast._cache)
        _settings.CACHE_DIR = before
    return fast


class _Dispensable:
    """A cache of Numba's, whose damaged files and full disk are no reason to fail."""

    def __init__(self, cache: Any):
        self._cache = cache

    def load_overload(self, *arguments: Any) -> Any:
        try:
            return self._cache.load_overload(*arguments)
        except Exception:  # Whatever half a file makes of unpickling.
            with contextlib.suppress(OSError):
                self._cache.flush()
            return None

    def save_overload(self, *arguments: Any) -> None:
        with contextlib.suppress(OSError):
            self._cache.save_overload(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)


@functools.cache
def _folder() -> pathlib.Path | None:
    """Returns where to keep what this code was compiled to, None if nowhere.

    Numba knows when the file of a function has changed, but not those of what it calls
    and of constants: so other code has another folder.
    """
    package = pathlib.Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted([*package.glob("*.py"), *package.glob("data/*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    try:
        base = os.environ.get("NUMBA_CACHE_DIR") or cache_folder()
        folder = pathlib.Path(base) / f"compiled-{digest.hexdigest()[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # Some users have no home.
        return None
    return folder if os.access(folder, os.W_OK) else None
