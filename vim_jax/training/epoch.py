"""The steps of one epoch: from wherever it was left, to its end or to SIGTERM."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax.training import parallel
from vim_jax.training.config import TrainConfig
from vim_jax.training.image_sets import ImageSet
from vim_jax.training.step import Metrics, TrainState
from vim_jax.training.termination import EXIT_CODE

# Steps between looks at the loss. Looking waits for the device, so not every step.
_STEPS_PER_LOOK = 25
# Several processes ask each other whether to stop when they look: about this often, as
# machines are taken away half a minute after SIGTERM.
_SECONDS_PER_LOOK = 2.0
# Parts of the state that may overflow, in the order in which they do.
_STATE = {
    "params": "Parameters are",
    "rest": "Statistics of normalisation are",
    "average": "Averaged parameters are",
    "opt_state": "The optimizer's state is",
    "gradient": "The gradient is",
}


@dataclasses.dataclass(slots=True)
class Totals:
    """Sums over the steps of an epoch so far."""

    steps: int = 0
    loss: float = 0.0
    correct: int = 0
    cosine: float = 0.0
    seconds: float = 0.0

    def add(self, metrics: Metrics) -> None:
        """Adds those of another step."""
        self.steps += 1
        self.loss += float(metrics.loss)
        self.correct += int(metrics.correct)
        if metrics.cosine is not None:
            self.cosine += float(metrics.cosine)


def shuffled_batches(config: TrainConfig, epoch: int, size: int) -> np.ndarray:
    """Returns the images of each of the epoch's batches: int32 [steps, batch_size]."""
    order = np.random.default_rng([config.seed, epoch]).permutation(size)
    steps = size // config.batch_size
    chosen = order[: steps * config.batch_size].astype(np.int32)
    return chosen.reshape(steps, config.batch_size)


def batches(
    train_set: ImageSet, chosen: np.ndarray, layout: parallel.Layout
) -> Iterator[tuple[jax.Array, ...]]:
    """Yields images, labels and indices on the devices that they belong to."""
    images, labels = train_set
    arrays = images, labels.astype(np.int32), np.arange(len(images), dtype=np.int32)
    for indices in chosen:
        yield tuple(parallel.put_rows(layout, array, indices) for array in arrays)


def train_epoch(
    train_step: Callable[..., tuple[TrainState, Metrics]],
    state: TrainState,
    totals: Totals,
    train_set: ImageSet,
    config: TrainConfig,
    *,
    epoch: int,
    layout: parallel.Layout,
    save: Callable[[TrainState], None],
    sigterm_came: Callable[[], bool],
    advance: Callable[[int], None],
) -> TrainState:
    """Takes the epoch's remaining steps.

    Args:
      train_step: What `make_train_step` returned.
      state: The state.
      totals: Of the steps already taken, brought up to date before each `save`.
      train_set: Images and labels to train on.
      config: The run's settings.
      epoch: Number of the epoch, from 1.
      layout: Where batches lie.
      save: Writes a checkpoint.
      sigterm_came: Whether to make a checkpoint and stop.
      advance: Called with the number of steps taken since it was called last.

    Returns:
      The state after the epoch.

    Raises:
      FloatingPointError: If the loss is not finite, or any part of the state.
      SystemExit: After SIGTERM and a checkpoint.
    """
    chosen = shuffled_batches(config, epoch, len(train_set[0]))
    earlier = (epoch - 1) * len(chosen)
    pending: list[Any] = []
    clock = time.perf_counter()
    alone = jax.process_count() == 1
    interval = _STEPS_PER_LOOK if alone else 1

    def look() -> None:
        nonlocal clock, interval
        found, finite = jax.device_get((pending, _finite(state)))
        _check_finite(config, found, finite, first=earlier + totals.steps + 1)
        for metrics in found:
            totals.add(metrics)
        now = time.perf_counter()
        seconds, clock = now - clock, now
        totals.seconds += seconds
        if not alone:
            slowest = parallel.highest(seconds / len(pending))
            most = int(_SECONDS_PER_LOOK / slowest)
            interval = min(max(most, 1), _STEPS_PER_LOOK)
        advance(len(pending))
        pending.clear()

    remaining = chosen[totals.steps :]
    for step, batch in enumerate(
        batches(train_set, remaining, layout), earlier + totals.steps + 1
    ):
        state, metrics = train_step(state, *batch)
        pending.append(metrics)
        # At the end of an epoch, too: the evaluation that follows takes long.
        long_ago = len(pending) >= interval or step == epoch * len(chosen)
        # Processes agree when they look, one alone can stop after any step.
        stop = (long_ago or alone) and parallel.in_any(sigterm_came())
        due = _divides(config.checkpoint_every_steps, step) and step % len(chosen) != 0
        if long_ago or stop or due:
            look()
        if stop or due:
            save(state)
        if stop:
            raise SystemExit(EXIT_CODE)
    return state


def _divides(interval: int | None, step: int) -> bool:
    return interval is not None and step % interval == 0


def checkpoint_due(config: TrainConfig, epoch: int, step: int) -> bool:
    """Whether the end of an epoch, after so many steps, has a checkpoint."""
    return (
        epoch == config.epochs
        or _divides(config.checkpoint_every, epoch)
        or _divides(config.checkpoint_every_steps, step)
    )


def _check_finite(
    config: TrainConfig,
    found: Sequence[Metrics],
    finite: dict[str, Any],
    *,
    first: int,
) -> None:
    """Raises FloatingPointError unless all is finite.

    Args:
      config: The run's settings.
      found: Metrics of steps, on the host.
      finite: What `_finite` said of the state after these.
      first: Number of the first of the steps.
    """
    for step, metrics in enumerate(found, first):
        if not math.isfinite(metrics.loss):
            raise _not_finite(config, f"The loss is {metrics.loss} at step {step}")
    # The last step's loss is that of the parameters before it. Statistics and
    # moments may overflow where parameters do not.
    last = first + len(found) - 1
    for name, what in _STATE.items():
        if not finite[name]:
            raise _not_finite(config, f"{what} not finite after step {last}")


@jax.jit
def _finite(state: TrainState) -> dict[str, jax.Array]:
    """Whether all numbers of a part of the state are finite, by its name."""

    def all_finite(part):
        found = [jnp.isfinite(x).all() for x in jax.tree.leaves(part)]
        return jnp.stack([jnp.bool_(True), *found]).all()

    return {name: all_finite(getattr(state, name)) for name in _STATE}


def _not_finite(config: TrainConfig, what: str) -> FloatingPointError:
    advice = (
        f"a smaller learning_rate than {config.learning_rate}, a larger "
        f"warmup_fraction than {config.warmup_fraction}"
    )
    if config.clip_norm is None:
        advice += ", or clip_norm 1"
    else:
        advice += f", or a smaller clip_norm than {config.clip_norm}"
    return FloatingPointError(f"{what}: in another run and folder, try {advice}.")
