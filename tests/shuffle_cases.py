"""Images, plans and keys that the tests of `shuffle` share."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from plan_cases import adaptive_sizes

import vim_jax

MODES = ["joint", "independent", "mixed"]
SECRET = bytes(range(100, 132))
COLLECTIVES = re.compile(
    r"all-gather|all-reduce|all-to-all|reduce-scatter|"
    r"collective-permute|collective-broadcast"
)


def numbered(shape: tuple[int, ...], dtype: Any = np.int32) -> np.ndarray:
    """An image in which every value is another."""
    return np.arange(np.prod(shape)).astype(dtype).reshape(shape)


def as_plan(size) -> Any:
    if isinstance(size, np.ndarray):
        return vim_jax.RegionPlan(jnp.asarray(size, jnp.int32))
    return size


ADAPTIVE = adaptive_sizes((11, 13), seed=2)
ADAPTIVE_SIXES = adaptive_sizes((11, 13), steps=(6, 2, 1), seed=1)
KEYS = {
    "threefry": lambda: jax.random.key(2024),
    "old-style": lambda: jax.random.PRNGKey(7),
    "rbg": lambda: jax.random.key(2024, impl="rbg"),
    "unsafe_rbg": lambda: jax.random.key(1, impl="unsafe_rbg"),
    "folded": lambda: jax.random.fold_in(jax.random.key(0), 9),
}


def key_data(key) -> np.ndarray:
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(key))
    return np.asarray(key)
