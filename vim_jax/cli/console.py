"""What the commands show: sentences, progress bars and tables."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def complain(sentence: str) -> None:
    """Prints an error."""
    err.print(f"[bold red]vim-jax:[/] {escape(sentence)}", soft_wrap=True)


def warn(sentence: str) -> None:
    """Prints a warning."""
    err.print(f"[bold yellow]warning:[/] {escape(sentence)}", soft_wrap=True)


def say(sentence: str) -> None:
    """Prints a sentence."""
    out.print(escape(sentence), soft_wrap=True)


class _Speed(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} images/s")


@contextlib.contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a progress bar; yields the function to call with (done, all)."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        console=err,
    )
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
