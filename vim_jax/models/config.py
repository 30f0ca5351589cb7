"""What the configs of all models have in common."""

import dataclasses
import math
import typing
from typing import Any, Literal, TypeAlias

from vim_jax.fields import check_type

ComputeDtype: TypeAlias = Literal["float32", "bfloat16"]
"""Of convolutions, matrix products, and all that layers hand on.

Parameters, the arithmetic of normalisation, and logits stay in float32.
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """What every model needs to know.

    Attributes:
      num_classes: Number of logits.
      image_size: Height and width of the images, in pixels.
      channels: Channels of the images.
      normalize: How intensities in [0, 1] are mapped before the first layer: "fixed"
        to [-2, 2], whatever the images, or "imagenet" by ImageNet's mean and standard
        deviation, which weights from torchvision expect (three channels).
      dtype: Of what is computed, "float32" or "bfloat16", see `ComputeDtype`.
    """

    num_classes: int
    image_size: tuple[int, int]
    channels: int = 3
    normalize: Literal["fixed", "imagenet"] = "fixed"
    dtype: ComputeDtype = "float32"

    def __post_init__(self):
        # Subclasses name this one, not super(), which slots break in Python 3.11.
        for name, kind in typing.get_type_hints(type(self)).items():
            value = getattr(self, name)
            check_type(name, value, kind)
            if kind is int and value < 1:
                raise ValueError(f"{name} is {value}: use at least 1.")
            if kind is float and not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}: use zero or a positive number.")
        if min(self.image_size) < 1:
            raise ValueError(
                f"image_size is {self.image_size}: use sides of at least 1 pixel."
            )
        if self.normalize == "imagenet" and self.channels != 3:
            raise ValueError(
                f'normalize "imagenet" is for 3 channels, and channels is '
                f'{self.channels}: use normalize="fixed".'
            )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConvNetConfig(ModelConfig):
    """What every convolutional network needs to know, besides.

    Attributes:
      small_images: Whether to keep the resolution of the first layers, for images of
        about 32x32 pixels: the last features are then 1/4 or 1/8 of a side wide, and
        not 1/32.
      region_encoder: What the first convolution sees. "none": the pixels. Otherwise
        one position per region, whose values are all channels of that position; they
        come in their order ("linear"), or sorted, each colour channel on its own
        ("sorted"), so that permuting a region's values within a channel changes
        nothing. See `encode_regions`.
      region_size: Side of these regions, in pixels; divides height and width. None
        without a region encoder.
    """

    small_images: bool = False
    region_encoder: Literal["none", "linear", "sorted"] = "none"
    region_size: int | None = None

    def __post_init__(self):
        ModelConfig.__post_init__(self)
        if (self.region_encoder == "none") != (self.region_size is None):
            raise ValueError(
                f'region_encoder is "{self.region_encoder}" and region_size '
                f"{self.region_size}: give both, or neither."
            )
        if self.region_size is not None:
            check_divides("region_size", self.region_size, self.image_size)

    @property
    def features(self) -> tuple[int, int, int]:
        """Height, width and channels of what the first convolution sees."""
        side = self.region_size
        if side is None:
            return (*self.image_size, self.channels)
        height, width = self.image_size
        return height // side, width // side, side * side * self.channels

    def check_shrinking(self, factor: int) -> None:
        """Raises a ValueError if features that shrink by `factor` become too small."""
        if min(self.features[:2]) < factor:
            what = "pixels" if self.region_encoder == "none" else "regions"
            raise ValueError(
                f"image_size {self.image_size} is too small for a network that shrinks "
                f"its features to 1/{factor}: use sides of at least {factor} {what}"
                f"{'' if self.small_images else ', or small_images=True'}."
            )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig(ModelConfig):
    """What every vision transformer needs to know, besides.

    Attributes:
      patch_size: Side of a square patch, in pixels; divides height and width.
      patch_encoder: "linear" embeds the pixels of a patch in their order.
        "sorted" first sorts them, each channel on its own, so that permuting the
        pixels of a patch within a channel changes nothing. See `encode_regions`.
      mlp_ratio: Width of a block's hidden layer, in units of that of its tokens.
    """

    patch_size: int = 4
    patch_encoder: Literal["linear", "sorted"] = "linear"
    mlp_ratio: int = 4

    def __post_init__(self):
        ModelConfig.__post_init__(self)
        check_divides("patch_size", self.patch_size, self.image_size)


def check_divides(name: str, side: int, image_size: tuple[int, int]) -> None:
    """Raises a ValueError unless squares of `side` pixels tile the image."""
    if side < 1 or any(length % side for length in image_size):
        raise ValueError(
            f"image_size {image_size} does not divide into squares of {name} {side}: "
            f"pass a {name} that divides both sides, or resize the images."
        )


def check_heads(name: str, width: int, heads: int) -> None:
    """Raises a ValueError unless attention heads share a width evenly."""
    if width % heads:
        raise ValueError(
            f"{name} {width} is not divisible by heads {heads}: "
            f"use a multiple, such as {heads * (width // heads + 1)}."
        )


def check_stages(config: Any, *names: str) -> None:
    """Raises a ValueError unless these fields hold a positive number per stage."""
    for name in names:
        numbers = getattr(config, name)
        if not numbers or min(numbers) < 1:
            raise ValueError(
                f"{name} is {numbers}: use positive numbers, one per stage."
            )
    first, *others = names
    for other in others:
        one, two = getattr(config, first), getattr(config, other)
        if len(one) != len(two):
            raise ValueError(
                f"{first} {one} and {other} {two} differ in length: use one number per "
                "stage in each."
            )
