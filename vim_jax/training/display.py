"""What a run shows while it trains."""

from typing import Any

import rich.progress


def progress_bar(show: bool) -> rich.progress.Progress:
    """Returns a bar of the steps taken, invisible unless it is to be shown."""
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        disable=not show,
    )


def summary(record: dict[str, Any], epochs: int) -> str:
    """Returns an epoch's metrics as a line, of so many epochs."""
    parts = [f"epoch {record['epoch']}/{epochs}", f"loss {record['train_loss']:.4f}"]
    parts += [
        f"{name.removesuffix('_accuracy')} {value:.2%}"
        for name, value in record.items()
        if name.endswith("_accuracy")
    ]
    return ", ".join([*parts, f"{record['seconds']:.1f} s"])
