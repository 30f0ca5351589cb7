"""`vim-jax restore`: get the original pixels back."""

import pathlib
from typing import Annotated

import tyro

from vim_jax.cli import options
from vim_jax.cli.console import complain, count, progress, say
from vim_jax.cli.folders import refuse_nesting, tell_others
from vim_jax.keys import SecretKey


def restore(
    src: Annotated[
        tyro.conf.Positional[pathlib.Path],
        tyro.conf.arg(help="The folder that `vim-jax mix` wrote.", metavar="SRC"),
    ],
    dst: Annotated[
        tyro.conf.Positional[pathlib.Path],
        tyro.conf.arg(help="The folder to write.", metavar="DST"),
    ],
    /,
    *,
    key: Annotated[pathlib.Path, tyro.conf.arg(help="The key file.", metavar="FILE")],
    max_pixels: options.MaxPixels = None,
    workers: options.Workers = None,
) -> int:
    """Restore the original pixels of a mixed set, as PNG files.

    Names and pixels come back as they were, each image checked bit for bit. Metadata
    and the original file format do not: they were never published. An image that was
    changed after mixing is named, and the others are restored.

    Examples:
      vim-jax restore published restored --key my.key
    """
    from vim_jax.data.restore import restore as restore_set

    options.check_at_least_one(max_pixels=max_pixels, workers=workers)
    refuse_nesting(src, dst, None)
    secret = SecretKey.load(key)
    with progress("restoring") as show:
        result = restore_set(
            src, dst, secret, max_pixels=max_pixels, workers=workers, progress=show
        )
    restored = count(len(result.names), "image")
    say(f"Restored {restored} to {dst}, each checked bit for bit.")
    if not result.failures:  # They may have been restored before.
        tell_others(dst, result.names)
    for sentence in result.failures.values():
        complain(sentence)
    return 1 if result.failures else 0
