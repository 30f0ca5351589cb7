"""Table II as tables of a page: what networks recognise, beside the slides' numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.comparisons import (
    Compared,
    Row,
    by_network,
    compared,
    in_order,
    mean,
    preset_of,
    runs_of,
)
from experiments.page import Results, data_name, table
from experiments.training_runs import is_done

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
    "seed; where mixed images were not shifted in training, nor were the plain ones. "
    "The slides' (2.35 points on average, they say) is that of their network of this "
    "kind, at a region size that they do not give: their figures suggest windows of 2 "
    "pixels, not the adaptive ones; in images of 224 pixels, that would be 0.3 native "
    "ones of CIFAR-10. The difference is how much more is lost here. Training: images "
    "times epochs, and the seconds that the mixed network took, others beside it."
)
_OUTDATED, _OTHER_SHIFTS = " *", " †"
_MARKS = {
    _OUTDATED: (
        "A star: measured with an earlier recipe, or a part of it; the plot has hollow "
        "points there."
    ),
    _OTHER_SHIFTS: (
        "A dagger: mixed images were not shifted in training, and plain ones were, so "
        "that a part of the drop is what shifts are worth."
    ),
}


def accuracy_table(results: Results) -> str:
    """Returns the accuracy of networks by what they were trained on."""
    runs = runs_of(results)
    rows = in_order(results["rows"], runs)
    heads = (
        "data", "network", "region size", "plain", "mixed", "averaged over shuffles",
        "thumbnail-trained", "drop", "slides' drop", "difference", "training", "seeds",
    )  # fmt: skip
    cells: list[list[str]] = []
    shown: list[Row] = []
    for data in dict.fromkeys(row["data"] for row in rows):
        networks = by_network(row for row in rows if row["data"] == data)
        for name, here in networks.items():
            for setting in dict.fromkeys(row["setting"] for row in here):
                found = compared(here, setting, runs) if setting else None
                if found is None:
                    continue  # Not finished.
                shown += [*found.mixed, *found.thumbnails, *found.plain]
                cells.append(
                    [
                        data_name(data),
                        name,
                        _region_size(found) + _marks(found),
                        *_accuracies(found),
                        *_drops(found, by_kind(_SLIDES.get(data, {}), name)),
                        _training(found.mixed),
                        str(len(found.mixed)),
                    ]
                )
    marks = [
        words for mark, words in _MARKS.items() if any(mark in x[2] for x in cells)
    ]
    words = " ".join([_WORDS, _tested(shown), *marks])
    return f"{words}\n\n{table(heads, cells)}"


def _marks(found: Compared) -> str:
    outdated = _OUTDATED if found.outdated else ""
    return outdated + (_OTHER_SHIFTS if found.other_shifts else "")


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
    return f"{first['train_images']:,} x {first['recipe']['epochs']}, {seconds:,.0f} s"


def _tested(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns how many test images each data set had, and what they can tell apart."""
    by_data: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = data_name(row["data"])
        by_data.setdefault(name, []).append(row)
    same = len({row["tested"] for row in rows}) == 1
    parts = []
    for name, here in by_data.items():
        count = here[-1]["tested"]
        shares = [row[f"{row['way']}_accuracy"] for row in here]
        # Of two shares, at 95 %, as uncertain as any in the table.
        variance = max(share * (1 - share) for share in shares)
        least = 100 * 1.96 * (2 * variance / count) ** 0.5
        parts.append(
            f"{count:,}{'' if same else f' of {name}'} (differences of up to "
            f"{least:.1f} points may be chance)"
        )
    found = parts[0] if same else ", ".join(parts)
    return f"Test images: {found}; seeds differ besides."


def whole_grid(results: Results) -> str:
    """Returns all accuracies, and how much of the preset's grid they are."""
    runs = runs_of(results)
    count = sum(is_done(run, results["rows"]) for run in runs)
    done = f"{count} of the {len(runs)} runs of `{preset_of(results)}` are done."
    return f"{done} {accuracy_table(results)}"


def headline_table(results: Results) -> str:
    """Returns the accuracies on CIFAR-10 in short: small regions, and a level."""
    shown = ("size 2", "size 4", "level 0.6")
    rows = [
        row
        for row in results["rows"]
        if row["data"] == "cifar10" and row["setting"] in (None, *shown)
    ]
    return accuracy_table({**results, "rows": rows})


def _region_size(found: Compared) -> str:
    first = found.mixed[0]
    setting, scale = first["setting"], first["native_pixels_per_pixel"]
    mean_size = mean(found.mixed, "mean_region_size")
    if setting.startswith("level") and mean_size:
        return f"{setting} (mean {mean_size * (scale or 1):.1f})"
    if scale in (None, 1) or not setting.startswith("size"):
        return setting.removeprefix("size ")
    size, *rest = setting.removeprefix("size ").split(", ")
    native = f"{int(size) * scale:.1f} ({size} of {first['shape'][0]})"
    return ", ".join([native, *rest])


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
