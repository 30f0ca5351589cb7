"""`shuffle` beside other ways to permute the pixels of regions.

All do the same job, on the same batch: an independent uniform permutation for each
region and channel of each image (numpy's and JAX's generators are no stream ciphers;
ours is ChaCha20). "planning" adds the choice of an adaptive plan for each image.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import vim_jax
from benchmarks.timing import seconds

PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"batches": [(2, 16, 3)], "sizes": [4], "repeats": 1},
    "cpu": {
        "batches": [(256, 32, 3), (16, 224, 3)],
        "sizes": [4, 8, 16, 32],
        "repeats": 7,
    },
    "gpu": {
        "batches": [(1024, 224, 3)],
        "sizes": [4, 8, 16, 32],
        "repeats": 20,
    },
}
_SEED = 0


def run(preset: str) -> list[dict[str, Any]]:
    """Returns one row a batch shape and region size, with Mvalues/s of each way."""
    settings = PRESETS[preset]
    rows = []
    for count, side, channels in settings["batches"]:
        rng = np.random.default_rng(_SEED)
        shape = (count, side, side, channels)
        batch = _smooth(rng, shape)
        for size in settings["sizes"]:
            times = seconds(_ways(batch, size), settings["repeats"])
            speeds = {name: batch.size / t / 1e6 for name, t in times.items()}
            row = {"batch": list(shape), "region_size": size, "mvalues_per_s": speeds}
            rows.append(row)
    return rows


def _smooth(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Returns images with some structure, so that plans are not trivial."""
    walk = rng.normal(0, 6, shape).cumsum(1).cumsum(2)
    low, high = walk.min((1, 2, 3), keepdims=True), walk.max((1, 2, 3), keepdims=True)
    return (255 * (walk - low) / (high - low)).astype(np.uint8)


def _ways(batch: np.ndarray, size: int) -> dict[str, Callable[[], Any]]:
    count, side, _, channels = batch.shape
    on_device = jnp.asarray(batch)
    keys = jax.random.split(jax.random.key(_SEED), count)
    rng = np.random.default_rng(_SEED)

    def blocks(x):
        """`n h w c` to `permutations cells`."""
        rows = side // size
        x = x.reshape(count, rows, size, rows, size, channels)
        return x.transpose(0, 1, 3, 5, 2, 4).reshape(-1, size * size)

    @jax.jit
    def ours(keys, images):
        return jax.vmap(lambda k, x: vim_jax.shuffle(k, x, size))(keys, images)

    @jax.jit
    def jax_permutation(key, images):
        cells = blocks(images)
        cell_keys = jax.random.split(key, len(cells))
        return jax.vmap(jax.random.permutation)(cell_keys, cells)

    mixer = vim_jax.VisualMixer(level=0.5, clip=True)
    return {
        "vim_jax.shuffle": lambda: ours(keys, on_device),
        "vim_jax.VisualMixer, planning": lambda: mixer(keys[0], on_device),
        "numpy Generator.permuted": lambda: rng.permuted(blocks(batch), axis=1),
        "numpy argsort + take": lambda: np.take_along_axis(
            blocks(batch), rng.random((batch.size // size**2, size**2)).argsort(1), 1
        ),
        "vmap(jax.random.permutation)": lambda: jax_permutation(keys[0], on_device),
        "x + 1 (memory)": lambda: on_device + jnp.uint8(1),
    }
