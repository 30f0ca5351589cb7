"""`vim-jax merge`: end a job that was mixed in shards."""

import pathlib
import shlex
from typing import Annotated

import tyro

from vim_jax.cli.console import count, say, warn


def merge(
    dst: Annotated[
        tyro.conf.Positional[pathlib.Path],
        tyro.conf.arg(help="The folder that the shards wrote.", metavar="DST"),
    ],
    /,
) -> int:
    """Join what the shards of a job wrote.

    Needs no key. When all shards of `vim-jax mix --shard I/N` are done, it makes one
    manifest of their parts, to the byte that of a single run, and removes the parts.
    Shards that wrote to different folders are put together first, by copying.

    Examples:
      vim-jax merge published
    """
    from vim_jax.data.shards import merge as merge_parts

    merged = merge_parts(dst)
    say(f"Merged: {dst} holds {count(merged.mixed, 'mixed image')}.")
    failed = merged.images - merged.mixed
    if failed:
        warn(
            f"{count(failed, 'image')} of the {merged.images:,} in the source failed, "
            "as their shards said, and are missing here"
        )
    command = shlex.join(["vim-jax", "audit", str(dst), "--originals"])
    say(f"To see what an attacker sees: {command} SRC, what it was mixed from.")
    return 1 if failed else 0
