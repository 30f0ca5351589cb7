"""The tables of `docs/results.md`, made of committed results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import recipe_ablation, st_adam_ablation, table2_accuracy
from experiments.page import (
    ROOT,
    Results,
    Section,
    replace_sections,
    table,
)
from experiments.training_runs import is_done

PAGE = ROOT / "docs" / "results.md"
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
# Table III of the slides: the percentage that VIM costs.
_SLIDES_COST = {
    "shufflenet": -0.8,
    "vgg": -0.6,
    "resnet": -0.8,
    "mobilenet": -0.8,
    "vit": -0.7,
    "swin": -1.3,
}


def network(row: Mapping[str, Any]) -> str:
    """Returns the name of a row's network, with its options."""
    parts = [row["model"], *(f"{v}" for v in row["options"].values())]
    return ", ".join([*parts, "fine-tuned"] if "weights" in row else parts)


def accuracy_table(results: Results) -> str:
    """Returns the accuracy of networks by what they were trained on."""
    rows = results["rows"]
    heads = (
        "data", "network", "region size", "plain", "mixed", "averaged over shuffles",
        "thumbnail-trained", "drop", "slides' drop", "difference", "training", "seeds",
    )  # fmt: skip
    places = dict.fromkeys((row["data"], network(row)) for row in rows)
    cells = []
    for data, name in places:
        here = [row for row in rows if (row["data"], network(row)) == (data, name)]
        plain = mean([row for row in here if row["way"] == "plain"], "plain_accuracy")
        settings = dict.fromkeys(row["setting"] for row in here if row["setting"])
        for setting in settings:
            mixed, thumbnails = (
                [x for x in here if (x["setting"], x["way"]) == (setting, way)]
                for way in ("mixed", "thumbnail")
            )
            if not mixed or not thumbnails:
                continue  # Not finished.
            again = [row for row in thumbnails if "fresh" not in row["recipe"]]
            star = "" if again else " *"
            thumbnails = again or thumbnails
            found = mean(mixed, "mixed_accuracy")
            averaged = mean(mixed, "averaged_accuracy")
            best = max(found or 0, averaged or 0)
            drop = 100 * (plain - best) if plain and best else None
            slides = _slides(_SLIDES.get(data, {}), name)
            slides_drop = slides[0] - slides[1] if slides else None
            difference = ""
            if drop is not None and slides_drop is not None:
                difference = f"{drop - slides_drop:+.1f}"
            cells.append(
                [
                    DATA_NAMES.get(data, data),
                    name,
                    _region_size(setting, here),
                    _percent(plain),
                    _percent(found),
                    _percent(averaged),
                    _percent(mean(thumbnails, "thumbnail_accuracy")) + star,
                    "" if drop is None else f"{drop:.1f}",
                    f"{slides_drop:.1f} ({slides[0]} to {slides[1]})" if slides else "",
                    difference,
                    _training(mixed),
                    str(max(len(mixed), len(thumbnails))),
                ]
            )
    words = (
        "Share of test images recognised. Images were published once; in training, "
        "those with regions of one size were shuffled again in them, and thumbnails "
        "whose regions were scrambled were scrambled again, but for those with a star. "
        "Region sizes in "
        "native pixels; where images were resized, pixels of the resized ones are in "
        'brackets. The drop, in points, is from plain to the better of the two "mixed" '
        "columns, between networks of one budget; the slides' (mean over their table: "
        "2.35 points) is that of their network of this kind, at a region size that "
        "they do not give; the difference is how much more is lost here. Training: "
        "images times epochs, and the seconds that the mixed network took. Test "
        f"images: {_tested(rows)}."
    )
    return f"{words}\n\n{table(heads, cells)}"


