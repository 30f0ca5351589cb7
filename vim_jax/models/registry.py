"""Models by name."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from flax import nnx

from vim_jax.fields import check_type, plain
from vim_jax.models.mobilenet_v2 import MobileNetV2, MobileNetV2Config
from vim_jax.models.mobilenet_v3 import SMALL, MobileNetV3, MobileNetV3Config
from vim_jax.models.resnet import ResNet, ResNetConfig
from vim_jax.models.shufflenet_v2 import ShuffleNetV2, ShuffleNetV2Config
from vim_jax.models.swin import Swin, SwinConfig
from vim_jax.models.vgg import VGG, VGGConfig
from vim_jax.models.vit import ViT, ViTConfig

_IMAGENET_RESNET = dict(
    small_images=False, shortcut="project", widths=(64, 128, 256, 512)
)
_VGG11 = dict(convs=(1, 1, 2, 2, 2))
_SHUFFLENET_X0_5 = dict(widths=(48, 96, 192))
_VIT = dict(patch_size=16, depth=12, pool="token", position_stddev=0.02)
_VIT_TI = dict(**_VIT, dim=192, heads=3)
_VIT_S = dict(**_VIT, dim=384, heads=6)
_VIT_B = dict(**_VIT, dim=768, heads=12)

_Entry = tuple[Any, Any, dict[str, Any]]

# Name -> class of the model, class of its config, and what the name fixes in it.
_CONVNETS: dict[str, _Entry] = {
    "mobilenet_v2": (MobileNetV2, MobileNetV2Config, {}),
    "mobilenet_v3_large": (MobileNetV3, MobileNetV3Config, {}),
    "mobilenet_v3_small": (
        MobileNetV3,
        MobileNetV3Config,
        dict(rows=SMALL, hidden=1024),
    ),
    "resnet18": (ResNet, ResNetConfig, {**_IMAGENET_RESNET, "blocks": (2, 2, 2, 2)}),
    "resnet34": (ResNet, ResNetConfig, {**_IMAGENET_RESNET, "blocks": (3, 4, 6, 3)}),
    "resnet50": (
        ResNet,
        ResNetConfig,
        {**_IMAGENET_RESNET, "block": "bottleneck", "blocks": (3, 4, 6, 3)},
    ),
    "shufflenet_v2_x0_5": (ShuffleNetV2, ShuffleNetV2Config, _SHUFFLENET_X0_5),
    "shufflenet_v2_x1_0": (ShuffleNetV2, ShuffleNetV2Config, {}),
    "vgg11": (VGG, VGGConfig, _VGG11),
    "vgg11_bn": (VGG, VGGConfig, {**_VGG11, "batch_norm": True}),
    "vgg16": (VGG, VGGConfig, {}),
    "vgg16_bn": (VGG, VGGConfig, {"batch_norm": True}),
}

_MODELS: dict[str, _Entry] = {
    **_CONVNETS,
    **{
        f"{name}_cifar": (model, config, {**fixed, "small_images": True})
        for name, (model, config, fixed) in _CONVNETS.items()
    },
    "resnet8": (ResNet, ResNetConfig, {"blocks": 1}),
    "resnet20_cifar": (ResNet, ResNetConfig, {"blocks": 3}),
    "swin_t": (Swin, SwinConfig, {}),
    # Three stages, so that 32x32 pixels are still 4x4 tokens in the last.
    "swin_t_cifar": (
        Swin,
        SwinConfig,
        dict(patch_size=2, window=4, depths=(2, 2, 6), heads=(3, 6, 12)),
    ),
    "vit_b16": (ViT, ViTConfig, _VIT_B),
    "vit_b4_cifar": (ViT, ViTConfig, {**_VIT_B, "patch_size": 4}),
    "vit_s16": (ViT, ViTConfig, _VIT_S),
    "vit_s4_cifar": (ViT, ViTConfig, {**_VIT_S, "patch_size": 4}),
    "vit_ti16": (ViT, ViTConfig, _VIT_TI),
    "vit_ti4_cifar": (ViT, ViTConfig, {**_VIT_TI, "patch_size": 4}),
    "vit_tiny_patch4": (ViT, ViTConfig, {}),
}

_GIVEN = ("num_classes", "image_size", "channels")


def list_models() -> list[str]:
    """Returns the names that `create_model` accepts, sorted.

    Names that end in ``_cifar``, ``resnet8`` and ``vit_tiny_patch4`` are for images of
    about 32x32 pixels: their last features are 1/8 of a side wide, or 1/4. The others
    are for photographs, and torchvision's but for ``vit_s16`` and ``vit_ti16``.
    """
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
    """Creates a model with fresh parameters.

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
    config = model_config(
        name,
        num_classes=num_classes,
        image_size=image_size,
        channels=channels,
        **options,
    )
    model_class, _, _ = _MODELS[name]
    return model_class(config, rngs=rngs)


def model_config(
    name: str,
    *,
    num_classes: int,
    image_size: int | tuple[int, int],
    channels: int = 3,
    **options: Any,
) -> Any:
    """Returns the config of the model that `create_model` would create.

    It takes no time, so it tells beforehand whether a model fits.

    Args:
      name: See `create_model`, as for the others.
      num_classes: Number of logits.
      image_size: Height and width of the images in pixels; one number if square.
      channels: Channels of the images.
      **options: Any other field of the config.

    Raises:
      ValueError: If the name or an option is unknown, or a value does not fit.
    """
    options = checked_options(name, options)
    _, config_class, fixed = _MODELS[name]
    size = plain(image_size)
    return config_class(
        num_classes=plain(num_classes),
        image_size=(size, size) if isinstance(size, int) else size,
        channels=plain(channels),
        **{**fixed, **options},
    )


def checked_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options of a model in plain types.

    Args:
      name: See `create_model`.
      options: Values by name.

    Raises:
      ValueError: If there is no such model, it has no such option, or a value is of
        another type.
    """
    if name not in _MODELS:
        raise ValueError(
            f"There is no model {name!r}: use one of {', '.join(list_models())}."
        )
    _, config_class, _ = _MODELS[name]
    fields = [field.name for field in dataclasses.fields(config_class)]
    known = [field for field in fields if field not in _GIVEN]
    for option in options:
        if option not in known:
            raise ValueError(
                f"{name} has no option {option!r}: its options are {', '.join(known)}."
            )
    kinds = typing.get_type_hints(config_class)
    found = {option: plain(value) for option, value in options.items()}
    for option, value in found.items():
        check_type(option, value, kinds[option])
    return found
