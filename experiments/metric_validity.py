"""Whether VFE and its neighbours say what an attacker gets.

    python -m experiments.metric_validity --preset cpu --data-dir DIR \
        --json experiments/results/metric_validity_cpu.json

CIFAR-10 test images are changed in some thirty ways: shuffled, shuffled with regions
scrambled, made noisy, blurred, pixelated, made brighter or richer in contrast. Of each
way: the metrics (VFE; level, its rise as a share of what a shuffle of the whole image
brings; Geary's C; the median bits of arrangement of a region), and what an attacker who
knows the way, but no key, gets (the best SSIM of looking, of a trained U-Net, and, of
shuffles, of thumbnail and multiset assignment; the share right of a classifier trained
on such images). A metric of privacy must fall or rise with these: Spearman's rank
correlation, over all ways and over shuffles alone, says how nearly it does. A perfect
metric has -1; one that says nothing, 0. With `--bits-again`, bits of arrangement
alone are computed again, of the same images, in the results that there are: nothing is
trained.

`cpu` takes about a minute a way on a free core. Expect a strong correlation over
shuffles of regions in place, and none or the wrong sign over all ways: noise, contrast
and brightness raise VFE and hide little.
"""

import dataclasses
import json
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import scipy.stats
import tyro
from rich.progress import track

import vim_jax
from experiments.distortions import WAYS, Way
from experiments.record import JsonOut, kept, made_by, write
from vim_jax import VisualMixer
from vim_jax._types import Channels
from vim_jax.attacks import inversion, multiset, recognition, thumbnail
from vim_jax.attacks.features import features
from vim_jax.attacks.mixing import mixed_by
from vim_jax.attacks.similarity import flat, ssim
from vim_jax.data.arrays import TrainTest, train_test_arrays
from vim_jax.report.provenance import provenance

METRICS = ("vfe", "level", "gearys_c", "arrangement_bits")
OUTCOMES = ("best_ssim", "recognised")
_SCOPES: Mapping[str, tuple[str, ...] | None] = {
    "all ways": None,
    "shuffles": ("none", "shuffling", "hierarchical shuffling"),
    "shuffles, regions in place": ("none", "shuffling"),
}
_SEED = 0
_ENOUGH = 100  # Images whose bits are counted.


@dataclasses.dataclass(frozen=True)
class Preset:
    """How much to learn and to judge.

    Attributes:
      data: the data set.
      test: test images.
      train: training images of the attacker.
      epochs: how often each is seen, by both networks.
      width: of the U-Net.
      ways: which, by name; empty for all.
    """

    data: str
    test: int
    train: int
    epochs: int
    width: int
    ways: tuple[str, ...] = ()


Name = Literal["smoke", "cpu", "gpu"]
PRESETS: Mapping[Name, Preset] = {
    "smoke": Preset(
        "embedded:digits", 20, 64, 1, 4, ("unchanged", "size 2", "noise 10")
    ),
    "cpu": Preset("cifar10", 300, 2000, 6, 16),
    "gpu": Preset("cifar10", 2000, 45_000, 20, 32),
}


def run(
    preset: Name, data_dir: str | None, path: pathlib.Path | None
) -> list[dict[str, Any]]:
    """Returns metrics and outcomes of each way, as plain data.

    Args:
      preset: see `PRESETS`.
      data_dir: where the TFDS data sets lie.
      path: of the results file, which is written after each way, and whose ways are
        not measured again; None keeps no results.
    """
    chosen = PRESETS[preset]
    data = _data(chosen, data_dir)
    rows = kept(path, _command(preset))
    known = {row["way"] for row in rows}
    commit = made_by()["commit"]  # Before results are written beside it.
    for family, name, way in track(_ways(chosen), description="ways"):
        if name in known:
            continue
        start = time.perf_counter()
        row = {"family": family, "way": name, **_measured(way, data, chosen)}
        seconds = round(time.perf_counter() - start, 1)
        rows.append({**row, "seconds": seconds, "commit": commit})
        write(path, _command(preset), rows)
    return rows


def _command(preset: Name) -> str:
    return f"experiments.metric_validity --preset {preset}"


