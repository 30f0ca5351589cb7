"""What a source of images is, and what it yields."""

import dataclasses
import operator
from collections.abc import Callable, Sequence
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """One image as stored, before anything is done to it.

    Attributes:
      id: the image's name, unique within its source and the same at every reading.
      image: uint8 or uint16, `(h, w)` for the modes "L" and "I;16", `(h, w, c)` for
        "LA" (c = 2), "RGB" (3) and "RGBA" (4). Full integer range.
      label: index into the source's `label_names`, or None.
      mode: Pillow's name of the pixel format, one of those above.
      suffix: the suffix of the file that the image came from, such as ".jpg"; None
        where there was no file.
      note: what decoding changed, as a short phrase; None where nothing was changed.
    """

    id: str
    image: np.ndarray
    label: int | None
    mode: str
    suffix: str | None
    note: str | None


@runtime_checkable
class Source(Protocol):
    """A sequence of images with random access; decoding happens on access.

    Threads may share a source, and `grain.MapDataset.source` takes one as it is.
    """

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all images in order, known without decoding any."""
        ...

    @property
    def label_names(self) -> tuple[str, ...] | None:
        """The names of the classes, or None where there are no labels."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: SupportsIndex) -> Example: ...


@dataclasses.dataclass(frozen=True, eq=False)
class LazySource:
    """A `Source` made of a list of ids and a function that reads the i-th image.

    Attributes:
      ids: the ids of all images, in order.
      read: called with an index in `[0, len(ids))`; must be safe to call from several
        threads. A module-level function or a `functools.partial` of one keeps the
        source picklable for worker processes.
      label_names: the names of the classes, or None.
      skipped: names that were seen and left out, such as files that are no images.
    """

    ids: Sequence[str]
    read: Callable[[int], Example]
    label_names: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.ids)

    def __getitem__(self, index: SupportsIndex) -> Example:
        """Reads one image; negative indices count from the end.

        Raises:
          IndexError: if there is no such index, as the sequence protocol asks.
          DataError: if the image cannot be read.
        """
        i = operator.index(index)
        if not -len(self) <= i < len(self):
            raise IndexError(f"index {i} is out of range for {len(self)} images")
        return self.read(i % len(self))
