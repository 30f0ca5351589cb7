"""Blocks of pixels that trade places, put back by their seams.

    python -m experiments.sub_blocks --preset cpu --data-dir DIR \
        --json experiments/results/sub_blocks_cpu.json

Code that moves whole blocks inside regions, instead of pixels, leaves seams. Here each
region of a photograph has four, which trade places in each channel on its own, and
`vim_jax.attacks.sub_blocks` puts them back without any key. Its control is the same
attack on images of noise, whose blocks fit anywhere: it must be at chance there. Chance
is what the mixed images have before the attack.

`cpu` takes five minutes on one core. Expect nine in ten blocks of photographs in place,
and fewer the smaller the blocks.
"""

import dataclasses
import time
from typing import Any, Literal

import numpy as np
import tyro
from rich.progress import track

from experiments.record import JsonOut, made_by, write
from vim_jax.attacks import intervals, puzzle, similarity
from vim_jax.attacks.sub_blocks import mix_sub_blocks, solve_sub_blocks
from vim_jax.data.arrays import train_test_arrays


@dataclasses.dataclass(frozen=True)
class Preset:
    """What to attack.

    Attributes:
      data: a data set.
      images: how many of its test images.
      blocks: sides of the blocks in pixels; regions have twice that.
    """

    data: str
    images: int
    blocks: tuple[int, ...] = (2, 4, 8)


Name = Literal["smoke", "cpu", "gpu", "paper"]
_PHOTOGRAPHS = Preset("imagenette/160px-v2", 50)
PRESETS: dict[Name, Preset] = {
    "smoke": Preset("embedded:digits", 20, (2,)),
    "cpu": _PHOTOGRAPHS,
    "gpu": _PHOTOGRAPHS,
    "paper": dataclasses.replace(_PHOTOGRAPHS, images=500),
}


def run(preset: Name, data_dir: str | None) -> list[dict[str, Any]]:
    """Returns how many blocks came back, for each size and for noise, as plain data.

    Args:
      preset: see `PRESETS`.
      data_dir: where the TFDS data sets lie.
    """
    chosen = PRESETS[preset]
    data = train_test_arrays(chosen.data, data_dir=data_dir, limit=chosen.images)
    images = data.test.images.astype(np.uint8)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, images.shape, np.uint8)
    return [
        _row(kind, pictures, block)
        for block in chosen.blocks
        for kind, pictures in ((chosen.data, images), ("noise", noise))
    ]


def _row(kind: str, images: np.ndarray, block: int) -> dict[str, Any]:
    start = time.perf_counter()
    rng = np.random.default_rng(block)
    before, after, alike = [], [], []
    for image in track(images, description=f"{kind}, blocks of {block}"):
        moved = mix_sub_blocks(rng, image, 2 * block, block)
        solved = solve_sub_blocks(moved, 2 * block, block)
        before.append(accuracy(moved, image, block))
        after.append(accuracy(solved, image, block))
        alike.append(similarity.ssim(solved[None], image[None])[0])
    chance, found = (np.array(x).T for x in (before, after))
    return {
        "data": kind,
        "shape": list(images.shape[1:]),
        "images": len(images),
        "block": block,
        "region": 2 * block,
        **{
            name: {**intervals.mean(found[k])._asdict(), "chance": chance[k].mean()}
            for k, name in enumerate(("in_place", "neighbours", "largest_part"))
        },
        "ssim": intervals.mean(np.array(alike))._asdict(),
        "seconds": round(time.perf_counter() - start, 1),
        **made_by(),
    }


def accuracy(image: np.ndarray, original: np.ndarray, block: int) -> puzzle.Accuracy:
    """Returns how well blocks lie, the mean over channels.

    Blocks of equal values stand for each other: any is right.
    """
    channels = []
    for k in range(image.shape[2]):
        grids = [puzzle.cut(x[..., k : k + 1], block) for x in (image, original)]
        board = grids[0].shape[:2]
        blocks = np.stack(grids).reshape(-1, block * block)
        numbers = np.unique(blocks, axis=0, return_inverse=True)[1]
        channels.append(puzzle.metrics(*numbers.reshape(2, *board)))
    return puzzle.Accuracy(*np.mean(channels, axis=0).tolist())


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
) -> None:
    """Put blocks back by their seams.

    Args:
      preset: what to attack.
      data_dir: where the TFDS data sets lie.
      json_out: write the results here.
    """
    rows = run(preset, data_dir)
    for row in rows:
        found = row["in_place"]
        print(
            f"{row['data']}, blocks of {row['block']} in regions of {row['region']}: "
            f"{found['value']:.0%} in place ({found['low']:.0%} to {found['high']:.0%})"
            f", {row['neighbours']['value']:.0%} of neighbours joined"
        )
    write(json_out, f"experiments.sub_blocks --preset {preset}", rows)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.sub_blocks")
