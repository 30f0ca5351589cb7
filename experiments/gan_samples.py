"""What a GAN learns to paint from plain, noisy and mixed images.

    python -m experiments.gan_samples --preset cpu --data-dir DIR \
        --json experiments/results/gan_samples_cpu.json --plot docs/images/gan.png

A GAN is trained on MNIST as it is, with noise, and mixed at three region sizes, each
image once. A classifier trained on other, plain images says how many of its samples it
knows again as the digit that they were to show. `cpu` takes about 15 minutes on two
cores. Expect a half to nine tenths of the samples of plain images, and fewer the larger
the regions: the GAN paints what it was shown, mixed images, which it cannot unmix.
"""

import dataclasses
import pathlib
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from rich.progress import track

from experiments.distortions import Way, leave, noise
from experiments.record import JsonOut, write
from vim_jax import VisualMixer
from vim_jax.attacks import gan_samples, intervals, recognition
from vim_jax.attacks.mixing import mixed_by
from vim_jax.data.arrays import LabelledImages, train_test_arrays

WAYS: Mapping[str, Way] = {
    "plain": leave,
    "noise 50": noise(50),
    "size 2": VisualMixer(region_size=2),
    "size 4": VisualMixer(region_size=4),
    "size 7": VisualMixer(region_size=7),
}
_SHOWN = 10  # Samples a label.


@dataclasses.dataclass(frozen=True)
class Preset:
    """How much to learn and to judge.

    Attributes:
      data: the data set.
      images: how many are published, and how many the judge learns from.
      ways: which, by name.
      samples: how many of each GAN are judged.
      config: of the GAN.
    """

    data: str
    images: int
    ways: tuple[str, ...]
    samples: int
    config: gan_samples.Config


Name = Literal["smoke", "cpu", "gpu"]
PRESETS: Mapping[Name, Preset] = {
    "smoke": Preset(
        "embedded:digits",
        200,
        ("plain", "size 2"),
        100,
        gan_samples.Config(width=8, epochs=1),
    ),
    "cpu": Preset(
        "mnist", 8000, tuple(WAYS), 1000, gan_samples.Config(width=16, epochs=10)
    ),
    "gpu": Preset(
        "mnist", 60_000, tuple(WAYS), 1000, gan_samples.Config(width=64, epochs=60)
    ),
}


def run(
    preset: Name, data_dir: str | None
) -> tuple[list[dict[str, Any]], dict[str, list[np.ndarray]]]:
    """Returns rows, and samples, ten a label, by way.

    Args:
      preset: see `PRESETS`.
      data_dir: where the TFDS data sets lie.
    """
    chosen = PRESETS[preset]
    data = train_test_arrays(chosen.data, data_dir=data_dir, limit=chosen.images)
    images = data.train.images.astype(np.uint8)
    classes = len(data.label_names)
    wanted = np.resize(np.arange(classes), chosen.samples)
    judge = _judge(data.test, classes)
    rows, shown = [], {}
    for name in track(chosen.ways, description="GANs"):
        start, way = time.perf_counter(), WAYS[name]
        if isinstance(way, VisualMixer):
            published = np.stack(mixed_by(way, images, 0)[0])
        else:
            published = way(images, np.random.default_rng(0))
        pictures = gan_samples.samples(
            published, data.train.labels, wanted, chosen.config
        )
        found = intervals.rate(*_known(judge, pictures, wanted))
        themselves = intervals.rate(*_known(judge, published, data.train.labels))
        rows.append(
            {
                "way": name,
                "images": len(images),
                "epochs": chosen.config.epochs,
                "samples": len(pictures),
                "known_again": found._asdict(),
                "published_known": themselves._asdict(),
                "chance": 1 / classes,
                "seconds": round(time.perf_counter() - start, 1),
            }
        )
        shown[name] = pictures[: _SHOWN * classes]
    return rows, shown


def _judge(plain: LabelledImages, classes: int):
    config = recognition.Config(flip=False)
    return recognition.trained(_inputs(plain.images), plain.labels, classes, config)


def _known(judge, images, labels) -> tuple[int, int]:
    found = recognition.probabilities(judge, _inputs(np.stack(list(images)))).argmax(1)
    return int((found == labels).sum()), len(labels)


def _inputs(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / np.float32(255)


def plot(shown: Mapping[str, list[np.ndarray]], path: pathlib.Path) -> None:
    """Draws the samples, a column a label."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, len(shown), figsize=(2.2 * len(shown), 2.5), layout="constrained"
    )
    for axis, (name, pictures) in zip(axes, shown.items(), strict=True):
        rows = np.stack(pictures)[..., 0]
        n, h, w = rows.shape
        grid = rows.reshape(_SHOWN, n // _SHOWN, h, w).swapaxes(1, 2)
        axis.imshow(grid.reshape(_SHOWN * h, -1), cmap="gray")
        axis.set_title(name, fontsize=10)
        axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
    picture: Annotated[pathlib.Path | None, tyro.conf.arg(name="plot")] = None,
) -> None:
    """Train GANs on plain, noisy and mixed images.

    Args:
      preset: how much to learn and to judge.
      data_dir: where the TFDS data sets lie.
      json_out: write the results here.
      picture: draw the samples here.
    """
    rows, shown = run(preset, data_dir)
    for row in rows:
        print(f"{row['way']}: {row['known_again']['value']:.1%} of the samples known")
    if picture is not None:
        plot(shown, picture)
    write(json_out, f"experiments.gan_samples --preset {preset}", rows)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.gan_samples")
