"""A TFDS data set whose shards are written by many workers at the same time.

Workers write the images that they mix into pieces, files in a hidden folder beside the
final place. When all pieces are there, the images are laid out in shards, which workers
write from the pieces. Only names and numbers travel between them, never pixels.

Workers may be taken for dead and go on, and their work be done again by others. So
every step can be repeated and every file is complete before it gets its name; two
attempts at one file write the same bytes.
"""

import contextlib
import dataclasses
import itertools
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from array_record.python.array_record_module import ArrayRecordReader

from vim_jax.data import manifest
from vim_jax.data.errors import DataError, WriteError
from vim_jax.data.tfds_files import (
    ShardWriter,
    id_line,
    is_full,
    publish_folder,
    shard_path,
    write_description,
)
from vim_jax.data.tfds_source import ids_path
from vim_jax.data.writers import make_folder, sync_file, sync_folder

_SPLIT = "train"
# Not the prefix of the folders that `publish` removes as those of killed runs.
_PREFIX = ".vim-jax-beam-"


class Entry(NamedTuple):
    """A mixed image, ready to be written.

    Attributes:
      id: its name in the published set.
      example: its example, serialized.
      record: its line in the manifest.
    """

    id: str
    example: bytes
    record: bytes


class Place(NamedTuple):
    """Where the entry of an image is.

    Attributes:
      index: the place of the image among all; entries are written in this order.
      mode: its mode; None for an image that failed.
      size: how many bytes its example has.
      piece: the piece that it is in.
      row: its place in the piece.
    """

    index: int
    mode: str | None = None
    size: int = 0
    piece: int = 0
    row: int = 0


class Shard(NamedTuple):
    """A shard that was written: its number, and how many examples and bytes it has."""

    number: int
    examples: int
    size: int


class ShardPlan(NamedTuple):
    """A shard that is to be written: its number, its entries, and their bytes."""

    number: int
    places: list[Place]
    size: int


class Layout(NamedTuple):
    """How the entries of a data set are cut into shards.

    Attributes:
      images: the number of all images, failed ones included.
      mode: the mode of the first entry, and so of the set; None if there is none.
      shards: the shards, in order. Entries of other modes are in none.
    """

    images: int
    mode: str | None
    shards: list[ShardPlan]


def lay_out(places: Iterable[Place]) -> Layout:
    """Cuts entries, given in any order, into shards as `TfdsWriter` does."""
    ordered = sorted(places)
    mode = next((place.mode for place in ordered if place.mode), None)
    shards: list[ShardPlan] = []
    for place in ordered:
        if mode is None or place.mode != mode:
            continue
        if not shards or is_full(len(shards[-1].places), shards[-1].size):
            shards.append(ShardPlan(len(shards), [], 0))
        number, inside, size = shards[-1]
        inside.append(place)
        shards[-1] = ShardPlan(number, inside, size + place.size)
    return Layout(len(ordered), mode, shards)


