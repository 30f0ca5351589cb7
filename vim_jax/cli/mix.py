"""`vim-jax mix`: publish a mixed copy of a set of images."""

import array
import math
import os
import pathlib
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import tyro
from rich.table import Table

from vim_jax.cli import options
from vim_jax.cli.console import (
    complain,
    count,
    out,
    printable,
    progress,
    say,
    warn,
)
from vim_jax.cli.folders import refuse_nesting, tell_left_out
from vim_jax.data import manifest
from vim_jax.data.errors import WrongKeyError
from vim_jax.keys import SecretKey

if TYPE_CHECKING:  # Imported on demand: help should not wait for JAX.
    from vim_jax.data.publish import Report

_ENOUGH_BITS = 128
_LARGE_THUMBNAIL = 16  # Pixels a side.


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
    beam_options: Annotated[
        tyro.conf.Positional[tuple[str, ...]],
        tyro.conf.arg(
            help="Options of Apache Beam, for --runner beam.", metavar="-- BEAM_OPTION"
        ),
    ] = (),
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
    key_variable: Annotated[
        str | None,
        tyro.conf.arg(
            help="With --runner beam: environment variable of the workers that holds "
            "the text of the key file, where they cannot see the file.",
            metavar="NAME",
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
    shard: Annotated[
        str | None,
        tyro.conf.arg(
            help="Mix only this part of the images, as in 2/4: processes or machines "
            "share a job. The key file must exist. `vim-jax merge DST` ends the job.",
            metavar="I/N",
        ),
    ] = None,
    max_pixels: options.MaxPixels = None,
    workers: options.Workers = None,
    runner: Annotated[
        Literal["local", "beam"],
        tyro.conf.arg(
            help="Where to mix: here, or on the machines of an Apache Beam runner."
        ),
    ] = "local",
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
      vim-jax mix photos published --level 0.6 --key my.key --shard 2/4
      vim-jax mix cifar10 cifar10-mixed --data-dir ~/tensorflow_datasets --split train \
--region-size 4 --key my.key --format tfds
      vim-jax mix photos published --level 0.6 --key my.key --format tfds \
--runner beam -- --runner=FlinkRunner --flink_master=host:8081
    """
    from vim_jax.data.publish import publish
    from vim_jax.data.shards import Shard
    from vim_jax.data.sources import open_source

    mixer = options.mixer_from(
        level, target_vfe, region_size, max_region, channels, scramble_regions, clip
    )
    if [key is not None, key_variable is not None, discard_key].count(True) != 1:
        raise ValueError(
            "give exactly one of --key FILE (whoever has the file can restore the "
            "images) and --discard-key (nobody can)"
        )
    options.check_at_least_one(max_pixels=max_pixels, workers=workers)
    part = None if shard is None else Shard.parse(shard)
    _check_shard(shard, key, format)
    _check_runner(runner, beam_options, key_variable, format, workers)
    refuse_nesting(src, dst, key)
    source = open_source(src, split=split, data_dir=data_dir, max_pixels=max_pixels)
    secret = _key_from(key, dst)
    if runner == "beam":
        from vim_jax.data.beam import KeyReference, MixImages, run_beam

        reference = None if discard_key else KeyReference(key, key_variable)
        work = MixImages(
            src,
            dst,
            mixer,
            reference,
            split=split,
            data_dir=data_dir,
            max_pixels=max_pixels,
            rename=rename,
        )
        report = run_beam(work, beam_options)
    else:
        with progress("mixing") as show:
            report = publish(
                source,
                dst,
                mixer,
                secret,
                fmt=format,
                rename=rename,
                shard=part,
                workers=workers,
                in_processes=True,
                progress=show,
            )
    numbers = _numbers(report)
    _summarise(report, numbers, dst)
    tell_left_out(source.skipped)
    for id, note in report.notes.items():
        say(f"{id}: {note}.")
    for id in report.unchanged:
        warn(
            f"{id} came out unchanged, since nothing in it moves: it is published as "
            "it is, for anyone to see."
        )
    weak, mostly, weakest = _weak(report)
    if weak:
        warn(
            f"{weak} of {count(report.published, 'image')} have regions that can be "
            f"put back one by one without the key, of fewer than {_ENOUGH_BITS} bits "
            f"of arrangements; in {mostly}, most regions are such; the weakest is in "
            f"{weakest}. Larger regions, and regions with more detail, have more bits."
        )
    seen = int((numbers["regions"] > _LARGE_THUMBNAIL**2).sum())
    if seen and not scramble_regions:
        side, most = _LARGE_THUMBNAIL, max(report.records, key=_regions)
        warn(
            f"anyone can see {seen} of {count(report.published, 'image')} as a picture "
            f"of more than {side}x{side} pixels, by taking the mean of every region: "
            f"{most['id']} best, as one of {most['regions']:,} pixels. Larger regions, "
            "or --scramble-regions, hide more."
        )
    if discard_key and report.published:
        say("The key is gone: nobody has it, you included.")
    elif report.published:
        place = key or key_variable
        say(f"Keep {place} safe and secret: it restores these images, for anyone.")
    if shard is not None:
        say(f"Shard {shard} is done. After the last one: vim-jax merge {dst}")
    elif report.published:
        words = ["vim-jax", "audit", str(dst), "--originals", src]
        words += ["--split", split] if split is not None else []
        words += ["--data-dir", data_dir] if data_dir is not None else []
        say(f"To see what an attacker sees: {shlex.join(words)}")
    for sentence in report.failures.values():
        complain(sentence)
    return 1 if report.failures else 0


def _weak(report: "Report") -> tuple[int, int, str]:
    """Returns how many images have regions of few bits, mostly such, and the weakest.

    Images in which nothing moved are not counted.
    """
    weak = mostly = 0
    least, weakest = math.inf, ""
    for record in report.records:
        bits = record["bits_per_region"]
        if "unchanged" in record or bits["minimum"] >= _ENOUGH_BITS:
            continue
        weak += 1
        mostly += bits["median"] < _ENOUGH_BITS
        if bits["minimum"] < least:
            least, weakest = bits["minimum"], record["id"]
    return weak, mostly, weakest


def _regions(record: dict[str, Any]) -> int:
    return record["regions"]


def _check_shard(shard: str | None, key: pathlib.Path | None, format: str) -> None:
    """Raises ValueError if the other options do not go with a shard."""
    if shard is None:
        return
    if key is None:
        raise ValueError(
            "--discard-key does not go with --shard, because each shard would draw a "
            "key of its own, and nor does --key-variable: give all of them one --key "
            "FILE"
        )
    if not os.path.lexists(key):
        raise ValueError(
            f"key file {key} does not exist, and the shards need one in common: make "
            f"it once, by `{shlex.join(['vim-jax', 'key', str(key)])}`"
        )
    if format == "tfds":
        raise ValueError(
            "--format tfds does not go with --shard: choose png or webp, or write the "
            "data set on several machines with --runner beam"
        )


def _check_runner(
    runner: str,
    beam_options: tuple[str, ...],
    key_variable: str | None,
    format: str,
    workers: int | None,
) -> None:
    """Raises ValueError if the other options do not go with the runner."""
    if runner == "local":
        if beam_options or key_variable is not None:
            what = beam_options[0] if beam_options else "--key-variable"
            raise ValueError(f"{what} is only for --runner beam: leave it out")
    elif format != "tfds":
        raise ValueError("--runner beam writes TFDS data sets: add --format tfds")
    elif workers is not None:
        raise ValueError(
            "--workers does not go with --runner beam, whose runner has an option of "
            "its own: give that after --"
        )


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
    there = sorted(x.name for x in dst.glob("[!.]*")) if dst.is_dir() else []
    if there:
        raise ValueError(
            f"{dst} is not empty (it holds {there[0]!r}), and key file {path} does not "
            "exist: choose a new folder, or what it was begun with, the file of its "
            "key or --discard-key"
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


def _numbers(report: "Report") -> dict[str, np.ndarray]:
    """Returns the numbers in the records of all images, those of the bits, too."""
    columns: dict[str, array.array[float]] = {}
    for record in report.records:
        for name, value in {**record, **record["bits_per_region"]}.items():
            if isinstance(value, float | int) and not isinstance(value, bool):
                columns.setdefault(name, array.array("d")).append(value)
    names = (*columns, "minimum", "median", "regions")
    return {name: np.array(columns.get(name, ())) for name in names}


def _summarise(
    report: "Report", numbers: dict[str, np.ndarray], dst: pathlib.Path
) -> None:
    table = Table(title=printable(str(dst)), title_justify="left", show_header=False)
    table.add_row("mixed now", f"{report.mixed}")
    if report.found:
        table.add_row("mixed by an earlier run", f"{report.found}")
    table.add_row("failed", f"{len(report.failures)}")
    if report.published:
        median = {name: np.median(values) for name, values in numbers.items()}
        table.add_row("VFE before, median", f"{median['vfe']:,.1f}")
        table.add_row("VFE expected, median", f"{median['expected_vfe']:,.1f}")
        if "expected_vfe_scrambled" in median:
            scrambled = f"{median['expected_vfe_scrambled']:,.1f}"
            table.add_row("VFE expected with regions scrambled", scrambled)
        table.add_row("VFE after, median", f"{median['vfe_after']:,.1f}")
        table.add_row("pixels left in place, median", f"{median['left_in_place']:.0%}")
        table.add_row("bits of a shuffled region, median", f"{median['median']:,.0f}")
        least = numbers["minimum"].min()
        table.add_row("bits of a shuffled region, least", f"{least:,.0f}")
    out.print(table)
