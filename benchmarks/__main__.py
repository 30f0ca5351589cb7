"""`python -m benchmarks shuffle [--preset cpu|gpu|smoke] [--json OUT]`."""

import importlib
import json
import pathlib
import platform
import subprocess
import time
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import vim_jax


def main(
    name: Annotated[tyro.conf.Positional[Literal["shuffle"]], tyro.conf.arg()],
    preset: Literal["cpu", "gpu", "smoke"] = "cpu",
    json_out: Annotated[
        pathlib.Path | None, tyro.conf.arg(name="json", help="Write results here.")
    ] = None,
) -> None:
    """Measure speed beside what a user would pick instead.

    The table shows millions of values a second, and how many times the fastest other
    way `vim_jax.shuffle` reaches.

    Args:
      name: which benchmark.
      preset: sizes to run.
      json_out: file for the numbers.
    """
    start = time.perf_counter()
    rows = importlib.import_module(f"benchmarks.{name}").run(preset)
    _print(rows)
    if json_out is not None:
        results = {
            "command": f"python -m benchmarks {name} --preset {preset}",
            "commit": _commit(),
            "device": f"{jax.devices()[0].device_kind}, {platform.machine()}",
            "versions": {
                "vim_jax": vim_jax.__version__,
                "jax": jax.__version__,
                "numpy": np.__version__,
            },
            "seconds": round(time.perf_counter() - start, 1),
            "rows": rows,
        }
        json_out.write_text(json.dumps(results, indent=2) + "\n")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _print(rows: list[dict]) -> None:
    table = Table("batch", "region", title="Mvalues/s", title_justify="left")
    ways = list(rows[0]["mvalues_per_s"])
    for way in ways:
        table.add_column(way, justify="right")
    table.add_column("ratio", justify="right")
    for row in rows:
        speeds = row["mvalues_per_s"]
        others = [v for k, v in speeds.items() if k.startswith(("numpy", "vmap"))]
        ratio = speeds["vim_jax.shuffle"] / max(others)
        batch = "x".join(map(str, row["batch"]))
        cells = [f"{speeds[way]:,.1f}" for way in ways]
        table.add_row(batch, str(row["region_size"]), *cells, f"{ratio:.2f}")
    Console(width=160).print(table)


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks")
