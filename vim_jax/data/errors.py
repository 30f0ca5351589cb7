"""The exceptions of `vim_jax.data`."""


class DataError(ValueError):
    """Something about the data that the user can put right.

    The message is one sentence that names the file or argument, its value and the
    remedy. Exceptions of Pillow, of TFDS and of the operating system never leave
    this package.
    """


Failures = dict[str, str]
"""Image id -> one sentence that says what went wrong with it."""


class WrongKeyError(ValueError):
    """A key that is not the one a published set was mixed with."""


class WorkerError(DataError):
    """A process that helped is gone, whatever the image: it was killed."""


class WriteError(DataError):
    """The output cannot be written, whatever the image: a full or read-only disk."""


class NotYetError(DataError):
    """Another process is at it, or has to end first: the same goes well later."""


def brief(error: BaseException) -> str:
    """Returns the first line of an exception's message, without its final full stop.

    Library messages may run over pages; a sentence has room for their first line.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(error).__name__