def _data(preset: Preset, data_dir: str | None) -> TrainTest:
    limit = max(preset.test, preset.train)
    return train_test_arrays(preset.data, data_dir=data_dir, limit=limit)


def _ways(preset: Preset) -> list[tuple[str, str, Way]]:
    return [
        (family, name, way)
        for family, of_family in WAYS.items()
        for name, way in of_family.items()
        if not preset.ways or name in preset.ways
    ]


def with_bits_again(
    rows: list[dict[str, Any]], preset: Preset, data_dir: str | None
) -> list[dict[str, Any]]:
    """Returns rows with their bits of arrangement computed again, of the same images.

    Alone of the metrics, these do not depend on the draw of a shuffle. Rows in which
    they changed say so, and with which commit.

    Args:
      rows: what `run` returned.
      preset: that they were measured with.
      data_dir: where the TFDS data sets lie.
    """
    originals = _data(preset, data_dir).test.images[: preset.test].astype(np.uint8)
    ways = {name: way for _, name, way in _ways(preset)}
    commit = provenance("")["commit"]
    found = []
    for row in track(rows, description="ways"):
        way = ways[row["way"]]
        if isinstance(way, VisualMixer):
            mixed, plans = mixed_by(way, originals[:_ENOUGH], _SEED)
            bits = _median_bits(mixed, plans, way.channels)
            if not math.isclose(bits, row["arrangement_bits"], rel_tol=1e-9):
                made = {"metrics": ["arrangement_bits"], "commit": commit}
                row = {**row, "arrangement_bits": bits, "computed_again": made}
        found.append(row)
    return found


def _measured(way: Way, data, preset: Preset) -> dict[str, Any]:
    known, labels = (x[: preset.train] for x in data.train)
    originals, wanted = (x[: preset.test] for x in data.test)
    known, originals = known.astype(np.uint8), originals.astype(np.uint8)
    changed, plans, inputs = _changed(way, originals, _SEED)
    _, _, own = _changed(way, known, _SEED + 1)
    settings = inversion.Config(width=preset.width, epochs=preset.epochs)
    network = inversion.trained(own, known, settings)
    pictures = {
        "as it is": changed,
        "learned inversion": inversion.pictures_of(network, inputs),
    }
    channels = _channels(way)
    if plans is not None:
        pairs = list(zip(changed, plans, strict=True))
        pictures["thumbnail"] = [
            thumbnail.as_picture(thumbnail.enlarged(x, p, channels)) for x, p in pairs
        ]
        pictures["multiset"] = [
            multiset.reconstruct(x, p, channels, multiset.Config()) for x, p in pairs
        ]
    reached = {name: float(ssim(x, originals).mean()) for name, x in pictures.items()}
    best = max(reached, key=lambda name: reached[name])
    classifier = recognition.trained(
        own, labels, len(data.label_names), recognition.Config(epochs=preset.epochs)
    )
    hits = recognition.probabilities(classifier, inputs).argmax(1) == wanted
    return {
        **_metrics(originals, changed, plans, channels),
        "best_ssim": reached[best],
        "best_attack": best,
        "flat_ssim": float(ssim(flat(originals), originals).mean()),
        "recognised": float(hits.mean()),
    }


def _channels(way: Way) -> Channels:
    return way.channels if isinstance(way, VisualMixer) else "independent"


def _changed(way: Way, images: np.ndarray, seed: int):
    """Returns changed images, their plans or None, and what networks get of them."""
    if isinstance(way, VisualMixer):
        mixed, plans = mixed_by(way, images, seed)
        return np.stack(mixed), plans, features(mixed, plans, way)
    changed = way(images, np.random.default_rng(seed))
    inputs = changed.astype(np.float32) / np.float32(255)
    # Twice, since the U-Net adds to its second picture, and no region sizes.
    return changed, None, np.concatenate([inputs, inputs, inputs[..., :1] * 0], -1)


