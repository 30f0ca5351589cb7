"""What an informed attacker gets at each setting, one factor at a time.

    python -m experiments.attacks --preset cpu --data-dir DIR \
        --json experiments/results/attacks_cpu.json --keep FOLDER

Region sizes in native pixels, from 1 (nothing moves) to the whole image; the three ways
with channels at size 4; regions scrambled; one adaptive level. The attacks that train
no network run on all of them, on CIFAR-10, MNIST and Imagenette at 128 pixels; those
that train one, on CIFAR-10 at the settings in `TRAINED`. Test images are attacked, with
the training images as the attacker's own. Each image is mixed once.

`cpu` takes about 90 minutes on two cores. `networks`, about as long, trains those that
`cpu` leaves out for their cost: adversarial inversion, learned seams and membership at
those settings, and recognition of digits and their parity on MNIST. `gpu` trains all,
on more images. Expect, on CIFAR-10, the best SSIM to fall from 0.9 at size 2 to about
0.4 at size 8, where a blind guess has 0.2, and linkage of all images at every setting.

With `--data` or `--settings`, a part is measured again, and its rows in the results
that there are say so, and why.
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import tyro
from PIL import Image

from experiments.record import JsonOut, write
from vim_jax import VisualMixer
from vim_jax.attacks import gan_inversion, inversion, recognition
from vim_jax.attacks.audit import audit
from vim_jax.attacks.cases import Case, from_arrays
from vim_jax.attacks.verdicts import summary
from vim_jax.cli.console import steps
from vim_jax.data.arrays import LabelledImages, TrainTest, train_test_arrays
from vim_jax.report.provenance import provenance

SETTINGS = {
    "size 1": VisualMixer(region_size=1),
    "size 2": VisualMixer(region_size=2),
    "size 4": VisualMixer(region_size=4),
    "size 8": VisualMixer(region_size=8),
    "size 16": VisualMixer(region_size=16),
    "whole image": VisualMixer(region_size="entire"),
    "size 4, joint": VisualMixer(region_size=4, channels="joint"),
    "size 4, mixed": VisualMixer(region_size=4, channels="mixed"),
    "size 2, scrambled": VisualMixer(region_size=2, scramble_regions=True),
    "size 4, scrambled": VisualMixer(region_size=4, scramble_regions=True),
    "size 8, scrambled": VisualMixer(region_size=8, scramble_regions=True),
    "level 0.6": VisualMixer(level=0.6),
}
TRAINED = ("size 2", "size 4", "size 8", "size 4, scrambled", "level 0.6")
_TRAINED_ON_DIGITS = ("size 4", "size 4, scrambled")

_IMAGENETTE = "imagenette/160px-v2"
_SIDE = 128  # Of Imagenette, in pixels.

Name = Literal["smoke", "cpu", "networks", "gpu"]


@dataclasses.dataclass(frozen=True)
class Part:
    """What to attack of one data set.

    Attributes:
      data: which.
      images: how many of its test images, at most.
      auxiliary: how many training images the attacker has, at most.
      settings: which of `SETTINGS`.
      trained: the settings at which networks are trained.
      configs: of attacks, in place of the usual ones; None leaves one out.
    """

    data: str
    images: int
    auxiliary: int
    settings: tuple[str, ...] = tuple(SETTINGS)
    trained: tuple[str, ...] = ()
    configs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


# Keys have experiments of their own in the tests: no setting changes what they show.
_NO_KEYS: Mapping[str, Any] = {"seed_search": None, "key_reuse": None}
_NO_CHEAP = _NO_KEYS | dict.fromkeys(("thumbnail", "multiset", "linkage", "jigsaw"))
_SMALL_UNET = {"width": 24, "epochs": 6, "control_images": 1000}
_RECOGNITION = recognition.Config(epochs=8)
PRESETS: Mapping[Name, tuple[Part, ...]] = {
    "smoke": (
        Part(
            "embedded:digits",
            10,
            60,
            settings=("size 1", "size 2", "size 2, scrambled"),
            trained=("size 2",),
            configs={
                **_NO_KEYS,
                "inversion": inversion.Config(width=4, depth=1, epochs=1),
                "gan_inversion": None,
                "recognition": recognition.Config(epochs=1, flip=False),
                "membership": None,
            },
        ),
    ),
    "cpu": (
        Part(
            "cifar10",
            200,
            4000,
            trained=TRAINED,
            configs={
                **_NO_KEYS,
                "inversion": inversion.Config(**_SMALL_UNET),
                "gan_inversion": None,
                "jigsaw_net": None,
                "recognition": _RECOGNITION,
                "membership": None,
            },
        ),
        Part("mnist", 200, 1000, configs=_NO_KEYS),
        Part(_IMAGENETTE, 24, 200, configs=_NO_KEYS),
    ),
    "networks": (
        Part(
            "cifar10",
            200,
            4000,
            settings=TRAINED,
            trained=TRAINED,
            configs={
                **_NO_CHEAP,
                "inversion": None,
                "gan_inversion": gan_inversion.Config(**_SMALL_UNET),
                "recognition": None,
            },
        ),
        Part(
            "mnist",
            200,
            4000,
            settings=_TRAINED_ON_DIGITS,
            trained=_TRAINED_ON_DIGITS,
            configs={
                **_NO_CHEAP,
                **dict.fromkeys(("inversion", "gan_inversion", "jigsaw_net")),
                "recognition": dataclasses.replace(_RECOGNITION, flip=False),
                "membership": None,
            },
        ),
    ),
    "gpu": (
        Part("cifar10", 1000, 45_000, trained=TRAINED, configs=_NO_KEYS),
        Part("mnist", 1000, 10_000, configs=_NO_KEYS),
        Part(_IMAGENETTE, 100, 1500, configs=_NO_KEYS),
    ),
}


def run(
    preset: Name,
    data_dir: str | None,
    keep: pathlib.Path | None,
    settings: tuple[str, ...] = (),
    data: tuple[str, ...] = (),
) -> list[dict[str, Any]]:
    """Returns the audits of all data sets and settings as plain data.

    Args:
      preset: see `PRESETS`.
      data_dir: where the TFDS data sets lie.
      keep: where finished attacks are kept.
      settings: which of the preset's; empty for all.
      data: which of the preset's data sets; empty for all.
    """
    parts = [part for part in PRESETS[preset] if not data or part.data in data]
    if settings:
        parts = [dataclasses.replace(part, settings=settings) for part in parts]
    return [
        {
            "data": part.data,
            "setting": setting,
            "auxiliary": part.auxiliary,
            **_audited(
                case, train=setting in part.trained, configs=part.configs, keep=keep
            ),
        }
        for part in parts
        for setting, case in _cases(part, data_dir)
    ]


def _cases(part: Part, data_dir: str | None):
    limit = max(part.images, part.auxiliary)
    data = train_test_arrays(part.data, data_dir=data_dir, limit=limit)
    if part.data == _IMAGENETTE:
        train, test = (LabelledImages(_reduced(x.images), x.labels) for x in data[:2])
        data = TrainTest(train, test, data.label_names)
    for setting in part.settings:
        case = from_arrays(
            part.data,
            data,
            SETTINGS[setting],
            images=part.images,
            auxiliary=part.auxiliary,
        )
        yield setting, case


def _reduced(images: np.ndarray) -> np.ndarray:
    def smaller(image):
        picture = Image.fromarray(image)
        return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))

    return np.stack([smaller(image) for image in images])


def _audited(
    case: Case,
    *,
    train: bool,
    configs: Mapping[str, Any],
    keep: pathlib.Path | None,
) -> dict[str, Any]:
    with steps() as show:
        found = audit(
            case,
            "full" if train else "quick",
            configs=configs,
            kept=keep,
            progress=show,
        )
    return summary(found)


def _replaced(
    results: Mapping[str, Any], new: list[dict[str, Any]], why: str
) -> list[dict[str, Any]]:
    """Returns the rows of results, those of the same data and setting replaced.

    Each says with which commit it was measured, and new ones why they were.
    """
    made = {"commit": provenance("")["commit"], "measured_again": why}
    fresh = {(row["data"], row["setting"]): {**row, **made} for row in new}
    return [
        fresh.get((row["data"], row["setting"])) or {"commit": results["commit"], **row}
        for row in results["rows"]
    ]


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
    keep: pathlib.Path | None = None,
    settings: tuple[str, ...] = (),
    data: tuple[str, ...] = (),
    why: str = "",
) -> None:
    """Attack images mixed at each of a dozen settings.

    Args:
      preset: how much to try.
      data_dir: where the TFDS data sets lie.
      json_out: write the results here.
      keep: keep finished attacks here, so that an interrupted run goes on.
      settings: only these; in the results that there are, their rows are replaced.
      data: only these data sets, likewise.
      why: these are measured again, as the end of a sentence.
    """
    part = bool(settings or data)
    if part and json_out is not None and not why:
        raise SystemExit("Say --why rows are replaced.")
    rows = run(preset, data_dir, keep, settings, data)
    for row in rows:
        verdicts = {name: x["verdict"] for name, x in row["verdicts"].items()}
        print(row["data"], row["setting"], verdicts, sep=", ")
    if json_out is not None:
        if part:
            rows = _replaced(json.loads(json_out.read_text()), rows, why)
        # Those of the attacks, whichever run they finished in.
        seconds = sum(sum(row["seconds"].values()) for row in rows)
        command = f"experiments.attacks --preset {preset}"
        write(json_out, command, rows, seconds=seconds)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.attacks")
