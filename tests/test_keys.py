"""Secret keys: the stream cipher, derivation, key files, and that nothing shows."""

import copy
import io
import os
import pickle
import pprint
import stat
import sys
import traceback
import weakref
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import rich.console
import rich.pretty
import rich.traceback
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

import vim_jax
from vim_jax.chacha import chacha20

SECRET = bytes(range(100, 132))
IMAGE = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)


def key() -> vim_jax.SecretKey:
    return vim_jax.SecretKey(SECRET)


def to_words(data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<u4").astype(np.uint32)


def to_bytes(words) -> bytes:
    return np.asarray(words).astype("<u4").tobytes()


# --- ChaCha20 -------------------------------------------------------------------------

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


def host_keystream(cipher_key: bytes, nonce: bytes, length: int, counter=0) -> bytes:
    """ChaCha20 by the package that secret keys use."""
    algorithm = ChaCha20(cipher_key, counter.to_bytes(4, "little") + nonce)
    return Cipher(algorithm, None).encryptor().update(bytes(length))


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


# --- Derivation -----------------------------------------------------------------------


@pytest.mark.parametrize("purpose", ["nonce", "stream"])
def test_subkeys_of_the_reference_are_hkdf_expand(purpose):
    info = f"vim_jax {purpose} 1".encode()
    expanded = HKDFExpand(SHA256(), 32, info).derive(SECRET)
    assert reference.subkey(SECRET, purpose) == expanded


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
    nonce = reference.image_nonce(SECRET, image_id, image)
    assert to_bytes(key().nonce(image_id, image)) == nonce


@pytest.mark.parametrize("name", IMAGES)
def test_image_keys_follow_the_specification(name):
    image = IMAGES[name]
    image_key = key().for_image("a.png", image)
    count = reference.words_for(image.shape)
    words = reference.secret_words(SECRET, "a.png", image, count)
    assert np.asarray(image_key.words).tolist() == words
    assert image_key.words.dtype == np.uint32
    assert to_bytes(image_key.nonce) == reference.image_nonce(SECRET, "a.png", image)


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
        assert not reference.subkey(SECRET, purpose).hex().startswith(key().fingerprint)


def test_fingerprints_of_near_keys_differ():
    near = bytes([SECRET[0] ^ 1]) + SECRET[1:]
    assert vim_jax.SecretKey(near).fingerprint != key().fingerprint


def test_keys_are_equal_when_their_bits_are():
    assert key() == key()
    assert hash(key()) == hash(key())
    assert key() != vim_jax.SecretKey.generate()
    assert key() != SECRET


# --- Key files ------------------------------------------------------------------------


def test_saved_keys_load_equal(tmp_path):
    key().save(tmp_path / "key")
    assert vim_jax.SecretKey.load(tmp_path / "key") == key()


def test_paths_may_be_strings(tmp_path):
    key().save(str(tmp_path / "key"))
    assert vim_jax.SecretKey.load(str(tmp_path / "key")) == key()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o377])
