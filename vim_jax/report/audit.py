"""The audit's page: verdicts, numbers, and reconstructions beside the originals."""

from typing import Any

import jinja2
import numpy as np

import vim_jax
from vim_jax.attacks.audit import Audit
from vim_jax.attacks.protocol import Images
from vim_jax.report.pictures import as_rgb, data_uri, png

_SHOWN = 6
_TITLES = {
    "as_published": "as published",
    "thumbnail": "thumbnail",
    "multiset": "multiset assignment",
    "jigsaw": "jigsaw",
    "jigsaw_net": "jigsaw, learned seams",
    "inversion": "learned inversion",
    "gan_inversion": "adversarial inversion",
}
_HEADLINES = {
    "see": "Can people see what it shows?",
    "recognise": "Can a network tell what it shows?",
    "link": "Can it be traced to its original?",
    "unlock": "Can the key be found?",
}


def render(found: Audit, numbers: dict[str, Any]) -> str:
    """Returns the page, which needs no other file.

    Args:
      found: the audit.
      numbers: what `summary` makes of it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vim_jax.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["short"] = lambda x: "-" if x is None else f"{x:.3g}"
    return environment.get_template("audit.html.j2").render(
        numbers=numbers,
        setting=_setting(found),
        headlines=_HEADLINES,
        columns=_columns(found),
        version=vim_jax.__version__,
    )


def _setting(found: Audit) -> str:
    mixer = found.case.mixer
    if mixer.region_size is not None:
        words = [f"region size {mixer.region_size}"]
    elif mixer.level is not None:
        words = [f"level {mixer.level}"]
    else:
        words = [f"target VFE {mixer.target_vfe}"]
    words.append(f"channels {mixer.channels}")
    if mixer.scramble_regions:
        words.append("regions scrambled")
    return ", ".join(words)


def _colours(image: np.ndarray) -> np.ndarray:
    """Returns an image `h w c` as RGB, without transparency."""
    return as_rgb(image[..., : 3 if image.shape[2] > 2 else 1])


def _columns(found: Audit) -> list[dict[str, Any]]:
    """Returns the originals and what each attack made of them, in columns."""
    case = found.case
    shown = np.linspace(0, len(case.originals) - 1, min(_SHOWN, len(case.originals)))
    rows = sorted({int(i) for i in shown})

    def column(title: str, images: Images) -> dict[str, Any]:
        pictures = [
            data_uri(png(_colours(images[i]))) if i < len(images) else None
            for i in rows
        ]
        return {"title": title, "pictures": pictures}

    columns = [column("original", case.originals)]
    for name, title in _TITLES.items():
        outcome = found.outcomes.get(name)
        if outcome is not None and outcome.reconstructions is not None:
            columns.append(column(title, outcome.reconstructions))
    return columns
