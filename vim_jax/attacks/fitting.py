"""Training of the attackers' networks: small, on arrays in memory, one way for all."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Int

Model = TypeVar("Model", bound=nnx.Module)

_WARM_UP = 0.1  # Of all steps.


def fit(
    model: Model,
    loss: Callable[[Model, Any], jax.Array],
    data: Any,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Model:
    """Returns a model trained with AdamW on shuffled batches.

    The learning rate rises linearly and falls as a cosine.

    Args:
      model: with fresh parameters; it is not changed.
      loss: from the model, in training mode, and a batch to float32 scalar.
      data: pytree of NumPy arrays `n ...`.
      epochs: how often each example is seen.
      batch_size: examples a step; all of them if there are fewer.
      learning_rate: at its peak.
      seed: of the order of examples.
      progress: called with the steps done and the steps to do.
    """
    n = len(jax.tree.leaves(data)[0])
    steps = epochs * (n // min(batch_size, n))
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, learning_rate, max(1, int(_WARM_UP * steps)), max(2, steps)
    )
    optimizer = optax.adamw(schedule, weight_decay=1e-3)
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)
    # Copies, because donation would take the caller's arrays away.
    params, rest = jax.tree.map(jnp.copy, (params, rest))
    opt_state = optimizer.init(params)

    def objective(params, rest, batch):
        # A copy: what it counts must not belong to the trace outside.
        trained = nnx.merge(graphdef, params, rest, copy=True)
        value = loss(trained, batch)
        return value, nnx.split(trained, nnx.Param, ...)[2]

    def step(params, rest, opt_state, batch):
        grads, rest = jax.grad(objective, has_aux=True)(params, rest, batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), rest, opt_state

    step = jax.jit(step, donate_argnums=(0, 1, 2))
    for done, chosen in enumerate(batches(n, batch_size, epochs, seed), 1):
        batch = jax.tree.map(lambda x, chosen=chosen: x[chosen], data)
        params, rest, opt_state = step(params, rest, opt_state, batch)
        if progress is not None:
            jax.block_until_ready(params)  # Steps are only begun so far.
            progress(done, steps)
    return nnx.merge(graphdef, params, rest)


def batches(
    n: int, batch_size: int, epochs: int, seed: int
) -> Iterator[Int[np.ndarray, " b"]]:
    """Yields the numbers of the examples of each step, in a new order each epoch.

    Args:
      n: number of examples.
      batch_size: examples a step; all of them if there are fewer. What is left over at
        the end of an epoch is passed over.
      epochs: how many.
      seed: of the orders.
    """
    rng = np.random.default_rng(seed)
    batch_size = min(batch_size, n)
    for _ in range(epochs):
        order = rng.permutation(n)
        for start in range(0, n - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def apply(
    model: nnx.Module, inputs: np.ndarray, *, batch_size: int = 256, **options: Any
) -> np.ndarray:
    """Returns what a model makes of many inputs, `n ...`, batch by batch."""
    return compiled(model, batch_size=batch_size, **options)(inputs)


def compiled(
    model: nnx.Module, *, batch_size: int = 256, **options: Any
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that does what `apply` does, again and again.

    Args:
      model: as it is now.
      batch_size: inputs at a time.
      **options: passed to the model.
    """
    graphdef, state = nnx.split(model)

    @jax.jit
    def run(state, batch):
        return nnx.merge(graphdef, state)(batch, **options)  # pyright: ignore

    def apply_to(inputs):
        n = len(inputs)
        size = min(batch_size, n)
        # The last batch reaches back, so that all have one shape.
        starts = [min(start, n - size) for start in range(0, n, size)]
        parts = [np.asarray(run(state, inputs[s : s + size])) for s in starts]
        out = np.empty((n, *parts[0].shape[1:]), parts[0].dtype)
        for start, part in zip(starts, parts, strict=True):
            out[start : start + size] = part
        return out

    return apply_to
