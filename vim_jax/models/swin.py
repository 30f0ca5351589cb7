"""Swin transformers: attention within windows that shift from block to block."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from vim_jax.models.attention import Attention
from vim_jax.models.config import (
    ComputeDtype,
    TransformerConfig,
    check_heads,
    check_stages,
)
from vim_jax.models.inputs import patches
from vim_jax.models.layers import MLP, global_mean, layer_norm
from vim_jax.models.torch_weights import (
    TorchTensor,
    array,
    linear,
    mlp,
    norm,
    patch_linear,
)

_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SwinConfig(TransformerConfig):
    """Shape of a `Swin`; by default that of Swin-T.

    Attributes:
      dim: Width of a token in the first stage. It doubles from stage to stage, where
        the sides of the grid of tokens are halved.
      depths: Blocks of each stage.
      heads: Attention heads of each stage.
      window: Side of a window, in tokens. Grids that it does not divide are padded.
    """

    dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7

    def __post_init__(self):
        TransformerConfig.__post_init__(self)
        check_stages(self, "depths", "heads")
        for stage, heads in enumerate(self.heads):
            check_heads(f"stage {stage}'s width", self.dim * 2**stage, heads)


class Swin(nnx.Module):
    """Hierarchical vision transformer with shifted windows.

    Guarantee, up to floating-point rounding: with the "sorted" patch encoder the
    logits do not change when the values of a patch are permuted among themselves, in
    each channel separately.

    Stochastic depth is left out: a model here holds no random keys.

    References:
      Liu et al, `Swin Transformer: Hierarchical Vision Transformer using Shifted
      Windows <https://arxiv.org/abs/2103.14030>`_, ICCV 2021
    """

    def __init__(self, config: SwinConfig, *, rngs: nnx.Rngs):
        self.config = config
        dim, dtype = config.dim, config.dtype
        self.embed = nnx.Linear(
            config.patch_size**2 * config.channels, dim, dtype=dtype, rngs=rngs
        )
        self.embed_norm = layer_norm(dim, epsilon=_EPSILON, rngs=rngs)
        self.stages = nnx.List()
        self.merges = nnx.List()
        for stage, (depth, heads) in enumerate(
            zip(config.depths, config.heads, strict=True)
        ):
            if stage > 0:
                self.merges.append(Merge(dim, dtype=dtype, rngs=rngs))
                dim *= 2
            blocks = nnx.List()
            for index in range(depth):
                shift = config.window // 2 if index % 2 else 0
                blocks.append(Block(dim, heads, shift, config, rngs=rngs))
            self.stages.append(blocks)
        self.norm = layer_norm(dim, epsilon=_EPSILON, rngs=rngs)
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
        x = self.embed(patches(images, self.config))
        x = self.embed_norm(x).astype(x.dtype)
        for stage, blocks in enumerate(self.stages):
            if stage > 0:
                x = self.merges[stage - 1](x)
            for block in blocks:
                x = block(x)
        return self.head(global_mean(self.norm(x)))

    def torch_tensors(self) -> list[TorchTensor]:
        """Returns where each tensor of torchvision's state dict goes."""
        tensors = patch_linear("features.0.0", self.embed, self.config.patch_size)
        tensors += norm("features.0.2", self.embed_norm)
        for stage, blocks in enumerate(self.stages):
            for index, block in enumerate(blocks):
                tensors += block.torch_tensors(f"features.{2 * stage + 1}.{index}")
        for stage, merge in enumerate(self.merges, 1):
            tensors += merge.torch_tensors(f"features.{2 * stage}")
        return tensors + norm("norm", self.norm) + linear("head", self.head)


