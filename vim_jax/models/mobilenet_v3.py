"""MobileNet V3: inverted residual blocks that a search arranged."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.config import ConvNetConfig
from vim_jax.models.inputs import convnet_input
from vim_jax.models.inverted_residual import InvertedResidual
from vim_jax.models.layers import ConvNorm, global_mean
from vim_jax.models.torch_weights import TorchTensor, conv_norm, linear

# torchvision's, for this architecture only.
_EPSILON, _MOMENTUM = 1e-3, 0.99


class Row(NamedTuple):
    """One block.

    Attributes:
      size: Side of the depthwise kernel.
      expanded: Channels inside the block.
      width: Channels of its output.
      squeeze: Whether it has a squeeze-excitation.
      hard_swish: Whether it is activated by hard swish, not ReLU.
      stride: 2 halves the sides.
    """

    size: int
    expanded: int
    width: int
    squeeze: bool
    hard_swish: bool
    stride: int


LARGE = (
    Row(3, 16, 16, False, False, 1),
    Row(3, 64, 24, False, False, 2),
    Row(3, 72, 24, False, False, 1),
    Row(5, 72, 40, True, False, 2),
    Row(5, 120, 40, True, False, 1),
    Row(5, 120, 40, True, False, 1),
    Row(3, 240, 80, False, True, 2),
    Row(3, 200, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 184, 80, False, True, 1),
    Row(3, 480, 112, True, True, 1),
    Row(3, 672, 112, True, True, 1),
    Row(5, 672, 160, True, True, 2),
    Row(5, 960, 160, True, True, 1),
    Row(5, 960, 160, True, True, 1),
)

SMALL = (
    Row(3, 16, 16, True, False, 2),
    Row(3, 72, 24, False, False, 2),
    Row(3, 88, 24, False, False, 1),
    Row(5, 96, 40, True, True, 2),
    Row(5, 240, 40, True, True, 1),
    Row(5, 240, 40, True, True, 1),
    Row(5, 120, 48, True, True, 1),
    Row(5, 144, 48, True, True, 1),
    Row(5, 288, 96, True, True, 2),
    Row(5, 576, 96, True, True, 1),
    Row(5, 576, 96, True, True, 1),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MobileNetV3Config(ConvNetConfig):
    """Shape of a `MobileNetV3`; by default that of MobileNetV3-Large.

    Attributes:
      small_images: Whether the stem, and the first block that would, keep the sides
        instead of halving them.
      stem_width: Channels of the stem.
      rows: Of blocks, each as `Row` says.
      hidden: Width of the hidden layer before the logits.
    """

    stem_width: int = 16
    rows: tuple[tuple[int, int, int, bool, bool, int], ...] = LARGE
    hidden: int = 1280

    def __post_init__(self):
        ConvNetConfig.__post_init__(self)
        if not self.rows:
            raise ValueError("rows is empty: use at least one block.")
        for row in self.rows:
            size, *_, stride = row
            if min(*row[:3], stride) < 1 or size % 2 == 0 or stride > 2:
                raise ValueError(
                    f"rows has {tuple(row)}: use size, expanded, width, squeeze, "
                    "hard_swish and stride, positive, with an odd size and a stride of "
                    "1 or 2."
                )
        strides = [row[5] for row in self.rows]
        self.check_shrinking(2 ** (strides.count(2) + (-1 if self.small_images else 1)))


class MobileNetV3(nnx.Module):
    """Network of inverted residuals with squeeze-excitation and hard swish.

    Dropout before the logits is left out: a model here holds no random keys.

    References:
      Howard et al, `Searching for MobileNetV3 <https://arxiv.org/abs/1905.02244>`_,
      ICCV 2019
    """

    def __init__(self, config: MobileNetV3Config, *, rngs: nnx.Rngs):
        self.config = config
        norm: Any = {"epsilon": _EPSILON, "momentum": _MOMENTUM}
        dtype, width = config.dtype, config.stem_width
        self.stem = ConvNorm(
            config.features[-1], width, 3, 1 if config.small_images else 2,
            **norm, dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.blocks = nnx.List()
        keeps_sides = config.small_images
        for row in map(Row._make, config.rows):
            stride = row.stride
            if stride > 1 and keeps_sides:
                stride, keeps_sides = 1, False
            self.blocks.append(
                InvertedResidual(
                    width,
                    row.expanded,
                    row.width,
                    row.size,
                    stride,
                    jax.nn.hard_swish if row.hard_swish else jax.nn.relu,
                    squeeze=_multiple_of_8(row.expanded // 4) if row.squeeze else 0,
                    **norm,
                    dtype=dtype,
                    rngs=rngs,
                )
            )
            width = row.width
        self.last = ConvNorm(width, 6 * width, 1, **norm, dtype=dtype, rngs=rngs)
        self.hidden = nnx.Linear(6 * width, config.hidden, dtype=dtype, rngs=rngs)
        self.head = nnx.Linear(config.hidden, config.num_classes, rngs=rngs)

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
        x = jax.nn.hard_swish(self.stem(x, train=train))
        for block in self.blocks:
            x = block(x, train=train)
        x = global_mean(jax.nn.hard_swish(self.last(x, train=train)))
        x = jax.nn.hard_swish(self.hidden(x))
        return self.head(x.astype(jnp.float32))

    def torch_tensors(self) -> list[TorchTensor]:
        """Returns where each tensor of torchvision's state dict goes."""
        tensors = conv_norm("features.0.0", "features.0.1", self.stem)
        for index, block in enumerate(self.blocks, 1):
            tensors += block.torch_tensors(f"features.{index}.block", flat_last=False)
        last = f"features.{len(self.blocks) + 1}"
        tensors += conv_norm(f"{last}.0", f"{last}.1", self.last)
        tensors += linear("classifier.0", self.hidden)
        return tensors + linear("classifier.3", self.head)


def _multiple_of_8(number: int) -> int:
    """Rounds to a multiple of 8 at least 8, but not down by more than a tenth."""
    rounded = max(8, (number + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * number else rounded
