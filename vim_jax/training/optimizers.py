"""Optimizers and learning rates of a training run."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from vim_jax.optim import st_adam
from vim_jax.training.config import TrainConfig


def make_schedule(config: TrainConfig, total_steps: int) -> optax.Schedule:
    """Returns the learning rate by step: linear warm-up, cosine decay to zero.

    Args:
      config: The run's settings.
      total_steps: Gradient steps of the whole run.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=int(config.warmup_fraction * total_steps),
        decay_steps=total_steps,
    )
    # The middle of each step: at its start the first step would have rate zero, at
    # its end the last one.
    return lambda count: schedule(jnp.asarray(count, jnp.float32) + 0.5)


def make_optimizer(
    config: TrainConfig, total_steps: int
) -> optax.GradientTransformation:
    """Returns the optimizer, with the learning rates of `make_schedule`.

    Args:
      config: The run's settings.
      total_steps: Gradient steps of the whole run.
    """
    rate, decay = make_schedule(config, total_steps), config.weight_decay
    decays = {"weight_decay": decay, "mask": _not_vectors} if decay else {}
    match config.optimizer:
        case "st_adam":
            optimizer = st_adam(rate, **decays)
        case "adam_no_bias_correction":
            optimizer = st_adam(rate, eps=1e-8, eps_root=0.0, **decays)
        case "adam":
            optimizer = optax.adam(rate)
        case "adamw":
            optimizer = optax.adamw(rate, weight_decay=decay, mask=_not_vectors)
        case "sgd":
            optimizer = optax.chain(
                optax.add_decayed_weights(decay, mask=_not_vectors),
                optax.sgd(rate, momentum=0.9),
            )
    if config.clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), optimizer)


def _not_vectors(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)
