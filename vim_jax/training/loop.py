"""The training loop: epochs, evaluation, resuming, records."""

import dataclasses
import importlib.metadata
import math
import pathlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
import optax.tree
import rich.progress
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vim_jax.models import create_model
from vim_jax.training import checkpoint, records
from vim_jax.training.config import TrainConfig
from vim_jax.training.image_sets import (
    ImageSet,
    check_image_sets,
    resolve_num_classes,
)
from vim_jax.training.step import (
    Metrics,
    TrainState,
    init_state,
    make_eval_step,
    make_optimizer,
    make_train_step,
    merge,
)

# Steps between looks at the loss. Looking waits for the device, so not every step.
_STEPS_PER_LOOK = 25


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Outcome of `train`.

    Attributes:
      config: Settings of the run.
      epochs: One dict per epoch: epoch (from 1), step, train_loss and
        train_accuracy (means over the epoch, while training), the accuracy on each
        test set as <name>_accuracy, and seconds.
      model: The trained Flax NNX model.
    """

    config: TrainConfig
    epochs: list[dict[str, Any]]
    model: Any

    @property
    def final(self) -> dict[str, Any]:
        """The last epoch's metrics."""
        return self.epochs[-1]


def train(
    config: TrainConfig,
    train_set: ImageSet,
    test_sets: dict[str, ImageSet],
    *,
    out: str | pathlib.Path | None = None,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
) -> History:
    """Train a classifier, and test it after every epoch.

    The batch is split over the devices when it divides evenly. Which images make up
    which batch depends on `config.seed` and the epoch alone.

    With `out`, the run can be interrupted at any moment, `kill -9` included:
    calling again with the same arguments goes on from the last checkpoint, and on
    the same devices ends with the metrics of an uninterrupted run. The folder gets

    * ``config.json``: the settings,
    * ``metrics.jsonl``: one line per epoch, the dicts of `History.epochs`,
    * ``checkpoints/``: the last two checkpoints, without random keys,
    * ``result.json``: settings, final metrics and devices, once complete.

    Args:
      config: Settings of the run.
      train_set: uint8 images [n, h, w, c] and integer labels [n].
      test_sets: Such pairs by name, for instance "plain" and "mixed".
      out: Folder for the run's files; None writes nothing.
      progress: Whether to show a progress bar and a line per epoch.
      devices: Devices to use; None takes all.

    Returns:
      The metrics of all epochs and the trained model.

    Raises:
      ValueError: If the data do not fit together, or `out` holds another run.
      FloatingPointError: If the loss is not finite.
      RuntimeError: If `out` has checkpoints and all of them are damaged.

    Examples:
      >>> import numpy as np
      >>> from vim_jax.training import TrainConfig, train
      >>> random = np.random.default_rng(0)
      >>> images = random.integers(0, 256, (64, 8, 8, 3), np.uint8)
      >>> labels = random.integers(0, 10, 64)
      >>> config = TrainConfig(epochs=2, batch_size=32, model_options={"depth": 1})
      >>> history = train(
      ...     config, (images, labels), {"plain": (images, labels)}, progress=False
      ... )
      >>> history.final["step"]
      4
    """
    check_image_sets(train_set, test_sets)
    num_classes = resolve_num_classes(config.num_classes, train_set, test_sets)
    images, labels = train_set
    steps_per_epoch = len(images) // config.batch_size
    if steps_per_epoch == 0:
        raise ValueError(
            f"batch_size is {config.batch_size} but the training set has only "
            f"{len(images)} images: use a smaller batch_size."
        )
    split, replicated = _shardings(config.batch_size, devices)
    model = create_model(
        config.model,
        num_classes=num_classes,
        image_size=images.shape[1:3],
        channels=images.shape[3],
        rngs=nnx.Rngs(config.seed),
        **config.model_options,
    )
    optimizer = make_optimizer(config, config.epochs * steps_per_epoch)
    graphdef, state = init_state(model, optimizer)
    state = jax.device_put(state, replicated)
    train_step = make_train_step(
        graphdef,
        optimizer,
        label_smoothing=config.label_smoothing,
        replicated=replicated,
    )
    eval_step = make_eval_step(graphdef, replicated=replicated)

    folder = None if out is None else pathlib.Path(out)
    epochs: list[dict[str, Any]] = []
    if folder is not None:
        records.claim(folder, config, train_set, test_sets)
        restored = checkpoint.restore_latest(folder / "checkpoints", state)
        if restored is not None:
            state, epochs = restored.state, restored.metadata["epochs"]
        # Epochs after the checkpoint are run again, and so are their lines.
        records.write_metrics(folder, epochs)

    resumed_at = len(epochs)
    with _progress_bar(progress) as bar:
        task = bar.add_task(config.model, total=config.epochs * steps_per_epoch)
        bar.update(task, completed=resumed_at * steps_per_epoch)
        for epoch in range(resumed_at + 1, config.epochs + 1):
            start = time.perf_counter()
            batches = (
                jax.device_put((images[chosen], labels[chosen].astype(np.int32)), split)
                for chosen in _shuffled_batches(config, epoch, len(images))
            )
            state, loss, accuracy = _train_epoch(
                train_step,
                state,
                batches,
                config,
                first_step=(epoch - 1) * steps_per_epoch + 1,
                advance=lambda steps: bar.update(task, advance=steps),
            )
            record = {
                "epoch": epoch,
                "step": epoch * steps_per_epoch,
                "train_loss": loss,
                "train_accuracy": accuracy,
            }
            for name, test_set in test_sets.items():
                record[f"{name}_accuracy"] = _accuracy(
                    eval_step, state, test_set, config.batch_size, split
                )
            record["seconds"] = round(time.perf_counter() - start, 3)
            epochs.append(record)
            if progress:
                bar.console.print(_summary(record, config.epochs))
            if folder is not None:
                records.append_metrics(folder, record)
                if epoch % config.checkpoint_every == 0 or epoch == config.epochs:
                    path = folder / "checkpoints"
                    checkpoint.save(path, record["step"], state, {"epochs": epochs})

    if folder is not None and (
        resumed_at < config.epochs or not (folder / "result.json").exists()
    ):
        records.write_result(folder, _result(config, num_classes, state, epochs))
    return History(config=config, epochs=epochs, model=merge(graphdef, state))


