"""Accuracy of networks trained on plain images, mixed ones, and their thumbnails.

    python -m experiments.table2_accuracy --preset cpu --data-dir DIR \
        --json experiments/results/table2_accuracy_cpu.json

The slides' Table II. Images are published once: each is mixed once, before training.
All networks of a data set have the same budget and, as far as images allow, the same
recipe: flips, and shifts by up to an eighth of the side, in multiples of the region
size, if that is as small, and none at a level, whose regions differ from image to
image; neither for digits. Mixed images in regions of one size are shuffled in them
again at each step, and those whose regions were scrambled, thumbnails too, scrambled
again. Neither takes a key. Each mixed network is judged on mixed test images, as they
were published, and with its logits averaged over eight more shuffles of each.

Runs are ordered by how much they tell, and the file given by `--json` is written after
each: start the command again and it goes on. Several processes can share a preset by
`--shard I/N`, each with a results file of its own, which `python -m experiments.record`
joins: networks this small leave a GPU idle most of the time. `cpu` is scaled down to
what two cores can do in a day or two; `gpu` trains on all images of CIFAR-10, on as
many of MNIST, and on as many of Imagenette as `cpu`, in twice the resolution: an H200
took 58 minutes for 28 of the runs, seven at a time. `paper`, not run yet, has the
slides' networks, sets and image size, 90 epochs each. Its ImageNet-100 is for those who
have it, prepared for TFDS under the name "imagenet_100" (it takes 60 GB of memory and
more); `--data` takes some of the sets only. With `--weights-dir` networks of `paper`
are fine-tuned from ImageNet's weights on CIFAR-10, as the slides' accuracies suggest
that theirs were; not on ImageNet-100, whose plain images those weights have seen.
Expect drops of 0 to 7 points at region size 2, and thumbnail-trained networks close to
the mixed ones.
"""

import itertools
import pathlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import tyro

from experiments.record import JsonOut
from experiments.training_runs import SETTINGS, Run, Way, finish, in_shard

Name = Literal["smoke", "cpu", "gpu", "paper"]

RECIPE: Mapping[str, Any] = {
    "optimizer": "st_adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "ema": 0.99,
    "flip": True,
}
_RESNET = ("resnet20_cifar", {})
_VIT = ("vit_tiny_patch4", {})
_SORTED_VIT = ("vit_tiny_patch4", {"patch_encoder": "sorted"})
_OTHERS = tuple(
    (f"{name}_cifar", {})
    for name in ("shufflenet_v2_x1_0", "vgg11_bn", "swin_t", "mobilenet_v2")
)
_PAPER = (
    "vit_b16", "swin_t", "resnet50", "shufflenet_v2_x1_0", "mobilenet_v2", "vgg16_bn",
)  # fmt: skip
# In pixels of 224x224 images. The slides' accuracies are those of their windows of 2
# pixels; the others are whole native pixels of the set, or 1/16 to 1/4 of the side.
_PAPER_SIZES: Mapping[str, tuple[int, ...]] = {
    "cifar10": (2, 14, 28, 56),
    "mnist": (2, 16, 32, 56),
    "imagenet_100": (2, 14, 28, 56),
}
_DIGITS = ("mnist", "embedded:digits")
_CIFAR_SIDE = 32
_CIFAR_SETTINGS = ("size 2", "size 4", "size 8", "level 0.6", "size 4, scrambled")
_WAYS_OF_A_SETTING: tuple[Way, ...] = ("mixed", "thumbnail")
NO_SHIFTS: Mapping[str, int] = {"crop": 0, "crop_multiple": 1}


def runs(preset: Name, weights: Collection[str] = ()) -> Iterator[Run]:
    """Yields the runs of a preset, those that tell most first.

    Args:
      preset: which.
      weights: names of safetensors files. Networks of `paper` that are called like one
        start from it, with a tenth of the learning rate, as one fine-tunes.
    """
    if preset == "smoke":
        yield from _grid(
            "embedded:digits",
            [("resnet8", {"widths": (4, 8, 8)})],
            ("size 2",),
            images=200,
            test_images=100,
            recipe={**RECIPE, "epochs": 1, "batch_size": 40},
        )
    elif preset == "paper":
        recipe = {**RECIPE, "epochs": 90, "batch_size": 256}
        for data, model in itertools.product(_PAPER_SIZES, _PAPER):
            file = f"{model}.safetensors"
            fine_tuned = file in weights and data == "cifar10"
            rate = RECIPE["learning_rate"] / (10 if fine_tuned else 1)
            yield from _grid(
                data,
                [(model, {"normalize": "imagenet"} if fine_tuned else {})],
                (*(f"size {s}" for s in _PAPER_SIZES[data]), "level 0.6"),
                images=10**6,
                test_images=10**6,
                side=224,
                weights=file if fine_tuned else None,
                recipe={**recipe, "learning_rate": rate},
            )
    else:
        yield from _small_images(preset)


def budget(preset: Literal["cpu", "gpu"]) -> dict[str, Any]:
    """Returns what runs on images of their own size have in common."""
    if preset == "cpu":
        recipe = {"epochs": 10, "batch_size": 100}
        counts = {"images": 10_000, "test_images": 2000}
    else:
        recipe = {"epochs": 20, "batch_size": 250, "learning_rate": 2e-3}
        counts = {"images": 50_000, "test_images": 10_000}
    return {**counts, "recipe": {**RECIPE, **recipe}}


