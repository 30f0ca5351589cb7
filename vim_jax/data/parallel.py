"""Work on several images at a time, results in order."""

import collections
import concurrent.futures
import contextlib
import math
import os
import pathlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all images."""

_AHEAD = 4


def map_in_order(
    function: Callable[[_T], _R], items: Iterable[_T], *, workers: int | None = None
) -> Generator[_R, None, None]:
    """Yields `function(item)` for each item, in order, computed by several threads.

    Threads, because decoding, encoding and compiled loops let go of Python's lock.
    At most four times as many items as workers are under way, so that memory does not
    grow with their number.

    Args:
      function: must be safe to call from several threads.
      items: what to call it with.
      workers: number of threads; by default one a core.
    """
    workers = workers or cores()
    under_way: collections.deque[concurrent.futures.Future[_R]] = collections.deque()
    with threads(workers) as pool:
        for item in items:
            while len(under_way) >= _AHEAD * workers:
                yield under_way.popleft().result()  # No name: it may be large.
            under_way.append(pool.submit(function, item))
            del item
        while under_way:
            yield under_way.popleft().result()


@contextlib.contextmanager
def threads(workers: int) -> Iterator[concurrent.futures.Executor]:
    """Yields so many threads; at the end, what has not begun never will."""
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


# More than planning and shuffling take at the same time [measured].
_BYTES_A_VALUE = 64


class MemoryShare:
    """Lets images be worked on together as long as they fit into half the memory."""

    def __init__(
        self,
        total: int | None = None,
        alone: contextlib.AbstractContextManager[Any] | None = None,
    ):
        """Makes a share, which nobody has a part of yet.

        Args:
          total: bytes to be shared; by default half of what this machine has.
          alone: entered for an image larger than that, so that other processes, too,
            let it have the memory for itself; it can be entered again and again.
        """
        self._alone = contextlib.nullcontext() if alone is None else alone
        self._free = self._total = memory() // 2 if total is None else total
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def of(self, values: int) -> Iterator[None]:
        """Waits until there is room for an image of so many values, and takes it.

        An image larger than all of it has it for itself.
        """
        wanted = values * _BYTES_A_VALUE
        share = min(wanted, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            with self._alone if wanted > share else contextlib.nullcontext():
                yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()


def cores() -> int:
    """Returns how many processor cores this process may use, at least 1."""
    count = os.cpu_count() or 1
    with contextlib.suppress(AttributeError):  # Not on all systems.
        count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # A container has less.
        quota, period = pathlib.Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(count, 1)


def memory() -> int:
    """Returns the bytes of memory that this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # A container has less.
        limit = pathlib.Path("/sys/fs/cgroup/memory.max").read_text()
        memory = min(memory, int(limit))
    return memory
