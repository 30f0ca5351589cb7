"""The model that a training starts from."""

import os

from flax import nnx

from vim_jax.models import create_model, load_torch
from vim_jax.training.config import TrainConfig


def initial_model(
    config: TrainConfig,
    image_shape: tuple[int, ...],
    num_classes: int,
    weights: str | os.PathLike[str] | None = None,
) -> nnx.Module:
    """Returns the model of a config, its parameters drawn by its seed.

    Args:
      config: Which model, options and seed count.
      image_shape: (height, width, channels) of the images.
      num_classes: Number of classes.
      weights: A safetensors file with PyTorch's weights, see `load_torch`, for all
        but the last layer; None leaves all as drawn.

    Raises:
      ValueError: If the options do not fit the model, or the weights do not.
    """
    height, width, channels = image_shape
    model = create_model(
        config.model,
        num_classes=num_classes,
        image_size=(height, width),
        channels=channels,
        rngs=nnx.Rngs(config.seed),
        **config.model_options,
    )
    if weights is not None:
        load_torch(model, weights, head=False)
    return model