class Block(nnx.Module):
    """Windowed attention, then a two-layer perceptron, each added to its input.

    Args:
      dim: Width of a token.
      heads: Attention heads.
      shift: By how many tokens the windows are shifted, down and to the right.
      config: Of the network.
      rngs: Source of the initial parameters.
    """

    def __init__(
        self, dim: int, heads: int, shift: int, config: SwinConfig, *, rngs: nnx.Rngs
    ):
        dtype = config.dtype
        self.window, self.shift = config.window, shift
        self.norm1 = layer_norm(dim, epsilon=_EPSILON, rngs=rngs)
        self.attention = Attention(dim, heads, dtype=dtype, rngs=rngs)
        offsets = (2 * config.window - 1) ** 2
        bias = nnx.initializers.truncated_normal(0.02)(rngs.params(), (offsets, heads))
        self.position_bias = nnx.Param(bias)
        self.norm2 = layer_norm(dim, epsilon=_EPSILON, rngs=rngs)
        self.mlp = MLP(dim, config.mlp_ratio * dim, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "n h w d"]) -> Float[Array, "n h w d"]:
        """Maps tokens to tokens."""
        x = x + self.attend(self.norm1(x)).astype(x.dtype)
        return x + self.mlp(self.norm2(x)).astype(x.dtype)

    def attend(self, x: Float[Array, "n h w d"]) -> Float[Array, "n h w d"]:
        """Lets the tokens of each window attend to each other."""
        _, h, w, _ = x.shape
        side = self.window
        x = jnp.pad(x, ((0, 0), (0, -h % side), (0, -w % side), (0, 0)))
        rows, columns = x.shape[1:3]
        # One window has nowhere to shift to.
        shift = self.shift * (rows > side), self.shift * (columns > side)
        x = jnp.roll(x, (-shift[0], -shift[1]), (1, 2))
        windows = _windows(x, side)
        # [k, t, t], and the windows' axis before it.
        bias = self.position_bias[...][relative_positions(side)].transpose(2, 0, 1)
        bias = bias[None]
        if any(shift):
            together = neighbours((rows, columns), side, shift)[:, None]
            bias = jnp.where(together, bias, -jnp.inf)
        windows = self.attention(windows, bias[None])
        x = _from_windows(windows, (rows, columns), side)
        return jnp.roll(x, shift, (1, 2))[:, :h, :w]

    def torch_tensors(self, name: str) -> list[TorchTensor]:
        """Returns where the tensors of torchvision's block `name` go."""
        attention = f"{name}.attn"
        return [
            *norm(f"{name}.norm1", self.norm1),
            *linear(f"{attention}.qkv", self.attention.qkv),
            *linear(f"{attention}.proj", self.attention.project),
            array(f"{attention}.relative_position_bias_table", self.position_bias),
            *norm(f"{name}.norm2", self.norm2),
            *mlp(f"{name}.mlp", self.mlp),
        ]


class Merge(nnx.Module):
    """Makes one token of each 2x2: half the sides, twice the width."""

    def __init__(self, dim: int, *, dtype: ComputeDtype, rngs: nnx.Rngs):
        self.norm = layer_norm(4 * dim, epsilon=_EPSILON, rngs=rngs)
        self.reduce = nnx.Linear(
            4 * dim, 2 * dim, use_bias=False, dtype=dtype, rngs=rngs
        )

    def __call__(self, x: Float[Array, "n h w d"]) -> Float[Array, "n h2 w2 d2"]:
        """Maps tokens to tokens; odd sides are padded."""
        _, h, w, _ = x.shape
        x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))
        # Column by column within the four, the order of published weights.
        four = [x[:, i::2, j::2] for j in range(2) for i in range(2)]
        return self.reduce(self.norm(jnp.concatenate(four, axis=-1)))

    def torch_tensors(self, name: str) -> list[TorchTensor]:
        """Returns where the tensors of torchvision's layer `name` go."""
        return [
            *norm(f"{name}.norm", self.norm),
            *linear(f"{name}.reduction", self.reduce),
        ]


def relative_positions(side: int) -> Int[np.ndarray, "t t"]:
    """Numbers offsets between two tokens of a window: rows first, from -side + 1."""
    place = np.indices((side, side)).reshape(2, -1)
    down, right = place[:, :, None] - place[:, None, :] + side - 1
    return down * (2 * side - 1) + right


def neighbours(
    grid: tuple[int, int], side: int, shift: tuple[int, int]
) -> Bool[np.ndarray, "windows t t"]:
    """Tells which tokens of a window were neighbours before the grid was rolled.

    Rolling brings the first rows and columns behind the last ones, into windows where
    they do not belong.
    """
    wrapped = [
        np.arange(length) >= length - offset
        for length, offset in zip(grid, shift, strict=True)
    ]
    parts = 2 * wrapped[0][:, None] + wrapped[1]
    parts = parts.reshape(grid[0] // side, side, grid[1] // side, side)
    parts = parts.swapaxes(1, 2).reshape(-1, side * side)
    return parts[:, :, None] == parts[:, None, :]


def _windows(x: Float[Array, "n h w d"], side: int) -> Float[Array, "n windows t d"]:
    n, h, w, d = x.shape
    x = x.reshape(n, h // side, side, w // side, side, d).swapaxes(2, 3)
    return x.reshape(n, -1, side * side, d)


def _from_windows(
    x: Float[Array, "n windows t d"], grid: tuple[int, int], side: int
) -> Float[Array, "n h w d"]:
    n, *_, d = x.shape
    h, w = grid
    x = x.reshape(n, h // side, w // side, side, side, d).swapaxes(2, 3)
    return x.reshape(n, h, w, d)
