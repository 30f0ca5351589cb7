"""VFE against region size, measured and in closed form.

    python -m experiments.fig3_vfe_vs_region_size --preset cpu --data-dir DIR \
        --json experiments/results/fig3_vfe_vs_region_size_cpu.json

The slides' Fig. 3. Images are shuffled in regions of growing size, with regions in
place and scrambled, and their VFE compared with `expected_vfe`. Region sizes are in
native pixels. `cpu` takes ten minutes on one core. Expect measured and expected
means to agree within 1 %, VFE to rise quickly up to regions of about 8 pixels, and
scrambling to add up to half of what small regions lack, and less at middling sizes: VFE
of scrambled images falls before it rises again.
"""

import dataclasses
import functools
import itertools
import pathlib
import time
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.progress import track

import vim_jax
from experiments.images import check
from experiments.record import JsonOut, is_there, kept, made_by, write
from vim_jax.data import mix_array
from vim_jax.data.arrays import train_test_arrays

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 160)


@dataclasses.dataclass(frozen=True)
class Preset:
    """What to measure.

    Attributes:
      data: test images of these sets, and how many.
      sizes: of regions, in native pixels; those above an image's side are left out.
    """

    data: Mapping[str, int]
    sizes: tuple[int, ...] = SIZES


Name = Literal["smoke", "cpu", "gpu", "paper"]
# Of images that have many sizes.
_SIDES = {"imagenet2012": 224, "imagenette/160px-v2": 160}
_BATCH = 100
PRESETS: Mapping[Name, Preset] = {
    "smoke": Preset({"embedded:digits": 20}, (1, 2, 8)),
    "cpu": Preset({"cifar10": 1000, "mnist": 1000, "imagenette/160px-v2": 100}),
    "gpu": Preset({"cifar10": 10_000, "mnist": 10_000, "imagenette/160px-v2": 1000}),
    "paper": Preset({"cifar10": 10_000, "mnist": 10_000, "imagenet2012": 10_000}),
}


def run(
    preset: Name, data_dir: str | None, path: pathlib.Path | None = None
) -> list[dict[str, Any]]:
    """Returns VFE of each set and region size, as plain data.

    Args:
      preset: see `PRESETS`.
      data_dir: where the TFDS data sets lie.
      path: of the results file, which is written after each row; None keeps no results.
    """
    chosen = PRESETS[preset]
    check(chosen.data, data_dir)
    command = f"experiments.fig3_vfe_vs_region_size --preset {preset}"
    rows = kept(path, command)
    for name, count in chosen.data.items():
        side = _SIDES.get(name)
        data = train_test_arrays(name, data_dir=data_dir, limit=count, side=side)
        images = data.test.images
        sizes = [size for size in chosen.sizes if size <= max(images.shape[1:3])]
        ways = list(itertools.product(sizes, (False, True)))
        for size, scrambled in track(ways, description=name):
            identity = {"data": name, "region_size": size, "scrambled": scrambled}
            if is_there(rows, identity):
                continue
            start = time.perf_counter()
            measured, expected = _measured(images, size, scrambled)
            rows.append(
                {
                    **identity,
                    "images": len(images),
                    "vfe": float(measured.mean()),
                    "vfe_deviation": float(measured.std()),
                    "expected_vfe": float(expected.mean()),
                    "seconds": round(time.perf_counter() - start, 2),
                    **made_by(),
                }
            )
            write(path, command, rows)
    return rows


def _measured(
    images: np.ndarray, size: int, scrambled: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Returns VFE of mixed images, and what is expected of it."""
    mixer = vim_jax.VisualMixer(region_size=size, scramble_regions=scrambled)
    mixed = mix_array(mixer, jax.random.key(0), images)
    measure = jax.jit(jax.vmap(vim_jax.vfe))
    expect = jax.jit(
        jax.vmap(
            functools.partial(
                vim_jax.expected_vfe, plan_or_size=size, scramble_regions=scrambled
            )
        )
    )
    measured, expected = (
        # In scrambled regions, an image of 224 pixels takes 10 MB.
        np.concatenate(
            [of_one(each[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
        )
        for of_one, each in ((measure, mixed), (expect, images))
    )
    return measured, expected


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
) -> None:
    """Measure VFE against region size.

    Args:
      preset: what to measure.
      data_dir: where the TFDS data sets lie.
      json_out: the results; rows that it holds already are not measured again.
    """
    rows = run(preset, data_dir, json_out)
    for row in rows:
        how = "scrambled" if row["scrambled"] else "in place"
        print(
            f"{row['data']}, regions of {row['region_size']} {how}: "
            f"VFE {row['vfe']:,.0f}, expected {row['expected_vfe']:,.0f}"
        )


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.fig3_vfe_vs_region_size")
