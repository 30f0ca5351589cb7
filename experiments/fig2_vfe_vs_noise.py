"""VFE of noisy images, and of shuffled ones that are as rough.

    python -m experiments.fig2_vfe_vs_noise --preset cpu --data-dir DIR \
        --json experiments/results/fig2_vfe_vs_noise_cpu.json

The slides' Fig. 2. Gaussian noise is added to images and the result cut to the range of
pixels; and the same images are shuffled in regions of growing size. Of each: VFE, and
SSIM with the original. `cpu` takes a quarter of an hour on one core. Expect VFE to rise
with noise as 4 sigma^2 does while little is cut, and noisy images to look far more like
their originals than images of the same VFE that were shuffled in regions of 4 pixels or
more.
"""

import dataclasses
import pathlib
import time
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.progress import track

import vim_jax
from experiments.distortions import Way, leave, noise
from experiments.images import check
from experiments.record import JsonOut, is_there, kept, made_by, write
from vim_jax.attacks.similarity import ssim
from vim_jax.data import mix_array
from vim_jax.data.arrays import train_test_arrays

SIGMAS = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150)
SIZES = (2, 3, 4, 6, 8, 12, 16, 32)
WAYS: Mapping[str, tuple[tuple[str, float], Way]] = {
    "unchanged": (("noise", 0), leave),
    **{f"noise {s}": (("noise", s), noise(s)) for s in SIGMAS},
    **{
        f"size {s}": (("region size", s), vim_jax.VisualMixer(region_size=s))
        for s in SIZES
    },
}


@dataclasses.dataclass(frozen=True)
class Preset:
    """What to measure.

    Attributes:
      data: test images of these sets, and how many.
      ways: which of `WAYS`.
    """

    data: Mapping[str, int]
    ways: tuple[str, ...] = tuple(WAYS)


Name = Literal["smoke", "cpu", "gpu", "paper"]
# Of images that have many sizes.
_SIDES = {"imagenet2012": 224, "imagenette/160px-v2": 160}
_BATCH = 250
PRESETS: Mapping[Name, Preset] = {
    "smoke": Preset({"embedded:digits": 20}, ("unchanged", "noise 10", "size 2")),
    "cpu": Preset({"cifar10": 1000, "mnist": 1000, "imagenette/160px-v2": 200}),
    "gpu": Preset({"cifar10": 10_000, "mnist": 10_000, "imagenette/160px-v2": 1000}),
    "paper": Preset({"cifar10": 10_000, "mnist": 10_000, "imagenet2012": 10_000}),
}


def run(
    preset: Name, data_dir: str | None, path: pathlib.Path | None = None
) -> list[dict[str, Any]]:
    """Returns VFE and SSIM of each set and way, as plain data.

    Args:
      preset: see `PRESETS`.
      data_dir: where the TFDS data sets lie.
      path: of the results file, which is written after each row; None keeps no results.
    """
    chosen = PRESETS[preset]
    check(chosen.data, data_dir)
    command = f"experiments.fig2_vfe_vs_noise --preset {preset}"
    rows = kept(path, command)
    for name, count in chosen.data.items():
        side = _SIDES.get(name)
        data = train_test_arrays(name, data_dir=data_dir, limit=count, side=side)
        images = data.test.images
        for way in track(chosen.ways, description=name):
            (kind, strength), change = WAYS[way]
            identity = {"data": name, "kind": kind, "strength": strength}
            if is_there(rows, identity):
                continue
            start = time.perf_counter()
            vfe, similarity = _measured(change, images)
            rows.append(
                {
                    **identity,
                    "images": len(images),
                    "vfe": float(vfe.mean()),
                    "vfe_deviation": float(vfe.std()),
                    "ssim": float(similarity.mean()),
                    "seconds": round(time.perf_counter() - start, 2),
                    **made_by(),
                }
            )
            write(path, command, rows)
    return rows


def _measured(change: Way, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns VFE of changed images, and their SSIM with what they were."""
    random, key = np.random.default_rng(0), jax.random.key(0)
    vfe = jax.jit(jax.vmap(vim_jax.vfe))
    found = []
    for first in range(0, len(images), _BATCH):
        originals = images[first : first + _BATCH]
        if isinstance(change, vim_jax.VisualMixer):
            changed = mix_array(change, jax.random.fold_in(key, first), originals)
        else:
            changed = change(originals, random)
        found.append((np.asarray(vfe(changed)), ssim(list(changed), list(originals))))
    vfes, similarities = map(np.concatenate, zip(*found, strict=True))
    return vfes, similarities


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
) -> None:
    """Measure VFE of noisy and of shuffled images.

    Args:
      preset: what to measure.
      data_dir: where the TFDS data sets lie.
      json_out: the results; rows that it holds already are not measured again.
    """
    rows = run(preset, data_dir, json_out)
    for row in rows:
        print(
            f"{row['data']}, {row['kind']} {row['strength']}: VFE {row['vfe']:,.0f}, "
            f"SSIM {row['ssim']:.2f}"
        )


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.fig2_vfe_vs_noise")
