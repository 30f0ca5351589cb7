"""Scrambled regions, put where regions of such values usually lie.

    python -m experiments.scrambled_regions --preset cpu --data-dir DIR \
        --json experiments/results/scrambled_regions_cpu.json

`vim_jax.attacks.region_placing`, beside a blind guess and its control. Images are those
of `experiments.attacks`. The file given by `--json` is written after each row: start
the command again and it goes on. `cpu` takes some minutes on one core. Expect pictures
of photographs half a decibel nearer than a blind guess, and digits as near as one.
"""

import dataclasses
import pathlib
import time
from typing import Any, Literal

import tyro
from rich.progress import track

from experiments.images import check
from experiments.record import JsonOut, is_there, kept, made_by, write
from vim_jax import VisualMixer
from vim_jax.attacks import region_placing
from vim_jax.attacks.cases import from_data


@dataclasses.dataclass(frozen=True)
class Preset:
    """What to attack.

    Attributes:
      cases: names of data sets, and region sizes in native pixels.
      images: of each, how many are attacked.
      auxiliary: how many others the attacker has.
      epochs: how often it looks at each of these.
    """

    cases: tuple[tuple[str, int], ...]
    images: int = 200
    auxiliary: int = 4000
    epochs: int = region_placing.Config.epochs


Name = Literal["smoke", "cpu", "gpu", "paper"]
_SMALL = Preset((("cifar10", 4), ("cifar10", 8), ("mnist", 4), ("mnist", 7)))
PRESETS: dict[Name, Preset] = {
    "smoke": Preset((("embedded:digits", 2),), images=20, auxiliary=40, epochs=1),
    "cpu": _SMALL,
    "gpu": dataclasses.replace(_SMALL, auxiliary=50_000),
    "paper": dataclasses.replace(
        _SMALL, cases=(("cifar10", 2), *_SMALL.cases), images=2000, auxiliary=50_000
    ),
}


def run(
    preset: Name, data_dir: str | None, path: pathlib.Path | None = None
) -> list[dict[str, Any]]:
    """Returns SSIM and PSNR of each set and region size, as plain data.

    Args:
      preset: see `PRESETS`.
      data_dir: where the TFDS data sets lie.
      path: of the results file, which is written after each row; None keeps no results.
    """
    chosen = PRESETS[preset]
    check((data for data, _ in chosen.cases), data_dir)
    command = f"experiments.scrambled_regions --preset {preset}"
    rows = kept(path, command)
    for data, size in track(chosen.cases, description="placing regions"):
        identity = {"data": data, "setting": f"size {size}, scrambled"}
        if is_there(rows, identity):
            continue
        start = time.perf_counter()
        case = from_data(
            data,
            VisualMixer(region_size=size, scramble_regions=True),
            data_dir=data_dir,
            images=chosen.images,
            auxiliary=chosen.auxiliary,
        )
        config = region_placing.Config(epochs=chosen.epochs)
        outcome = region_placing.run(case.published, case.knowledge, case.truth, config)
        rows.append(
            {
                **identity,
                "images": len(case.published),
                "auxiliary": len(case.auxiliary) if case.auxiliary is not None else 0,
                "scores": [score.as_json() for score in outcome.scores],
                "seconds": round(time.perf_counter() - start, 1),
                **made_by(),
            }
        )
        write(path, command, rows)
    return rows


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
) -> None:
    """Put scrambled regions where they probably were.

    Args:
      preset: what to attack.
      data_dir: where the TFDS data sets lie.
      json_out: the results; rows that it holds already are not measured again.
    """
    for row in run(preset, data_dir, json_out):
        found = ", ".join(
            f"{x['metric']} {x['score']:.3f} (chance {x['chance']:.3f})"
            for x in row["scores"]
        )
        print(f"{row['data']}, {row['setting']}: {found}")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.scrambled_regions")
