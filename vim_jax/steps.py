"""Steps one after the other, in the form that XLA makes a fast program of.

CPUs take loops: XLA would fuse steps that follow one another straight, and compute each
anew for every cell that it has a share in. Barriers would keep them apart, but its CPU
backend ignores them. GPUs take straight steps and barriers: there, each turn of a loop
waits for the host.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp

Number: TypeAlias = jax.Array | int
"""Of a step: of type int where steps follow one another straight."""

Step: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
"""Takes cells and heads, and returns cells."""


def kept(x: jax.Array, *, straight: bool) -> jax.Array:
    """Returns an array of integers as it is, made once and kept in memory.

    XLA does not see that the loop does nothing.

    Args:
      x: any integers.
      straight: whether a barrier is enough.
    """
    if straight:
        return jax.lax.optimization_barrier(x)
    return jax.lax.fori_loop(0, 2, lambda i, x: x ^ (i >> 1).astype(x.dtype), x)


def repeated(
    count: int,
    step: Callable[[Number, jax.Array], jax.Array],
    cells: jax.Array,
    *,
    straight: bool,
) -> jax.Array:
    """Returns cells after so many steps.

    Args:
      count: how many.
      step: takes its number and cells, and returns cells.
      cells: as the steps take them.
      straight: whether they follow one another, rather than in a loop.
    """
    if not straight:
        return jax.lax.fori_loop(0, count, step, cells)
    for i in range(count):
        cells = step(i, cells)
    return cells


def trade(
    cells: jax.Array,
    heads: jax.Array,
    if_lower_owns: Sequence[Step],
    if_upper_owns: Sequence[Step],
    *,
    upper_owns: jax.Array | bool,
    span: tuple[Number, Number] | None = None,
) -> jax.Array:
    """Returns cells after exchanges, one after the other.

    In a loop, over a switch, if what `upper_owns` holds is known only when it runs: two
    at a time, because XLA copies what a loop hands on, unless that went from one buffer
    to another and back.

    Args:
      cells: as the exchanges take them.
      heads: the same.
      if_lower_owns: exchanges where coins are those of the lower cells of pairs; maybe
        none.
      if_upper_owns: as many, where they are those of the upper cells.
      upper_owns: which it is.
      span: the number of the first exchange, and of the first that is not made any
        more, both even; None makes all.
    """
    count = len(if_lower_owns)
    start, stop = span or (0, count)
    if isinstance(upper_owns, bool):
        steps = if_upper_owns if upper_owns else if_lower_owns
        for step in steps[int(start) : int(stop)]:
            cells = step(jax.lax.optimization_barrier(cells), heads)
        return cells

    def exchange(i, which, cells):
        """Makes one of some exchanges: a switch has no branch that it never takes."""
        lower, upper = if_lower_owns[which], if_upper_owns[which]
        number = i + jnp.where(upper_owns, len(lower), 0)
        return jax.lax.switch(number, [*lower, *upper], cells, heads)

    def two(i, cells):
        even, odd = slice(0, count // 2 * 2, 2), slice(1, None, 2)
        return exchange(i, odd, exchange(i, even, cells))

    if count > 1:
        cells = jax.lax.fori_loop(start // 2, stop // 2, two, cells)
    if span is None and count % 2:
        cells = exchange(0, slice(count - 1, count), cells)
    return cells
