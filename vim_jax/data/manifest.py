"""The manifest: what was published, and, sealed, what its owner needs to undo it.

JSON lines in `manifest.jsonl`. The first line is the header: the version of the
permutation, the settings and the key's fingerprint. Every further line is an image, in
the order of publication. Anyone may read them, so what would help an attacker is
sealed with the secret key: the original name, suffix and mode, the nonce, and the
plan, which shows where the edges were. There are no times in it: equal runs write
equal bytes. `docs/manifest.md` defines the format.
"""

import base64
import contextlib
import dataclasses
import json
import math
import os
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import numpy as np

from vim_jax._types import Channels
from vim_jax.data.errors import DataError, Failures, brief
from vim_jax.data.writers import sync_folder
from vim_jax.keys import SecretKey
from vim_jax.permute import SPEC_VERSION

NAME = "manifest.jsonl"
VERSION = 1

# Sealed records are padded to a multiple of this, since the compressed length of a
# plan tells how busy the image was.
_PADDING = 4096
_PLAN_LEVEL = 1  # Plans are full of repetitions, which the fastest level finds, too.
_ROWS = 64  # That are packed at a time.


class DamagedError(DataError):
    """A manifest, or a line of it, that is none."""


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
    width = _width(sealed.size)
    packer = zlib.compressobj(_PLAN_LEVEL)
    # Some rows at a time, in the narrowest integers: a copy of the plan would be large.
    parts = (
        packer.compress(sealed.size[top : top + _ROWS].astype(f"<u{width}").tobytes())
        for top in range(0, len(sealed.size), _ROWS)
    )
    plan = b"".join(parts) + packer.flush()
    message = json.dumps(
        {
            "id": sealed.id,
            "suffix": sealed.suffix,
            "mode": sealed.mode,
            "nonce": sealed.nonce.astype("<u4").tobytes().hex(),
            "shape": list(sealed.size.shape),
            "width": width,
            "plan": base64.b64encode(plan).decode(),
        }
    ).encode()
    message = message.ljust(math.ceil(len(message) / _PADDING) * _PADDING)
    encrypted = key.encrypt(message, associated=published_id.encode())
    return base64.b64encode(encrypted).decode()


def unseal(key: SecretKey, record: Mapping[str, Any]) -> Sealed:
    """Returns what `seal` sealed for the image of a record.

    Raises:
      DataError: if it was made with another key, for another image, or damaged.
    """
    message = _open(key, record)
    plan = zlib.decompress(base64.b64decode(message["plan"]))
    size = np.frombuffer(plan, f"<u{message['width']}").astype(np.int32)
    return Sealed(
        id=message["id"],
        suffix=message["suffix"],
        mode=message["mode"],
        nonce=np.frombuffer(bytes.fromhex(message["nonce"]), "<u4"),
        size=size.reshape(message["shape"]),
    )


def _width(size: np.ndarray) -> int:
    """Returns how many bytes the largest of some region sizes takes: 1, 2 or 4."""
    largest = int(size.max())
    return 1 if largest < 2**8 else 2 if largest < 2**16 else 4


def original_id(key: SecretKey, record: Mapping[str, Any]) -> str:
    """Returns the sealed name of an image in its source.

    Raises:
      DataError: as `unseal`.
    """
    return _open(key, record)["id"]


def _open(key: SecretKey, record: Mapping[str, Any]) -> dict[str, Any]:
    id = record["id"]
    try:
        encrypted = base64.b64decode(record["sealed"], validate=True)
        return json.loads(key.decrypt(encrypted, associated=id.encode()))
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"{id}: its record in the manifest does not open with this key, because it "
            "was damaged or belongs to another image: get the manifest anew"
        ) from None


def header(
    settings: Mapping[str, Any], key: SecretKey | None, **more: Any
) -> dict[str, Any]:
    """Returns the first line of a manifest; `key` is None where it is discarded."""
    return {
        "format": "vim_jax manifest",
        "manifest": VERSION,
        "permutation": SPEC_VERSION,
        "settings": dict(settings),
        "key": None if key is None else key.fingerprint,
        **more,
    }


def as_line(entry: Mapping[str, Any]) -> bytes:
    """Returns a header or record as it stands in a manifest."""
    # NumPy's numbers, which settings may be, become Python's.
    text = json.dumps(
        entry, ensure_ascii=False, separators=(",", ":"), default=lambda x: x.item()
    )
    return text.encode() + b"\n"


