"""Pages whose tables are made of committed results."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.record import read

ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
_END = "<!-- end -->"

Results = Mapping[str, Any]


class Section(NamedTuple):
    """A section of a page, between marks that name it.

    Attributes:
      file: name of the results, without its ending.
      body: makes Markdown of them.
      picture: Markdown that shows a plot of them; empty if there is none.
    """

    file: str
    body: Callable[[Results], str]
    picture: str = ""


def rendered(name: str, section: Section) -> str:
    """Returns a section of this name in Markdown, with its marks."""
    results = read(section.file)
    if results is None:
        module = section.file.rpartition("_")[0]
        body = f"*Not measured yet: `python -m experiments.{module}`.*"
    else:
        parts = [section.body(results), section.picture, made_by(results)]
        body = "\n\n".join(part for part in parts if part)
    return "\n".join([_begin(name), body, _END])


def replace_sections(page: pathlib.Path, sections: Mapping[str, Section]) -> None:
    """Writes sections into a page that has their marks."""
    text = page.read_text()
    for name, section in sections.items():
        before, rest = text.split(_begin(name), 1)
        after = rest.split(_END, 1)[1]
        text = before + rendered(name, section) + after
    page.write_text(text)


def made_by(results: Results) -> str:
    """Returns how results were made, as a line."""
    minutes = results["seconds"] / 60
    commits = [row["commit"] for row in results["rows"] if "commit" in row]
    commits = list(dict.fromkeys(commits)) or [results["commit"]]
    seeds = {row.get("seed", results["seed"]) for row in results["rows"]}
    shown = ", ".join(f"`{commit}`" for commit in commits)
    return (
        f"*`{results['command']}`: commit {shown}, {_device(results)}, seed "
        f"{' and '.join(map(str, sorted(seeds)))}, {minutes:.0f} minutes.*"
    )


def _device(results: Results) -> str:
    device = results["device"].partition(",")[0]
    if device != "cpu":
        return device
    cores = {row.get("cores", results["cores"]) for row in results["rows"]}
    return f"{' or '.join(map(str, sorted(cores)))} core(s) of a CPU"


def table(heads, rows) -> str:
    """Returns a table in Markdown."""

    def line(cells):
        return "| " + " | ".join(cells) + " |"

    return "\n".join(map(line, [heads, ["---"] * len(heads), *rows]))


def _begin(name: str) -> str:
    return f"<!-- {name}: python -m experiments.render -->"
