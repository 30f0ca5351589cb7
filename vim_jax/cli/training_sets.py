"""Which images `vim-jax train` trains and tests on, and how they are mixed."""

import os
import pathlib
from typing import TYPE_CHECKING, Literal

from vim_jax.cli import published
from vim_jax.cli.console import progress
from vim_jax.cli.folders import lies_in
from vim_jax.mixer import VisualMixer

if TYPE_CHECKING:
    from vim_jax.data.arrays import TrainTest
    from vim_jax.training.image_sets import ImageSet

_MOST_NAMES = 10  # Of classes, shown.


def mixed_sets(
    data: str,
    test_data: str | None,
    mixed_already: bool,
    side: int | None,
    mixer: VisualMixer | None,
) -> tuple[bool, bool]:
    """Returns whether the training and the test images are mixed already.

    Raises:
      ValueError: if they are, and are not to be treated so.
    """
    settings = {name: published.settings_of(name) for name in (data, test_data) if name}
    train_mixed = mixed_already or settings[data] is not None
    test_mixed = train_mixed
    if test_data is not None:
        all_said_to_be = mixed_already and settings[data] is None
        test_mixed = all_said_to_be or settings[test_data] is not None
    mixed = {data: train_mixed, test_data or data: test_mixed}
    for name in (name for name, is_mixed in mixed.items() if is_mixed):
        published.check_side(name, side)
        published.check_regions(name, settings[name], mixer)
    return train_mixed, test_mixed


def check_out(out: pathlib.Path, data: str) -> None:
    """Raises ValueError if a run's folder is one of images, or lies inside it."""
    if os.path.isdir(data) and lies_in(out, data):
        raise ValueError(
            f"--out {out} lies inside {data}, among the images: put it elsewhere"
        )


def prepared(
    sets: "TrainTest",
    mixer: VisualMixer | None,
    seed: int,
    *,
    train_mixed: bool,
    test_mixed: bool,
) -> "tuple[ImageSet, dict[str, ImageSet]]":
    """Returns the training set and the test sets, mixed as they are to be.

    Args:
      sets: the images as they were read.
      mixer: how to mix, or None.
      seed: of the key that they are mixed by.
      train_mixed: whether the training images stay as they are.
      test_mixed: whether the test images are mixed already.
    """
    import jax

    from vim_jax.data import mix_array
    from vim_jax.training import thumbnails

    if mixer is None:
        return sets.train, {"mixed" if test_mixed else "plain": sets.test}
    key = jax.random.key(seed)

    def mix(number, images):
        with progress("mixing") as show:
            return mix_array(
                mixer, jax.random.fold_in(key, number), images, progress=show
            )

    train_set, (images, labels) = sets.train, sets.test
    if not train_mixed:
        train_set = mix(0, train_set.images), train_set.labels
    mixed = images if test_mixed else mix(1, images)
    means = thumbnails(mixer, images, mixed)
    test_sets = {"mixed": (mixed, labels), "thumbnail": (means, labels)}
    if not test_mixed:
        test_sets = {"plain": sets.test, **test_sets}
    return train_set, test_sets


def regions_of(
    data: str, mixer: VisualMixer | None, fresh: bool
) -> int | Literal["entire", "planned"] | None:
    """Returns the region size of training images as augmentation gets them.

    Args:
      data: the images; their manifest tells, if they have one and no mixer does.
      mixer: how they are mixed, or None.
      fresh: whether that comes after augmentation.

    Returns:
      A region size, "planned" for regions of many sizes, or None for plain images.
    """
    if fresh:
        return None
    if mixer is not None:
        return mixer.region_size or "planned"
    settings = published.settings_of(data)
    return None if settings is None else settings["region_size"] or "planned"


def enlarged(side: int, native: int, mixer: VisualMixer) -> str:
    """Returns what mixing is worth on images that were enlarged before it.

    Args:
      side: of the enlarged images, in pixels.
      native: of the smallest images before.
      mixer: how they are mixed.
    """
    factor, size = side / native, mixer.region_size
    if isinstance(size, int):
        regions = f"regions of {size} pixels are {size / factor:.1f} wide"
    else:
        regions = f"regions are {factor:.1f} times as narrow"
    return (
        f"--side {side} enlarges images, some of {native} pixels, before they are "
        f"mixed: {regions} in the originals, and hide no more than such regions would"
    )


def crop_multiple(crop: int, regions: int | str | None) -> int:
    """Returns of how many pixels shifts are multiples, so that they cut up no region.

    Args:
      crop: the largest shift, in pixels.
      regions: as `regions_of` returns them.

    Raises:
      ValueError: if shifts of this size do cut them up.
    """
    if crop and regions == "entire":
        raise ValueError(
            f"--crop {crop} would cut up the one region, which is the whole image: "
            "leave it out, or give --crop-multiple 1 to cut it up"
        )
    multiple = regions if isinstance(regions, int) else 1
    if crop % multiple:
        raise ValueError(
            f"--crop {crop} would cut up regions of {regions} pixels: use a "
            f"multiple of {regions}, or --crop-multiple 1 to cut them up"
        )
    return multiple


def check_moves(size: int, shape: tuple[int, ...], *, flip: bool, crop: bool) -> None:
    """Raises ValueError if moved images would have other regions.

    Args:
      size: of regions, in pixels.
      shape: height and width of the images, and what comes after.
      flip: whether they are mirrored.
      crop: whether they are shifted.
    """
    height, width = shape[:2]
    moved = [("--flip", width)] * flip + [("--crop", width), ("--crop", height)] * crop
    for option, side in moved:
        if size < side and side % size:
            raise ValueError(
                f"{option} moves regions of {size} pixels, which do not divide a side "
                f"of {side}: leave it out, or choose another --region-size"
            )


def summary(sets: "TrainTest") -> str:
    """Returns how many images there are, and of which classes."""
    names = list(sets.label_names)
    if len(names) > _MOST_NAMES:
        names[_MOST_NAMES:] = ["..."]
    return (
        f"{len(sets.train.labels):,} training and {len(sets.test.labels):,} test "
        f"images of {len(sets.label_names)} classes: {', '.join(names)}"
    )
