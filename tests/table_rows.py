"""Rows of Table II as runs leave them, with accuracies of one's own: for tests."""

from typing import Any

from experiments import table2_accuracy, training_runs
from experiments.training_runs import Run

RUNS = list(table2_accuracy.runs("cpu"))


def row_of(run: Run, **found: Any) -> dict[str, Any]:
    """The row of a run; half of all images are recognised, if nothing else is said."""
    measured = {
        "native_pixels_per_pixel": 1.0, "shape": [32, 32, 3], "train_images": 7,
        "tested": 9, "training_seconds": 1, f"{run.way}_accuracy": 0.5,
    }  # fmt: skip
    return {**training_runs._identity(run), **measured, **found}


def rows_of(setting: str, *, seed: int = 0, shifted_plain: bool) -> dict[str, Any]:
    """The rows of a ResNet-20 on CIFAR-10 at a setting, by way."""
    here = [x for x in RUNS if (x.model, x.data) == ("resnet20_cifar", "cifar10")]
    return {
        run.way: row_of(run)
        for run in here
        if run.seed == seed
        and (
            run.setting == setting
            or (run.way == "plain" and (run.recipe["crop"] > 0) == shifted_plain)
        )
    }


def outdated(row: dict[str, Any]) -> dict[str, Any]:
    """The row as another recipe left it."""
    return {**row, "recipe": {**row["recipe"], "label_smoothing": 0.3}}
