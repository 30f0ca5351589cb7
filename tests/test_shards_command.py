"""`vim-jax mix --shard` and `vim-jax merge`."""

import os
import signal
import subprocess
import sys
import time

import pytest
from folders import (
    complaints,
    photograph,
    photographs,
    run_command,
    save,
    tree,
)

from vim_jax import SecretKey
from vim_jax.data import shards

MIX = ("mix", "src", "dst", "--region-size", "5", "--key", "my.key")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands(here, capsys):
    photographs(here / "src")
    SecretKey.generate().save("my.key")
    for number in (1, 2):
        code, out, _ = run_command(capsys, *MIX, "--shard", f"{number}/2")
        assert code == 0
        assert f"Shard {number}/2 is done" in out
        code, out, err = run_command(capsys, "merge", "dst")
        if number == 1:
            assert code == 1
            assert "lacks the complete parts of the shards 2/2" in complaints(err)[0]
    assert code == 0
    assert "Merged: dst holds 4 mixed images." in out
    assert "vim-jax audit dst --originals SRC" in out
    code, _, err = run_command(capsys, "merge", "dst")
    assert code == 2
    assert "is merged already" in complaints(err)[0]


def test_merge_tells_of_images_that_failed(here, capsys):
    photographs(here / "src")
    (here / "src/broken.png").write_bytes(b"no image")
    SecretKey.generate().save("my.key")
    assert {run_command(capsys, *MIX, "--shard", f"{i}/2")[0] for i in (1, 2)} == {0, 1}
    code, out, err = run_command(capsys, "merge", "dst")
    assert code == 1
    assert "Merged: dst holds 4 mixed images." in out
    assert "warning: 1 image of the 5 in the source failed" in " ".join(err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--shard", "2"], "shard is '2'"),
        (["--shard", "1/2"], "key file my.key does not exist, and the shards need"),
        (["--shard", "1/2", "--format", "tfds"], "does not exist"),
    ],
)
def test_usage(here, capsys, arguments, words):
    photographs(here / "src", 2)
    code, _, err = run_command(capsys, *MIX, *arguments)
    assert code == 2
    assert words in complaints(err)[0]
    code, _, err = run_command(capsys, *MIX[:5], "--discard-key", "--shard", "1/2")
    assert code == 2
    assert "--discard-key does not go with --shard" in complaints(err)[0]
    assert not (here / "dst").exists()


@pytest.mark.slow
def test_four_processes_one_of_them_killed_and_restarted(here):
    path = save(here / "src/0000.png", photograph())
    for i in range(1, 400):
        os.link(path, here / f"src/{i:04}.png")
    SecretKey.generate().save("my.key")

    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "vim_jax", *arguments],
            stdout=subprocess.DEVNULL,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )

    def begun(number):
        # Published by this shard: its images have consecutive names.
        first = (number - 1) * 100
        return any(
            (here / f"dst/{i:04}.png").exists() for i in range(first, first + 100)
        )

    (here / "dst").mkdir()
    running = [start(*MIX, "--shard", f"{n}/4") for n in (1, 2, 3, 4)]
    while running[1].poll() is None and not begun(2):
        time.sleep(0.001)
    running[1].kill()
    running[1].wait()
    assert running[1].returncode == -signal.SIGKILL
    assert not shards._is_complete(here / "dst/manifest-2-of-4.jsonl")
    running[1] = start(*MIX, "--shard", "2/4")
    assert [process.wait(timeout=300) for process in running] == [0] * 4
    assert start("merge", "dst").wait() == 0
    assert start("mix", "src", "whole", *MIX[3:]).wait() == 0
    assert tree(here / "dst") == tree(here / "whole")
