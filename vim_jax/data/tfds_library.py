"""TensorFlow Datasets, imported when needed and in working order."""

import contextlib
import importlib
import importlib.metadata
import logging
from collections.abc import Iterator
from typing import Any

from vim_jax.data.errors import DataError, brief


def import_tfds() -> Any:
    """Returns the module `tensorflow_datasets`.

    It is imported here and not at the top of a module because it takes half a second
    that users of image folders need not wait.

    Raises:
      DataError: if it is not installed, or of no use with the installed protobuf.
    """
    try:
        with quiet():
            library = importlib.import_module("tensorflow_datasets")
            if not hasattr(library, "data_source"):
                # It stopped half-way, and only logged why: once more, to be told.
                importlib.import_module("tensorflow_datasets.public_api")
    except ModuleNotFoundError as error:
        raise DataError(
            f"TensorFlow Datasets cannot be imported because {error.name} is missing: "
            "pip install tensorflow-datasets"
        ) from error
    except Exception as error:
        raise DataError(
            f"TensorFlow Datasets cannot be imported ({brief(error)}) with protobuf "
            f"{_protobuf()}: pip install 'protobuf>=6.33'"
        ) from error
    if not hasattr(library, "data_source"):
        raise DataError(
            "TensorFlow Datasets is damaged: pip install --force-reinstall --no-deps "
            "tensorflow-datasets"
        )
    return library


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps TFDS from logging warnings, where an exception says the same better."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _protobuf() -> str:
    try:
        return importlib.metadata.version("protobuf")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
