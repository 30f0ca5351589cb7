"""Samples of a GAN that was trained on published images.

The attacker hopes that new images of the same kind show what the originals show. It
takes thousands of published images, and their labels. `experiments/gan_samples.py` asks
a classifier that was trained on plain images whether it knows the samples again.

References:
  Miyato and Koyama, `cGANs with Projection Discriminator
  <https://arxiv.org/abs/1802.05637>`_, ICLR 2018.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int, Int32, UInt8

from vim_jax.attacks.duel import duel
from vim_jax.attacks.thumbnail import as_picture

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Config:
    """The networks and their training.

    Attributes:
      width: channels at full resolution; twice as many where the sides are halved.
      latent: random numbers a sample.
      epochs: how often each image is seen.
      batch_size: images a step.
      learning_rate: at the start.
      seed: of the networks, the order of images and the samples.
    """

    width: int = 32
    latent: int = 64
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 5e-4
    seed: int = 0


def samples(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    wanted: Int[np.ndarray, " k"],
    config: Config,
    progress: Progress | None = None,
) -> list[UInt8[np.ndarray, "h w c"]]:
    """Returns new images of the wanted labels, from a GAN trained on labelled ones.

    Raises:
      ValueError: if 4 does not divide the sides of the images.
    """
    _, h, w, c = images.shape
    if h % 4 or w % 4:
        raise ValueError(f"images are {w} x {h} pixels: give sides that 4 divides")
    classes = int(labels.max()) + 1
    painter = duel(
        Painter(
            config.latent, classes, (h, w, c), config.width, rngs=nnx.Rngs(config.seed)
        ),
        Critic(classes, c, config.width, rngs=nnx.Rngs(config.seed + 1)),
        {"images": images, "labels": labels.astype(np.int32)},
        real=lambda batch: batch["images"].astype(jnp.float32) / 127.5 - 1,
        paint=lambda painter, batch, key: painter(
            jax.random.normal(key, (len(batch["labels"]), config.latent)),
            batch["labels"],
        ),
        judge=lambda critic, batch, pictures: critic(pictures, batch["labels"]),
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        progress=progress,
    )
    latent = jax.random.normal(
        jax.random.key(config.seed + 1), (len(wanted), config.latent)
    )
    pictures = np.asarray(painter(latent, jnp.asarray(wanted, jnp.int32)))
    return [as_picture((picture + 1) * np.float32(127.5)) for picture in pictures]


class Painter(nnx.Module):
    """Paints a picture of a label from random numbers."""

    def __init__(
        self,
        latent: int,
        classes: int,
        shape: tuple[int, int, int],
        width: int,
        *,
        rngs: nnx.Rngs,
    ):
        h, w, c = shape
        self.small = (h // 4, w // 4, 4 * width)
        self.label = nnx.Embed(classes, latent, rngs=rngs)
        self.start = nnx.Linear(2 * latent, h // 4 * (w // 4) * 4 * width, rngs=rngs)
        self.first = nnx.Conv(4 * width, 2 * width, (3, 3), rngs=rngs)
        self.first_norm = nnx.GroupNorm(2 * width, num_groups=8, rngs=rngs)
        self.second = nnx.Conv(2 * width, width, (3, 3), rngs=rngs)
        self.second_norm = nnx.GroupNorm(width, num_groups=8, rngs=rngs)
        self.head = nnx.Conv(width, c, (3, 3), rngs=rngs)

    def __call__(
        self, latent: Float[Array, "n k"], labels: Int32[Array, " n"]
    ) -> Float32[Array, "n h w c"]:
        """Returns pictures from -1 to 1."""
        x = self.start(jnp.concatenate([latent, self.label(labels)], axis=-1))
        x = nnx.relu(x.reshape(-1, *self.small))
        x = nnx.relu(self.first_norm(self.first(_twice(x))))
        x = nnx.relu(self.second_norm(self.second(_twice(x))))
        return jnp.tanh(self.head(x))


def _twice(x: Float[Array, "n h w k"]) -> Float[Array, "n h2 w2 k"]:
    return x.repeat(2, axis=1).repeat(2, axis=2)


class Critic(nnx.Module):
    """Judges whether a picture is real and of its label."""

    def __init__(self, classes: int, channels: int, width: int, *, rngs: nnx.Rngs):
        self.first = nnx.Conv(channels, width, (4, 4), strides=2, rngs=rngs)
        self.second = nnx.Conv(width, 2 * width, (4, 4), strides=2, rngs=rngs)
        self.third = nnx.Conv(2 * width, 4 * width, (3, 3), rngs=rngs)
        self.label = nnx.Embed(classes, 4 * width, rngs=rngs)
        self.head = nnx.Linear(4 * width, 1, rngs=rngs)

    def __call__(
        self, pictures: Float[Array, "n h w c"], labels: Int32[Array, " n"]
    ) -> Float32[Array, " n"]:
        """Returns its opinion, higher for real pictures."""
        x = pictures
        for layer in (self.first, self.second, self.third):
            x = jax.nn.leaky_relu(layer(x), 0.2)
        x = x.mean((1, 2))
        return self.head(x)[:, 0] + (x * self.label(labels)).sum(-1)
