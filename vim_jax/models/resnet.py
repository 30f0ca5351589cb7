"""Residual networks for small images."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.inputs import standardize
from vim_jax.models.layers import ComputeDtype, ConvNorm, check_compute_dtype


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig:
    """Shape of a `ResNet`.

    Attributes:
      num_classes: Number of logits.
      image_size: Height and width of the images, in pixels.
      channels: Channels of the images.
      blocks: Residual blocks per stage; the network has 6 * blocks + 2 layers.
      widths: Channels of each stage. All stages but the first halve the sides.
      dtype: Of convolutions, "float32" or "bfloat16".
    """

    num_classes: int
    image_size: tuple[int, int]
    channels: int = 3
    blocks: int = 3
    widths: tuple[int, ...] = (16, 32, 64)
    dtype: ComputeDtype = "float32"

    def __post_init__(self):
        for name in ("num_classes", "channels", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: use at least 1.")
        if not self.widths or any(
            wide < narrow
            for narrow, wide in zip((1, *self.widths), self.widths, strict=False)
        ):
            raise ValueError(
                f"widths is {self.widths}: use positive numbers that do not decrease, "
                "one per stage, such as (16, 32, 64)."
            )
        if min(self.image_size) < 2 ** (len(self.widths) - 1):
            raise ValueError(
                f"image_size {self.image_size} is too small for {len(self.widths)} "
                "stages, which halve it between them: use larger images or fewer "
                "widths."
            )
        check_compute_dtype(self.dtype)


class ResNet(nnx.Module):
    """The CIFAR residual network, with shortcuts that have no parameters.

    References:
      He et al, `Deep Residual Learning for Image Recognition
      <https://arxiv.org/abs/1512.03385>`_, CVPR 2016, section 4.2
    """

    def __init__(self, config: ResNetConfig, *, rngs: nnx.Rngs):
        self.config = config
        dtype, width = config.dtype, config.widths[0]
        self.stem = ConvNorm(config.channels, width, 3, dtype=dtype, rngs=rngs)
        blocks = []
        for stage, next_width in enumerate(config.widths):
            for index in range(config.blocks):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(Block(width, next_width, stride, dtype=dtype, rngs=rngs))
                width = next_width
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
        for block in self.blocks:
            x = block(x, train=train)
        return self.head(x.astype(jnp.float32).mean(axis=(1, 2)))


class Block(nnx.Module):
    """Two 3x3 convolutions, added to their input."""

    def __init__(
        self,
        width: int,
        out_width: int,
        stride: int,
        *,
        dtype: ComputeDtype,
        rngs: nnx.Rngs,
    ):
        self.stride = stride
        self.extra_channels = out_width - width
        self.conv1 = ConvNorm(width, out_width, 3, stride, dtype=dtype, rngs=rngs)
        self.conv2 = ConvNorm(out_width, out_width, 3, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h2 w2 c2"]:
        """Map features to features, of half the sides when the stride is 2."""
        y = self.conv2(jax.nn.relu(self.conv1(x, train=train)), train=train)
        shortcut = x[:, :: self.stride, :: self.stride]
        shortcut = jnp.pad(shortcut, ((0, 0), (0, 0), (0, 0), (0, self.extra_channels)))
        return jax.nn.relu(y + shortcut)
