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
    same = np.arange(n)
    for partner, heads in steps:
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
    uniform = np.full((n, n), 1 / (n * (n - 1)))
    uniform[same, same] = 0
    return float(np.abs(chance - uniform).sum((1, 2)).max() / 2)


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
