"""A folder of published images: begun, resumed, and written to in groups.

Syncing every image on its own would cost more than mixing it. So images are written
under hidden names, in any order, and published in groups: their contents are synced,
then their records are appended to the manifest and synced, and only then are the
files given their names, in order. So a file without a record cannot be, and records
without files, those of the last group at most, are done again.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from vim_jax.data import manifest, shards
from vim_jax.data.errors import DataError, WriteError, WrongKeyError, brief
from vim_jax.data.shards import Shard
from vim_jax.data.writers import (
    claim,
    discard,
    in_one_sentence,
    locked,
    make_folder,
    remove_leftovers,
    stage,
    sync_file,
    sync_folder,
    temporary_beside,
)

GROUP = 64
"""Images that are published together, at most."""

# Disks sync several files together faster than one after the other.
_SYNCS = 8


@dataclasses.dataclass(frozen=True)
class Staged:
    """An image that is written, but not published yet.

    Attributes:
      record: its line in the manifest.
      temporary: the hidden file.
    """

    record: dict[str, Any]
    temporary: pathlib.Path

    @property
    def id(self) -> str:
        """Its published id."""
        return self.record["id"]


class FolderWriter:
    """Publishes images into a folder that is locked meanwhile: a context manager.

    Attributes:
      manifest: the manifest, or the part of it that is written.
      done: ids of the images that earlier runs have published.
    """

    def __init__(
        self,
        dst: pathlib.Path,
        header: Mapping[str, Any],
        *,
        shard: Shard | None = None,
        check: Callable[[Mapping[str, Any]], None] = lambda record: None,
    ):
        """Prepares to write; nothing happens before the `with` block begins.

        Args:
          dst: the folder: new, empty, or begun with the same header.
          header: the first line of the manifest.
          shard: the shard, if others write to the same folder at the same time.
          check: called with the record of each image that is there; may refuse it.
        """
        self.manifest = dst / (shard.manifest_name if shard else manifest.NAME)
        self.done: set[str] = set()
        self._dst, self._header, self._check = dst, header, check
        self._shard, self._owner = shard, shard.owner if shard else ""
        self._root = pathlib.Path(os.path.realpath(dst))
        self._folders: set[pathlib.Path] = set()  # Those that were looked at.
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "FolderWriter":
        with contextlib.ExitStack() as stack:
            stack.enter_context(locked(self._dst, shared=self._shard is not None))
            self._refuse_others()
            with writing(self._dst):
                if self._shard is not None:
                    stack.enter_context(shards.open_part(self.manifest))
                keep = self._resume()
                self._log = manifest.ManifestWriter(self.manifest, keep)
                stack.enter_context(self._log)
                if not keep:
                    self._log.append(self._header)
            self._disk = concurrent.futures.ThreadPoolExecutor(_SYNCS)
            stack.enter_context(self._disk)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._stack:
            if kind is not None:
                # Staged by threads that have ended by now.
                with contextlib.suppress(OSError):
                    remove_leftovers(self._dst, below=True, owner=self._owner)
            elif self._shard is not None:
                with writing(self._dst):
                    shards.complete(self._log)

    def stage(self, record: dict[str, Any], data: bytes) -> Staged:
        """Writes an image under a hidden name; threads may do so at the same time.

        Args:
          record: its record; "id" is the name that it will have.
          data: the content of its file.

        Raises:
          DataError: if no file can have this name, or one has it.
          WriteError: if nothing can be written there.
        """
        path = self._dst / record["id"]
        with in_one_sentence(path):
            if path.parent not in self._folders:
                self._open_folder(path.parent)
            # After the record, a file of that name would pass for ours.
            with contextlib.suppress(FileNotFoundError):
                os.lstat(path)
                raise _stranger(path)
            temporary = temporary_beside(path, self._owner)
            stage(temporary, data)
        return Staged(record, temporary)

    def _open_folder(self, folder: pathlib.Path) -> None:
        """Makes a folder of images, unless it leads out of the published folder."""
        inside = self._root / folder.relative_to(self._dst)
        if os.path.realpath(folder) != os.fspath(inside):
            raise DataError(f"{folder} is a link to elsewhere: remove the link")
        make_folder(folder)
        self._folders.add(folder)

    def publish(self, group: Sequence[Staged]) -> list[DataError | None]:
        """Publishes staged images, `GROUP` of them at most, in their order.

        Returns:
          For each, None, or why it was not published.

        Raises:
          WriteError: if the folder cannot be written to any more.
        """
        with writing(self._dst):
            list(self._disk.map(sync_file, [staged.temporary for staged in group]))
        outcomes: list[DataError | None] = []
        while len(outcomes) < len(group):
            outcomes += self._name(group[len(outcomes) :])
        with writing(self._dst):
            for parent in {(self._dst / staged.id).parent for staged in group}:
                sync_folder(parent)
        for staged in group:
            discard(staged.temporary)
        return outcomes

    def _name(self, group: Sequence[Staged]) -> Iterator[DataError | None]:
        """Records images and gives them their names, up to the first that fails."""
        with writing(self._dst):
            starts = self._log.append(*(staged.record for staged in group))
        for staged, start in zip(group, starts, strict=True):
            path = self._dst / staged.id
            try:
                with in_one_sentence(path):
                    claim(staged.temporary, path)
            except WriteError:
                raise
            except DataError as error:
                with writing(self._dst):
                    self._log.cut(start)
                yield _stranger(path) if os.path.lexists(path) else error
                return
            yield None

    def _refuse_others(self) -> None:
        """Raises DataError if what the folder holds was begun in another way."""
        dst = self._dst
        # Looked at in this order: others that begin meanwhile make their part first.
        stranger = self._stranger()
        parts = shards.parts(dst)
        if self._shard is None:
            if parts:
                count = next(iter(parts)).count
                raise DataError(
                    f"{dst} was begun in {count} shards: run all of them to their end "
                    f"and `vim-jax merge {dst}`, or choose a new folder"
                )
            return
        if (dst / manifest.NAME).exists():
            raise DataError(
                f"{dst} was begun without shards, or is merged already: go on without "
                "a shard, or choose a new folder"
            )
        for shard, path in parts.items():
            if shard.count != self._shard.count:
                raise DataError(
                    f"{dst} was begun in {shard.count} shards instead of "
                    f"{self._shard.count}: keep their number, or choose a new folder"
                )
            if path.stat().st_size:
                # Another may be writing its header just now: then it checks ours.
                with contextlib.suppress(manifest.DamagedError):
                    _check_header(dst, manifest.read(path)[0], self._header)
        if not parts:
            self._refuse(stranger)

    def _stranger(self) -> str | None:
        """Returns the name of something in the folder other than the manifest."""
        entries = self._dst.iterdir()
        return next((e.name for e in entries if e != self.manifest), None)

    def _refuse(self, stranger: str | None) -> None:
        """Raises DataError if there is one."""
        if stranger is not None:
            raise DataError(
                f"{self._dst} is not empty (it holds {stranger!r}) and no vim-jax "
                "began it: choose a new folder"
            )

    def _resume(self) -> int:
        """Tidies what an earlier run left; returns the length of manifest to keep."""
        path, first, begun = self.manifest, manifest.as_line(self._header), b""
        if path.exists():
            with open(path, "rb") as file:
                begun = file.read(len(first))
        if len(begun) < len(first) and first.startswith(begun):
            # Nothing there, or killed while writing the header.
            if self._shard is None:
                self._refuse(self._stranger())
            return 0
        found, keep, entries = manifest.read(path)
        _check_header(self._dst, found, self._header)
        remove_leftovers(self._dst, below=True, owner=self._owner)
        lost: list[pathlib.Path] = []
        for record, end in entries:
            file = self._dst / record["id"]
            there = file.is_file()
            if not there:
                lost.append(file)
            # Killed while it gave names, a run leaves the last of a group without.
            if lost and (there or len(lost) > GROUP):
                raise DataError(
                    f"{lost[0]} is in the manifest but gone: put it back, or mix into "
                    "a new folder"
                )
            if there:
                self._check(record)
                self.done.add(record["id"])
                keep = end
        return keep


def _stranger(path: pathlib.Path) -> DataError:
    return DataError(f"{path} exists, but no vim-jax wrote it: move it elsewhere")


def _check_header(
    dst: pathlib.Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    if None not in (found["key"], wanted["key"]) and found["key"] != wanted["key"]:
        raise WrongKeyError(
            f"{dst} was begun with the key {found['key']}, this key is "
            f"{wanted['key']}: use that key, or a new folder"
        )
    if _images(found) != _images(wanted):
        raise DataError(
            f"{dst} was begun with other images in the source: put the source back as "
            "it was, or choose a new folder"
        )
    old, new = ({**h, **h["settings"], "part": None} for h in (found, wanted))
    name = next((k for k in new if k != "settings" and old.get(k) != new[k]), None)
    if name is None:
        return
    if name == "key":
        what = "another choice between --key and --discard-key"
    elif name == "images":
        what = f"{old.get(name)} images in the source instead of {new[name]}"
    else:
        argument = "fmt" if name == "file_format" else name
        what = f"{argument}={old.get(name)!r} instead of {new[name]!r}"
    raise DataError(
        f"{dst} was begun with {what}: repeat the arguments of that run, or choose a "
        "new folder"
    )


def _images(header: Mapping[str, Any]) -> object:
    """Returns what a part's header says of the source."""
    part = header.get("part", {})
    return part.get("images"), part.get("source")


@contextlib.contextmanager
def writing(folder: pathlib.Path) -> Iterator[None]:
    """Turns what the operating system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{folder} cannot be written to ({brief(error)}): choose another folder or "
            "make room, and run this again to go on"
        ) from error
