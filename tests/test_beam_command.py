"""`vim-jax mix --runner beam`."""

import sys

import pytest
from folders import complaints, photographs, run_command, tree

from vim_jax import SecretKey

OPTIONS = ("--region-size", "5", "--format", "tfds")
KEY = ("--key", "my.key")


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "src")
    return lambda *arguments: run_command(capsys, "mix", "src", *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runner", "beam", *OPTIONS[:2], *KEY], "add --format tfds"),
        (["--runner", "beam", *OPTIONS, *KEY, "--workers", "2"], "give that after --"),
        ([*OPTIONS, *KEY, "--", "--runner=FnApiRunner"], "only for --runner beam"),
        ([*OPTIONS, "--key-variable", "NAME"], "only for --runner beam"),
        (["--runner", "beam", *OPTIONS, *KEY, "--key-variable", "A"], "exactly one of"),
    ],
)
def test_options_that_do_not_go_together(call, tmp_path, arguments, words):
    code, _, err = call("dst", *arguments)
    assert code == 2
    assert words in complaints(err)[0]
    assert not (tmp_path / "dst").exists()


def test_the_absence_of_beam_is_one_sentence(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "vim_jax.data.beam", raising=False)
    code, _, err = call("dst", "--runner", "beam", *OPTIONS, *KEY)
    assert code == 2
    assert "pip install 'vim-jax[beam]'" in complaints(err)[0]
    assert not (tmp_path / "dst").exists()


def test_both_runners_write_the_same_bytes_and_summary(call, tmp_path, monkeypatch):
    pytest.importorskip("apache_beam")
    (tmp_path / "src/cats/broken.png").write_bytes(b"")
    SecretKey.generate().save("my.key")
    local = call("local", *OPTIONS, *KEY)
    options = ("--runner=FnApiRunner", "--direct_num_workers=1")
    there = call("there", "--runner", "beam", *OPTIONS, *KEY, "--", *options)
    assert tree(tmp_path / "there") == tree(tmp_path / "local")
    assert there[:2] == (1, local[1].replace("local", "there"))
    # Paths are made absolute for other machines.
    assert complaints(there[2].replace(f"{tmp_path}/", "")) == complaints(local[2])
    monkeypatch.setenv("VIM_JAX_TEST_KEY", (tmp_path / "my.key").read_text())
    variable = ("--key-variable", "VIM_JAX_TEST_KEY")
    code, *_ = call("third", "--runner", "beam", *OPTIONS, *variable, "--", *options)
    assert code == 1
    assert tree(tmp_path / "third") == tree(tmp_path / "local")
    assert SecretKey.load("my.key").fingerprint in (
        tmp_path / "third/manifest.jsonl"
    ).read_text("utf-8")
