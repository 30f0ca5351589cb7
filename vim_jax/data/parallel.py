"""Work on several images at a time, results in order."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


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
