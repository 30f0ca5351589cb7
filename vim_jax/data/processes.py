"""Processes that work on a job.

Python's lock lets one thread of a process compute at a time, but for long steps: where
images are small, steps are short, and processes are what scales with cores. They get
their images' numbers through a pipe, and give back results through another: they never
write to a disk, so whatever becomes of the process that started them, nothing else can
be in its output.
"""

import concurrent.futures
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from vim_jax.data.errors import WorkerError
from vim_jax.data.job import Job
from vim_jax.data.parallel import MemoryShare, memory
from vim_jax.keys import SecretKey, secret_of

_R = TypeVar("_R")

_job: Job | None = None  # Of this process, once it is a worker.


@contextlib.contextmanager
def pool(job: Job, workers: int) -> Iterator[concurrent.futures.Executor]:
    """Yields so many processes that `work`; at the end, none is left.

    Args:
      job: what they work on; picklable but for its key, which reaches them through a
        pipe.
      workers: how many.

    Raises:
      WorkerError: if one of them dies.
    """
    # Neither "fork", which copies the locks of other threads, nor what it inherits.
    context = multiprocessing.get_context("spawn")
    # A job is long: among the arguments of a process, it would not fit into the pipe
    # that these go through, and we would wait until the process has started, for ever
    # if it dies before.
    receiver, sender = context.Pipe(duplex=False)
    executor = concurrent.futures.ProcessPoolExecutor(
        workers,
        context,
        initializer=_start,
        initargs=(
            (receiver, context.Lock()),
            secret_of(job.key),
            (memory() // 2 // workers, context.Lock()),
        ),
    )
    sending = threading.Thread(target=_send, args=(sender, job, workers))
    sending.start()
    try:
        yield executor
    except BrokenProcessPool:
        raise WorkerError(
            "a worker process was killed, perhaps for want of memory: use fewer "
            f"workers than {workers}, and run this again to go on"
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
        receiver.close()  # Now nobody receives, and sending ends.
        sending.join()
        sender.close()


def submit(
    executor: concurrent.futures.Executor,
    function: Callable[[Job, Any, Sequence[int]], _R],
    finish: Any,
    some: Sequence[int],
) -> concurrent.futures.Future[_R]:
    """Has a worker of a pool call a function with its job."""
    # A process that this starts inherits that it does not heed Ctrl-C.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return executor.submit(_work, function, finish, some)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send(sender: Connection, job: Job, times: int) -> None:
    """Sends a job so many times, or until nobody can receive it any more."""
    with contextlib.suppress(BrokenPipeError):
        for _ in range(times):
            sender.send(job)


def _start(
    job_from: tuple[Connection, Any],
    secret: bytes,
    share: tuple[int, Any],
) -> None:
    """Makes this process a worker."""
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The first process deals with it.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    receiver, one_at_a_time = job_from
    with one_at_a_time:
        job: Job = receiver.recv()
    job.equip(SecretKey(bytes(secret)), MemoryShare(*share))
    _job = job


def _end_with_parent() -> None:
    """Ends this process when the first one has ended, however it did."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(
    function: Callable[[Job, Any, Sequence[int]], _R], finish: Any, some: Sequence[int]
) -> _R:
    """Calls a function with this worker's job."""
    assert _job is not None
    return function(_job, finish, some)
