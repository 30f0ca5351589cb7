"""The tables of `docs/results.md`, made of committed results."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments import recipe_ablation, st_adam_ablation
from experiments.accuracy_tables import by_kind, headline_table, percent, whole_grid
from experiments.comparisons import gains
from experiments.page import (
    ROOT,
    Results,
    Section,
    data_name,
    replace_sections,
    table,
)

PAGE = ROOT / "docs" / "results.md"
# Table III of the slides: the percentage that VIM costs.
_SLIDES_COST = {
    "shufflenet": -0.8,
    "vgg": -0.6,
    "resnet": -0.8,
    "mobilenet": -0.8,
    "vit": -0.7,
    "swin": -1.3,
}


def recipe_table(results: Results) -> str:
    """Returns what is lost without each part of the recipe for mixed images."""
    rows = results["rows"]
    on_plain = any(row["way"] == "plain" for row in rows)
    lines: list[dict[str, str]] = []
    for name in dict.fromkeys(row["model"] for row in rows):
        mixed, plain = (
            _by_part(
                row
                for row in rows
                if row["model"] == name and (row["way"] == "plain") == is_plain
            )
            for is_plain in (False, True)
        )
        # Plain images are neither shuffled again nor shifted by whole regions.
        for part in recipe_ablation.OF_MIXED_ONLY:
            plain[part] = plain[recipe_ablation.ALL]
        whole = mixed[recipe_ablation.ALL]
        for part, found in mixed.items():
            if not found:
                continue
            change = gains(found, whole) if found is not whole else []
            line = {
                "network": name,
                "recipe": part,
                "mixed": percent(found, "mixed_accuracy"),
                "change": _mean_of(change, "+.1f"),
                "averaged over shuffles": percent(found, "averaged_accuracy"),
                "while training": percent(found, "train_accuracy"),
            }
            if on_plain:
                line["plain"] = percent(plain[part], "plain_accuracy")
                line["drop"] = _mean_of(gains(plain[part], found), ".1f")
            lines.append({**line, "seeds": str(len(found))})
    first = rows[0]
    words = (
        f"Regions of {first['setting'].removeprefix('size ')} pixels, published once. "
        f"{data_name(first['data'])}: {first['train_images']:,} training images, "
        f"{first['recipe']['epochs']} epochs, {first['tested']:,} test images."
    )
    if on_plain:
        words += (
            " Plain images have the same changes, but are never shuffled, and shifted "
            "by any number of pixels, if at all."
        )
    return f"{words}\n\n{table(list(lines[0]), [list(x.values()) for x in lines])}"


def _by_part(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Returns rows by the part of the recipe that they are without, or with."""
    found = {part: [] for part in (*recipe_ablation.PARTS, recipe_ablation.SORTED)}
    for row in rows:
        found[recipe_ablation.part_of(row)].append(row)
    return found


def _mean_of(values: Sequence[float], form: str) -> str:
    return f"{np.mean(values):{form}}" if values else ""


def throughput_table(results: Results) -> str:
    """Returns the cost of mixing at each step."""
    heads = (
        "network", "plain, images/s", "published once, images/s", "change",
        "fresh, images/s", "change", "mixing alone, images/s", "of a step", "slides",
    )  # fmt: skip
    cells = [
        [
            row["model"],
            f"{row['images_per_s']['plain']:,.0f}",
            *itertools.chain.from_iterable(
                (
                    f"{row['images_per_s'][way]:,.0f}",
                    _change(row["overhead_percent"][way]),
                )
                for way in ("published once", "fresh")
            ),
            f"{row['images_per_s']['mixing alone']:,.0f}",
            f"{_mixing_percent(row['images_per_s']):.2f} %",
            f"{cost:+.1f} %" if (cost := by_kind(_SLIDES_COST, row["model"])) else "",
        ]
        for row in results["rows"]
    ]
    row = results["rows"][0]
    side = row["side"]
    shape = f"{row['batch_size']}x{side}x{side}x3"
    size = row["setting"].removeprefix("size ")
    words = (
        f"Batches of {shape}, regions of {size} pixels. In brackets: 95 % intervals."
    )
    return f"{words}\n\n{table(heads, cells)}"


