"""The compiled steps of training: one gradient step, one evaluation step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from vim_jax.optim import st_adam
from vim_jax.training.config import TrainConfig


class TrainState(NamedTuple):
    """All that changes while training; plain arrays, and no random keys."""

    params: Any  # nested dict of float32 arrays
    rest: Any  # nested dict: what is not trained, such as batch statistics
    opt_state: Any  # state of the optax optimizer
    step: jax.Array  # int32 [], gradient steps taken


class Metrics(NamedTuple):
    """Sums over the images of a batch, so that batches can be added up."""

    loss: jax.Array  # float32 []
    correct: jax.Array  # int32 []


def make_schedule(config: TrainConfig, total_steps: int) -> optax.Schedule:
    """Return the learning rate by step: linear warm-up, cosine decay to zero.

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
    """Return the optimizer, with the learning rates of `make_schedule`.

    Args:
      config: The run's settings.
      total_steps: Gradient steps of the whole run.
    """
    rate, decay = make_schedule(config, total_steps), config.weight_decay
    if config.optimizer == "st_adam":
        return st_adam(rate, weight_decay=decay, mask=_not_vectors)
    if config.optimizer == "adam":
        return optax.adamw(rate, weight_decay=decay, mask=_not_vectors)
    return optax.chain(
        optax.add_decayed_weights(decay, mask=_not_vectors),
        optax.sgd(rate, momentum=0.9),
    )


def init_state(
    model: nnx.Module, optimizer: optax.GradientTransformation
) -> tuple[Any, TrainState]:
    """Return the static part of a model and its initial training state.

    Args:
      model: The model, with fresh parameters.
      optimizer: The optimizer.

    Returns:
      The NNX graph definition and the state; `merge` puts them together again.
    """
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    # Plain dicts of arrays: NNX variables remember the trace they were made in.
    params, rest = nnx.to_pure_dict(params), nnx.to_pure_dict(rest)
    step = jnp.zeros([], jnp.int32)
    return graphdef, TrainState(params, rest, optimizer.init(params), step)


def merge(graphdef: Any, state: TrainState) -> Any:
    """Return the model of a training state."""
    return nnx.merge(graphdef, state.params, state.rest)


def make_train_step(
    graphdef: Any,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: float,
    replicated: jax.sharding.Sharding,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Return the compiled function ``(state, images, labels) -> (state, metrics)``.

    Images are uint8 [n, h, w, c], labels int32 [n]; either may be sharded along n.
    The state passed in is donated: use the returned one.

    Args:
      graphdef: Static part of the model.
      optimizer: The optimizer that made the state.
      label_smoothing: See `TrainConfig`.
      replicated: Sharding of the returned state and metrics.
    """

    def loss_fn(params, rest, images, labels):
        model = nnx.merge(graphdef, params, rest)
        logits = model(_to_unit(images), train=True)
        _, _, rest = nnx.split(model, nnx.Param, ...)
        targets = jax.nn.one_hot(labels, logits.shape[-1])
        targets = optax.smooth_labels(targets, label_smoothing)
        losses = optax.softmax_cross_entropy(logits, targets)
        return losses.mean(), (nnx.to_pure_dict(rest), _metrics(losses, logits, labels))

    def train_step(
        state: TrainState, images: UInt8[Array, "n h w c"], labels: Int[Array, " n"]
    ) -> tuple[TrainState, Metrics]:
        grads, (rest, metrics) = jax.grad(loss_fn, has_aux=True)(
            state.params, state.rest, images, labels
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, rest, opt_state, state.step + 1), metrics

    return jax.jit(train_step, donate_argnums=0, out_shardings=replicated)


def make_eval_step(
    graphdef: Any, *, replicated: jax.sharding.Sharding
) -> Callable[..., Metrics]:
    """Return the compiled function ``(state, images, labels) -> metrics``.

    A negative label marks an image that fills up a batch and does not count.

    Args:
      graphdef: Static part of the model.
      replicated: Sharding of the returned metrics.
    """

    def eval_step(
        state: TrainState, images: UInt8[Array, "n h w c"], labels: Int[Array, " n"]
    ) -> Metrics:
        logits = merge(graphdef, state)(_to_unit(images), train=False)
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits, jnp.maximum(labels, 0)
        )
        return _metrics(jnp.where(labels >= 0, losses, 0.0), logits, labels)

    return jax.jit(eval_step, out_shardings=replicated)


def _to_unit(images: UInt8[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    return images.astype(jnp.float32) / 255.0


def _metrics(
    losses: Float[Array, " n"], logits: Float[Array, "n k"], labels: Int[Array, " n"]
) -> Metrics:
    correct = jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels
    return Metrics(losses.sum(), correct.sum(dtype=jnp.int32))


def _not_vectors(params: Any) -> Any:
    return jax.tree.map(lambda p: p.ndim > 1, params)
