"""The quadtree that plans are cut from: blocks of 2, 4, 8, ... pixels, with scores."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax._types import Channels
from vim_jax.grids import Blocks, grid_energy, quarters
from vim_jax.moments import divide

_SCORE_UNIT = 1 << 13  # In energy units per pixel and pixel of block area.
_SCORE_BITS = 22


def _stretch(x: jax.Array, factor: int) -> jax.Array:
    return jnp.repeat(jnp.repeat(x, factor, axis=0), factor, axis=1)


class Quadtree(NamedTuple):
    """Blocks of 2, 4, ... pixels: one `rows cols` array a level.

    Attributes:
      gains: int64, energy that a block adds over its four quarters.
      thresholds: int64, a block is (part of) a region when the threshold is this or
        lower. Above its parent's, and no two are equal, so that plans change by one
        block at a time.
    """

    gains: list[jax.Array]
    thresholds: list[jax.Array]

    @property
    def threshold_bits(self) -> int:
        """Thresholds are below 2 to this power."""
        return _SCORE_BITS + _tie_bits(self.thresholds)

    def size(self, threshold: jax.Array, shape: tuple[int, int]) -> jax.Array:
        """Returns the int32 `h w` sizes of the plan for a threshold."""
        h, w = shape
        size = jnp.ones((h, w), jnp.int32)
        for level, own in enumerate(self.thresholds, 1):
            merged = _stretch(own >= threshold, 2**level)[:h, :w]
            size = jnp.where(merged, jnp.int32(2**level), size)
        return size

    def gain(self, threshold: jax.Array) -> jax.Array:
        """Returns the energy that the plan for a threshold adds, about.

        Exact for uniform plans; across a border between regions of different sizes,
        half of the step between the means is taken as for the one size, half as for
        the other.
        """
        return sum(
            (
                jnp.where(own >= threshold, gain, 0).sum()
                for gain, own in zip(self.gains, self.thresholds, strict=True)
            ),
            start=jnp.int64(0),
        )


def quadtree(values: jax.Array, depth: int, channels: Channels) -> Quadtree:
    """Returns the scored quadtree of an int64 `h w c` image."""
    h, w, c = values.shape
    side = 2**depth
    padding = ((0, -h % side), (0, -w % side))
    padded = jnp.pad(values, (*padding, (0, 0)))
    blocks = Blocks(
        jnp.pad(jnp.ones(h, jnp.int64), padding[0]),
        jnp.pad(jnp.ones(w, jnp.int64), padding[1]),
        padded,
        padded * padded,
    )
    energy = grid_energy(blocks, "independent", c)
    gains, scores = [], []
    for level in range(1, depth + 1):
        blocks = Blocks(
            blocks.heights.reshape(-1, 2).sum(1),
            blocks.widths.reshape(-1, 2).sum(1),
            quarters(blocks.totals),
            quarters(blocks.squares),
        )
        merged = grid_energy(blocks, channels, c)
        gains.append(merged - quarters(energy))
        pixels = jnp.maximum(blocks.heights[:, None] * blocks.widths[None], 1)
        score = divide(jnp.maximum(gains[-1], 0), pixels * (_SCORE_UNIT * 4**level))
        scores.append(jnp.minimum(score, 2**_SCORE_BITS - 1))
        energy = merged
    return Quadtree(gains, _thresholds(scores))


def _thresholds(scores: list[jax.Array]) -> list[jax.Array]:
    """Returns scores raised to the parent's where that is higher, with ties broken.

    Lower levels come first, so that a block's quarters are regions before the block.
    """
    raised = scores[-1:]
    for score in scores[-2::-1]:
        parent = _stretch(raised[0], 2)[: score.shape[0], : score.shape[1]]
        raised.insert(0, jnp.maximum(score, parent))
    ties = _tie_bits(scores)
    ranks = np.split(
        2**ties - 1 - np.arange(sum(score.size for score in scores)),
        np.cumsum([score.size for score in scores])[:-1],
    )
    return [
        (score << ties) + rank.reshape(score.shape)
        for score, rank in zip(raised, ranks, strict=True)
    ]


def _tie_bits(scores: list[jax.Array]) -> int:
    return max(1, sum(score.size for score in scores).bit_length())
