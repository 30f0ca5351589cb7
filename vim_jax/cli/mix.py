"""`vim-jax mix`: publish a mixed copy of a set of images."""

import os
import pathlib
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.table import Table

from vim_jax.cli import options
from vim_jax.cli.console import complain, count, out, printable, progress, say, warn
from vim_jax.data import manifest
from vim_jax.data.errors import WrongKeyError
from vim_jax.keys import SecretKey

_ENOUGH_BITS = 128


def mix(
    src: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(
            help="A folder of images (class sub-folders become labels), a TFDS name, "
            "or embedded:photographs, embedded:faces, embedded:digits.",
            metavar="SRC",
        ),
    ],
    dst: Annotated[
        tyro.conf.Positional[pathlib.Path],
        tyro.conf.arg(help="The folder to write.", metavar="DST"),
    ],
    /,
    *,
    level: options.Level = None,
    target_vfe: options.TargetVfe = None,
    region_size: options.Size = None,
    key: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(
            help="Key file, made if it is missing. Whoever has it can restore the "
            "images: keep it outside SRC and DST.",
            metavar="FILE",
        ),
    ] = None,
    discard_key: Annotated[
        bool,
        tyro.conf.arg(help="Forget the key at the end: nobody can restore the images."),
    ] = False,
    max_region: options.MaxRegion = None,
    channels: options.ChannelMode = "independent",
    scramble_regions: options.Scramble = False,
    clip: options.Clip = False,
    rename: Annotated[
        bool,
        tyro.conf.arg(help="Publish running numbers instead of file names."),
    ] = False,
    format: Annotated[
        Literal["png", "webp", "tfds"],
        tyro.conf.arg(help="Lossless image files, or one TFDS data set."),
    ] = "png",
    split: Annotated[
        str | None, tyro.conf.arg(help="Split of a TFDS data set.", metavar="NAME")
    ] = None,
    data_dir: options.DataDir = None,
    max_pixels: options.MaxPixels = None,
    workers: options.Workers = None,
) -> int:
    """Publish a mixed copy of a set of images.

    Pixels are read as Pillow decodes them, turned upright by their EXIF orientation,
    and written without loss and without any metadata: no GPS position survives. JPEG
    is not offered, because it would change pixels that then could not be put back.
    Class sub-folders keep their names. The manifest beside the images says what was
    done; what would help an attacker is encrypted in it.

    Killed and started again with the same arguments, it finishes the job. With
    --format tfds, it starts anew.

    Examples:
      vim-jax mix photos published --level 0.6 --key my.key
      vim-jax mix photos published --region-size 8 --scramble-regions --discard-key
      vim-jax mix cifar10 cifar10-mixed --data-dir ~/tensorflow_datasets --split train \
--region-size 4 --key my.key --format tfds
    """
    from vim_jax.data.publish import publish
    from vim_jax.data.sources import open_source

    mixer = options.mixer_from(
        level, target_vfe, region_size, max_region, channels, scramble_regions, clip
    )
    if (key is None) != discard_key:
        raise ValueError(
            "give exactly one of --key FILE (whoever has the file can restore the "
            "images) and --discard-key (nobody can)"
        )
    options.check_at_least_one(max_pixels=max_pixels, workers=workers)
    refuse_nesting(src, dst, key)
    source = open_source(src, split=split, data_dir=data_dir, max_pixels=max_pixels)
    secret = _key_from(key, dst)
    with progress("mixing") as show:
        report = publish(
            source,
            dst,
            mixer,
            secret,
            fmt=format,
            rename=rename,
            workers=workers,
            progress=show,
        )
    _summarise(report, dst)
    if source.skipped:
        say(f"{count(len(source.skipped), 'file')} with another suffix left out.")
    for id, note in report.notes.items():
        say(f"{id}: {note}.")
    for id in report.unchanged:
        warn(f"{id} came out unchanged, since nothing in it moves: it is in clear.")
    bits = [record["bits_per_region"] for record in report.records]
    weak = sum(b["minimum"] < _ENOUGH_BITS for b in bits)
    weaker = sum(b["median"] < _ENOUGH_BITS for b in bits)
    if weak:
        warn(
            f"{weak} of {count(len(bits), 'image')} have shuffled regions with fewer "
            f"than {_ENOUGH_BITS} bits of arrangements (in {weaker}, most have): such "
            "regions can be put back one by one without the key. Larger regions, and "
            "regions with more detail, have more bits."
        )
    if discard_key and report.records:
        say("The key is gone: nobody, you included, can restore these images.")
    elif report.records:
        say(f"Keep {key} safe and secret: it restores these images, for anyone.")
    for sentence in report.failures.values():
        complain(sentence)
    return 1 if report.failures else 0


