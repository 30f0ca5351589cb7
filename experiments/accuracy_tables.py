"""Table II as tables of a page: what networks recognise, beside the slides' numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.comparisons import (
    Compared,
    all_compared,
    mean,
    preset_of,
    runs_of,
)
from experiments.page import Results, data_name, table
from experiments.training_runs import SETTINGS, is_done, is_of
from vim_jax.models import model_config

_IMAGENET_100 = {
    "vit": (74.54, 72.98),
    "swin": (84.80, 81.12),
    "resnet": (90.34, 83.78),
    "shufflenet": (85.34, 83.64),
    "mobilenet": (82.94, 81.38),
    "vgg": (74.02, 73.88),
}
# Table II of the slides: plain and VIM, in percent. Imagenette stands in for its
# ImageNet-100.
_SLIDES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "mnist": {
        "vit": (99.87, 99.14),
        "swin": (98.72, 98.70),
        "resnet": (99.27, 98.81),
        "shufflenet": (98.93, 97.19),
        "mobilenet": (97.21, 97.20),
        "vgg": (99.51, 98.12),
    },
    "cifar10": {
        "vit": (98.63, 92.35),
        "swin": (92.33, 85.73),
        "resnet": (97.23, 90.15),
        "shufflenet": (86.87, 84.07),
        "mobilenet": (81.37, 81.02),
        "vgg": (82.64, 82.63),
    },
    "imagenet_100": _IMAGENET_100,
    "imagenette/160px-v2": _IMAGENET_100,
}
_WORDS = (
    "Share of test images recognised; ± is the standard deviation over seeds. Images "
    "were published once; in training, those with regions of one size were shuffled "
    "again in them, and thumbnails whose regions were scrambled were scrambled again. "
    "Thumbnails are shifted in training as mixed images are, by whole regions or not "
    "at all, though they need not be. Region sizes in native pixels; where images were "
    "resized, pixels of the resized ones are in brackets, and at a level, where it was "
    "measured, the mean over all pixels. The drop, in points, is from plain to mixed, "
    "as published, between networks of one kind and budget, in brackets that of each "
    "seed; where mixed images were not shifted in training, nor were the plain ones, "
    "if there are such. The slides' (2.35 points on average, they say) is that of "
    "their network of this kind, at a region size that they do not give: their figures "
    "suggest windows of 2 pixels, not the adaptive ones; in images of 224 pixels, that "
    "would be 0.3 native ones of CIFAR-10. The difference is how much more is lost "
    "here. Training: images times epochs, and the seconds that the mixed network took, "
    "others beside it."
)
_OUTDATED, _OTHER_SHIFTS, _BLIND = " *", " †", " ‡"
_MARKS = {
    _OUTDATED: (
        "A star: measured with an earlier recipe, or a part of it; the plot has hollow "
        "points there."
    ),
    _OTHER_SHIFTS: (
        "A dagger: only one of plain and mixed images was shifted in training, so that "
        "a part of the drop is what shifts are worth."
    ),
    _BLIND: (
        "A double dagger: the network sorts the values of patches that are whole "
        "regions, so that a mixed image is the same to it as the plain one: whatever "
        "it loses is due to shifts, or to chance."
    ),
}


def accuracy_table(results: Results) -> str:
    """Returns the accuracy of networks by what they were trained on."""
    heads = (
        "data", "network", "region size", "plain", "mixed", "averaged over shuffles",
        "thumbnail-trained", "drop", "slides' drop", "difference", "training", "seeds",
    )  # fmt: skip
    found = all_compared(results)
    cells = [
        [
            data_name(data),
            name,
            _region_size(x),
            *_accuracies(x),
            *_drops(x, by_kind(_SLIDES.get(data, {}), name)),
            _training(x.mixed),
            str(len(x.mixed)),
        ]
        for data, name, x in found
    ]
    words = " ".join([_WORDS, *_notes([x for *_, x in found])])
    return f"{words}\n\n{table(heads, cells)}"


def headline_table(results: Results) -> str:
    """Returns the accuracies on CIFAR-10 in short: small regions, and a level."""
    shown = ("size 2", "size 4", "level 0.6")
    found = [
        (name, x)
        for data, name, x in all_compared(results)
        if data == "cifar10" and x.mixed[0]["setting"] in shown
    ]
    heads = (
        "network", "region size", "plain", "mixed", "thumbnail-trained", "drop",
        "slides' drop",
    )  # fmt: skip
    cells = []
    for name, x in found:
        plain, mixed, _, thumbnails = _accuracies(x)
        drop, theirs, _ = _drops(x, by_kind(_SLIDES["cifar10"], name))
        cells.append([name, _region_size(x), plain, mixed, thumbnails, drop, theirs])
    first = found[0][1].mixed[0]
    words = (
        f"CIFAR-10, {first['train_images']:,} training images, "
        f"{first['recipe']['epochs']} epochs. Share of test images recognised. Images "
        "were published once, and those with regions of one size shuffled again in "
        "them at each step of training, which takes no key. Region sizes are in native "
        "pixels. The drop, in points, is from plain to mixed; the slides' is at a "
        "region size that they do not give."
    )
    words = " ".join([words, *_notes([x for _, x in found])])
    return f"{words}\n\n{table(heads, cells)}"


def _notes(found: Sequence[Compared]) -> list[str]:
    """Returns what to know of the test images, and of the marks that are used."""
    rows = [row for x in found for row in (*x.mixed, *x.thumbnails, *x.plain)]
    used = "".join(map(_marks, found))
    return [_tested(rows), *(words for mark, words in _MARKS.items() if mark in used)]


def _marks(found: Compared) -> str:
    marks = {
        _OUTDATED: found.outdated,
        _OTHER_SHIFTS: found.other_shifts,
        _BLIND: _is_blind(found.mixed[0]),
    }
    return "".join(mark for mark, applies in marks.items() if applies)


def _is_blind(row: Mapping[str, Any]) -> bool:
    """Returns whether mixing changes nothing that a network sees."""
    height, width, channels = row["shape"]
    model = model_config(
        row["model"],
        num_classes=10,
        image_size=(height, width),
        channels=channels,
        **row["options"],
    )
    mixer = SETTINGS[row["setting"]]
    if getattr(model, "patch_encoder", None) != "sorted" or mixer.scramble_regions:
        return False
    return isinstance(mixer.region_size, int) and not (
        model.patch_size % mixer.region_size
    )


def _accuracies(found: Compared) -> list[str]:
    """Returns the cells of plain and mixed images, and of thumbnails."""
    thumbnails = ", averaged ".join(
        percent(found.thumbnails, metric)
        for metric in ("thumbnail_accuracy", "averaged_accuracy")
        if metric in found.thumbnails[0]
    )
    return [
        percent(found.plain, "plain_accuracy"),
        percent(found.mixed, "mixed_accuracy"),
        percent(found.mixed, "averaged_accuracy"),
        thumbnails,
    ]


def _drops(found: Compared, slides: tuple[float, float] | None) -> list[str]:
    """Returns the cells of the drop, of that of the slides, and of the difference."""
    drop = float(np.mean(found.drops))
    cell = f"{drop:.1f}"
    if len(found.drops) > 1:
        cell += f" ({', '.join(f'{x:.1f}' for x in found.drops)})"
    if slides is None:
        return [cell, "", ""]
    plain, mixed = slides
    theirs = plain - mixed
    return [cell, f"{theirs:.1f} ({plain} to {mixed})", f"{drop - theirs:+.1f}"]


def _training(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the training of a network took."""
    first, seconds = rows[0], mean(rows, "training_seconds")
    took = "diverged" if seconds is None else f"{seconds:,.0f} s"
    return f"{first['train_images']:,} x {first['recipe']['epochs']}, {took}"


