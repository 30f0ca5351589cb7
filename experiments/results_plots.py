"""The plots of `docs/results.md`, made of committed results."""

import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from experiments import plots
from experiments.comparisons import compared, mean, networks
from experiments.page import IMAGES, Results, data_name
from experiments.record import read
from experiments.st_adam_ablation import OPTIMIZERS

_MOST_COSINE = 0.45  # Shown in fig5.png.
# Strengths that fig2.png names beside their points.
_LABELLED = {"noise": (10, 30, 50, 100), "region size": (2, 4, 8, 16)}


def plot_accuracy(results: Results, path: pathlib.Path) -> None:
    """Draws accuracy against region size: plain, mixed and thumbnail-trained.

    Means of seeds, and from the lowest to the highest of them. Hollow where it was
    measured with an earlier recipe.
    """
    lines = {}
    for network in networks(results, "cifar10"):
        found = {
            int(setting.removeprefix("size ")): compared(network, setting)
            for setting in network.settings
            if re.fullmatch(r"size \d+", setting)
        }
        there = {size: x for size, x in sorted(found.items()) if x is not None}
        if len(there) > 2:  # With one or two sizes there is no line to draw.
            lines[network.name] = there
    figure, axes = _axes(len(lines), one_scale=True)
    hollow = False
    for axis, (name, there) in zip(axes, lines.items(), strict=True):
        sizes = list(there)
        for way, metric, label, look in (
            ("plain", "plain_accuracy", "plain", "k-"),
            ("mixed", "averaged_accuracy", "mixed, averaged over shuffles", "s--C1"),
            ("mixed", "mixed_accuracy", "mixed", "o-C0"),
            ("thumbnails", "thumbnail_accuracy", "thumbnails", "^-C2"),
        ):
            means = [mean(getattr(x, way), metric) for x in there.values()]
            shares = [np.nan if value is None else 100 * value for value in means]
            (line,) = axis.plot(sizes, shares, look, label=label, markersize=5)
            by_seed = [
                [100 * row[metric] for row in getattr(x, way) if metric in row]
                for x in there.values()
            ]
            ends = [(min(x), max(x)) if x else (np.nan, np.nan) for x in by_seed]
            axis.vlines(sizes, *zip(*ends, strict=True), color=line.get_color(), lw=1)
            if way == "plain":
                continue
            outdated = [i for i, x in enumerate(there.values()) if x.outdated]
            axis.plot(
                [sizes[i] for i in outdated],
                [shares[i] for i in outdated],
                line.get_marker(),
                color="white",
                markeredgecolor=line.get_color(),
                markersize=5,
            )
            hollow = hollow or bool(outdated)
        axis.set_xscale("log", base=2)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("region size, native pixels")
    if hollow:
        style: Any = {"markeredgecolor": "grey", "label": "hollow: earlier recipe"}
        axes[0].plot([], [], "o", color="white", **style)
    axes[0].set_ylabel("test images recognised, %")
    axes[0].legend(fontsize=8, loc="lower left")
    plots.save(figure, path, results)


def plot_noise(results: Results, path: pathlib.Path) -> None:
    """Draws SSIM against VFE, of noisy and of shuffled images."""
    names = list(dict.fromkeys(row["data"] for row in results["rows"]))
    figure, axes = _axes(len(names))
    for axis, data in zip(axes, names, strict=True):
        for kind, label in (
            ("noise", "noise of so many grey levels"),
            ("region size", "shuffled in regions of so many pixels"),
        ):
            rows = [
                row
                for row in results["rows"]
                if (row["data"], row["kind"]) == (data, kind)
            ]
            axis.plot(
                [row["vfe"] for row in rows],
                [row["ssim"] for row in rows],
                "o-",
                label=label,
            )
            for row in (row for row in rows if row["strength"] in _LABELLED[kind]):
                axis.annotate(
                    f"{row['strength']}",
                    (row["vfe"], row["ssim"]),
                    textcoords="offset points",
                    xytext=(4, 3),
                    fontsize=7,
                )
        axis.set_title(data_name(data), fontsize=10)
        axis.set_xlabel("VFE, squared grey levels per pixel")
    axes[0].set_ylabel("SSIM with the original")
    axes[-1].legend(fontsize=8)
    plots.save(figure, path, results)


