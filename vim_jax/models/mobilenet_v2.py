"""MobileNet V2: inverted residual blocks."""

import dataclasses
from typing import NamedTuple

import jax
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.config import ConvNetConfig
from vim_jax.models.inputs import convnet_input
from vim_jax.models.inverted_residual import InvertedResidual
from vim_jax.models.layers import ConvNorm, global_mean
from vim_jax.models.torch_weights import TorchTensor, conv_norm, linear


class Stage(NamedTuple):
    """Blocks of one width.

    Attributes:
      expansion: Channels inside a block, in units of those of its input.
      width: Channels between blocks.
      blocks: How many.
      stride: Of the first block; 2 halves the sides.
    """

    expansion: int
    width: int
    blocks: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV2Config(ConvNetConfig):
    """Shape of a `MobileNetV2`; by default that of width 1.0.

    Attributes:
      small_images: Whether the stem, and the first stage that would, keep the sides
        instead of halving them.
      stem_width: Channels of the stem.
      stages: Of blocks, each four numbers: expansion, width, blocks, stride.
      head_width: Channels that are averaged for the logits.
    """

    stem_width: int = 32
    stages: tuple[tuple[int, int, int, int], ...] = STAGES
    head_width: int = 1280

    def __post_init__(self):
        ConvNetConfig.__post_init__(self)
        if not self.stages:
            raise ValueError("stages is empty: use at least one.")
        for stage in self.stages:
            if min(stage) < 1 or stage[3] > 2:
                raise ValueError(
                    f"stages has {tuple(stage)}: use four positive numbers, expansion, "
                    "width, blocks and stride, and strides of 1 or 2."
                )
        strides = [stage[3] for stage in self.stages]
        self.check_shrinking(2 ** (strides.count(2) + (-1 if self.small_images else 1)))


class MobileNetV2(nnx.Module):
    """Network of inverted residuals with linear bottlenecks.

    Dropout before the logits is left out: a model here holds no random keys.

    References:
      Sandler et al, `MobileNetV2: Inverted Residuals and Linear Bottlenecks
      <https://arxiv.org/abs/1801.04381>`_, CVPR 2018
    """

    def __init__(self, config: MobileNetV2Config, *, rngs: nnx.Rngs):
        self.config = config
        dtype, width = config.dtype, config.stem_width
        self.stem = ConvNorm(
            config.features[-1], width, 3, 1 if config.small_images else 2,
            dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.blocks = nnx.List()
        keeps_sides = config.small_images
        for stage in map(Stage._make, config.stages):
            for index in range(stage.blocks):
                stride = stage.stride if index == 0 else 1
                if stride > 1 and keeps_sides:
                    stride, keeps_sides = 1, False
                self.blocks.append(
                    InvertedResidual(
                        width,
                        stage.expansion * width,
                        stage.width,
                        3,
                        stride,
                        jax.nn.relu6,
                        dtype=dtype,
                        rngs=rngs,
                    )
                )
                width = stage.width
        self.last = ConvNorm(width, config.head_width, 1, dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(config.head_width, config.num_classes, rngs=rngs)

    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False
    ) -> Float[Array, "n k"]:
        """Classifies images.

        Args:
          images: Float images in [0, 1]; they are normalised here.
          train: Whether to normalise by the batch and update the running
            statistics, instead of normalising by those.

        Returns:
          float32 logits.

        Raises:
          ValueError: If the images are not of the size the model was built for.
        """
        x = convnet_input(images, self.config)
        x = jax.nn.relu6(self.stem(x, train=train))
        for block in self.blocks:
            x = block(x, train=train)
        return self.head(global_mean(jax.nn.relu6(self.last(x, train=train))))

    def torch_tensors(self) -> list[TorchTensor]:
        """Returns where each tensor of torchvision's state dict goes."""
        tensors = conv_norm("features.0.0", "features.0.1", self.stem)
        for index, block in enumerate(self.blocks, 1):
            tensors += block.torch_tensors(f"features.{index}.conv", flat_last=True)
        last = f"features.{len(self.blocks) + 1}"
        tensors += conv_norm(f"{last}.0", f"{last}.1", self.last)
        return tensors + linear("classifier.1", self.head)
