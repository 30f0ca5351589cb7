"""`vim-jax restore`: get the original pixels back."""

import pathlib
from typing import Annotated

import tyro

from vim_jax.cli.console import complain, progress, say
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
    max_pixels: Annotated[
        int | None,
        tyro.conf.arg(help="Largest image to read, in pixels.", metavar="N"),
    ] = None,
    workers: Annotated[
        int | None, tyro.conf.arg(help="Threads; by default one a core.", metavar="N")
    ] = None,
) -> int:
    """Restore the original pixels of a mixed set, as PNG files.

    Names and pixels come back as they were, each image checked bit for bit. Metadata
    and the original file format do not: they were never published. An image that was
    changed after mixing is named, and the others are restored.

    Examples:
      vim-jax restore published restored --key my.key
    """
    from vim_jax.data.restore import restore as restore_set

    secret = SecretKey.load(key)
    with progress("restoring") as show:
        result = restore_set(
            src, dst, secret, max_pixels=max_pixels, workers=workers, progress=show
        )
    say(f"Restored {len(result.names)} images to {dst}, each checked bit for bit.")
    for sentence in result.failures.values():
        complain(sentence)
    return 1 if result.failures else 0
