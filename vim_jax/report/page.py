"""The demo's report: one HTML file that needs no other."""

import pathlib
import shutil
import statistics
from typing import Any

import jinja2

from vim_jax.data import DataError

_MARKER = ".vim-jax-demo"


def claim(out: pathlib.Path) -> pathlib.Path:
    """Returns `out` as an empty folder, cleared if an earlier demo wrote it.

    Raises:
      DataError: if it holds anything else.
    """
    if out.is_dir() and (out / _MARKER).exists():
        shutil.rmtree(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists and holds no demo: choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    (out / _MARKER).touch()
    return out


def render(
    results: dict[str, Any],
    *,
    gallery: list[dict[str, Any]],
    plots: dict[str, str],
    training_rows: list[dict[str, Any]],
) -> str:
    """Returns the page.

    Args:
      results: what the demo writes as JSON.
      gallery: photographs with their mixed forms and thumbnails.
      plots: data URIs of "vfe", "regions", "accuracy" and "loss".
      training_rows: accuracies by network and training set.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vim_jax.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["percent"] = lambda x: f"{x:.1%}"
    return environment.get_template("page.html.j2").render(
        results=results,
        gallery=gallery,
        plots=plots,
        rows=training_rows,
        findings=_findings(results, gallery, training_rows),
    )


def _findings(
    results: dict[str, Any],
    gallery: list[dict[str, Any]],
    rows: list[dict[str, Any]],
) -> dict[str, Any]:
    """Returns the numbers that the page's sentences quote."""
    published = results["photographs"]
    cells = [cell for row in gallery for cell in row["cells"]]
    adaptive = [cell for cell in cells if cell["name"] in ("level 0.25", "level 0.5")]
    images = [
        (name, image)
        for name, run in published.items()
        for image in run["images"].values()
    ]
    errors = [
        abs(image["vfe_after"] / image["expected_vfe"] - 1)
        for name, image in images
        if name != "hierarchical"
    ]
    by = {(row["network"], row["data"]): row for row in rows}
    networks = list(dict.fromkeys(row["network"] for row in rows))
    losses = {
        (network, data, optimizer): run["losses"][-1]
        for network, runs in results["digits"]["networks"].items()
        for data, optimizers in runs.items()
        for optimizer, run in optimizers.items()
    }
    return {
        "restored": sum(run["restored_bit_for_bit"] for run in published.values()),
        "published": len(images),
        "thumbnail_gain": statistics.mean(
            cell["thumbnail_psnr"] - cell["mixed_psnr"] for cell in adaptive
        ),
        "worst_vfe_error": max(errors),
        "left_in_place": {
            name: statistics.median(i["left_in_place"] for i in run["images"].values())
            for name, run in published.items()
        },
        "accuracy": [
            {
                "network": network,
                "plain": by[network, "plain"]["plain"],
                "mixed": by[network, "mixed"]["mixed"],
                "mixed_on_plain": by[network, "mixed"]["plain"],
                "plain_on_mixed": by[network, "plain"]["mixed"],
                "thumbnails": by[network, "thumbnails"]["thumbnail"],
            }
            for network in networks
        ],
        "losses": [
            {
                "network": network,
                "data": data,
                "st_adam": losses[network, data, "ST-Adam"],
                "adam": losses[network, data, "Adam"],
            }
            for network in networks
            for data in ("plain", "mixed")
        ],
    }
