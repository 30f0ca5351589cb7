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
metric has -1; one that says nothing, 0.

`cpu` takes about a minute a way on a free core. Expect a strong correlation over
shuffles of regions in place, and none or the wrong sign over all ways: noise, contrast
and brightness raise VFE and hide little.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import jax
import numpy as np
import scipy.ndimage
import scipy.stats
import tyro
from rich.progress import track

import vim_jax
from experiments.record import write
from vim_jax import VisualMixer
from vim_jax.attacks import inversion, multiset, recognition, thumbnail
from vim_jax.attacks.features import features
from vim_jax.attacks.mixing import mixed_by
from vim_jax.attacks.similarity import flat, ssim
from vim_jax.data.arrays import train_test_arrays
from vim_jax.report.provenance import provenance

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Way = VisualMixer | Change


def noise(sigma: float) -> Change:
    """Adds Gaussian noise, sigma in grey levels."""
    return lambda x, rng: _bytes(x + rng.normal(0, sigma, x.shape))


def blur(sigma: float) -> Change:
    """Blurs with a Gaussian, sigma in pixels."""
    return lambda x, _: _bytes(
        scipy.ndimage.gaussian_filter(x.astype(float), (0, sigma, sigma, 0))
    )


def pixelate(size: int) -> Change:
    """Replaces blocks by their means."""

    def change(x, _):
        n, h, w, c = x.shape
        blocks = x.reshape(n, h // size, size, w // size, size, c).mean((2, 4))
        return _bytes(blocks.repeat(size, 1).repeat(size, 2))

    return change


def brighten(factor: float) -> Change:
    """Multiplies all values."""
    return lambda x, _: _bytes(x * factor)


def stretch(factor: float) -> Change:
    """Multiplies what values differ from the middle grey."""
    return lambda x, _: _bytes((x - 127.5) * factor + 127.5)


def _bytes(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def leave(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Changes nothing."""
    return x


WAYS: Mapping[str, Mapping[str, Way]] = {
    "none": {"unchanged": leave},
    "shuffling": {
        **{f"size {s}": VisualMixer(region_size=s) for s in (2, 3, 4, 6, 8, 16)},
        "whole image": VisualMixer(region_size="entire"),
        **{f"level {x}": VisualMixer(level=x, clip=True) for x in (0.3, 0.6, 0.9)},
        **{
            f"size 4, {how}": VisualMixer(region_size=4, channels=how)
            for how in ("joint", "mixed")
        },
    },
    "hierarchical shuffling": {
        f"size {s}, scrambled": VisualMixer(region_size=s, scramble_regions=True)
        for s in (2, 4, 8)
    },
    "noise": {f"noise {s}": noise(s) for s in (10, 25, 50, 100)},
    "blur": {f"blur {s}": blur(s) for s in (1, 2, 4)},
    "pixelation": {f"pixelate {s}": pixelate(s) for s in (2, 4, 8, 16)},
    "brightness": {f"brightness x {f}": brighten(f) for f in (0.5, 1.5)},
    "contrast": {f"contrast x {f}": stretch(f) for f in (0.25, 0.5, 2.0)},
}
METRICS = ("vfe", "level", "gearys_c", "arrangement_bits")
OUTCOMES = ("best_ssim", "recognised")
_SCOPES: Mapping[str, tuple[str, ...] | None] = {
    "all ways": None,
    "shuffles": ("none", "shuffling", "hierarchical shuffling"),
    "shuffles, regions in place": ("none", "shuffling"),
}
_SEED = 0


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
    limit = max(chosen.test, chosen.train)
    data = train_test_arrays(chosen.data, data_dir=data_dir, limit=limit)
    ways = [
        (family, name, way)
        for family, of_family in WAYS.items()
        for name, way in of_family.items()
        if not chosen.ways or name in chosen.ways
    ]
    rows = json.loads(path.read_text())["rows"] if path and path.exists() else []
    known = {row["way"] for row in rows}
    for family, name, way in track(ways, description="ways"):
        if name in known:
            continue
        start = time.perf_counter()
        row = {"family": family, "way": name, **_measured(way, data, chosen)}
        seconds = round(time.perf_counter() - start, 1)
        made = provenance("")
        rows.append({**row, "seconds": seconds, "commit": made["commit"]})
        if path is not None:
            total = sum(row["seconds"] for row in rows)
            command = f"experiments.metric_validity --preset {preset}"
            write(path, command, total, rows)
    return rows


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
    if plans is not None:
        channels = way.channels if isinstance(way, VisualMixer) else "independent"
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
        **_metrics(originals, changed, plans),
        "best_ssim": reached[best],
        "best_attack": best,
        "flat_ssim": float(ssim(flat(originals), originals).mean()),
        "recognised": float(hits.mean()),
    }


def _changed(way: Way, images: np.ndarray, seed: int):
    """Returns changed images, their plans or None, and what networks get of them."""
    if isinstance(way, VisualMixer):
        mixed, plans = mixed_by(way, images, seed)
        return np.stack(mixed), plans, features(mixed, plans, way)
    changed = way(images, np.random.default_rng(seed))
    inputs = changed.astype(np.float32) / np.float32(255)
    # Twice, since the U-Net adds to its second picture, and no region sizes.
    return changed, None, np.concatenate([inputs, inputs, inputs[..., :1] * 0], -1)


def _metrics(originals, changed, plans) -> dict[str, float | None]:
    vfe, top = jax.jit(jax.vmap(vim_jax.vfe)), jax.jit(jax.vmap(vim_jax.max_vfe))
    before, after, most = (
        np.asarray(x) for x in (vfe(originals), vfe(changed), top(originals))
    )
    rough = np.asarray(jax.jit(jax.vmap(vim_jax.gearys_c))(changed))
    bits = None
    if plans is not None:
        bits = float(
            np.mean(
                [
                    np.median(vim_jax.arrangement_bits(x, vim_jax.RegionPlan(p)))
                    for x, p in zip(changed[:100], plans[:100], strict=True)
                ]
            )
        )
    return {
        "vfe": float(after.mean()),
        "level": float(((after - before) / np.maximum(most - before, 1e-6)).mean()),
        "gearys_c": float(np.nanmean(rough)),
        "arrangement_bits": bits,
    }


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
            if len(known) < min(len(chosen), 3):
                continue  # Not all ways have this metric.
            for outcome in OUTCOMES:
                x, y = ([row[name] for row in known] for name in (metric, outcome))
                rho, p = np.asarray(scipy.stats.spearmanr(x, y))
                found.append(
                    {
                        "scope": scope,
                        "metric": metric,
                        "outcome": outcome,
                        "ways": len(known),
                        "rho": round(float(rho), 3),
                        "p": float(p),
                    }
                )
    return found


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: Annotated[pathlib.Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Correlate metrics of privacy with what attackers get.

    Args:
      preset: how much to learn and to judge.
      data_dir: where the TFDS data sets lie.
      json_out: the results; ways that it holds already are not measured again.
    """
    for row in correlations(run(preset, data_dir, json_out), complete=False):
        print(", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.metric_validity")
