"""Shards of a job: parts that processes or machines publish without coordination.

Each publishes consecutive images of the list that all of them make for themselves,
and writes a part of the manifest. A part that is complete ends with a line that says
so. Merging joins the parts into the manifest of the whole job, to the byte the one
that a single run writes.
"""

import contextlib
import dataclasses
import fcntl
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vim_jax.data import manifest
from vim_jax.data.errors import DataError, NotYetError, WriteError, brief
from vim_jax.data.writers import (
    claim,
    discard,
    locked,
    remove_leftovers,
    sync_file,
    sync_folder,
    temporary_beside,
)

_END = {"end": True}
_PART = re.compile(r"manifest-(\d+)-of-(\d+)\.jsonl")
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, counted from 1."""

    number: int
    count: int

    def __post_init__(self):
        if not 1 <= self.number <= self.count:
            raise DataError(
                f"shard is {self.number}/{self.count}: count the shards from 1, as in "
                "1/4, 2/4, 3/4 and 4/4"
            )

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Returns the shard that a text such as "2/4" stands for."""
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if match is None:
            raise DataError(f"shard is {text!r}: write it as number/count, as in 2/4")
        return cls(int(match[1]), int(match[2]))

    @property
    def manifest_name(self) -> str:
        """The name of its part of the manifest."""
        return f"manifest-{self.number}-of-{self.count}.jsonl"

    @property
    def owner(self) -> str:
        """What its hidden files are called, that no other shard's are."""
        return f"{self.number}-of-{self.count}-"

    def indices(self, images: int) -> range:
        """Returns which of all images are its own."""
        return range(
            (self.number - 1) * images // self.count, self.number * images // self.count
        )

    def header(
        self, whole: Mapping[str, Any], images: int, source: str
    ) -> dict[str, Any]:
        """Returns the first line of its part.

        Args:
          whole: the header of the whole job.
          images: number of images of the source.
          source: what only equal lists of images have in common.
        """
        part = {**dataclasses.asdict(self), "images": images, "source": source}
        return {**whole, "part": part}


def parts(folder: pathlib.Path) -> dict[Shard, pathlib.Path]:
    """Returns the parts of a manifest that lie in a folder, in order."""
    found = {}
    for path in folder.glob("manifest-*-of-*.jsonl"):
        match = _PART.fullmatch(path.name)
        if match is not None and 1 <= int(match[1]) <= int(match[2]):
            found[Shard(int(match[1]), int(match[2]))] = path
    return dict(sorted(found.items(), key=lambda item: item[0].number))


@contextlib.contextmanager
def open_part(path: pathlib.Path) -> Iterator[None]:
    """Holds the lock on a part, which is made if need be, and takes its end off.

    Raises:
      NotYetError: if another process holds the lock.
    """
    with open(path, "a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotYetError(
                f"{path} is being written to by another vim-jax: wait for it to end"
            ) from None
        file.truncate(_end(path))
        yield


def complete(log: manifest.ManifestWriter) -> None:
    """Says at the end of a part that nothing is missing."""
    log.append(_END)


def _is_complete(path: pathlib.Path) -> bool:
    return _end(path) < path.stat().st_size


def _end(path: pathlib.Path) -> int:
    """Returns where the records of a part end."""
    line, size = manifest.as_line(_END), path.stat().st_size
    with open(path, "rb") as file:
        file.seek(max(0, size - len(line)))
        return size - len(line) if file.read() == line else size


class Merged(NamedTuple):
    """What `merge` joined.

    Attributes:
      mixed: number of images that are there.
      images: number of images of the source. More if some failed.
    """

    mixed: int
    images: int


