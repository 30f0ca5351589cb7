"""Publishing a set of images: the job behind `vim-jax mix`.

An interrupted run resumes. For each image, its record is appended to the manifest and
synced, and only then is the finished file given its name. So a file without a record
cannot be, and a record without a file, the last one at most, is done again. The folder
is locked while it is written to; the lock vanishes with the process.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from vim_jax.data import manifest
from vim_jax.data.encode import FORMATS, encode
from vim_jax.data.errors import DataError, Failures, WriteError, WrongKeyError, brief
from vim_jax.data.example import LazySource
from vim_jax.data.job import Job
from vim_jax.data.mixing import Mixed
from vim_jax.data.parallel import Progress, map_in_order
from vim_jax.data.tfds_writer import TfdsWriter
from vim_jax.data.writers import (
    TEMPORARY_PREFIX,
    locked,
    remove_leftovers,
    write_atomically,
)
from vim_jax.keys import SecretKey
from vim_jax.mixer import VisualMixer


@dataclasses.dataclass
class Report:
    """What came of publishing a set.

    Attributes:
      records: the manifest's records of all published images, old and new, without
        what is sealed in them.
      mixed: how many were mixed by this run.
      found: how many an earlier run had mixed.
      failures: id -> one sentence, for images that were not published.
      notes: id -> what decoding changed, for images mixed by this run.
    """

    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    mixed: int = 0
    found: int = 0
    failures: Failures = dataclasses.field(default_factory=dict)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def unchanged(self) -> list[str]:
        """Published ids of the images of which no pixel moved."""
        return [record["id"] for record in self.records if "unchanged" in record]


def publish(
    source: LazySource,
    dst: str | os.PathLike[str],
    mixer: VisualMixer,
    key: SecretKey | None,
    *,
    fmt: str = "png",
    rename: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Mixes all images of a source into a folder, with a manifest.

    Args:
      source: the images.
      dst: the folder: new, empty, or what an interrupted run with the same settings
        left behind. For `fmt="tfds"` it must not exist.
      mixer: how to mix.
      key: the secret key; None draws one that is forgotten at the end, after which
        nobody can restore the images.
      fmt: "png" or "webp" (lossless) for an image folder, "tfds" for a TFDS data set.
      rename: whether to publish running numbers instead of file names.
      workers: number of threads; by default one a core.
      progress: called with the number of images done and of all images.

    Guarantees:
      * A file under its final name is complete; none is ever overwritten.
      * An image folder: killed at any moment and run again with the same arguments
        and key, the result is byte for byte that of an uninterrupted run, and nothing
        else is left in the folder. With a discarded key, the rest gets a new key.
      * A TFDS data set appears when it is complete, the same bytes in every run with
        one key: killed, it starts anew, and removes what the killed run left beside it.
      * Of an image, only its id and a few numbers stay in memory.

    The images of the source must stay as they are until the job is done. With a kept
    key, a name that stands for another image than before is noticed.

    Raises:
      WrongKeyError: if the folder was begun with another key.
      WriteError: if the folder cannot be written to: run this again to go on.
      DataError: if the folder cannot be used. Images that fail are in the report
        instead.
    """
    dst = pathlib.Path(dst)
    if workers is not None and workers < 1:
        raise DataError(f"workers is {workers}: use 1 or more")
    job = Job(source, mixer, key, rename, suffix="" if fmt == "tfds" else f".{fmt}")
    if fmt == "tfds":
        return _publish_tfds(job, dst, workers, progress)
    if fmt not in FORMATS:
        raise DataError(f"fmt is {fmt!r}: choose one of {', '.join(FORMATS)} and tfds")
    return _publish_folder(job, dst, fmt, workers, progress)


def _enter(report: Report, id: str, mixed: Mixed) -> None:
    """Enters a published image into the report."""
    report.records.append(manifest.without_seal(mixed.record))
    report.mixed += 1
    if mixed.note:
        report.notes[id] = mixed.note


def _publish_folder(
    job: Job,
    dst: pathlib.Path,
    fmt: str,
    workers: int | None,
    progress: Progress | None,
) -> Report:
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(dst))
        header = job.header(fmt)
        with _writing(dst):
            records, keep = _resume(job, dst, header)
            log = manifest.ManifestWriter(dst / manifest.NAME, keep)
            stack.enter_context(log)
            if not keep:
                log.append(header)
        report = Report(
            records=records, found=len(records), failures=dict(job.failures)
        )
        done = {record["id"] for record in records}
        pending = [i for name, i in job.indices.items() if name not in done]
        results = map_in_order(
            functools.partial(_mix_and_encode, job, fmt), pending, workers=workers
        )
        stack.callback(results.close)
        total = report.found + len(pending)
        if progress:
            progress(report.found, total)
        for count, (index, result) in enumerate(zip(pending, results, strict=True), 1):
            id = job.source.ids[index]
            try:
                if isinstance(result, DataError):
                    raise result
                _store(dst, log, *result)
                _enter(report, id, result[0])
            except WriteError:
                raise
            except DataError as error:
                report.failures[id] = str(error)
            if progress:
                progress(report.found + count, total)
    return report


