"""What the commands show: sentences, progress bars and tables."""

import contextlib
import re
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

# What the library calls an argument, the command line calls an option.
_ARGUMENTS = (
    "clip|data_dir|fmt|level|max_pixels|max_region|region_size|target_vfe|workers|"
    "batch_size|checkpoint_every_steps|clip_norm|crop|crop_multiple|ema|epochs|"
    "label_smoothing|learning_rate|limit|seed|side|warmup_fraction|weight_decay"
)
_GIVEN = re.compile(
    rf"(?<![^\s(])({_ARGUMENTS})(?:=| is )'?([^\s/,:;)']+?)'?(?=[\s,:;)]|\.?$|\. )"
)
_NAMED = re.compile(
    r"(?<![^\s(])(batch_size|clip_norm|crop_multiple|data_dir|learning_rate|max_pixels|"
    r"max_region|warmup_fraction|weight_decay)(?=[\s,:]|$)"
)


def as_options(sentence: str) -> str:
    """Returns a sentence on usage with options in place of arguments."""

    def option(match: re.Match[str]) -> str:
        name = match[1].replace("_", "-").replace("fmt", "format")
        value = "" if match.lastindex == 1 or match[2] == "True" else f" {match[2]}"
        return f"--{name}{value}"

    return _NAMED.sub(option, _GIVEN.sub(option, sentence))


def printable(text: str) -> str:
    """Returns text for rich, in which no file name can forge output or styles.

    Nor can one end the command, where the terminal lacks its letters.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    for encoding in {out.encoding, err.encoding}:
        shown = shown.encode(encoding, "backslashreplace").decode(encoding)
    return escape(shown)


def count(n: int, what: str) -> str:
    """Returns "1 file" or "2 files"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def complain(sentence: str) -> None:
    """Prints an error, with options in place of arguments."""
    shown = printable(as_options(sentence))
    err.print(f"[bold red]vim-jax:[/] {shown}", soft_wrap=True)


def warn(sentence: str) -> None:
    """Prints a warning."""
    err.print(f"[bold yellow]warning:[/] {printable(sentence)}", soft_wrap=True)


def say(sentence: str) -> None:
    """Prints a sentence."""
    out.print(printable(sentence), soft_wrap=True)


class _Speed(ProgressColumn):
    """Images per second, those found done at the start left out."""

    def render(self, task: Task) -> Text:
        done = task.completed - task.fields["found"]
        return Text(f"{done / task.elapsed:,.1f} images/s" if task.elapsed else "")


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar; yields the function to call with (done, all).

    What is done by the first call, if that is more than one, was done before.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        console=err,
    )
    task = bar.add_task(label, total=None, found=0)
    first = True

    def show(done: int, total: int) -> None:
        nonlocal first
        if first:  # Not before: what is refused has no progress.
            bar.start()
            bar.update(task, found=done if done > 1 else 0)
        first = False
        bar.update(task, completed=done, total=total)

    try:
        yield show
    finally:
        if not first:
            bar.stop()


@contextlib.contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """Shows progress bars; yields the function to call with (label, done, all)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
    )
    with bar:
        tasks: dict[str, TaskID] = {}

        def show(label: str, done: int, total: int) -> None:
            if label not in tasks:
                tasks[label] = bar.add_task(label.replace("_", " "), total=None)
            bar.update(tasks[label], completed=done, total=total)

        yield show
