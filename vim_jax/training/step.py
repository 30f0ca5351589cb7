"""The compiled gradient step, and the state that it carries on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from vim_jax.training.augment import augment
from vim_jax.training.config import TrainConfig


class TrainState(NamedTuple):
    """All that changes while training; plain arrays, and no random keys."""

    params: Any  # nested dict of float32 arrays
    rest: Any  # nested dict: what is not trained, such as batch statistics
    average: Any  # moving averages of (params, rest); None without
    opt_state: Any  # state of the optax optimizer
    gradient: Any  # as params, of the last step; None where it is not compared
    step: jax.Array  # int32 [], gradient steps taken


class Metrics(NamedTuple):
    """Sums over the images of a batch, so that batches can be added up."""

    loss: jax.Array  # float32 []
    correct: jax.Array  # int32 []
    cosine: jax.Array | None = None  # float32 [], of the step's gradient and the last


def init_state(
    model: nnx.Module,
    optimizer: optax.GradientTransformation,
    *,
    ema: float = 0.0,
    gradient_cosine: bool = False,
) -> tuple[Any, TrainState]:
    """Returns the static part of a model and its initial training state.

    Args:
      model: The model, with fresh parameters.
      optimizer: The optimizer.
      ema: See `TrainConfig`.
      gradient_cosine: See `TrainConfig`.

    Returns:
      The NNX graph definition and the state; `merge` puts them together again.
    """
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    # Plain dicts of arrays: NNX variables remember the trace they were made in.
    params, rest = nnx.to_pure_dict(params), nnx.to_pure_dict(rest)
    average = jax.tree.map(jnp.zeros_like, (params, rest)) if ema else None
    gradient = jax.tree.map(jnp.zeros_like, params) if gradient_cosine else None
    opt_state, step = optimizer.init(params), jnp.zeros([], jnp.int32)
    return graphdef, TrainState(params, rest, average, opt_state, gradient, step)


def merge(graphdef: Any, state: TrainState) -> Any:
    """Returns the model of a training state: of the averages, if there are any."""
    trained = state.params, state.rest
    return nnx.merge(graphdef, *(trained if state.average is None else state.average))


def to_unit(images: UInt8[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Returns images as the models take them, float32 in [0, 1]."""
    return images.astype(jnp.float32) / 255.0


def make_train_step(
    graphdef: Any,
    optimizer: optax.GradientTransformation,
    config: TrainConfig,
    *,
    replicated: jax.sharding.Sharding,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """Returns the compiled ``(state, images, labels, indices) -> (state, metrics)``.

    Images are uint8 [n, h, w, c], labels int32 [n], indices int32 [n]: the images'
    numbers in their set, of which augmentation makes its keys. All may be sharded along
    n. The state passed in is donated: use the returned one.

    Args:
      graphdef: Static part of the model.
      optimizer: The optimizer that made the state.
      config: Settings of augmentation, label smoothing and averaging.
      replicated: Sharding of the returned state and metrics.
    """

    def loss_fn(params, rest, images, labels):
        model = nnx.merge(graphdef, params, rest)
        logits = model(to_unit(images), train=True)
        _, _, rest = nnx.split(model, nnx.Param, ...)
        targets = jax.nn.one_hot(labels, logits.shape[-1])
        targets = optax.smooth_labels(targets, config.label_smoothing)
        losses = optax.softmax_cross_entropy(logits, targets)
        correct = jnp.argmax(logits, axis=-1).astype(labels.dtype) == labels
        metrics = Metrics(losses.sum(), correct.sum(dtype=jnp.int32))
        return losses.mean(), (nnx.to_pure_dict(rest), metrics)

    def train_step(
        state: TrainState,
        images: UInt8[Array, "n h w c"],
        labels: Int[Array, " n"],
        indices: Int[Array, " n"],
    ) -> tuple[TrainState, Metrics]:
        images = augment(config, state.step, images, indices)
        grads, (rest, metrics) = jax.grad(loss_fn, has_aux=True)(
            state.params, state.rest, images, labels
        )
        gradient = state.gradient
        if gradient is not None:
            metrics = metrics._replace(cosine=_cosine(grads, gradient))
            gradient = grads
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params: Any = optax.apply_updates(state.params, updates)
        step = state.step + 1
        average = state.average
        if average is not None:
            average = _averaged(average, (params, rest), config.ema, step)
        new = TrainState(params, rest, average, opt_state, gradient, step)
        return new, metrics

    return jax.jit(train_step, donate_argnums=0, out_shardings=replicated)


def _cosine(a: Any, b: Any) -> jax.Array:
    """Returns the cosine between two gradients; 0 if one of them is 0, as at first."""
    lengths = optax.tree.norm(a) * optax.tree.norm(b)
    return jnp.where(lengths > 0, optax.tree.vdot(a, b) / lengths, 0.0)


def _averaged(average: Any, new: Any, decay: float, step: jax.Array) -> Any:
    """Returns the moving averages after another step, the initial ones weighing 0."""
    share = (1 - decay) / (1 - decay ** step.astype(jnp.float32))
    return jax.tree.map(
        lambda a, x: a + (share * (x - a)).astype(a.dtype), average, new
    )
