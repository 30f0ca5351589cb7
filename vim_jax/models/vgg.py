"""VGG: plain stacks of 3x3 convolutions."""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.config import ConvNetConfig, check_stages
from vim_jax.models.inputs import convnet_input
from vim_jax.models.layers import ConvNorm, global_mean
from vim_jax.models.torch_weights import TorchTensor, conv, conv_norm, linear

_POOLED = 7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VGGConfig(ConvNetConfig):
    """Shape of a `VGG`; by default that of VGG-16.

    Attributes:
      small_images: Whether only the first three stages halve the sides, and the logits
        are read off the mean of the last features, by one linear layer. Otherwise
        every stage does, and three linear layers follow.
      convs: Convolutions of each stage.
      widths: Channels of each stage.
      hidden: Width of the two hidden layers. Unused for small images.
      batch_norm: Whether every convolution is followed by batch normalisation.
    """

    convs: tuple[int, ...] = (2, 2, 3, 3, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    batch_norm: bool = False

    def __post_init__(self):
        ConvNetConfig.__post_init__(self)
        check_stages(self, "convs", "widths")
        self.check_shrinking(2**self.halvings)

    @property
    def halvings(self) -> int:
        """How many stages halve the sides."""
        return min(3, len(self.widths)) if self.small_images else len(self.widths)


class VGG(nnx.Module):
    """Network of 3x3 convolutions and poolings, with large hidden layers.

    Dropout of the hidden layers is left out: a model here holds no random keys.

    References:
      Simonyan and Zisserman, `Very Deep Convolutional Networks for Large-Scale Image
      Recognition <https://arxiv.org/abs/1409.1556>`_, ICLR 2015
    """

    def __init__(self, config: VGGConfig, *, rngs: nnx.Rngs):
        self.config = config
        width = config.features[-1]
        self.stages = nnx.List()
        for count, out_width in zip(config.convs, config.widths, strict=True):
            convs = nnx.List()
            for _ in range(count):
                convs.append(_conv(width, out_width, config, rngs=rngs))
                width = out_width
            self.stages.append(convs)
        self.hidden = nnx.List()
        if not config.small_images:
            width *= _POOLED**2
            for _ in range(2):
                self.hidden.append(
                    nnx.Linear(
                        width,
                        config.hidden,
                        kernel_init=nnx.initializers.he_normal(),
                        dtype=config.dtype,
                        rngs=rngs,
                    )
                )
                width = config.hidden
        self.head = nnx.Linear(width, config.num_classes, rngs=rngs)

    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False
    ) -> Float[Array, "n k"]:
        """Classifies images.

        Args:
          images: Float images in [0, 1]; they are normalised here.
          train: Whether to normalise by the batch and update the running statistics,
            instead of normalising by those, where there is batch normalisation.

        Returns:
          float32 logits.

        Raises:
          ValueError: If the images are not of the size the model was built for.
        """
        config = self.config
        x = convnet_input(images, config)
        for stage, convs in enumerate(self.stages):
            for layer in convs:
                y = layer(x, train=train) if config.batch_norm else layer(x)
                x = jax.nn.relu(y)
            if stage < config.halvings:
                x = nnx.max_pool(x, (2, 2), (2, 2))
        if config.small_images:
            return self.head(global_mean(x))
        # Channels come first in the order that published weights expect.
        x = adaptive_mean(x, _POOLED).transpose(0, 3, 1, 2).reshape(len(x), -1)
        for layer in self.hidden:
            x = jax.nn.relu(layer(x))
        return self.head(x.astype(jnp.float32))

    def torch_tensors(self) -> list[TorchTensor]:
        """Returns where each tensor of torchvision's state dict goes."""
        tensors, index = [], 0
        for convs in self.stages:
            for layer in convs:
                name, norm_name = f"features.{index}", f"features.{index + 1}"
                if self.config.batch_norm:
                    tensors += conv_norm(name, norm_name, layer)
                else:
                    tensors += conv(name, layer)
                index += 3 if self.config.batch_norm else 2
            index += 1
        for index, layer in enumerate([*self.hidden, self.head]):
            tensors += linear(f"classifier.{3 * index}", layer)
        return tensors


def adaptive_mean(x: Float[Array, "n h w c"], side: int) -> Float[Array, "n s s c"]:
    """Averages over side x side windows that cover the features, of any size.

    Window i goes from i/side of the length, rounded down, to (i+1)/side of it, rounded
    up: windows overlap, or repeat pixels, where side does not divide the length.
    """
    if x.shape[1:3] == (side, side):
        return x
    for axis in (1, 2):
        length = x.shape[axis]
        windows = [
            jax.lax.slice_in_dim(
                x, i * length // side, -(-(i + 1) * length // side), axis=axis
            ).mean(axis=axis, keepdims=True)
            for i in range(side)
        ]
        x = jnp.concatenate(windows, axis=axis)
    return x


def _conv(
    width: int, out_width: int, config: VGGConfig, *, rngs: nnx.Rngs
) -> ConvNorm | nnx.Conv:
    if config.batch_norm:
        return ConvNorm(width, out_width, 3, bias=True, dtype=config.dtype, rngs=rngs)
    return nnx.Conv(
        width, out_width, (3, 3), padding=1, dtype=config.dtype,
        kernel_init=nnx.initializers.he_normal(), rngs=rngs,
    )  # fmt: skip
