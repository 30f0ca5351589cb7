"""The training loop: epochs, evaluation, resuming, records."""

import contextlib
import dataclasses
import importlib.metadata
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax.tree
from flax import nnx

from vim_jax.data.writers import locked
from vim_jax.training import checkpoint, display, parallel, records, tensorboard
from vim_jax.training.augment import check_crop
from vim_jax.training.config import TrainConfig
from vim_jax.training.epoch import Totals, checkpoint_due, train_epoch
from vim_jax.training.evaluation import accuracy, logits_of_batches
from vim_jax.training.image_sets import (
    ImageSet,
    check_image_sets,
    resolve_num_classes,
    steps_in_epoch,
)
from vim_jax.training.initial import check_model, initial_model
from vim_jax.training.optimizers import make_optimizer
from vim_jax.training.step import TrainState, init_state, make_train_step, merge
from vim_jax.training.termination import EXIT_CODE, holding_back_sigterm


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Outcome of `train`.

    Attributes:
      config: Settings of the run.
      epochs: One dict per epoch: epoch (from 1), step, train_loss and
        train_accuracy (means over the epoch, while training), gradient_cosine if it
        was measured (the mean over the epoch's pairs of steps, the first of which
        begins with the epoch before), the accuracy on each test set as
        <name>_accuracy, and seconds.
      model: The trained Flax NNX model, on one device; with `TrainConfig.ema` the
        averaged one.
    """

    config: TrainConfig
    epochs: list[dict[str, Any]]
    model: Any

    @property
    def final(self) -> dict[str, Any]:
        """The last epoch's metrics."""
        return self.epochs[-1]


@dataclasses.dataclass(slots=True)
class Done:
    """How far a run is: what a checkpoint holds besides the state.

    Attributes:
      epochs: As in `History`, of those that are finished.
      totals: Of the epoch that is not.
    """

    epochs: list[dict[str, Any]]
    totals: Totals

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> "Done":
        """Returns what `dataclasses.asdict` was made of."""
        return cls(metadata["epochs"], Totals(**metadata["totals"]))

    def steps(self, steps_per_epoch: int) -> int:
        """Returns the number of steps taken."""
        return len(self.epochs) * steps_per_epoch + self.totals.steps


