"""The finest step of planning: an image as planes of the corners of 2 x 2 blocks.

Upper left, upper right, lower left, lower right: `c rows cols` each. So everything
about neighbouring pixels and about blocks of 2 x 2 pixels is elementwise arithmetic,
which compiles to vector instructions.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

Corners: TypeAlias = tuple[jax.Array, ...]


def corners_of(pixels: jax.Array, rows: int, cols: int) -> Corners:
    """Returns the corners of an integer `h w c` image, 0 beyond it.

    Args:
      pixels: the image.
      rows: number of blocks from top to bottom, enough for `h`.
      cols: number of blocks from left to right, enough for `w`.
    """
    h, w, c = pixels.shape
    pixels = jnp.pad(pixels, ((0, 2 * rows - h), (0, 2 * cols - w), (0, 0)))
    planes = pixels.reshape(rows, 2, cols, 2, c).transpose(1, 3, 4, 0, 2)
    return planes[0, 0], planes[0, 1], planes[1, 0], planes[1, 1]


def pair_energies(
    corners: Corners,
    heights: jax.Array,
    widths: jax.Array,
    dtype: DTypeLike,
    shift: int = 0,
    unrolled: bool = False,
) -> jax.Array:
    """Returns squared differences of neighbours, summed over each 2 x 2 block.

    Pairs inside a block, and those with the pixels right of it and below it.

    Args:
      corners: integers whose differences fit their dtype.
      heights: `rows`, how much of a block's height lies inside the image.
      widths: `cols`, the same of its width.
      dtype: integer dtype in which the squares and their sum fit.
      shift: bits that are dropped from each square.
      unrolled: whether to sum channels one after the other rather than over an axis:
        faster where 64 bits are needed.

    Returns:
      `rows-1 cols-1`, of the given dtype.
    """
    a, b, c, d = corners
    rows, cols = heights.size - 1, widths.size - 1
    any_high, two_high = ((heights[:-1] >= n).astype(dtype)[:, None] for n in (1, 2))
    any_wide, two_wide = ((widths[:-1] >= n).astype(dtype)[None] for n in (1, 2))
    below = (heights[1:] > 0).astype(dtype)[:, None]
    right = (widths[1:] > 0).astype(dtype)[None]

    def energy(a, b, c, d):
        def pairs(x, y, down=0, beside=0):
            x, y = x[:rows, :cols], y[down : rows + down, beside : cols + beside]
            step = (x - y).astype(dtype)
            return step * step >> shift

        across = two_wide * pairs(a, b) + right * pairs(b, a, beside=1)
        across_2 = two_wide * pairs(c, d) + right * pairs(d, c, beside=1)
        down = two_high * pairs(a, c) + below * pairs(c, a, down=1)
        down_2 = two_high * pairs(b, d) + below * pairs(d, b, down=1)
        across = any_high * across + two_high * across_2
        return across + any_wide * down + two_wide * down_2

    if not unrolled:
        return jax.vmap(energy)(a, b, c, d).sum(0, dtype=dtype)
    return sum(map(energy, a, b, c, d), start=jnp.zeros((), dtype))