def plot_region_size(results: Results, path: pathlib.Path) -> None:
    """Draws VFE against region size, measured and expected."""
    names = list(dict.fromkeys(row["data"] for row in results["rows"]))
    figure, axes = _axes(len(names))
    for axis, data in zip(axes, names, strict=True):
        for scrambled, colour in ((False, "C0"), (True, "C1")):
            rows = [
                row
                for row in results["rows"]
                if (row["data"], row["scrambled"]) == (data, scrambled)
            ]
            sizes = [row["region_size"] for row in rows]
            how = "scrambled" if scrambled else "in place"
            expected = [row["expected_vfe"] for row in rows]
            axis.plot(sizes, expected, color=colour, label=f"expected, {how}")
            measured = [row["vfe"] for row in rows]
            axis.plot(sizes, measured, "o", color=colour, label=f"measured, {how}")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}")
        axis.set_title(data_name(data), fontsize=10)
        axis.set_xlabel("region size, native pixels")
    axes[0].set_ylabel("VFE, squared grey levels per pixel")
    axes[-1].legend(fontsize=8)
    plots.save(figure, path, results)


def plot_gradients(results: Results, path: pathlib.Path) -> None:
    """Draws cosines of successive gradients, and what of their noise is shuffling's.

    Dashed where images were mixed afresh at every step.
    """
    names = list(dict.fromkeys(row["model"] for row in results["rows"]))
    settings = list(dict.fromkeys(row["setting"] for row in results["rows"]))
    colours = {setting: f"C{i}" for i, setting in enumerate(settings)}
    figure, axes = _axes(2 * len(names))
    for i, model in enumerate(names):
        cosines, noise = axes[i], axes[len(names) + i]
        for row in (row for row in results["rows"] if row["model"] == model):
            label = "plain"
            if row["setting"]:
                fresh = ", fresh" if row["way"] == "fresh" else ""
                label = f"mixed, {row['setting']}{fresh}"
            style = "--" if row["way"] == "fresh" else "-"
            look: Any = {"color": colours[row["setting"]], "linestyle": style}
            steps = np.linspace(0, row["steps"], len(row["cosines"]))
            cosines.plot(steps, row["cosines"], **look)
            shares = [100 * x["shuffling"] / x["variance"] for x in row["noise"]]
            steps = np.arange(1, len(shares) + 1) * (row["steps"] / len(shares))
            noise.plot(steps, shares, label=label, marker="o", markersize=3, **look)
        cosines.axhline(0, color="black", linewidth=0.8)
        # The first steps go one way, and would flatten all others.
        cosines.set_ylim(top=_MOST_COSINE)
        noise.set_ylim(bottom=0)
        cosines.set_ylabel("cosine of successive gradients")
        noise.set_ylabel("of the noise by shuffling, %")
        for axis in (cosines, noise):
            axis.set_title(model, fontsize=10)
            axis.set_xlabel("step")
    axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.save(figure, path, results)


def plot_optimizers(results: Results, path: pathlib.Path) -> None:
    """Draws accuracy against the learning rate, which is chosen by it."""
    rows = [row for row in results["rows"] if row["seed"] == 0]
    places = list(dict.fromkeys((row["model"], row["setting"]) for row in rows))
    figure, axes = _axes(len(places), one_scale=True)
    for axis, place in zip(axes, places, strict=True):
        here = [row for row in rows if (row["model"], row["setting"]) == place]
        for (name, options), marker in zip(OPTIMIZERS.items(), "osv^x", strict=True):
            found = sorted(
                (row["recipe"]["learning_rate"], 100 * row["validation_accuracy"])
                for row in here
                if options.items() <= row["recipe"].items()
            )
            axis.plot(*zip(*found, strict=True), marker=marker, ms=4, label=name)
        model, setting = place
        images = f"mixed, {setting}" if setting else "plain images"
        axis.set_title(f"{model}, {images}", fontsize=10)
        axis.set_xscale("log")
        axis.set_xlabel("learning rate")
    axes[0].set_ylabel("held-back images recognised, %")
    axes[-1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.save(figure, path, results)


def _axes(count: int, *, one_scale: bool = False):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1,
        count,
        figsize=(3.6 * count, 3.2),
        squeeze=False,
        sharey=one_scale,
        layout="constrained",
    )
    for axis in axes[0]:
        axis.grid(alpha=0.3)
    return figure, list(axes[0])


PLOTS: Mapping[str, tuple[Callable[[Results, pathlib.Path], None], str]] = {
    "table2_accuracy_gpu": (plot_accuracy, "accuracy.png"),
    "table2_accuracy_cpu": (plot_accuracy, "accuracy_cpu.png"),
    "fig2_vfe_vs_noise_cpu": (plot_noise, "fig2.png"),
    "fig3_vfe_vs_region_size_cpu": (plot_region_size, "fig3.png"),
    "fig5_gradients_cpu": (plot_gradients, "fig5.png"),
    "st_adam_ablation_cpu": (plot_optimizers, "optimizers.png"),
}


def write() -> None:
    """Draws all plots whose results there are."""
    for file, (plot, picture) in PLOTS.items():
        if (results := read(file)) is not None:
            plot(results, IMAGES / picture)
