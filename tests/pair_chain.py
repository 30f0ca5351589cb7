"""Exact distributions of the exchanges of docs/permutation.md, for fair coins.

Computed from the specification in `reference`, not from samples: where a pair of cells
ends up, and how likely each arrangement of a few cells is.
"""

import itertools
import math

import numpy as np
import reference

Steps = list[tuple[np.ndarray, np.ndarray]]


def steps_of(a: int, b: int, *, rounds: int = 8) -> Steps:
    """Returns each step's partners and probabilities of heads, both `a*b`.

    Args:
      a: rows of the rectangle.
      b: columns of the rectangle.
      rounds: leaves out what comes after so many rounds.
    """
    steps = []
    for step in reference.steps(a, b):
        if step[0] >= rounds:
            continue
        partner, heads = np.arange(a * b), np.zeros(a * b)
        for (y, x), (v, u), coin in reference.pairs_of(a, b, step):
            i, j = y * b + x, v * b + u
            partner[[i, j]] = j, i
            fair = coin.heads / 2 ** len(coin.bits)
            heads[[i, j]] = fair
        steps.append((partner, heads))
    return steps


def pair_distance(n: int, steps: Steps, first: int) -> float:
    """Returns how far pairs of cells are from a uniformly random pair of places.

    Args:
      n: number of cells.
      steps: see `steps_of`.
      first: the cell that one of the pair starts from.

    Returns:
      Total variation distance, of the worst cell that the other starts from.
    """
    others = np.delete(np.arange(n), first)
    chance = np.zeros((n - 1, n, n))
    chance[np.arange(n - 1), first, others] = 1
    for partner, heads in steps:
        chance = _exchanged(chance, partner, heads)
    return _from_uniform(chance)


def _exchanged(chance: np.ndarray, partner: np.ndarray, heads: np.ndarray):
    """Returns the chances of pairs, `... n n`, after one step of exchanges."""
    same = np.arange(len(partner))
    here = np.flatnonzero(partner != same)
    there, p = partner[here], heads[here]
    # Two partners move as one, all others independently.
    partners = (1 - p) * chance[:, here, there] + p * chance[:, there, here]
    p = heads[:, None]
    chance = (1 - p) * chance + p * chance[:, partner]
    p = heads
    chance = (1 - p) * chance + p * chance[:, :, partner]
    chance[:, here, there] = partners
    chance[:, same, same] = 0
    return chance


def _from_uniform(chance: np.ndarray) -> float:
    """Returns the largest distance from uniform chances of pairs, of `... n n`."""
    n = chance.shape[-1]
    uniform = (1 - np.eye(n)) / (n * (n - 1))
    return float(np.abs(chance - uniform).sum((1, 2)).max() / 2)


def box_distance(a: int, b: int, c: int, first: int) -> float:
    """Returns `pair_distance` for "mixed" channels: cells `(channel, row, column)`.

    Args:
      a: rows of the region.
      b: columns of the region.
      c: channels.
      first: the cell that one of the pair starts from.
    """
    n, cells = a * b, a * b * c
    others = np.delete(np.arange(cells), first)
    chance = np.zeros((cells - 1, cells, cells))
    chance[np.arange(cells - 1), first, others] = 1
    by_round = [
        steps_of(a, b, rounds=r + 1)[len(steps_of(a, b, rounds=r)) :]
        for r in range(reference.rounds_of(a, b))
    ]
    for r, steps in enumerate(by_round):
        chance = _turned(chance, n, c) if c > 1 and r < 4 else chance
        for partner, heads in steps:
            planes = np.arange(c)[:, None] * n
            chance = _exchanged(
                chance, (planes + partner).reshape(-1), np.tile(heads, c)
            )
    return _from_uniform(chance)


def _turned(chance: np.ndarray, n: int, c: int) -> np.ndarray:
    """Returns the chances of pairs after the cells of each pixel took turns."""
    ways = np.zeros((c, c))  # From channel to channel; all orders of a pixel as below.
    orders: dict[tuple, float] = {}
    for byte in range(256):  # Up to three channels take one word.
        order = tuple(reference.turn(list(range(c)), [byte]))
        orders[order] = orders.get(order, 0) + 1 / 256
    cells = chance.reshape(-1, c, n, c, n)
    together, apart = np.zeros_like(cells), np.zeros_like(cells)
    for order, p in orders.items():
        ways[np.arange(c), order] += p
        together += p * cells[:, list(order)][:, :, :, list(order)]
    apart = np.einsum("kx,iy,bxpyq->bkpiq", ways, ways, cells, optimize=True)
    same = np.eye(n, dtype=bool)[None, None, :, None, :]
    return np.where(same, together, apart).reshape(chance.shape)


def arrangement_distance(n: int, steps: Steps) -> float:
    """Returns the total variation distance of all `n!` arrangements from uniform."""
    chances = {tuple(range(n)): 1.0}
    for partner, heads in steps:
        for i in range(n):
            j = int(partner[i])
            if i >= j:
                continue
            after = dict.fromkeys(chances, 0.0)
            for order, chance in chances.items():
                swapped = list(order)
                swapped[i], swapped[j] = order[j], order[i]
                for to, p in [(order, 1 - heads[i]), (tuple(swapped), heads[i])]:
                    after[to] = after.get(to, 0.0) + chance * p
            chances = after
    share = 1 / math.factorial(n)
    every = itertools.permutations(range(n))
    return sum(abs(chances.get(order, 0.0) - share) for order in every) / 2


def network(count: int, a: int, b: int, *, rounds: int = 8, seed=0) -> np.ndarray:
    """Returns samples of where cells come from, `count a*b`, by fair coins of NumPy."""
    random = np.random.default_rng(seed)
    content = np.tile(np.arange(a * b), (count, 1))
    for partner, heads in steps_of(a, b, rounds=rounds):
        here = np.flatnonzero(partner > np.arange(a * b))
        there = partner[here]
        swap = random.random((count, len(here))) < heads[here]
        one, other = content[:, here], content[:, there]
        content[:, here] = np.where(swap, other, one)
        content[:, there] = np.where(swap, one, other)
    return content
