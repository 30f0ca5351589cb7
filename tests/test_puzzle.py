"""Solving puzzles of pieces with seams, and saying how well that went."""

import itertools

import numpy as np
import pytest
from puzzle_cases import photograph, shuffled_puzzle

from vim_jax.attacks import puzzle


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_an_ordinary_puzzle_is_solved(name, grey):
    pieces, answer = shuffled_puzzle(photograph(name, 336, grey=grey), 28)
    board = puzzle.solve(pieces, 12, 12)
    assert sorted(board.ravel()) == list(range(144))
    reached = puzzle.metrics(board, answer)
    assert reached.neighbour > 0.9
    assert reached.component > 0.9


def test_a_puzzle_grows_from_one_piece():
    pieces, answer = shuffled_puzzle(photograph("chelsea", 336), 28)
    costs = puzzle.compatibility(pieces)
    for first in (0, 77):
        seeds = [{first: (0, 0)}]
        board = puzzle._fill(costs, np.ones((12, 12), bool), seeds)
        assert puzzle.metrics(board, answer).direct > 0.9


def test_an_oblong_puzzle_is_solved():
    pieces, answer = shuffled_puzzle(photograph("coffee", 336)[:140], 28)
    assert puzzle.metrics(puzzle.solve(pieces, 5, 12), answer).direct > 0.9


def test_a_puzzle_in_two_parts_with_a_hole_is_solved():
    frame = np.ones((12, 12), bool)
    frame[4:6, 2:5] = False
    frame[:, 8] = False
    grid = puzzle.cut(photograph("chelsea", 336), 28)
    order = np.random.default_rng(3).permutation(int(frame.sum()))
    answer = np.full(frame.shape, -1)
    answer[frame] = np.argsort(order)
    board = puzzle.solve(grid[frame][order], 12, 12, frame=frame)
    np.testing.assert_array_equal(board >= 0, frame)
    assert puzzle.metrics(board, answer).neighbour > 0.9


def test_pieces_of_noise_are_placed_at_chance():
    reached = []
    for seed in range(6):
        noise = np.random.default_rng(seed).integers(0, 256, (80, 80, 3), np.uint8)
        pieces, answer = shuffled_puzzle(noise, 8, seed)
        reached.append(puzzle.metrics(puzzle.solve(pieces, 10, 10), answer))
    direct, neighbour, component = np.mean(reached, axis=0)
    # Chance is 1 / 100 for both; 600 places and 1080 seams.
    assert direct < 0.03
    assert neighbour < 0.025
    assert component < 0.05


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (1, 3), (2, 2)])
def test_tiny_puzzles_of_single_pixels_use_each_piece_once(shape):
    n = shape[0] * shape[1]
    pixels = np.random.default_rng(0).integers(0, 256, (n, 1, 1, 3), np.uint8)
    assert sorted(puzzle.solve(pixels, *shape).ravel()) == list(range(n))


def test_equal_pieces_are_all_used():
    board = puzzle.solve(np.full((12, 4, 4, 3), 7, np.uint8), 3, 4)
    assert sorted(board.ravel()) == list(range(12))


def slow_compatibility(pieces):
    """The definition, by loops, for pieces of colour."""
    pieces, n = pieces.astype(float), len(pieces)
    costs = np.full((2, n, n), np.inf)

    def half(steps, gradients):
        mean = gradients.mean(0)
        inverse = np.linalg.inv(np.cov(gradients.T, bias=True) + np.eye(len(mean)))
        return sum((s - mean) @ inverse @ (s - mean) for s in steps)

    for turn, i, j in itertools.product(range(2), range(n), range(n)):
        if i == j:
            continue
        one, other = (p.transpose(1, 0, 2) if turn else p for p in pieces[[i, j]])
        step = other[:, 0] - one[:, -1]
        before, behind = one[:, -1] - one[:, -2], other[:, 0] - other[:, 1]
        misfit = np.sqrt(np.abs(step - before)).sum()
        misfit += np.sqrt(np.abs(-step - behind)).sum()
        costs[turn, i, j] = misfit * (half(step, before) + half(-step, behind))
    relative = np.full_like(costs, np.inf)
    for turn, i, j in itertools.product(range(2), range(n), range(n)):
        if i != j:
            row = np.delete(costs[turn, i], j).min()
            column = np.delete(costs[turn, :, j], i).min()
            relative[turn, i, j] = costs[turn, i, j] / min(row, column)
    return relative


def test_compatibility_is_what_its_definition_says():
    pieces, _ = shuffled_puzzle(photograph("coffee", 30), 6)
    np.testing.assert_allclose(
        puzzle.compatibility(pieces), slow_compatibility(pieces), rtol=1e-6
    )


def slow_metrics(placed, truth):
    rows, columns = truth.shape
    places = [p for p in np.ndindex(rows, columns) if truth[p] >= 0]

    def pairs(board):
        for y, x in places:
            for dy, dx in ((0, 1), (1, 0)):
                if (y + dy, x + dx) in places:
                    there = (y + dy, x + dx)
                    yield (y, x), there, (dy, board[y, x], board[there])

    true = {names for _, _, names in pairs(truth)}
    right = [(a, b) for a, b, names in pairs(placed) if names in true]
    groups = [{p} for p in places]
    for a, b in right:
        one = next(g for g in groups if a in g)
        other = next(g for g in groups if b in g)
        if one is not other:
            one |= other
            groups.remove(other)
    direct = np.mean([placed[p] == truth[p] for p in places])
    count = len(list(pairs(truth)))
    return direct, len(right) / count, max(map(len, groups)) / len(places)


@pytest.mark.parametrize("kinds", [5, 30])
@pytest.mark.parametrize("moved", [0, 4, 30])
def test_metrics_are_what_slow_loops_say(kinds, moved):
    rng = np.random.default_rng(moved + kinds)
    truth = np.arange(30) % kinds
    placed = truth.copy()
    some = rng.permutation(30)[:moved]
    placed[some] = placed[rng.permutation(some)]
    truth, placed = truth.reshape(5, 6), placed.reshape(5, 6)
    truth[1, 2:4] = placed[1, 2:4] = -1
    expected = slow_metrics(placed, truth)
    np.testing.assert_allclose(puzzle.metrics(placed, truth), np.array(expected))
    if not moved:
        assert expected == (1, 1, 1)


def test_a_puzzle_moved_by_one_column_has_neighbours_but_no_places():
    truth = np.arange(24).reshape(4, 6)
    reached = puzzle.metrics(np.roll(truth, 1, axis=1), truth)
    assert reached.direct == 0
    assert reached.neighbour == pytest.approx((4 * 4 + 3 * 6) / (4 * 5 + 3 * 6))
    assert reached.component == pytest.approx(20 / 24)
