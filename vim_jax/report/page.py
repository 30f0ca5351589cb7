"""The demo's report: one HTML file that needs no other."""

import pathlib
import shutil
import statistics
from collections.abc import Collection
from typing import Any

import jinja2

from vim_jax.data import DataError


def claim(out: pathlib.Path, names: Collection[str]) -> pathlib.Path:
    """Returns `out` as a folder without what an earlier demo wrote into it.

    Args:
      out: the folder, new or of an earlier demo.
      names: the files and folders that a demo writes.

    Raises:
      DataError: if it holds anything else, which is left alone.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is no folder: choose another --out")
    found = list(out.iterdir()) if out.exists() else []
    strange = sorted(path.name for path in found if path.name not in names)
    if strange:
        raise DataError(
            f"{out} holds {strange[0]!r}, which is not the demo's: move it, or choose "
            "another --out"
        )
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    out.mkdir(parents=True, exist_ok=True)
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
        findings=results["findings"],
    )


def findings(
    published: dict[str, Any], digits: dict[str, Any], gallery: list[dict[str, Any]]
) -> dict[str, Any]:
    """Returns the numbers that the page's sentences quote.

    Args:
      published: what the manifests say, by setting.
      digits: the training runs.
      gallery: photographs with their mixed forms and thumbnails.
    """
    cells = [cell for row in gallery for cell in row["cells"]]
    adaptive = [cell for cell in cells if cell["name"] in ("level 0.25", "level 0.5")]
    images = [image for run in published.values() for image in run["images"].values()]
    errors = [
        abs(image["vfe_after"] / image["expected_vfe"] - 1)
        for image in images
        if "expected_vfe_scrambled" not in image
    ]
    accuracy, losses = [], []
    for network, by_data in digits["networks"].items():
        runs = {data: optimizers["ST-Adam"] for data, optimizers in by_data.items()}
        accuracy.append(
            {
                "network": network,
                "plain": runs["plain"]["plain_accuracy"],
                "mixed": runs["mixed"]["mixed_accuracy"],
                "plain_on_mixed": runs["plain"]["mixed_accuracy"],
                "thumbnails": runs["thumbnails"]["thumbnail_accuracy"],
            }
        )
        losses += [
            {
                "network": network,
                "data": data,
                "st_adam": by_data[data]["ST-Adam"]["losses"][-1],
                "adam": by_data[data]["Adam"]["losses"][-1],
            }
            for data in ("plain", "mixed")
        ]
    return {
        "restored": sum(run["restored_bit_for_bit"] for run in published.values()),
        "published": len(images),
        "thumbnail_gain": statistics.mean(
            cell["thumbnail_psnr"] - cell["mixed_psnr"] for cell in adaptive
        ),
        "psnr": {
            f"{row['name']}, {cell['name']}": {
                "mixed": cell["mixed_psnr"],
                "thumbnail": cell["thumbnail_psnr"],
            }
            for row in gallery
            for cell in row["cells"]
        },
        "worst_vfe_error": max(errors),
        "left_in_place": {
            name: statistics.median(i["left_in_place"] for i in run["images"].values())
            for name, run in published.items()
        },
        "accuracy": accuracy,
        "losses": losses,
    }
