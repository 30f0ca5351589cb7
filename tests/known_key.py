"""A key and an image that the tests of keys share."""

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

import vim_jax

SECRET = bytes(range(100, 132))
IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def key() -> vim_jax.SecretKey:
    return vim_jax.SecretKey(SECRET)


def to_words(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<u4").astype(np.uint32)


def to_bytes(words) -> bytes:
    return np.asarray(words).astype("<u4").tobytes()


def host_keystream(cipher_key: bytes, nonce: bytes, length: int, counter=0) -> bytes:
    """ChaCha20 by the package that secret keys use."""
    algorithm = ChaCha20(cipher_key, counter.to_bytes(4, "little") + nonce)
    return Cipher(algorithm, None).encryptor().update(bytes(length))


def private_file(path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
