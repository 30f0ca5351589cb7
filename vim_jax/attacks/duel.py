"""Adversarial training: a network that paints, against a critic of its pictures."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import optax
from flax import nnx

from vim_jax.attacks.fitting import batches

Painter = TypeVar("Painter", bound=nnx.Module)
Progress = Callable[[int, int], None]


def duel(
    painter: Painter,
    critic: nnx.Module,
    data: Any,
    *,
    real: Callable[[Any], jax.Array],
    paint: Callable[[Any, Any, jax.Array], jax.Array],
    judge: Callable[[Any, Any, jax.Array], jax.Array],
    distance: Callable[[Any, jax.Array], jax.Array] | None = None,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Progress | None = None,
) -> Painter:
    """Returns a painter trained in turns with its critic, by the hinge loss.

    Args:
      painter: with fresh parameters, and nothing else that changes.
      critic: the same.
      data: pytree of NumPy arrays `n ...`.
      real: from a batch to pictures as the critic is to accept them.
      paint: from the painter, a batch and a PRNG key to pictures like those.
      judge: from the critic, a batch and pictures to its opinion, higher for real ones.
      distance: from a batch and painted pictures to what the painter pays besides.
      epochs: how often each example is seen.
      batch_size: examples a step; all of them if there are fewer.
      learning_rate: at the start; it falls as a cosine.
      seed: of the order of examples and of the keys.
      progress: called with the steps done and the steps to do.
    """
    n = len(jax.tree.leaves(data)[0])
    steps = epochs * (n // min(batch_size, n))
    rate = optax.cosine_decay_schedule(learning_rate, max(1, steps))
    # Little momentum: the opponent changes while it lasts.
    optimizer = optax.adam(rate, b1=0.5)
    painter_def, painter_state = nnx.split(painter)
    critic_def, critic_state = nnx.split(critic)
    states = (painter_state, critic_state)
    optimizers = tuple(map(optimizer.init, states))

    def opinion(critic_state, batch, pictures):
        return judge(nnx.merge(critic_def, critic_state), batch, pictures)

    def critic_loss(critic_state, batch, painted):
        right, wrong = (opinion(critic_state, batch, y) for y in (real(batch), painted))
        return jax.nn.relu(1 - right).mean() + jax.nn.relu(1 + wrong).mean()

    def painter_loss(painter_state, critic_state, batch, key):
        painted = paint(nnx.merge(painter_def, painter_state), batch, key)
        cost = -opinion(critic_state, batch, painted).mean()
        return cost if distance is None else cost + distance(batch, painted)

    def update(grads, opt_state, state):
        updates, opt_state = optimizer.update(grads, opt_state, state)
        return optax.apply_updates(state, updates), opt_state

    @jax.jit
    def step(states, optimizers, batch, key):
        painter_state, critic_state = states
        one, other = jax.random.split(key)
        painted = paint(nnx.merge(painter_def, painter_state), batch, one)
        grads = jax.grad(critic_loss)(critic_state, batch, painted)
        critic_state, critic_optimizer = update(grads, optimizers[1], critic_state)
        grads = jax.grad(painter_loss)(painter_state, critic_state, batch, other)
        painter_state, painter_optimizer = update(grads, optimizers[0], painter_state)
        return (painter_state, critic_state), (painter_optimizer, critic_optimizer)

    key = jax.random.key(seed)
    for done, chosen in enumerate(batches(n, batch_size, epochs, seed), 1):
        batch = jax.tree.map(lambda x, chosen=chosen: x[chosen], data)
        states, optimizers = step(
            states, optimizers, batch, jax.random.fold_in(key, done)
        )
        if progress is not None:
            jax.block_until_ready(states)  # Steps are only begun so far.
            progress(done, steps)
    return nnx.merge(painter_def, states[0])
