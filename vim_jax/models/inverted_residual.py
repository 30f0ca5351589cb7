"""The block that MobileNet V2 and V3 are made of."""

from collections.abc import Callable

import jax
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.config import ComputeDtype
from vim_jax.models.layers import ConvNorm, global_mean
from vim_jax.models.torch_weights import TorchTensor, conv_norm, patch_linear


class InvertedResidual(nnx.Module):
    """Widens by a 1x1 convolution, convolves depthwise, and narrows again.

    The input is added where the shape stays.

    Args:
      width: Channels of the input.
      expanded: Channels in between; if the same as `width`, nothing is widened.
      out_width: Channels of the output.
      size: Side of the depthwise kernel.
      stride: Of the depthwise convolution.
      activation: After all convolutions but the last, which has none.
      squeeze: Channels in the middle of a squeeze-excitation; 0 for none.
      epsilon: Of the normalisations.
      momentum: Of the normalisations.
      dtype: Of convolutions and matrix products.
      rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        width: int,
        expanded: int,
        out_width: int,
        size: int,
        stride: int,
        activation: Callable[[jax.Array], jax.Array],
        *,
        squeeze: int = 0,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        dtype: ComputeDtype,
        rngs: nnx.Rngs,
    ):
        def conv(*args, depthwise: bool = False) -> ConvNorm:
            return ConvNorm(
                *args, depthwise=depthwise, epsilon=epsilon, momentum=momentum,
                dtype=dtype, rngs=rngs,
            )  # fmt: skip

        self.activation = activation
        self.adds_input = stride == 1 and width == out_width
        self.widen = nnx.data(None)
        if expanded != width:
            self.widen = conv(width, expanded, 1)
        self.depthwise = conv(expanded, expanded, size, stride, depthwise=True)
        self.squeeze = nnx.data(None)
        if squeeze:
            self.squeeze = SqueezeExcite(expanded, squeeze, dtype=dtype, rngs=rngs)
        self.narrow = conv(expanded, out_width, 1)

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h2 w2 c2"]:
        """Maps features to features, of half the sides when the stride is 2."""
        y = x
        if self.widen is not None:
            y = self.activation(self.widen(y, train=train))
        y = self.activation(self.depthwise(y, train=train))
        if self.squeeze is not None:
            y = self.squeeze(y)
        y = self.narrow(y, train=train)
        return x.astype(y.dtype) + y if self.adds_input else y

    def torch_tensors(self, name: str, *, flat_last: bool) -> list[TorchTensor]:
        """Returns where the tensors of torchvision's block `name` go.

        Args:
          name: Of its sequence of layers.
          flat_last: Whether the last convolution and its normalisation are members of
            that sequence, instead of a sequence of their own.
        """
        tensors, index = [], 0
        for layer in (self.widen, self.depthwise):
            if layer is not None:
                inner = f"{name}.{index}"
                tensors += conv_norm(f"{inner}.0", f"{inner}.1", layer)
                index += 1
        if self.squeeze is not None:
            tensors += patch_linear(f"{name}.{index}.fc1", self.squeeze.down, 1)
            tensors += patch_linear(f"{name}.{index}.fc2", self.squeeze.up, 1)
            index += 1
        if flat_last:
            names = f"{name}.{index}", f"{name}.{index + 1}"
        else:
            names = f"{name}.{index}.0", f"{name}.{index}.1"
        return tensors + conv_norm(*names, self.narrow)


class SqueezeExcite(nnx.Module):
    """Scales each channel by a number in [0, 1] that depends on all channels' means.

    References:
      Hu et al, `Squeeze-and-Excitation Networks <https://arxiv.org/abs/1709.01507>`_,
      CVPR 2018
    """

    def __init__(
        self, width: int, squeezed: int, *, dtype: ComputeDtype, rngs: nnx.Rngs
    ):
        self.down = nnx.Linear(width, squeezed, dtype=dtype, rngs=rngs)
        self.up = nnx.Linear(squeezed, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
        """Maps features to features."""
        scale = self.up(jax.nn.relu(self.down(global_mean(x))))
        return x * jax.nn.hard_sigmoid(scale)[:, None, None].astype(x.dtype)
