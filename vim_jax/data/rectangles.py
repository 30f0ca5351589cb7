"""Rectangles of an image, side by side in a buffer: a pixel of each after the other.

Pixels of one line along an axis come before those of the next place in the lines, so
that what is done to all lines is done to long runs of bytes.
"""

from typing import no_type_check

from vim_jax.data.compiled import helper

_LONG = 16  # Bytes that are worth a loop of their own.
_TILE = 32  # Side of what is copied at a time, for the sake of the cache.


@no_type_check
@helper
def gather(planes, first, stride, height, width, axes, out):
    """Reads rectangles, one pixel of each after the other.

    Args:
      planes: uint8 `planes bytes pixels`.
      first: see `exchange_rectangles`, as the following.
      stride: from a pixel to the one below it.
      height: of each rectangle, in pixels.
      width: of each rectangle, in pixels.
      axes: bits, one for each byte of a pixel: 0 to have the pixels of a column follow
        each other first, 1 those of a row.
      out: uint8 `planes bytes cells`, to be filled; it may have fewer bytes.
    """
    for p in range(out.shape[0]):
        for b in range(out.shape[1]):
            axis = axes >> b & 1
            _copy(planes[p, b], first, stride, height, width, axis, out[p, b], True)


@no_type_check
@helper
def scatter(x, first, stride, height, width, axis, planes):
    """Writes rectangles back to where they were, see `_gather`."""
    for p in range(planes.shape[0]):
        for b in range(planes.shape[1]):
            _copy(planes[p, b], first, stride, height, width, axis, x[p, b], False)


@no_type_check
@helper
def _copy(plane, first, stride, height, width, axis, flat, gathering):
    """Copies a byte of the pixels of rectangles, see `gather`, or back."""
    n = first.size
    length, lines = (height, width) if axis else (width, height)
    along, across = (stride, 1) if axis else (1, stride)
    if n >= _LONG:
        for i in range(length):
            for j in range(lines):
                there, here = i * along + j * across, (i * lines + j) * n
                for k in range(n):
                    if gathering:
                        flat[here + k] = plane[first[k] + there]
                    else:
                        plane[first[k] + there] = flat[here + k]
        return
    cells = flat[: length * lines * n].reshape(length, lines, n)
    image = plane.reshape(-1, stride)
    for k in range(n):
        top, left = first[k] // stride, first[k] % stride
        pixels = image[top : top + height, left : left + width]
        if axis == 0:
            pixels = pixels.T
        for i in range(0, length, _TILE):
            for j in range(0, lines, _TILE):
                tile = pixels[i : i + _TILE, j : j + _TILE]
                some = cells[i : i + _TILE, j : j + _TILE, k]
                for r in range(tile.shape[0]):
                    for c in range(tile.shape[1]):
                        if gathering:
                            some[r, c] = tile[r, c]
                        else:
                            tile[r, c] = some[r, c]


@no_type_check
@helper
def transpose(x, rows, columns, n, out):
    """Turns `columns rows n` into `rows columns n`, both at the start of arrays."""
    cells = rows * columns * n
    x = x[:cells].reshape(columns, rows, n)
    out = out[:cells].reshape(rows, columns, n)
    if n >= _LONG:
        for i in range(rows):
            for j in range(columns):
                for k in range(n):
                    out[i, j, k] = x[j, i, k]
        return
    for top in range(0, rows, _TILE):
        for left in range(0, columns, _TILE):
            here = x[left : left + _TILE, top : top + _TILE]
            there = out[top : top + _TILE, left : left + _TILE]
            for k in range(n):
                for i in range(there.shape[0]):
                    for j in range(there.shape[1]):
                        there[i, j, k] = here[j, i, k]
