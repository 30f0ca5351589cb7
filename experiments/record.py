"""Results of experiments, with what is needed to make them again."""

import json
import pathlib
from typing import Any

from vim_jax.data.writers import write_atomically
from vim_jax.report.provenance import provenance

RESULTS = pathlib.Path(__file__).parent / "results"


def write(
    path: pathlib.Path, command: str, seconds: float, rows: list[dict[str, Any]]
) -> None:
    """Writes results.

    Args:
      path: to a file that does not exist, or is replaced.
      command: the module and its arguments, without paths.
      seconds: what the work took.
      rows: plain data.
    """
    record = {
        **provenance(f"python -m {command}"),
        "seconds": round(seconds, 1),
        "rows": rows,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    write_atomically(path, (json.dumps(record, indent=1) + "\n").encode())


def read(name: str) -> dict[str, Any] | None:
    """Returns committed results, or None if there are none of this name."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None
