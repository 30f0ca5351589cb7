"""The quadtree that plans are cut from, on the host; see `vim_jax.quadtree`.

The numbers are the same, of all that lies inside the image.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64

from vim_jax._types import Channels
from vim_jax.data.plan_grids import (
    Blocks,
    block_lengths,
    extended,
    merged,
    paired,
    spread_energy,
    step_energy,
    sum_over_planes,
)
from vim_jax.moments import LEVELS_16_BIT, check_count, squared
from vim_jax.quadtree import (
    EXPONENT_BITS,
    LATTICE,
    LEVEL_BITS,
    MANTISSA_BITS,
    PLACE_BITS,
    SMALLEST_EXPONENT,
)


class Level(NamedTuple):
    """The blocks of one size, see `vim_jax.quadtree.Level`."""

    key: Int32[np.ndarray, "*n rows cols"]
    top: Int32[np.ndarray, "*n rows cols"]
    gain: Int64[np.ndarray, "*n rows cols"]
    spread: Int64[np.ndarray, "*n rows cols"]
    blocks: Blocks


class _Border(NamedTuple):
    """Blocks of 2 x 2 pixels side by side; or one below the other, transposed.

    Attributes:
      pixels: of the image, `c h w`, or of n of them, `c n h w`.
      pairs: squared differences across each border, all channels, `rows cols-1`.
    """

    pixels: np.ndarray
    pairs: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Quadtree:
    """An image, or n of one shape, in blocks of 2, 4, ... pixels.

    Attributes:
      pixels: integers `c h w`.
      bits: binary digits that they have below one grey level.
      copies: number of channels that one plane of means stands for.
      inside: squared differences inside each block of 2 x 2 pixels, all channels.
      borders: the others, along rows and along columns.
      levels: from blocks of 2 x 2 pixels up.
    """

    pixels: Int[np.ndarray, "c *n h w"]
    bits: int
    copies: int
    inside: Int[np.ndarray, "*n rows cols"]
    borders: tuple[_Border, _Border]
    levels: Sequence[Level] = ()

    def of(self, i: int) -> "Quadtree":
        """Returns the quadtree of one of several images."""
        return dataclasses.replace(
            self,
            pixels=self.pixels[:, i],
            inside=self.inside[i],
            borders=tuple(_Border(x[:, i], pairs[i]) for x, pairs in self.borders),
            levels=[
                Level(
                    level.key[i],
                    level.top[i],
                    level.gain[i],
                    level.spread[i],
                    Blocks(level.blocks.mean[:, i], level.blocks.deviations[i]),
                )
                for level in self.levels
            ],
        )

    @property
    def unit(self) -> int:
        """Binary digits between squared differences of pixels and energies."""
        return 16 - 2 * self.bits

    @property
    def own(self) -> int:
        """Energy of the image."""
        pairs = self.inside, *(border.pairs for border in self.borders)
        return sum(int(x.sum(dtype=np.int64)) for x in pairs) << self.unit

    def steps(
        self,
        merged: Bool[np.ndarray, "rows cols"],
        means: Int32[np.ndarray, "planes rows cols"],
    ) -> int:
        """Returns the energy of all pairs, pixels in regions replaced by their means.

        Args:
          merged: whether each block of 2 x 2 pixels lies in a region.
          means: of that region, for each block.
        """
        rows, columns = self.borders
        return (
            (int(self.inside[~merged].sum(dtype=np.int64)) << self.unit)
            + self._across(rows, merged, means)
            + self._across(columns, merged.T, means.swapaxes(1, 2))
        )

    def _across(self, border: _Border, merged: np.ndarray, means: np.ndarray) -> int:
        a, b = merged[:, :-1], merged[:, 1:]
        energy = int(border.pairs[~(a | b)].sum(dtype=np.int64)) << self.unit
        height = border.pixels.shape[1]

        apart = (means[:, :, :-1] != means[:, :, 1:]).any(0)
        i, j = np.nonzero(a & b & apart)
        steps = squared((means[:, i, j] - means[:, i, j + 1]).astype(np.int64)).sum(0)
        energy += self.copies * int((steps * np.minimum(2, height - 2 * i)).sum())

        i, j = np.nonzero(a ^ b)
        for y in (2 * i, 2 * i + 1):
            there = y < height
            at, beside, y = i[there], j[there], y[there]

            def values(merged, column, x, at=at, y=y):
                own = border.pixels[:, y, x].astype(np.int64) << (16 - self.bits)
                return np.where(merged, means[:, at, column], own)

            left = values(a[at, beside], beside, 2 * beside + 1)
            right = values(b[at, beside], beside + 1, 2 * beside + 2)
            energy += int(squared(left - right).sum())
        return energy


def quadtree(images: np.ndarray, largest: int, channels: Channels) -> Quadtree:
    """Returns the scored quadtrees of images of one shape.

    Args:
      images: `n h w c`, uint8 or uint16.
      largest: no block larger than this many pixels is a region.
      channels: as in `shuffle`.
    """
    _, h, w, c = images.shape
    check_count(h * w * c)
    largest = min(largest, max(h, w) // 2)
    copies = c if channels == "mixed" else 1
    pixels, bits = _integers(images)
    right = sum_over_planes(lambda x: _squares(x[..., 1:] - x[..., :-1]), pixels)
    down = sum_over_planes(lambda x: _squares(x[:, 1:] - x[:, :-1]), pixels)
    inside = np.zeros((len(images), -(-h // 2), -(-w // 2)), right.dtype)
    inside[..., : w // 2] += paired(right[..., 0::2], -2)
    inside[:, : h // 2] += paired(down[:, 0::2], -1)
    tree = Quadtree(
        pixels,
        bits,
        copies,
        inside,
        (
            _Border(pixels, paired(right[..., 1::2], -2)),
            _Border(
                pixels.swapaxes(-2, -1),
                paired(down[:, 1::2], -1).swapaxes(-2, -1),
            ),
        ),
    )
    beside, below = tree.borders
    energy = inside.astype(np.int64)
    energy[..., :-1] += beside.pairs
    energy[:, :-1] += below.pairs.swapaxes(-2, -1)
    energy <<= tree.unit
    blocks = _finest_blocks(tree)
    spread = np.zeros_like(energy)
    levels = []
    for level in range(1, max(1, (max(h, w) // 2).bit_length())):
        rows, cols = blocks.deviations.shape[-2:]
        heights, widths = (
            block_lengths(side, 1 << level, count + 1)
            for side, count in ((h, rows), (w, cols))
        )
        before = energy, spread
        spread = spread_energy(blocks.deviations, heights, widths, copies)
        mean = extended(blocks.mean, 1, 1)
        energy = spread + step_energy(mean, heights, widths, copies)
        gain = energy - before[0]
        # A region of one pixel is none.
        allowed = heights[:-1, None] * widths[None, :-1] > 1
        allowed &= 1 << level <= largest
        score = np.where(allowed, _scores(gain, level), -1)
        levels.append(Level(score, score, gain, spread - before[1], blocks))
        blocks = merged(blocks, heights, widths, copies)
        energy, spread = (paired(paired(x, -2), -1) for x in (energy, spread))
    return dataclasses.replace(tree, levels=tuple(_keyed(levels, largest))[::-1])


def _integers(images: np.ndarray) -> tuple[np.ndarray, int]:
    """Returns planes of signed integers, and their digits below one grey level."""
    planes = np.moveaxis(images, -1, 0)
    if images.dtype == np.uint8:
        return planes.astype(np.int16), 0
    scaled = (planes.astype(np.float32) / 65535) * np.float32(LEVELS_16_BIT)
    return np.round(scaled).astype(np.int64), 8


def _squares(signed: np.ndarray) -> np.ndarray:
    """Returns squares of pixels, or of their differences, without a sign.

    Of 16 bits, these fit as many: pixels of 8 bits were no more.
    """
    wide = np.multiply(signed, signed)
    return wide.view(np.uint16).astype(np.int32) if wide.itemsize == 2 else wide


def repeated(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Repeats each of `... rows cols` 2 x 2 times, and cuts that to a shape.

    A single one, as often as that takes.
    """
    if x.shape[-2:] == (1, 1):
        return np.broadcast_to(x, (*x.shape[:-2], *shape[-2:]))
    x = x.repeat(2, axis=-2)[..., : shape[-2], :]
    return x.repeat(2, axis=-1)[..., : shape[-1]]


