"""Encoding the regions of an image, whole: what makes a network fit mixed images."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def encode_regions(
    x: Float[Array, "n h w c"], size: int, *, ordered: bool
) -> Float[Array, "n rows columns f"]:
    """Turns each square region into one position that has all its values as channels.

    Guarantee: unless `ordered`, permuting the values of a region among themselves, in
    each channel separately, changes nothing, to the bit. The regions are those of a
    uniform plan of the same size: a grid that starts at the upper left corner.
    Values that cross channels (``channels="mixed"``) are outside the guarantee.

    Args:
      x: Images or features.
      size: Side of a region; divides h and w.
      ordered: Whether to keep the order of a region's values, instead of sorting them
        within each channel.

    Returns:
      h / size rows and w / size columns of size * size * c values: pixel by pixel, row
      by row, and channel by channel within a pixel.
    """
    n, h, w, c = x.shape
    rows, columns = h // size, w // size
    x = x.reshape(n, rows, size, columns, size, c).swapaxes(2, 3)
    x = x.reshape(n, rows, columns, size * size, c)
    if not ordered:
        x = jnp.sort(x, axis=3)
    return x.reshape(n, rows, columns, -1)
