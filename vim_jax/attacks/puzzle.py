"""Jigsaw puzzles: putting square pieces in place by how well their seams fit.

Pieces are of known orientation, on a grid of known shape. The cost of two sides is the
Mahalanobis gradient compatibility times the error of extrapolating across the seam,
relative to the best rival. Segments grow from best buddies, those in closed loops of
four first; the rest is placed one by one where it fits best; then the largest segment
that holds together starts a new round.

References:
  Gallagher, `Jigsaw puzzles with pieces of unknown orientation`, CVPR 2012.
  Paikin and Tal, `Solving multiple square jigsaw puzzles with missing pieces`, 2015.
"""

import heapq
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from jaxtyping import Bool, Float, Int, UInt8

_RIDGE = 1.0  # Variance of rounded grey levels and more: keeps covariances regular.
_MORE_NEIGHBOURS = 0.1  # What a slot's cost falls by for each piece beside it.
_WORST = 2.0  # All costs above it are equally wrong.
_RIGHT, _BELOW = (0, 1), (1, 0)
_ROUNDS = 8

Segment = dict[int, tuple[int, int]]

Compatibility = Callable[[UInt8[np.ndarray, "n h w c"]], Float[np.ndarray, "2 n n"]]
"""From pieces to what it costs to put piece j right of piece i, and below it.

A cost is relative to the best rival of either side, see `against_rivals`.
"""


class Accuracy(NamedTuple):
    """How well a puzzle was solved, each in [0, 1].

    Attributes:
      direct: share of places with the right piece.
      neighbour: share of pairs of places side by side whose pieces are side by side in
        truth, in the same order.
      component: share of pieces in the largest set that such pairs connect.
    """

    direct: float
    neighbour: float
    component: float


def compatibility(pieces: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "2 n n"]:
    """Returns what it costs to put pieces side by side, by their gradients.

    One or two pieces have no rivals; their costs are absolute.
    """
    values = pieces.astype(float)
    # Of one channel, the Mahalanobis distance only says which pieces are rough, and of
    # three equal ones too.
    colour = bool((values != values[..., :1]).any())
    values = values if colour else values[..., :1]
    costs = []
    for turned in (values, values.swapaxes(1, 2)):
        step = min(turned.shape[2], 2)
        last, before = turned[:, :, -1], turned[:, :, -step]
        first, second = turned[:, :, 0], turned[:, :, step - 1]
        cost = _misfit(2 * last - before, first)
        cost += _misfit(2 * first - second, last).T
        if colour:
            mahalanobis = _mahalanobis(last, last - before, first)
            cost *= mahalanobis + _mahalanobis(first, first - second, last).T
        np.fill_diagonal(cost, np.inf)
        costs.append(against_rivals(cost))
    return np.stack(costs)


def _misfit(expected, facing) -> np.ndarray:
    """Returns how far each facing edge is from what is expected there, `n n`."""
    # Roots, so that the few large steps where a real edge meets the seam weigh little.
    return np.stack([np.sqrt(np.abs(facing - e)).sum((1, 2)) for e in expected])


def _mahalanobis(edge, gradients, facing) -> np.ndarray:
    """Returns the distances of steps across the seam from those before it, `n n`."""
    mean = gradients.mean(1, keepdims=True)
    spread = gradients - mean
    covariance = np.einsum("npc,npd->ncd", spread, spread) / spread.shape[1]
    inverse = np.linalg.inv(covariance + _RIDGE * np.eye(edge.shape[2]))
    roots = np.linalg.cholesky(inverse)
    steps = zip(edge + mean, roots, strict=True)
    return np.stack([(((facing - e) @ root) ** 2).sum((1, 2)) for e, root in steps])


