"""Training runs of experiments: what a network learns from, and how well.

Every run is a row of its results file, which is written after each: who starts an
experiment again goes on from there, with a run that was broken off from its last
checkpoint. Rows say themselves with which commit and on which device they were
measured.
"""

import dataclasses
import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import numpy as np
from flax import nnx

import vim_jax
from experiments.images import check, images_of, native_side
from experiments.record import kept, made_by, write
from vim_jax import VisualMixer
from vim_jax.data.arrays import LabelledImages
from vim_jax.data.errors import DataError
from vim_jax.data.shards import Shard
from vim_jax.training import History, TrainConfig, evaluate, train
from vim_jax.training.image_sets import ImageSet, resolve_num_classes
from vim_jax.training.initial import initial_model

_T = TypeVar("_T")
Way = Literal["plain", "mixed", "thumbnail"]
SETTINGS: Mapping[str, VisualMixer] = {
    **{f"size {s}": VisualMixer(region_size=s) for s in (2, 4, 8, 14, 16, 28, 32, 56)},
    "size 4, scrambled": VisualMixer(region_size=4, scramble_regions=True),
    "level 0.6": VisualMixer(level=0.6, clip=True),
}
_BATCH = 250
_REMIXES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """What identifies a row.

    Attributes:
      data: name of the data set.
      images: how many training images, at most.
      test_images: how many test images, at most.
      validation_images: how many training images, after those, to choose settings by.
      side: images are cropped and resized to so many pixels; None leaves them as they
        are.
      model: name of the model.
      options: of the model.
      setting: one of `SETTINGS`; None for plain images.
      way: what the network learns from. Mixed images are published once; thumbnails are
        the region means of the same images.
      recipe: other fields of `TrainConfig`. Mixed images are shuffled again at every
        step, and scrambled thumbnails scrambled again, unless "fresh" is None.
      weights: name of a safetensors file of torchvision's weights, from which all but
        the last layer starts; None starts from fresh parameters.
      seed: of the mixing, the parameters and the order.
    """

    data: str
    images: int
    test_images: int
    validation_images: int = 0
    side: int | None = None
    model: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    setting: str | None = None
    way: Way = "plain"
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: str | None = None
    seed: int = 0

    @property
    def config(self) -> TrainConfig:
        """The settings of the training."""
        return TrainConfig(
            model=self.model,
            model_options=dict(self.options),
            seed=self.seed,
            **{"fresh": self.remixer, **self.recipe},
        )

    @property
    def remixer(self) -> VisualMixer | None:
        """Shuffles images again in their regions, or these, as anyone can."""
        if self.way == "plain" or self.setting is None:
            return None
        mixer = SETTINGS[self.setting]
        if mixer.region_size is None:
            return None
        # Inside a region of a thumbnail there is nothing to shuffle.
        changes = self.way == "mixed" or mixer.scramble_regions
        return mixer if changes else None


def in_shard(items: Sequence[_T], text: str) -> list[_T]:
    """Returns the items number I, I + N, I + 2N, ... of the shard "I/N".

    Raises:
      SystemExit: if there is no such shard, or nothing in it.
    """
    try:
        shard = Shard.parse(text)
    except DataError as error:
        raise SystemExit(str(error)) from None
    chosen = list(items[shard.number - 1 :: shard.count])
    if not chosen:
        raise SystemExit(f"shard is {text}, of {len(items)}: use fewer shards.")
    return chosen


def finish(
    runs: Iterable[Run],
    path: pathlib.Path | None,
    command: str,
    data_dir: str | None,
    rows: list[dict[str, Any]] | None = None,
    weights_dir: pathlib.Path | None = None,
) -> list[dict[str, Any]]:
    """Returns the rows of all runs, those from an earlier start among them.

    Args:
      runs: to be trained, in this order.
      path: of the results file, which need not exist; None keeps no results.
      command: the module and its arguments, without paths.
      data_dir: where the TFDS data sets lie.
      rows: those there are already; by default those of the results file.
      weights_dir: where the weights lie that runs start from.

    Raises:
      SystemExit: if the data of a run to be trained is not there.
    """
    rows = kept(path, command) if rows is None else rows
    left = [run for run in runs if not is_done(run, rows)]
    check((run.data for run in left), data_dir)
    for run in left:
        unfinished = None if path is None else path.with_suffix(".unfinished")
        out = None if unfinished is None else unfinished / _name(run)
        rows.append(row_of(run, data_dir, weights_dir, out))
        print(sentence(rows[-1]), flush=True)
        write(path, command, rows)
        if unfinished is not None:
            shutil.rmtree(unfinished)
    return rows


