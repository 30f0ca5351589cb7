"""Where a secret key lies, for programs that must not carry the key itself."""

import dataclasses
import os

from vim_jax.data.errors import DataError
from vim_jax.keys import KeyFileError, SecretKey


@dataclasses.dataclass(frozen=True)
class KeyReference:
    """A place that a worker reads the secret key from.

    It is safe to pickle, print and send: it holds the name of the place, never the
    key. `KeyReference("/secrets/my.key")` is a key file, which must be there, private,
    on every worker. `KeyReference(variable="VIM_JAX_KEY")` is an environment variable
    of the workers that holds the text of a key file, or only the 64 hexadecimal digits
    in it. A file is safer: other processes of the same user, and what prints or logs
    the environment, see variables.

    Attributes:
      path: the key file, made absolute; None for a variable.
      variable: the name of the environment variable; None for a file.
    """

    path: str | os.PathLike[str] | None = None
    variable: str | None = None

    def __post_init__(self):
        if (self.path is None) == (self.variable is None):
            raise DataError(
                "path and variable of a KeyReference are both given or both missing: "
                "give one of them"
            )
        if self.path is not None:
            object.__setattr__(self, "path", local_path("key file", self.path))
        elif not str(self.variable).isidentifier() or len(str(self.variable)) >= 64:
            # It is not shown, since it may be a key given by mistake.
            raise DataError(
                "variable is not the name of an environment variable: use fewer than "
                "64 letters, digits and underscores, such as VIM_JAX_KEY"
            )

    def load(self) -> SecretKey:
        """Returns the key.

        Raises:
          KeyFileError: if there is no key in that place.
        """
        if self.path is not None:
            return SecretKey.load(self.path)
        key = _key_in(str(self.variable))
        if key is None:
            raise KeyFileError(
                f"the environment variable {self.variable} holds no vim-jax key on "
                "this machine: set it to the 64 hexadecimal digits of a key file."
            )
        return key


def local_path(name: str, path: str | os.PathLike[str]) -> str:
    """Returns a path made absolute, for processes that run in other folders.

    Args:
      name: what it is, for the error.
      path: a path of a file system that all machines have mounted.

    Raises:
      DataError: if it is a URL.
    """
    if "://" in os.fspath(path):
        raise DataError(
            f"{name} {os.fspath(path)} is a URL, and only paths are read and written: "
            "mount the bucket on all machines and give the path of the mount"
        )
    return os.path.abspath(path)


def _key_in(variable: str) -> SecretKey | None:
    """Returns the key in an environment variable, None if it holds none.

    Errors are swallowed here, where no local variable holds the secret that tracebacks
    may print.
    """
    try:
        return SecretKey(bytes.fromhex(os.environ[variable].split()[-1]))
    except (KeyError, IndexError, ValueError):
        return None
