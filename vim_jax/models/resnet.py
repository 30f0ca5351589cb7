"""Residual networks, for photographs and for small images."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.config import ConvNetConfig, check_stages
from vim_jax.models.inputs import convnet_input
from vim_jax.models.layers import ConvNorm, global_mean, max_pool_3x3
from vim_jax.models.torch_weights import TorchTensor, conv_norm, linear


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig(ConvNetConfig):
    """Shape of a `ResNet`; by default that of ResNet-20 for CIFAR.

    Attributes:
      small_images: Whether the stem is a 3x3 convolution that keeps the sides, not a
        7x7 convolution and a pooling that quarter them.
      block: "basic" blocks are two 3x3 convolutions; "bottleneck" blocks have one,
        between two of 1x1 that narrow and widen, to four times the stage's width.
      blocks: Residual blocks of each stage; one number if all have as many.
      widths: Channels that the 3x3 convolutions of each stage see. All stages but the
        first halve the sides.
      shortcut: How the input gets added where a block changes the shape: "project" by
        a 1x1 convolution, or "pad", without parameters, with channels of zeros.
    """

    small_images: bool = True
    block: Literal["basic", "bottleneck"] = "basic"
    blocks: int | tuple[int, ...] = 3
    widths: tuple[int, ...] = (16, 32, 64)
    shortcut: Literal["pad", "project"] = "pad"

    def __post_init__(self):
        ConvNetConfig.__post_init__(self)
        if isinstance(self.blocks, int):
            check_stages(self, "widths")
            if self.blocks < 1:
                raise ValueError(f"blocks is {self.blocks}: use at least 1.")
        else:
            check_stages(self, "blocks", "widths")
        narrow_to_wide = tuple(sorted(self.widths))
        if self.shortcut == "pad" and self.widths != narrow_to_wide:
            raise ValueError(
                f"widths is {self.widths}: use numbers that do not decrease, such as "
                f'{narrow_to_wide}, or shortcut="project".'
            )
        self.check_shrinking(
            2 ** (len(self.widths) - 1) * (1 if self.small_images else 4)
        )

    @property
    def blocks_of_stages(self) -> tuple[int, ...]:
        """`blocks`, one number per stage."""
        if isinstance(self.blocks, int):
            return (self.blocks,) * len(self.widths)
        return self.blocks


class ResNet(nnx.Module):
    """Residual network of ImageNet (ResNet-18, 34, 50) or CIFAR (ResNet-20).

    Bottleneck blocks that shrink their features do so in the 3x3 convolution: the
    variant known as v1.5, more accurate than the published one.

    References:
      He et al, `Deep Residual Learning for Image Recognition
      <https://arxiv.org/abs/1512.03385>`_, CVPR 2016, sections 4.1 and 4.2
    """

    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs):
        self.config = config
        dtype, width = config.dtype, config.widths[0]
        size, stride = (3, 1) if config.small_images else (7, 2)
        self.stem = ConvNorm(
            config.features[-1], width, size, stride, dtype=dtype, rngs=rngs
        )
        self.stages = nnx.List()
        for stage, inner in enumerate(config.widths):
            blocks = nnx.List()
            for index in range(config.blocks_of_stages[stage]):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(width, inner, stride, config, rngs=rngs))
                width = blocks[-1].out_width
            self.stages.append(blocks)
        self.head = nnx.Linear(width, config.num_classes, rngs=rngs)

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
        x = jax.nn.relu(self.stem(x, train=train))
        if not self.config.small_images:
            x = max_pool_3x3(x)
        for blocks in self.stages:
            for block in blocks:
                x = block(x, train=train)
        return self.head(global_mean(x))

    def torch_tensors(self) -> list[TorchTensor]:
        """Returns where each tensor of torchvision's state dict goes."""
        tensors = conv_norm("conv1", "bn1", self.stem)
        for stage, blocks in enumerate(self.stages, 1):
            for index, block in enumerate(blocks):
                tensors += block.torch_tensors(f"layer{stage}.{index}")
        return tensors + linear("fc", self.head)


class Block(nnx.Module):
    """Two or three convolutions, added to their input."""

    def __init__(
        self,
        width: int,
        inner: int,
        stride: int,
        config: ResNetConfig,
        *,
        rngs: nnx.Rngs,
    ):
        if config.block == "basic":
            self.out_width = inner
            shapes = [(width, inner, 3, stride), (inner, inner, 3, 1)]
        else:
            self.out_width = 4 * inner
            shapes = [
                (width, inner, 1, 1),
                (inner, inner, 3, stride),
                (inner, self.out_width, 1, 1),
            ]
        self.stride = stride
        self.convs = nnx.List(
            ConvNorm(*shape, dtype=config.dtype, rngs=rngs) for shape in shapes
        )
        self.project = nnx.data(None)
        if config.shortcut == "project" and (stride > 1 or width != self.out_width):
            self.project = ConvNorm(
                width, self.out_width, 1, stride, dtype=config.dtype, rngs=rngs
            )

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h2 w2 c2"]:
        """Maps features to features, of half the sides when the stride is 2."""
        first, *others = self.convs
        y = first(x, train=train)
        # What the last one returns is activated once the input is added.
        for conv in others:
            y = conv(jax.nn.relu(y), train=train)
        if self.project is None:
            x = x[:, :: self.stride, :: self.stride]
            missing = y.shape[-1] - x.shape[-1]
            shortcut = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))
        else:
            shortcut = self.project(x, train=train)
        return jax.nn.relu(y + shortcut)

    def torch_tensors(self, name: str) -> list[TorchTensor]:
        """Returns where the tensors of torchvision's block `name` go."""
        tensors = []
        for index, layer in enumerate(self.convs, 1):
            tensors += conv_norm(f"{name}.conv{index}", f"{name}.bn{index}", layer)
        if self.project is not None:
            downsample = f"{name}.downsample"
            tensors += conv_norm(f"{downsample}.0", f"{downsample}.1", self.project)
        return tensors
