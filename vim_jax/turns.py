"""Turns: how the cells of a pixel trade places where channels mix.

Cells come one by one, as uint8, or as lanes, four to a word of uint32; the numbers that
decide over them come in the same form.
"""

import jax
import jax.numpy as jnp

_ONES = 0x01010101
_HIGH = 0x80808080


def turn_once(
    cells: jax.Array, numbers: jax.Array, here: jax.Array | bool, *, inverse: bool
) -> jax.Array:
    """Returns cells with those of each pixel in random order.

    From the last plane on, each trades places with one so many planes before it.

    Args:
      cells: `planes members n`, uint8 or uint32.
      numbers: `k n` of the same dtype: a byte of each turns word of a pixel; 0 leaves
        the pixel as it is.
      here: whether to do it at all.
      inverse: whether to undo it.
    """

    def turned(cells, numbers):
        planes = list(cells)
        steps = [(i, j) for j in reversed(range(1, len(planes))) for i in range(j)]
        for i, j in reversed(steps) if inverse else steps:
            back, number = j - i, numbers[max(0, j - 2)]
            if j == 1:
                meet = spread(number)
            else:
                meet = _at_least(number, _least(j, back))
                meet &= ~_at_least(number, _least(j, back + 1))
            change = (planes[i] ^ planes[j]) & meet[None]
            planes[i], planes[j] = planes[i] ^ change, planes[j] ^ change
        return jnp.stack(planes)

    if isinstance(here, bool):
        return turned(cells, numbers) if here else cells
    # A branch of its own also keeps XLA from working out numbers for each plane anew.
    return jax.lax.cond(here, turned, lambda cells, _: cells, cells, numbers)


def _least(j: int, back: int) -> int:
    """Returns the lowest number by which plane j meets the one so many before it."""
    return 2 * -(-128 * back // 3) if j == 2 else -(-256 * back // (j + 1))


def spread(numbers: jax.Array) -> jax.Array:
    """Returns bytes of which all bits are those of the lowest one."""
    if numbers.dtype == jnp.uint8:
        return -(numbers & 1)
    ones = numbers & jnp.uint32(_ONES)
    return (ones << 8) - ones


def _at_least(numbers: jax.Array, least: int) -> jax.Array:
    """Returns bytes of which all bits are set where numbers are at least so large."""
    if least > 255:
        return jnp.zeros_like(numbers)
    if numbers.dtype == jnp.uint8:
        return jnp.where(numbers >= least, jnp.uint8(0xFF), jnp.uint8(0))
    # The highest bit of a lane is set, so that nothing is borrowed from the next.
    low = (numbers | jnp.uint32(_HIGH)) - jnp.uint32((least & 0x7F) * _ONES)
    reached = numbers & low if least & 0x80 else numbers | low
    return spread((reached & jnp.uint32(_HIGH)) >> 7)