def _finest_blocks(tree: Quadtree) -> Blocks:
    """Returns the blocks of 2 x 2 pixels."""
    c, _, h, w = tree.pixels.shape
    totals = np.stack(
        [paired(paired(x.astype(np.int32), -2), -1) for x in tree.pixels]
    ).astype(np.int64 if tree.bits else np.int32)
    squares = paired(paired(sum_over_planes(_squares, tree.pixels), -2), -1) * 4
    # Blocks at the edge have 1 or 2 pixels: in quarters all means are whole numbers.
    doubled = [3 - block_lengths(side, 2, -(-side // 2)) for side in (h, w)]
    scale = (doubled[0][:, None] * doubled[1]).astype(totals.dtype)
    if tree.copies > 1:
        totals = totals.sum(0, dtype=np.int64, keepdims=True)
        scaled = totals * scale
        means = (scaled << (14 - tree.bits)) // c
        rest = c * squares.astype(np.int64) - (totals * scaled)[0]
        return Blocks(means.astype(np.int32), (rest << tree.unit) // (4 * c))
    rest = squares - sum_over_planes(lambda x: x * x * scale, totals)
    return Blocks(
        (totals * scale << (14 - tree.bits)).astype(np.int32),
        rest.astype(np.int64) << tree.unit >> 2,
    )


def pixel_blocks(tree: Quadtree, side: int) -> Blocks:
    """Returns the first `side` x `side` pixels, or fewer, as blocks of one pixel."""
    pixels = tree.pixels[..., :side, :side].astype(np.int64) << (16 - tree.bits)
    mean = pixels.reshape(-1, tree.copies, *pixels.shape[1:]).sum(1) // tree.copies
    deviations = squared(pixels - mean.repeat(tree.copies, axis=0)).sum(0)
    return Blocks(mean.astype(np.int32), deviations)


def _scores(gain: np.ndarray, level: int) -> np.ndarray:
    """Returns the logarithm of gain over squared area, int32, about; 0 for none."""
    positive = np.maximum(gain, 1)
    # Digits of a number: floats know them, but for a carry when they round up.
    digits = np.frexp(positive.astype(np.float64))[1].astype(np.int64)
    digits -= positive >> (digits - 1) == 0
    zeros = 64 - digits
    mantissa = (positive << zeros) >> (63 - MANTISSA_BITS) & (2**MANTISSA_BITS - 1)
    exponent = digits - 1 - (4 * level + SMALLEST_EXPONENT)
    score = (exponent << MANTISSA_BITS) | mantissa
    score = np.clip(score, 0, 2 ** (EXPONENT_BITS + MANTISSA_BITS) - 1)
    return np.where(gain > 0, score, 0).astype(np.int32)


def _keyed(levels: Sequence[Level], largest: int) -> Iterator[Level]:
    """Yields the levels with keys, the coarsest first, see `vim_jax.quadtree`."""
    count = len(levels[0].key) if levels else 0
    tops = np.zeros((count, 1, 1), np.int32)
    scores = tops - 1
    for number, level in reversed(list(enumerate(levels, 1))):
        scores, tops = (repeated(x, level.key.shape) for x in (scores, tops))
        scores = np.maximum(scores, level.key)
        keys = _keys(scores, number)
        if 1 << number <= largest < 2 << number:
            keys, tops = np.zeros_like(keys), keys
        yield level._replace(key=keys, top=tops)


def _keys(scores: np.ndarray, level: int) -> np.ndarray:
    """Returns keys from scores: small blocks first, and equal ones told apart."""
    down, right = (
        np.arange(n, dtype=np.uint32) * np.uint32(step)
        for n, step in zip(scores.shape[-2:], LATTICE, strict=True)
    )
    place = (down[:, None] + right >> (32 - PLACE_BITS)).astype(np.int32)
    size = 2**LEVEL_BITS - 1 - level
    keys = (((scores << LEVEL_BITS) | size) << PLACE_BITS) | place
    return np.where(scores >= 0, keys, 0)
