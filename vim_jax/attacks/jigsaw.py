"""The jigsaw attack on mixed images: regions, or pixels, as pieces of a puzzle."""

import dataclasses

import numpy as np

from vim_jax.attacks import intervals
from vim_jax.attacks.protocol import (
    Control,
    Images,
    Knowledge,
    Known,
    Outcome,
    Truth,
    score,
)
from vim_jax.attacks.puzzle import (
    Compatibility,
    compatibility,
    cut,
    metrics,
    neighbours,
    solve,
)
from vim_jax.regions import regions_of

_PHOTOGRAPH = 96


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """How much to attack.

    Attributes:
      images: attack so many, the first ones.
      most_pieces: images with more regions of one size are left as published.
      regions: attack so many of an image, if its regions are not scrambled.
      most_pixels: regions with more are left as published, if they are not scrambled.
      rounds: of refinement at most.
      draws: random placements an image, for what chance scores.
      seed: of the choice of regions and the random placements.
    """

    images: int = 32
    most_pieces: int = 2048
    regions: int = 8
    most_pixels: int = 256
    rounds: int = 8
    draws: int = 64
    seed: int = 0


def run(
    published: Images, knowledge: Knowledge, truth: Truth, config: Config
) -> Outcome:
    """Solves the puzzles that mixed images are.

    If regions are scrambled, the pieces are the regions of the most frequent full size
    (others stay where they are, and their seams are not used). Which region is which is
    known from its values alone, so regions of equal values stand for each other: any is
    right. If regions are in place, the pieces are the pixels of some of an image's
    regions, or its single values where channels do not move together. Reconstructions
    are the published images with these pieces moved.

    The control is a puzzle of ordinary pieces, cut from the originals.

    Raises:
      ValueError: if `knowledge` has no plans or no mixer, if the numbers of images
        differ, if an original is not what was published, or if regions are scrambled
        and no image has two of the same size side by side.
    """
    return assemble(
        published,
        knowledge,
        truth,
        config,
        name="jigsaw",
        knows=("plan", "algorithm"),
        costs_of=compatibility,
        control_costs_of=compatibility,
    )


def assemble(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    name: str,
    knows: tuple[Known, ...],
    costs_of: Compatibility,
    control_costs_of: Compatibility,
) -> Outcome:
    """Runs `run`, whatever tells how well pieces fit, in the attack and its control."""
    mixer, plans = knowledge.mixer, knowledge.plans
    if mixer is None or plans is None:
        raise ValueError("knowledge has no plans or no mixer, which this attack takes")
    if not 0 < len(published) == len(plans) == len(truth.originals):
        raise ValueError(
            f"{len(published)} images are published, with {len(plans)} plans and "
            f"{len(truth.originals)} originals: give one of each for every image."
        )
    rng = np.random.default_rng(config.seed)
    attack = _place_regions if mixer.scramble_regions else _place_pixels
    pictures, found = list(published), []
    for i in range(min(config.images, len(published))):
        size = np.asarray(plans[i])
        pictures[i], result = attack(
            rng,
            published[i],
            truth.originals[i],
            size,
            mixer.channels,
            config,
            costs_of,
        )
        found.extend([] if result is None else [result])
    if not found:
        raise ValueError("no image has two regions of one size side by side to place")
    control = _control(rng, truth.originals[: config.images], config, control_costs_of)
    # `images metrics`: of the attack, and of chance.
    reached, by_chance = (np.asarray(rows) for rows in zip(*found, strict=True))
    pieces = "regions" if mixer.scramble_regions else "pixels"
    scores = []
    for k, label in enumerate(
        (
            f"{pieces} in place (share)",
            f"neighbouring {pieces} joined (share)",
            "largest part joined right (share)",
        )
    ):
        known = ~np.isnan(reached[:, k])
        if known.any():
            scores.append(
                score(
                    intervals.mean_beside(reached[known, k], by_chance[known, k]),
                    name=name,
                    knowledge=knows,
                    metric=label,
                    chance=float(by_chance[known, k].mean()),
                    control=control,
                )
            )
    return Outcome(tuple(scores), pictures)


def _place_regions(rng, image, original, size, channels, config: Config, costs_of):
    """Returns the picture, and the accuracies with those of chance; or None."""
    side, frame = commonest(size)
    pieces, wanted = cut(image, side)[frame], cut(original, side)[frame]
    numbers = _numbers([_multiset(p, channels) for p in (*pieces, *wanted)])
    mine, right = np.split(numbers, 2)
    if not np.array_equal(np.sort(mine), np.sort(right)):
        raise ValueError("truth.originals are not what was published: regions differ")
    answer = np.full(frame.shape, -1)
    answer[frame] = right
    if not sum(pairs.shape[1] for pairs in neighbours(answer)):
        return image, None
    order = np.arange(len(pieces))
    if len(pieces) <= config.most_pieces:
        rows, columns = frame.shape
        order = solve(
            pieces,
            rows,
            columns,
            rounds=config.rounds,
            frame=frame,
            costs_of=costs_of,
        )[frame]

    def accuracy(order):
        placed = answer.copy()
        placed[frame] = mine[order]
        return metrics(placed, answer)

    draws = [accuracy(rng.permutation(len(pieces))) for _ in range(config.draws)]
    picture = image.copy()
    for piece, (row, column) in zip(pieces[order], np.argwhere(frame), strict=True):
        y, x = row * side, column * side
        picture[y : y + side, x : x + side] = piece
    return picture, (accuracy(order), np.mean(draws, axis=0))