def train(
    config: TrainConfig,
    train_set: ImageSet,
    test_sets: dict[str, ImageSet],
    *,
    out: str | pathlib.Path | None = None,
    progress: bool = True,
    write_tensorboard: bool = False,
    devices: Sequence[Any] | None = None,
    model: nnx.Module | None = None,
    label_names: Sequence[str] | None = None,
) -> History:
    """Trains a classifier, and tests it after every epoch.

    The batch is split over the devices when it divides evenly. Which images make up
    which batch, and how they are augmented, depends on `config.seed`, the step and the
    images' numbers alone.

    With `out`, the run can be interrupted at any moment, `kill -9` included:
    calling again with the same arguments goes on from the last checkpoint, and on
    the same devices ends with the metrics of an uninterrupted run. Only how often
    checkpoints are made may change. SIGTERM, with which machines are taken away, makes
    a checkpoint first. The folder gets

    * ``config.json``: the settings,
    * ``metrics.jsonl``: one line per epoch, the dicts of `History.epochs`,
    * ``checkpoints/``: the last two checkpoints, without random keys,
    * ``tensorboard/``: the same metrics, if asked for,
    * ``result.json``: settings, final metrics and devices, once complete.

    Several processes (`vim_jax.training.initialize`) call this with the same
    arguments, and `out` on a disk that they share. The first one writes and shows.

    Args:
      config: Settings of the run.
      train_set: uint8 images [n, h, w, c] and integer labels [n].
      test_sets: Such pairs by name, for instance "plain" and "mixed".
      out: Folder for the run's files; None writes nothing.
      progress: Whether to show a progress bar and a line per epoch.
      write_tensorboard: Whether to write for TensorBoard, too; needs `out`.
      devices: Devices to use; None takes all, of all processes.
      model: Where to start from, as `create_model` and `load_torch` leave it, instead
        of fresh parameters: the model that the settings describe, for these images
        and as many classes. It stays as it is. A run that is resumed goes on from its
        checkpoint.
      label_names: Names of the classes, by their numbers, for ``result.json``.

    Returns:
      The metrics of all epochs and the trained model.

    Raises:
      ValueError: If the data, the settings and the model do not fit together, or
        `out` holds another run, or one that another process is at.
      FloatingPointError: If the loss, or any part of the state, is not finite.
      RuntimeError: If `out` has checkpoints and all of them are damaged, or
        tensorboardX is wanted and not installed.
      SystemExit: With code 143, after SIGTERM and a checkpoint, if there is `out`.

    Examples:
      >>> import numpy as np
      >>> from vim_jax.training import TrainConfig, train
      >>> random = np.random.default_rng(0)
      >>> images = random.integers(0, 256, (64, 8, 8, 3), np.uint8)
      >>> labels = random.integers(0, 10, 64)
      >>> config = TrainConfig(model="resnet8", epochs=2, batch_size=32)
      >>> history = train(
      ...     config, (images, labels), {"plain": (images, labels)}, progress=False
      ... )
      >>> history.final["step"]
      4
    """
    num_classes, steps_per_epoch = _check(config, train_set, test_sets)
    image_shape = train_set[0].shape[1:]
    if write_tensorboard:
        if out is None:
            raise ValueError("write_tensorboard is True without out: give a folder.")
        tensorboard.summary_writer()  # If missing, say so before training.
    layout = parallel.make_layout(config.batch_size, devices)
    optimizer = make_optimizer(config, config.epochs * steps_per_epoch)
    given = model
    if model is None:
        model = initial_model(config, image_shape, num_classes)
    else:
        check_model(model, config, image_shape, num_classes)
    graphdef, state = init_state(
        model, optimizer, ema=config.ema, gradient_cosine=config.gradient_cosine
    )
    # Steps take the buffers of the state they get, and the model may be the caller's.
    state = jax.tree.map(jnp.copy, state)
    state = parallel.replicate(state, layout)
    train_step = make_train_step(
        graphdef, optimizer, config, replicated=layout.replicated
    )

    is_main = parallel.is_main()
    folder = None if out is None else pathlib.Path(out)
    done = Done([], Totals())
    stop = False
    bar = display.progress_bar(progress and is_main)
    # Without a folder there is nothing that SIGTERM should wait for.
    listening = (
        contextlib.nullcontext(lambda: False)
        if folder is None
        else holding_back_sigterm()
    )

    def save(state: TrainState) -> None:
        if folder is not None:
            metadata = dataclasses.asdict(done)
            step = done.steps(steps_per_epoch)
            checkpoint.save(folder / "checkpoints", step, state, metadata)

    with bar, listening as sigterm_came, contextlib.ExitStack() as stack:
        if folder is not None:
            lock = locked(folder) if is_main else contextlib.nullcontext()
            parallel.in_all(lambda: stack.enter_context(lock))
            records.claim(folder, config, train_set, test_sets, given)
            restored = checkpoint.restore_latest(folder / "checkpoints", state)
            if restored is not None:
                state, done = restored.state, Done.from_metadata(restored.metadata)
            if is_main:
                # Epochs after the checkpoint are run again, and so are their lines.
                records.write_metrics(folder, done.epochs)
        resumed_at = len(done.epochs)
        write_summaries = None
        unfinished = resumed_at < config.epochs
        if write_tensorboard and folder is not None and is_main and unfinished:
            first = resumed_at * steps_per_epoch + 1
            write_summaries = stack.enter_context(tensorboard.writing(folder, first))
        task = bar.add_task(config.model, total=config.epochs * steps_per_epoch)
        bar.update(task, completed=done.steps(steps_per_epoch))

        def heed_sigterm() -> None:
            if parallel.in_any(sigterm_came()):
                save(state)
                raise SystemExit(EXIT_CODE)

        for epoch in range(resumed_at + 1, config.epochs + 1):
            state = train_epoch(
                train_step,
                state,
                done.totals,
                train_set,
                config,
                epoch=epoch,
                layout=layout,
                save=save,
                sigterm_came=sigterm_came,
                advance=lambda steps: bar.update(task, advance=steps),
            )
            start = time.perf_counter()
            trained = merge(graphdef, state)
            record = {
                "epoch": epoch,
                "step": epoch * steps_per_epoch,
                **_means(config, done.totals, epoch),
                **_accuracies(
                    trained, test_sets, config.batch_size, layout, heed_sigterm
                ),
            }
            seconds = done.totals.seconds + time.perf_counter() - start
            record["seconds"] = round(seconds, 3)
            done.epochs.append(record)
            done.totals = Totals()
            if progress and is_main:
                bar.console.print(display.summary(record, config.epochs))
            if folder is not None and is_main:
                records.append_metrics(folder, record)
                if write_summaries:
                    write_summaries(record)
            stop = parallel.in_any(sigterm_came())
            if stop or checkpoint_due(config, epoch, record["step"]):
                save(state)
            if stop and epoch < config.epochs:
                raise SystemExit(EXIT_CODE)

        if (
            folder is not None
            and is_main
            and (unfinished or not (folder / "result.json").exists())
        ):
            names = None if label_names is None else list(label_names)
            result = _result(
                config, num_classes, image_shape, names, state, done.epochs
            )
            records.write_result(folder, result)
        stop = stop or parallel.in_any(sigterm_came())
    if stop:
        raise SystemExit(EXIT_CODE)
    state = parallel.on_one_device(state)
    return History(config=config, epochs=done.epochs, model=merge(graphdef, state))


