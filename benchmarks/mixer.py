"""The whole `VisualMixer` call, planning included, and how often it compiles.

The authors' released code takes 2.1 s for one 224x224 image on two CPU cores; that was
measured once, elsewhere, and is no part of the run.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

import vim_jax
from benchmarks.images import photographs
from benchmarks.timing import seconds, temporary_bytes_per_byte

_AUTHORS_SECONDS = 2.1
_SHUFFLING, _PLANNING = "shuffling", "planning"
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"batches": [(2, 16)], "max_regions": [], "repeats": 1},
    "cpu": {"batches": [(256, 32), (16, 224)], "max_regions": [8, 32], "repeats": 9},
    "gpu": {"batches": [(1024, 224)], "max_regions": [32], "repeats": 20},
}


def run(preset: str) -> dict[str, Any]:
    """Returns milliseconds and memory: a row a batch and largest region size."""
    settings = PRESETS[preset]
    key = jax.random.key(0)
    rows = []
    for count, side in settings["batches"]:
        images = jnp.asarray(photographs(count, side))
        for largest in [*settings["max_regions"], None]:
            mixer = vim_jax.VisualMixer(level=0.5, max_region=largest, clip=True)
            plan = jax.jit(jax.vmap(mixer.plan))
            ways = {
                "VisualMixer": functools.partial(mixer, key, images),
                "planning alone": functools.partial(plan, images),
            }
            taken = seconds(ways, settings["repeats"])
            keys, shuffle = jax.random.split(key, count), jax.vmap(vim_jax.shuffle)
            parts = {
                _SHUFFLING: (shuffle, keys, images, plan(images)),
                _PLANNING: (plan, images),
            }
            rows.append(
                {
                    "batch": list(images.shape),
                    "max_region": largest,
                    "ms_per_image": {
                        name: float(f"{1000 * s / count:.4g}")
                        for name, s in taken.items()
                    },
                    "temporary_bytes_per_byte": {
                        name: temporary_bytes_per_byte(*part, of=images)
                        for name, part in parts.items()
                    },
                }
            )
    return {"rows": rows, "authors_s_per_224x224_image": _AUTHORS_SECONDS}


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns the heads and cells of a table."""
    heads = ["batch", "max region", "ms/image", "of it planning", "times the authors'"]
    heads += ["temporary memory", "while planning"]
    cells = []
    for row in results["rows"]:
        taken = row["ms_per_image"]
        memory = row.get("temporary_bytes_per_byte", {})
        whole = taken["VisualMixer"]
        authors = ""
        if row["batch"][1:3] == [224, 224]:
            authors = f"{1000 * results['authors_s_per_224x224_image'] / whole:,.0f}"
        cells.append(
            [
                "x".join(map(str, row["batch"])),
                str(row["max_region"] or "any"),
                f"{whole:.3f}",
                f"{taken['planning alone']:.3f}",
                authors,
                *(
                    f"{memory[part]:.1f}x" if part in memory else ""
                    for part in (_SHUFFLING, _PLANNING)
                ),
            ]
        )
    return heads, cells
