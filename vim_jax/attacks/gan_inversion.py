"""Learned inversion with an adversary: pictures that look real, right or wrong.

The same network as in `inversion`, trained against a critic, which is to tell its
pictures from originals, and at the same time to stay near the original. It is after
texture where the other one, in doubt, is grey.

References:
  Isola et al., `Image-to-Image Translation with Conditional Adversarial Networks
  <https://arxiv.org/abs/1611.07004>`_, CVPR 2017.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.attacks import inversion
from vim_jax.attacks.duel import duel
from vim_jax.attacks.inversion import Progress, invert, new_network
from vim_jax.attacks.protocol import Images, Knowledge, Outcome, Truth


@dataclasses.dataclass(frozen=True)
class Config(inversion.Config):
    """The networks and their training; see `inversion.Config`.

    Attributes:
      critic_width: channels of the critic at full resolution.
      distance_weight: of the absolute error, beside the critic's opinion.
    """

    learning_rate: float = 4e-4
    critic_width: int = 32
    distance_weight: float = 50.0


def run(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    transfer: Images | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Trains on auxiliary images, attacks the published; see `inversion.run`."""

    def learn(inputs, wanted, progress):
        return duel(
            new_network(inputs, wanted, config),
            Critic(
                inputs.shape[-1] + wanted.shape[-1],
                config.critic_width,
                rngs=nnx.Rngs(config.seed + 1),
            ),
            {"inputs": inputs, "wanted": wanted},
            real=_real,
            paint=lambda painter, batch, key: painter(batch["inputs"]),
            judge=_judge,
            distance=lambda batch, painted: (
                config.distance_weight * jnp.abs(painted - _real(batch)).mean()
            ),
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=config.seed,
            progress=progress,
        )

    return invert(
        published,
        knowledge,
        truth,
        config,
        learn,
        name="adversarial inversion",
        transfer=transfer,
        progress=progress,
    )


def _real(batch) -> jax.Array:
    return batch["wanted"].astype(jnp.float32) / 255


def _judge(critic, batch, pictures) -> jax.Array:
    return critic(jnp.concatenate([batch["inputs"], pictures], -1))


class Critic(nnx.Module):
    """Judges patches of a picture, beside what the attacker started from."""

    def __init__(self, inputs: int, width: int, *, rngs: nnx.Rngs):
        self.first = nnx.Conv(inputs, width, (4, 4), strides=2, rngs=rngs)
        self.second = nnx.Conv(width, 2 * width, (4, 4), strides=2, rngs=rngs)
        self.norm = nnx.GroupNorm(2 * width, num_groups=8, rngs=rngs)
        self.head = nnx.Conv(2 * width, 1, (3, 3), rngs=rngs)

    def __call__(self, x: Float[Array, "n h w k"]) -> Float[Array, "n h2 w2 1"]:
        """Returns how real each patch looks, higher for originals."""
        x = jax.nn.leaky_relu(self.first(x), 0.2)
        return self.head(jax.nn.leaky_relu(self.norm(self.second(x)), 0.2))
