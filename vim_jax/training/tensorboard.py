"""Metrics for TensorBoard, where tensorboardX is installed."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def writing(
    folder: pathlib.Path, step: int
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields a function that writes one of `History.epochs`.

    One writer a run: it names its file by the second, and begins it anew.

    Args:
      folder: Folder of the run.
      step: What an earlier start wrote from this step on does not count.
    """
    with summary_writer()(str(folder / "tensorboard"), purge_step=step) as writer:

        def write(epoch: dict[str, Any]) -> None:
            for name, value in epoch.items():
                if name not in ("epoch", "step"):
                    writer.add_scalar(name, value, epoch["step"])
            writer.flush()

        yield write
