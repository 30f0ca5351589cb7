"""The model that a training starts from."""

import dataclasses
import os
from typing import Any

from flax import nnx

from vim_jax.models import create_model, load_torch, model_config
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
        but the last layer, whatever size of images a ViT's are for; None leaves all
        as drawn.

    Raises:
      ValueError: If the options do not fit the model, or the weights do not.
    """
    arguments = _model_arguments(config, image_shape, num_classes)
    model = create_model(config.model, rngs=nnx.Rngs(config.seed), **arguments)
    if weights is not None:
        load_torch(model, weights, head=False, resize_positions=True)
    return model


def model_config_of(
    config: TrainConfig, image_shape: tuple[int, ...], num_classes: int
) -> Any:
    """Returns the config of the model that `initial_model` creates.

    Args:
      config: Which model and options count.
      image_shape: (height, width, channels) of the images.
      num_classes: Number of classes.

    Raises:
      ValueError: If the options do not fit the model.
    """
    arguments = _model_arguments(config, image_shape, num_classes)
    return model_config(config.model, **arguments)


def _model_arguments(
    config: TrainConfig, image_shape: tuple[int, ...], num_classes: int
) -> dict[str, Any]:
    height, width, channels = image_shape
    return {
        "num_classes": num_classes,
        "image_size": (height, width),
        "channels": channels,
        **config.model_options,
    }


def check_model(
    model: Any, config: TrainConfig, image_shape: tuple[int, ...], num_classes: int
) -> None:
    """Raises ValueError if a model is not the one that the settings describe.

    `load_model` goes by the settings.
    """
    expected = model_config_of(config, image_shape, num_classes)
    found = getattr(model, "config", None)
    if type(found) is not type(expected):
        raise ValueError(
            f"model is a {type(model).__name__}, not the {config.model} of the "
            "settings: give their model the name it was created by."
        )
    differing = [
        f"{field.name} {getattr(found, field.name)!r} and not {theirs!r}"
        for field in dataclasses.fields(expected)
        if (theirs := getattr(expected, field.name)) != getattr(found, field.name)
    ]
    if differing:
        raise ValueError(
            f"model has {', '.join(differing)}, which the images and settings ask for: "
            "create it with what the images have, and give the settings' model_options "
            "what else it was created with."
        )
