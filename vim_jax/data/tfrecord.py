"""Random access to TFRecord files without TensorFlow.

TFDS reads its own default format through TensorFlow only. A TFRecord file is a row of
records, each 8 bytes of length, 4 of checksum, the content and 4 of checksum again.
"""

import bisect
import dataclasses
import functools
import itertools
import mmap
import os
import struct

import numpy as np

from vim_jax.data.errors import DataError, brief

_HEADER = 12
_FOOTER = 4
_OVERHEAD = _HEADER + _FOOTER


@dataclasses.dataclass(frozen=True)
class Shard:
    """A run of records of one file: `take` records from number `skip` on."""

    path: str
    skip: int
    take: int


@dataclasses.dataclass(frozen=True)
class TfRecords:
    """The records of several files as one sequence of bytes objects."""

    shards: tuple[Shard, ...]

    @functools.cached_property
    def _ends(self) -> list[int]:
        return list(itertools.accumulate(shard.take for shard in self.shards))

    def __len__(self) -> int:
        """Returns the number of records."""
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> bytes:
        """Reads one record.

        Raises:
          IndexError: if there is no such record.
          DataError: if the file is missing or cut short.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} records")
        number = bisect.bisect_right(self._ends, index)
        shard = self.shards[number]
        record = index - self._ends[number] + shard.take + shard.skip
        try:
            offsets = _offsets(shard.path, os.stat(shard.path).st_mtime_ns)
            if record + 1 >= len(offsets):
                raise DataError(
                    f"{shard.path} has no record {record}: prepare the data set again"
                )
            with open(shard.path, "rb") as file:
                file.seek(offsets[record] + _HEADER)
                return file.read(offsets[record + 1] - offsets[record] - _OVERHEAD)
        except OSError as error:
            raise DataError(
                f"{shard.path} cannot be read ({brief(error)}): check the data set"
            ) from error


@functools.cache
def _offsets(path: str, changed: int) -> np.ndarray:
    """Returns int64 `n + 1`: where each of a file's n records begins, and the end.

    Args:
      path: the file.
      changed: its modification time, so that a file that was written anew is indexed
        anew.
    """
    del changed
    starts = [0]
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return np.zeros(1, np.int64)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            while starts[-1] + _OVERHEAD <= size:
                (length,) = struct.unpack_from("<Q", content, starts[-1])
                starts.append(starts[-1] + _OVERHEAD + length)
    if starts[-1] != size:
        raise DataError(f"{path} is cut short: prepare the data set again")
    return np.array(starts, np.int64)
