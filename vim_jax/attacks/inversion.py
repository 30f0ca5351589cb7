"""Learned inversion: a network trained to undo the mixing, without the key.

The attacker mixes auxiliary images under keys of its own, and trains a U-Net to restore
them from what mixing leaves (`features`). It is then let loose on the published images.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32, UInt8

from vim_jax.attacks.features import features
from vim_jax.attacks.fitting import apply, fit
from vim_jax.attacks.mixing import mixed_by, mixed_like
from vim_jax.attacks.protocol import (
    Images,
    Knowledge,
    Outcome,
    Plans,
    Score,
    Truth,
)
from vim_jax.attacks.similarity import picture_scores
from vim_jax.attacks.thumbnail import as_picture
from vim_jax.attacks.unet import UNet

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Config:
    """The network and its training.

    Attributes:
      width: channels at full resolution; doubled each time the sides are halved.
      depth: how often they are.
      epochs: how often each auxiliary image is seen.
      batch_size: images a step.
      learning_rate: at its peak.
      seed: of the network, the order of images and the attacker's keys.
      control_size: region size of the control, in pixels.
      control_images: of the auxiliary images, how many the control learns from.
      control_ssim: the mean SSIM that the control must reach.
    """

    width: int = 32
    depth: int = 2
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0
    control_size: int = 2
    control_images: int = 2000
    control_ssim: float = 0.7


Learn = Callable[
    [Float32[np.ndarray, "m h w k"], UInt8[np.ndarray, "m h w c"], Progress | None],
    UNet,
]
"""From features and originals to a network that restores originals."""


def run(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    transfer: Images | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Trains on auxiliary images, attacks the published. All have one shape.

    The control is an equal network, trained less long, on a mixing with tiny regions.

    Args:
      published: the mixed images.
      knowledge: with plans, mixer and auxiliary images.
      truth: the originals.
      config: the network and its training.
      transfer: images of another kind, to be mixed and attacked by the same network.
      progress: called with the steps done and the steps to do.
    """

    def learn(inputs, wanted, progress):
        return trained(inputs, wanted, config, progress)

    return invert(
        published,
        knowledge,
        truth,
        config,
        learn,
        name="learned inversion",
        transfer=transfer,
        progress=progress,
    )


def trained(
    inputs: Float32[np.ndarray, "m h w k"],
    wanted: UInt8[np.ndarray, "m h w c"],
    config: Config,
    progress: Progress | None = None,
) -> UNet:
    """Returns a network that restores images from what is left of them.

    Args:
      inputs: what is left, 0 to 1; its second `c` channels are a guide to add to.
      wanted: the images.
      config: the network and its training.
      progress: called with the steps done and the steps to do.
    """
    return fit(
        new_network(inputs, wanted, config),
        _loss,
        {"inputs": inputs, "wanted": wanted},
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        progress=progress,
    )


def new_network(inputs: np.ndarray, wanted: np.ndarray, config: Config) -> UNet:
    """Returns a network with fresh parameters."""
    return UNet(
        inputs.shape[-1],
        wanted.shape[-1],
        config.width,
        config.depth,
        rngs=nnx.Rngs(config.seed),
    )


def invert(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    learn: Learn,
    *,
    name: str,
    transfer: Images | None,
    progress: Progress | None,
) -> Outcome:
    """Runs `run`, whatever way the network learns."""
    plans, mixer, auxiliary = knowledge.plans, knowledge.mixer, knowledge.auxiliary
    if plans is None or mixer is None or auxiliary is None:
        raise ValueError(
            "knowledge lacks plans, mixer or auxiliary: this attack learns"
        )
    size = config.control_size

    def learnt(mixed, plans, originals) -> UNet:
        return learn(features(mixed, plans, mixer), originals, progress)

    def restored(model: UNet, mixed: Images, plans: Plans) -> list[np.ndarray]:
        return pictures_of(model, features(mixed, plans, mixer))

    few = auxiliary[: config.control_images]
    easy = learnt(*mixed_like(mixer, few, size), few)
    model = learnt(*mixed_by(mixer, auxiliary, config.seed), auxiliary)

    def scores(name, pictures, originals) -> tuple[Score, Score]:
        return picture_scores(
            pictures,
            originals,
            name=name,
            knowledge=("plan", "algorithm", "auxiliary images"),
            control_case=f"region size {size}",
            control_pictures=restored(easy, *mixed_like(mixer, originals, size)),
            control_ssim=config.control_ssim,
            auxiliary=auxiliary,
            channels=mixer.channels,
        )

    pictures = restored(model, published, plans)
    found = scores(name, pictures, truth.originals)
    if transfer is not None:
        moved = restored(model, *mixed_by(mixer, transfer, config.seed + 1))
        found += scores(f"{name}, other kind of image", moved, transfer)
    return Outcome(found, pictures)


def pictures_of(
    model: UNet, inputs: Float32[np.ndarray, "n h w k"]
) -> list[UInt8[np.ndarray, "h w c"]]:
    """Returns the images that a trained network restores."""
    return [as_picture(x * 255) for x in apply(model, inputs, batch_size=64)]


def _loss(model: UNet, batch) -> jax.Array:
    wanted = batch["wanted"].astype(jnp.float32) / 255
    error = model(batch["inputs"]) - wanted
    # Of both kinds: squares for decibels, absolute values for sharp edges.
    return (jnp.abs(error) + 4 * error**2).mean()
