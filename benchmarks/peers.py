"""What a user would pick instead of `vim_jax.shuffle`.

Each permutes the pixels of every region and channel independently and uniformly, as
`shuffle` does, from an ordinary random generator. For plans of several region sizes
there is no library call, so NumPy and PyTorch go size by size.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_SEED = 0
TORCH = importlib.util.find_spec("torch") is not None
NO_TORCH = "torch is not installed: its rows are left out."


def uniform_peers(batch: np.ndarray, size: int) -> dict[str, Callable[[], Any]]:
    """Returns ways to shuffle `n h w c` images within regions of one size.

    Args:
      batch: uint8; both sides are multiples of `size`.
      size: region size in pixels.
    """
    n, h, w, c = batch.shape
    rows, columns = h // size, w // size
    on_device = jnp.asarray(batch)
    key = jax.random.key(_SEED)

    def apart(x):
        """`n h w c` to `permutations cells`."""
        blocks = x.reshape(n, rows, size, columns, size, c)
        return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(-1, size * size)

    def together(cells):
        blocks = cells.reshape(n, rows, columns, c, size, size)
        return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(n, h, w, c)

    @jax.jit
    def jax_permutation(key, images):
        cells = apart(images)
        keys = jax.random.split(key, len(cells))
        return together(jax.vmap(jax.random.permutation)(keys, cells))

    @jax.jit
    def jax_sort(key, images):
        cells = apart(images)
        words = jax.random.bits(key, cells.shape)
        return together(jax.lax.sort((words, cells), num_keys=1)[1])

    ways: dict[str, Callable[[], Any]] = {
        name: lambda permute=permute: np.ascontiguousarray(
            together(permute(apart(batch)))
        )
        for name, permute in _numpy_ways().items()
    }
    ways["vmap(jax.random.permutation)"] = lambda: jax_permutation(key, on_device)
    ways["jax.lax.sort"] = lambda: jax_sort(key, on_device)
    if TORCH:
        ways["torch argsort + gather"] = lambda: together(_torch_permute(apart(batch)))
    return ways


def adaptive_peers(
    batch: np.ndarray, sizes: np.ndarray
) -> dict[str, Callable[[], Any]]:
    """Returns ways to shuffle `n h w c` images within regions of mixed sizes.

    Args:
      batch: uint8.
      sizes: `n h w`, region sizes that are powers of two and divide both sides.
    """
    n, h, w, c = batch.shape
    on_device = jnp.asarray(batch)
    top, left = (np.indices((h, w))[i] // sizes * sizes for i in (0, 1))
    region = jnp.asarray((top * w + left).astype(np.uint32))
    key = jax.random.key(_SEED)

    def by_size(permute):
        out = batch.copy()
        for size in np.unique(sizes):
            if size == 1:
                continue
            chosen = sizes[:, ::size, ::size] == size
            view = out.reshape(n, h // size, size, w // size, size, c)
            view = view.transpose(0, 1, 3, 5, 2, 4)
            blocks = view[chosen]
            cells = permute(blocks.reshape(-1, size * size))
            view[chosen] = np.asarray(cells).reshape(blocks.shape)
        return out

    @jax.jit
    def jax_sort(key, images, region):
        planes = images.transpose(0, 3, 1, 2).reshape(n, c, -1)
        keys = jnp.broadcast_to(region.reshape(n, 1, -1), planes.shape)
        cell = jnp.broadcast_to(jnp.arange(h * w, dtype=jnp.uint32), planes.shape)
        words = jax.random.bits(key, planes.shape)
        place = jax.lax.sort((keys, cell), num_keys=1)[1]
        moved = jax.lax.sort((keys, words, planes), num_keys=2)[2]
        out = jnp.zeros_like(planes)
        out = jax.vmap(jax.vmap(lambda o, p, m: o.at[p].set(m)))(out, place, moved)
        return out.reshape(n, c, h, w).transpose(0, 2, 3, 1)

    ways: dict[str, Callable[[], Any]] = {
        name: lambda permute=permute: by_size(permute)
        for name, permute in _numpy_ways().items()
    }
    ways["jax.lax.sort"] = lambda: jax_sort(key, on_device, region)
    if TORCH:
        ways["torch argsort + gather"] = lambda: by_size(_torch_permute)
    return ways


def _numpy_ways() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    rng = np.random.default_rng(_SEED)

    def argsort_take(cells):
        words = rng.integers(0, 2**32, cells.shape, dtype=np.uint32)
        return np.take_along_axis(cells, words.argsort(axis=1), axis=1)

    return {
        "numpy Generator.permuted": lambda cells: rng.permuted(cells, axis=1),
        "numpy argsort + take": argsort_take,
    }


def _torch_permute(cells: np.ndarray) -> np.ndarray:
    import torch  # pyright: ignore[reportMissingImports]

    values = torch.from_numpy(np.ascontiguousarray(cells))
    return torch.gather(values, 1, torch.rand(values.shape).argsort(dim=1)).numpy()
