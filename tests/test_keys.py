"""Secret keys: what is derived from them, and what they seal."""

import os
import sys
import weakref

import jax.numpy as jnp
import keystreams
import numpy as np
import pytest
import reference
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from known_key import IMAGE, SECRET, host_keystream, key, to_bytes

import vim_jax
from vim_jax.regions import bounds_of
from vim_jax.shuffling import words_read


# --- Derivation -----------------------------------------------------------------------
@pytest.mark.parametrize("purpose", ["nonce", "stream"])
def test_subkeys_of_the_reference_are_hkdf_expand(purpose):
    info = f"vim_jax {purpose} 1".encode()
    expanded = HKDFExpand(SHA256(), 32, info).derive(SECRET)
    assert keystreams.subkey(SECRET, purpose) == expanded


IMAGES = {
    "rgb": IMAGE,
    "grey": IMAGE[..., 0],
    "one channel": IMAGE[..., :1],
    "strip": np.arange(9, dtype=np.uint8).reshape(1, 9),
    "uint16": np.arange(12, dtype=np.uint16).reshape(3, 4) * 1000,
    "float32": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4),
    "bfloat16": np.arange(12, dtype=np.float32).reshape(3, 4).astype(jnp.bfloat16),
    "bool": np.arange(12).reshape(3, 4) % 3 == 0,
    "big endian": np.arange(12).reshape(3, 4).astype(">u2"),
    "not contiguous": IMAGE.transpose(1, 0, 2)[::-1, ::2],
    "Fortran order": np.asfortranarray(IMAGE),
}


@pytest.mark.parametrize("image_id", ["a.png", "", "d/ö 猫.png", "12:uint8:"])
@pytest.mark.parametrize("name", IMAGES)
def test_nonces_follow_the_specification(name, image_id):
    image = IMAGES[name]
    nonce = keystreams.image_nonce(SECRET, image_id, image)
    assert to_bytes(key().nonce(image_id, image)) == nonce


@pytest.mark.parametrize("name", IMAGES)
def test_image_keys_follow_the_specification(name):
    image = IMAGES[name]
    image_key = key().for_image("a.png", image)
    height, width, c = (*image.shape, 1)[:3]
    count = (2 * c + 1 + reference.turn_words(c)) * height * width
    words = keystreams.secret_words(SECRET, "a.png", image, count)
    assert np.asarray(image_key.words).tolist() == words
    assert image_key.words.dtype == np.uint32
    assert to_bytes(image_key.nonce) == keystreams.image_nonce(SECRET, "a.png", image)


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((256, 2), 3 * 512),
        ((257, 2), 4 * 514),
        ((2, 257), 4 * 514),
        ((1, 256, 2), 6 * 256),
        ((1, 257, 2), 8 * 257),
        ((1, 9, 5), 14 * 9),
        ((256, 1, 1), 3 * 256),
    ],
)
def test_image_keys_of_long_lines_have_words_for_far_distances(shape, count):
    image = np.zeros(shape, np.uint8)
    words = np.asarray(key().for_image("a.png", image).words)
    assert words.shape == (count,)
    assert words.tolist() == keystreams.secret_words(SECRET, "a.png", image, count)


@pytest.mark.parametrize(
    ("size", "options", "count"),
    [
        (4, {}, 3 * 64),
        (4, {"channels": "joint"}, 64),
        (4, {"scramble_regions": True}, 4 * 64),
        (4, {"channels": "mixed"}, 5 * 64),
        (3, {}, 7 * 64),
        (3, {"channels": "joint", "scramble_regions": True}, 3 * 64),
    ],
)
def test_a_shuffle_takes_the_first_words_only(size, options, count):
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    mixer = vim_jax.VisualMixer(region_size=size, **options)
    bounds = bounds_of(vim_jax.uniform_plan(image.shape, size))
    settings = mixer.channels, mixer.scramble_regions
    assert words_read(image.shape, bounds, *settings) == count
    entire = key().for_image("a", image)
    some = key().for_image("a", image, words=count)
    np.testing.assert_array_equal(some.words, entire.words[:count])
    np.testing.assert_array_equal(some.nonce, entire.nonce)
    mixed = vim_jax.shuffle(some, image, size, **options)
    np.testing.assert_array_equal(
        vim_jax.shuffle(entire, image, size, **options), mixed
    )
    np.testing.assert_array_equal(mixer(key(), image[None], ["a"])[0][0], mixed)
    few = key().for_image("a", image, words=count - 1)
    with pytest.raises(ValueError, match=f"with {count - 1} words, this image takes"):
        vim_jax.shuffle(few, image, size, **options)


def test_jax_images_have_the_key_of_their_numpy_form():
    ours = key().for_image("a", jnp.asarray(IMAGE))
    np.testing.assert_array_equal(ours.words, key().for_image("a", IMAGE).words)


def test_the_nonce_leads_back_to_the_image_key():
    image_key = key().for_image("a.png", IMAGE)
    again = key().image_key(image_key.nonce, IMAGE.shape)
    np.testing.assert_array_equal(again.words, image_key.words)
    np.testing.assert_array_equal(again.nonce, image_key.nonce)


def changed(image: np.ndarray, place: int) -> np.ndarray:
    image = image.copy()
    image.reshape(-1)[place] ^= 1
    return image


@pytest.mark.parametrize(
    ("image_id", "image"),
    [
        ("b", IMAGE),
        ("", IMAGE),
        ("a", IMAGE.reshape(2, 8, 3)),
        ("a", IMAGE.reshape(8, 6)),
        ("a", IMAGE.reshape(8, 6, 1)),
        ("a", IMAGE.astype(np.uint16)),
        ("a", IMAGE.view(np.int8)),
        ("a", changed(IMAGE, 0)),
        ("a", changed(IMAGE, 47)),
        ("a", IMAGE[::-1]),
    ],
)
def test_images_that_differ_have_different_keys(image_id, image):
    one, other = key().for_image("a", IMAGE), key().for_image(image_id, image)
    assert not np.array_equal(one.nonce, other.nonce)
    assert not np.array_equal(one.words[:16], other.words[:16])


