"""Threefry-2x32 against published vectors and JAX's own."""

import jax
import jax.extend
import jax.numpy as jnp
import keystreams
import numpy as np
import pytest

from vim_jax.threefry import threefry2x32

ONES = 2**32 - 1
# Known answers of Random123, `threefry2x32 20`: key, counter, result.
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
]


def words(*values) -> tuple:
    return tuple(np.asarray(value, np.uint32) for value in values)


@pytest.mark.parametrize(("key", "counter", "result"), KNOWN)
def test_known_answers(key, counter, result):
    assert keystreams.threefry(key, counter) == result
    ours = threefry2x32(words(*key), words(*counter))
    assert [int(word) for word in ours] == list(result)


def random_words(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2**32, shape, np.uint32)


def test_jax_has_the_same_generator():
    for row in random_words((5, 12)):
        key, counter = row[:2], row[2:]
        theirs = jax.extend.random.threefry_2x32(key, counter)
        ours = jnp.concatenate(threefry2x32(words(*key), words(*np.split(counter, 2))))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3)])
def test_counters_of_any_shape_are_those_of_the_reference(shape):
    key, counter = random_words((2,)), random_words((2, *shape))
    ours = threefry2x32(words(*key), words(*counter))
    assert {word.dtype for word in ours} == {jnp.dtype("uint32")}
    assert {word.shape for word in ours} == {shape}
    slow = [
        keystreams.threefry((int(key[0]), int(key[1])), (int(a), int(b)))
        for a, b in zip(counter[0].flat, counter[1].flat, strict=True)
    ]
    np.testing.assert_array_equal(np.stack(ours, -1).reshape(-1, 2), slow)


def test_bytes_are_the_same_jitted_and_vmapped():
    keys, counter = random_words((3, 2)), random_words((2, 20))
    eager = [np.stack(threefry2x32(words(*key), words(*counter))) for key in keys]

    @jax.jit
    @jax.vmap
    def batched(key):
        return jnp.stack(threefry2x32((key[0], key[1]), words(*counter)))

    np.testing.assert_array_equal(batched(keys), eager)
