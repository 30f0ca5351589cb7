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
import optax
from flax import nnx
from jaxtyping import Array, Float

from vim_jax.attacks import inversion
from vim_jax.attacks.fitting import batches
from vim_jax.attacks.inversion import Progress, invert, new_network
from vim_jax.attacks.protocol import Images, Knowledge, Outcome, Truth
from vim_jax.attacks.unet import UNet


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
        return _duel(inputs, wanted, config, progress)

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


def _duel(inputs, wanted, config: Config, progress: Progress | None) -> UNet:
    """Returns the restoring network, trained in turns with its critic."""
    painter = new_network(inputs, wanted, config)
    critic = Critic(
        inputs.shape[-1] + wanted.shape[-1],
        config.critic_width,
        rngs=nnx.Rngs(config.seed + 1),
    )
    n = len(inputs)
    steps = config.epochs * (n // min(config.batch_size, n))
    rate = optax.cosine_decay_schedule(config.learning_rate, max(1, steps))
    # Little momentum: the opponent changes while it lasts.
    optimizer = optax.adam(rate, b1=0.5)
    painter_def, painter_state = nnx.split(painter)
    critic_def, critic_state = nnx.split(critic)
    states = (painter_state, critic_state)
    optimizers = tuple(map(optimizer.init, states))

    def judge(critic_state, x, pictures):
        return nnx.merge(critic_def, critic_state)(jnp.concatenate([x, pictures], -1))

    def critic_loss(critic_state, x, real, painted):
        right, wrong = (judge(critic_state, x, y) for y in (real, painted))
        return jax.nn.relu(1 - right).mean() + jax.nn.relu(1 + wrong).mean()

    def painter_loss(painter_state, critic_state, x, real):
        painted = nnx.merge(painter_def, painter_state)(x)
        distance = jnp.abs(painted - real).mean()
        return (
            config.distance_weight * distance - judge(critic_state, x, painted).mean()
        )

    def update(grads, opt_state, state):
        updates, opt_state = optimizer.update(grads, opt_state, state)
        return optax.apply_updates(state, updates), opt_state

    @jax.jit
    def step(states, optimizers, x, wanted):
        painter_state, critic_state = states
        real = wanted.astype(jnp.float32) / 255
        painted = nnx.merge(painter_def, painter_state)(x)
        grads = jax.grad(critic_loss)(critic_state, x, real, painted)
        critic_state, critic_optimizer = update(grads, optimizers[1], critic_state)
        grads = jax.grad(painter_loss)(painter_state, critic_state, x, real)
        painter_state, painter_optimizer = update(grads, optimizers[0], painter_state)
        return (painter_state, critic_state), (painter_optimizer, critic_optimizer)

    chosen_each = batches(n, config.batch_size, config.epochs, config.seed)
    for done, chosen in enumerate(chosen_each, 1):
        states, optimizers = step(states, optimizers, inputs[chosen], wanted[chosen])
        if progress is not None:
            jax.block_until_ready(states)  # Steps are only begun so far.
            progress(done, steps)
    return nnx.merge(painter_def, states[0])


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
