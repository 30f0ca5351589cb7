"""Work on several images at a time, results in order."""

import collections
import concurrent.futures
import contextlib
import os
import pathlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all images."""

_AHEAD = 4


def map_in_order(
    function: Callable[[_T], _R],
    items: Iterable[_T],
    *,
    workers: int | None = None,
    pool: concurrent.futures.Executor | None = None,
    weight: Callable[[_T], int] = lambda item: 0,
    limit: int = 0,
) -> Generator[_R, None, None]:
    """Yields `function(item)` for each item, in order, computed by several threads.

    Threads, because decoding, encoding and XLA let go of Python's lock, and because
    threads cannot outlive their process. At most four times as many items as workers
    are under way, so that memory does not grow with their number.

    Args:
      function: must be safe to call from several threads.
      items: what to call it with.
      workers: number of threads; by default one a core.
      pool: as many threads, shared with others; by default threads of its own.
      weight: of an item that is about to get under way, of 0 or more.
      limit: of the weights of all items under way, unless there is only one.
    """
    workers = workers or os.cpu_count() or 1
    under_way: collections.deque[tuple[concurrent.futures.Future[_R], int]] = (
        collections.deque()
    )
    total = 0
    with contextlib.ExitStack() as stack:
        if pool is None:
            pool = stack.enter_context(threads(workers))
        for item in items:
            heavy = weight(item)
            while under_way and (
                len(under_way) >= _AHEAD * workers or total + heavy > limit
            ):
                total -= under_way[0][1]
                yield under_way.popleft()[0].result()  # No name: it may be large.
            under_way.append((pool.submit(function, item), heavy))
            total += heavy
            del item
        while under_way:
            yield under_way.popleft()[0].result()


@contextlib.contextmanager
def threads(workers: int) -> Iterator[concurrent.futures.Executor]:
    """Yields so many threads; at the end, what has not begun never will."""
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# What planning and shuffling takes at the same time, padding included [measured].
_BYTES_A_VALUE = 64


class MemoryShare:
    """Lets images be worked on together as long as they fit into half the memory."""

    def __init__(self, total: int | None = None):
        """Shares `total` bytes; by default half of what this machine has."""
        self._free = self._total = memory() // 2 if total is None else total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, values: int) -> Iterator[None]:
        """Waits until there is room for an image of so many values, and takes it.

        An image larger than all of it has it for itself.
        """
        share = min(values * _BYTES_A_VALUE, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()


def memory() -> int:
    """Returns the bytes of memory that this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # A container has less.
        limit = pathlib.Path("/sys/fs/cgroup/memory.max").read_text()
        memory = min(memory, int(limit))
    return memory