def is_done(run: Run, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Returns whether a run is among the rows."""
    return any(is_of(row, run) for row in rows)


def is_of(row: Mapping[str, Any], run: Run) -> bool:
    """Returns whether a row is what came of a run."""
    same_start = row.get("weights") == run.weights
    return same_start and _identity(run).items() <= row.items()


def _name(run: Run) -> str:
    """Returns a name of a run, another one with other code."""
    told = json.dumps([_identity(run), made_by()["commit"]])
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _identity(run: Run) -> dict[str, Any]:
    """Returns a run as JSON gives it back, its weights only if it has some."""
    fields = json.loads(json.dumps(dataclasses.asdict(run)))
    if run.weights is None:
        del fields["weights"]
    return fields


def row_of(
    run: Run,
    data_dir: str | None,
    weights_dir: pathlib.Path | None = None,
    out: pathlib.Path | None = None,
) -> dict[str, Any]:
    """Trains a network, and returns what it recognises, as plain data.

    Args:
      run: what to train.
      data_dir: where the TFDS data sets lie.
      weights_dir: where the weights lie that the run starts from.
      out: folder for checkpoints, from which a run that was broken off goes on.
    """
    start = time.perf_counter()
    train_set, test_sets, row = _sets(run, data_dir)
    model = _model(run, train_set, test_sets, weights_dir)
    prepared = time.perf_counter()
    earlier = 0.0
    try:
        history = train(
            run.config, train_set, test_sets, out=out, progress=False, model=model
        )
    except FloatingPointError as error:
        # It recognises nothing; a grid of learning rates goes on.
        row |= {f"{kind}_accuracy": 0.0 for kind in test_sets}
        row |= {"accuracies": [0.0] * run.config.epochs, "diverged": str(error)}
    else:
        in_all = sum(epoch["seconds"] for epoch in history.epochs)
        earlier = max(0.0, in_all - (time.perf_counter() - prepared))
        row |= _learnt(run, history, test_sets)
    return {
        **row,
        "seconds": round(earlier + time.perf_counter() - start, 1),
        **made_by(),
    }


def _sets(
    run: Run, data_dir: str | None
) -> tuple[ImageSet, dict[str, ImageSet], dict[str, Any]]:
    """Returns what to train on and to test on, and what the row says of them."""
    parts = images_of(
        run.data,
        images=run.images,
        test_images=run.test_images,
        validation_images=run.validation_images,
        side=run.side,
        data_dir=data_dir,
    )
    row = _identity(run)
    kinds = {"plain": {name: images for name, (images, _) in parts.items()}}
    if run.setting is not None:
        mixed = _mixed(parts, run.setting, run.seed)
        kinds["mixed"] = {part: x.images for part, x in mixed.items()}
        kinds["thumbnail"] = {part: x.thumbnails for part, x in mixed.items()}
        row["mean_region_size"] = mixed["train"].mean_region_size
    train_set = kinds[run.way]["train"], parts["train"].labels
    test_sets = {kind: (x["test"], parts["test"].labels) for kind, x in kinds.items()}
    if "validation" in parts:
        chosen_by = kinds[run.way]["validation"]
        test_sets["validation"] = chosen_by, parts["validation"].labels
    native = native_side(run.data, data_dir)
    row |= {
        "train_images": len(train_set[1]),
        "tested": len(parts["test"].labels),
        "shape": list(train_set[0].shape[1:]),
        "native_pixels_per_pixel": native and native / train_set[0].shape[1],
    }
    return train_set, test_sets, row


def _model(
    run: Run,
    train_set: ImageSet,
    test_sets: dict[str, ImageSet],
    weights_dir: pathlib.Path | None,
) -> nnx.Module | None:
    """Returns the model that a run starts from, or None if its weights are fresh."""
    if run.weights is None:
        return None
    path = (weights_dir or pathlib.Path()) / run.weights
    classes = resolve_num_classes(None, train_set, test_sets)
    return initial_model(run.config, train_set[0].shape[1:], classes, path)


def _learnt(run: Run, history: History, test_sets) -> dict[str, Any]:
    """Returns what came of a training."""
    epochs = history.epochs
    found = {
        "train_accuracy": history.final["train_accuracy"],
        **{f"{kind}_accuracy": history.final[f"{kind}_accuracy"] for kind in test_sets},
        "losses": [round(x["train_loss"], 5) for x in epochs],
        "accuracies": [x[f"{run.way}_accuracy"] for x in epochs],
        "training_seconds": round(sum(x["seconds"] for x in epochs), 1),
    }
    if run.config.gradient_cosine:
        found["cosines"] = [round(x["gradient_cosine"], 5) for x in epochs]
    if run.remixer is not None:
        found["averaged_accuracy"] = evaluate(
            history.model, *test_sets[run.way], remixed=run.remixer, times=_REMIXES
        )
    return found


class Mixed(NamedTuple):
    """What `mixed_part` returns.

    Attributes:
      images: mixed once each.
      thumbnails: the region means of these.
      mean_region_size: of all pixels' regions, in pixels.
    """

    images: np.ndarray
    thumbnails: np.ndarray
    mean_region_size: float


def _mixed(
    parts: Mapping[str, LabelledImages], setting: str, seed: int
) -> dict[str, Mixed]:
    """Returns the mixed images of each part."""
    key = jax.random.key(seed)
    return {
        part: mixed_part(images, SETTINGS[setting], jax.random.fold_in(key, i))
        for i, (part, (images, _)) in enumerate(parts.items())
    }


def mixed_part(images: np.ndarray, mixer: VisualMixer, key: jax.Array) -> Mixed:
    """Returns images mixed once each, with their thumbnails."""
    means = jax.jit(jax.vmap(vim_jax.thumbnail))
    mixed, thumbnails = np.empty_like(images), np.empty_like(images)
    sizes = 0.0
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        mixed[part], plans = mixer(jax.random.fold_in(key, start), images[part])
        thumbnails[part] = np.rint(np.asarray(means(mixed[part], plans)))
        sizes += float(np.asarray(plans.size).mean((1, 2)).sum())
    return Mixed(mixed, thumbnails, sizes / len(images))


def sentence(row: Mapping[str, Any]) -> str:
    """Returns what a row says, for whoever watches."""
    options = "".join(f", {key} {value}" for key, value in row["options"].items())
    options += f", from {row['weights']}" if "weights" in row else ""
    where = f", {row['setting']}, {row['way']}" if row["setting"] else ", plain"
    return (
        f"{row['data']}, {row['model']}{options}{where}, seed {row['seed']}: "
        f"{row[row['way'] + '_accuracy']:.1%} in {row['seconds']:.0f} s"
    )
