"""Publishing a set of images: the job behind `vim-jax mix`.

An interrupted run resumes. For each image, its record is appended to the manifest and
synced, and only then is the finished file given its name. So a file without a record
cannot be, and a record without a file, the last one at most, is done again. The folder
is locked while it is written to; the lock vanishes with the process.
"""

import contextlib
import dataclasses
import fcntl
import functools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vim_jax.data import manifest
from vim_jax.data.encode import FORMATS, encode
from vim_jax.data.errors import DataError, brief
from vim_jax.data.example import LazySource
from vim_jax.data.image_folder import collisions, output_name
from vim_jax.data.mixing import Mixed, mix_example
from vim_jax.data.parallel import map_in_order
from vim_jax.data.tfds_writer import TfdsWriter
from vim_jax.data.writers import TEMPORARY_PREFIX, write_atomically
from vim_jax.keys import SecretKey
from vim_jax.mixer import VisualMixer

Failures = dict[str, str]
Progress = Callable[[int, int], None]


class WrongKeyError(ValueError):
    """A key that is not the one a published set was mixed with."""


class WriteError(DataError):
    """The output cannot be written: a full or read-only disk."""


@dataclasses.dataclass
class Report:
    """What came of publishing a set.

    Attributes:
      records: the manifest's records of all published images, old and new.
      mixed: how many were mixed by this run.
      found: how many an earlier run had mixed.
      failures: id -> one sentence, for images that were not published.
      unchanged: ids of images of which no pixel moved.
      notes: id -> what decoding changed.
    """

    records: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    mixed: int = 0
    found: int = 0
    failures: Failures = dataclasses.field(default_factory=dict)
    unchanged: list[str] = dataclasses.field(default_factory=list)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)


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
      * A TFDS data set appears when it is complete: killed, it starts anew.
      * Memory does not depend on the number of images.

    Raises:
      WrongKeyError: if the folder was begun with another key.
      DataError: if the folder cannot be used or written to. Images that fail are in the
        report instead.
    """
    dst = pathlib.Path(dst)
    job = _Job(source, mixer, key, rename, suffix="" if fmt == "tfds" else f".{fmt}")
    if fmt == "tfds":
        return _publish_tfds(job, dst, workers, progress)
    if fmt not in FORMATS:
        raise DataError(f"fmt is {fmt!r}: choose one of {', '.join(FORMATS)} and tfds")
    return _publish_folder(job, dst, fmt, workers, progress)


class _Job:
    """The images of a source, their published names, and how to mix them."""

    def __init__(
        self,
        source: LazySource,
        mixer: VisualMixer,
        key: SecretKey | None,
        rename: bool,
        suffix: str,
    ):
        self.source, self.mixer, self.rename = source, mixer, rename
        self._kept = key
        self._key = SecretKey.generate() if key is None else key
        self._suffix = suffix
        refused = {} if rename else collisions(source.ids, suffix)
        self.failures = {
            id: f"{id} would be published under the name of {other}: rename it"
            for id, other in refused.items()
        }
        self.pending = [i for i, id in enumerate(source.ids) if id not in refused]

    def header(self, fmt: str) -> dict[str, Any]:
        # Numbers are only meaningful for one number of images.
        count = {"images": len(self.source)} if self.rename else {}
        settings = dataclasses.asdict(self.mixer)
        return manifest.header(
            settings, self._kept, file_format=fmt, renamed=self.rename, **count
        )

    def published_id(self, index: int) -> str:
        id = self.source.ids[index]
        if self.rename:
            folder = id.rpartition("/")[0]
            digits = max(6, len(str(len(self.source))))
            id = (
                f"{folder}/{index + 1:0{digits}}"
                if folder
                else (f"{index + 1:0{digits}}")
            )
        return output_name(id, self._suffix)

    def mix(self, index: int) -> Mixed | DataError:
        """Mixes one image; what goes wrong with it is its result."""
        id = self.source.ids[index]
        try:
            return mix_example(
                self.source[index],
                self.published_id(index),
                self.mixer,
                self._key,
                keep_key=self._kept is not None,
                label_names=self.source.label_names,
            )
        except DataError as error:
            return error
        except ValueError as error:
            return DataError(f"{id}: {error}")
        except MemoryError:
            return DataError(f"{id} is too large for this machine's memory: shrink it")


def _collect(report: Report, id: str, result: Mixed | DataError) -> Mixed | None:
    """Enters a result into the report; returns it if there is one to publish."""
    if isinstance(result, DataError):
        report.failures[id] = str(result)
        return None
    if result.unchanged:
        report.unchanged.append(result.published_id)
    if result.note:
        report.notes[id] = result.note
    return result


def _publish_folder(
    job: _Job,
    dst: pathlib.Path,
    fmt: str,
    workers: int | None,
    progress: Progress | None,
) -> Report:
    with _locked(dst):
        records, keep = _resume(job, dst, fmt)
        report = Report(
            records=records, found=len(records), failures=dict(job.failures)
        )
        done = {record["id"] for record in records}
        pending = [i for i in job.pending if job.published_id(i) not in done]
        with contextlib.ExitStack() as stack:
            with _writing(dst):
                log = stack.enter_context(
                    manifest.ManifestWriter(dst / manifest.NAME, keep)
                )
                if not keep:
                    log.append(job.header(fmt))
            results = map_in_order(
                functools.partial(_mix_and_encode, job, fmt), pending, workers=workers
            )
            stack.callback(results.close)
            for count, (index, (result, data)) in enumerate(
                zip(pending, results, strict=True), 1
            ):
                mixed = _collect(report, job.source.ids[index], result)
                if mixed is not None:
                    with _writing(dst):
                        log.append(mixed.record)
                        write_atomically(dst / mixed.published_id, data)
                    report.records.append(mixed.record)
                    report.mixed += 1
                if progress:
                    progress(report.found + count, report.found + len(pending))
    return report


def _mix_and_encode(job: _Job, fmt: str, index: int) -> tuple[Mixed | DataError, bytes]:
    result = job.mix(index)
    if isinstance(result, DataError):
        return result, b""
    try:
        return result, encode(result.image, fmt)
    except DataError as error:
        return DataError(f"{job.source.ids[index]}: {error}"), b""


def _resume(job: _Job, dst: pathlib.Path, fmt: str) -> tuple[list[dict[str, Any]], int]:
    """Checks and tidies a folder; returns the records and bytes of its manifest."""
    path = dst / manifest.NAME
    for leftover in dst.rglob(f"{TEMPORARY_PREFIX}*"):
        leftover.unlink(missing_ok=True)
    if not path.exists() or not path.stat().st_size:
        strangers = [entry.name for entry in dst.iterdir() if entry != path]
        if strangers:
            raise DataError(
                f"{dst} is not empty (it holds {strangers[0]!r}) and no vim-jax began "
                "it: choose a new folder"
            )
        return [], 0
    content = path.read_bytes()
    if b"\n" not in content:  # Killed while writing the header.
        return [], 0
    head, records, length = manifest.read(path)
    _check_header(dst, head, job.header(fmt))
    if records and not (dst / records[-1]["id"]).exists():
        last = content[:length].rstrip(b"\n").rfind(b"\n") + 1
        return records[:-1], last
    for record in records:
        if not (dst / record["id"]).exists():
            raise DataError(
                f"{dst / record['id']} is in the manifest but gone: put it back, or "
                "mix into a new folder"
            )
    return records, length


def _check_header(
    dst: pathlib.Path, found: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    if None not in (found["key"], wanted["key"]) and found["key"] != wanted["key"]:
        raise WrongKeyError(
            f"{dst} was begun with the key {found['key']}, this key is "
            f"{wanted['key']}: use that key, or a new folder"
        )
    if dict(found) == dict(wanted):
        return
    old, new = ({**h, **h["settings"]} for h in (found, wanted))
    name = next(k for k in new if k != "settings" and old.get(k) != new[k])
    if name == "key":
        what = "another choice between --key and --discard-key"
    else:
        what = f"{name}={old.get(name)!r} instead of {new[name]!r}"
    raise DataError(
        f"{dst} was begun with {what}: repeat the arguments of that run, or choose a "
        "new folder"
    )


def _publish_tfds(
    job: _Job, dst: pathlib.Path, workers: int | None, progress: Progress | None
) -> Report:
    for leftover in dst.parent.glob(f"{TEMPORARY_PREFIX}*/{manifest.NAME}"):
        # Only a finished or killed run's: a running one holds the lock.
        with contextlib.suppress(DataError), _locked(leftover.parent):
            shutil.rmtree(leftover.parent)
    report = Report(failures=dict(job.failures))
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(
            TfdsWriter(dst, label_names=job.source.label_names)
        )
        stack.enter_context(_locked(writer.folder))
        log = stack.enter_context(
            manifest.ManifestWriter(writer.folder / manifest.NAME)
        )
        with _writing(dst):
            log.append(job.header("tfds"))
        results = map_in_order(job.mix, job.pending, workers=workers)
        stack.callback(results.close)
        for count, (index, result) in enumerate(
            zip(job.pending, results, strict=True), 1
        ):
            mixed = _collect(report, job.source.ids[index], result)
            if mixed is not None:
                try:
                    writer.add(mixed.published_id, mixed.image, mixed.label)
                except DataError as error:
                    report.failures[job.source.ids[index]] = str(error)
                else:
                    with _writing(dst):
                        log.append(mixed.record)
                    report.records.append(mixed.record)
                    report.mixed += 1
            if progress:
                progress(count, len(job.pending))
    return report


@contextlib.contextmanager
def _locked(folder: pathlib.Path) -> Iterator[None]:
    """Holds the lock on a folder, which it makes if need be."""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"{folder} is being written to by another vim-jax: wait for it to end"
            ) from None
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _writing(folder: pathlib.Path) -> Iterator[None]:
    """Turns what goes wrong while writing into one sentence."""
    advice = "choose another folder or make room, and run this again to go on"
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{folder} cannot be written to ({brief(error)}): {advice}"
        ) from None
    except DataError as error:
        raise WriteError(str(error)) from None
