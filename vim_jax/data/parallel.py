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


def map_in_order(
    function: Callable[[_T], _R], items: Iterable[_T], *, workers: int | None = None
) -> Generator[_R, None, None]:
    """Yields `function(item)` for each item, in order, computed by several threads.

    Threads, because decoding, encoding and XLA let go of Python's lock, and because
    threads cannot outlive their process. At most twice as many items as workers are
    under way, so that memory does not grow with their number.

    Args:
      function: must be safe to call from several threads.
      items: what to call it with.
      workers: number of threads; by default one a core.
    """
    workers = workers or os.cpu_count() or 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        under_way: collections.deque[concurrent.futures.Future[_R]] = (
            collections.deque()
        )
        try:
            for item in items:
                under_way.append(pool.submit(function, item))
                if len(under_way) == 2 * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# Planning and shuffling a photograph of 12 megapixels takes 6 GB [measured].
_BYTES_A_VALUE = 170


class MemoryShare:
    """Lets images be worked on together as long as they fit into half the memory."""

    def __init__(self, total: int | None = None):
        """Shares `total` bytes; by default half of what this machine has."""
        self._free = self._total = _memory() // 2 if total is None else total
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


def _memory() -> int:
    """Returns the bytes of memory that this process may use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # A container has less.
        limit = pathlib.Path("/sys/fs/cgroup/memory.max").read_text()
        memory = min(memory, int(limit))
    return memory
