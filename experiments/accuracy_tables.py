"""Table II as tables of a page: what networks recognise, beside the slides' numbers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments import table2_accuracy
from experiments.page import Results, table
from experiments.training_runs import Run, is_done, is_of

DATA_NAMES = {
    "cifar10": "CIFAR-10",
    "mnist": "MNIST",
    "imagenette/160px-v2": "Imagenette",
}
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
_STAR = " *"
_STARRED = (
    "A star marks what was measured with an earlier recipe, or a part of it: images "
    "with regions of 8 pixels were shifted by 8 pixels, which left less of them than "
    "of others, scrambled thumbnails were not scrambled again, and digits were "
    "shifted; the plot has hollow points there."
)


def network(row: Mapping[str, Any]) -> str:
    """Returns the name of a row's network, with its options."""
    options = row["options"].items()
    parts = [row["model"], *(_option(*option) for option in options)]
    return ", ".join([*parts, "fine-tuned"] if "weights" in row else parts)


def by_network(
    rows: Iterable[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
    """Returns the rows of each network, by its name."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(network(row), []).append(row)
    return found


def _option(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} {value}" if isinstance(value, int) else f"{value}"


def plain_of(
    rows: Sequence[Mapping[str, Any]], crop: int | None = None
) -> list[Mapping[str, Any]]:
    """Returns the plain rows of a network that others are compared with.

    Args:
      rows: of one network on one data set.
      crop: the shifts of the others, which plain images are to have as well, if there
        are such; None for what the network usually gets.
    """
    plain = [row for row in rows if row["way"] == "plain"]
    crops = [row["recipe"]["crop"] for row in plain]
    if crop not in crops:
        crop = max(crops, default=0)
    return [row for row in plain if row["recipe"]["crop"] == crop]


def accuracy_table(results: Results) -> str:
    """Returns the accuracy of networks by what they were trained on."""
    rows = results["rows"]
    runs = runs_of(results)
    heads = (
        "data", "network", "region size", "plain", "mixed", "averaged over shuffles",
        "thumbnail-trained", "drop", "slides' drop", "difference", "training", "seeds",
    )  # fmt: skip
    places = dict.fromkeys((row["data"], network(row)) for row in rows)
    cells, shown = [], []
    for data, name in places:
        here = [row for row in rows if (row["data"], network(row)) == (data, name)]
        slides = by_kind(_SLIDES.get(data, {}), name)
        for setting in dict.fromkeys(row["setting"] for row in here if row["setting"]):
            ways = [
                [x for x in here if (x["way"], x["setting"]) == (way, setting)]
                for way in ("mixed", "thumbnail")
            ]
            if not all(ways):
                continue  # Not finished.
            (latest, _), _ = newest(ways, runs)
            crop = latest[0]["recipe"]["crop"] if latest else None
            ways.append(plain_of(here, crop))
            (mixed, thumbnails, plain), star = newest(ways, runs)
            if not mixed:
                continue  # Of other seeds.
            drop = 100 * float(
                np.mean([x["plain_accuracy"] for x in plain])
                - np.mean([x["mixed_accuracy"] for x in mixed])
            )
            shown += [*mixed, *thumbnails, *plain]
            slides_drop = slides[0] - slides[1] if slides else None
            cells.append(
                [
                    DATA_NAMES.get(data, data),
                    name,
                    _region_size(setting, here) + star,
                    percent(plain, "plain_accuracy"),
                    percent(mixed, "mixed_accuracy"),
                    percent(mixed, "averaged_accuracy"),
                    ", averaged ".join(
                        percent(thumbnails, metric)
                        for metric in ("thumbnail_accuracy", "averaged_accuracy")
                        if metric in thumbnails[0]
                    ),
                    f"{drop:.1f}",
                    f"{slides_drop:.1f} ({slides[0]} to {slides[1]})" if slides else "",
                    "" if slides_drop is None else f"{drop - slides_drop:+.1f}",
                    _training(mixed),
                    str(len(mixed)),
                ]
            )
    words = (
        "Share of test images recognised. Images were published once; in training, "
        "those with regions of one size were shuffled again in them, and thumbnails "
        "whose regions were scrambled were scrambled again. Region sizes in native "
        "pixels; where images were resized, pixels of the resized ones are in "
        "brackets, and at a level the mean over all pixels. The drop, in points, is "
        "from plain to mixed, as published, between networks of one kind and budget; "
        "where mixed images were not shifted in training, nor were the plain ones, if "
        "there are such. The slides' (2.35 points on average, they say) is that of "
        "their network of this kind, at a region size that they do not give: their "
        "figures suggest windows of 2 pixels, not the adaptive ones. The difference is "
        "how much more is lost here. Training: images times epochs, and the seconds "
        f"that the mixed network took, others beside it. {_tested(shown)}"
    )
    if any(row[2].endswith(_STAR) for row in cells):
        words += f" {_STARRED}"
    return f"{words}\n\n{table(heads, cells)}"


def newest(
    ways: Sequence[Sequence[Mapping[str, Any]]], runs: Sequence[Run]
) -> tuple[list[list[Mapping[str, Any]]], str]:
    """Returns the rows of seeds that all ways have, and a star if some are outdated.

    Args:
      ways: the rows of each.
      runs: those of today.
    """
    chosen, star = [], ""
    for rows in ways:
        new = [row for row in rows if any(is_of(row, run) for run in runs)]
        chosen.append(new or rows)
        star = star if new else _STAR
    shared = set.intersection(*({row["seed"] for row in rows} for rows in chosen))
    return [[row for row in rows if row["seed"] in shared] for rows in chosen], star


def _training(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the training of a network took."""
    first, seconds = rows[0], mean(rows, "training_seconds")
    return f"{first['train_images']:,} x {first['recipe']['epochs']}, {seconds:,.0f} s"


def _tested(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns how many test images each data set had, and what they can tell apart."""
    by_data: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        name = DATA_NAMES.get(row["data"], row["data"])
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
    done = f"{count} of the {len(runs)} runs of `{_preset(results)}` are done."
    return f"{done} {accuracy_table(results)}"


def runs_of(results: Results) -> list[Run]:
    """Returns the runs of the preset that results are of, as they are today."""
    weights = {row["weights"] for row in results["rows"] if "weights" in row}
    return list(table2_accuracy.runs(_preset(results), weights))


def _preset(results: Results) -> Any:
    """Returns the name of the preset that results are of."""
    return results["command"].rpartition(" ")[2]


def headline_table(results: Results) -> str:
    """Returns the accuracies on CIFAR-10 in short: small regions, and a level."""
    shown = ("size 2", "size 4", "level 0.6")
    rows = [
        row
        for row in results["rows"]
        if row["data"] == "cifar10" and row["setting"] in (None, *shown)
    ]
    return accuracy_table({**results, "rows": rows})


def _region_size(setting: str, rows: Sequence[Mapping[str, Any]]) -> str:
    scale = rows[0]["native_pixels_per_pixel"]
    mean_size = mean([x for x in rows if x["setting"] == setting], "mean_region_size")
    if setting.startswith("level") and mean_size:
        return f"{setting} (mean {mean_size * (scale or 1):.1f})"
    if scale in (None, 1) or not setting.startswith("size"):
        return setting.removeprefix("size ")
    size, *rest = setting.removeprefix("size ").split(", ")
    native = f"{int(size) * scale:.1f} ({size} of {rows[0]['shape'][0]})"
    return ", ".join([native, *rest])


def mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Returns the mean of what rows have under a name, or None if none has it."""
    values = [row[name] for row in rows if name in row]
    return float(np.mean(values)) if values else None


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