def _change(overhead: Mapping[str, float]) -> str:
    """Returns the change in images a second, and between which it lies."""
    median, low, high = (
        f"{-100 * overhead[name] / (100 + overhead[name]):+.1f}"
        for name in ("median", "high", "low")
    )
    return f"{median} % ({low} to {high})"


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
    return f"{data_name(data)}.\n\n{table(heads, cells)}"


def region_size_table(results: Results) -> str:
    """Returns how far measured VFE is from expected VFE, by data set."""
    heads = ("data", "largest difference, in place", "largest difference, scrambled")
    cells = []
    for data in dict.fromkeys(row["data"] for row in results["rows"]):
        line = [data_name(data)]
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
    """Returns how gradients oscillate, and how noisy they are."""
    heads = (
        "network", "region size", "images", "cosine", "more than on plain",
        "noise scale, images", "of shuffling alone", "its share of the noise",
    )  # fmt: skip
    rows = results["rows"]
    plain = {row["model"]: row for row in rows if row["setting"] is None}
    cells = [
        [
            row["model"],
            (row["setting"] or "").removeprefix("size "),
            row["way"],
            f"{row['cosine']:+.3f}",
            _beside(row["cosines"], plain[row["model"]]["cosines"])
            if row["setting"]
            else "",
            *_noise(row),
        ]
        for row in rows
    ]
    row = rows[0]
    words = (
        f"{data_name(row['data'])}: {row['images']:,} images, {row['steps']} steps of "
        f"{row['batch_size']}. Cosines are compared in {len(row['cosines'])} parts of "
        "the training, whose batches are of the same images, with the standard error. "
        f"The noise is given at {len(row['noise'])} moments, evenly spread; a dash "
        "where no mean gradient was to be seen for noise."
    )
    return f"{words}\n\n{table(heads, cells)}"


def _beside(values: Sequence[float], others: Sequence[float]) -> str:
    """Returns the mean difference between pairs, with its standard error."""
    differences = np.subtract(values, others)
    error = differences.std(ddof=1) / len(differences) ** 0.5
    return f"{differences.mean():+.3f} ± {error:.3f}"


def _noise(row: Mapping[str, Any]) -> list[str]:
    """Returns the cells of the noise of a network's gradients."""
    scales, of_shuffling, shares = [], [], []
    for moment in row["noise"]:
        for kind, found in (("variance", scales), ("shuffling", of_shuffling)):
            # The variance of an image's gradient, as the square of the mean gradient.
            scale = row["batch_size"] * moment[kind] / moment["square"]
            found.append(f"{scale:,.0f}" if moment["square"] > 0 else "-")
        shares.append(f"{100 * moment['shuffling'] / moment['variance']:.1f} %")
    cells = [", ".join(found) for found in (scales, of_shuffling, shares)]
    return cells if row["setting"] else [cells[0], "", ""]


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def optimizers_table(results: Results) -> str:
    """Returns what each optimizer achieved at its best rate."""
    heads = (
        "network", "images", "optimizer", "learning rate", "accuracy",
        "steps to target", "cosine of gradients",
        f"at a rate of {st_adam_ablation.SHARED_RATE:g}, seed 0", "seeds",
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
            _signed(row["cosine"]),
            _signed(row["cosine_at_shared_rate"]),
            str(row["seeds"]),
        ]
        for row in found
    ]
    first = results["rows"][0]
    words = (
        f"{data_name(first['data'])}: {first['train_images']:,} "
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
    "accuracy on a small budget": Section(
        "table2_accuracy_cpu",
        whole_grid,
        "![Accuracy against region size, of two seeds](images/accuracy_cpu.png)",
    ),
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
    "optimizers": Section(
        "st_adam_ablation_cpu",
        optimizers_table,
        "![Accuracy against learning rate](images/optimizers.png)",
    ),
}


def write() -> None:
    """Writes the sections into the pages."""
    replace_sections(PAGE, SECTIONS)
    replace_sections(README, README_SECTIONS)
