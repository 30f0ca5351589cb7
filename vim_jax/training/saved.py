"""The model of a finished run, read from its folder."""

import os
import pathlib
from typing import Any

import jax
from flax import nnx

from vim_jax.mixer import VisualMixer
from vim_jax.training import checkpoint, parallel, records
from vim_jax.training.config import TrainConfig
from vim_jax.training.initial import initial_model
from vim_jax.training.optimizers import make_optimizer
from vim_jax.training.step import init_state, merge


def load_model(out: str | os.PathLike[str]) -> nnx.Module:
    """Returns the model of a finished run, as `train` handed it back.

    Several processes (`vim_jax.training.initialize`) call this together.

    Args:
      out: Folder of the run.

    Returns:
      The model, on this process's first device; with `TrainConfig.ema` the averaged
      one. Its `config` tells the size and channels of the images it takes, and the
      number of its classes.

    Raises:
      ValueError: If the folder holds no finished run.
      RuntimeError: If its last checkpoint is gone or damaged.
    """
    folder = pathlib.Path(out)
    result = records.read_result(folder)
    if "image_shape" not in result:
        raise ValueError(
            f"{folder} does not say which images its model takes: delete result.json "
            "there, and train again with the same settings, which only writes it anew."
        )
    config = _config(result["config"])
    model = initial_model(config, tuple(result["image_shape"]), result["num_classes"])
    graphdef, state = init_state(
        model,
        make_optimizer(config, result["step"]),
        ema=config.ema,
        gradient_cosine=config.gradient_cosine,
    )
    state = parallel.replicate(state, parallel.make_layout(1, jax.local_devices()[:1]))
    restored = checkpoint.restore_latest(folder / "checkpoints", state)
    if restored is None or restored.step != result["step"]:
        raise RuntimeError(
            f"{folder} has no intact checkpoint of its last step, {result['step']}: "
            "train again with the same settings, which goes on from the one before."
        )
    return merge(graphdef, parallel.on_one_device(restored.state))


def _config(written: dict[str, Any]) -> TrainConfig:
    """Returns settings as they were before they were written as JSON."""
    mixer = written["fresh"]
    return TrainConfig(
        **{
            **written,
            "fresh": None if mixer is None else VisualMixer(**mixer),
        }
    )
