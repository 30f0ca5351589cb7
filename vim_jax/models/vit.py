"""Vision transformers, whose patches can match the regions of mixed images."""

import dataclasses
import functools
import math
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.attention import Attention
from vim_jax.models.config import TransformerConfig, check_heads
from vim_jax.models.inputs import patches
from vim_jax.models.layers import MLP, layer_norm
from vim_jax.models.torch_weights import (
    TorchTensor,
    array,
    linear,
    mlp,
    norm,
    patch_linear,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ViTConfig(TransformerConfig):
    """Shape of a `ViT`.

    Attributes:
      dim: Width of a token; divisible by heads.
      depth: Number of transformer blocks.
      heads: Attention heads of a block.
      position_embedding: Whether a token knows where its patch was. Without it
        permuting the patches of an image changes nothing.
      position_stddev: Standard deviation of the initial position embedding. On the
        scale of the embedded pixels, as by default, and not the usual 0.02, small sets
        do not get learned by heart before positions count.
      pool: What the logits are read off: "mean", the mean of the tokens, or "token",
        one more token, learned, that is no patch.
    """

    dim: int = 96
    depth: int = 3
    heads: int = 3
    position_embedding: bool = True
    position_stddev: float = 0.5
    pool: Literal["mean", "token"] = "mean"

    def __post_init__(self):
        TransformerConfig.__post_init__(self)
        check_heads("dim", self.dim, self.heads)


class ViT(nnx.Module):
    """Vision transformer with pre-norm blocks.

    Guarantees, up to floating-point rounding:

    * With the "sorted" patch encoder the logits do not change when the values of
      a patch are permuted among themselves, in each channel separately.
    * Without position embedding they do not change when patches trade places.

    Both hold for patches, so regions benefit when they are the patches: equal
    size, same grid. A permutation that moves values across channels is outside
    the first guarantee.

    References:
      Dosovitskiy et al, `An Image is Worth 16x16 Words: Transformers for Image
      Recognition at Scale <https://arxiv.org/abs/2010.11929>`_, ICLR 2021
    """

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        self.config = config
        height, width = config.image_size
        patch, dim = config.patch_size, config.dim
        tokens = (height // patch) * (width // patch)
        self.embed = nnx.Linear(
            patch * patch * config.channels, dim, dtype=config.dtype, rngs=rngs
        )
        if config.pool == "token":
            tokens += 1
            self.token = nnx.Param(jnp.zeros([dim]))
        if config.position_embedding:
            position = jax.random.normal(rngs.params(), (tokens, dim))
            self.position = nnx.Param(config.position_stddev * position)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.depth)])
        self.norm = layer_norm(dim, rngs=rngs)
        self.head = nnx.Linear(dim, config.num_classes, rngs=rngs)

    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False
    ) -> Float[Array, "n k"]:
        """Classifies images.

        Args:
          images: Float images in [0, 1]; they are normalised here.
          train: Accepted as by every model; this one has nothing that differs.

        Returns:
          float32 logits.

        Raises:
          ValueError: If the images are not of the size the model was built for.
        """
        del train
        config = self.config
        x = patches(images, config)
        x = self.embed(x.reshape(len(x), -1, x.shape[-1]))
        if config.pool == "token":
            token = self.token[...].astype(x.dtype)
            token = jnp.broadcast_to(token, (len(x), 1, config.dim))
            x = jnp.concatenate([token, x], axis=1)
        if config.position_embedding:
            x = x + self.position[...][None].astype(x.dtype)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return self.head(x[:, 0] if config.pool == "token" else x.mean(axis=1))

    def torch_tensors(self) -> list[TorchTensor]:
        """Returns where each tensor of torchvision's state dict goes."""
        tensors = patch_linear("conv_proj", self.embed, self.config.patch_size)
        if self.config.pool == "token":
            tensors.append(array("class_token", self.token, leading_ones=2))
        if self.config.position_embedding:
            positions = array("encoder.pos_embedding", self.position, leading_ones=1)
            grid = [side // self.config.patch_size for side in self.config.image_size]
            resize = functools.partial(_resized, shape=positions.shape, grid=grid)
            tensors.append(positions._replace(resize=resize))
        for index, block in enumerate(self.blocks):
            tensors += block.torch_tensors(f"encoder.layers.encoder_layer_{index}")
        tensors += norm("encoder.ln", self.norm)
        return tensors + linear("heads.head", self.head)


class Block(nnx.Module):
    """Self-attention, then a two-layer perceptron, each added to its input."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        dim, dtype = config.dim, config.dtype
        self.norm1 = layer_norm(dim, rngs=rngs)
        self.attention = Attention(dim, config.heads, dtype=dtype, rngs=rngs)
        self.norm2 = layer_norm(dim, rngs=rngs)
        self.mlp = MLP(dim, config.mlp_ratio * dim, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        """Maps tokens to tokens."""
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def torch_tensors(self, name: str) -> list[TorchTensor]:
        """Returns where the tensors of torchvision's block `name` go."""
        attention = f"{name}.self_attention"
        return [
            *norm(f"{name}.ln_1", self.norm1),
            *linear(f"{attention}.in_proj", self.attention.qkv, separator="_"),
            *linear(f"{attention}.out_proj", self.attention.project),
            *norm(f"{name}.ln_2", self.norm2),
            *mlp(f"{name}.mlp", self.mlp),
        ]


def _resized(
    embedding: np.ndarray, *, shape: tuple[int, ...], grid: list[int]
) -> np.ndarray:
    """Resizes a position embedding to that of a grid of patches.

    Args:
      embedding: Of the tokens that are no patches, then of a square grid of patches,
        row by row: [1, t, d]. An array of another kind, or of the shape of the result,
        is returned as it is.
      shape: Of the result, [1, t2, d].
      grid: Patches along height and width, in the result.
    """
    others = shape[1] - math.prod(grid)
    side = math.isqrt(max(embedding.size // shape[2] - others, 0))
    is_square = embedding.shape == (1, others + side**2, shape[2]) and side > 0
    if embedding.shape == shape or not is_square:
        return embedding
    squares = embedding[:, others:].reshape(side, side, -1)
    patches = jax.image.resize(squares, (*grid, shape[2]), "cubic")
    return np.concatenate(
        [embedding[:, :others], np.asarray(patches).reshape(1, -1, shape[2])], axis=1
    )
