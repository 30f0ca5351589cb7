"""The command line: `vim-jax mix`, `restore`, `vfe`, `train` and `demo`."""

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

import tyro

from vim_jax.cli.console import complain, out

DONE, FAILED, USAGE, WRONG_KEY, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes, of the process and of the commands."""

COMMANDS = ("mix", "restore", "vfe", "train", "demo")

_HELP = """\
usage: vim-jax COMMAND ...

Shuffle the pixels of images region by region, so that people cannot recognise them
while networks still learn from them.

{commands}

`vim-jax COMMAND --help` shows options and examples.
Exit codes: 0 done; 1 some images failed; 2 usage; 3 wrong key; 130 interrupted."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line and exits.

    Args:
      arguments: what follows the program's name; by default `sys.argv[1:]`.
    """
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in ("-h", "--help"):
        out.print(_help(), markup=False)
        sys.exit(DONE)
    if name not in COMMANDS:
        given = f"{name!r} is no command" if name else "no command given"
        complain(f"{given}: use one of {', '.join(COMMANDS)}, or --help")
        sys.exit(USAGE)
    sys.exit(_run(name, rest))


def _run(name: str, arguments: Sequence[str]) -> int:
    from vim_jax.data.publish import WriteError, WrongKeyError

    command = _command(name)
    try:
        return tyro.cli(
            command,
            prog=f"vim-jax {name}",
            description=inspect.getdoc(command),
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except KeyboardInterrupt:
        complain("interrupted: run the same command again to go on")
        return INTERRUPTED
    except WrongKeyError as error:
        complain(str(error))
        return WRONG_KEY
    except WriteError as error:
        complain(str(error))
        return FAILED
    except ValueError as error:
        complain(str(error))
        return USAGE


def _command(name: str) -> Callable[..., int]:
    # Imported on demand: help and errors should not wait for the others' libraries.
    return getattr(importlib.import_module(f"vim_jax.cli.{name}"), name)


def _help() -> str:
    lines = []
    for name in COMMANDS:
        summary = (inspect.getdoc(_command(name)) or "").splitlines()[0]
        lines.append(f"  {name:9}{summary}")
    return _HELP.format(commands="\n".join(lines))