def _train_epoch(
    train_step: Callable[..., tuple[TrainState, Metrics]],
    state: TrainState,
    batches: Iterator[tuple[jax.Array, jax.Array]],
    config: TrainConfig,
    *,
    first_step: int,
    advance: Callable[[int], None],
) -> tuple[TrainState, float, float]:
    """Take one step per batch; return the state, mean loss and accuracy."""
    pending, losses, correct = [], [], 0

    def look() -> None:
        nonlocal correct
        for metrics in jax.device_get(pending):
            losses.append(float(metrics.loss) / config.batch_size)
            correct += int(metrics.correct)
            if not math.isfinite(losses[-1]):
                step = first_step + len(losses) - 1
                raise FloatingPointError(
                    f"The loss is {losses[-1]} at step {step}: try "
                    f"a smaller learning_rate than {config.learning_rate} or a larger "
                    f"warmup_fraction than {config.warmup_fraction}."
                )
        advance(len(pending))
        pending.clear()

    for images, labels in batches:
        state, metrics = train_step(state, images, labels)
        pending.append(metrics)
        if len(pending) == _STEPS_PER_LOOK:
            look()
    look()
    return state, float(np.mean(losses)), correct / (len(losses) * config.batch_size)


def _accuracy(
    eval_step: Callable[..., Metrics],
    state: TrainState,
    test_set: ImageSet,
    batch_size: int,
    split: NamedSharding,
) -> float:
    """Return the share of images whose largest logit is the label's."""
    images, labels = test_set
    correct = 0
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        missing = batch_size - len(batch)
        # Filled up with images that do not count, so that one shape is compiled.
        batch = np.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
        targets = labels[start : start + batch_size].astype(np.int32)
        targets = np.pad(targets, (0, missing), constant_values=-1)
        metrics = eval_step(state, *jax.device_put((batch, targets), split))
        correct += int(metrics.correct)
    return correct / len(images)


def _shuffled_batches(config: TrainConfig, epoch: int, size: int) -> np.ndarray:
    """Return the images of each of the epoch's batches: ints [steps, batch_size]."""
    order = np.random.default_rng([config.seed, epoch]).permutation(size)
    steps = size // config.batch_size
    return order[: steps * config.batch_size].reshape(steps, config.batch_size)


def _shardings(
    batch_size: int, devices: Sequence[Any] | None
) -> tuple[NamedSharding, NamedSharding]:
    """Return the shardings of a batch and of the state."""
    devices = jax.devices() if devices is None else list(devices)
    if batch_size % len(devices):
        warnings.warn(
            f"batch_size {batch_size} does not divide over {len(devices)} devices, so "
            f"one does all the work: use a multiple of {len(devices)}.",
            stacklevel=3,
        )
        devices = devices[:1]
    mesh = Mesh(np.array(devices), ("data",))
    return (
        NamedSharding(mesh, PartitionSpec("data")),
        NamedSharding(mesh, PartitionSpec()),
    )


def _result(
    config: TrainConfig,
    num_classes: int,
    state: TrainState,
    epochs: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return the contents of ``result.json``."""
    devices = state.step.sharding.device_set
    kinds = sorted({device.device_kind for device in devices})
    packages = ("jax", "flax", "optax")
    return {
        "config": dataclasses.asdict(config),
        "num_classes": num_classes,
        "parameters": optax.tree.size(state.params),
        **epochs[-1],
        "seconds": round(sum(record["seconds"] for record in epochs), 3),
        "devices": f"{len(devices)} x {' or '.join(kinds)}",
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _progress_bar(show: bool) -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
        disable=not show,
    )


def _summary(record: dict[str, Any], epochs: int) -> str:
    parts = [f"epoch {record['epoch']}/{epochs}", f"loss {record['train_loss']:.4f}"]
    parts += [
        f"{name.removesuffix('_accuracy')} {value:.2%}"
        for name, value in record.items()
        if name.endswith("_accuracy")
    ]
    return ", ".join([*parts, f"{record['seconds']:.1f} s"])