def against_rivals(cost: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Returns each cost, 0 or more, divided by the least other one beside or below it.

    It is below 1 only for best buddies. One or two pieces have no rivals; their costs
    stay as they are.
    """
    if len(cost) <= 2:
        return cost
    cost = cost + 1e-9

    def rivals(cost):
        best, second = np.partition(cost, 1, axis=1)[:, :2].T[..., None]
        return np.where(cost <= best, second, best)

    return cost / np.minimum(rivals(cost), rivals(cost.T).T)


def solve(
    pieces: UInt8[np.ndarray, "n h w c"],
    rows: int,
    columns: int,
    *,
    rounds: int = _ROUNDS,
    frame: Bool[np.ndarray, "rows columns"] | None = None,
    costs_of: Compatibility = compatibility,
) -> Int[np.ndarray, "rows columns"]:
    """Returns the number of the piece at each place, -1 outside the frame.

    Args:
      pieces: all of them, in any order. It decides between equal costs: an order that
        tells where pieces belong gives too good a result.
      rows: of the grid.
      columns: of the grid.
      rounds: of refinement at most.
      frame: which places are to be filled, by default all.
      costs_of: what it costs to put pieces side by side.

    Raises:
      ValueError: if there are more or fewer pieces than places.
    """
    frame = np.ones((rows, columns), bool) if frame is None else frame
    if len(pieces) != frame.sum():
        raise ValueError(
            f"pieces has {len(pieces)} of them for {frame.sum()} places: give rows, "
            "columns and frame that fit."
        )
    costs = costs_of(pieces)
    best = _fill(costs, frame, _segments(costs, frame))
    for _ in range(rounds):
        board = _fill(costs, frame, _held_together(costs, best))
        if _cost_of(costs, board) >= _cost_of(costs, best):
            break
        best = board
    return best


def _segments(costs: np.ndarray, frame: np.ndarray) -> list[Segment]:
    """Returns segments that grow by joining best buddies, the largest first."""
    n = costs.shape[1]
    owner, segments = np.arange(n), [{i: (0, 0)} for i in range(n)]
    for direction, i, j in _ranked_buddies(costs):
        one, other = segments[owner[i]], segments[owner[j]]
        if one is other:
            continue
        dy, dx = np.add(one[i], direction) - other[j]
        moved = {piece: (y + dy, x + dx) for piece, (y, x) in other.items()}
        places = {*one.values(), *moved.values()}
        too_large = np.ptp(list(places), axis=0) >= frame.shape
        if len(places) < len(one) + len(moved) or too_large.any():
            continue
        one.update(moved)
        owner[list(moved)] = owner[i]
        other.clear()
    return sorted(filter(None, segments), key=len, reverse=True)


def _ranked_buddies(costs: np.ndarray) -> list:
    """Returns (direction, i, j) of best buddies, the surest first."""
    buddies = np.full(costs.shape[:2], -1)
    direction, i, j = np.nonzero(costs < 1)
    buddies[direction, i] = j
    right, below = buddies
    # Of four pieces in a loop, each is the best buddy of two others.
    round_right = np.where(right < 0, -1, below[right])
    round_below = np.where(below < 0, -1, right[below])
    corner = np.flatnonzero((round_right >= 0) & (round_right == round_below))
    loop = np.zeros(buddies.shape, bool)
    loop[:, corner] = True
    loop[0, below[corner]] = loop[1, right[corner]] = True
    order = np.lexsort((costs[direction, i, j], ~loop[direction, i]))
    ways = (_RIGHT, _BELOW)
    return [(ways[direction[k]], int(i[k]), int(j[k])) for k in order]


def _fill(costs, frame, segments: list[Segment]) -> np.ndarray:
    """Returns a board grown from the first of the segments, and more where it ends."""
    board = np.full(frame.shape, -1)
    free = np.ones(costs.shape[1], bool)
    singles = [{piece: (0, 0)} for piece in range(len(free))]
    for segment in segments + singles:
        if free[list(segment)].all():
            grown = _grow(costs, frame & (board < 0), free, segment)
            board = np.where(grown >= 0, grown, board)
            free[board[board >= 0]] = False
    return board


def _grow(costs, frame, free, segment: Segment) -> np.ndarray:
    """Returns a segment with what can be added to it, int `rows columns`.

    The board is three times as large as the frame. Where the frame lies on it is left
    open as long as possible: `origins` are the places in the frame where the segment's
    first piece may be.
    """
    rows, columns = frame.shape
    allowed = np.pad(frame, ((rows, rows), (columns, columns)))
    board, free, origins = np.full(allowed.shape, -1), free.copy(), frame.copy()
    sides = [((0, -1), costs[0]), ((0, 1), costs[0].T)]
    sides += [((-1, 0), costs[1]), ((1, 0), costs[1].T)]
    sides = [(dy, dx, np.ascontiguousarray(table)) for (dy, dx), table in sides]
    heap, newest = [], {}

    def origins_with(y, x):
        return origins & allowed[y : y + rows, x : x + columns]

    def offer(y, x):
        beside = [(board[y + dy, x + dx], table) for dy, dx, table in sides]
        found = [table[piece] for piece, table in beside if piece >= 0]
        cost = np.where(free, np.minimum(np.mean(found, axis=0), _WORST), np.inf)
        piece = int(cost.argmin())
        newest[y, x] = (cost[piece] - _MORE_NEIGHBOURS * len(found), y, x, piece)
        heapq.heappush(heap, newest[y, x])

    def open_around(y, x):
        for dy, dx, _ in sides:
            ny, nx = y + dy, x + dx
            if board[ny, nx] < 0 and origins_with(ny, nx).any():
                offer(ny, nx)

    top, left = next(iter(segment.values()))
    start = {p: (y - top + rows, x - left + columns) for p, (y, x) in segment.items()}
    for piece, (y, x) in start.items():
        board[y, x], free[piece], origins = piece, False, origins_with(y, x)
    if not origins.any():
        return np.full(frame.shape, -1)
    for y, x in start.values():
        open_around(y, x)
    while heap and free.any():
        offered = heapq.heappop(heap)
        _, y, x, piece = offered
        if board[y, x] >= 0 or newest[y, x] != offered:
            continue
        if not free[piece]:
            offer(y, x)
        elif (left_over := origins_with(y, x)).any():
            board[y, x], free[piece], origins = piece, False, left_over
            open_around(y, x)
    top, left = np.argwhere(origins)[0]
    return board[rows - top : 2 * rows - top, columns - left : 2 * columns - left]


def neighbours(board: np.ndarray) -> list[np.ndarray]:
    """Returns pieces side by side and pieces on top of each other, each int `2 k`."""
    beside = np.stack([board[:, :-1].ravel(), board[:, 1:].ravel()])
    stacked = np.stack([board[:-1].ravel(), board[1:].ravel()])
    return [pairs[:, (pairs >= 0).all(0)] for pairs in (beside, stacked)]


def _cost_of(costs, board) -> float:
    pairs = zip(costs, neighbours(board), strict=True)
    return sum(float(np.minimum(cost[i, j], _WORST).sum()) for cost, (i, j) in pairs)


def _held_together(costs, board) -> list[Segment]:
    """Returns the parts of a board that best buddies hold, the largest first."""
    links = [p[:, c[*p] < 1] for c, p in zip(costs, neighbours(board), strict=True)]
    label = _connected(np.concatenate(links, axis=1), costs.shape[1])
    parts: dict[int, Segment] = {}
    for y, x in np.argwhere(board >= 0).tolist():
        piece = int(board[y, x])
        parts.setdefault(int(label[piece]), {})[piece] = (y, x)
    return sorted(parts.values(), key=len, reverse=True)


def _connected(links: np.ndarray, count: int) -> np.ndarray:
    """Returns the number of the component of each of `count`, from links `2 k`."""
    graph = scipy.sparse.coo_array((np.ones(links.shape[1]), links), (count, count))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def metrics(
    placed: Int[np.ndarray, "rows columns"], truth: Int[np.ndarray, "rows columns"]
) -> Accuracy:
    """Returns how well a puzzle was solved.

    Args:
      placed: number of the piece at each place, -1 where there is no place. Pieces with
        equal numbers stand for each other: any is right.
      truth: the same, as it should be.

    Raises:
      ValueError: if no two places are side by side.
    """
    inside = truth >= 0
    base = int(max(truth.max(), placed.max())) + 1
    places = np.where(inside, np.cumsum(inside).reshape(inside.shape) - 1, -1)
    links, right = [], []
    each = zip(neighbours(placed), neighbours(truth), neighbours(places), strict=True)
    for (i, j), (a, b), between in each:
        fits = np.isin(i * base + j, a * base + b)
        right.append(fits)
        links.append(between[:, fits])
    if not sum(map(len, right)):
        raise ValueError("truth has no two places side by side: no seam to judge.")
    sizes = np.bincount(_connected(np.concatenate(links, axis=1), int(inside.sum())))
    return Accuracy(
        float((placed == truth)[inside].mean()),
        float(np.concatenate(right).mean()),
        float(sizes.max() / inside.sum()),
    )


def cut(
    image: UInt8[np.ndarray, "h w c"], side: int
) -> UInt8[np.ndarray, "rows columns side side c"]:
    """Returns the pieces of an image, without what is left over below and right.

    Args:
      image: to be cut.
      side: of the pieces in pixels.
    """
    rows, columns = image.shape[0] // side, image.shape[1] // side
    whole = image[: rows * side, : columns * side]
    return whole.reshape(rows, side, columns, side, image.shape[2]).swapaxes(1, 2)
