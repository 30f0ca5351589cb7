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


def _quarter_round(s: list[jax.Array], a: int, b: int, c: int, d: int) -> None:
    s[a] = s[a] + s[b]
    s[d] = _rotate(s[d] ^ s[a], 16)
    s[c] = s[c] + s[d]
    s[b] = _rotate(s[b] ^ s[c], 12)
    s[a] = s[a] + s[b]
    s[d] = _rotate(s[d] ^ s[a], 8)
    s[c] = s[c] + s[d]
    s[b] = _rotate(s[b] ^ s[c], 7)


def _double_round(_: object, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    s = list(state)
    for i in range(4):  # Columns, then diagonals, of the 4 x 4 state.
        _quarter_round(s, i, 4 + i, 8 + i, 12 + i)
    for i in range(4):
        _quarter_round(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return tuple(s)


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
    key, nonce = jnp.asarray(key, jnp.uint32), jnp.asarray(nonce, jnp.uint32)
    constants = jnp.asarray(_CONSTANTS, jnp.uint32)
    counters = jnp.uint32(counter) + jnp.arange(blocks, dtype=jnp.uint32)
    # Added to, so that all words vary over devices as the key does, for `shard_map`.
    zero = key[0] * jnp.uint32(0)
    state = tuple(
        jnp.broadcast_to(word + zero, (blocks,))
        for word in (*constants, *key, counters, *nonce)
    )
    mixed = jax.lax.fori_loop(0, _DOUBLE_ROUNDS, _double_round, state)
    words = jnp.stack([a + b for a, b in zip(mixed, state, strict=True)], axis=1)
    return words.reshape(-1)[:length]
