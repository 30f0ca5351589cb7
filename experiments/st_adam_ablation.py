"""ST-Adam beside its neighbours, each at its best learning rate.

    python -m experiments.st_adam_ablation --preset cpu --data-dir DIR \
        --json experiments/results/st_adam_ablation_cpu.json

ST-Adam, Adam, Adam without bias correction (which differs from ST-Adam in its epsilon
only), AdamW and SGD with momentum, on plain and on mixed images (published once in
regions of 4 pixels, and shuffled again in them at each step), with two architectures.
All are tuned over one grid of learning rates with seed 0, by their accuracy on training
images that were held back; the best rate of each is then trained with all seeds.
`compared` says of each: accuracy over seeds; after how many steps it reaches nine
tenths of the best final accuracy; and the mean cosine between the gradients of
successive steps: the lower, the more they oscillate. It depends on the learning rate,
so it comes at one for all, too.

Runs are ordered by seed, and the file given by `--json` is written after each: start
the command again and it goes on. Several processes can share a preset by `--shard I/N`,
see `experiments.record`. `cpu` takes some hours on one core. Expect Adam and AdamW 0 to
4 points above ST-Adam, Adam without bias correction in between, and seeds 2 points
apart.
"""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro

from experiments.record import JsonOut
from experiments.training_runs import Run, finish, in_shard

Name = Literal["smoke", "cpu", "gpu", "paper"]
OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "ST-Adam": {"optimizer": "st_adam"},
    "Adam": {"optimizer": "adam"},
    "Adam without bias correction": {"optimizer": "adam_no_bias_correction"},
    "AdamW": {"optimizer": "adamw", "weight_decay": 0.05},
    "SGD with momentum": {"optimizer": "sgd"},
}
_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
_SETTING = "size 4"
SHARED_RATE = 1e-3
_SHARE = 0.9  # Of the best final accuracy, to be reached in few steps.
_CHANCE = 0.1  # What a network knows before it learns: all sets here have ten classes.


@dataclasses.dataclass(frozen=True)
class Preset:
    """What to train.

    Attributes:
      data: the data set.
      images: training images.
      test_images: test images.
      validation_images: held back to choose learning rates by.
      models: names and options.
      epochs: of each run.
      batch_size: images a step.
      rates: of learning.
      optimizers: names of those in `OPTIMIZERS`.
      seeds: how many.
      setting: of mixing.
    """

    data: str
    images: int
    test_images: int
    validation_images: int
    models: Mapping[str, Mapping[str, Any]]
    epochs: int
    batch_size: int
    rates: tuple[float, ...] = _RATES
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    seeds: int = 3
    setting: str = _SETTING


PRESETS: Mapping[Name, Preset] = {
    "smoke": Preset(
        "embedded:digits",
        100,
        50,
        50,
        {"resnet8": {"widths": (4,)}},
        1,
        40,
        rates=(1e-3, 1e-2),
        # Each run compiles anew, and together they should take less than a minute.
        optimizers=("ST-Adam", "SGD with momentum"),
        seeds=2,
        setting="size 2",
    ),
    "cpu": Preset(
        "cifar10",
        2000,
        1000,
        1000,
        {"resnet8": {}, "vit_tiny_patch4": {}},
        5,
        50,
    ),
    "gpu": Preset(
        "cifar10",
        45_000,
        10_000,
        5000,
        {"resnet20_cifar": {}, "vit_tiny_patch4": {}},
        10,
        250,
    ),
    "paper": Preset(
        "cifar10",
        45_000,
        10_000,
        5000,
        {"resnet18_cifar": {}, "vit_ti4_cifar": {}},
        100,
        128,
        seeds=5,
    ),
}


class Place(NamedTuple):
    """What one learning rate is chosen for."""

    model: str
    setting: str | None
    optimizer: str


def places(preset: Preset) -> list[Place]:
    """Returns all that a preset compares."""
    settings = (None, preset.setting)
    combinations = itertools.product(preset.models, settings, preset.optimizers)
    return [Place(*each) for each in combinations]


def tuning(preset: Preset, chosen: Sequence[Place]) -> Iterator[Run]:
    """Yields the runs of the grid, with seed 0.

    Args:
      preset: what to train.
      chosen: some of its places.
    """
    for rate in preset.rates:
        for place in chosen:
            yield _run(preset, place, rate, 0)


def repeats(
    preset: Preset, chosen: Sequence[Place], rows: list[dict[str, Any]]
) -> Iterator[Run]:
    """Yields the runs of the best rates with the other seeds.

    Args:
      preset: what to train.
      chosen: some of its places.
      rows: of the grid.
    """
    for seed in range(1, preset.seeds):
        for place in chosen:
            rate = _best(rows, place)[0]["recipe"]["learning_rate"]
            yield _run(preset, place, rate, seed)


