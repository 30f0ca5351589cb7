"""Deep residual networks for photographs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.inputs import standardize
from vim_jax.models.layers import ComputeDtype, ConvNorm, check_compute_dtype

_EXPANSION = 4
_ONE_AROUND: Any = ((1, 1), (1, 1))  # Flax takes it, but its annotation does not.


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BottleneckResNetConfig:
    """Shape of a `BottleneckResNet`; by default that of ResNet-50.

    Attributes:
      num_classes: Number of logits.
      image_size: Height and width of the images, in pixels.
      channels: Channels of the images.
      blocks: Residual blocks of each stage. The stem quarters the sides, all stages
        but the first halve them.
      widths: Channels that the 3x3 convolutions of each stage see; between blocks
        there are four times as many.
      dtype: Of convolutions, "float32" or "bfloat16".
    """

    num_classes: int
    image_size: tuple[int, int]
    channels: int = 3
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512)
    dtype: ComputeDtype = "float32"

    def __post_init__(self):
        for name in ("num_classes", "channels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: use at least 1.")
        for name in ("blocks", "widths"):
            if not getattr(self, name) or min(getattr(self, name)) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: use positive numbers, one per "
                    "stage."
                )
        if len(self.blocks) != len(self.widths):
            raise ValueError(
                f"blocks {self.blocks} and widths {self.widths} differ in length: use "
                "one number per stage in each."
            )
        least = 2 ** (len(self.widths) + 1)
        if min(self.image_size) < least:
            raise ValueError(
                f"image_size {self.image_size} is too small for {len(self.widths)} "
                f"stages: use sides of at least {least} pixels, or fewer stages."
            )
        check_compute_dtype(self.dtype)


class BottleneckResNet(nnx.Module):
    """The ImageNet residual network of bottleneck blocks, such as ResNet-50.

    Blocks that shrink their features do so in the 3x3 convolution: the variant known
    as v1.5, more accurate than the published one.

    References:
      He et al, `Deep Residual Learning for Image Recognition
      <https://arxiv.org/abs/1512.03385>`_, CVPR 2016, section 4.1
    """

    def __init__(self, config: BottleneckResNetConfig, *, rngs: nnx.Rngs):
        self.config = config
        dtype, width = config.dtype, config.widths[0]
        self.stem = ConvNorm(config.channels, width, 7, 2, dtype=dtype, rngs=rngs)
        blocks = []
        for stage, inner in enumerate(config.widths):
            for index in range(config.blocks[stage]):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(width, inner, stride, dtype=dtype, rngs=rngs))
                width = _EXPANSION * inner
        self.blocks = nnx.List(blocks)
        self.head = nnx.Linear(width, config.num_classes, rngs=rngs)

    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False
    ) -> Float[Array, "n k"]:
        """Classify images.

        Args:
          images: Float images in [0, 1]; they are normalised here.
          train: Whether to normalise by the batch and update the running
            statistics, instead of normalising by those.

        Returns:
          float32 logits.

        Raises:
          ValueError: If the images are not of the size the model was built for.
        """
        config = self.config
        x = standardize(images, (*config.image_size, config.channels))
        x = jax.nn.relu(self.stem(x, train=train))
        x = nnx.max_pool(x, (3, 3), (2, 2), padding=_ONE_AROUND)
        for block in self.blocks:
            x = block(x, train=train)
        return self.head(x.astype(jnp.float32).mean(axis=(1, 2)))


class Block(nnx.Module):
    """1x1, 3x3 and 1x1 convolutions, the middle one narrow, added to their input."""

    def __init__(
        self,
        width: int,
        inner: int,
        stride: int,
        *,
        dtype: ComputeDtype,
        rngs: nnx.Rngs,
    ):
        out = _EXPANSION * inner
        self.reduce = ConvNorm(width, inner, 1, dtype=dtype, rngs=rngs)
        self.conv = ConvNorm(inner, inner, 3, stride, dtype=dtype, rngs=rngs)
        self.expand = ConvNorm(inner, out, 1, dtype=dtype, rngs=rngs)
        self.project = nnx.data(None)
        if stride > 1 or width != out:
            self.project = ConvNorm(width, out, 1, stride, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h2 w2 c2"]:
        """Map features to features, of half the sides when the stride is 2."""
        y = jax.nn.relu(self.reduce(x, train=train))
        y = jax.nn.relu(self.conv(y, train=train))
        y = self.expand(y, train=train)
        shortcut = x if self.project is None else self.project(x, train=train)
        return jax.nn.relu(y + shortcut)
