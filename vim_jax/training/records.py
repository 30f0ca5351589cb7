"""The files of a run's folder, apart from its checkpoints.

``config.json``: settings and fingerprints of the data, by which a rerun is
recognised. ``metrics.jsonl``: one line per finished epoch. ``result.json``: the
outcome, there only once the run is complete; `load_model` goes by it.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from flax import nnx

from vim_jax.data.writers import replace_atomically
from vim_jax.training.config import TrainConfig
from vim_jax.training.image_sets import ImageSet, fingerprint
from vim_jax.training.parallel import in_all, is_main

# They change what is kept, not what is learnt: a run may go on with others.
_MAY_CHANGE = ("checkpoint_every", "checkpoint_every_steps")
# Of the fingerprint of a model to start from. Machines round what they draw otherwise,
# by about a millionth; other draws, even of so many numbers, differ by a thousandth.
_ROUNDING: Any = {"rtol": 1e-4, "atol": 1e-5}
_ENOUGH = 2**20


def claim(
    folder: pathlib.Path,
    config: TrainConfig,
    train_set: ImageSet,
    test_sets: dict[str, ImageSet],
    start: nnx.Module | None = None,
) -> None:
    """Makes the folder this run's, or checks that it already is.

    The first process makes it, all of them check it: one that differs stops all.

    Args:
      folder: Folder of the run; created if missing.
      config: Settings of the run.
      train_set: Images and labels to train on.
      test_sets: Images and labels to test on, by name.
      start: The model that was given to start from, if one was.

    Raises:
      ValueError: If the folder holds a run with other settings or data, where only
        how often checkpoints are made may differ; or checkpoints whose settings are
        gone.
    """
    run = dataclasses.asdict(config)
    run["train_set"] = fingerprint(train_set)
    run["test_sets"] = {name: fingerprint(pair) for name, pair in test_sets.items()}
    if start is not None:
        run["start"] = _model_fingerprint(start)
    path = folder / "config.json"

    def make() -> None:
        if is_main() and not path.exists():
            if any((folder / "checkpoints").glob("*")):
                raise ValueError(
                    f"{folder} holds checkpoints of a run whose config.json is gone: "
                    "use another folder for out, or delete that one."
                )
            _write(path, json.dumps(run, indent=2) + "\n")

    def check() -> None:
        there = _read_run(path)
        _refuse_differences(folder, there, run, {**there, **run})

    in_all(make)
    in_all(check)


def check_settings(folder: pathlib.Path, config: TrainConfig) -> None:
    """Checks, before the data is there, that the folder holds no run of other settings.

    Args:
      folder: Folder of the run; may be missing.
      config: Settings of the run; no number of classes is what the data will tell.

    Raises:
      ValueError: If it does.
    """
    path = folder / "config.json"
    if path.exists():
        run = dataclasses.asdict(config)
        known = run.keys() - ({"num_classes"} if config.num_classes is None else ())
        _refuse_differences(folder, _read_run(path), run, known)


def _refuse_differences(
    folder: pathlib.Path,
    there: dict[str, Any],
    run: dict[str, Any],
    names: Iterable[str],
) -> None:
    """Raises ValueError if two runs differ in what goes by one of the names."""
    run = json.loads(json.dumps(run))
    differing = [
        name
        for name in names
        if name not in (*_MAY_CHANGE, "start") and there.get(name) != run.get(name)
    ]
    details = [
        f"{name} {there.get(name)!r} there and {run.get(name)!r} here"
        for name in differing
    ]
    if "start" in names and not _same_start(there.get("start"), run.get("start")):
        details.append("another model to start from")
    if details:
        raise ValueError(
            f"{folder} holds another run, with {', '.join(details)}: use another "
            "folder for out, or delete that one."
        )


def _read_run(path: pathlib.Path) -> dict[str, Any]:
    """Returns what ``config.json`` holds, or raise ValueError if that is no run's.

    A setting that is not there is newer than the run, which had its default.
    """
    try:
        run = json.loads(path.read_text())
    except ValueError:
        run = None
    if not isinstance(run, dict) or "train_set" not in run:
        raise ValueError(
            f"{path} is not that of a training run, or damaged: use another folder for "
            "out."
        )
    return {**dataclasses.asdict(TrainConfig()), **run}


def _model_fingerprint(model: nnx.Module) -> list[float]:
    """Tells models to start from apart, statistics included.

    Two numbers an array, of its first values: their mean magnitude, and in units of
    that how far they go with a wave. A digest would also tell machines apart, whose
    last bits differ in what is drawn.
    """
    numbers = []
    for leaf in jax.tree.leaves(nnx.state(model)):
        values = np.asarray(leaf).ravel()[:_ENOUGH].astype(np.float64)
        size = float(np.abs(values).mean())
        wave = np.sin(np.arange(1, values.size + 1))
        numbers += [size, float((values * wave).mean() / (size or 1.0))]
    return numbers


def _same_start(one: list[float] | None, other: list[float] | None) -> bool:
    """Whether two runs start from one model, or both from fresh parameters."""
    if one is None or other is None:
        return one is other
    return len(one) == len(other) and np.allclose(one, other, **_ROUNDING)


def write_metrics(folder: pathlib.Path, epochs: list[dict[str, Any]]) -> None:
    """Replaces ``metrics.jsonl`` by these epochs' lines."""
    _write(folder / "metrics.jsonl", "".join(map(_line, epochs)))


def append_metrics(folder: pathlib.Path, epoch: dict[str, Any]) -> None:
    """Adds an epoch's line to ``metrics.jsonl``."""
    with open(folder / "metrics.jsonl", "a") as file:
        file.write(_line(epoch))


def write_result(folder: pathlib.Path, result: dict[str, Any]) -> None:
    """Writes ``result.json``, whole or not at all, over any earlier one."""
    _write(folder / "result.json", json.dumps(result, indent=2) + "\n")


def read_result(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what ``result.json`` holds.

    Raises:
      ValueError: If there is none, or it is damaged.
    """
    path = folder / "result.json"
    if not path.exists():
        raise ValueError(
            f"{folder} holds no finished run: give the folder of one, or train to the "
            "end with the same settings."
        )
    try:
        return json.loads(path.read_text())
    except ValueError:
        raise ValueError(
            f"{path} is damaged: delete it, and train again with the same settings, "
            "which only writes it anew."
        ) from None


def add_to_result(folder: pathlib.Path, values: dict[str, Any]) -> None:
    """Adds values to ``result.json``, or replaces those of their names."""
    write_result(folder, read_result(folder) | values)


def _line(epoch: dict[str, Any]) -> str:
    return json.dumps(epoch) + "\n"


def _write(path: pathlib.Path, text: str) -> None:
    replace_atomically(path, text.encode())
