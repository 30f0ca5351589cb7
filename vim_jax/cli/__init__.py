"""The command line: `vim-jax mix` and the other commands."""

import contextlib
import importlib
import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import tyro

from vim_jax.cli.console import complain, out, warn

DONE, FAILED, USAGE, WRONG_KEY, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit codes, of the process and of the commands."""

COMMANDS = (
    "resize", "mix", "merge", "restore", "key", "audit", "vfe", "train", "predict",
    "demo",
)  # fmt: skip

_STARTING_ANEW = ("key", "vfe", "predict", "demo")
"""Commands that keep nothing when they are cut short."""

_HELP = """\
usage: vim-jax COMMAND ...

Shuffle the pixels of images region by region, so that people cannot recognise them
while networks still learn from them.

{commands}

`vim-jax COMMAND --help` shows options and examples.
Exit codes: 0 done; 1 failed, some images did, or another process is at it; 2 usage;
3 wrong key; 130 interrupted; 143 terminated."""


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
    with _ending_in_good_order(name, rest), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        code = _run(name, rest)
    sys.exit(code)


def _show_warning(message: Warning | str, *_: object) -> None:
    warn(str(message))  # Which line of whose code gave it helps nobody here.


@contextlib.contextmanager
def _ending_in_good_order(name: str, arguments: Sequence[str]) -> Iterator[None]:
    """Lets signals that would cut a command short tidy up, like Ctrl-C."""
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores one.
                previous[number] = signal.signal(number, _stop)
    try:
        yield
    except SystemExit as error:
        if error.code in (128 + signal.SIGTERM, 128 + signal.SIGHUP):
            complain(_cut_short("stopped", name, arguments))
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _cut_short(how: str, name: str, arguments: Sequence[str]) -> str:
    # A TFDS data set, and what goes through Beam, is made in one go.
    in_one_go = {"tfds", "--format=tfds", "--runner", "--runner=beam"} & {*arguments}
    anew = name in _STARTING_ANEW or (name == "mix" and in_one_go)
    return how if anew else f"{how}: run the same command again to go on"


def _run(name: str, arguments: Sequence[str]) -> int:
    from vim_jax.data.errors import (
        NotYetError,
        WorkerError,
        WriteError,
        WrongKeyError,
        brief,
    )

    try:
        command = _command(name)
        return tyro.cli(
            command,
            prog=f"vim-jax {name}",
            description=inspect.getdoc(command),
            args=arguments,
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except KeyboardInterrupt:
        complain(_cut_short("interrupted", name, arguments))
        return INTERRUPTED
    except WrongKeyError as error:
        complain(str(error))
        return WRONG_KEY
    except (WriteError, WorkerError, NotYetError) as error:
        complain(str(error))
        return FAILED
    except ValueError as error:
        complain(str(error))
        return USAGE
    except (FloatingPointError, RuntimeError) as error:  # What `train` documents.
        complain(str(error))
        return FAILED
    except MemoryError as error:
        complain(f"memory does not suffice ({error}): give fewer or smaller images")
        return FAILED
    except ModuleNotFoundError as error:
        complain(
            f"{error.name} is not installed: install vim_jax with its extra, as in "
            "`pip install '.[demo]'` in a clone"
        )
        return FAILED
    except BrokenPipeError:
        # Nobody reads on, as in `vim-jax vfe ... | head`; exiting must not try again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        complain(f"{error.filename or 'input or output'}: {brief(error)}")
        return FAILED


def _command(name: str) -> Callable[..., int]:
    # Imported on demand: help and errors should not wait for the others' libraries.
    return getattr(importlib.import_module(f"vim_jax.cli.{name}"), name)


def _help() -> str:
    lines = []
    for name in COMMANDS:
        summary = (inspect.getdoc(_command(name)) or "").splitlines()[0]
        lines.append(f"  {name:9}{summary}")
    return _HELP.format(commands="\n".join(lines))