def _training(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the training of a network took."""
    first, seconds = rows[0], mean(rows, "training_seconds")
    return f"{first['train_images']:,} x {first['recipe']['epochs']}, {seconds:,.0f} s"


def _tested(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns how many test images each data set had."""
    counts = {DATA_NAMES.get(x["data"], x["data"]): x["tested"] for x in rows}
    if len(set(counts.values())) == 1:
        return f"{rows[0]['tested']:,}"
    return ", ".join(f"{count:,} of {name}" for name, count in counts.items())


def whole_grid(results: Results) -> str:
    """Returns all accuracies, and how much of the preset's grid they are."""
    preset = results["command"].rpartition(" ")[2]
    runs = list(table2_accuracy.runs(preset))
    count = sum(is_done(run, results["rows"]) for run in runs)
    done = f"{count} of the {len(runs)} runs of `{preset}` are done."
    return f"{done} {accuracy_table(results)}"


def headline_table(results: Results) -> str:
    """Returns the accuracies on CIFAR-10 at the smallest region sizes, in short."""
    shown = ("size 2", "size 4")
    rows = [
        row
        for row in results["rows"]
        if row["data"] == "cifar10" and row["setting"] in (None, *shown)
    ]
    return accuracy_table({**results, "rows": rows})


def _region_size(setting: str, rows: Sequence[Mapping[str, Any]]) -> str:
    scale = rows[0]["native_pixels_per_pixel"]
    if scale == 1 or not setting.startswith("size"):
        return setting.removeprefix("size ")
    size, *rest = setting.removeprefix("size ").split(", ")
    native = f"{int(size) * scale:.1f} ({size} of {rows[0]['shape'][0]})"
    return ", ".join([native, *rest])


def mean(rows: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Returns the mean of what rows have under a name, or None if none has it."""
    values = [row[name] for row in rows if name in row]
    return float(np.mean(values)) if values else None


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _slides(numbers: Mapping[str, Any], name: str):
    return next((x for key, x in numbers.items() if name.startswith(key)), None)


def recipe_table(results: Results) -> str:
    """Returns what is lost without each part of the recipe for mixed images."""
    rows = results["rows"]
    heads = (
        "network", "recipe", "mixed", "change", "averaged over shuffles",
        "while training", "seeds",
    )  # fmt: skip
    cells = []
    for name in dict.fromkeys(row["model"] for row in rows):
        here = [row for row in rows if row["model"] == name]
        parts = {part: [] for part in (*recipe_ablation.PARTS, recipe_ablation.SORTED)}
        for row in here:
            parts[recipe_ablation.part_of(row)].append(row)
        whole = mean(parts[recipe_ablation.ALL], "mixed_accuracy")
        for part, found in parts.items():
            accuracy = mean(found, "mixed_accuracy")
            if accuracy is None or whole is None:
                continue
            learnt = mean(found, "train_accuracy")
            change = f"{100 * (accuracy - whole):+.1f}"
            cells.append(
                [
                    name,
                    part,
                    _percent(accuracy),
                    "" if part == recipe_ablation.ALL else change,
                    _percent(mean(found, "averaged_accuracy")),
                    _percent(learnt),
                    str(len(found)),
                ]
            )
    first = rows[0]
    words = (
        f"Regions of {first['setting'].removeprefix('size ')} pixels, published once. "
        f"{DATA_NAMES.get(first['data'], first['data'])}: {first['train_images']:,} "
        f"training images, {first['recipe']['epochs']} epochs, {first['tested']:,} "
        "test images."
    )
    return f"{words}\n\n{table(heads, cells)}"


def throughput_table(results: Results) -> str:
    """Returns the cost of mixing at each step."""
    heads = (
        "network", "plain, images/s", "published once", "fresh", "mixing, images/s",
        "mixing, of a step", "slides",
    )  # fmt: skip
    cells = [
        [
            row["model"],
            f"{row['images_per_s']['plain']:,.0f}",
            *(
                f"{-100 * x / (100 + x):+.1f} %"
                for x in (
                    row["overhead_percent"][way] for way in ("published once", "fresh")
                )
            ),
            f"{row['images_per_s']['mixing alone']:,.0f}",
            f"{_mixing_percent(row['images_per_s']):.2f} %",
            f"{cost:+.1f} %" if (cost := _slides(_SLIDES_COST, row["model"])) else "",
        ]
        for row in results["rows"]
    ]
    row = results["rows"][0]
    shape = "x".join(map(str, row["shape"]))
    words = (
        f"Batches of {shape}, regions of {row['setting'].removeprefix('size ')} pixels."
    )
    return f"{words}\n\n{table(heads, cells)}"


def _mixing_percent(speeds: Mapping[str, float]) -> float:
    """Returns the time that mixing takes alone, in percent of a plain step's."""
    return 100 * speeds["plain"] / speeds["mixing alone"]


def noise_table(results: Results) -> str:
    """Returns VFE and SSIM of noisy and of shuffled images, of the first set."""
    data = results["rows"][0]["data"]
    heads = ("change", "VFE", "SSIM with the original")
    cells = [
        [f"{row['kind']} {row['strength']}", f"{row['vfe']:,.0f}", f"{row['ssim']:.2f}"]
        for row in results["rows"]
        if row["data"] == data
    ]
    return f"{DATA_NAMES.get(data, data)}.\n\n{table(heads, cells)}"


def region_size_table(results: Results) -> str:
    """Returns how far measured VFE is from expected VFE, by data set."""
    heads = ("data", "largest difference, in place", "largest difference, scrambled")
    cells = []
    for data in dict.fromkeys(row["data"] for row in results["rows"]):
        line = [DATA_NAMES.get(data, data)]
        for scrambled in (False, True):
            here = [
                abs(row["vfe"] / row["expected_vfe"] - 1)
                for row in results["rows"]
                if (row["data"], row["scrambled"]) == (data, scrambled)
            ]
            line.append(f"{100 * max(here):.2f} %")
        cells.append(line)
    return table(heads, cells)


def gradients_table(results: Results) -> str:
    """Returns how gradients oscillate, and how much noise shuffling adds."""
    heads = ("network", "region size", "images", "cosine", "noise of shuffling")
    cells = [
        [
            row["model"],
            (row["setting"] or "").removeprefix("size "),
            row["way"],
            f"{row['cosine']:+.3f}",
            ", ".join(f"{x:.2f}" for x in row["noise"]),
        ]
        for row in results["rows"]
    ]
    row = results["rows"][0]
    words = (
        f"{DATA_NAMES.get(row['data'], row['data'])}: {row['images']:,} images, "
        f"{row['steps']} steps of {row['batch_size']}. The noise is given at four "
        "moments of the training."
    )
    return f"{words}\n\n{table(heads, cells)}"


def optimizers_table(results: Results) -> str:
    """Returns what each optimizer achieved at its best rate."""
    heads = (
        "network", "images", "optimizer", "learning rate", "accuracy",
        "steps to target", "cosine of gradients", "seeds",
    )  # fmt: skip
    found = st_adam_ablation.compared(results["rows"])
    cells = [
        [
            row["model"],
            f"mixed, {row['setting']}" if row["setting"] else "plain",
            row["optimizer"],
            f"{row['learning_rate']:g}",
            f"{100 * row['accuracy']:.1f} ± {100 * row['deviation']:.1f} %",
            "not reached"
            if row["steps_to_target"] is None
            else f"{row['steps_to_target']:.0f}",
            f"{row['cosine']:+.3f}",
            str(row["seeds"]),
        ]
        for row in found
    ]
    first = results["rows"][0]
    words = (
        f"{DATA_NAMES.get(first['data'], first['data'])}: {first['train_images']:,} "
        f"training images, {first['recipe']['epochs']} epochs of batches of "
        f"{first['recipe']['batch_size']}, {first['tested']:,} test images. Learning "
        "rates were chosen on other images. The target is nine tenths of the best "
        "final accuracy on the same images."
    )
    return f"{words}\n\n{table(heads, cells)}"


README = ROOT / "README.md"
README_SECTIONS = {"headline": Section("table2_accuracy_gpu", headline_table)}
SECTIONS: Mapping[str, Section] = {
    "accuracy": Section(
        "table2_accuracy_gpu",
        whole_grid,
        "![Accuracy against region size](images/accuracy.png)",
    ),
    "accuracy on a small budget": Section("table2_accuracy_cpu", whole_grid),
    "recipe": Section("recipe_ablation_cpu", recipe_table),
    "throughput": Section("table3_throughput_cpu", throughput_table),
    "noise": Section(
        "fig2_vfe_vs_noise_cpu",
        noise_table,
        "![SSIM against VFE, of noisy and of shuffled images](images/fig2.png)",
    ),
    "region size": Section(
        "fig3_vfe_vs_region_size_cpu",
        region_size_table,
        "![VFE against region size](images/fig3.png)",
    ),
    "gradients": Section(
        "fig5_gradients_cpu",
        gradients_table,
        "![Cosines of successive gradients](images/fig5.png)",
    ),
    "optimizers": Section("st_adam_ablation_cpu", optimizers_table),
}


def write() -> None:
    """Writes the sections into the pages."""
    replace_sections(PAGE, SECTIONS)
    replace_sections(README, README_SECTIONS)
