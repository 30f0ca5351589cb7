"""Region placing: where scrambled regions probably were, told by their values alone.

Shuffling leaves each region's values, and scrambling takes its place. But skies are
above and grass is below: a network learns, from auxiliary images, where regions of such
values usually lie. What is expected at each place then makes a thumbnail.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Float32, UInt8

from vim_jax.attacks.fitting import apply, fit
from vim_jax.attacks.jigsaw import commonest
from vim_jax.attacks.protocol import Images, Knowledge, Outcome, Truth
from vim_jax.attacks.puzzle import cut
from vim_jax.attacks.similarity import picture_scores, ssim
from vim_jax.attacks.thumbnail import as_picture, enlarged

Progress = Callable[[int, int], None]

_LEVELS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
# Of what the same regions in place show: the control marks them, so little is lost.
_OF_IN_PLACE = 0.8
_MOST_PAIRS = 2**22  # Of regions and places, in a batch.


@dataclasses.dataclass(frozen=True)
class Config:
    """The network and its training.

    Attributes:
      width: of its two hidden layers.
      epochs: how often each auxiliary image is seen.
      batch_size: images a step, at most.
      learning_rate: at its peak.
      rounds: of making each place have one region, and each region one place.
      seed: of the network and the order of images.
    """

    width: int = 256
    epochs: int = 24
    batch_size: int = 64
    learning_rate: float = 2e-3
    rounds: int = 30
    seed: int = 0


class PlaceNet(nnx.Module):
    """Odds of a region to have been at each place, region by region."""

    def __init__(self, features: int, places: int, width: int, *, rngs: nnx.Rngs):
        self.first = nnx.Linear(features, width, rngs=rngs)
        self.second = nnx.Linear(width, width, rngs=rngs)
        self.head = nnx.Linear(width, places, rngs=rngs)

    def __call__(self, x: Float[Array, "n r f"]) -> Float[Array, "n r p"]:
        """Returns log odds of each region and place."""
        x = nnx.gelu(self.first(x))
        return self.head(nnx.gelu(self.second(x)))


def run(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    progress: Progress | None = None,
) -> Outcome:
    """Learns where regions lie, and puts those of the published images there.

    Regions are those of the commonest full size; others stay where they are. The
    control is an equal network, shown the same regions with a mark of their place: it
    must show nearly what region means in place do.

    Args:
      published: the mixed images, all of one shape and plan.
      knowledge: with plans, mixer and auxiliary images.
      truth: the originals.
      config: the network and its training.
      progress: called with the steps done and the steps to do.

    Raises:
      ValueError: if plans, mixer or auxiliary images are missing, or plans differ.
    """
    plans, mixer, auxiliary = knowledge.plans, knowledge.mixer, knowledge.auxiliary
    if plans is None or mixer is None or auxiliary is None:
        raise ValueError(
            "knowledge lacks plans, mixer or auxiliary images: this attack learns"
        )
    size = np.asarray(plans[0])
    if any(not np.array_equal(size, plan) for plan in plans):
        raise ValueError("plans differ: this attack takes images of one plan")

    def pictures(images: Images, marked: bool) -> list[np.ndarray]:
        """Returns what images show whose regions are put where they probably were."""
        net = learned(auxiliary, size, config, progress, marked=marked)
        odds = apply(net, _features(np.stack(list(images)), size, marked))
        placed = _placed(np.stack(list(images)), size, odds, config.rounds)
        return [as_picture(enlarged(x, size, mixer.channels)) for x in placed]

    found = pictures(published, False)
    originals = np.stack(list(truth.originals))
    in_place = [as_picture(enlarged(x, size, mixer.channels)) for x in originals]
    scores = picture_scores(
        found,
        truth.originals,
        name="region placing",
        knowledge=("plan", "algorithm", "auxiliary images"),
        control_case="regions that are marked with their places",
        control_pictures=pictures(originals, True),
        control_ssim=_OF_IN_PLACE * float(ssim(in_place, truth.originals).mean()),
        auxiliary=auxiliary,
        channels=mixer.channels,
    )
    return Outcome(scores, found)


def learned(
    images: UInt8[np.ndarray, "m h w c"],
    size: np.ndarray,
    config: Config,
    progress: Progress | None = None,
    *,
    marked: bool = False,
) -> PlaceNet:
    """Returns a network that knows where regions of these images lie.

    Args:
      images: not mixed: what it sees of a region does not depend on its order.
      size: int32 `h w`, the plan.
      config: the network and its training.
      progress: called with the steps done and the steps to do.
      marked: whether regions bear a mark of their place.
    """
    seen = _features(images, size, marked)
    _, regions, features = seen.shape
    net = PlaceNet(features, regions, config.width, rngs=nnx.Rngs(config.seed))
    return fit(
        net,
        _loss,
        seen,
        epochs=config.epochs,
        batch_size=min(config.batch_size, max(1, _MOST_PAIRS // regions**2)),
        learning_rate=config.learning_rate,
        seed=config.seed,
        progress=progress,
    )


def _loss(net: PlaceNet, seen: jax.Array) -> jax.Array:
    odds = net(seen)
    places = jnp.broadcast_to(jnp.arange(odds.shape[1]), odds.shape[:2])
    return optax.softmax_cross_entropy_with_integer_labels(odds, places).mean()


def _features(
    images: UInt8[np.ndarray, "n h w c"], size: np.ndarray, marked: bool
) -> Float32[np.ndarray, "n r f"]:
    """Returns what shuffling leaves of regions, and of all regions of their image.

    Two numbers are kept for the place, and 0 unless it is marked.
    """
    side, frame = commonest(size)
    regions = np.stack([cut(image, side)[frame] for image in images])
    values = regions.reshape(*regions.shape[:2], side * side, -1).astype(np.float32)
    own = np.moveaxis(np.quantile(values, _LEVELS, axis=2), 0, 2) / 255
    own = own.reshape(*own.shape[:2], -1)
    around = np.concatenate([own.mean(1), own.std(1)], axis=-1)
    around = np.broadcast_to(around[:, None], (*own.shape[:2], around.shape[-1]))
    place = np.argwhere(frame) / max(frame.shape) * marked
    place = np.broadcast_to(place, (*own.shape[:2], 2))
    return np.concatenate([own, around, place], axis=-1).astype(np.float32)


def _placed(
    images: UInt8[np.ndarray, "n h w c"],
    size: np.ndarray,
    odds: Float32[np.ndarray, "n r p"],
    rounds: int,
) -> UInt8[np.ndarray, "n h w c"]:
    """Returns images in which each place has the mean that is expected there."""
    side, frame = commonest(size)
    shares = np.exp(_balanced(odds, rounds))
    placed = images.copy()
    for image, share in zip(placed, shares, strict=True):
        means = cut(image, side)[frame].mean((1, 2))
        expected = share.T @ means / share.sum(0)[:, None]
        for (row, column), colour in zip(np.argwhere(frame), expected, strict=True):
            y, x = row * side, column * side
            image[y : y + side, x : x + side] = np.rint(colour)
    return placed


def _balanced(
    odds: Float32[np.ndarray, "n r p"], rounds: int
) -> Float32[np.ndarray, "n r p"]:
    """Returns log shares that add up to 1 for each region and, nearly, each place.

    Sinkhorn's way: either in turns.
    """
    logs = odds.astype(np.float64)
    for _ in range(rounds):
        for axis in (1, 2):
            logs -= np.logaddexp.reduce(logs, axis=axis, keepdims=True)
    return logs.astype(np.float32)
