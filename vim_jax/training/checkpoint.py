"""Checkpoints of a training state, checked when they are read back.

The only module that knows orbax. Orbax writes a checkpoint under another name and
then renames it, so that a run killed while saving leaves the older ones whole. It
does not notice a changed byte in an array, though, and reports other damage in many
ways, so each checkpoint also gets a manifest with a digest of each of its files: it
counts as written once that is there, and as damaged once they disagree.
"""

import hashlib
import json
import pathlib
import shutil
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from vim_jax.data.writers import replace_atomically
from vim_jax.training.parallel import is_main

_KEEP = 2  # the latest, and the one to fall back to
_MANIFEST = "manifest.json"


class Checkpoint(NamedTuple):
    """What `restore_latest` found."""

    step: int
    state: Any  # as the abstract state, with arrays
    metadata: dict[str, Any]


def save(
    directory: str | pathlib.Path, step: int, state: Any, metadata: dict[str, Any]
) -> None:
    """Writes a checkpoint, and deletes all but it and the one before.

    Whatever else is there is of no use and deleted first, or it would count as the one
    before: checkpoints that were not written to their end, and those of later steps,
    which were found damaged if training goes on from an earlier one.

    All processes call it together, with a folder that they share.

    Args:
      directory: Folder of the run's checkpoints; created if missing.
      step: Number of the checkpoint; one of the same number is replaced.
      state: Pytree of arrays.
      metadata: Anything that JSON can hold.

    Raises:
      TypeError: If the state holds a random key.
    """
    arrays = _named_leaves(state)
    for name, array in arrays.items():
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            raise TypeError(
                f"The state holds a random key at {name}: derive keys from a seed and "
                "the step instead of storing them."
            )
    directory = pathlib.Path(directory).resolve()
    if is_main():
        for folder in _folders(directory):
            if not (folder / _MANIFEST).exists() or int(folder.name) > step:
                shutil.rmtree(folder)
    multihost_utils.sync_global_devices("useless checkpoints deleted")
    policy: Any = ocp.training.preservation_policies.LatestN(_KEEP)
    with ocp.training.Checkpointer(
        str(directory), preservation_policy=policy, cleanup_tmp_directories=True
    ) as checkpointer:
        checkpointer.save(
            step,
            arrays,
            force=True,
            overwrite=True,
            custom_metadata={"arrays": _describe(arrays), "metadata": metadata},
        )
    if is_main():
        folder = directory / str(step)
        replace_atomically(folder / _MANIFEST, json.dumps(_digests(folder)).encode())
    multihost_utils.sync_global_devices("checkpoint written")


def restore_latest(
    directory: str | pathlib.Path, abstract_state: Any
) -> Checkpoint | None:
    """Reads the newest checkpoint that is intact.

    Args:
      directory: Folder of the run's checkpoints; may be missing.
      abstract_state: The state's structure, with leaves that have shape, dtype and
        sharding: arrays will do. The restored leaves get these shardings, whatever
        they had when saved.

    Returns:
      The checkpoint, or None if none was ever written to its end.

    Raises:
      ValueError: If the checkpoint holds a state of another structure.
      RuntimeError: If there are checkpoints but all are damaged.
    """
    directory = pathlib.Path(directory).resolve()
    finished = False
    for folder in _folders(directory):
        damage = "it was not written to its end"
        if (folder / _MANIFEST).exists():
            finished = True
            damage = _find_damage(folder)
        if damage is None:
            return _load(folder, abstract_state)
        warnings.warn(
            f"The checkpoint {folder} is passed over: {damage}.", stacklevel=2
        )
    if finished:
        raise RuntimeError(
            f"All checkpoints in {directory} are damaged: delete that folder to start "
            "again from the beginning."
        )
    return None


def _folders(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders of checkpoints, the newest first."""
    found = [path for path in directory.glob("*") if path.name.isdecimal()]
    return sorted(found, key=lambda folder: int(folder.name), reverse=True)


def _load(folder: pathlib.Path, abstract_state: Any) -> Checkpoint:
    abstract = {
        name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
        for name, x in _named_leaves(abstract_state).items()
    }
    stored: Any = ocp.metadata(str(folder)).custom_metadata
    there, here = stored["arrays"], _describe(abstract)
    for name in sorted(there.keys() | here.keys()):
        if there.get(name) != here.get(name):
            raise ValueError(
                f"The checkpoint {folder} is of another model or optimizer: {name} is "
                f"{there.get(name, 'absent')} there and {here.get(name, 'absent')} "
                "here. Use another folder, or the settings it was made with."
            )
    arrays = ocp.load(str(folder), abstract)
    state = jax.tree.unflatten(
        jax.tree.structure(abstract_state), [arrays[name] for name in abstract]
    )
    return Checkpoint(int(folder.name), state, stored["metadata"])


def _find_damage(folder: pathlib.Path) -> str | None:
    """Says how a checkpoint's files differ from its manifest, None if not at all."""
    try:
        expected = json.loads((folder / _MANIFEST).read_text())
    except ValueError:
        expected = None
    if not (expected and isinstance(expected, dict)):
        return f"its {_MANIFEST} is damaged"
    found = _digests(folder)
    for name in expected:
        if name not in found:
            return f"its file {name} is missing"
        if found[name] != expected[name]:
            return f"its file {name} is damaged"
    return None


def _digests(folder: pathlib.Path) -> dict[str, str]:
    """Returns the SHA-256 of every file of a checkpoint but the manifest."""
    digests = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(_MANIFEST):
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            digests[path.relative_to(folder).as_posix()] = digest
    return digests


def _named_leaves(state: Any) -> dict[str, Any]:
    """Flattens to names like "opt_state/0/mu/head/bias", in the order of flattening."""
    leaves, _ = jax.tree.flatten_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in leaves
    }


def _describe(arrays: dict[str, Any]) -> dict[str, str]:
    return {name: f"{x.dtype} {list(x.shape)}" for name, x in arrays.items()}
