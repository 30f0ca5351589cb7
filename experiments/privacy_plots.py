"""The plots of `docs/privacy.md`."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import plots
from experiments.frontier import TRAINED, plot_frontier
from experiments.page import Results
from experiments.privacy_scores import best_picture, score_of
from experiments.record import read


def plot_frontiers(results: Results, path: pathlib.Path) -> None:
    """Draws use against leak: labels recognised, and the best picture.

    To the left by the attackers' classifiers, to the right by networks of Table II,
    with thumbnails beside mixed images.
    """
    trained = read(TRAINED)
    assert trained is not None
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 2, figsize=(9.6, 4), sharey=True, layout="constrained"
    )
    adapted = [row for row in results["rows"] if score_of(row, "recognition, adapted")]
    settings = dict.fromkeys(row["setting"] for row in [*adapted, *results["rows"]])
    colors = {setting: f"C{i}" for i, setting in enumerate(settings)}
    _plot_adapted(adapted, axes[0], colors)
    axes[0].set(title="the attacker's classifier", ylabel="labels recognised (use)")
    plot_frontier(results, trained, axes[1], colors)
    axes[1].set(title="the best network of Table II")
    axes[1].legend(
        title="filled: mixed\nhollow: thumbnails,\nenlarged", fontsize=8,
        title_fontsize=8, loc="upper left", bbox_to_anchor=(1, 1),
    )  # fmt: skip
    rows = [row for row in results["rows"] if row["data"] == "cifar10"]
    chance = best_picture(rows[0])["chance"]
    for axis in axes:
        axis.axvline(chance, color="grey", linewidth=0.8, linestyle=":")
        axis.text(chance + 0.01, 0.01, "blind guess", color="grey", rotation=90)
        axis.set(xlim=(0, 1.1), ylim=(0, 1))
        axis.set_xlabel("SSIM of the best reconstruction (what leaks)")
        axis.grid(alpha=0.3)
    plots.save(figure, path, results, trained)


def _plot_adapted(
    rows: Sequence[Mapping[str, Any]], axis, colors: Mapping[str, str]
) -> None:
    """Draws recognition by adapted attackers against the best picture."""
    for row in rows:
        use, best = score_of(row, "recognition, adapted", "label"), best_picture(row)
        assert use is not None
        axis.errorbar(
            best["score"],
            use["score"],
            xerr=[[best["score"] - best["low"]], [best["high"] - best["score"]]],
            yerr=[[use["score"] - use["low"]], [use["high"] - use["score"]]],
            fmt="o",
            color=colors[row["setting"]],
        )
    one = score_of(rows[0], "recognition, adapted", "label")
    assert one is not None
    axis.axhline(one["control"]["score"], color="grey", linewidth=0.8)
    axis.text(0.02, one["control"]["score"] + 0.01, "plain images", color="grey")
    axis.axhline(one["chance"], color="grey", linewidth=0.8, linestyle=":")
    axis.text(0.02, one["chance"] + 0.01, "chance", color="grey")


def plot_validity(results: Results, path: pathlib.Path) -> None:
    """Draws level and Geary's C against the best picture, by family."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 2, figsize=(9, 3.6), sharey=True, layout="constrained"
    )
    families = list(dict.fromkeys(row["family"] for row in results["rows"]))
    words = {"hierarchical shuffling": "shuffling, scrambled"}
    markers = dict(zip(families, "osDX^vP*", strict=False))
    for axis, metric in zip(axes, ("level", "gearys_c"), strict=True):
        for family in families:
            points = [
                (row[metric], row["best_ssim"])
                for row in results["rows"]
                if row["family"] == family
            ]
            label, look = words.get(family, family), markers[family]
            axis.plot(*zip(*points, strict=True), look, label=label, markersize=5)
        guess = results["rows"][0]["flat_ssim"]  # That of each image's mean colour.
        axis.axhline(guess, color="grey", linewidth=0.8, linestyle=":")
        axis.set_xlabel("level by VFE" if metric == "level" else "Geary's C")
        axis.grid(alpha=0.3)
    # One noisy point, at 4, would squeeze all others.
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlim(right=5)
    axes[0].set_xticks([0, 0.5, 1, 2, 4], ["0", "0.5", "1", "2", "4"])
    axes[0].set_ylabel("SSIM of the best reconstruction")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    plots.save(figure, path, results)
