"""Slow, obvious versions of keystreams and subkeys, as `docs/permutation.md` has them.

Python integers, nothing shared with the library.
"""

import hashlib
import hmac

import numpy as np


def chacha_block(key: list[int], counter: int, nonce: list[int]) -> list[int]:
    """Returns the 16 words of one block, RFC 8439 section 2.3."""
    constants = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574]
    start = [*constants, *key, counter, *nonce]
    state = list(start)

    def quarter_round(a: int, b: int, c: int, d: int) -> None:
        for x, y, z, turn in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
            state[x] = (state[x] + state[y]) % 2**32
            word = state[z] ^ state[x]
            state[z] = (word << turn | word >> (32 - turn)) % 2**32

    for _ in range(10):
        quarter_round(0, 4, 8, 12)
        quarter_round(1, 5, 9, 13)
        quarter_round(2, 6, 10, 14)
        quarter_round(3, 7, 11, 15)
        quarter_round(0, 5, 10, 15)
        quarter_round(1, 6, 11, 12)
        quarter_round(2, 7, 8, 13)
        quarter_round(3, 4, 9, 14)
    return [(a + b) % 2**32 for a, b in zip(state, start, strict=True)]


def chacha_words(key: list[int], nonce: list[int], length: int) -> list[int]:
    """Returns the first words of the keystream, block counter from 0."""
    words: list[int] = []
    while len(words) < length:
        words += chacha_block(key, len(words) // 16, nonce)
    return words[:length]


def threefry(key: tuple[int, int], counter: tuple[int, int]) -> tuple[int, int]:
    """Returns the two words of Threefry-2x32 with 20 rounds, Salmon et al. 2011."""
    schedule = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    turns = [13, 15, 26, 6, 17, 29, 16, 24]
    a, b = ((x + k) % 2**32 for x, k in zip(counter, key, strict=True))
    for step in range(20):
        a = (a + b) % 2**32
        turn = turns[step % 8]
        b = (b << turn | b >> (32 - turn)) % 2**32 ^ a
        if step % 4 == 3:
            group = step // 4 + 1
            a = (a + schedule[group % 3]) % 2**32
            b = (b + schedule[(group + 1) % 3] + group) % 2**32
    return a, b


def prng_words(key_data, length: int) -> list[int]:
    """Returns the keystream of a JAX PRNG key, given its key data."""
    data = [int(word) for word in np.asarray(key_data).ravel()]
    m = len(data)
    if m % 2:
        data.append(0)
    key = data[0], data[1]
    for i in range(2, len(data), 2):
        key = threefry(key, (data[i], data[i + 1]))
    return [threefry(key, (j, 0x56494D00 + m))[0] for j in range(length)]


def subkey(secret: bytes, purpose: str) -> bytes:
    """HKDF-Expand-SHA256 for 32 bytes, RFC 5869 section 2.3."""
    info = b"vim_jax " + purpose.encode() + b" 1"
    return hmac.new(secret, info + b"\x01", hashlib.sha256).digest()


def image_nonce(secret: bytes, image_id: str, pixels) -> bytes:
    """Returns the 32 bytes that name an image under a secret key."""
    pixels = np.asarray(pixels)
    name = image_id.encode("utf-8")
    head = f"{len(name)}:{pixels.dtype.name}:{tuple(pixels.shape)}:".encode()
    little = pixels.astype(pixels.dtype.newbyteorder("<"))
    message = head + name + little.tobytes(order="C")
    return hmac.new(subkey(secret, "nonce"), message, hashlib.sha256).digest()


def secret_words(secret: bytes, image_id: str, pixels, length: int) -> list[int]:
    """Returns the keystream of one image under a secret key."""
    nonce = image_nonce(secret, image_id, pixels)
    seed = hmac.new(subkey(secret, "stream"), nonce, hashlib.sha256).digest()
    key = [int.from_bytes(seed[i : i + 4], "little") for i in range(0, 32, 4)]
    return chacha_words(key, [0, 0, 0], length)
