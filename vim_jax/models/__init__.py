"""Image classifiers in Flax NNX, by name.

Every model is called as ``model(images, train=False)``, with float images in
[0, 1] of shape (n, height, width, channels), and returns float32 logits of shape
(n, num_classes). A model holds no random keys.
"""

import dataclasses
from typing import Any

from flax import nnx

from vim_jax.models.bottleneck_resnet import BottleneckResNet as BottleneckResNet
from vim_jax.models.bottleneck_resnet import (
    BottleneckResNetConfig as BottleneckResNetConfig,
)
from vim_jax.models.resnet import ResNet as ResNet
from vim_jax.models.resnet import ResNetConfig as ResNetConfig
from vim_jax.models.vit import ViT as ViT
from vim_jax.models.vit import ViTConfig as ViTConfig

# Name -> class of the model, class of its config, and what the name fixes in it.
_MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "resnet8": (ResNet, ResNetConfig, dict(blocks=1)),
    "resnet20_cifar": (ResNet, ResNetConfig, dict(blocks=3)),
    "resnet50": (BottleneckResNet, BottleneckResNetConfig, {}),
    "vit_tiny_patch4": (ViT, ViTConfig, dict(patch_size=4)),
    "vit_b16": (
        ViT,
        ViTConfig,
        dict(
            patch_size=16,
            dim=768,
            depth=12,
            heads=12,
            pool="token",
            position_stddev=0.02,
        ),
    ),
}

_GIVEN = ("num_classes", "image_size", "channels")


def list_models() -> list[str]:
    """Return the names that `create_model` accepts, sorted."""
    return sorted(_MODELS)


def create_model(
    name: str,
    *,
    num_classes: int,
    image_size: int | tuple[int, int],
    channels: int = 3,
    rngs: nnx.Rngs,
    **options: Any,
) -> nnx.Module:
    """Create a model with fresh parameters.

    Args:
      name: One of `list_models()`.
      num_classes: Number of logits.
      image_size: Height and width of the images in pixels; one number if square.
      channels: Channels of the images.
      rngs: Source of the initial parameters.
      **options: Any other field of the model's config, such as ``dtype="bfloat16"``,
        or ``patch_encoder="sorted"`` for a ViT.

    Returns:
      The model.

    Raises:
      ValueError: If the name or an option is unknown, or a value does not fit.

    Examples:
      >>> import jax.numpy as jnp
      >>> from flax import nnx
      >>> from vim_jax.models import create_model
      >>> model = create_model(
      ...     "vit_tiny_patch4", num_classes=10, image_size=8, patch_size=2,
      ...     patch_encoder="sorted", position_embedding=False, rngs=nnx.Rngs(0),
      ... )
      >>> model(jnp.zeros((5, 8, 8, 3))).shape
      (5, 10)
    """
    if name not in _MODELS:
        raise ValueError(
            f"There is no model {name!r}: use one of {', '.join(list_models())}."
        )
    model_class, config_class, fixed = _MODELS[name]
    fields = [field.name for field in dataclasses.fields(config_class)]
    known = [field for field in fields if field not in _GIVEN]
    for option in options:
        if option not in known:
            raise ValueError(
                f"{name} has no option {option!r}: its options are {', '.join(known)}."
            )
    config = config_class(
        num_classes=num_classes,
        image_size=(image_size,) * 2 if isinstance(image_size, int) else image_size,
        channels=channels,
        **{**fixed, **options},
    )
    return model_class(config, rngs=rngs)
