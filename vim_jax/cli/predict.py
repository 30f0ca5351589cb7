"""`vim-jax predict`: what a trained network says of images."""

import csv
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from vim_jax._types import Channels
from vim_jax.cli import options, published, trained_on
from vim_jax.cli.console import complain, err, progress, warn
from vim_jax.cli.folders import warn_of_unread
from vim_jax.mixer import VisualMixer

if TYPE_CHECKING:
    from vim_jax.data.example import Example, LazySource

_BATCH = 256
_MOST_COMPLAINTS = 5


def predict(
    *,
    run: Annotated[
        pathlib.Path,
        tyro.conf.arg(help="Folder of a training that is finished.", metavar="DIR"),
    ],
    data: Annotated[
        str,
        tyro.conf.arg(
            help="A folder of images, a TFDS name, embedded:digits or embedded:faces."
        ),
    ],
    split: Annotated[
        str | None,
        tyro.conf.arg(help="Split of a TFDS data set.", metavar="NAME"),
    ] = None,
    side: Annotated[
        int | None,
        tyro.conf.arg(
            help="Crop images to the square in their middle, and resize it to N x N "
            "pixels: as in the training, and only images that are not mixed.",
            metavar="N",
        ),
    ] = None,
    remixes: Annotated[
        int,
        tyro.conf.arg(
            help="Take the mean over N further shuffles of each mixed image, in the "
            "regions of the training images, or of --region-size.",
            metavar="N",
        ),
    ] = 0,
    region_size: options.Size = None,
    channels: options.ChannelMode = "independent",
    scramble_regions: options.Scramble = False,
    data_dir: options.DataDir = None,
    max_pixels: options.MaxPixels = None,
) -> int:
    """Classify images by a network that `vim-jax train` trained.

    Prints a line of comma-separated values an image: its name, its most likely class,
    the network's probability of that, and the class it is labelled with, if it is. Give
    images as the network was trained on: mixed ones mixed by the same settings, by
    whatever key.

    Examples:
      vim-jax predict --run runs/photos-resnet8 --data new_photos > classes.csv
      vim-jax predict --run runs/cifar --data cifar10 --split test --remixes 8 \
--region-size 4
    """
    import jax

    from vim_jax import training
    from vim_jax.data import open_source
    from vim_jax.training import records

    options.check_at_least_one(max_pixels=max_pixels)
    mixer = _mixer(remixes, region_size, channels, scramble_regions)
    model: Any = training.load_model(run)
    result = records.read_result(run)
    known, told = result.get("label_names") or [], result.get("trained_on") or {}
    if remixes:
        mixer = trained_on.mixer_of(told, mixer)
    # A model has two classes at least, and a run may not know the names of its own.
    names = [*known, *map(str, range(len(known), model.config.num_classes))]
    _check_images(data, side, model.config, mixer)
    for sentence in trained_on.warnings(told, data, split):
        warn(sentence)
    source = open_source(data, split=split, data_dir=data_dir, max_pixels=max_pixels)
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(["image", "class", "probability", "label"])
    right = labelled = unknown = start = 0
    failures: list[str] = []
    with progress("classifying") as show:
        for examples, images in _batches(source, model.config, side, failures, show):
            logits = training.predict(
                model,
                images,
                remixed=mixer,
                times=max(remixes, 1),
                key=jax.random.fold_in(jax.random.key(0), start),
                batch_size=min(_BATCH, len(source)),
            )
            for example, row in zip(examples, logits, strict=True):
                label = _label(example, source.label_names)
                best = int(row.argmax())
                chance = 1 / np.exp(row - row[best]).sum()
                lines.writerow([example.id, names[best], f"{chance:.4f}", label])
                if label in known:
                    labelled += 1
                    right += label == names[best]
                elif label is not None:
                    unknown += 1
            start += len(examples)
    if labelled:
        err.print(f"{right / labelled:.1%} of {labelled:,} labelled images are right.")
    if unknown:
        err.print(f"{unknown:,} images have labels that the run does not name.")
    warn_of_unread(source.skipped)
    for sentence in failures[:_MOST_COMPLAINTS]:
        complain(sentence)
    if len(failures) > _MOST_COMPLAINTS:
        complain(f"so it is with {len(failures) - _MOST_COMPLAINTS:,} more images")
    return 1 if failures else 0


def _mixer(
    remixes: int,
    region_size: options.RegionSize | None,
    channels: Channels,
    scramble_regions: bool,
) -> VisualMixer | None:
    """Returns how to shuffle again, or None if no option says it.

    Raises:
      ValueError: on options that contradict each other.
    """
    if remixes < 0:
        raise ValueError(f"--remixes {remixes} makes no sense: use 0 or more")
    if not remixes:
        if region_size is not None or channels != "independent" or scramble_regions:
            raise ValueError(
                "--region-size, --channels and --scramble-regions say how to shuffle "
                "again: give --remixes, too, or leave them out"
            )
        return None
    if region_size is None:
        if channels != "independent" or scramble_regions:
            raise ValueError(
                "--channels and --scramble-regions say how regions are shuffled, but "
                "not which: give --region-size, too, or leave them out"
            )
        return None
    return options.mixer_from(
        None, None, region_size, None, channels, scramble_regions, False
    )


def _check_images(
    data: str, side: int | None, config: Any, mixer: VisualMixer | None
) -> None:
    """Raises ValueError on options that suit neither the images nor the network."""
    if side is not None and (side, side) != config.image_size:
        height, width = config.image_size
        remedy = f"give --side {width}" if height == width else "leave it out"
        raise ValueError(
            f"--side {side}: the network takes images of {width} x {height} pixels, so "
            f"{remedy}"
        )
    settings = published.settings_of(data)
    if settings is not None:
        published.check_side(data, side)
    published.check_regions(data, settings, mixer)


def _batches(
    source: "LazySource",
    config: Any,
    side: int | None,
    failures: list[str],
    show: Callable[[int, int], None],
) -> "Iterator[tuple[list[Example], np.ndarray]]":
    """Yields images as the network takes them, and adds what failed to `failures`."""
    from vim_jax.data import DataError

    show(0, len(source))
    for start in range(0, len(source), _BATCH):
        examples, images = [], []
        stop = min(start + _BATCH, len(source))
        for index in range(start, stop):
            try:
                example = source[index]
                images.append(_fitting(example, config, side))
                examples.append(example)
            except DataError as error:
                failures.append(str(error))
        if images:
            yield examples, np.stack(images)
        show(stop, len(source))


def _fitting(example: "Example", config: Any, side: int | None) -> np.ndarray:
    """Returns an image as the network takes it, uint8 `h w c`.

    Raises:
      DataError: if it is of another shape.
    """
    from vim_jax.data import DataError
    from vim_jax.data.arrays import middle_square

    image = example.image if side is None else middle_square(example.image, side)
    image = image.reshape(*image.shape[:2], -1)
    expected = (*config.image_size, config.channels)
    if image.shape == expected and image.dtype == np.uint8:
        return image
    height, width = config.image_size
    remedy = ""
    if image.shape[2:] != expected[2:] or image.dtype != np.uint8:
        remedy = ", of as many colours and bits"
    elif height == width and side is None:
        remedy = f", or give --side {width}"
    raise DataError(
        f"image {example.id!r} has shape {image.shape} and type {image.dtype}, but the "
        f"network takes {expected} and uint8: give images as it was trained on{remedy}"
    )


def _label(example: "Example", names: Sequence[str] | None) -> str | None:
    """Returns the name of an image's class, or None."""
    if example.label is None:
        return None
    return str(example.label) if names is None else names[example.label]
