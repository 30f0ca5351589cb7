"""Files that are either there in full or not at all."""

import contextlib
import errno
import os
import pathlib
import secrets

from vim_jax.data.errors import DataError, brief

TEMPORARY_PREFIX = ".vim-jax-tmp-"

# What file systems without hard links answer to `link`.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file so that its name never shows half of it, and never replaces one.

    The bytes go to a hidden file of an unpredictable name beside it, to the disk, and
    only then under the final name. Missing folders are made.

    Args:
      path: the file.
      data: its content.

    Raises:
      DataError: if the file exists with another content, or cannot be written. A file
        that has this very content already is left as it is.
    """
    path = pathlib.Path(path)
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_new(temporary, data)
        try:
            _claim(temporary, path)
        except FileExistsError:
            if not path.is_file() or path.read_bytes() != data:
                raise DataError(
                    f"{path} exists with another content: remove it or choose another "
                    "output folder"
                ) from None
        sync_folder(path.parent)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({brief(error)}): choose another output folder "
            "or make room"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def temporary_beside(path: pathlib.Path) -> pathlib.Path:
    """Return a new hidden name in the folder of `path` that nobody can foresee."""
    return path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(16)}"


def sync_folder(folder: pathlib.Path) -> None:
    """Bring the names in a folder to the disk, so that they outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_new(path: pathlib.Path, data: bytes) -> None:
    """Create a file that must not exist yet, and brings it to the disk."""
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _claim(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Give a finished file its name unless that is taken.

    A hard link does both in one step. Without hard links, another process may take
    the name in between; its file would be replaced.

    Raises:
      FileExistsError: if the name is taken.
    """
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, "exists", str(path)) from None
        os.replace(temporary, path)
