"""Padded shapes: few of them, so that few programs are compiled for many images."""

import dataclasses
import threading
from collections.abc import Iterable

import numpy as np

_BATCH_PIXELS = 1 << 19

# Compiling takes as long as planning so much padding [measured].
_COMPILED_PIXELS = 300_000_000

# Larger images are worth a program of their own shape: they take longer anyway.
_LARGE_PIXELS = 1 << 22


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A padded shape, for images of one kind.

    Attributes:
      height: in pixels.
      width: in pixels.
      channels: of the images.
      dtype: of the images.
      images: of a full batch.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype
    images: int = 1

    @property
    def pixels(self) -> int:
        """Pixels of a padded image."""
        return self.height * self.width

    def holds(self, other: "Bucket") -> bool:
        """Returns whether the images of another bucket fit into this one."""
        return (
            self.height >= other.height
            and self.width >= other.width
            and self.channels == other.channels
            and self.dtype == other.dtype
        )


class Buckets:
    """Chooses a bucket for each image that comes.

    Every bucket costs time, when its programs are compiled, and memory; and so does
    padding. An image goes into the smallest bucket that there is. There is a new one
    when an image fits into none: a square one, which takes both orientations. And
    there is a new one of the image's own shape when padding has cost as much as it
    will, each time after twice as much: so ten times the images have a few more.
    """

    def __init__(self, opened: Iterable[Bucket] = ()):
        """Begins with some buckets, whose programs are compiled already."""
        self._open = list(opened)
        self._padding = 0
        self._patience = _COMPILED_PIXELS
        self._lock = threading.Lock()

    def of(self, shape: tuple[int, ...], dtype: np.dtype) -> Bucket:
        """Returns the bucket of images of a shape `h w c` or `h w`."""
        own = rectangle(shape, dtype)
        with self._lock:
            fitting = [bucket for bucket in self._open if bucket.holds(own)]
            if not fitting:
                large = own.pixels > _LARGE_PIXELS
                return self._opened(own if large else square(shape, dtype))
            smallest = min(fitting, key=lambda bucket: bucket.pixels)
            self._padding += smallest.pixels - own.pixels
            if self._padding < self._patience:
                return smallest
            self._padding, self._patience = 0, 2 * self._patience
            return self._opened(own)

    @property
    def opened(self) -> list[Bucket]:
        """Those that there are."""
        with self._lock:
            return list(self._open)

    def _opened(self, bucket: Bucket) -> Bucket:
        # Small images need company to be worth a call.
        images = max(1, _BATCH_PIXELS // bucket.pixels)
        self._open.append(dataclasses.replace(bucket, images=images))
        return self._open[-1]


def rectangle(shape: tuple[int, ...], dtype: np.dtype) -> Bucket:
    """Returns a bucket of about the shape `h w c` or `h w` of a single image."""
    return _bucket(shape, dtype, steps=8)


def square(shape: tuple[int, ...], dtype: np.dtype) -> Bucket:
    """Returns a square bucket for a single image of a shape `h w c` or `h w`."""
    bucket = _bucket(shape, dtype, steps=4)
    side = max(bucket.height, bucket.width)
    return dataclasses.replace(bucket, height=side, width=side)


def _bucket(shape: tuple[int, ...], dtype: np.dtype, steps: int) -> Bucket:
    h, w, *c = shape
    return Bucket(_rounded(h, steps), _rounded(w, steps), c[0] if c else 1, dtype)


def _rounded(side: int, steps: int) -> int:
    """Returns a side rounded up to one of so many steps an octave, 2**n of them."""
    step = 1 << max(3, (side - 1).bit_length() - steps.bit_length())
    return -(-side // step) * step