def _run(preset, place: Place, rate, seed) -> Run:
    model, setting, name = place
    return Run(
        data=preset.data,
        images=preset.images,
        test_images=preset.test_images,
        validation_images=preset.validation_images,
        model=model,
        options=preset.models[model],
        setting=setting,
        way="plain" if setting is None else "mixed",
        recipe={
            **OPTIMIZERS[name],
            "learning_rate": rate,
            "epochs": preset.epochs,
            "gradient_cosine": True,
            "batch_size": preset.batch_size,
        },
        seed=seed,
    )


def _rows(rows, place: Place, **rest) -> list[dict[str, Any]]:
    model, setting, name = place
    wanted = {"model": model, "setting": setting, **rest}
    return [
        row
        for row in rows
        if wanted.items() <= row.items()
        and OPTIMIZERS[name].items() <= row["recipe"].items()
    ]


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns, for each network, images and optimizer, what its best rate achieved.

    Args:
      rows: what `run` returned.
    """
    found = []
    networks = dict.fromkeys((row["model"], row["setting"]) for row in rows)
    for model, setting in networks:
        best = {
            name: _best(rows, place)
            for name in OPTIMIZERS
            if _rows(rows, place := Place(model, setting, name), seed=0)
        }
        courses = {
            name: np.mean([row["accuracies"] for row in chosen], axis=0)
            for name, chosen in best.items()
        }
        target = _SHARE * max(course[-1] for course in courses.values())
        for name, chosen in best.items():
            accuracies = [row["accuracies"][-1] for row in chosen]
            found.append(
                {
                    "model": model,
                    "setting": setting,
                    "optimizer": name,
                    "learning_rate": chosen[0]["recipe"]["learning_rate"],
                    "seeds": len(chosen),
                    "accuracy": float(np.mean(accuracies)),
                    "deviation": float(np.std(accuracies, ddof=len(chosen) > 1)),
                    "target": float(target),
                    "steps_to_target": steps_to(target, courses[name], chosen[0]),
                    "cosine": _cosine(chosen),
                    "cosine_at_shared_rate": _cosine(
                        x
                        for x in _rows(rows, Place(model, setting, name), seed=0)
                        if x["recipe"]["learning_rate"] == SHARED_RATE
                    ),
                }
            )
    return found


def _cosine(rows: Iterable[Mapping[str, Any]]) -> float | None:
    """Returns the mean cosine of runs, or None if all diverged."""
    cosines = [x for row in rows for x in row.get("cosines", ())]
    return float(np.mean(cosines)) if cosines else None


def _best(rows, place: Place) -> list[dict[str, Any]]:
    """Returns the rows of the best learning rate, of all seeds."""
    grid = _rows(rows, place, seed=0)
    first = max(grid, key=lambda row: row["validation_accuracy"])
    rate = first["recipe"]["learning_rate"]
    return [x for x in _rows(rows, place) if x["recipe"]["learning_rate"] == rate]


def steps_to(target: float, course: np.ndarray, row: Mapping[str, Any]) -> float | None:
    """Returns after how many steps an accuracy is reached first; None if it is not.

    Args:
      target: the accuracy.
      course: accuracy after each epoch; between epochs it changes evenly, from
        that of a guess.
      row: any of the runs.
    """
    reached = np.flatnonzero(course >= target)
    if not reached.size:
        return None
    end = reached[0]
    start = course[end - 1] if end else _CHANCE
    if start >= target:
        return 0.0  # Networks that know nothing are as good.
    epochs = end + (target - start) / (course[end] - start)
    return float(epochs * (row["train_images"] // row["recipe"]["batch_size"]))


def run(
    preset: Name, path: pathlib.Path | None, data_dir: str | None, shard: str = "1/1"
) -> list[dict[str, Any]]:
    """Returns the rows of all runs, as plain data.

    Args:
      preset: see `PRESETS`.
      path: of the results file; None keeps no results.
      data_dir: where the TFDS data sets lie.
      shard: I/N takes every Nth place only, from the Ith.
    """
    settings = PRESETS[preset]
    chosen = in_shard(places(settings), shard)
    command = f"experiments.st_adam_ablation --preset {preset}"
    rows = finish(tuning(settings, chosen), path, command, data_dir)
    again = repeats(settings, chosen, rows)
    return finish(again, path, command, data_dir, rows)


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
    shard: str = "1/1",
) -> None:
    """Compare optimizers at their best learning rates.

    Args:
      preset: what to train.
      data_dir: where the TFDS data sets lie.
      json_out: the results; runs that it holds already are not repeated.
      shard: I/N takes every Nth of what is compared only, from the Ith.
    """
    for row in compared(run(preset, json_out, data_dir, shard)):
        print(
            f"{row['model']}, {row['setting'] or 'plain'}, {row['optimizer']}: "
            f"{row['accuracy']:.1%} at {row['learning_rate']}"
        )


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.st_adam_ablation")
