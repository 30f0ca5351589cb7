"""Mixing a set of images on many machines, as an Apache Beam pipeline.

    with beam.Pipeline(options=options) as pipeline:
        pipeline | MixImages("photos", "mixed", mixer, KeyReference("my.key"))

What it writes is byte for byte what `publish(..., fmt="tfds")` writes on one machine.
`docs/beam.md` says what the runners need.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vim_jax.data import manifest
from vim_jax.data.errors import DataError, WriteError
from vim_jax.data.example import LazySource
from vim_jax.data.job import Job
from vim_jax.data.key_reference import KeyReference as KeyReference
from vim_jax.data.key_reference import local_path
from vim_jax.data.mixing import Mixed
from vim_jax.data.pipeline import mixed_in_order
from vim_jax.data.publish import Report
from vim_jax.data.sources import open_source
from vim_jax.data.tfds_files import check_example, other_mode, serialize
from vim_jax.data.tfds_shards import (
    Entry,
    Layout,
    Place,
    Shard,
    ShardedSet,
    ShardPlan,
    lay_out,
)
from vim_jax.data.writers import write_atomically
from vim_jax.mixer import VisualMixer

try:
    import apache_beam as beam  # pyright: ignore
    from apache_beam.options.pipeline_options import PipelineOptions  # pyright: ignore
    from apache_beam.pvalue import AsList, AsSingleton, TaggedOutput  # pyright: ignore
    from apache_beam.utils.shared import Shared  # pyright: ignore
except ModuleNotFoundError as error:
    raise DataError(
        f"Apache Beam is needed and {error.name} is not installed: "
        "pip install 'vim-jax[beam]'"
    ) from error


class MixImages(beam.PTransform):
    """Mixes a set of images and writes a TFDS data set; begins a pipeline.

    Guarantees:
      * The data set, manifest included, is byte for byte the one that `publish` with
        `fmt="tfds"` writes, whatever the runner, the number of workers and retries;
        images that fail leave no gaps.
      * It appears under its name when it is complete. Nothing is overwritten, and a
        failed run leaves at most a hidden folder `.vim-jax-beam-*` beside it.
      * Neither the pipeline's graph nor its options hold the secret key.

    Its result is a dictionary of two collections of pairs of an image's id and a
    phrase: "failures", the images that were not published, and "notes", what decoding
    changed. All workers need the same version of vim_jax, and the source and the
    folder of `dst` under the same paths; buckets must be mounted.
    """

    def __init__(
        self,
        src: str | os.PathLike[str],
        dst: str | os.PathLike[str],
        mixer: VisualMixer,
        key: KeyReference | None,
        *,
        split: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        max_pixels: int | None = None,
        rename: bool = False,
        batch_size: int = 32,
        label: str | None = None,
    ):
        """Describes the work; nothing is read or written before the pipeline runs.

        Args:
          src: the source, as `open_source` takes it.
          dst: the folder of the data set, which must not exist.
          mixer: how to mix.
          key: where workers find the secret key. With None, each worker draws one and
            forgets it: nobody can restore the images.
          split: the split of a TFDS data set to read.
          data_dir: where the TFDS data sets lie.
          max_pixels: the largest image to decode.
          rename: whether to publish running numbers instead of file names.
          batch_size: number of images that are handed to a worker at once.
          label: the name of this step in the pipeline.

        Raises:
          DataError: if a path is a URL, or `batch_size` is below 1.
        """
        super().__init__(label)
        if batch_size < 1:
            raise DataError(f"batch_size is {batch_size}: use 1 or more")
        src = os.fspath(src)
        if "://" in src or os.path.isdir(src):
            src = local_path("src", src)
        self.task = _Task(
            src=src,
            split=split,
            data_dir=None if data_dir is None else local_path("data_dir", data_dir),
            max_pixels=max_pixels,
            mixer=mixer,
            key=key,
            rename=rename,
            output=ShardedSet(pathlib.Path(local_path("dst", dst))),
        )
        self._batch_size = batch_size

    def expand(self, input_or_inputs):
        """Builds the steps."""
        task, opened = self.task, Shared()
        begun = (
            input_or_inputs
            | "Start" >> beam.Create([self._batch_size])
            | "Prepare" >> beam.ParDo(_Prepare(task, opened)).with_outputs()
        )
        mixed = (
            begun.batches
            | "Spread" >> beam.Reshuffle()
            | "Mix" >> beam.ParDo(_Mix(task, opened)).with_outputs()
        )
        layout = (
            mixed.places
            | "Places" >> beam.combiners.ToList()
            | "Lay out" >> beam.Map(_lay_out)
        )
        _ = (
            layout
            | "Plans" >> beam.FlatMap(_shards)
            | "Spread plans" >> beam.Reshuffle()
            | "Write" >> beam.Map(task.output.write_shard)
            | "Shards" >> beam.combiners.ToList()
            | "Finish" >> beam.ParDo(_Finish(task, opened), AsSingleton(layout))
        )
        mode = layout | "Mode" >> beam.Map(_mode)
        dst = task.output.dst
        images = (
            mixed.images
            | "Sort out" >> beam.ParDo(_sort_out, dst, AsSingleton(mode)).with_outputs()
        )
        failures = (begun.failures, mixed.failures, images.failures)
        return {
            "failures": failures | "Failures" >> beam.Flatten(),
            "notes": images.notes,
        }


def run_beam(mix: MixImages, beam_options: Sequence[str]) -> Report:
    """Runs `MixImages` on the runner that the options name, and waits for it.

    This process must see the source and the folder of `dst` as the workers do. If the
    run fails, nothing is left behind.

    Args:
      mix: the work.
      beam_options: such as `["--runner=FlinkRunner", "--flink_master=host:8081"]`.

    Raises:
      DataError: if the source, `dst` or the key cannot be used.
      WriteError: if the pipeline fails otherwise.
    """
    output = mix.task.output
    if os.path.lexists(output.dst):
        raise DataError(f"{output.dst} exists: choose another path or remove it")
    # Of a mistake in its name, a runner would tell later and in more words.
    mix.task.open_source()
    remarks = output.folder.with_suffix(".json")
    options = PipelineOptions(list(beam_options))
    try:
        with beam.Pipeline(options=options) as pipeline:
            found: Any = pipeline | mix
            lists = {name: AsList(pairs) for name, pairs in found.items()}
            _ = (
                pipeline
                | "Remarks" >> beam.Create([remarks])
                | "Write remarks" >> beam.Map(_write_remarks, **lists)
            )
        return _report(output.dst, remarks)
    except Exception as error:
        raise _in_one_sentence(error) from error
    finally:
        output.remove()
        remarks.unlink(missing_ok=True)


def _write_remarks(path: pathlib.Path, **lists: list[tuple[str, str]]) -> None:
    remarks = {name: dict(sorted(pairs)) for name, pairs in lists.items()}
    write_atomically(path, json.dumps(remarks).encode())


def _report(dst: pathlib.Path, remarks: pathlib.Path) -> Report:
    path = dst / manifest.NAME
    mixed = sum(1 for _ in manifest.read(path)[2]) if dst.exists() else 0
    return Report(path, mixed=mixed, **json.loads(remarks.read_bytes()))


def _in_one_sentence(error: Exception) -> DataError:
    """Returns an error that names what a worker complained about, if it was us."""
    if isinstance(error, DataError):
        return error
    complaint = r"^vim_jax\.\S+: (.+?)(?: \[while running .*)?$"
    if ours := re.findall(complaint, str(error), re.MULTILINE):
        return DataError(ours[-1])
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return WriteError(
        f"the Beam pipeline failed ({lines[-1].strip()}): see what the runner logged, "
        "and run this again"
    )


class _Batch(NamedTuple):
    """Consecutive images of the job, with a check that all workers mean the same."""

    start: int
    stop: int
    check: str


class _MixedImage(NamedTuple):
    """What there is to say of a mixed image: its names, its mode and a note."""

    source_id: str
    id: str
    mode: str
    note: str | None


@dataclasses.dataclass(frozen=True)
class _Task:
    """The arguments of `MixImages`, from which each worker opens the job itself."""

    src: str
    split: str | None
    data_dir: str | None
    max_pixels: int | None
    mixer: VisualMixer
    key: KeyReference | None
    rename: bool
    output: ShardedSet

    def open_source(self) -> LazySource:
        return open_source(
            self.src,
            split=self.split,
            data_dir=self.data_dir,
            max_pixels=self.max_pixels,
        )

    def open(self) -> Job:
        key = None if self.key is None else self.key.load()
        return Job(self.open_source(), self.mixer, key, self.rename, suffix="")


class _Step(beam.DoFn):
    """A step that needs the job, which each process opens once."""

    def __init__(self, task: _Task, opened: Shared):
        self._task, self._opened = task, opened

    def setup(self) -> None:
        self._job: Job = self._opened.acquire(self._task.open)
        self._header = manifest.as_line(self._job.header("tfds"))
        source = self._job.source
        known = json.dumps([list(source.ids), source.label_names]).encode()
        self._check = hashlib.sha256(known + self._header).hexdigest()


class _Prepare(_Step):
    """Makes the hidden folder and deals out the images."""

    def process(self, batch_size: int) -> Iterator[Any]:
        self._task.output.prepare()
        count = len(self._job.indices)
        for start in range(0, count, batch_size):
            stop = min(start + batch_size, count)
            yield TaggedOutput("batches", _Batch(start, stop, self._check))
        for failure in self._job.failures.items():
            yield TaggedOutput("failures", failure)


class _Mix(_Step):
    """Mixes a batch of images."""

    def setup(self) -> None:
        super().setup()
        self._indices = list(self._job.indices.values())

    def process(self, batch: _Batch) -> Iterator[Any]:
        if batch.check != self._check:
            raise DataError(
                f"the images of {self._task.src}, or the keys, differ from machine to "
                "machine: give all workers the same files and the same key"
            )
        job, output = self._job, self._task.output
        ids, places, row = job.source.ids, [], 0
        indices = self._indices[batch.start : batch.stop]
        finish = functools.partial(_finish, job.source.label_names)
        # The runner has other batches for the other cores.
        results = mixed_in_order(job, indices, finish, workers=1)
        with output.piece(batch.start) as add, contextlib.closing(results):
            for index, result in zip(indices, results, strict=True):
                if isinstance(result, DataError):
                    places.append(Place(index))
                    yield TaggedOutput("failures", (ids[index], str(result)))
                    continue
                entry, mode, note = result
                add(entry)
                size = len(entry.example)
                places.append(Place(index, mode, size, batch.start, row))
                row += 1
                image = _MixedImage(ids[index], entry.id, mode, note)
                yield TaggedOutput("images", image)
        yield TaggedOutput("places", places)


def _finish(
    label_names: tuple[str, ...] | None, original_id: str, mixed: Mixed
) -> tuple[Entry, str, str | None]:
    """Returns a mixed image as it is written, its mode, and what decoding changed."""
    id, image, label = mixed.published_id, mixed.image, mixed.label
    mode = check_example(id, image, label, label_names)
    example = serialize(id, image, label, label_names)
    return Entry(id, example, manifest.as_line(mixed.record)), mode, mixed.note


def _lay_out(batches: list[list[Place]]) -> Layout:
    return lay_out(itertools.chain.from_iterable(batches))


def _shards(layout: Layout) -> list[ShardPlan]:
    return layout.shards


def _mode(layout: Layout) -> str | None:
    return layout.mode


def _sort_out(image: _MixedImage, dst: pathlib.Path, mode: str | None) -> Iterator[Any]:
    """Yields what keeps an image out of the data set, or the note on it."""
    if image.mode != mode:
        error = other_mode(image.id, image.mode, dst, str(mode))
        yield TaggedOutput("failures", (image.source_id, str(error)))
    elif image.note:
        yield TaggedOutput("notes", (image.source_id, image.note))


class _Finish(_Step):
    """Gives the data set its name, if all images have arrived."""

    def process(self, shards: list[Shard], layout: Layout) -> None:
        job, output = self._job, self._task.output
        output.finish(
            layout,
            shards,
            images=len(job.indices),
            header=self._header,
            label_names=job.source.label_names,
        )
        output.remove()