def _metrics(originals, changed, plans, channels: Channels) -> dict[str, float | None]:
    vfe, top = jax.jit(jax.vmap(vim_jax.vfe)), jax.jit(jax.vmap(vim_jax.max_vfe))
    before, after, most = (
        np.asarray(x) for x in (vfe(originals), vfe(changed), top(originals))
    )
    rough = np.asarray(jax.jit(jax.vmap(vim_jax.gearys_c))(changed))
    return {
        "vfe": float(after.mean()),
        "level": float(((after - before) / np.maximum(most - before, 1e-6)).mean()),
        "gearys_c": float(np.nanmean(rough)),
        "arrangement_bits": None
        if plans is None
        else _median_bits(changed[:_ENOUGH], plans[:_ENOUGH], channels),
    }


def _median_bits(images, plans, channels: Channels) -> float:
    """Returns the mean over images of the median over their permutations."""
    medians = [
        np.median(vim_jax.arrangement_bits(x, vim_jax.RegionPlan(p), channels=channels))
        for x, p in zip(images, plans, strict=True)
    ]
    return float(np.mean(medians))


class Interval(NamedTuple):
    """Both ends of a 95 % interval."""

    low: float
    high: float


def interval(rho: float, ways: int) -> Interval:
    """Returns the interval of Spearman's correlation, by Fisher's z.

    With the variance of Bonett and Wright (Psychometrika 65, 2000), `(1 + rho^2 / 2) /
    (n - 3)`, which ranks take instead of `1 / (n - 3)`. As if the ways had been drawn
    from all ways there are, independently of each other: they were chosen, several of a
    kind, so that it is too narrow, if anything. It says nothing of how `rho` would
    differ for other images, networks or seeds.

    Args:
      rho: the correlation.
      ways: how many it is of. Of three and fewer, nothing is known.
    """
    if ways <= 3:
        return Interval(-1.0, 1.0)
    if abs(rho) == 1:
        return Interval(rho, rho)
    half = 1.959964 * math.sqrt((1 + rho**2 / 2) / (ways - 3))
    z = math.atanh(rho)
    return Interval(math.tanh(z - half), math.tanh(z + half))


def correlations(
    rows: list[dict[str, Any]], *, complete: bool = True
) -> list[dict[str, Any]]:
    """Returns Spearman's correlation of each metric with each outcome.

    Over all ways, over shuffles, and over shuffles with regions in place, as far as all
    of them have been measured.

    Args:
      rows: what `run` returned.
      complete: whether to leave out what has not been measured in all ways.
    """
    found = []
    for scope, families in _SCOPES.items():
        chosen = [row for row in rows if families is None or row["family"] in families]
        wanted = [
            name
            for family, ways in WAYS.items()
            if families is None or family in families
            for name in ways
        ]
        if complete and not set(wanted) <= {row["way"] for row in chosen}:
            continue
        for metric in METRICS:
            known = [row for row in chosen if row[metric] is not None]
            here, there = ({row["family"] for row in x} for x in (known, chosen))
            if there - here - {"none"} or not known:
                continue  # It is of fewer ways than the scope says.
            for outcome in OUTCOMES:
                x, y = ([row[name] for row in known] for name in (metric, outcome))
                rho, p = map(float, np.asarray(scipy.stats.spearmanr(x, y)))
                low, high = interval(rho, len(known))
                found.append(
                    {
                        "scope": scope,
                        "metric": metric,
                        "outcome": outcome,
                        "ways": len(known),
                        "rho": round(rho, 3),
                        "low": round(low, 3),
                        "high": round(high, 3),
                        "p": p,
                    }
                )
    return found


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
    bits_again: bool = False,
) -> None:
    """Correlate metrics of privacy with what attackers get.

    Args:
      preset: how much to learn and to judge.
      data_dir: where the TFDS data sets lie.
      json_out: the results; ways that it holds already are not measured again.
      bits_again: compute the bits of arrangement of these results again, no more.
    """
    if bits_again:
        if json_out is None:
            raise SystemExit("Name the results whose bits are computed, by --json.")
        old = json.loads(json_out.read_text())
        rows = with_bits_again(old["rows"], PRESETS[preset], data_dir)
        write(json_out, _command(preset), rows, seconds=old["seconds"])
        return
    for row in correlations(run(preset, data_dir, json_out), complete=False):
        print(", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.metric_validity")
