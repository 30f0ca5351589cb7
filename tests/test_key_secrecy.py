"""Nothing of a key shows: not in repr, errors, tracebacks or pickles."""

import copy
import io
import os
import pickle
import pprint
import traceback
from collections.abc import Callable

import keystreams
import numpy as np
import pytest
import rich.console
import rich.pretty
import rich.traceback
from known_key import IMAGE, SECRET, key, private_file

import vim_jax


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
        forbidden += spellings(keystreams.subkey(SECRET, purpose))
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
