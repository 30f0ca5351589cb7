"""Images of experiments: whether they are there, and how many of them are taken."""

import functools
from collections.abc import Iterable

from vim_jax.data.arrays import LabelledImages, native_sides, train_test_arrays
from vim_jax.data.errors import DataError
from vim_jax.data.sources import splits_of


def check(names: Iterable[str], data_dir: str | None) -> None:
    """Ends the experiment, with a sentence, unless all its data sets are there.

    Args:
      names: of the data sets.
      data_dir: where the TFDS data sets lie.

    Raises:
      SystemExit: if one is not.
    """
    for name in dict.fromkeys(names):
        try:
            splits_of(name, data_dir=data_dir)
        except DataError as error:
            raise SystemExit(str(error)) from None


@functools.lru_cache(maxsize=1)
def images_of(
    name: str,
    *,
    images: int,
    test_images: int = 1,
    validation_images: int = 0,
    side: int | None = None,
    data_dir: str | None = None,
) -> dict[str, LabelledImages]:
    """Returns images by part: "train", "test", and "validation" if there are some.

    Args:
      name: of the data set.
      images: how many training images, at most.
      test_images: how many test images, at most.
      validation_images: how many training images, after those.
      side: images are cropped and resized to so many pixels; None leaves them as they
        are.
      data_dir: where the TFDS data sets lie.
    """
    limit = max(images + validation_images, test_images)
    data = train_test_arrays(name, data_dir=data_dir, limit=limit, side=side)
    parts = {
        "train": (data.train, slice(images)),
        "test": (data.test, slice(test_images)),
    }
    if validation_images:
        held_back = slice(images, images + validation_images)
        parts["validation"] = (data.train, held_back)
    return {
        part: LabelledImages(source.images[rows], source.labels[rows])
        for part, (source, rows) in parts.items()
    }


@functools.cache
def native_side(name: str, data_dir: str | None) -> int | None:
    """Returns the side of the squares in images' middles, or None if they differ."""
    sides = native_sides(name, data_dir=data_dir)
    return sides.pop() if len(sides) == 1 else None
