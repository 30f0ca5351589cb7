"""Reading, mixing and storing many images at the same time, in the order of a job."""

import collections
import concurrent.futures
import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from vim_jax.data import processes
from vim_jax.data.errors import DataError, WriteError
from vim_jax.data.example import Example
from vim_jax.data.job import Job
from vim_jax.data.mixing import Mixed
from vim_jax.data.parallel import cores, memory, threads

_R = TypeVar("_R")
_Finish = Callable[[str, Mixed], _R]

# What a worker does at a time: enough images to be worth handing over, and few enough
# that others need not wait for them.
_PIXELS = 1 << 21
_FIRST, _MOST = 8, 512  # Images, before their size is known, and ever.
_AHEAD = 3  # Parts that are under way, for each worker.

# Threads hold Python's lock for some 2 ms an image, so they are in each other's way if
# images take little more: small ones, or on many cores. Processes are not, but take
# seconds to start. So they take over when, after `_TRIAL` seconds, images take less
# than `_CROWDED` each, and all that are left would take more than `_WORTH`.
_TRIAL, _CROWDED, _WORTH = 2.0, 0.006, 8.0
_PROCESS_BYTES = 1 << 29  # Of memory, more than a process takes [measured].


class Done(NamedTuple):
    """What a worker did.

    Attributes:
      results: of the first images that it was given, in their order.
      pixels: of these images.
      heaviest: bytes of the largest of them.
    """

    results: list[Any]
    pixels: int
    heaviest: int


_Future = concurrent.futures.Future[Done]
_Submit = Callable[[Sequence[int]], _Future]
"""Has some images mixed."""


def mixed_in_order(
    job: Job,
    indices: Sequence[int],
    finish: _Finish[_R],
    *,
    workers: int | None = None,
    in_processes: bool = False,
) -> Generator[_R | DataError, None, None]:
    """Yields what becomes of each image, in the order of the indices.

    Each worker reads some images, mixes and finishes them, while others do so with the
    next ones.

    Args:
      job: the job.
      indices: of the images in its source.
      finish: called with the id of each image and what was mixed of it, by several
        workers; what it returns is kept until the image's turn. A DataError becomes
        that of the image, any other exception ends the job.
      workers: how many; by default one a core.
      in_processes: whether processes take over from threads if images are small or
        cores many, and there is work left for a while. Then source, `finish` and what
        it returns must be picklable.

    Raises:
      WorkerError: if a process dies.
    """
    workers = workers or cores()
    most_processes = min(workers, memory() // _PROCESS_BYTES)
    limit = memory() // 8
    todo = collections.deque(indices)
    under_way: collections.deque[tuple[Sequence[int], _Future]] = collections.deque()
    each, most, heaviest = _FIRST, workers, 0
    finished, start = 0, 0.0
    with contextlib.ExitStack() as stack:
        submit = stack.enter_context(_threads(job, finish, workers))
        while todo or under_way:
            while todo and len(under_way) < most:
                part = [todo.popleft() for _ in range(min(each, len(todo)))]
                under_way.append((part, submit(part)))
            part, future = under_way.popleft()
            done = future.result()
            del future  # It keeps the results.
            count = len(done.results)
            each = max(1, min(_MOST, _PIXELS * count // max(1, done.pixels)))
            heaviest = max(heaviest, done.heaviest)
            most = max(1, min(_AHEAD * workers, limit // max(1, heaviest)))
            rest = [part[i : i + each] for i in range(count, len(part), each)]
            under_way.extendleft(reversed([(part, submit(part)) for part in rest]))
            if not finished:
                start = time.monotonic()  # By now, modules are loaded.
            elif in_processes and most_processes > 1:
                spent = time.monotonic() - start
                pace = spent / finished
                if spent > _TRIAL and pace < _CROWDED and len(todo) * pace > _WORTH:
                    in_processes = False
                    submit = stack.enter_context(
                        _processes(job, finish, most_processes)
                    )
            finished += count
            while done.results:
                yield done.results.pop(0)


@contextlib.contextmanager
def _threads(job: Job, finish: _Finish[Any], workers: int) -> Iterator[_Submit]:
    with threads(workers) as pool:
        yield lambda some: pool.submit(mix_some, job, finish, some)


@contextlib.contextmanager
def _processes(job: Job, finish: _Finish[Any], workers: int) -> Iterator[_Submit]:
    with processes.pool(job, workers) as pool:
        yield lambda some: processes.submit(pool, mix_some, finish, some)


def mix_some(job: Job, finish: _Finish[Any], indices: Sequence[int]) -> Done:
    """Reads, mixes and finishes the first images, as many as are enough for a while."""
    results: list[Any] = []
    pixels = heaviest = 0
    for index in indices:
        found = job.load(index)
        if isinstance(found, Example):
            pixels += found.image.shape[0] * found.image.shape[1]
            heaviest = max(heaviest, found.image.nbytes)
            found = job.mix(found)  # The original is not needed any more.
        if isinstance(found, Mixed):
            found = _finished(job, finish, index, found)
        results.append(found)
        del found
        if pixels >= _PIXELS:
            break
    return Done(results, pixels, heaviest)


def _finished(
    job: Job, finish: _Finish[_R], index: int, mixed: Mixed
) -> _R | DataError:
    try:
        return finish(job.source.ids[index], mixed)
    except WriteError:
        raise
    except DataError as error:
        return error
