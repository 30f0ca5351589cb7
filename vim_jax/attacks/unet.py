"""The network that attackers restore images with."""

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32


class UNet(nnx.Module):
    """A U-Net that adds to the guide, which is among its inputs.

    References:
      Ronneberger et al., `U-Net: Convolutional Networks for Biomedical Image
      Segmentation <https://arxiv.org/abs/1505.04597>`_, MICCAI 2015.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int, *, rngs: nnx.Rngs
    ):
        self.outputs, self.depth = outputs, depth
        widths = [width << level for level in range(depth + 1)]
        self.down = nnx.List([_Block(inputs, width, rngs=rngs)])
        for narrow, wide in itertools.pairwise(widths):
            self.down.append(_Block(narrow, wide, rngs=rngs))
        self.up = nnx.List(
            [
                _Block(narrow + wide, narrow, rngs=rngs)
                for narrow, wide in itertools.pairwise(widths)
            ]
        )
        self.head = nnx.Conv(
            width, outputs, (1, 1), kernel_init=nnx.initializers.zeros_init(), rngs=rngs
        )

    def __call__(self, x: Float[Array, "n h w k"]) -> Float32[Array, "n h w c"]:
        """Returns pictures, 0 to 1 and a little beyond."""
        h, w = x.shape[1:3]
        guide = x[..., self.outputs : 2 * self.outputs]
        step = 1 << self.depth
        x = jnp.pad(x, ((0, 0), (0, -h % step), (0, -w % step), (0, 0)), mode="edge")
        passed = []
        for level, block in enumerate(self.down):
            if level:
                x = nnx.avg_pool(x, (2, 2), (2, 2))
            x = block(x)
            passed.append(x)
        for level in reversed(range(self.depth)):
            skipped = passed[level]
            larger = jax.image.resize(
                x, (*skipped.shape[:3], x.shape[-1]), method="nearest"
            )
            x = self.up[level](jnp.concatenate([skipped, larger], axis=-1))
        return guide + self.head(x)[:, :h, :w]


class _Block(nnx.Module):
    """Two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.first = nnx.Conv(inputs, outputs, (3, 3), rngs=rngs)
        self.second = nnx.Conv(outputs, outputs, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.gelu(self.second(nnx.gelu(self.first(x))))
