"""Files of plots, which say of which results they are."""

import hashlib
import json
import pathlib

from PIL import Image

from experiments.page import Results

_MARK = "Source"  # Among the texts that a PNG file may hold.


def save(figure, path: pathlib.Path, *results: Results) -> None:
    """Writes a figure as PNG, over an earlier one, and closes it.

    Args:
      figure: of matplotlib.
      path: of the file.
      *results: what it shows.
    """
    import matplotlib.pyplot as plt

    figure.savefig(path, dpi=110, metadata={_MARK: digest(*results)})
    plt.close(figure)


def digest(*results: Results) -> str:
    """Returns what tells rows of results apart: 16 hexadecimal digits."""
    rows = [x["rows"] for x in results]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def digest_in(path: pathlib.Path) -> str | None:
    """Returns the digest of the results that a plot shows, if it says so."""
    with Image.open(path) as image:
        return image.info.get(_MARK)