def _key_from(path: pathlib.Path | None, dst: pathlib.Path) -> SecretKey | None:
    """Returns the key in a file, which is made if it is missing."""
    if path is None:
        return None
    if os.path.lexists(path):
        return SecretKey.load(path)
    begun = _fingerprint(dst)
    if begun is not None:
        raise WrongKeyError(
            f"key file {path} does not exist, and {dst} was begun with the key "
            f"{begun}: give the file of that key, or choose a new folder"
        )
    secret = SecretKey.generate()
    secret.save(path)
    say(f"Made a new key in {path} (fingerprint {secret.fingerprint}).")
    return secret


def _fingerprint(dst: pathlib.Path) -> str | None:
    """Returns the fingerprint of the key that a folder was begun with, if any."""
    try:
        return manifest.read(dst / manifest.NAME)[0]["key"]
    except ValueError:
        return None


def refuse_nesting(
    src: str | pathlib.Path, dst: pathlib.Path, key: pathlib.Path | None
) -> None:
    """Raises ValueError if two of SRC, DST and the key file lie inside each other."""
    # Not `Path.resolve`, which fails on links that lead round in a circle.
    source, target = (pathlib.Path(os.path.realpath(path)) for path in (src, dst))
    if source.is_dir():
        if target == source or source in target.parents:
            raise ValueError(
                f"DST {dst} lies inside SRC {src}: choose a folder outside it"
            )
        if target in source.parents:
            raise ValueError(
                f"SRC {src} lies inside DST {dst}: choose a folder of its own for DST"
            )
    if key is None:
        return
    file = pathlib.Path(os.path.realpath(key))
    for name, folder in (("SRC", source), ("DST", target)):
        if file == folder or folder in file.parents:
            raise ValueError(
                f"key file {key} lies inside {name}, where it could be published with "
                "the images: keep it elsewhere"
            )


def _summarise(report, dst: pathlib.Path) -> None:
    table = Table(title=printable(str(dst)), title_justify="left", show_header=False)
    table.add_row("mixed now", f"{report.mixed}")
    if report.found:
        table.add_row("mixed by an earlier run", f"{report.found}")
    table.add_row("failed", f"{len(report.failures)}")

    def median(name: str) -> float:
        return float(np.median([record[name] for record in report.records]))

    if report.records:
        bits = [record["bits_per_region"] for record in report.records]
        median_bits = np.median([b["median"] for b in bits])
        table.add_row("VFE before, median", f"{median('vfe'):,.1f}")
        table.add_row("VFE expected, median", f"{median('expected_vfe'):,.1f}")
        if "expected_vfe_scrambled" in report.records[0]:
            scrambled = f"{median('expected_vfe_scrambled'):,.1f}"
            table.add_row("VFE expected with regions scrambled", scrambled)
        table.add_row("VFE after, median", f"{median('vfe_after'):,.1f}")
        table.add_row("pixels left in place, median", f"{median('left_in_place'):.0%}")
        table.add_row("bits of a shuffled region, median", f"{median_bits:,.0f}")
        least = min(b["minimum"] for b in bits)
        table.add_row("bits of a shuffled region, least", f"{least:,.0f}")
    out.print(table)