def commonest(size: np.ndarray) -> tuple[int, np.ndarray]:
    """Returns the size of most full regions, and where on its grid they are."""
    frames = []
    for side in np.unique(size).tolist():
        rows, columns = size.shape[0] // side, size.shape[1] // side
        frames.append((side, size[::side, ::side][:rows, :columns] == side))
    return max(frames, key=lambda pair: int(pair[1].sum()))


def is_puzzle(size: np.ndarray) -> bool:
    """Returns whether two full regions of the commonest size are side by side."""
    _, frame = commonest(size)
    across, down = frame[:, 1:] & frame[:, :-1], frame[1:] & frame[:-1]
    return bool(across.any() or down.any())


def _multiset(piece: np.ndarray, channels: str) -> bytes:
    values = piece.reshape(-1, 1 if channels == "mixed" else piece.shape[-1])
    return np.sort(values, axis=0).tobytes()


def _numbers(names: list[bytes]) -> np.ndarray:
    """Returns a number for each name, equal for equal ones."""
    known: dict[bytes, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names])


def _place_pixels(rng, image, original, size, channels, config: Config, costs_of):
    """Returns the picture, and the accuracies with those of chance.

    All pixels count as in place or not; of neighbours and of parts joined, those of
    puzzles that were tried, and NaN if there were none.
    """
    regions = regions_of(size)
    top, left, height, width = (np.asarray(part).ravel() for part in regions)
    first = np.unique(np.asarray(regions.origin))
    chosen = rng.choice(first, min(config.regions, len(first)), replace=False)
    picture, right, lucky, total = image.copy(), 0.0, 0.0, 0
    joined, by_chance = [], []
    planes = [slice(k, k + 1) for k in range(image.shape[2])]
    for k in chosen:
        here = np.s_[top[k] : top[k] + height[k], left[k] : left[k] + width[k]]
        for plane in [slice(None)] if channels == "joint" else planes:
            values, wanted = (x[here][..., plane] for x in (image, original))
            n = int(height[k] * width[k])
            pieces = values.reshape(n, 1, 1, -1)
            tried = 1 < n <= config.most_pixels
            if tried:
                board = solve(
                    pieces,
                    int(height[k]),
                    int(width[k]),
                    rounds=config.rounds,
                    costs_of=costs_of,
                )
                pieces = pieces[board.ravel()]
            picture[here][..., plane] = pieces.reshape(values.shape)
            pixels = np.concatenate([pieces.reshape(n, -1), wanted.reshape(n, -1)])
            mine, true = np.split(_numbers([pixel.tobytes() for pixel in pixels]), 2)
            right += float((mine == true).sum())
            lucky += float(np.bincount(mine, minlength=2 * n)[true].mean())
            total += n
            if tried:
                answer = true.reshape(board.shape)
                joined.append(metrics(mine.reshape(board.shape), answer)[1:])
                draw = rng.permutation(mine).reshape(board.shape)
                by_chance.append(metrics(draw, answer)[1:])
    none = [(np.nan, np.nan)]
    reached, chance = (np.mean(x or none, axis=0) for x in (joined, by_chance))
    return picture, ((right / total, *reached), (lucky / total, *chance))


def _control(rng, originals, config: Config, costs_of: Compatibility) -> Control:
    """Returns how well ordinary puzzles of the originals are solved."""
    found = []
    for image in originals:
        grid = cut(image, ordinary_side(image.shape))
        pieces = grid.reshape(-1, *grid.shape[2:])
        shuffled = rng.permutation(len(pieces))
        numbers = _numbers([piece.tobytes() for piece in pieces])
        rows, columns = grid.shape[:2]
        board = solve(
            pieces[shuffled], rows, columns, rounds=config.rounds, costs_of=costs_of
        )
        answer = numbers.reshape(rows, columns)
        found.append(metrics(numbers[shuffled][board], answer).neighbour)
    large = min(min(image.shape[:2]) for image in originals) >= _PHOTOGRAPH
    # Of 16 pieces, one pair of equal looks that are exchanged breaks up to 8 of 24
    # seams: small images are allowed more.
    case = "ordinary pieces of the originals, neighbours joined (share)"
    return Control(case, float(np.mean(found)), 0.9 if large else 0.75)


def ordinary_side(shape: tuple[int, ...]) -> int:
    """Returns the side of ordinary pieces for an image of a shape `h w c`, in pixels.

    Pieces of less than 8 pixels have seams too short to tell rivals apart; images of
    less than 16 pixels have no others.
    """
    short = min(shape[:2])
    return max(8, short // 8) if short >= 16 else max(1, short // 2)
