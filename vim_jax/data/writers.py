"""Files that are either there in full or not at all."""

import contextlib
import errno
import fcntl
import functools
import os
import pathlib
import secrets
from collections.abc import Callable, Iterator

from vim_jax.data.errors import DataError, NotYetError, WriteError, brief

TEMPORARY_PREFIX = ".vim-jax-tmp-"

# What is wrong with a name rather than with the disk: other files may go well.
_BAD_NAME = (
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EILSEQ,
    errno.EINVAL,
    errno.ELOOP,
)

# What file systems without hard links answer to `link`.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES)


def write_atomically(
    path: str | os.PathLike[str], data: bytes, *, mode: int = 0o666
) -> None:
    """Writes a file so that its name never shows half of it, and never replaces one.

    The bytes go to a hidden file of an unpredictable name beside it, to the disk, and
    only then under the final name. Missing folders are made.

    Args:
      path: the file.
      data: its content.
      mode: the file's rights, of which the umask takes some.

    Raises:
      DataError: if the file exists with another content, or cannot have this name. A
        file that has this very content already is left as it is.
      WriteError: if nothing can be written there.
    """
    path = pathlib.Path(path)
    temporary = temporary_beside(path)
    with in_one_sentence(path):
        make_folder(path.parent)
        try:
            stage(temporary, data, mode=mode)
            sync_file(temporary)
            try:
                claim(temporary, path)
            except FileExistsError:
                if not path.is_file() or path.read_bytes() != data:
                    raise DataError(
                        f"{path} exists with another content: remove it or choose "
                        "another output folder"
                    ) from None
            sync_folder(path.parent)
        finally:
            discard(temporary)


def replace_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes a file over an earlier one, so that its name never shows half of either.

    For files of which one process at a time takes care: what it was writing when it was
    killed is written over by the next.

    Args:
      path: the file, in a folder that is there, or is made.
      data: its content.

    Raises:
      WriteError: if nothing can be written there; the earlier file is left as it is.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f"{path.name}.partial")
    with in_one_sentence(path):
        make_folder(path.parent)
        partial.write_bytes(data)
        sync_file(partial)
        os.replace(partial, path)
        sync_folder(path.parent)


@contextlib.contextmanager
def filling(folder: pathlib.Path) -> Iterator[Callable[[str, bytes], None]]:
    """Yields the function to write a file into a folder, by its relative name.

    The folder is locked meanwhile, and what killed runs left is removed where files are
    written. Raises as `write_atomically` does.
    """
    with locked(folder):
        tidied: set[pathlib.Path] = set()

        def fill(name: str, data: bytes) -> None:
            path = folder / name
            if path.parent not in tidied:
                remove_leftovers(path.parent)
                tidied.add(path.parent)
            write_atomically(path, data)

        yield fill


def stage(temporary: pathlib.Path, data: bytes, *, mode: int = 0o666) -> None:
    """Writes a new file, or nothing; syncing and naming it is another matter."""
    try:
        with open(
            temporary, "xb", opener=functools.partial(os.open, mode=mode)
        ) as file:
            file.write(data)
    except BaseException:
        discard(temporary)
        raise


def claim(temporary: pathlib.Path, path: pathlib.Path) -> None:
    """Gives a finished file its name unless that is taken.

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


def discard(temporary: pathlib.Path) -> None:
    """Removes a hidden file if it is still there."""
    with contextlib.suppress(OSError):
        temporary.unlink()


@contextlib.contextmanager
def in_one_sentence(path: pathlib.Path) -> Iterator[None]:
    """Turns what the operating system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _BAD_NAME:
            raise DataError(
                f"{path} cannot be written ({brief(error)}): rename the image"
            ) from error
        raise WriteError(
            f"{path} cannot be written ({brief(error)}): choose another output folder "
            "or make room"
        ) from error


def temporary_beside(path: pathlib.Path, owner: str = "") -> pathlib.Path:
    """Returns a new hidden name in the folder of `path` that nobody can foresee."""
    return path.parent / f"{TEMPORARY_PREFIX}{owner}{secrets.token_hex(16)}"


def remove_leftovers(
    folder: pathlib.Path, *, below: bool = False, owner: str = ""
) -> None:
    """Removes hidden files that killed processes left in a folder, and below it.

    Args:
      folder: the folder.
      below: whether to look into its folders, too.
      owner: remove only what was staged for this owner; by default everybody's.
    """
    find = folder.rglob if below else folder.glob
    for leftover in find(f"{TEMPORARY_PREFIX}{owner}*"):
        if leftover.is_symlink() or not leftover.is_dir():
            leftover.unlink(missing_ok=True)


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder and those it lies in, so that they outlive a power cut."""
    if not folder.is_dir():
        make_folder(folder.parent)
        try:
            folder.mkdir(exist_ok=True)
        except FileExistsError:
            problem = os.strerror(errno.ENOTDIR)
            raise NotADirectoryError(errno.ENOTDIR, problem, str(folder)) from None
        sync_folder(folder.parent)


def sync_file(path: pathlib.Path) -> None:
    """Brings the content of a file to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: pathlib.Path) -> None:
    """Brings the names in a folder to the disk, so that they outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have nothing to sync in a folder.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(folder: pathlib.Path, *, shared: bool = False) -> Iterator[None]:
    """Holds the lock on a folder, which is made if need be.

    It is the operating system's lock on the folder itself: there is no lock file, and
    the lock ends with the process, however that ends.

    Args:
      folder: the folder.
      shared: whether others may hold it at the same time, if they share it, too.

    Raises:
      NotYetError: if another process holds it.
      WriteError: if the folder cannot be made or locked.
    """
    try:
        descriptor = _lock(folder, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    except BlockingIOError:
        raise NotYetError(
            f"{folder} is being written to by another vim-jax: wait for it to end"
        ) from None
    except OSError as error:
        raise WriteError(
            f"{folder} cannot be written to ({brief(error)}): choose another folder"
        ) from error
    try:
        yield
    finally:
        os.close(descriptor)


def _lock(folder: pathlib.Path, kind: int) -> int:
    """Returns a descriptor of a folder, which is locked until that is closed."""
    while True:
        make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            # Another process may have removed the folder just before.
            if folder.exists() and os.path.samestat(
                os.fstat(descriptor), folder.stat()
            ):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
