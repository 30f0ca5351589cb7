"""Data parallelism: one program over all devices of all processes.

Every process holds the whole data set, or a memory map of it, puts its own share of
each batch on its own devices, and keeps a copy of the state on each of them.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec


class Layout(NamedTuple):
    """Where arrays lie: batches split along their first axis, the state everywhere."""

    split: NamedSharding
    replicated: NamedSharding


def initialize() -> None:
    """Joins this process with the others, if the environment says there are any.

    It does if JAX_COORDINATOR_ADDRESS is set, to ``host:port`` of the first process.
    Then JAX_NUM_PROCESSES and JAX_PROCESS_ID (from 0) say which process this is; where
    they are not set, as under Slurm or Open MPI, JAX finds out. It also does where
    TPU_WORKER_HOSTNAMES or TPU_PROCESS_ADDRESSES lists several hosts, or
    MEGASCALE_COORDINATOR_ADDRESS is set, as on TPU slices under Kubernetes; on other
    TPU machines call `jax.distributed.initialize()` yourself. Call it before anything
    else that uses JAX; the second call does nothing.

    JAX's preemption service is left out: `train` listens to SIGTERM itself, and before
    and after training nobody would, so that processes did not end.

    Raises:
      ValueError: If a variable is no number, or only one of the two is set.
    """
    lists = ("TPU_WORKER_HOSTNAMES", "TPU_PROCESS_ADDRESSES")
    several_hosts = any("," in os.environ.get(name, "") for name in lists)
    several_hosts |= "MEGASCALE_COORDINATOR_ADDRESS" in os.environ
    coordinator = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if jax.distributed.is_initialized() or not (coordinator or several_hosts):
        return
    count, number = map(_number, ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
    if (count is None) != (number is None):
        raise ValueError(
            "Only one of JAX_NUM_PROCESSES and JAX_PROCESS_ID is set: set both, or "
            "neither where a cluster tells JAX."
        )
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(coordinator, count, number)


def _number(name: str) -> int | None:
    value = os.environ.get(name)
    if value is not None and not value.isdecimal():
        raise ValueError(f"{name} is {value!r}: set it to a number.")
    return None if value is None else int(value)


def is_main() -> bool:
    """Whether this process is the one that writes and shows things."""
    return jax.process_index() == 0


def in_any(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask at the same time."""
    return highest(float(flag)) > 0


def in_all(check: Callable[[], Any]) -> None:
    """Runs a check in every process, at the same time; if one fails, all do.

    The others would wait for that one for ever.

    Raises:
      ValueError: If the check fails in another process.
      Exception: What the check raises here.
    """
    failure = None
    try:
        check()
    except Exception as error:
        failure = error
    if in_any(failure is not None):
        raise failure or ValueError(
            "Another process cannot go on, and says why: start all with the same "
            "arguments."
        )


def highest(value: float) -> float:
    """Returns the highest value of all processes, which must ask at the same time."""
    if jax.process_count() == 1:
        return value
    return float(multihost_utils.process_allgather(np.float32(value)).max())


def make_layout(batch_size: int, devices: Sequence[Any] | None = None) -> Layout:
    """Returns where arrays lie.

    Args:
      batch_size: Images per step; if it does not divide over the devices, one does
        all the work.
      devices: The devices; None takes all, of all processes.

    Raises:
      ValueError: If it is below 1, or does not divide over the devices of several
        processes.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: use at least 1.")
    devices = jax.devices() if devices is None else list(devices)
    if batch_size % len(devices):
        multiple = f"use a multiple of {len(devices)}."
        if jax.process_count() > 1:
            raise ValueError(
                f"batch_size is {batch_size}, which does not divide over the "
                f"{len(devices)} devices of {jax.process_count()} processes: {multiple}"
            )
        warnings.warn(
            f"batch_size {batch_size} does not divide over {len(devices)} devices, so "
            f"one does all the work: {multiple}",
            stacklevel=3,
        )
        devices = devices[:1]
    mesh = Mesh(np.array(devices), ("data",))
    return Layout(
        NamedSharding(mesh, PartitionSpec("data")),
        NamedSharding(mesh, PartitionSpec()),
    )


def put_rows(layout: Layout, array: np.ndarray, chosen: np.ndarray) -> jax.Array:
    """Returns rows of an array, split over the devices.

    Each process reads only what its devices hold.

    Args:
      layout: Where batches lie.
      array: Of any shape, such as a memory map.
      chosen: Numbers of the rows.
    """

    def read(index: Any) -> np.ndarray:
        return array[chosen[index[0]]]

    shape = (len(chosen), *array.shape[1:])
    return jax.make_array_from_callback(shape, layout.split, read)


def replicate(tree: Any, layout: Layout) -> Any:
    """Returns a tree of arrays with a copy on each device, wherever they lie.

    The arrays are equal in all processes, which call this together.
    """
    if layout.replicated.is_fully_addressable:
        return jax.device_put(tree, layout.replicated)

    def copy(x):
        if x.sharding == layout.replicated:
            return x
        host = np.asarray(x)
        return jax.make_array_from_callback(
            host.shape, layout.replicated, host.__getitem__
        )

    return jax.tree.map(copy, tree)


def on_one_device(tree: Any) -> Any:
    """Returns a replicated tree's copy on this process's first device."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)
