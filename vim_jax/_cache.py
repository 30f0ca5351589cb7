"""Where to keep what can be made again."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
    """Returns this library's part of the user's cache folder; it may not be there yet.

    Raises:
      RuntimeError: for a user without a home.
    """
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "vim_jax"