def _mix_and_encode(job: Job, fmt: str, index: int) -> tuple[Mixed, bytes] | DataError:
    mixed = job.mix(index)
    if isinstance(mixed, DataError):
        return mixed
    try:
        return mixed, encode(mixed.image, fmt)
    except DataError as error:
        return DataError(f"{job.source.ids[index]}: {error}")


def _store(
    dst: pathlib.Path, log: manifest.ManifestWriter, mixed: Mixed, data: bytes
) -> None:
    """Publishes an image: its record, then the file."""
    path = dst / mixed.published_id
    # After the record, a file of that name would pass for ours.
    if os.path.lexists(path):
        raise DataError(f"{path} exists, but no vim-jax wrote it: move it elsewhere")
    inside = pathlib.Path(os.path.realpath(dst), mixed.published_id).parent
    if os.path.realpath(path.parent) != os.fspath(inside):
        raise DataError(f"{path.parent} is a link to elsewhere: remove the link")
    with _writing(dst):
        log.append(mixed.record)
    try:
        write_atomically(path, data)
    except WriteError:
        raise
    except DataError:
        with _writing(dst):
            log.take_back()
        raise


def _resume(
    job: Job, dst: pathlib.Path, header: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], int]:
    """Checks and tidies a folder.

    Returns:
      The records of the images that are done, without what is sealed in them, and the
      length of the part of the manifest to keep.
    """
    path = dst / manifest.NAME
    first, begun = manifest.as_line(header), b""
    if path.exists():
        with open(path, "rb") as file:
            begun = file.read(len(first))
    if len(begun) < len(first) and first.startswith(begun):
        # Nothing there, or killed while writing the header.
        stranger = next((entry.name for entry in dst.iterdir() if entry != path), None)
        if stranger is not None:
            raise DataError(
                f"{dst} is not empty (it holds {stranger!r}) and no vim-jax began it: "
                "choose a new folder"
            )
        return [], 0
    found, keep, entries = manifest.read(path)
    _check_header(dst, found, header)
    remove_leftovers(dst, below=True)
    records, gone = [], None
    for record, end in entries:
        if gone is not None:
            raise DataError(
                f"{dst / gone} is in the manifest but gone: put it back, or mix into a "
                "new folder"
            )
        if not (dst / record["id"]).is_file():
            gone = record["id"]  # Killed before writing it, if it is the last.
            continue
        job.check_origin(record)
        records.append(manifest.without_seal(record))
        keep = end
    return records, keep


def _check_header(
    dst: pathlib.Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    if None not in (found["key"], wanted["key"]) and found["key"] != wanted["key"]:
        raise WrongKeyError(
            f"{dst} was begun with the key {found['key']}, this key is "
            f"{wanted['key']}: use that key, or a new folder"
        )
    old, new = ({**h, **h["settings"]} for h in (found, wanted))
    name = next((k for k in new if k != "settings" and old.get(k) != new[k]), None)
    if name is None:
        return
    if name == "key":
        what = "another choice between --key and --discard-key"
    else:
        what = f"{name}={old.get(name)!r} instead of {new[name]!r}"
    raise DataError(
        f"{dst} was begun with {what}: repeat the arguments of that run, or choose a "
        "new folder"
    )


def _publish_tfds(
    job: Job, dst: pathlib.Path, workers: int | None, progress: Progress | None
) -> Report:
    _remove_dead_sets(dst.parent)
    report = Report(failures=dict(job.failures))
    with contextlib.suppress(_NothingError), contextlib.ExitStack() as stack:
        writer = stack.enter_context(
            TfdsWriter(dst, label_names=job.source.label_names)
        )
        with _writing(dst):
            log = manifest.ManifestWriter(writer.folder / manifest.NAME)
            stack.enter_context(log)
            log.append(job.header("tfds"))
        pending = list(job.indices.values())
        if progress:
            progress(0, len(pending))
        results = map_in_order(job.mix, pending, workers=workers)
        stack.callback(results.close)
        for count, (index, result) in enumerate(zip(pending, results, strict=True), 1):
            id = job.source.ids[index]
            try:
                if isinstance(result, DataError):
                    raise result
                writer.add(result.published_id, result.image, result.label)
                with _writing(dst):
                    log.append(result.record)
                _enter(report, id, result)
            except WriteError:
                raise
            except DataError as error:
                report.failures[id] = str(error)
            if progress:
                progress(count, len(pending))
        if not report.mixed:
            raise _NothingError
    return report


class _NothingError(Exception):
    """No image of a TFDS data set could be mixed, so there will be none."""


def _remove_dead_sets(folder: pathlib.Path) -> None:
    """Removes what killed runs left; one that is alive has locked its folder."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            with contextlib.suppress(DataError, OSError), locked(leftover):
                shutil.rmtree(leftover)


@contextlib.contextmanager
def _writing(folder: pathlib.Path) -> Iterator[None]:
    """Turns what the operating system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{folder} cannot be written to ({brief(error)}): choose another folder or "
            "make room, and run this again to go on"
        ) from error
