"""`python -m benchmarks NAME [--preset cpu|gpu|smoke] [--json OUT]`."""

import importlib
import json
import pathlib
import time
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import peers
from vim_jax.report.provenance import provenance

NAMES = ("shuffle", "vfe", "mixer", "publish", "train")


def main(
    name: Annotated[tyro.conf.Positional[Literal[NAMES]], tyro.conf.arg()],  # type: ignore[valid-type]
    preset: Literal["cpu", "gpu", "smoke"] = "cpu",
    json_out: Annotated[
        pathlib.Path | None, tyro.conf.arg(name="json", help="Write results here.")
    ] = None,
) -> None:
    """Measure speed and memory beside what a user would pick instead.

    All ways are measured in one run, taking turns; ratios carry over to other machines
    better than speeds.

    Args:
      name: which benchmark.
      preset: sizes to run.
      json_out: file for the numbers.
    """
    start = time.perf_counter()
    benchmark = importlib.import_module(f"benchmarks.{name}")
    results = benchmark.run(preset)
    heads, cells = benchmark.table(results)
    table = Table(*heads, title=name, title_justify="left")
    for row in cells:
        table.add_row(*row)
    Console(width=160).print(table)
    if name == "shuffle" and not peers.torch_version():
        print(peers.NO_TORCH)
    if json_out is not None:
        command = f"python -m benchmarks {name} --preset {preset}"
        seconds = round(time.perf_counter() - start, 1)
        record = {**provenance(command), "seconds": seconds, **results}
        json_out.parent.mkdir(parents=True, exist_ok=True)
        json_out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m benchmarks")
