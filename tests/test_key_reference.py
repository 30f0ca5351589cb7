"""References to a secret key: what workers are told instead of the key."""

import pickle
import traceback

import pytest
from folders import is_sentence
from known_key import SECRET, key, private_file

from vim_jax import KeyFileError
from vim_jax.data import DataError
from vim_jax.data.key_reference import KeyReference

NAME = "VIM_JAX_TEST_KEY"


def test_a_file_is_read_where_the_reference_is_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reference = pickle.loads(pickle.dumps(KeyReference("my.key")))
    key().save(tmp_path / "my.key")
    monkeypatch.chdir("/")
    assert reference.load() == key()


@pytest.mark.parametrize("how", ["digits", "text of the file", "without last newline"])
def test_a_variable_holds_digits_or_the_text_of_a_key_file(tmp_path, monkeypatch, how):
    key().save(tmp_path / "my.key")
    text = (tmp_path / "my.key").read_text()
    value = {"digits": SECRET.hex(), "text of the file": text}.get(how, text.strip())
    monkeypatch.setenv(NAME, value)
    assert KeyReference(variable=NAME).load() == key()


@pytest.mark.parametrize(
    "value", [None, "", "a key", SECRET.hex()[1:], SECRET.hex() * 2]
)
def test_a_variable_without_a_key_is_one_sentence(monkeypatch, value):
    monkeypatch.delenv(NAME, raising=False)
    if value is not None:
        monkeypatch.setenv(NAME, value)
    with pytest.raises(KeyFileError) as error:
        KeyReference(variable=NAME).load()
    assert NAME in str(error.value)
    assert is_sentence(str(error.value))
    shown = traceback.TracebackException.from_exception(
        error.value, capture_locals=True
    )
    frames = [
        frame
        for frame in shown.stack
        if frame.filename.endswith("data/key_reference.py")
    ]
    assert SECRET.hex()[8:40] not in str([frame.locals for frame in frames])


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(KeyFileError, match="cannot be read"):
        KeyReference(tmp_path / "none").load()


def test_a_file_that_others_can_read_is_refused(tmp_path):
    key().save(tmp_path / "my.key")
    private_file(tmp_path / "open", (tmp_path / "my.key").read_bytes())
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(KeyFileError, match="open to other users"):
        KeyReference(tmp_path / "open").load()


@pytest.mark.parametrize("both", [{}, {"path": "a", "variable": "B"}])
def test_exactly_one_place_is_given(both):
    with pytest.raises(DataError, match="give one of them"):
        KeyReference(**both)


@pytest.mark.parametrize("name", ["", "A B", "a-b", SECRET.hex(), "a" * 64])
def test_what_may_be_a_key_is_no_name_and_is_not_shown(name):
    with pytest.raises(DataError, match="environment variable") as error:
        KeyReference(variable=name)
    assert not name or name not in str(error.value)


def test_a_url_is_refused():
    with pytest.raises(DataError, match="key file gs://bucket/key is a URL") as error:
        KeyReference("gs://bucket/key")
    assert is_sentence(str(error.value))
