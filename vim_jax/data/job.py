"""The images of a source, their published names, and how to mix them."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vim_jax.data import manifest
from vim_jax.data.errors import DataError, Failures
from vim_jax.data.example import Example, LazySource
from vim_jax.data.image_folder import collisions, output_name
from vim_jax.data.mixing import Mixed, mix_example
from vim_jax.data.parallel import MemoryShare
from vim_jax.data.shards import Shard
from vim_jax.keys import SecretKey
from vim_jax.mixer import VisualMixer

Result = Mixed | DataError
"""A mixed image, or what went wrong with it."""


class Job:
    """What is published of a source, and under which names.

    Attributes:
      source: the images.
      indices: published id -> index in the source, in its order.
      failures: id -> one sentence, for images that cannot be published at all.
      key: the secret key.
    """

    def __init__(
        self,
        source: LazySource,
        mixer: VisualMixer,
        key: SecretKey | None,
        rename: bool,
        suffix: str,
        shard: Shard | None = None,
    ):
        """See `publish`; `suffix` is that of the published files."""
        self.source = source
        self._mixer, self._rename = mixer, rename
        self._keep_key = key is not None
        self._shard = shard
        self.equip(SecretKey.generate() if key is None else key, MemoryShare())
        self.failures: Failures = {}
        self._names: dict[str, str] = {}
        for i, id in enumerate(source.ids):
            try:
                name = output_name(id, suffix)
                self._names[id] = (
                    output_name(_number(i, source.ids), suffix) if rename else name
                )
            except DataError as error:
                self.failures[id] = str(error)
        if not rename:
            self._refuse(collisions(self._names, suffix))
        own = range(len(source)) if shard is None else shard.indices(len(source))
        ids = {source.ids[i]: i for i in own}
        self.failures = {id: why for id, why in self.failures.items() if id in ids}
        self.indices = {
            self._names[id]: i for id, i in ids.items() if id in self._names
        }

    def equip(self, key: SecretKey, memory: MemoryShare) -> None:
        """Gives a job what does not travel with it when it is pickled."""
        self.key, self._memory = key, memory

    def __getstate__(self) -> dict[str, Any]:
        equipment = ("key", "_memory")
        return {k: v for k, v in self.__dict__.items() if k not in equipment}

    @property
    def kept_key(self) -> SecretKey | None:
        """The key, or None if it is forgotten at the end."""
        return self.key if self._keep_key else None

    def _refuse(self, collisions: Mapping[str, str]) -> None:
        for id in self.source.ids:
            if id in collisions:
                del self._names[id]
                self.failures[id] = (
                    f"{id} would be published under the name of {collisions[id]}: "
                    "rename one of them"
                )

    def header(self, fmt: str) -> dict[str, Any]:
        """Returns the manifest's first line; resuming takes an equal one."""
        # Numbers are only meaningful for one number of images.
        count = {"images": len(self.source)} if self._rename else {}
        settings = dataclasses.asdict(self._mixer)
        whole = manifest.header(
            settings, self.kept_key, file_format=fmt, renamed=self._rename, **count
        )
        if self._shard is None:
            return whole
        # Not a plain digest: names could be guessed and tried.
        names = np.frombuffer("\0".join(self.source.ids).encode(), np.uint8)
        digest = self.key.nonce("list of images", names[None]).astype("<u4").tobytes()
        return self._shard.header(whole, len(self.source), digest.hex())

    def check_origin(self, record: Mapping[str, Any]) -> None:
        """Raises DataError if a published image is gone, or another one, by now."""
        index = self.indices.get(record["id"])
        if index is None:
            raise DataError(
                f"{record['id']} is published, but the source has no such image any "
                "more: put it back, or mix into a new folder to publish without it"
            )
        if self.kept_key is None:
            return
        then, now = manifest.original_id(self.kept_key, record), self.source.ids[index]
        if then != now:
            raise DataError(
                f"{record['id']} was published from {then}, but would now be {now}: "
                "put the source back as it was, or mix into a new folder"
            )

    def load(self, index: int) -> Example | DataError:
        """Reads one image; what goes wrong with it is its result."""
        try:
            return self.source[index]
        except DataError as error:
            return error
        except MemoryError:
            return _too_large(self.source.ids[index])

    def mix(self, example: Example) -> Result:
        """Mixes an image; what goes wrong with it is its result."""
        try:
            with self._memory.of(example.image.size):
                return mix_example(
                    example,
                    self._names[example.id],
                    self._mixer,
                    self.key,
                    keep_key=self._keep_key,
                    label_names=self.source.label_names,
                )
        except MemoryError:
            return _too_large(example.id)
        except ValueError as error:
            return DataError(f"{example.id}: {error}")


def _too_large(id: str) -> DataError:
    return DataError(f"{id} is too large for this machine's memory: shrink it")


def _number(index: int, ids: Sequence[str]) -> str:
    """Returns the running number of an image, in the folder of its class."""
    top, slash, _ = ids[index].partition("/")
    digits = max(6, len(str(len(ids))))
    return f"{top + slash if slash else ''}{index + 1:0{digits}}"
