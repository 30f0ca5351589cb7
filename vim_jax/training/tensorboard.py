"""Metrics for TensorBoard, where tensorboardX is installed."""

import pathlib
from typing import Any


def summary_writer() -> Any:
    """Returns tensorboardX's class of that name.

    Raises:
      RuntimeError: If it is not installed.
    """
    try:
        from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise RuntimeError(
            "tensorboard needs tensorboardX, which is not installed: run "
            "`pip install 'vim-jax[tensorboard]'`, or leave it out."
        ) from None
    return SummaryWriter


def write(folder: pathlib.Path, epoch: dict[str, Any]) -> None:
    """Adds an epoch's metrics, which take the place of earlier ones from its step on.

    Args:
      folder: Folder of the run.
      epoch: One of `History.epochs`.
    """
    step = epoch["step"]
    with summary_writer()(str(folder / "tensorboard"), purge_step=step) as writer:
        for name, value in epoch.items():
            if name not in ("epoch", "step"):
                writer.add_scalar(name, value, step)
