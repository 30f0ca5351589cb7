"""What each part of the recipe for mixed images is worth.

    python -m experiments.recipe_ablation --preset cpu --data-dir DIR \
        --json experiments/results/recipe_ablation_cpu.json

The recipe is that of `table2_accuracy`, on images that were published once in regions
of 4 pixels. One part at a time is left out, replaced or added, and the same network
trained again, on mixed images and on plain ones: what helps both does not make the drop
smaller. Test images were published once, too. They are shown as they are, and several
times, shuffled again in their regions, with logits averaged.

The file given by `--json` is written after each run: start the command again and it
goes on. `cpu` takes some hours on one core. Expect a ViT to gain 8 points by values
that are sorted in each region, a ResNet nothing, both to lose by shifts that cut
regions up, and the rest to be lost in the noise of one seed.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import tyro

from experiments.record import JsonOut
from experiments.table2_accuracy import NO_SHIFTS, RECIPE, budget, shifts
from experiments.training_runs import Run, finish

Name = Literal["smoke", "cpu", "gpu", "paper"]
ALL = "the whole recipe"
NOT_AGAIN = "not shuffled again"
ANY_SHIFTS = "shifts by any number of pixels"
PARTS: Mapping[str, Mapping[str, Any]] = {
    ALL: {},
    NOT_AGAIN: {"fresh": None},
    "no shifts": NO_SHIFTS,
    ANY_SHIFTS: {"crop_multiple": 1},
    "no flips": {"flip": False},
    "no averaged parameters": {"ema": 0.0},
    "AdamW instead of ST-Adam": {"optimizer": "adamw"},
}
SORTED = "and values sorted in each region"
# Plain images are never shuffled again, and always shifted by any number of pixels.
OF_MIXED_ONLY = (NOT_AGAIN, ANY_SHIFTS)
_REGION = 4
_SETTING = f"size {_REGION}"
_SHIFTS = shifts(_SETTING, side=32)


def runs(preset: Name) -> Iterator[Run]:
    """Yields the runs of a preset, those on mixed images first.

    Args:
      preset: `smoke` only shows that it works; `paper` has three seeds.
    """
    if preset == "smoke":
        model = "resnet8", {"widths": (4,)}
        recipe = {**RECIPE, "epochs": 1, "batch_size": 40}
        counts = {"images": 200, "test_images": 100}
        some = (ALL, NOT_AGAIN, SORTED)
        yield from _runs("embedded:digits", [model], 1, some, recipe=recipe, **counts)
    elif preset == "cpu":
        models = ("vit_tiny_patch4", {}), ("resnet8", {})
        yield from _runs("cifar10", models, 1, **budget("cpu"))
    else:
        models = ("vit_tiny_patch4", {}), ("resnet20_cifar", {})
        seeds = 3 if preset == "paper" else 1
        yield from _runs("cifar10", models, seeds, **budget("gpu"))


def _runs(
    data, models, seeds, parts=(*PARTS, SORTED), *, recipe, **counts
) -> Iterator[Run]:
    on_plain = []
    for seed in range(seeds):
        for model, options in models:
            for part in parts:
                run = Run(
                    data=data,
                    model=model,
                    options=options | (_sorting(model) if part == SORTED else {}),
                    setting=_SETTING,
                    way="mixed",
                    recipe={**recipe, **_SHIFTS, **PARTS.get(part, {})},
                    seed=seed,
                    **counts,
                )
                yield run
                if part not in OF_MIXED_ONLY:
                    plain = {**run.recipe, "crop_multiple": 1}
                    on_plain.append(
                        dataclasses.replace(
                            run, setting=None, way="plain", recipe=plain
                        )
                    )
    yield from on_plain


def _sorting(model: str) -> dict[str, Any]:
    """Returns options with which a network sees regions whole, in no order."""
    if model.startswith("vit"):  # Whose patches are of the regions' size.
        return {"patch_encoder": "sorted"}
    return {"region_encoder": "sorted", "region_size": _REGION}


def part_of(row: Mapping[str, Any]) -> str:
    """Returns which of `PARTS` a row is, or `SORTED`."""
    if _sorting(row["model"]).items() <= row["options"].items():
        return SORTED
    recipe = row["recipe"]
    for part, changes in PARTS.items():
        expected = {**RECIPE, **_SHIFTS, **changes}
        if row["way"] == "plain":
            expected["crop_multiple"] = 1
        names = ("flip", "ema", "optimizer", "crop", "crop_multiple")
        same = all(recipe[name] == expected[name] for name in names)
        if same and ("fresh" in recipe) == ("fresh" in changes):
            return part
    raise ValueError(f"recipe {recipe} is none of {', '.join(PARTS)}.")


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
) -> None:
    """Leave out, replace or add one part of the recipe at a time.

    Args:
      preset: which runs.
      data_dir: where the TFDS data sets lie.
      json_out: the results; runs that it holds already are not repeated.
    """
    command = f"experiments.recipe_ablation --preset {preset}"
    finish(runs(preset), json_out, command, data_dir)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.recipe_ablation")
