"""Attention, as all transformers here compute it."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.models.config import ComputeDtype


class Attention(nnx.Module):
    """Self-attention: every token reads from all tokens of its set.

    Args:
      width: Of a token.
      heads: That share the width.
      dtype: Of matrix products; weights are normalised in float32.
      rngs: Source of the initial parameters.
    """

    def __init__(self, width: int, heads: int, *, dtype: ComputeDtype, rngs: nnx.Rngs):
        self.heads = heads
        self.qkv = nnx.Linear(width, 3 * width, dtype=dtype, rngs=rngs)
        self.project = nnx.Linear(width, width, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "*n t d"],
        bias: Float[Array, "... k t t"] | None = None,
    ) -> Float[Array, "*n t d"]:
        """Maps tokens to tokens.

        Args:
          x: Sets of t tokens.
          bias: Added to what each token (next to last axis) scores each other (last
            axis), per head, before the softmax; as many axes as `x`, and one more.
        """
        *sets, t, width = x.shape
        qkv = self.qkv(x).reshape(*sets, t, 3, self.heads, width // self.heads)
        query, key, value = jnp.moveaxis(qkv, -3, 0)
        # jax.nn.dot_product_attention has no gradient in bfloat16 under strict
        # promotion.
        scores = jnp.einsum(
            "...tkd,...skd->...kts", query, key, preferred_element_type=jnp.float32
        )
        scores = scores * query.shape[-1] ** -0.5
        if bias is not None:
            scores = scores + bias
        weights = jax.nn.softmax(scores).astype(value.dtype)
        y = jnp.einsum("...kts,...skd->...tkd", weights, value)
        return self.project(y.reshape(*sets, t, width))
