"""`shuffle` beside other ways to permute the pixels of regions.

All do the same job on the same batch: an independent permutation for each region and
channel of each image. Under a PRNG key `shuffle` makes its own coins; under image keys,
they come from ChaCha20 on the host, whose time is a row of its own. Beside a GPU, NumPy
gets one image in `numpy_share`; its speed is still in values a second.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import vim_jax
from benchmarks.images import mixed_sizes, photographs
from benchmarks.peers import NUMPY, adaptive_peers, torch_version, uniform_peers
from benchmarks.timing import mvalues_per_s, seconds, temporary_bytes_per_byte
from vim_jax.regions import Bounds, bounds_of
from vim_jax.shuffling import words_read

OURS = "vim_jax.shuffle"
IMAGE_KEYS, SECRET = f"{OURS}, image keys", "SecretKey.for_image"
JOINT, MIXED = f"{OURS}, joint", f"{OURS}, mixed"
MEMORY = "x + 1 (memory)"
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "batches": [(2, 16)],
        "sizes": [4],
        "repeats": 1,
        "memory": 2**16,
        "numpy_share": 2,
    },
    "cpu": {
        "batches": [(256, 32), (16, 224)],
        "sizes": [4, 8, 16, 32],
        "repeats": 9,
        "memory": 2**28,
        "numpy_share": 1,
    },
    "gpu": {
        "batches": [(1024, 224)],
        "sizes": [4, 8, 16, 32],
        "repeats": 5,
        "memory": 2**30,
        "numpy_share": 32,
    },
}


def run(preset: str) -> dict[str, Any]:
    """Returns millions of values a second: a row a batch and kind of plan."""
    settings = PRESETS[preset]
    rows = []
    for count, side in settings["batches"]:
        batch = photographs(count, side)
        for_numpy = count // settings["numpy_share"]
        for size in settings["sizes"]:
            plan = vim_jax.uniform_plan(batch.shape[1:], size)
            plans = jax.tree.map(functools.partial(_repeated, count=count), plan)
            peers = uniform_peers(batch, size, for_numpy)
            speeds = _speeds(batch, plans, size, peers, settings)
            rows.append({"batch": list(batch.shape), "plan": str(size), **speeds})
        largest = max(settings["sizes"])
        sizes = mixed_sizes(count, side, largest)
        bounds = Bounds(height=largest, width=largest, smallest=1, squares=True)
        plans = vim_jax.RegionPlan(jnp.asarray(sizes), bounds=bounds)
        peers = adaptive_peers(batch, sizes, for_numpy)
        speeds = _speeds(batch, plans, None, peers, settings)
        rows.append({"batch": list(batch.shape), "plan": f"2 to {largest}", **speeds})
    return {
        "rows": rows,
        "memory_mvalues_per_s": _memory(settings),
        "torch": torch_version(),
    }


def _repeated(x: jax.Array, count: int) -> jax.Array:
    return jnp.stack([x] * count)


def _speeds(batch, plans, size, peers, settings) -> dict[str, Any]:
    count = len(batch)
    images = jnp.asarray(batch)
    keys = jax.random.split(jax.random.key(0), count)
    secret = vim_jax.SecretKey.generate()
    words = words_read(batch.shape[1:], bounds_of(plans), "independent", False)

    def image_keys():
        each = [
            secret.for_image(str(i), image, words=words)
            for i, image in enumerate(batch)
        ]
        return jax.tree.map(lambda *x: np.stack(x), *each)

    def way(channels):
        def shuffle(key, image, plan):
            where = plan if size is None else size
            return vim_jax.shuffle(key, image, where, channels=channels)

        return jax.jit(jax.vmap(shuffle))

    independent, joint, mixed = map(way, ("independent", "joint", "mixed"))
    derived = jax.device_put(image_keys())
    ways = {
        OURS: lambda: independent(keys, images, plans),
        IMAGE_KEYS: lambda: independent(derived, images, plans),
        SECRET: image_keys,
        JOINT: lambda: joint(keys, images, plans),
        MIXED: lambda: mixed(keys, images, plans),
        **peers,
    }
    speeds = mvalues_per_s(ways, batch.size, settings["repeats"])
    speeds |= {name: speeds[name] / settings["numpy_share"] for name in NUMPY}
    return {
        "mvalues_per_s": speeds,
        "peers": list(peers),
        "temporary_bytes_per_byte": temporary_bytes_per_byte(
            independent, keys, images, plans, of=images
        ),
    }


def _memory(settings) -> float:
    """Returns the speed of `x + 1` on an array that fits no cache."""
    x = jnp.zeros(settings["memory"], jnp.uint8)
    add = jax.jit(lambda x: x + jnp.uint8(1))
    taken = seconds({MEMORY: lambda: add(x)}, min(settings["repeats"], 5))
    return float(f"{x.size / taken[MEMORY] / 1e6:.4g}")


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns the heads and cells of a table of ratios to the fastest other way."""
    heads = ["batch", "region size", "Mvalues/s", "fastest other", "ratio"]
    heads += ["image keys", '"joint"', '"mixed"', "temporary memory"]
    cells = []
    for row in results["rows"]:
        speeds = row["mvalues_per_s"]
        ours = speeds[OURS]
        fastest = max(row["peers"], key=speeds.__getitem__)
        cells.append(
            [
                "x".join(map(str, row["batch"])),
                row["plan"],
                f"{ours:,.0f}",
                f"{fastest} ({speeds[fastest]:,.0f})",
                f"{ours / speeds[fastest]:.2f}",
                f"{speeds[IMAGE_KEYS] / speeds[fastest]:.2f}",
                f"{speeds[JOINT] / ours:.2f}",
                f"{speeds[MIXED] / ours:.2f}",
                f"{row['temporary_bytes_per_byte']:.1f}x",
            ]
        )
    return heads, cells