def _small_images(preset: Literal["cpu", "gpu"]) -> Iterator[Run]:
    """Yields runs on images that networks learn from within hours."""
    size = budget(preset)
    lesser, side = size, 128
    # Of a few images, which need many epochs.
    few = {
        "images": 1600,
        "test_images": 500,
        "recipe": {**size["recipe"], "epochs": 60},
    }
    if preset == "cpu":
        lesser = {**size, "images": 5000, "recipe": {**size["recipe"], "epochs": 6}}
        side = 64
    main = (_RESNET, _SORTED_VIT, _VIT)
    first, second, *_ = _CIFAR_SETTINGS
    yield from _grid("cifar10", main, (first,), **size)
    # Patches that are the regions.
    for patch in (8, 2):
        yield from _grid("cifar10", [_fitting(patch)], (f"size {patch}",), **size)
    # Regions that are nowhere in particular.
    no_positions = {**_SORTED_VIT[1], "position_embedding": False}
    nowhere = [("vit_tiny_patch4", no_positions)]
    yield from _grid("cifar10", nowhere, ("size 4, scrambled",), **size)
    yield from _grid("cifar10", main, _CIFAR_SETTINGS[1:], shifted_plain=False, **size)
    yield from _grid("cifar10", main, _CIFAR_SETTINGS, seed=1, **size)
    yield from _grid("cifar10", [_fitting(8)], ("size 8",), seed=1, **size)
    yield from _grid("mnist", main, (first, second), **lesser)
    yield from _grid("cifar10", _OTHERS, (first, second), **lesser)
    # To the sorted ViT, whose patches are larger, mixing makes no difference here.
    photographs = ("vit_ti16", {}), ("resnet18", {}), ("vit_ti16", _SORTED_VIT[1])
    yield from _grid("imagenette/160px-v2", photographs, ("size 4",), **few, side=side)


def _fitting(patch: int) -> tuple[str, Mapping[str, Any]]:
    """Returns a sorted ViT with patches of a size."""
    return "vit_tiny_patch4", {**_SORTED_VIT[1], "patch_size": patch}


def _grid(
    data: str,
    models: Iterable[tuple[str, Mapping[str, Any]]],
    settings: Sequence[str],
    *,
    recipe: Mapping[str, Any],
    side: int | None = None,
    seed: int = 0,
    shifted_plain: bool = True,
    **rest: Any,
) -> Iterator[Run]:
    """Yields plain, mixed and thumbnail runs of each model.

    Settings that rule shifts out are compared with plain images without, too: what
    shifts are worth is not what mixing costs.

    Args:
      data: name of the data set.
      models: names, and options.
      settings: of the mixing.
      recipe: of the training, without shifts.
      side: of resized images; None leaves them as they are.
      seed: of all runs.
      shifted_plain: whether to train on plain images with the usual shifts, too.
      **rest: other fields of `Run`.
    """

    def recipe_of(setting: str | None, *, shifted: bool = True) -> dict[str, Any]:
        if data in _DIGITS:
            return {**recipe, "flip": False, **NO_SHIFTS}
        chosen = shifts(setting, side or _CIFAR_SIDE) if shifted else NO_SHIFTS
        return {**recipe, **chosen}

    for model, options in models:
        common: dict[str, Any] = {
            "data": data, "side": side, "model": model, "options": options,
            "seed": seed, **rest
        }  # fmt: skip
        if shifted_plain:
            yield Run(**common, recipe=recipe_of(None))
        if recipe_of(None)["crop"] and not all(recipe_of(x)["crop"] for x in settings):
            yield Run(**common, recipe=recipe_of(None, shifted=False))
        for setting, way in itertools.product(settings, _WAYS_OF_A_SETTING):
            yield Run(**common, setting=setting, way=way, recipe=recipe_of(setting))


def shifts(setting: str | None, side: int) -> Mapping[str, int]:
    """Returns shifts that keep regions where they were.

    Up to about an eighth of the side: larger ones would leave less of an image than of
    those that others learn from.
    """
    most = -(-side // 8)
    if setting is None:
        return {"crop": most, "crop_multiple": 1}
    size = SETTINGS[setting].region_size
    if not isinstance(size, int):
        return NO_SHIFTS  # Plans differ from image to image.
    return {"crop": most // size * size, "crop_multiple": size}


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
    most: int | None = None,
    shard: str = "1/1",
    weights_dir: pathlib.Path | None = None,
    data: tuple[str, ...] = (),
) -> None:
    """Train networks on plain images, mixed ones, and thumbnails.

    Args:
      preset: which runs.
      data_dir: where the TFDS data sets lie.
      json_out: the results; runs that it holds already are not repeated.
      most: stop after so many of the runs.
      shard: I/N takes the runs number I, I + N, I + 2N, ... only.
      weights_dir: a folder of torchvision's weights, vit_b16.safetensors and the like,
        from which networks of `paper` start.
      data: runs on these data sets only, such as cifar10 mnist.
    """
    weights: list[str] = []
    if weights_dir is not None:
        weights = [path.name for path in weights_dir.glob("*.safetensors")]
        if preset != "paper" or not any(run.weights for run in runs(preset, weights)):
            raise SystemExit(
                f"weights_dir is {weights_dir}, where there is none of "
                f"{', '.join(f'{model}.safetensors' for model in _PAPER)}: give a "
                "folder of such files, and --preset paper."
            )
    every = list(runs(preset, weights))
    names = dict.fromkeys(run.data for run in every)
    for name in data:
        if name not in names:
            raise SystemExit(f"data is {name}: use some of {', '.join(names)}.")
    wanted = [run for run in every if run.data in (data or names)]
    chosen = in_shard(wanted[:most], shard)
    command = f"experiments.table2_accuracy --preset {preset}"
    finish(chosen, json_out, command, data_dir, weights_dir=weights_dir)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.table2_accuracy")
