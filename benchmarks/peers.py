"""What a user would pick instead of `vim_jax.shuffle`.

Each permutes the pixels of every region and channel independently and uniformly, as
`shuffle` does, from an ordinary random generator. For plans of several region sizes
there is no library call, so NumPy and PyTorch go size by size. PyTorch uses the GPU
where JAX does, and has its images there beforehand, as JAX has.
"""

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_SEED = 0
NUMPY = ("numpy Generator.permuted", "numpy argsort + take")
NO_TORCH = "torch is not installed, or not for this GPU: its rows are left out."


@functools.cache
def torch_version() -> str | None:
    """Returns the version of PyTorch, or None if it cannot use what JAX uses."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch  # pyright: ignore[reportMissingImports]

    on_gpu = jax.default_backend() == "gpu"
    return None if on_gpu and not torch.cuda.is_available() else torch.__version__


def uniform_peers(
    batch: np.ndarray, size: int, for_numpy: int
) -> dict[str, Callable[[], Any]]:
    """Returns ways to shuffle `n h w c` images within regions of one size.

    Args:
      batch: uint8; both sides are multiples of `size`.
      size: region size in pixels.
      for_numpy: how many of the images NumPy shuffles.
    """
    n, h, w, c = batch.shape
    rows, columns = h // size, w // size
    on_device = jnp.asarray(batch)
    key = jax.random.key(_SEED)

    def apart(x):
        """`n h w c` to `permutations cells`."""
        blocks = x.reshape(-1, rows, size, columns, size, c)
        return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(-1, size * size)

    def together(cells):
        blocks = cells.reshape(-1, rows, columns, c, size, size)
        return blocks.transpose(0, 1, 4, 2, 5, 3).reshape(-1, h, w, c)

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
            together(permute(apart(batch[:for_numpy])))
        )
        for name, permute in _numpy_ways().items()
    }
    ways["vmap(jax.random.permutation)"] = lambda: jax_permutation(key, on_device)
    ways["jax.lax.sort"] = lambda: jax_sort(key, on_device)
    if torch_version():
        values = _torch_values(batch)

        def torch_permuted():
            blocks = values.reshape(n, rows, size, columns, size, c)
            cells = blocks.permute(0, 1, 3, 5, 2, 4).reshape(-1, size * size)
            moved = _torch_permute(cells).reshape(n, rows, columns, c, size, size)
            return _torch_done(moved.permute(0, 1, 4, 2, 5, 3).reshape(n, h, w, c))

        ways["torch argsort + gather"] = torch_permuted
    return ways


def adaptive_peers(
    batch: np.ndarray, sizes: np.ndarray, for_numpy: int
) -> dict[str, Callable[[], Any]]:
    """Returns ways to shuffle `n h w c` images within regions of mixed sizes.

    Args:
      batch: uint8.
      sizes: `n h w`, region sizes that are powers of two and divide both sides.
      for_numpy: how many of the images NumPy shuffles.
    """
    n, h, w, c = batch.shape
    on_device = jnp.asarray(batch)
    top, left = (np.indices((h, w))[i] // sizes * sizes for i in (0, 1))
    region = jnp.asarray((top * w + left).astype(np.uint32))
    key = jax.random.key(_SEED)

    def by_size(permute):
        out = batch[:for_numpy].copy()
        for size in np.unique(sizes):
            if size == 1:
                continue
            chosen = sizes[:for_numpy, ::size, ::size] == size
            view = out.reshape(-1, h // size, size, w // size, size, c)
            view = view.transpose(0, 1, 3, 5, 2, 4)
            blocks = view[chosen]
            cells = permute(blocks.reshape(-1, size * size))
            view[chosen] = cells.reshape(blocks.shape)
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
    if torch_version():
        values = _torch_values(batch)
        of_size = {
            int(size): _torch_values(sizes[:, ::size, ::size] == size)
            for size in np.unique(sizes)
            if size > 1
        }

        def torch_by_size():
            out = values.clone()
            for size, chosen in of_size.items():
                view = out.view(n, h // size, size, w // size, size, c)
                view = view.permute(0, 1, 3, 5, 2, 4)
                blocks = view[chosen]
                cells = _torch_permute(blocks.reshape(-1, size * size))
                view[chosen] = cells.reshape(blocks.shape)
            return _torch_done(out)

        ways["torch argsort + gather"] = torch_by_size
    return ways


def _numpy_ways() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    rng = np.random.default_rng(_SEED)

    def argsort_take(cells):
        words = rng.integers(0, 2**32, cells.shape, dtype=np.uint32)
        return np.take_along_axis(cells, words.argsort(axis=1), axis=1)

    permuted, argsorted = NUMPY
    return {permuted: lambda x: rng.permuted(x, axis=1), argsorted: argsort_take}


def _torch_values(array: np.ndarray):
    import torch  # pyright: ignore[reportMissingImports]

    on_gpu = jax.default_backend() == "gpu"
    return torch.from_numpy(array).to("cuda" if on_gpu else "cpu")


def _torch_permute(cells):
    import torch  # pyright: ignore[reportMissingImports]

    words = torch.rand(cells.shape, device=cells.device)
    return torch.gather(cells, 1, words.argsort(dim=1))


def _torch_done(values):
    """Returns values once they are there."""
    import torch  # pyright: ignore[reportMissingImports]

    if values.is_cuda:
        torch.cuda.synchronize()
    return values
