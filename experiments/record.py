"""Results of experiments, with what is needed to make them again.

    python -m experiments.record OUT SHARD SHARD ...

joins the results files of shards, from `--shard 1/N` to `N/N`.
"""

import functools
import itertools
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeAlias

import tyro

from vim_jax.data.writers import replace_atomically, write_atomically
from vim_jax.report.provenance import provenance

JsonOut: TypeAlias = Annotated[pathlib.Path | None, tyro.conf.arg(name="json")]
"""The option `--json` of experiments."""

RESULTS = pathlib.Path(__file__).parent / "results"


def write(
    path: pathlib.Path | None,
    command: str,
    rows: list[dict[str, Any]],
    *,
    seconds: float | None = None,
) -> None:
    """Writes results.

    Args:
      path: to a file that does not exist, or is replaced; None writes nothing.
      command: the module and its arguments, without paths.
      rows: plain data.
      seconds: what the work took; by default the sum of what the rows say.
    """
    if path is None:
        return
    seconds = sum(row["seconds"] for row in rows) if seconds is None else seconds
    record = {
        **provenance(f"python -m {command}"),
        "seconds": round(seconds, 1),
        "rows": rows,
    }
    replace_atomically(path, _text(record))


def kept(path: pathlib.Path | None, command: str) -> list[dict[str, Any]]:
    """Returns the rows of a results file that was begun; none if there is no such.

    Args:
      path: of the file; None if there is none.
      command: see `write`.

    Raises:
      SystemExit: if the file is of another command, such as another preset.
    """
    if path is None or not path.exists():
        return []
    there = json.loads(path.read_text())
    if there["command"] != f"python -m {command}":
        raise SystemExit(
            f"{path} holds results of `{there['command']}`, not of `python -m "
            f"{command}`: give another file."
        )
    return there["rows"]


def is_there(rows: Iterable[Mapping[str, Any]], identity: Mapping[str, Any]) -> bool:
    """Returns whether a row has all that identifies one."""
    return any(identity.items() <= row.items() for row in rows)


@functools.cache
def made_by() -> Mapping[str, Any]:
    """Returns with what a row was measured, for files that several runs write to.

    The commit is that of the code that was loaded, before results lie beside it.
    """
    made = provenance("")
    return {key: made[key] for key in ("commit", "device", "cores", "versions")}


def read(name: str) -> dict[str, Any] | None:
    """Returns committed results, or None if there are none of this name."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def join(
    out: tyro.conf.Positional[pathlib.Path],
    shards: Annotated[list[pathlib.Path], tyro.conf.Positional],
) -> None:
    """Joins the results files of shards, whose rows take turns.

    Args:
      out: the new file.
      shards: all of them, from 1/N to N/N.
    """
    if out.exists():
        raise SystemExit(f"{out} exists: choose another name.")
    parts = [json.loads(path.read_text()) for path in shards]
    if len({part["command"] for part in parts}) != 1:
        raise SystemExit("The shards are of different commands: name those of one.")
    turns = itertools.zip_longest(*(part["rows"] for part in parts))
    rows = [row for turn in turns for row in turn if row is not None]
    seconds = round(sum(part["seconds"] for part in parts), 1)
    joined = {**parts[0], "seconds": seconds, "rows": rows}
    write_atomically(out, _text(joined))


def _text(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, indent=1) + "\n").encode()


if __name__ == "__main__":
    tyro.cli(join, prog="python -m experiments.record")
