"""SIGTERM as a request: the loop ends when it suits it, with a checkpoint."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

EXIT_CODE = 128 + signal.SIGTERM
"""What a process ends with after SIGTERM: 143."""


@contextlib.contextmanager
def holding_back_sigterm() -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether SIGTERM has come since.

    Nothing changes outside the main thread, which alone can listen to signals, and
    where SIGTERM is ignored.
    """
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True

    ignored = signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)
