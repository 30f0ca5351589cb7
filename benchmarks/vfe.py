"""`vfe` beside the obvious NumPy version."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import vim_jax
from benchmarks.images import photographs
from benchmarks.timing import mvalues_per_s

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"batches": [(2, 16)], "repeats": 1},
    "cpu": {"batches": [(256, 32), (16, 224)], "repeats": 15},
    "gpu": {"batches": [(1024, 224)], "repeats": 20},
}


def run(preset: str) -> dict[str, Any]:
    """Returns millions of values a second: a row a batch."""
    settings = PRESETS[preset]
    rows = []
    for count, side in settings["batches"]:
        batch = photographs(count, side)
        images = jnp.asarray(batch)
        ours = jax.jit(jax.vmap(vim_jax.vfe))
        ways = {
            "vim_jax.vfe": functools.partial(ours, images),
            "numpy": functools.partial(_numpy, batch),
        }
        np.testing.assert_allclose(ways["vim_jax.vfe"](), ways["numpy"](), rtol=1e-4)
        speeds = mvalues_per_s(ways, batch.size, settings["repeats"])
        rows.append({"batch": list(batch.shape), "mvalues_per_s": speeds})
    return {"rows": rows}


def _numpy(batch: np.ndarray) -> np.ndarray:
    values = batch.astype(np.float32)
    steps = [(np.diff(values, axis=axis) ** 2).sum(axis=(1, 2, 3)) for axis in (1, 2)]
    return (steps[0] + steps[1]) / values[0].size


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns the heads and cells of a table."""
    cells = []
    for row in results["rows"]:
        ours, numpy = (row["mvalues_per_s"][k] for k in ("vim_jax.vfe", "numpy"))
        batch = "x".join(map(str, row["batch"]))
        cells.append([batch, f"{ours:,.0f}", f"{numpy:,.0f}", f"{ours / numpy:.1f}"])
    return ["batch", "Mvalues/s", "numpy", "ratio"], cells
