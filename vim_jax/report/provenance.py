"""Where numbers come from: what every results file says of its making."""

import os
import pathlib
import platform
import subprocess
from typing import Any

import jax
import numpy as np

import vim_jax

_PACKAGE = pathlib.Path(vim_jax.__file__).parent


def provenance(command: str, *, seed: int = 0) -> dict[str, Any]:
    """Returns what is needed to make numbers again.

    Args:
      command: that made them.
      seed: of their random numbers.
    """
    return {
        "command": command,
        "commit": _commit(),
        "device": f"{jax.devices()[0].device_kind}, {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "seed": seed,
        "versions": {
            "vim_jax": vim_jax.__version__,
            "jax": jax.__version__,
            "numpy": np.__version__,
        },
    }


def _commit() -> str | None:
    """Returns the commit of the code that runs, or None outside its repository."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(_PACKAGE), *arguments],
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:  # No git here.
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # Installed, the package may lie in a folder of someone else's repository.
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = git("rev-parse", "--short=12", "HEAD")
    # Results that lie beside the code, and pages, do not make it other code.
    code = (":(top)*.py", ":(top)*.j2", ":(top)pyproject.toml")
    same = git("diff", "--quiet", "HEAD", "--", *code) is not None
    return commit if same else f"{commit}-dirty"
