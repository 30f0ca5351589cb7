"""Plots. Each function returns a matplotlib figure and shows nothing."""

import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

import vim_jax
from vim_jax.report.pictures import as_rgb

COLOURS = ("#2f6690", "#d1495b", "#3a7d44", "#b5838d", "#edae49", "#5c4d7d")
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)

_STYLE: dict[str, Any] = {
    "axes.edgecolor": "#9aa5b1",
    "axes.grid": True,
    "axes.labelcolor": "#33404d",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": "#e4e9ee",
    "legend.frameon": False,
    "svg.hashsalt": "vim_jax",
    "xtick.color": "#5b6875",
    "ytick.color": "#5b6875",
}


def _axes(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    with matplotlib.rc_context(cast(Any, _STYLE)):
        figure = Figure((width, height), layout="constrained")
        grid = figure.subplots(1, columns, squeeze=False)
    return figure, list(grid[0])


def svg(figure: Figure) -> bytes:
    """Returns a figure as an SVG file that is the same in every run."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(cast(Any, _STYLE)):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def write_png(figure: Figure, path: pathlib.Path) -> None:
    """Writes a figure into a new PNG file.

    Raises:
      FileExistsError: if there is one already.
    """
    with open(path, "xb") as file:
        figure.savefig(file, format="png", dpi=160)


def vfe_against_region_size(
    images: Mapping[str, np.ndarray],
    *,
    key: jax.Array | None = None,
) -> Figure:
    """Plots VFE after shuffling with one region size, from untouched to entire.

    The curve is the closed form; with a key, points measured after a shuffle lie on it.

    Args:
      images: uint8 or float images by name.
      key: a PRNG key.
    """
    figure, (axes,) = _axes(7.2, 4.0)
    for colour, (name, image) in zip(_cycle(images), images.items(), strict=True):
        entire = max(image.shape[:2])
        sizes = [size for size in _SIZES if size < entire] + [entire]
        curve = [float(vim_jax.expected_vfe(image, size)) for size in sizes]
        axes.plot(sizes, curve, color=colour, linewidth=1.6, label=name)
        if key is not None:
            points = [
                float(vim_jax.vfe(vim_jax.shuffle(key, image, size))) for size in sizes
            ]
            axes.plot(sizes, points, "o", color=colour, markersize=4.5)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.set_xlabel("region size, pixels")
    axes.set_ylabel("VFE, squared grey levels per pixel")
    what = "lines: closed form, dots: measured" if key is not None else "closed form"
    axes.set_title(f"VFE after shuffling ({what})")
    axes.legend()
    return figure


def region_map(image: np.ndarray, plans: Mapping[str, vim_jax.RegionPlan]) -> Figure:
    """Shows the region sizes of plans over a photograph.

    Args:
      image: uint8 `h w c` or `h w`.
      plans: plans for it, by name.
    """
    figure, axes = _axes(3.4 * len(plans) + 0.6, 3.6, len(plans))
    entire = np.log2(max(image.shape[:2]))
    grey = as_rgb(image).mean(2)
    for ax, (name, plan) in zip(axes, plans.items(), strict=True):
        size = np.asarray(plan.size)
        ax.imshow(grey, cmap="gray", vmin=0, vmax=255)
        shown = ax.imshow(np.log2(size), cmap="viridis", vmin=0, vmax=entire, alpha=0.6)
        ax.set_title(name)
        ax.set_axis_off()
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, pad=0.02)
    bar.set_label("region size, pixels")
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{2**y:.0f}"))
    return figure


def accuracies(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Plots accuracies on plain and mixed test images.

    Args:
      rows: dicts with "name", "plain" and "mixed" (accuracies in [0, 1]).
    """
    figure, (axes,) = _axes(7.2, 0.42 * len(rows) + 1.1)
    for i, row in enumerate(rows):
        y = len(rows) - 1 - i
        axes.plot([row["plain"], row["mixed"]], [y, y], color="#cbd3da", linewidth=3)
        axes.plot(row["plain"], y, "o", color=COLOURS[0], markersize=9)
        axes.plot(row["mixed"], y, "o", color=COLOURS[1], markersize=9)
    axes.plot([], [], "o", color=COLOURS[0], label="plain test images")
    axes.plot([], [], "o", color=COLOURS[1], label="mixed test images")
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows][::-1])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.0%}"))
    axes.set_xlabel("accuracy")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2)
    return figure


def loss_curves(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
) -> Figure:
    """Plots training losses, one panel a network and one line a run.

    Args:
      curves: panel -> line -> loss of each epoch.
    """
    figure, axes = _axes(3.9 * len(curves), 3.3, len(curves))
    for ax, (panel, lines) in zip(axes, curves.items(), strict=True):
        for colour, (name, losses) in zip(_cycle(lines), lines.items(), strict=True):
            dashed = "--" if "plain" in name else "-"
            epochs = range(1, len(losses) + 1)
            ax.plot(epochs, losses, dashed, color=colour, linewidth=1.8, label=name)
        ax.set_yscale("log")
        ax.set_title(panel)
        ax.set_xlabel("epoch")
        ax.set_ylabel("training loss")
        ax.legend()
    return figure


def _cycle(items: Mapping[str, Any]) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(len(items))]
