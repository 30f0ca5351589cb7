"""A jigsaw solver whose eye for seams is learned, as JigsawNet's is.

The attacker cuts auxiliary images into pieces, as mixing does, and trains a small
network to tell the true neighbour of a piece from others of the same image, by the
strips on both sides of the seam. Its odds take the place of the hand-made costs in
`vim_jax.attacks.jigsaw`; the pieces are put together in the same way, loops first.

References:
  Le and Li, `JigsawNet: Shredded Image Reassembly Using Convolutional Neural Network
  and Loop-Based Composition <https://arxiv.org/abs/1809.04137>`_, 2019.
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Float32, Int, UInt8

from vim_jax.attacks import jigsaw
from vim_jax.attacks.fitting import compiled, fit
from vim_jax.attacks.mixing import mixed_by
from vim_jax.attacks.protocol import Images, Knowledge, Outcome, Truth
from vim_jax.attacks.puzzle import Compatibility, against_rivals, cut, neighbours
from vim_jax.regions import regions_of

Progress = Callable[[int, int], None]

_STRIP = 4  # Pixels on either side of a seam that the network looks at, at most.
_LEAST_ODDS = 1e-6
_PAIRS = 4096  # Looked at together.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The network, its training, and how much to attack.

    Attributes:
      width: channels of the network.
      seams: how many to learn from.
      rivals: wrong neighbours beside each true one.
      epochs: how often each seam is seen.
      batch_size: seams a step.
      learning_rate: at its peak.
      seed: of the network, the seams and the attacker's keys.
      images: attack so many, the first ones.
      most_pieces: puzzles with more are not tried: each pair of pieces is looked at.
      regions: attack so many of an image, if its regions are not scrambled.
    """

    width: int = 24
    seams: int = 6000
    rivals: int = 7
    epochs: int = 4
    batch_size: int = 64
    learning_rate: float = 3e-3
    seed: int = 0
    images: int = 16
    most_pieces: int = 256
    regions: int = 8


class SolvedPuzzle(NamedTuple):
    """What to learn from.

    Attributes:
      pieces: uint8 `n h w c`.
      board: the number of the piece at each place, -1 where there is none.
    """

    pieces: UInt8[np.ndarray, "n h w c"]
    board: Int[np.ndarray, "rows columns"]


class SeamNet(nnx.Module):
    """Tells from the strips on both sides of a seam whether it is a true one."""

    def __init__(self, depth: int, channels: int, width: int, *, rngs: nnx.Rngs):
        inputs = (depth + 3) * channels
        self.first = nnx.Conv(inputs, width, (5,), rngs=rngs)
        self.second = nnx.Conv(width, width, (5,), rngs=rngs)
        self.hidden = nnx.Linear(2 * width, 2 * width, rngs=rngs)
        self.head = nnx.Linear(2 * width, 1, rngs=rngs)

    def __call__(self, x: Float[Array, "n length depth c"]) -> Float32[Array, " n"]:
        """Returns the log odds that a seam is true.

        Args:
          x: along the seam and across it, which lies in the middle; 0 to 1.
        """
        middle = x.shape[2] // 2
        last, first = x[:, :, middle - 1], x[:, :, middle]
        before, after = (
            x[:, :, max(middle - 2, 0)],
            x[:, :, min(middle + 1, x.shape[2] - 1)],
        )
        steps = [last - first, 2 * last - before - first, 2 * first - after - last]
        # The steps across the seam, of which networks this small do not think.
        seen = [jnp.abs(step) for step in steps]
        centred = x - x.mean((1, 2), keepdims=True)
        seen.append(centred.reshape(*x.shape[:2], -1))
        x = jnp.concatenate(seen, axis=-1)
        x = nnx.gelu(self.second(nnx.gelu(self.first(x))))
        x = jnp.concatenate([x.mean(1), x.max(1)], axis=-1)
        return self.head(nnx.gelu(self.hidden(x)))[:, 0]


def run(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    progress: Progress | None = None,
) -> Outcome:
    """Learns from auxiliary images what seams look like, and solves the puzzles.

    The control is a puzzle of ordinary pieces, cut from the originals, with a network
    that learned from such pieces of the auxiliary images.

    Args:
      published: the mixed images, all of one shape.
      knowledge: with plans, mixer and auxiliary images.
      truth: the originals.
      config: see `Config`.
      progress: called with the steps done and the steps to do.
    """
    mixer, auxiliary = knowledge.mixer, knowledge.auxiliary
    if mixer is None or auxiliary is None:
        raise ValueError(
            "knowledge lacks mixer or auxiliary images: this attack learns"
        )
    side = jigsaw.ordinary_side(auxiliary.shape[1:])
    if mixer.scramble_regions:
        in_place = dataclasses.replace(mixer, scramble_regions=False)
        mixed, plans = mixed_by(in_place, auxiliary, config.seed)
        puzzles = [
            _puzzle(image, *jigsaw.commonest(size))
            for image, size in zip(mixed, plans, strict=True)
        ]
    else:
        plans = mixed_by(mixer, auxiliary, config.seed)[1]
        puzzles = _of_pixels(auxiliary, plans, mixer.channels, config.seed)
    return jigsaw.assemble(
        published,
        knowledge,
        truth,
        jigsaw.Config(
            images=config.images,
            most_pieces=config.most_pieces,
            regions=config.regions,
            most_pixels=config.most_pieces,
            seed=config.seed,
        ),
        name="jigsaw, learned seams",
        knows=("plan", "algorithm", "auxiliary images"),
        costs_of=learned(puzzles, config, progress),
        control_costs_of=learned(
            [_puzzle(image, side) for image in auxiliary], config, progress
        ),
    )