def merge(folder: str | os.PathLike[str]) -> Merged:
    """Joins the parts of a manifest, when every shard of a job is done.

    Args:
      folder: what the shards wrote, in one folder.

    Returns:
      How many images there are, and how many there should be.

    Guarantees:
      The manifest appears when it is complete, and the parts are removed after that:
      killed at any moment and run again, the result is the same. It is, to the byte,
      the manifest of a single run over all images.

    Raises:
      WriteError: if the folder cannot be written to.
      NotYetError: if some parts are missing or not finished, or are being written.
      DataError: if there are no parts, or they do not belong together. Either way
        nothing is changed.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder: give the one that the shards wrote")
    whole = folder / manifest.NAME
    with locked(folder):
        found = parts(folder)
        if not found:
            there = "is merged already" if whole.exists() else "was not mixed in shards"
            raise DataError(f"{folder} {there}: there is nothing to merge")
        head = _check(folder, found, removing=whole.exists())
        for part in found.values():
            _check_records(folder, part)
        any_part = next(iter(found.values()))
        images = manifest.read(any_part)[0]["part"]["images"]
        remove_leftovers(folder)
        temporary = temporary_beside(whole)
        try:
            _join(head, found.values(), temporary)
            if not whole.exists():
                claim(temporary, whole)
                sync_folder(folder)
            elif not _begins_with(whole, temporary):
                raise DataError(
                    f"{whole} is not what the parts beside it make: remove what does "
                    "not belong there"
                )
            discard(temporary)
            with open(whole, "rb") as lines:
                mixed = sum(1 for _ in lines) - 1  # Without the header.
            # The last first: killed meanwhile, those left are the manifest's beginning.
            for path in reversed(found.values()):
                path.unlink()
            sync_folder(folder)
        except OSError as error:
            raise WriteError(
                f"{folder} cannot be written to ({brief(error)}): make room, and merge "
                "again"
            ) from error
        finally:
            discard(temporary)
    return Merged(mixed, images)


def _check(
    folder: pathlib.Path, found: Mapping[Shard, pathlib.Path], removing: bool
) -> dict[str, Any]:
    """Returns the header of the whole job, if the parts are those of one job.

    Args:
      folder: where they lie.
      found: the parts.
      removing: whether the last ones may be missing, because they are merged.
    """
    first = next(iter(found))
    wanted = [Shard(i, first.count) for i in range(1, first.count + 1)]
    missing = [
        f"{shard.number}/{shard.count}"
        for shard in wanted[: len(found) if removing else None]
        if shard not in found or not _is_complete(found[shard])
    ]
    if missing:
        raise NotYetError(
            f"{folder} lacks the complete parts of the shards {', '.join(missing)}: "
            "run those to their end, and merge again"
        )
    heads = [manifest.read(path)[0] for path in found.values()]
    for shard, head in zip(found, heads, strict=True):
        part = heads[0].get("part") or {}
        if head != {**heads[0], "part": {**part, **dataclasses.asdict(shard)}}:
            raise DataError(
                f"{found[shard]} and {found[first]} are parts of different jobs: keep "
                "those of one job"
            )
    return {name: value for name, value in heads[0].items() if name != "part"}


def _check_records(folder: pathlib.Path, path: pathlib.Path) -> None:
    """Raises DataError if an image of a part is not there."""
    _, position, entries = manifest.read(path)
    end = _end(path)
    while position < end:
        record, position = next(entries)
        if not (folder / record["id"]).is_file():
            raise DataError(
                f"{folder / record['id']} is in {path.name} but gone: put it back"
            )


def _join(
    head: Mapping[str, Any], found: Iterable[pathlib.Path], path: pathlib.Path
) -> None:
    """Writes a manifest of a header and the records of the parts, and syncs it."""
    with open(path, "xb") as whole:
        whole.write(manifest.as_line(head))
        for part in found:
            with open(part, "rb") as file:
                file.readline()  # Its header.
                left = _end(part) - file.tell()
                while block := file.read(min(left, _BLOCK)):
                    whole.write(block)
                    left -= len(block)
    sync_file(path)


def _begins_with(path: pathlib.Path, beginning: pathlib.Path) -> bool:
    with open(path, "rb") as file, open(beginning, "rb") as wanted:
        while block := wanted.read(_BLOCK):
            if file.read(len(block)) != block:
                return False
    return True
