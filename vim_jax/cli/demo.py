"""`vim-jax demo`: the main job on bundled images, with a report to look at."""

import pathlib
from typing import Annotated

import tyro

from vim_jax.cli.console import say


def demo(
    *,
    out: Annotated[
        pathlib.Path,
        tyro.conf.arg(help="Folder for the report and the images.", metavar="DIR"),
    ] = pathlib.Path("demo_output"),
    open: Annotated[
        bool, tyro.conf.arg(help="Open the report in a browser at the end.")
    ] = False,
) -> int:
    """Mix photographs, train on mixed digits, and write a report to look at.

    Works offline, with images that come with scikit-image and scikit-learn. Takes a
    few minutes on two cores.

    Examples:
      vim-jax demo --open
    """
    from vim_jax.report.demo import run

    run(out, show=open, say=say)
    return 0
