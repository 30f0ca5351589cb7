"""`vim-jax vfe`: measure images."""

import functools
import json
import pathlib
from typing import Annotated, Any

import numpy as np
import tyro
from rich.table import Table

import vim_jax
from vim_jax.cli import options
from vim_jax.cli.console import complain, err, out, printable

_COLUMNS = {
    "vfe": "VFE",
    "max_vfe": "max VFE",
    "ratio": "VFE / max",
    "gearys_c": "Geary's C",
    "expected_vfe": "expected VFE",
    "level": "level",
}


def vfe(
    images: Annotated[
        tyro.conf.Positional[tuple[pathlib.Path, ...]],
        tyro.conf.arg(help="Image files.", metavar="IMAGE..."),
    ],
    /,
    *,
    original: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(
            help="The image that the others were made from: adds their level.",
            metavar="FILE",
        ),
    ] = None,
    region_size: Annotated[
        options.RegionSize | None,
        tyro.conf.arg(
            help="Adds the VFE to expect after shuffling with this region size.",
            metavar="N|entire",
        ),
    ] = None,
    max_pixels: options.MaxPixels = None,
    json: Annotated[bool, tyro.conf.arg(help="Print JSON lines.")] = False,
    plot: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(
            help="Draw the VFE to expect against region size into a PNG.",
            metavar="FILE",
        ),
    ] = None,
) -> int:
    """Measure the Visual Feature Entropy (VFE) of images.

    VFE is in squared grey levels per pixel. Max VFE is that of a shuffle of the whole
    image. VFE rises with brightness, contrast and noise too; Geary's C does not. It is
    near 0 for smooth images and 1 for pixels in random order.

    Examples:
      vim-jax vfe photo.jpg
      vim-jax vfe published/*.png --original photo.jpg --json
      vim-jax vfe photo.jpg --plot photo-vfe.png
    """
    from vim_jax.data import DataError, decode
    from vim_jax.data.measures import as_grey_levels

    if not images:
        raise ValueError("no image given: name one or more image files")
    if plot is not None and plot.suffix.lower() != ".png":
        raise ValueError(f"--plot {plot} is drawn as a PNG: end its name in .png")
    if plot is not None and plot.exists():
        raise ValueError(f"--plot {plot} exists: choose another name or remove it")
    options.check_at_least_one(max_pixels=max_pixels)
    read = functools.partial(decode, max_pixels=max_pixels)
    reference = None if original is None else as_grey_levels(read(original).image)
    rows: dict[str, dict[str, Any]] = {}
    pixels: dict[str, np.ndarray] = {}
    failures = []
    for path in images:
        try:
            image = as_grey_levels(read(path).image)
        except DataError as error:
            failures.append(str(error))
            continue
        if reference is not None and image.shape[:2] != reference.shape[:2]:
            failures.append(
                f"{path} has another size than --original {original}: give the image "
                "that it was made from"
            )
            continue
        rows[str(path)] = _measure(image, reference, region_size)
        if plot is not None:
            pixels[str(path)] = image
    (_print_json if json else _print_table)(rows)
    if plot is not None and pixels:
        from vim_jax.report.figures import vfe_against_region_size, write_png

        write_png(vfe_against_region_size(pixels), plot)
        err.print(f"Drew {printable(str(plot))}.", soft_wrap=True)
    for sentence in failures:
        complain(sentence)
    return 1 if failures else 0


def _measure(
    image: np.ndarray,
    original: np.ndarray | None,
    region_size: options.RegionSize | None,
) -> dict[str, Any]:
    value, most = float(vim_jax.vfe(image)), float(vim_jax.max_vfe(image))
    row: dict[str, Any] = {
        "vfe": value,
        "max_vfe": most,
        "ratio": value / most if most else None,
        "gearys_c": float(vim_jax.gearys_c(image)) if most else None,
    }
    if region_size is not None:
        row["expected_vfe"] = float(vim_jax.expected_vfe(image, region_size))
    if original is not None:
        low, high = float(vim_jax.vfe(original)), float(vim_jax.max_vfe(original))
        row["level"] = (value - low) / (high - low) if high > low else None
    return row


def _print_json(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        print(json.dumps({"image": name, **row}))


def _print_table(rows: dict[str, dict[str, Any]]) -> None:
    table = Table()
    table.add_column("image", overflow="fold")
    columns = list(next(iter(rows.values()), {}))
    for column in columns:
        table.add_column(_COLUMNS[column], justify="right")
    for name, row in rows.items():
        cells = ["-" if x is None else f"{x:,.4g}" for x in row.values()]
        table.add_row(printable(name), *cells)
    if rows:
        out.print(table)