def _tested(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns how many test images each data set had, and what they can tell apart."""
    by_data: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = data_name(row["data"])
        by_data.setdefault(name, []).append(row)
    parts = []
    for name, here in by_data.items():
        count = here[-1]["tested"]
        shares = [row[f"{row['way']}_accuracy"] for row in here]
        # Of two shares, at 95 %, as uncertain as any in the table.
        variance = max(share * (1 - share) for share in shares)
        least = 100 * 1.96 * (2 * variance / count) ** 0.5
        parts.append(
            f"{count:,} of {name} (differences of up to {least:.1f} points may be "
            "chance)"
        )
    return f"Test images: {', '.join(parts)}; seeds differ besides."


def whole_grid(results: Results) -> str:
    """Returns all accuracies, and how much of the preset's grid they are."""
    runs, rows = runs_of(results), results["rows"]
    count = sum(is_done(run, rows) for run in runs)
    done = f"{count} of the {len(runs)} runs of `{preset_of(results)}` are done"
    earlier = sum(not any(is_of(row, run) for run in runs) for row in rows)
    if earlier:
        done += f", and {earlier} others with an earlier recipe"
    return f"{done}. {accuracy_table(results)}"


def _region_size(found: Compared) -> str:
    """Returns the region size in native pixels, with its marks."""
    first = found.mixed[0]
    setting, scale = first["setting"], first["native_pixels_per_pixel"]
    mean_size = mean(found.mixed, "mean_region_size")
    size, *rest = setting.removeprefix("size ").split(", ")
    side = first["shape"][0]
    # Where native sizes differ, there is no number of native pixels.
    resized = f" of {side}, resized" if scale is None else ""
    if setting.startswith("level"):
        if mean_size:
            size += f" (mean {mean_size * (scale or 1):.1f}{resized})"
    elif scale in (None, 1):
        size += resized
    else:
        size = f"{int(size) * scale:.1f} ({size} of {side})"
    return ", ".join([size, *rest]) + _marks(found)


def percent(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """Returns the mean over seeds, with the deviation of one; "" if there is none."""
    values = [100 * row[name] for row in rows if name in row]
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread} %"


def by_kind(numbers: Mapping[str, Any], name: str) -> Any:
    """Returns what belongs to the kind of network that a name starts with, or None."""
    return next((x for key, x in numbers.items() if name.startswith(key)), None)
