"""`vim-jax key`: make a key file."""

import pathlib
from typing import Annotated

import tyro

from vim_jax.cli.console import say
from vim_jax.keys import SecretKey


def key(
    file: Annotated[
        tyro.conf.Positional[pathlib.Path],
        tyro.conf.arg(help="The file to write; it must not exist.", metavar="FILE"),
    ],
    /,
) -> int:
    """Make a secret key.

    `vim-jax mix` makes one itself; processes and machines that share a job need it
    before. Only you can read the file. Whoever has it can restore what is mixed with
    it, and without it nobody can: keep a copy.

    Examples:
      vim-jax key my.key
    """
    secret = SecretKey.generate()
    secret.save(file)
    say(f"Made a new key in {file} (fingerprint {secret.fingerprint}).")
    return 0
