"""What docs/permutation.md says of its coins, computed exactly from its exchanges."""

import math

import pytest
import reference
from pair_chain import arrangement_distance, box_distance, pair_distance, steps_of

# --- Pairs of cells -------------------------------------------------------------------
# The table of the document, and the cells that the worst pairs start from.
TABLE = [
    ((2, 2), 2e-5, [0, 1, 2, 3]),
    ((3, 3), 3e-5, range(9)),
    ((4, 4), 1e-4, range(16)),
    ((5, 5), 7e-6, range(25)),
    ((6, 6), 4e-7, [1, 14]),
    ((7, 7), 5e-9, [21]),
    ((8, 8), 1e-4, [0, 27]),
    ((16, 16), 8e-6, [0]),
    ((8, 9), 1e-3, [7, 35]),
    ((2, 16), 1e-5, range(32)),
    ((1, 24), 2e-3, range(24)),
    ((1, 31), 1e-5, range(31)),
    ((1, 63), 2e-6, [0, 31]),
]


@pytest.mark.parametrize(("sides", "largest", "firsts"), TABLE)
def test_pairs_are_as_near_to_uniform_as_documented(sides, largest, firsts):
    steps = steps_of(*sides)
    n = math.prod(sides)
    distance = max(pair_distance(n, steps, first) for first in firsts)
    assert float(f"{distance:.0e}") == largest


@pytest.mark.parametrize(
    ("sides", "largest", "firsts"),
    [
        ((1, 3, 3), 4e-3, range(9)),
        ((2, 2, 2), 8e-4, range(8)),
        ((2, 2, 3), 2e-4, range(12)),
        ((4, 4, 3), 3e-6, range(48)),
        ((8, 8, 3), 9e-6, [0, 91]),
        ((8, 9, 3), 3e-4, [7, 35]),
    ],
)
def test_pairs_of_mixed_channels_are_as_near_as_documented(sides, largest, firsts):
    a, b, c = sides
    distance = max(box_distance(a, b, c, first) for first in firsts)
    assert float(f"{distance:.0e}") == largest


def test_a_box_of_one_channel_is_a_rectangle():
    assert box_distance(3, 4, 1, 5) == pytest.approx(
        pair_distance(12, steps_of(3, 4), 5)
    )


@pytest.mark.parametrize("sides", [(4, 4), (3, 3), (1, 24), (8, 8)])
def test_fewer_rounds_would_not_do(sides):
    n = math.prod(sides)
    assert pair_distance(n, steps_of(*sides, rounds=2), 0) > 0.005


def test_a_pair_of_two_cells_trades_places_half_of_the_time():
    assert pair_distance(2, steps_of(1, 2), 0) == 0
    assert pair_distance(2, steps_of(1, 2, rounds=0), 0) == 0.5


@pytest.mark.parametrize(
    ("sides", "largest"),
    [((1, 2), 0), ((1, 3), 1e-6), ((1, 4), 1e-4), ((2, 2), 1e-4), ((1, 5), 1e-4)],
)
def test_arrangements_of_few_cells_are_nearly_uniform(sides, largest):
    distance = arrangement_distance(math.prod(sides), steps_of(*sides))
    assert distance <= largest
    assert arrangement_distance(math.prod(sides), steps_of(*sides, rounds=1)) >= largest


# --- Enough fresh bits ----------------------------------------------------------------


def entropy(chance: float) -> float:
    """Returns the bits of a coin that shows heads with a chance."""
    return -sum(p * math.log2(p) for p in (chance, 1 - chance) if p > 0)


def fresh_bits(a: int, b: int, enough: float) -> float:
    """Returns the bits that decide over a rectangle, or some number that is enough.

    Coins that serve twice count once.
    """
    seen, bits = set(), 0.0
    for step in reference.steps(a, b):
        for _, _, coin in reference.pairs_of(a, b, step):
            if (coin.part, coin.owner, coin.bits) in seen:
                continue
            seen.add((coin.part, coin.owner, coin.bits))
            bits += entropy(coin.heads / 2 ** len(coin.bits))
        if bits >= enough:
            break
    return bits


@pytest.mark.parametrize("height", range(1, 41))
def test_fresh_bits_decide_over_every_rectangle(height):
    for width in range(height, 41):
        arrangements = math.lgamma(height * width + 1) / math.log(2)
        needed = min(arrangements, 256) - 1e-9
        for a, b in [(height, width), (width, height)]:
            assert fresh_bits(a, b, needed) >= needed, (a, b)


@pytest.mark.parametrize("sides", [(1, 600), (300, 2), (2, 300)])
def test_no_bit_of_a_long_line_serves_twice(sides):
    seen = set()
    height, width = sides
    for step in reference.steps(height, width):
        for _, _, coin in reference.pairs_of(height, width, step):
            for bit in coin.bits:
                assert (coin.part, coin.owner, bit) not in seen
                seen.add((coin.part, coin.owner, bit))