def test_only_the_owner_can_read_a_saved_key(tmp_path, umask):
    before = os.umask(umask)
    try:
        key().save(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_save_refuses_to_overwrite(tmp_path):
    path = tmp_path / "key"
    path.write_text("precious")
    with pytest.raises(vim_jax.KeyFileError, match="exist"):
        key().save(path)
    assert path.read_text() == "precious"


def test_save_does_not_follow_a_dangling_link(tmp_path):
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(vim_jax.KeyFileError):
        key().save(tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()


def test_save_into_a_missing_folder_is_one_sentence(tmp_path):
    path = tmp_path / "none" / "key"
    with pytest.raises(vim_jax.KeyFileError) as error:
        key().save(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_save_leaves_nothing_else_behind(tmp_path):
    key().save(tmp_path / "key")
    assert os.listdir(tmp_path) == ["key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666])
def test_load_refuses_files_that_others_can_read(tmp_path, mode):
    path = tmp_path / "key"
    key().save(path)
    path.chmod(mode)
    with pytest.raises(vim_jax.KeyFileError) as error:
        vim_jax.SecretKey.load(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_load_accepts_files_that_only_the_owner_can_read(tmp_path, mode):
    path = tmp_path / "key"
    key().save(path)
    path.chmod(mode)
    assert vim_jax.SecretKey.load(path) == key()


def private_file(path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", SECRET, b"\x00" * 64, b"\xff\xfe\x00", b"vim-jax secret key 1\n"],
)
def test_load_refuses_garbage(tmp_path, content):
    path = tmp_path / "key"
    private_file(path, content)
    with pytest.raises(vim_jax.KeyFileError) as error:
        vim_jax.SecretKey.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("length", range(0, 84, 7))
def test_load_refuses_a_truncated_key(tmp_path, length):
    path = tmp_path / "key"
    key().save(path)
    whole = path.read_bytes()
    private_file(path, whole[: min(length, len(whole.rstrip()) - 1)])
    with pytest.raises(vim_jax.KeyFileError):
        vim_jax.SecretKey.load(path)


def test_load_refuses_a_key_with_one_wrong_character(tmp_path):
    path = tmp_path / "key"
    key().save(path)
    whole = path.read_bytes()
    place = whole.rindex(SECRET.hex().encode()[-4:]) if SECRET.hex() else 0
    private_file(path, whole[:place] + b"g" + whole[place + 1 :])
    with pytest.raises(vim_jax.KeyFileError):
        vim_jax.SecretKey.load(path)


def test_load_names_a_missing_file(tmp_path):
    with pytest.raises(vim_jax.KeyFileError, match="none"):
        vim_jax.SecretKey.load(tmp_path / "none")


def test_load_refuses_a_folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o700)
    with pytest.raises(vim_jax.KeyFileError):
        vim_jax.SecretKey.load(folder)


def test_key_file_error_is_a_value_error():
    assert issubclass(vim_jax.KeyFileError, ValueError)


# --- Nothing shows --------------------------------------------------------------------


def spellings(secret: bytes) -> list[str]:
    """Ways in which the first bytes of a secret could turn up in a text."""
    part = secret[:8]
    return [
        part.hex(),
        part.hex(" "),
        repr(part)[2:-1],
        ", ".join(str(byte) for byte in part[:4]),
        str(int.from_bytes(secret, "big")),
        str(int.from_bytes(secret, "little")),
    ]


def assert_hidden(text: str) -> None:
    image_key = key().for_image("a", IMAGE)
    forbidden = spellings(SECRET)
    for purpose in ("nonce", "stream"):
        forbidden += spellings(reference.subkey(SECRET, purpose))
    words = np.asarray(image_key.words)
    forbidden += [str(words[0]), f"{words[0]:#x}"]
    shown = [part for part in forbidden if part.lower() in text.lower()]
    assert not shown, text


SHOWN: dict[str, Callable[[object], str]] = {
    "repr": repr,
    "str": str,
    "format": format,
    "f-string": lambda value: f"{value!s} {value!r} {value}",
    "percent": lambda value: "%s %r" % (value, value),  # noqa: UP031
    "pprint": pprint.pformat,
    "rich": rich.pretty.pretty_repr,
    "inside": lambda value: repr([value, {"key": value}]),
}


@pytest.mark.parametrize("how", SHOWN)
def test_nothing_of_a_secret_key_shows(how):
    assert_hidden(SHOWN[how](key()))


@pytest.mark.parametrize("how", SHOWN)
def test_nothing_of_an_image_key_shows(how):
    assert_hidden(SHOWN[how](key().for_image("a", IMAGE)))


def test_a_secret_key_has_no_public_attribute_but_its_fingerprint():
    public = {name for name in dir(key()) if not name.startswith("_")}
    values = public - {
        name for name in public if callable(getattr(vim_jax.SecretKey, name, None))
    }
    assert values == {"fingerprint"}
    assert not hasattr(key(), "__dict__")


def test_vars_and_json_like_tools_find_nothing():
    with pytest.raises(TypeError):
        vars(key())


def text_of_failure(call: Callable[[], object]) -> str:
    """Everything that a traceback with local variables would print."""
    stream = io.StringIO()
    console = rich.console.Console(file=stream, width=200)
    try:
        call()
    except Exception as error:
        shown = rich.traceback.Traceback.from_exception(
            type(error),
            error,
            error.__traceback__,
            show_locals=True,
            locals_max_length=10**6,
            locals_max_string=10**6,
            locals_hide_dunder=False,
            max_frames=1000,
            suppress=(),
        )
        console.print(shown)
        plain = traceback.TracebackException.from_exception(error, capture_locals=True)
        stream.write("".join(plain.format()))
        return stream.getvalue()
    raise AssertionError("this was to fail")


class Broken:
    """Fails when NumPy looks at it, deep inside the library."""

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("broken image")


def mix_fails(**changes) -> None:
    arguments = {"ids": None, "batch": IMAGE[None]} | changes
    mixer = vim_jax.VisualMixer(level=0.5)
    mixer(key(), arguments["batch"], arguments["ids"])


def restore_fails() -> None:
    mixer = vim_jax.VisualMixer(region_size=2)
    mixed, plans = mixer(key(), IMAGE[None], ids=["a"])
    mixer.restore(key(), mixed, plans, ids=["b"])


def shuffle_fails() -> None:
    vim_jax.shuffle(key().for_image("a", IMAGE), np.zeros((90, 90), np.uint8), 2)


FAILURES: dict[str, Callable[[], object]] = {
    "a broken image": lambda: key().for_image("a", Broken()),  # pyright: ignore
    "a name that is no text": lambda: key().for_image(7, IMAGE),  # pyright: ignore
    "a name that is not UTF-8": lambda: key().for_image("\udc80", IMAGE),
    "a broken nonce": lambda: key().image_key(Broken(), (2, 2)),  # pyright: ignore
    "a broken shape": lambda: key().image_key(
        np.zeros(8, np.uint32),
        ("x",),  # pyright: ignore
    ),
    "a message that is no bytes": lambda: key().encrypt(3, associated=b""),  # pyright: ignore
    "a tampered message": lambda: key().decrypt(bytes(50), associated=b""),
    "a short message": lambda: key().decrypt(b"x", associated=b""),
    "a missing folder": lambda: key().save("/none/such/key"),
    "pickling": lambda: pickle.dumps(key()),
    "pickling an image key": lambda: pickle.dumps(key().for_image("a", IMAGE)),
    "shuffling under a secret key": lambda: vim_jax.shuffle(key(), IMAGE, 2),  # pyright: ignore
    "shuffling too large an image": shuffle_fails,
    "ids of another length": lambda: mix_fails(ids=["a", "b"]),
    "ids that are no text": lambda: mix_fails(ids=[3]),
    "a target out of reach": lambda: mix_fails(
        batch=(np.indices((1, 6, 6)).sum(0) % 2 * 255).astype(np.uint8)
    ),
    "an image with another name": restore_fails,
}


@pytest.mark.parametrize("what", FAILURES)
def test_tracebacks_with_locals_show_nothing(what):
    assert_hidden(text_of_failure(FAILURES[what]))


def test_a_cipher_that_fails_shows_nothing(monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr("vim_jax.keys.Cipher", fail)
        text = text_of_failure(lambda: key().for_image("a", IMAGE))
    assert_hidden(text)


@pytest.fixture
def full_disk(monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_shows_nothing(tmp_path):
    assert_hidden(text_of_failure(lambda: key().save(tmp_path / "key")))


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_one_sentence_and_leaves_no_key_file(tmp_path):
    with pytest.raises(vim_jax.KeyFileError, match="No space left"):
        key().save(tmp_path / "key")
    assert os.listdir(tmp_path) == []


def test_a_key_file_that_fails_to_parse_shows_nothing(tmp_path):
    path = tmp_path / "key"
    key().save(path)
    private_file(path, path.read_bytes() + b"more")
    assert_hidden(text_of_failure(lambda: vim_jax.SecretKey.load(path)))


def test_a_secret_of_the_wrong_length_does_not_show():
    # Only the library's own frames: the tests' type checks keep arguments in theirs.
    with pytest.raises(ValueError, match="32") as raised:
        vim_jax.SecretKey(SECRET + b"\n")
    package = os.path.dirname(str(vim_jax.__file__))
    shown = [
        rich.pretty.pretty_repr(frame.f_locals)
        for frame, _ in traceback.walk_tb(raised.value.__traceback__)
        if frame.f_code.co_filename.startswith(package)
    ]
    assert shown
    assert_hidden("".join(shown))


def test_a_traceback_with_locals_would_show_a_bare_secret():
    # The negative control: without hiding, the checks above do find it.
    def leak():
        secret = SECRET  # noqa: F841
        raise ValueError

    with pytest.raises(AssertionError):
        assert_hidden(text_of_failure(leak))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_secret_keys_cannot_be_pickled(protocol):
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(key(), protocol)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_secret_keys_cannot_be_copied(duplicate):
    with pytest.raises(TypeError):
        duplicate(key())


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_image_keys_cannot_be_pickled_or_copied(duplicate):
    with pytest.raises(TypeError):
        duplicate(key().for_image("a", IMAGE))


def test_secret_keys_cannot_be_changed():
    with pytest.raises(AttributeError):
        key().fingerprint = "0" * 32  # pyright: ignore


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