def without_seal(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what anyone may read of a record: it is small, whatever the image."""
    return {name: value for name, value in record.items() if name != "sealed"}


Records = Iterator[tuple[dict[str, Any], int]]
"""Records of images, each with the position in the manifest where it ends."""


def read(
    path: str | os.PathLike[str], damaged: Failures | None = None
) -> tuple[dict[str, Any], int, Records]:
    """Reads a manifest, line by line: sealed records are large.

    Args:
      path: the file.
      damaged: if given, damaged records are passed over and noted here.

    Returns:
      The header, the position where it ends, and the records. Half a line at the end,
      which a killed run may leave, is passed over.

    Raises:
      DataError: if there is no manifest, or it is of another version or damaged; the
        records raise it too, when they are read.
    """
    path = pathlib.Path(path)
    lines = _lines(path)
    head, end = next(lines, (None, 0))
    head = head or {}
    if head.get("format") != "vim_jax manifest":
        raise _damaged(path, 1)
    for name, version in (("manifest", VERSION), ("permutation", SPEC_VERSION)):
        if head.get(name) != version:
            raise DataError(
                f"{path} names version {head.get(name)!r} of the {name}, this vim-jax "
                f"has version {version}: use the release that made it"
            )
    settings = head.get("settings")
    if (
        not isinstance(settings, dict)
        or settings.get("channels") not in get_args(Channels)
        or not isinstance(settings.get("scramble_regions"), bool)
        or not isinstance(head.get("key", 0), str | None)
        or not isinstance(head.get("file_format"), str)
    ):
        raise _damaged(path, 1)
    return head, end, _records(path, lines, damaged)


def _lines(path: pathlib.Path) -> Iterator[tuple[dict[str, Any] | None, int]]:
    """Yields the complete lines, None for one that is damaged, and where they end."""
    end = 0
    try:
        with open(path, "rb") as file:
            for line in file:
                end += len(line)
                if not line.endswith(b"\n"):
                    return
                try:
                    content = json.loads(line)
                except (ValueError, RecursionError):
                    content = None
                yield content if isinstance(content, dict) else None, end
    except FileNotFoundError:
        if next(path.parent.glob("manifest-*-of-*.jsonl"), None) is not None:
            raise DataError(
                f"{path.parent} holds parts of a manifest, of a job in shards: join "
                f"them with `vim-jax merge {path.parent}` when all shards are done"
            ) from None
        raise DataError(
            f"{path.parent} has no {NAME}: give the folder that `vim-jax mix` wrote"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({brief(error)}): check its rights"
        ) from None


def _records(
    path: pathlib.Path,
    lines: Iterator[tuple[dict[str, Any] | None, int]],
    damaged: Failures | None,
) -> Records:
    seen = set()
    for number, (record, end) in enumerate(lines, 2):
        if record is None or not _is_record(record) or record["id"] in seen:
            error = _damaged(path, number)
            if damaged is None:
                raise error
            damaged[f"line {number}"] = str(error)
            continue
        seen.add(record["id"])
        yield record, end


def _is_record(record: Mapping[str, Any]) -> bool:
    numbers = [record.get(name) for name in ("vfe", "vfe_after", "left_in_place")]
    bits = record.get("bits_per_region")
    if isinstance(bits, dict):
        numbers += [bits.get("minimum"), bits.get("median")]
    return (
        isinstance(record.get("id"), str)
        and len(numbers) == 5
        and all(isinstance(x, int | float) for x in numbers)
    )


def _damaged(path: pathlib.Path, number: int) -> DamagedError:
    return DamagedError(
        f"{path} is damaged in line {number}, or no manifest of vim-jax: get it anew, "
        "or begin a new folder"
    )


class ManifestWriter:
    """Appends lines to a manifest, which are on the disk when a method returns."""

    def __init__(self, path: pathlib.Path, keep: int = 0):
        """Opens `path`, a new file or an old one of which `keep` bytes are kept."""
        self._file = open(path, "r+b" if path.exists() else "xb")  # noqa: SIM115
        try:
            self.cut(keep)
            sync_folder(path.parent)
        except BaseException:
            self.__exit__()
            raise

    def append(self, *entries: Mapping[str, Any]) -> list[int]:
        """Writes lines; returns the position in the file where each of them begins."""
        starts = []
        for entry in entries:
            starts.append(self._file.tell())
            self._file.write(as_line(entry))
        self._sync()
        return starts

    def cut(self, end: int) -> None:
        """Removes what stands from a position on."""
        self._file.truncate(end)
        self._file.seek(end)
        self._sync()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> "ManifestWriter":
        return self

    def __exit__(self, *_: object) -> None:
        # What is on the disk is on the disk; what is not was complained about.
        with contextlib.suppress(OSError):
            self._file.close()
