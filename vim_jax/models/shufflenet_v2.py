"""ShuffleNet V2: cheap convolutions, and channels that trade places between them."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.config import ComputeDtype, ConvNetConfig, check_stages
from vim_jax.models.inputs import convnet_input
from vim_jax.models.layers import ConvNorm, global_mean, max_pool_3x3
from vim_jax.models.torch_weights import TorchTensor, conv_norm, linear


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShuffleNetV2Config(ConvNetConfig):
    """Shape of a `ShuffleNetV2`; by default that of width 1.0.

    Attributes:
      small_images: Whether the stem keeps the sides instead of quartering them.
      stem_width: Channels of the stem.
      blocks: Blocks of each stage. Every stage halves the sides.
      widths: Channels of each stage, even.
      head_width: Channels that are averaged for the logits.
    """

    stem_width: int = 24
    blocks: tuple[int, ...] = (4, 8, 4)
    widths: tuple[int, ...] = (116, 232, 464)
    head_width: int = 1024

    def __post_init__(self):
        ConvNetConfig.__post_init__(self)
        check_stages(self, "blocks", "widths")
        if any(width % 2 for width in self.widths):
            raise ValueError(f"widths is {self.widths}: use even numbers.")
        self.check_shrinking(2 ** len(self.widths) * (1 if self.small_images else 4))


class ShuffleNetV2(nnx.Module):
    """Network of two-branch blocks with depthwise convolutions.

    References:
      Ma et al, `ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture
      Design <https://arxiv.org/abs/1807.11164>`_, ECCV 2018
    """

    def __init__(self, config: ShuffleNetV2Config, *, rngs: nnx.Rngs):
        self.config = config
        dtype, width = config.dtype, config.stem_width
        self.stem = ConvNorm(
            config.features[-1], width, 3, 1 if config.small_images else 2,
            dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.stages = nnx.List()
        for count, out_width in zip(config.blocks, config.widths, strict=True):
            blocks = nnx.List()
            blocks.append(HalvingBlock(width, out_width, dtype=dtype, rngs=rngs))
            for _ in range(count - 1):
                blocks.append(Block(out_width, dtype=dtype, rngs=rngs))
            self.stages.append(blocks)
            width = out_width
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
        x = jax.nn.relu(self.stem(x, train=train))
        if not self.config.small_images:
            x = max_pool_3x3(x)
        for blocks in self.stages:
            for block in blocks:
                x = block(x, train=train)
        return self.head(global_mean(jax.nn.relu(self.last(x, train=train))))

    def torch_tensors(self) -> list[TorchTensor]:
        """Returns where each tensor of torchvision's state dict goes."""
        tensors = conv_norm("conv1.0", "conv1.1", self.stem)
        for stage, blocks in enumerate(self.stages, 2):
            for index, block in enumerate(blocks):
                tensors += block.torch_tensors(f"stage{stage}.{index}")
        tensors += conv_norm("conv5.0", "conv5.1", self.last)
        return tensors + linear("fc", self.head)


class Block(nnx.Module):
    """Convolves half of the channels, and shuffles them with the other half."""

    def __init__(self, width: int, *, dtype: ComputeDtype, rngs: nnx.Rngs):
        half = width // 2
        self.branch = Branch(half, half, 1, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h w c"]:
        """Maps features to features."""
        kept, convolved = jnp.split(x, 2, axis=-1)
        return shuffle_channels(kept, self.branch(convolved, train=train))

    def torch_tensors(self, name: str) -> list[TorchTensor]:
        """Returns where the tensors of torchvision's block `name` go."""
        return self.branch.torch_tensors(f"{name}.branch2")


class HalvingBlock(nnx.Module):
    """Convolves all channels twice over, halving the sides."""

    def __init__(
        self, width: int, out_width: int, *, dtype: ComputeDtype, rngs: nnx.Rngs
    ):
        half = out_width // 2
        self.depthwise = ConvNorm(
            width, width, 3, 2, depthwise=True, dtype=dtype, rngs=rngs
        )
        self.pointwise = ConvNorm(width, half, 1, dtype=dtype, rngs=rngs)
        self.branch = Branch(width, half, 2, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h2 w2 c2"]:
        """Maps features to features of half the sides, rounded up."""
        short = self.pointwise(self.depthwise(x, train=train), train=train)
        return shuffle_channels(jax.nn.relu(short), self.branch(x, train=train))

    def torch_tensors(self, name: str) -> list[TorchTensor]:
        """Returns where the tensors of torchvision's block `name` go."""
        branch = f"{name}.branch1"
        return [
            *conv_norm(f"{branch}.0", f"{branch}.1", self.depthwise),
            *conv_norm(f"{branch}.2", f"{branch}.3", self.pointwise),
            *self.branch.torch_tensors(f"{name}.branch2"),
        ]


class Branch(nnx.Module):
    """A depthwise convolution between two of 1x1."""

    def __init__(
        self, width: int, half: int, stride: int, *, dtype: ComputeDtype, rngs: nnx.Rngs
    ):
        self.pointwise = ConvNorm(width, half, 1, dtype=dtype, rngs=rngs)
        self.depthwise = ConvNorm(
            half, half, 3, stride, depthwise=True, dtype=dtype, rngs=rngs
        )
        self.last = ConvNorm(half, half, 1, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h2 w2 c2"]:
        """Maps features to features, of half the sides when the stride is 2."""
        x = jax.nn.relu(self.pointwise(x, train=train))
        x = self.depthwise(x, train=train)
        return jax.nn.relu(self.last(x, train=train))

    def torch_tensors(self, name: str) -> list[TorchTensor]:
        """Returns where the tensors of torchvision's branch `name` go."""
        return [
            *conv_norm(f"{name}.0", f"{name}.1", self.pointwise),
            *conv_norm(f"{name}.3", f"{name}.4", self.depthwise),
            *conv_norm(f"{name}.5", f"{name}.6", self.last),
        ]


def shuffle_channels(
    first: Float[Array, "n h w c"], second: Float[Array, "n h w c"]
) -> Float[Array, "n h w c2"]:
    """Interleaves the channels of two branches, so that each half holds both."""
    n, h, w, _ = first.shape
    return jnp.stack([first, second], axis=-1).reshape(n, h, w, -1)
