"""Layers that several architectures share."""

from typing import Literal, TypeAlias

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

ComputeDtype: TypeAlias = Literal["float32", "bfloat16"]
"""Of convolutions and matrix products. Parameters and normalisation stay in float32."""


def check_compute_dtype(dtype: str) -> None:
    """Raise a ValueError unless `dtype` is one of `ComputeDtype`."""
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f'dtype is {dtype!r}: use "float32" or "bfloat16".')


class ConvNorm(nnx.Module):
    """A convolution without bias, then batch normalisation.

    The convolution is padded by half its size on every side. Normalisation averages
    over the whole batch, across devices too, when the batch is sharded under `jax.jit`;
    the running statistics keep nine tenths a step.
    """

    def __init__(
        self,
        width: int,
        out_width: int,
        size: int,
        stride: int = 1,
        *,
        dtype: ComputeDtype,
        rngs: nnx.Rngs,
    ):
        # This padding keeps a strided grid that of `x[:, ::stride, ::stride]`; "SAME"
        # would shift it by a pixel when the side is even.
        self.conv = nnx.Conv(
            width, out_width, (size, size), stride, padding=size // 2, use_bias=False,
            kernel_init=nnx.initializers.he_normal(), dtype=dtype, rngs=rngs,
        )  # fmt: skip
        self.norm = nnx.BatchNorm(out_width, momentum=0.9, dtype=jnp.float32, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n h w c"], *, train: bool
    ) -> Float[Array, "n h2 w2 c2"]:
        """Map features to features of the compute dtype.

        Args:
          x: Features of any float dtype.
          train: Whether to normalise by the batch and update the running statistics,
            instead of normalising by those.
        """
        y = self.conv(x)
        return self.norm(y, use_running_average=not train).astype(y.dtype)
