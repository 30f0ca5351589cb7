"""The manifest: what was published, and, sealed, what its owner needs to undo it.

JSON lines in `manifest.jsonl`. The first line is the header: the version of the
permutation, the settings and the key's fingerprint. Every further line is an image, in
the order of publication. Anyone may read them, so what would help an attacker is
sealed with the secret key: the original name, suffix and mode, the nonce, and the
plan, which shows where the edges were. There are no times in it: equal runs write
equal bytes.
"""

import base64
import dataclasses
import json
import math
import os
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from vim_jax.data.errors import DataError, brief
from vim_jax.data.writers import sync_folder
from vim_jax.keys import SecretKey
from vim_jax.permute import SPEC_VERSION

NAME = "manifest.jsonl"

# Sealed records are padded to a multiple of this, since the compressed length of a
# plan tells how busy the image was.
_PADDING = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Sealed:
    """What only the key's holder may know of a published image.

    Attributes:
      id: the image's name in the source.
      suffix: the suffix of the source's file, None if it was no file.
      mode: Pillow's name of the original pixel format.
      nonce: uint32 `8`, see `vim_jax.SecretKey.nonce`.
      size: int32 `h w`, the plan.
    """

    id: str
    suffix: str | None
    mode: str
    nonce: np.ndarray
    size: np.ndarray


def seal(key: SecretKey, published_id: str, sealed: Sealed) -> str:
    """Returns `sealed` encrypted for the image published as `published_id`."""
    plan = zlib.compress(sealed.size.astype("<u4").tobytes())
    message = json.dumps(
        {
            "id": sealed.id,
            "suffix": sealed.suffix,
            "mode": sealed.mode,
            "nonce": sealed.nonce.astype("<u4").tobytes().hex(),
            "shape": list(sealed.size.shape),
            "plan": base64.b64encode(plan).decode(),
        }
    ).encode()
    message = message.ljust(math.ceil(len(message) / _PADDING) * _PADDING)
    encrypted = key.encrypt(message, associated=published_id.encode())
    return base64.b64encode(encrypted).decode()


def unseal(key: SecretKey, published_id: str, text: str) -> Sealed:
    """Returns what `seal` sealed for the image published as `published_id`.

    Raises:
      DataError: if it was made with another key, for another image, or damaged.
    """
    try:
        encrypted = base64.b64decode(text, validate=True)
        message = json.loads(key.decrypt(encrypted, associated=published_id.encode()))
        shape = tuple(message["shape"])
        plan = zlib.decompress(base64.b64decode(message["plan"]))
        return Sealed(
            id=message["id"],
            suffix=message["suffix"],
            mode=message["mode"],
            nonce=np.frombuffer(bytes.fromhex(message["nonce"]), "<u4"),
            size=np.frombuffer(plan, "<u4").astype(np.int32).reshape(shape),
        )
    except (ValueError, KeyError, TypeError, zlib.error):
        raise DataError(
            f"{published_id}: its record in the manifest does not open with this key, "
            "because it was damaged or belongs to another image: get the manifest anew"
        ) from None


def header(
    settings: Mapping[str, Any], key: SecretKey | None, **more: Any
) -> dict[str, Any]:
    """Returns the first line of a manifest; `key` is None where it is discarded."""
    return {
        "format": "vim_jax manifest",
        "permutation": SPEC_VERSION,
        "settings": dict(settings),
        "key": None if key is None else key.fingerprint,
        **more,
    }


def read(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """Reads a manifest.

    Returns:
      The header, the images' records, and the length in bytes of the complete lines: a
      killed run may leave half a line behind them.

    Raises:
      DataError: if there is no manifest, or it is damaged or of another version.
    """
    path = pathlib.Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f"{path.parent} has no {NAME}: give the folder that `vim-jax mix` wrote"
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({brief(error)})") from None
    complete = content[: content.rfind(b"\n") + 1]
    try:
        lines = [json.loads(line) for line in complete.splitlines()]
        if lines and lines[0]["format"] != "vim_jax manifest":
            raise ValueError
        ids = [line["id"] for line in lines[1:]]
        if len(set(ids)) != len(ids):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{path} is damaged or no manifest of vim-jax: get it anew"
        ) from None
    if not lines:
        raise DataError(f"{path} is empty: remove it and start again")
    if lines[0]["permutation"] != SPEC_VERSION:
        raise DataError(
            f"{path} names version {lines[0]['permutation']} of the permutation, this "
            f"vim-jax has version {SPEC_VERSION}: use the release that made it"
        )
    return lines[0], lines[1:], len(complete)


class ManifestWriter:
    """Appends records to a manifest, each on the disk before `append` returns."""

    def __init__(self, path: pathlib.Path, keep: int = 0):
        """Opens `path`, a new file or an old one of which `keep` bytes are kept."""
        self._file = open(path, "r+b" if path.exists() else "xb")  # noqa: SIM115
        self._file.truncate(keep)
        self._file.seek(keep)
        self._sync()
        sync_folder(path.parent)

    def append(self, record: Mapping[str, Any]) -> None:
        """Writes one line."""
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        self._file.write(line.encode() + b"\n")
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> "ManifestWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
