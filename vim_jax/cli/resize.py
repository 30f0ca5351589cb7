"""`vim-jax resize`: copies of photographs in one size, to be mixed and trained on."""

import pathlib
from typing import Annotated

import tyro

from vim_jax.cli import options, published
from vim_jax.cli.console import complain, count, progress, say
from vim_jax.cli.folders import refuse_nesting, tell_left_out, tell_others


def resize(
    src: Annotated[
        tyro.conf.Positional[pathlib.Path],
        tyro.conf.arg(
            help="A folder of images; class sub-folders stay.", metavar="SRC"
        ),
    ],
    dst: Annotated[
        tyro.conf.Positional[pathlib.Path],
        tyro.conf.arg(help="The folder to write.", metavar="DST"),
    ],
    /,
    *,
    side: Annotated[
        int,
        tyro.conf.arg(
            help="Crop images to the square in their middle, and resize it to N x N "
            "pixels.",
            metavar="N",
        ),
    ],
    max_pixels: options.MaxPixels = None,
    workers: options.Workers = None,
) -> int:
    """Copy images as squares of one size, 8-bit RGB, without metadata.

    Training takes images of one size, and mixed images cannot be resized: so resize
    first, then mix the copies. Transparent parts become white. What `vim-jax restore`
    gives back are the copies.

    Examples:
      vim-jax resize photos small --side 64
      vim-jax mix small published --region-size 4 --key my.key
      vim-jax train --data published --remix
    """
    from vim_jax.data import folder
    from vim_jax.data.resizing import resize as resize_set

    options.check_at_least_one(side=side, max_pixels=max_pixels, workers=workers)
    refuse_nesting(src, dst, None)
    for name, path in (("SRC", src), ("DST", dst)):
        if published.settings_of(str(path)) is not None:
            raise ValueError(
                f"{name} {path} holds mixed images, whose regions resizing would "
                "blend: resize the originals, into a folder of their own"
            )
    source = folder(src, max_pixels=max_pixels)
    with progress("resizing") as show:
        result = resize_set(source, dst, side, workers=workers, progress=show)
    copies = count(len(result.names), "image")
    say(f"{dst} holds {copies} of {side} x {side} pixels.")
    for id, note in result.notes.items():
        say(f"{id}: {note}.")
    tell_left_out(source.skipped)
    if not result.failures:  # They may have been resized before.
        tell_others(dst, result.names)
    for sentence in result.failures.values():
        complain(sentence)
    return 1 if result.failures else 0
