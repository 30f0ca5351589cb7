"""Secret keys, the image keys derived from them, and key files."""

import dataclasses
import hashlib
import hmac
import os
import pathlib
import secrets
import stat
from typing import NoReturn

import jax
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from vim_jax._types import AnyArray
from vim_jax.words import turn_words

_HEADER = "vim-jax secret key 1"
_HIDDEN = "<hidden>"
_BLOCK_BYTES = 64  # Of ChaCha20.


class KeyFileError(ValueError):
    """A key file that cannot be used, in one sentence."""


class _Hidden(bytes):
    """Secret bytes that do not show in a traceback which prints local variables."""

    def __repr__(self) -> str:
        return _HIDDEN

    __str__ = __repr__


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class ImageKey:
    """The key of one image: what `SecretKey.for_image` returns and `shuffle` takes.

    A pytree, so that it enters jitted functions as an argument; stack several for
    `jax.vmap`.

    Attributes:
      words: uint32, the image's keystream: `(2c+1)*h*w` words, or `(3c+1)*h*w` if
        the image has a row or column of values longer than 256. Secret.
      nonce: uint32 `8`, the number that the words were derived from. It says nothing
        to anyone without the secret key.
    """

    words: AnyArray
    nonce: AnyArray

    def __repr__(self) -> str:
        return f"ImageKey({_HIDDEN})"

    def __rich_repr__(self):
        yield _HIDDEN

    def __reduce__(self) -> NoReturn:
        raise TypeError("ImageKey cannot be pickled: derive it again from its key.")


class ImageStream:
    """The keystream of one image, as `docs/permutation.md` defines it, drawn in parts.

    It does not show in tracebacks that print local variables.
    """

    __slots__ = ("_seed",)

    def __init__(self, seed: bytes):
        """Takes the 32 secret bytes of the image; see `SecretKey.stream`."""
        self._seed = _Hidden(seed)

    def read_into(self, start: int, out: np.ndarray) -> None:
        """Reads bytes of the words in little-endian order.

        Args:
          start: number of the first byte.
          out: uint8 zeros, contiguous, to be replaced.
        """
        block, skipped = divmod(start, _BLOCK_BYTES)
        cipher = ChaCha20(self._seed, block.to_bytes(4, "little") + bytes(12))
        encryptor = Cipher(cipher, None).encryptor()
        encryptor.update(bytes(skipped))
        encryptor.update_into(out.data, out.data)

    def __repr__(self) -> str:
        return f"ImageStream({_HIDDEN})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("ImageStream cannot be pickled: derive it again from its key.")


