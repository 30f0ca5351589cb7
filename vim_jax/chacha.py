"""ChaCha20 in JAX: the counter-mode generator behind PRNG keys.

A secret key's keystream is the same function, computed on the host by the
`cryptography` package; `docs/permutation.md` says how each is keyed.
"""

import jax
import jax.numpy as jnp
from jaxtyping import UInt32

from vim_jax._types import AnyArray

_CONSTANTS = (0x61707865, 0x3320646E, 0x79622D32, 0x6B206574)  # "expand 32-byte k"
_DOUBLE_ROUNDS = 10


def _rotate(x: jax.Array, bits: int) -> jax.Array:
    return (x << bits) | (x >> (32 - bits))


def _quarter_rounds(rows: jax.Array) -> jax.Array:
    """Applies the quarter round to the four columns of a `4 4 n` state."""
    a, b, c, d = rows
    a = a + b
    d = _rotate(d ^ a, 16)
    c = c + d
    b = _rotate(b ^ c, 12)
    a = a + b
    d = _rotate(d ^ a, 8)
    c = c + d
    b = _rotate(b ^ c, 7)
    return jnp.stack((a, b, c, d))


def _shift_rows(rows: jax.Array, step: int) -> jax.Array:
    """Rotates row i by i * step, which turns diagonals into columns."""
    return jnp.stack([jnp.roll(rows[i], i * step, axis=0) for i in range(4)])


def chacha20(
    key: UInt32[AnyArray, "8"],
    nonce: UInt32[AnyArray, "3"],
    length: int,
    *,
    counter: int = 0,
) -> UInt32[jax.Array, " length"]:
    """Returns the first `length` words of the ChaCha20 keystream.

    Args:
      key: 256 bits as little-endian words.
      nonce: 96 bits as little-endian words.
      length: number of 32-bit words, at most 2**36.
      counter: number of the first block of 16 words.

    Returns:
      uint32 words; their little-endian bytes are the keystream of RFC 8439.

    References:
      Nir and Langley, `ChaCha20 and Poly1305 for IETF Protocols
      <https://www.rfc-editor.org/rfc/rfc8439>`_, 2018, section 2.3.
    """
    blocks = -(-length // 16)
    head = jnp.concatenate(
        (jnp.asarray(_CONSTANTS, jnp.uint32), jnp.asarray(key, jnp.uint32))
    )
    state = jnp.concatenate(
        (
            jnp.broadcast_to(head[:, None], (12, blocks)),
            jnp.uint32(counter) + jnp.arange(blocks, dtype=jnp.uint32)[None],
            jnp.broadcast_to(jnp.asarray(nonce, jnp.uint32)[:, None], (3, blocks)),
        )
    ).reshape(4, 4, blocks)

    def double_round(_, rows):
        rows = _shift_rows(_quarter_rounds(rows), -1)
        return _shift_rows(_quarter_rounds(rows), 1)

    mixed = jax.lax.fori_loop(0, _DOUBLE_ROUNDS, double_round, state)
    return (mixed + state).reshape(16, blocks).T.reshape(-1)[:length]
