"""Layers that several architectures share."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.config import ComputeDtype


class ConvNorm(nnx.Module):
    """A convolution, then batch normalisation.

    The convolution is padded by half its size on every side. Normalisation averages
    over the whole batch, across devices too, when the batch is sharded under `jax.jit`.

    Args:
      width: Channels of the input.
      out_width: Channels of the output.
      size: Side of the kernel, odd.
      stride: Of the convolution.
      depthwise: Whether each channel is convolved by itself; `out_width` is then
        `width`.
      bias: Whether the convolution adds a bias, which normalisation makes superfluous,
        but some published networks have it.
      epsilon: Added to the variance.
      momentum: What the running statistics keep a step.
      dtype: Of the convolution.
      rngs: Source of the initial parameters.
    """

    def __init__(
        self,
        width: int,
        out_width: int,
        size: int,
        stride: int = 1,
        *,
        depthwise: bool = False,
        bias: bool = False,
        epsilon: float = 1e-5,
        momentum: float = 0.9,
        dtype: ComputeDtype,
        rngs: nnx.Rngs,
    ):
        # This padding keeps a strided grid that of `x[:, ::stride, ::stride]`; "SAME"
        # would shift it by a pixel when the side is even.
        self.conv = nnx.Conv(
            width, out_width, (size, size), stride, padding=size // 2, use_bias=bias,
            feature_group_count=width if depthwise else 1,
            conv_general_dilated=(
                depthwise_conv if depthwise else jax.lax.conv_general_dilated
            ),
            kernel_init=nnx.initializers.he_normal(), dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.norm = nnx.BatchNorm(
            out_width, momentum=momentum, epsilon=epsilon, dtype=jnp.float32, rngs=rngs
        )

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h2 w2 c2"]:
        """Maps features to features of the compute dtype.

        Args:
          x: Features of any float dtype.
          train: Whether to normalise by the batch and update the running statistics,
            instead of normalising by those.
        """
        y = self.conv(x)
        return self.norm(y, use_running_average=not train).astype(y.dtype)


def depthwise_conv(
    x: Float[Array, "n h w c"],
    kernel: Float[Array, "k k 1 c"],
    strides: tuple[int, int],
    padding: list[tuple[int, int]],
    **unused,
) -> Float[Array, "n h2 w2 c"]:
    """Convolves each channel by itself; what `nnx.Conv` calls to convolve.

    It adds up shifted images, which XLA fuses. On a CPU that is many times as fast as
    XLA's grouped convolution.

    Args:
      x: Features.
      kernel: Of each channel.
      strides: Along height and width.
      padding: Before and after height and width.
      **unused: What else `nnx.Conv` passes; its defaults are assumed.

    Returns:
      Features of the dtype of `x`, accumulated in float32.
    """
    del unused
    x32 = jnp.pad(x.astype(jnp.float32), ((0, 0), *padding, (0, 0)))
    down, right = strides
    rows, columns = x32.shape[1] - len(kernel) + 1, x32.shape[2] - len(kernel) + 1
    shifted = (
        x32[:, i : i + rows : down, j : j + columns : right]
        * kernel[i, j, 0].astype(jnp.float32)[None, None, None]
        for i in range(len(kernel))
        for j in range(len(kernel))
    )
    return sum(shifted, jnp.float32(0)).astype(x.dtype)


def max_pool_3x3(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """Halves the sides, rounding up: maxima of 3x3 windows, one pixel padded."""
    return nnx.max_pool(x, (3, 3), (2, 2), padding=((1, 1), (1, 1)))  # pyright: ignore


def global_mean(x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
    """Averages over all positions, in float32."""
    return x.astype(jnp.float32).mean(axis=(1, 2))


def layer_norm(width: int, *, epsilon: float = 1e-6, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Returns a layer normalisation that computes in float32."""
    return nnx.LayerNorm(width, epsilon=epsilon, dtype=jnp.float32, rngs=rngs)


class MLP(nnx.Module):
    """The two-layer perceptron of transformer blocks."""

    def __init__(self, width: int, hidden: int, *, dtype: ComputeDtype, rngs: nnx.Rngs):
        self.up = nnx.Linear(width, hidden, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(hidden, width, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "*n d"]) -> Float[Array, "*n d"]:
        """Maps tokens to tokens, each by itself."""
        return self.down(jax.nn.gelu(self.up(x), approximate=False))
