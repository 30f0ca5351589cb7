"""Publishing a set of images: the job behind `vim-jax mix`."""

import contextlib
import dataclasses
import functools
import itertools
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from vim_jax.data import manifest
from vim_jax.data.encode import FORMATS, encode
from vim_jax.data.errors import DataError, Failures, WriteError
from vim_jax.data.example import LazySource
from vim_jax.data.folder_writer import GROUP, FolderWriter, Staged, writing
from vim_jax.data.job import Job
from vim_jax.data.mixing import Mixed
from vim_jax.data.parallel import Progress
from vim_jax.data.pipeline import mixed_in_order
from vim_jax.data.shards import Shard
from vim_jax.data.tfds_writer import TfdsWriter
from vim_jax.data.writers import TEMPORARY_PREFIX, locked
from vim_jax.keys import SecretKey
from vim_jax.mixer import VisualMixer

# No published image waits longer for the rest of its group.
_SECONDS = 1.0

# With more pixels where they were, an image compresses as images do.
_MOSTLY_LEFT = 0.5


@dataclasses.dataclass
class Report:
    """What came of publishing a set.

    Attributes:
      manifest: the manifest, or this shard's part of it.
      mixed: how many were mixed by this run.
      found: how many an earlier run had mixed.
      failures: id -> one sentence, for images that were not published.
      notes: id -> what decoding changed, for images mixed by this run.
    """

    manifest: pathlib.Path
    mixed: int = 0
    found: int = 0
    failures: Failures = dataclasses.field(default_factory=dict)
    notes: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def published(self) -> int:
        """How many images are published."""
        return self.mixed + self.found

    @property
    def records(self) -> Iterator[dict[str, Any]]:
        """The records of all published images, without what is sealed in them.

        Read from the manifest, so that they need not be kept in memory.
        """
        entries = manifest.read(self.manifest)[2] if self.published else iter(())
        # A part ends with a line that is no record.
        for _, (record, _) in zip(range(self.published), entries, strict=False):
            yield manifest.without_seal(record)

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
    shard: Shard | None = None,
    workers: int | None = None,
    in_processes: bool = False,
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
      shard: which part of the images to publish, of an image folder. Processes or
        machines with one key publish the parts into one folder, or into several that
        are put together afterwards; then `merge` joins their manifests.
      workers: how many images to work on at the same time; by default one a core.
      in_processes: whether processes take over from threads if images are small or
        cores many, and there is work left for a while: they take a while to start, and
        then scale with the cores. The source must be picklable then, and a script that
        asks for it needs an ``if __name__ == "__main__":``.
      progress: called with the number of images done and of all images.

    Guarantees:
      * A file under its final name is complete; none is ever overwritten.
      * An image folder: killed at any moment and run again with the same arguments
        and key, the result is byte for byte that of an uninterrupted run, and nothing
        else is left in the folder. With a discarded key, the rest gets a new key.
      * A TFDS data set appears when it is complete, the same bytes in every run with
        one key: killed, it starts anew, and removes what the killed run left beside it.
      * The bytes do not depend on the workers.
      * Shards that are killed and run again, in any order and at the same time, give
        after `merge` byte for byte what one run over all images gives.
      * Of an image, only its id and names stay in memory.

    The images of the source must stay as they are until the job is done. One that is
    gone is noticed and, with a kept key, a name that stands for another; other pixels
    under the same name are not.

    Raises:
      WrongKeyError: if the folder was begun with another key.
      WriteError: if the folder cannot be written to: run this again to go on.
      DataError: if the folder cannot be used. Images that fail are in the report
        instead.
    """
    dst = pathlib.Path(dst)
    if workers is not None and workers < 1:
        raise DataError(f"workers is {workers}: use 1 or more")
    if fmt not in (*FORMATS, "tfds"):
        raise DataError(f"fmt is {fmt!r}: choose one of {', '.join(FORMATS)} and tfds")
    if shard is not None and key is None:
        raise DataError("a shard needs a key: without one, each would draw its own")
    if shard is not None and fmt == "tfds":
        raise DataError(
            "fmt is 'tfds', of which there are no shards: choose png or webp, or "
            "write the data set on several machines with vim_jax.data.beam"
        )
    suffix = "" if fmt == "tfds" else f".{fmt}"
    job = Job(source, mixer, key, rename, suffix, shard)
    if fmt == "tfds":
        return _publish_tfds(job, dst, workers, in_processes, progress)
    return _publish_folder(job, dst, fmt, shard, workers, in_processes, progress)


def _publish_folder(
    job: Job,
    dst: pathlib.Path,
    fmt: str,
    shard: Shard | None,
    workers: int | None,
    in_processes: bool,
    progress: Progress | None,
) -> Report:
    header = job.header(fmt)
    with FolderWriter(dst, header, shard=shard, check=job.check_origin) as writer:
        report = Report(
            writer.manifest, found=len(writer.done), failures=dict(job.failures)
        )
        pending = [i for name, i in job.indices.items() if name not in writer.done]
        tick = _ticker(progress, report.found, report.found + len(pending))

        group: dict[str, tuple[Staged, str | None]] = {}

        def publish_group() -> float:
            errors = writer.publish([staged for staged, _ in group.values()])
            for (id, (_, note)), error in zip(group.items(), errors, strict=True):
                _enter(report, id, note, error)
                tick()
            group.clear()
            return time.monotonic() + _SECONDS

        due = time.monotonic() + _SECONDS
        results = mixed_in_order(
            job,
            pending,
            functools.partial(_encoded, fmt),
            workers=workers,
            in_processes=in_processes,
        )
        with contextlib.closing(results):
            for index, result in zip(pending, results, strict=True):
                id = job.source.ids[index]
                try:
                    if isinstance(result, DataError):
                        raise result
                    group[id] = writer.stage(result.record, result.data), result.note
                except WriteError:
                    raise
                except DataError as error:
                    _enter(report, id, None, error)
                    tick()
                if len(group) == GROUP or time.monotonic() >= due:
                    due = publish_group()
            publish_group()
    return report


class _Encoded(NamedTuple):
    """A mixed image as it is written: its record, its file, what decoding changed."""

    record: dict[str, Any]
    data: bytes
    note: str | None


def _encoded(fmt: str, id: str, mixed: Mixed) -> _Encoded:
    shuffled = mixed.record["left_in_place"] < _MOSTLY_LEFT
    try:
        data = encode(mixed.image, fmt, shuffled=shuffled)
        return _Encoded(mixed.record, data, mixed.note)
    except DataError as error:
        raise DataError(f"{id}: {error}") from None


def _enter(
    report: Report, id: str, note: str | None, error: DataError | None = None
) -> None:
    """Enters what came of an image into the report."""
    if error is not None:
        report.failures[id] = str(error)
        return
    report.mixed += 1
    if note:
        report.notes[id] = note


def _ticker(progress: Progress | None, done: int, total: int) -> Callable[[], None]:
    """Returns what to call whenever one more image is done."""
    numbers = itertools.count(done)

    def tick() -> None:
        if progress:
            progress(next(numbers), total)

    tick()
    return tick


def _publish_tfds(
    job: Job,
    dst: pathlib.Path,
    workers: int | None,
    in_processes: bool,
    progress: Progress | None,
) -> Report:
    _remove_dead_sets(dst.parent)
    report = Report(dst / manifest.NAME, failures=dict(job.failures))
    with contextlib.suppress(_NothingError), contextlib.ExitStack() as stack:
        writer = stack.enter_context(
            TfdsWriter(dst, label_names=job.source.label_names)
        )
        with writing(dst):
            log = manifest.ManifestWriter(writer.folder / manifest.NAME)
            stack.enter_context(log)
            log.append(job.header("tfds"))
        pending = list(job.indices.values())
        tick = _ticker(progress, 0, len(pending))
        results = mixed_in_order(
            job,
            pending,
            _as_mixed,
            workers=workers,
            in_processes=in_processes,
        )
        stack.enter_context(contextlib.closing(results))
        for index, result in zip(pending, results, strict=True):
            id = job.source.ids[index]
            try:
                if isinstance(result, DataError):
                    raise result
                writer.add(result.published_id, result.image, result.label)
                with writing(dst):
                    log.append(result.record)
                _enter(report, id, result.note)
            except WriteError:
                raise
            except DataError as error:
                _enter(report, id, None, error)
            tick()
        if not report.mixed:
            raise _NothingError
    return report


def _as_mixed(id: str, mixed: Mixed) -> Mixed:
    return mixed


class _NothingError(Exception):
    """No image of a TFDS data set could be mixed, so there will be none."""


def _remove_dead_sets(folder: pathlib.Path) -> None:
    """Removes what killed runs left; one that is alive has locked its folder."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if leftover.is_dir() and not leftover.is_symlink():
            with contextlib.suppress(DataError, OSError), locked(leftover):
                shutil.rmtree(leftover)
