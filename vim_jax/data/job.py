"""The images of a source, their published names, and how to mix them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from vim_jax.data import manifest
from vim_jax.data.errors import DataError, Failures
from vim_jax.data.example import LazySource
from vim_jax.data.image_folder import collisions, output_name
from vim_jax.data.mixing import Mixed, mix_example
from vim_jax.data.parallel import MemoryShare
from vim_jax.keys import SecretKey
from vim_jax.mixer import VisualMixer


class Job:
    """What is published of a source, and under which names.

    Attributes:
      source: the images.
      indices: published id -> index in the source, in its order.
      failures: id -> one sentence, for images that cannot be published at all.
    """

    def __init__(
        self,
        source: LazySource,
        mixer: VisualMixer,
        key: SecretKey | None,
        rename: bool,
        suffix: str,
    ):
        """See `publish`; `suffix` is that of the published files."""
        self.source = source
        self._mixer, self._rename = mixer, rename
        self._kept = key
        self._key = SecretKey.generate() if key is None else key
        self._memory = MemoryShare()
        self.failures: Failures = {}
        self._names: dict[int, str] = {}
        for i, id in enumerate(source.ids):
            try:
                name = output_name(id, suffix)
                self._names[i] = (
                    output_name(_number(i, source.ids), suffix) if rename else name
                )
            except DataError as error:
                self.failures[id] = str(error)
        if not rename:
            self._refuse(collisions([source.ids[i] for i in self._names], suffix))
        self.indices = {name: i for i, name in self._names.items()}

    def _refuse(self, collisions: Mapping[str, str]) -> None:
        for i, id in enumerate(self.source.ids):
            if id in collisions:
                del self._names[i]
                self.failures[id] = (
                    f"{id} would be published under the name of {collisions[id]}: "
                    "rename one of them"
                )

    def header(self, fmt: str) -> dict[str, Any]:
        """Returns the manifest's first line; resuming takes an equal one."""
        # Numbers are only meaningful for one number of images.
        count = {"images": len(self.source)} if self._rename else {}
        settings = dataclasses.asdict(self._mixer)
        return manifest.header(
            settings, self._kept, file_format=fmt, renamed=self._rename, **count
        )

    def check_origin(self, record: Mapping[str, Any]) -> None:
        """Raises DataError if a published name stands for another image by now."""
        index = self.indices.get(record["id"])
        if self._kept is None or index is None:
            return
        then, now = manifest.original_id(self._kept, record), self.source.ids[index]
        if then != now:
            raise DataError(
                f"{record['id']} was published from {then}, but would now be {now}: "
                "put the source back as it was, or mix into a new folder"
            )

    def mix(self, index: int) -> Mixed | DataError:
        """Mixes one image; what goes wrong with it is its result."""
        id = self.source.ids[index]
        try:
            example = self.source[index]
            with self._memory.of(example.image.size):
                return mix_example(
                    example,
                    self._names[index],
                    self._mixer,
                    self._key,
                    keep_key=self._kept is not None,
                    label_names=self.source.label_names,
                )
        except DataError as error:
            return error
        except ValueError as error:
            return DataError(f"{id}: {error}")
        except (MemoryError, jax.errors.JaxRuntimeError):
            return DataError(f"{id} is too large for this machine's memory: shrink it")


def _number(index: int, ids: Sequence[str]) -> str:
    """Returns the running number of an image, in the folder of its class."""
    top, slash, _ = ids[index].partition("/")
    digits = max(6, len(str(len(ids))))
    return f"{top + slash if slash else ''}{index + 1:0{digits}}"