def test_every_pixel_counts():
    nonces = {bytes(key().nonce("a", changed(IMAGE, i))) for i in range(IMAGE.size)}
    assert len(nonces) == IMAGE.size


def test_id_and_pixels_cannot_trade_bytes():
    # One byte moved from the front of the pixels to the end of the name.
    one = key().nonce("a", np.frombuffer(b"bc", np.uint8).reshape(1, 2))
    other = key().nonce("ab", np.frombuffer(b"cc", np.uint8)[:1].reshape(1, 1))
    assert not np.array_equal(one, other)


def test_other_keys_give_other_nonces_and_words():
    other = vim_jax.SecretKey(bytes(32)).for_image("a", IMAGE)
    ours = key().for_image("a", IMAGE)
    assert not np.array_equal(ours.nonce, other.nonce)
    assert not np.array_equal(ours.words, other.words)


def test_words_are_not_a_plain_keystream_of_the_key_or_the_nonce():
    image_key = key().for_image("a", IMAGE)
    ours = to_bytes(image_key.words[:16])
    assert ours != host_keystream(SECRET, bytes(12), 64)
    assert ours != host_keystream(to_bytes(image_key.nonce), bytes(12), 64)


# --- The key itself -------------------------------------------------------------------
def test_generated_keys_differ():
    prints = {vim_jax.SecretKey.generate().fingerprint for _ in range(50)}
    assert len(prints) == 50


def test_generate_takes_32_bytes_from_the_operating_system(monkeypatch):
    asked = []

    def urandom(count: int) -> bytes:
        asked.append(count)
        return SECRET[:count]

    monkeypatch.setattr(os, "urandom", urandom)
    monkeypatch.setattr("secrets.token_bytes", urandom)
    assert vim_jax.SecretKey.generate() == key()
    assert asked == [32]


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_secrets_of_another_length_are_refused(length):
    with pytest.raises(ValueError, match="32"):
        vim_jax.SecretKey(SECRET[:1] * length)


def test_fingerprint_is_stable_and_not_the_key():
    fingerprint = key().fingerprint
    assert fingerprint == key().fingerprint
    assert len(fingerprint) == 32
    assert int(fingerprint, 16) >= 0
    assert fingerprint not in SECRET.hex()


def test_fingerprint_is_no_prefix_of_a_subkey_in_use():
    for purpose in ("nonce", "stream"):
        assert (
            not keystreams.subkey(SECRET, purpose).hex().startswith(key().fingerprint)
        )


def test_fingerprints_of_near_keys_differ():
    near = bytes([SECRET[0] ^ 1]) + SECRET[1:]
    assert vim_jax.SecretKey(near).fingerprint != key().fingerprint


def test_keys_are_equal_when_their_bits_are():
    assert key() == key()
    assert hash(key()) == hash(key())
    assert key() != vim_jax.SecretKey.generate()
    assert key() != SECRET


# --- Sealed messages ------------------------------------------------------------------
@pytest.mark.parametrize("message", [b"", b"x", bytes(1000)])
@pytest.mark.parametrize("associated", [b"", b"a.png"])
def test_sealed_messages_open(message, associated):
    sealed = key().encrypt(message, associated=associated)
    assert key().decrypt(sealed, associated=associated) == message


def test_sealing_is_deterministic():
    one = key().encrypt(b"plan", associated=b"a")
    assert one == key().encrypt(b"plan", associated=b"a")


def test_sealed_messages_do_not_show_equal_starts():
    one = key().encrypt(bytes(64) + b"1", associated=b"a")
    other = key().encrypt(bytes(64) + b"2", associated=b"a")
    same = sum(a == b for a, b in zip(one, other, strict=True))
    assert same < 10


def test_equal_messages_of_two_images_look_different():
    one = key().encrypt(bytes(64), associated=b"a")
    other = key().encrypt(bytes(64), associated=b"b")
    same = sum(a == b for a, b in zip(one, other, strict=True))
    assert same < 10


def test_any_changed_byte_is_noticed():
    sealed = key().encrypt(b"plan", associated=b"a")
    for place in range(len(sealed)):
        spoiled = bytearray(sealed)
        spoiled[place] ^= 1
        with pytest.raises(ValueError, match=r"\w"):
            key().decrypt(bytes(spoiled), associated=b"a")


@pytest.mark.parametrize("length", [0, 1, 12, 27])
def test_truncated_messages_are_refused(length):
    sealed = key().encrypt(b"plan", associated=b"a")
    with pytest.raises(ValueError, match=r"\w"):
        key().decrypt(sealed[:length], associated=b"a")


def test_other_associated_data_is_noticed():
    sealed = key().encrypt(b"plan", associated=b"a")
    with pytest.raises(ValueError, match=r"\w"):
        key().decrypt(sealed, associated=b"b")


def test_another_key_opens_nothing():
    sealed = key().encrypt(b"plan", associated=b"a")
    with pytest.raises(ValueError, match=r"\w"):
        vim_jax.SecretKey.generate().decrypt(sealed, associated=b"a")


def test_deleted_keys_are_gone():
    # Nothing caches keys: a discarded one does not live on in the process.
    discarded = vim_jax.SecretKey.generate()
    discarded.for_image("a", IMAGE)
    assert sys.getrefcount(discarded) == 2
    with pytest.raises(TypeError):
        weakref.ref(discarded)
