"""Reading, mixing and storing at the same time, in the order of a job."""

import collections
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TypeVar

from vim_jax.data.buckets import Bucket, Buckets
from vim_jax.data.errors import DataError, WriteError
from vim_jax.data.example import Example
from vim_jax.data.job import Job
from vim_jax.data.mixing import Mixed
from vim_jax.data.parallel import map_in_order, memory, threads

_R = TypeVar("_R")

_Loaded = tuple[int, Example | DataError]
_Batch = tuple[Bucket | None, list[_Loaded]]

# Images wait for company, together no more than so many pixels.
_WAITING_PIXELS = 1 << 23


def mixed_in_order(
    job: Job,
    indices: Sequence[int],
    finish: Callable[[int, Mixed], _R],
    *,
    workers: int | None = None,
) -> Generator[_R | DataError, None, None]:
    """Yields what becomes of each image, in the order of the indices.

    Images are read, mixed in batches of about equal shapes, and finished, all at the
    same time in one pool of threads.

    Args:
      job: the job.
      indices: of the images in its source.
      finish: called with the index of each image and what was mixed of it, in any
        order and from several threads; what it returns is kept until the image's
        turn. A DataError becomes that of the image, any other exception ends the job.
      workers: number of threads; by default one more than there are cores.
    """
    # One more: shuffling waits for Python's lock, and for its turn [measured].
    workers = workers or (os.cpu_count() or 1) + 1
    limit = memory() // 8
    # Nobody knows how large the next image is: like the largest of those before.
    sizes: collections.deque[int] = collections.deque(maxlen=64)

    def load(index: int) -> _Loaded:
        example = job.load(index)
        sizes.append(_bytes(example))
        return index, example

    def mix(batch: _Batch) -> list[tuple[int, _R | DataError]]:
        bucket, loaded = batch
        indices = [index for index, _ in loaded]
        results = _mix(job, bucket, loaded)
        return [_finished(*pair) for pair in zip(indices, results, strict=True)]

    def _finished(index: int, result: Mixed | DataError) -> tuple[int, _R | DataError]:
        if isinstance(result, DataError):
            return index, result
        try:
            return index, finish(index, result)
        except WriteError:
            raise
        except DataError as error:
            return index, error

    with threads(workers) as pool:
        loaded = map_in_order(
            load,
            indices,
            workers=workers,
            pool=pool,
            weight=lambda _: max(sizes, default=limit),
            limit=limit,
        )
        batches = map_in_order(
            mix,
            _in_batches(loaded),
            workers=workers,
            pool=pool,
            weight=lambda batch: sum(_bytes(example) for _, example in batch[1]),
            limit=limit,
        )
        done: dict[int, _R | DataError] = {}
        turns = iter(indices)
        turn = next(turns, None)
        for batch in batches:
            done.update(batch)
            while turn in done:
                yield done.pop(turn)
                turn = next(turns, None)


def _bytes(example: Example | DataError) -> int:
    return 0 if isinstance(example, DataError) else example.image.nbytes


def _mix(
    job: Job, bucket: Bucket | None, loaded: list[_Loaded]
) -> list[Mixed | DataError]:
    """Mixes a batch, and lets go of the originals."""
    examples = [example for _, example in loaded]
    loaded.clear()
    if bucket is None:
        return [example for example in examples if isinstance(example, DataError)]
    return job.mix_batch([e for e in examples if isinstance(e, Example)], bucket)


def _in_batches(loaded: Iterable[_Loaded]) -> Iterator[_Batch]:
    """Yields images that share a bucket together, and failures on their own.

    An image waits for others until its batch is full, or too many wait.
    """
    buckets = Buckets()
    # Buckets are in the order of the images that have waited longest.
    waiting: dict[Bucket, list[_Loaded]] = {}
    pixels = 0
    for index, example in loaded:
        if isinstance(example, DataError):
            yield None, [(index, example)]
            continue
        bucket = buckets.of(example.image.shape, example.image.dtype)
        batch = waiting.setdefault(bucket, [])
        batch.append((index, example))
        del example
        pixels += bucket.pixels
        if len(batch) < bucket.images and pixels > _WAITING_PIXELS:
            bucket = next(iter(waiting))
        elif len(batch) < bucket.images:
            continue
        batch = waiting.pop(bucket)
        pixels -= len(batch) * bucket.pixels
        yield bucket, batch
        del batch
    yield from waiting.items()
