"""ChaCha20 against RFC 8439, in JAX and on the host."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from known_key import host_keystream, to_bytes, to_words

from vim_jax.chacha import chacha20

RFC_KEY = bytes(range(32))
RFC_BLOCK_NONCE = bytes.fromhex("000000090000004a00000000")
RFC_BLOCK = bytes.fromhex(
    "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
    "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"
)
RFC_TEXT_NONCE = bytes.fromhex("000000000000004a00000000")
RFC_TEXT = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip "
    b"for the future, sunscreen would be it."
)
RFC_CIPHERTEXT = bytes.fromhex(
    "6e2e359a2568f98041ba0728dd0d6981e97e7aec1d4360c20a27afccfd9fae0b"
    "f91b65c5524733ab8f593dabcd62b3571639d624e65152ab8f530c359f0861d8"
    "07ca0dbf500d6a6156a38e088a22b65e52bc514d16ccf806818ce91ab7793736"
    "5af90bbf74a35be6b40b8eedf2785e42874d"
)


def test_block_of_rfc_8439_section_2_3_2():
    words = chacha20(to_words(RFC_KEY), to_words(RFC_BLOCK_NONCE), 16, counter=1)
    assert to_bytes(words) == RFC_BLOCK
    assert host_keystream(RFC_KEY, RFC_BLOCK_NONCE, 64, counter=1) == RFC_BLOCK
    block = reference.chacha_block(
        to_words(RFC_KEY).tolist(), 1, to_words(RFC_BLOCK_NONCE).tolist()
    )
    assert to_bytes(block) == RFC_BLOCK


def test_encryption_of_rfc_8439_section_2_4_2():
    words = chacha20(to_words(RFC_KEY), to_words(RFC_TEXT_NONCE), 29, counter=1)
    stream = to_bytes(words)[: len(RFC_TEXT)]
    sealed = bytes(a ^ b for a, b in zip(RFC_TEXT, stream, strict=True))
    assert sealed == RFC_CIPHERTEXT


@pytest.mark.parametrize(
    ("counter", "start"),
    [(0, "76b8e0ada0f13d90405d6ae55386bd28"), (1, "9f07e7be5551387a98ba977c732d080d")],
)
def test_keystream_of_the_zero_key(counter, start):
    # RFC 8439, appendix A.1, vectors 1 and 2.
    zero = np.zeros(8, np.uint32)
    assert to_bytes(chacha20(zero, zero[:3], 4, counter=counter)).hex() == start


@pytest.mark.parametrize("length", [1, 15, 16, 17, 1000])
def test_jax_and_host_keystreams_are_one(length):
    random = np.random.default_rng(length)
    cipher_key, nonce = random.bytes(32), random.bytes(12)
    words = chacha20(to_words(cipher_key), to_words(nonce), length)
    assert words.shape == (length,)
    assert words.dtype == jnp.uint32
    assert to_bytes(words) == host_keystream(cipher_key, nonce, 4 * length)


def test_keystream_is_the_same_jitted_and_vmapped():
    keys = np.random.default_rng(0).integers(0, 2**32, (3, 8), np.uint32)
    nonce = np.array([1, 2, 3], np.uint32)
    eager = [np.asarray(chacha20(k, nonce, 20)) for k in keys]
    batch = jax.jit(jax.vmap(lambda k: chacha20(k, nonce, 20)))(keys)
    np.testing.assert_array_equal(batch, eager)
