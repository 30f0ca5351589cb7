"""Pages whose tables are made of committed results."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from experiments.record import read

ROOT = pathlib.Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
_DATA_NAMES = {
    "cifar10": "CIFAR-10",
    "mnist": "MNIST",
    "imagenette/160px-v2": "Imagenette",
}
_END = "<!-- end -->"

Results = Mapping[str, Any]


def data_name(data: str) -> str:
    """Returns what a data set is called in texts."""
    return _DATA_NAMES.get(data, data)


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
    """Returns how results, or an audit, were made, as a line."""
    rows = results.get("rows", [])
    seconds = results["seconds"]
    if isinstance(seconds, Mapping):  # Of each attack of an audit.
        seconds = sum(seconds.values())
    shown = ", ".join(f"`{commit}`" for commit in _all("commit", results))
    seeds = sorted(_all("seed", results))
    line = (
        f"*`{results['command']}`: commit {shown}, {_device(results)}, seed "
        f"{' and '.join(map(str, seeds))}, {seconds / 60:.0f} minutes.*"
    )
    uncommitted = [x["uncommitted"] for x in (results, *rows) if "uncommitted" in x]
    return " ".join([line, *(f"*{x}*" for x in dict.fromkeys(uncommitted))])


def _all(name: str, results: Results) -> list[Any]:
    """Returns what rows say under a name; those that do not, as all of them."""
    rows = results.get("rows", [])
    if name == "commit":  # Of the last run alone, where rows have their own.
        found = [row[name] for row in rows if name in row]
    else:
        found = [row.get(name, results[name]) for row in rows]
    return list(dict.fromkeys(found)) or [results[name]]


def _device(results: Results) -> str:
    made = [{**results, **row} for row in results.get("rows", [])] or [results]
    cores = sorted({x["cores"] for x in made if x["device"].startswith("cpu")})
    names = dict.fromkeys(x["device"].partition(",")[0] for x in made)
    cpu = f"{' or '.join(map(str, cores))} core(s) of a CPU"
    return " and ".join(cpu if name == "cpu" else name for name in names)


def table(heads, rows) -> str:
    """Returns a table in Markdown."""

    def line(cells):
        return "| " + " | ".join(cells) + " |"

    return "\n".join(map(line, [heads, ["---"] * len(heads), *rows]))


def _begin(name: str) -> str:
    return f"<!-- {name}: python -m experiments.render -->"
