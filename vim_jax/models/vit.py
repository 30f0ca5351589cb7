"""Vision transformers, whose patches can match the regions of mixed images."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.inputs import standardize
from vim_jax.models.layers import ComputeDtype, check_compute_dtype


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ViTConfig:
    """Shape of a `ViT`.

    Attributes:
      num_classes: Number of logits.
      image_size: Height and width of the images, in pixels.
      channels: Channels of the images.
      patch_size: Side of a square patch, in pixels; divides height and width.
      dim: Width of a token; divisible by heads.
      depth: Number of transformer blocks.
      heads: Attention heads of a block.
      mlp_ratio: Width of a block's hidden layer, in units of dim.
      patch_encoder: "linear" embeds the pixels of a patch in their order.
        "sorted" first sorts them, each channel on its own, so that permuting the
        pixels of a patch within a channel changes nothing.
      position_embedding: Whether a token knows where its patch was. Without it
        permuting the patches of an image changes nothing.
      position_stddev: Standard deviation of the initial position embedding. On the
        scale of the embedded pixels, as by default, small sets do not get learned by
        heart before positions count: of scikit-learn's digits, 1,024 to train on,
        91 % were recognised after 15 epochs, and 69 % with the usual 0.02.
      pool: What the logits are read off: "mean", the mean of the tokens, or "token",
        one more token, learned, that is no patch.
      dtype: Of matrix products and attention, "float32" or "bfloat16".
    """

    num_classes: int
    image_size: tuple[int, int]
    channels: int = 3
    patch_size: int = 4
    dim: int = 96
    depth: int = 3
    heads: int = 3
    mlp_ratio: int = 4
    patch_encoder: Literal["linear", "sorted"] = "linear"
    position_embedding: bool = True
    position_stddev: float = 0.5
    pool: Literal["mean", "token"] = "mean"
    dtype: ComputeDtype = "float32"

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and not isinstance(value, bool) and value < 1:
                raise ValueError(f"{field.name} is {value}: use at least 1.")
        if any(side % self.patch_size or side < 1 for side in self.image_size):
            raise ValueError(
                f"image_size {self.image_size} does not divide into patches of "
                f"patch_size {self.patch_size}: pass a patch_size that divides both "
                "sides, or resize the images."
            )
        if self.dim % self.heads:
            raise ValueError(
                f"dim {self.dim} is not divisible by heads {self.heads}: "
                f"use a multiple, such as {self.heads * (self.dim // self.heads + 1)}."
            )
        if self.patch_encoder not in ("linear", "sorted"):
            raise ValueError(
                f'patch_encoder is {self.patch_encoder!r}: use "linear" or "sorted".'
            )
        if self.pool not in ("mean", "token"):
            raise ValueError(f'pool is {self.pool!r}: use "mean" or "token".')
        check_compute_dtype(self.dtype)


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
        self.norm = _layer_norm(dim, rngs=rngs)
        self.head = nnx.Linear(dim, config.num_classes, rngs=rngs)

    def __call__(
        self, images: Float[Array, "n h w c"], *, train: bool = False
    ) -> Float[Array, "n k"]:
        """Classify images.

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
        x = standardize(images, (*config.image_size, config.channels))
        x = _patches(x, config.patch_size)
        if config.patch_encoder == "sorted":
            x = jnp.sort(x, axis=2)
        x = self.embed(x.reshape(*x.shape[:2], -1))
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


class Block(nnx.Module):
    """Self-attention, then a two-layer perceptron, each added to its input."""

    def __init__(self, config: ViTConfig, *, rngs: nnx.Rngs):
        dim, hidden, dtype = config.dim, config.mlp_ratio * config.dim, config.dtype
        self.heads = config.heads
        self.norm1 = _layer_norm(dim, rngs=rngs)
        self.qkv = nnx.Linear(dim, 3 * dim, dtype=dtype, rngs=rngs)
        self.project = nnx.Linear(dim, dim, dtype=dtype, rngs=rngs)
        self.norm2 = _layer_norm(dim, rngs=rngs)
        self.up = nnx.Linear(dim, hidden, dtype=dtype, rngs=rngs)
        self.down = nnx.Linear(hidden, dim, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        """Map tokens to tokens."""
        n, t, dim = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, dim // self.heads)
        query, key, value = jnp.moveaxis(qkv, 2, 0)
        x = x + self.project(_attend(query, key, value).reshape(n, t, dim))
        return x + self.down(jax.nn.gelu(self.up(self.norm2(x))))


def _attend(
    query: Float[Array, "n t k d"],
    key: Float[Array, "n t k d"],
    value: Float[Array, "n t k d"],
) -> Float[Array, "n t k d"]:
    """Return dot-product attention of k heads.

    `jax.nn.dot_product_attention` has no gradient in bfloat16 under strict promotion.
    """
    scores = jnp.einsum(
        "ntkd,nskd->nkts", query, key, preferred_element_type=jnp.float32
    )
    weights = jax.nn.softmax(scores * query.shape[-1] ** -0.5)
    return jnp.einsum("nkts,nskd->ntkd", weights.astype(value.dtype), value)


def _layer_norm(dim: int, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(dim, dtype=jnp.float32, rngs=rngs)


def _patches(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n t p c"]:
    """Cut images into square patches, row by row, each a list of pixels."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // size, size, w // size, size, c).swapaxes(2, 3)
    return x.reshape(n, (h // size) * (w // size), size * size, c)