class SecretKey:
    """256 secret bits that mix and restore images.

    Guarantees:
      * Its bits come from the operating system (`generate`) or a key file (`load`),
        and leave the object only through `save`, or through pipes to the processes
        that help with a job. `repr`, errors, tracebacks with
        local variables and pickling do not reveal them.
      * Images that differ in id, shape, dtype or any pixel get independent
        permutations, under one key and for as many sets as one likes.
    """

    __slots__ = ("_fingerprint", "_secret")

    def __init__(self, secret: bytes):
        """Wraps 32 secret bytes; use `generate` or `load` rather than this."""
        # `bytes(32)` would be 32 zeros: only bytes are taken for bytes.
        secret = _Hidden(secret) if isinstance(secret, bytes) else _Hidden()
        if len(secret) != 32:
            raise ValueError("a secret key has 32 bytes: use SecretKey.generate().")
        self._secret = secret
        self._fingerprint = self._subkey("fingerprint")[:16].hex()

    @classmethod
    def generate(cls) -> "SecretKey":
        """Returns a new key from the operating system's entropy."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SecretKey":
        """Returns the key in the file at `path`.

        Raises:
          KeyFileError: if there is no such file, it is readable by group or others,
            or it holds no key.
        """
        path = pathlib.Path(path)
        try:
            with open(path, "rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise KeyFileError(
                        f"key file {path} is open to other users: make it private with "
                        f"`chmod 600 {path}`, and think about who may have read it."
                    )
                content = _Hidden(file.read(1024))
        except OSError as error:
            raise KeyFileError(
                f"key file {path} cannot be read: {error.strerror}."
            ) from None
        secret = _parse(content)
        if secret is None:
            raise KeyFileError(
                f"key file {path} holds no vim-jax key: it should be two lines, "
                f'"{_HEADER}" and 64 hexadecimal digits.'
            )
        return cls(secret)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the key to a new file that only its owner can read, and syncs it.

        Raises:
          KeyFileError: if the file exists already (it is left as it is) or cannot be
            written.
        """
        path = pathlib.Path(path)
        try:
            _write_private(path, _Hidden(f"{_HEADER}\n{self._secret.hex()}\n".encode()))
        except FileExistsError:
            raise KeyFileError(
                f"key file {path} exists and is never overwritten: choose another "
                "path, or load it."
            ) from None
        except OSError as error:
            raise KeyFileError(
                f"key file {path} cannot be written: {error.strerror}."
            ) from None

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that name the key and are safe to publish."""
        return self._fingerprint

    def for_image(
        self, image_id: str, pixels: AnyArray, *, words: int | None = None
    ) -> ImageKey:
        """Returns the key of one image.

        Args:
          image_id: the image's name in its set.
          pixels: `h w` or `h w c`, the original image.
          words: see `image_key`.
        """
        nonce = self.nonce(image_id, pixels)
        return self.image_key(nonce, np.shape(pixels), words=words)

    def nonce(self, image_id: str, pixels: AnyArray) -> np.ndarray:
        """Returns uint32 `8`: HMAC-SHA256 of the image's id, shape, dtype and pixels.

        Equal nonces prove that a restored image is the one that was mixed.
        """
        pixels = np.asarray(pixels)
        if not pixels.dtype.isnative:
            pixels = pixels.astype(pixels.dtype.newbyteorder("="))
        name = image_id.encode()
        head = f"{len(name)}:{pixels.dtype.name}:{pixels.shape}:".encode()
        mac = hmac.new(self._subkey("nonce"), head + name, hashlib.sha256)
        width = pixels.dtype.itemsize
        bits = np.ascontiguousarray(pixels).view(f"u{width}").astype(f"<u{width}")
        mac.update(bits.data)
        return np.frombuffer(mac.digest(), "<u4").astype(np.uint32)

    def image_key(
        self, nonce: AnyArray, shape: tuple[int, ...], *, words: int | None = None
    ) -> ImageKey:
        """Returns the image key that belongs to a nonce.

        Args:
          nonce: uint32 `8`, as `nonce` returned it.
          shape: `(h, w)` or `(h, w, c)` of the image.
          words: how many words of its keystream to draw, from the first; by default
            as many as any plan takes, with any channels and scrambling.
        """
        nonce = np.asarray(nonce, np.uint32)
        h, w, c = (*shape, 1)[:3]
        parts = 2 if max(h, w) <= 256 else 3
        if words is None:
            words = h * w * (parts * c + 1 + turn_words(c, "mixed"))
        drawn = np.zeros(words, "<u4")
        self.stream(nonce).read_into(0, drawn.view(np.uint8))
        return ImageKey(drawn.astype(np.uint32, copy=False), nonce)

    def stream(self, nonce: AnyArray) -> ImageStream:
        """Returns the keystream of the image with a nonce, uint32 `8`."""
        number = np.asarray(nonce, np.uint32).astype("<u4").tobytes()
        return ImageStream(_mac(self._subkey("stream"), number))

    def encrypt(self, message: bytes, *, associated: bytes) -> bytes:
        """Returns `message` encrypted and authenticated with `associated`.

        Deterministic, so that a repeated run writes the same bytes: each message is
        encrypted with a key of its own, derived from its HMAC, and so with nonce 0. Who
        sees two results can tell whether message and `associated` are the same.
        """
        subkey = self._subkey("manifest")
        framed = len(associated).to_bytes(8, "little") + associated + message
        tag = hmac.new(subkey, b"tag" + framed, hashlib.sha256).digest()
        cipher = ChaCha20Poly1305(_mac(subkey, b"key" + tag))
        return tag + cipher.encrypt(bytes(12), message, associated)

    def decrypt(self, sealed: bytes, *, associated: bytes) -> bytes:
        """Returns the message that `encrypt` sealed.

        Raises:
          ValueError: if the key is another, or `sealed` or `associated` was changed.
        """
        tag, body = sealed[:32], sealed[32:]
        cipher = ChaCha20Poly1305(_mac(self._subkey("manifest"), b"key" + tag))
        try:
            return cipher.decrypt(bytes(12), body, associated)
        except InvalidTag:
            raise ValueError(
                "the encrypted record does not fit this key and image id: it was made "
                "with another key, moved from another image, or damaged."
            ) from None

    def _subkey(self, purpose: str) -> _Hidden:
        label = f"vim_jax {purpose} 1".encode()
        return _Hidden(HKDFExpand(SHA256(), 32, label).derive(self._secret))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretKey):
            return NotImplemented
        return hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self._fingerprint)

    def __repr__(self) -> str:
        # A traceback may show a key that `__init__` refused.
        return f"SecretKey(fingerprint={getattr(self, '_fingerprint', None)!r})"

    def __rich_repr__(self):
        yield "fingerprint", getattr(self, "_fingerprint", None)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "SecretKey cannot be pickled: pass the key file's path and load it there."
        )

    __copy__ = __deepcopy__ = __reduce__


def secret_of(key: SecretKey) -> bytes:
    """Returns a key's secret bits, for another process of the same job.

    They may go through a pipe to it, and nowhere else. They do not show in tracebacks.
    """
    return key._secret


def _mac(key: bytes, message: bytes) -> _Hidden:
    return _Hidden(hmac.new(key, message, hashlib.sha256).digest())


def _write_private(path: pathlib.Path, content: bytes) -> None:
    """Writes a new file of mode 0600, and syncs it and its name.

    Where the system allows it, the file has no name until it is complete: a killed run
    leaves neither half a key, which could not be loaded or replaced, nor a copy of one.

    Raises:
      FileExistsError: if the name is taken.
      OSError: if the file cannot be written; then there is none.
    """
    try:
        handle = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o600)
        named = False
    except (AttributeError, OSError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        named = True
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with open(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o600)  # Whatever the umask says.
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if not named:
                # Only given a folder does Python ask Linux to follow the link.
                source = f"/proc/self/fd/{file.fileno()}"
                os.link(source, path, src_dir_fd=folder)
                named = True
        os.fsync(folder)
    except OSError:
        if named:
            path.unlink(missing_ok=True)
        raise
    finally:
        os.close(folder)


def _parse(content: bytes) -> _Hidden | None:
    """Returns the 32 bytes in a key file's content, None if it is no key file."""
    lines = content.split(b"\n")
    if (
        len(lines) != 3
        or lines[0] != _HEADER.encode()
        or lines[2]
        or len(lines[1]) != 64
    ):
        return None
    try:
        return _Hidden.fromhex(lines[1].decode("ascii"))
    except ValueError:
        return None