@dataclasses.dataclass(frozen=True)
class ShardedSet:
    """A data set that is being written, in a hidden folder beside its final place.

    Attributes:
      dst: the folder of the data set, an absolute path.
      token: tells the hidden folder from those of other runs.
    """

    dst: pathlib.Path
    token: str = dataclasses.field(default_factory=lambda: secrets.token_hex(16))

    @property
    def folder(self) -> pathlib.Path:
        """The hidden folder."""
        return self.dst.parent / f"{_PREFIX}{self.token}"

    @property
    def _set(self) -> pathlib.Path:
        """What becomes `dst`."""
        return self.folder / "set"

    def _piece(self, number: int) -> pathlib.Path:
        return self.folder / "pieces" / str(number)

    def _records(self, shard: int) -> pathlib.Path:
        return self.folder / "parts" / f"records-{shard}"

    def _ids(self, shard: int) -> pathlib.Path:
        return self.folder / "parts" / f"ids-{shard}"

    def prepare(self) -> None:
        """Makes the hidden folder.

        Raises:
          DataError: if `dst` exists.
        """
        if os.path.lexists(self.dst) and not self.folder.exists():
            raise DataError(f"{self.dst} exists: choose another path or remove it")
        for name in ("attempts", "pieces", "parts", "set"):
            make_folder(self.folder / name)

    @contextlib.contextmanager
    def piece(self, number: int) -> Iterator[Callable[[Entry], None]]:
        """Yields what adds an entry to a piece, which is complete when the block ends.

        Args:
          number: tells it from other pieces.
        """
        with self._completed(self._piece(number)) as path:
            writer = ShardWriter(path)

            def add(entry: Entry) -> None:
                for part in (entry.id.encode(), entry.example, entry.record):
                    writer.add(part)

            yield add
            writer.close()

    def write_shard(self, plan: ShardPlan) -> Shard:
        """Writes a shard, and its lines of the manifest and of the list of ids."""
        number = plan.number
        with (
            self._completed(shard_path(self._set, _SPLIT, number)) as path,
            self._completed(self._records(number)) as records_path,
            self._completed(self._ids(number)) as listed_path,
            open(records_path, "wb") as records,
            open(listed_path, "wb") as ids,
        ):
            writer = ShardWriter(path)
            for entry in self._read(plan.places):
                writer.add(entry.example)
                records.write(entry.record)
                ids.write(id_line(entry.id).encode())
            writer.close()
        return Shard(number, writer.examples, writer.size)

    def _read(self, places: Iterable[Place]) -> Iterator[Entry]:
        for number, inside in itertools.groupby(places, lambda place: place.piece):
            reader = ArrayRecordReader(os.fspath(self._piece(number)))
            for place in inside:
                first = 3 * place.row
                id, example, record = reader.read([first, first + 1, first + 2])
                yield Entry(id.decode(), example, record)
            reader.close()

    @contextlib.contextmanager
    def _completed(self, path: pathlib.Path) -> Iterator[pathlib.Path]:
        """Yields where to write a file that is to be complete when it has its name."""
        attempt = self.folder / "attempts" / secrets.token_hex(16)
        yield attempt
        sync_file(attempt)
        attempt.replace(path)
        sync_folder(path.parent)

    def finish(
        self,
        layout: Layout,
        written: Iterable[Shard],
        *,
        images: int,
        header: bytes,
        label_names: tuple[str, ...] | None,
    ) -> None:
        """Describes the shards and gives the data set its name, unless it is empty.

        Args:
          layout: how the shards should be.
          written: how they are, in any order.
          images: the number of all images, failed ones included.
          header: the first line of the manifest.
          label_names: the names of the classes; None for a set without labels.

        Raises:
          WriteError: if not all images have arrived.
        """
        shards = sorted(written)
        plans = layout.shards
        planned = [Shard(plan.number, len(plan.places), plan.size) for plan in plans]
        if layout.images != images or planned != shards:
            missing = images - layout.images or (
                sum(shard.examples for shard in planned)
                - sum(shard.examples for shard in shards)
            )
            raise WriteError(
                f"{missing} of {images} images were lost on their way between workers, "
                f"so {self.dst} was not written: run this again"
            )
        if layout.mode is None or (self.dst.exists() and not self._set.exists()):
            return  # There is nothing, or an earlier attempt has done it.
        parts = [self._records(shard.number) for shard in shards]
        _join(self._set / manifest.NAME, header, parts)
        ids = [self._ids(shard.number) for shard in shards]
        _join(ids_path(self._set, _SPLIT), b"", ids)
        write_description(
            self._set,
            {_SPLIT: [(shard.examples, shard.size) for shard in shards]},
            mode=layout.mode,
            label_names=label_names,
        )
        publish_folder(self._set, self.dst)

    def remove(self) -> None:
        """Removes the hidden folder, and with it a data set that is not finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _join(path: pathlib.Path, head: bytes, parts: Iterable[pathlib.Path]) -> None:
    with open(path, "wb") as whole:
        whole.write(head)
        for part in parts:
            with open(part, "rb") as file:
                shutil.copyfileobj(file, whole)