def _puzzle(
    image: np.ndarray, side: int, frame: np.ndarray | None = None
) -> SolvedPuzzle:
    """Returns the pieces of an image, all or those in a frame."""
    grid = cut(image, side)
    frame = np.ones(grid.shape[:2], bool) if frame is None else frame
    board = np.where(frame, np.cumsum(frame).reshape(frame.shape) - 1, -1)
    return SolvedPuzzle(grid[frame], board)


def _of_pixels(auxiliary, plans, channels: str, seed: int) -> list[SolvedPuzzle]:
    """Returns the pixels of a region of each image, or its values, as puzzles."""
    rng = np.random.default_rng(seed)
    puzzles = []
    for image, size in zip(auxiliary, plans, strict=True):
        top, left, height, width = (np.asarray(x) for x in regions_of(size))
        place = tuple(int(rng.integers(side)) for side in image.shape[:2])
        y, x = int(top[place]), int(left[place])
        region = image[y : y + int(height[place]), x : x + int(width[place])]
        planes = (
            [region] if channels == "joint" else np.split(region, region.shape[2], 2)
        )
        puzzles += [_puzzle(plane, 1) for plane in planes]
    return puzzles


def learned(
    puzzles: Sequence[SolvedPuzzle],
    config: Config,
    progress: Progress | None = None,
) -> Compatibility:
    """Returns a compatibility that a network learned from solved puzzles.

    Args:
      puzzles: of which those with the commonest shape of pieces are learnt from.
      config: the network and its training.
      progress: called with the steps done and the steps to do.
    """
    strips = _training_strips(puzzles, config)
    depth, channels = strips.shape[-2:]
    net = SeamNet(depth, channels, config.width, rngs=nnx.Rngs(config.seed))
    net = fit(
        net,
        _loss,
        strips,
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        progress=progress,
    )

    odds_of = compiled(net, batch_size=_PAIRS)

    def costs_of(pieces: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "2 n n"]:
        n = len(pieces)
        costs = []
        for turned in (pieces, pieces.swapaxes(1, 2)):
            i, j = np.indices((n, n)).reshape(2, -1)
            odds = odds_of(_strips(turned[i], turned[j]))
            # A cost of 0 would be the best buddy of all.
            cost = np.logaddexp(0, -odds.reshape(n, n).astype(float)) + _LEAST_ODDS
            np.fill_diagonal(cost, np.inf)
            costs.append(against_rivals(cost))
        return np.stack(costs)

    return costs_of


def _strips(left: np.ndarray, right: np.ndarray) -> Float32[np.ndarray, "n h d c"]:
    """Returns what lies on both sides of the seams of pieces side by side."""
    depth = min(_STRIP, left.shape[2])
    strips = np.concatenate([left[:, :, -depth:], right[:, :, :depth]], axis=2)
    return strips.astype(np.float32) / np.float32(255)


def _training_strips(puzzles, config: Config) -> Float32[np.ndarray, "m k h d c"]:
    """Returns seams, each a true neighbour first and then wrong ones."""
    rng = np.random.default_rng(config.seed)
    # Pieces on top of each other are side by side in the turned picture.
    either_way = [
        (turned, pairs)
        for pieces, board in puzzles
        for turned, pairs in zip(
            (pieces, pieces.swapaxes(1, 2)), neighbours(board), strict=True
        )
        if pairs.size
    ]
    if not either_way:
        raise ValueError("no image has two pieces side by side to learn from")
    shapes = collections.Counter(pieces.shape[1:] for pieces, _ in either_way)
    ((commonest, _),) = shapes.most_common(1)
    either_way = [pair for pair in either_way if pair[0].shape[1:] == commonest]
    seams = []
    for _ in range(config.seams):
        pieces, pairs = either_way[rng.integers(len(either_way))]
        left, right = pairs[:, rng.integers(pairs.shape[1])]
        rivals = rng.integers(len(pieces), size=config.rivals)
        there = pieces[[right, *rivals]]
        seams.append(_strips(np.broadcast_to(pieces[left], there.shape), there))
    return np.stack(seams)


def _loss(net: SeamNet, strips) -> jax.Array:
    odds = net(strips.reshape(-1, *strips.shape[2:])).reshape(strips.shape[:2])
    ranked = optax.softmax_cross_entropy_with_integer_labels(
        odds, jnp.zeros(len(odds), jnp.int32)
    )
    true = jnp.zeros_like(odds).at[:, 0].set(1)
    # The odds themselves count where rankings of several pieces are compared.
    told = optax.sigmoid_binary_cross_entropy(odds, true)
    return ranked.mean() + told.mean()