def _check(
    config: TrainConfig, train_set: ImageSet, test_sets: dict[str, ImageSet]
) -> tuple[int, int]:
    """Returns the number of classes, and of steps in an epoch, if data and config fit.

    Raises:
      ValueError: If they do not.
    """
    check_image_sets(train_set, test_sets)
    num_classes = resolve_num_classes(config.num_classes, train_set, test_sets)
    steps_per_epoch = steps_in_epoch(train_set, config.batch_size)
    check_crop(config.crop, train_set[0].shape[1:])
    return num_classes, steps_per_epoch


def _means(config: TrainConfig, totals: Totals, epoch: int) -> dict[str, float]:
    """Returns the means over an epoch, while training."""
    seen = totals.steps * config.batch_size
    means = {
        "train_loss": totals.loss / seen,
        "train_accuracy": totals.correct / seen,
    }
    if config.gradient_cosine:
        # The first step of all has none before it.
        pairs = totals.steps - (epoch == 1)
        means["gradient_cosine"] = totals.cosine / max(pairs, 1)
    return means


def _accuracies(
    model: nnx.Module,
    test_sets: dict[str, ImageSet],
    batch_size: int,
    layout: parallel.Layout,
    after_batch: Callable[[], None],
) -> dict[str, float]:
    """Returns the accuracy on each test set; `after_batch` may end it before."""
    found = {}
    for name, (images, labels) in test_sets.items():
        after_batch()
        batches = logits_of_batches(model, images, batch_size, layout)
        found[f"{name}_accuracy"] = accuracy(batches, labels, after_batch)
    return found


def _result(
    config: TrainConfig,
    num_classes: int,
    image_shape: tuple[int, ...],
    label_names: list[str] | None,
    state: TrainState,
    epochs: list[dict[str, Any]],
) -> dict[str, Any]:
    """Returns the contents of ``result.json``."""
    devices = state.step.sharding.device_set
    kinds = sorted({device.device_kind for device in devices})
    packages = ("jax", "flax", "optax")
    return {
        "config": dataclasses.asdict(config),
        "num_classes": num_classes,
        "image_shape": image_shape,
        "label_names": label_names,
        "parameters": optax.tree.size(state.params),
        **epochs[-1],
        "seconds": round(sum(record["seconds"] for record in epochs), 3),
        "devices": f"{len(devices)} x {' or '.join(kinds)}",
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }
