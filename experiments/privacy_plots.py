"""The plots of `docs/privacy.md`."""

import pathlib

from experiments.frontier import plot_frontier
from experiments.page import Results
from experiments.privacy_scores import best_picture, score_of


def plot_frontiers(results: Results, path: pathlib.Path) -> None:
    """Draws use against leak: labels recognised, and the best picture.

    To the left by the attackers' classifiers, to the right by networks of Table II,
    with thumbnails beside mixed images.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 2, figsize=(9.6, 4), sharey=True, layout="constrained"
    )
    _plot_adapted(results, axes[0])
    axes[0].set(title="the attacker's classifier", ylabel="labels recognised (use)")
    plot_frontier(results, axes[1])
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
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_adapted(results: Results, axis) -> None:
    """Draws recognition by adapted attackers against the best picture."""
    rows = [row for row in results["rows"] if score_of(row, "recognition, adapted")]
    for row in rows:
        use, best = score_of(row, "recognition, adapted", "label"), best_picture(row)
        assert use is not None
        axis.errorbar(
            best["score"],
            use["score"],
            xerr=[[best["score"] - best["low"]], [best["high"] - best["score"]]],
            yerr=[[use["score"] - use["low"]], [use["high"] - use["score"]]],
            fmt="o",
        )
        axis.annotate(
            row["setting"],
            (best["score"], use["score"]),
            textcoords="offset points",
            xytext=(6, 6),
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
    for axis, metric in zip(axes, ("level", "gearys_c"), strict=True):
        for family in families:
            points = [
                (row[metric], row["best_ssim"])
                for row in results["rows"]
                if row["family"] == family
            ]
            axis.plot(*zip(*points, strict=True), "o", label=family, markersize=5)
        axis.set_xlabel("level that VFE suggests" if metric == "level" else "Geary's C")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("SSIM of the best reconstruction")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
