"""Training that is cut short goes on, and ends as if it had never been."""

import dataclasses
import shutil
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from training_runs import (
    CONFIG,
    RESNET,
    read_lines,
    run,
    start,
    without_seconds,
)

import vim_jax
from vim_jax.training import checkpoint, evaluation, loop

pytestmark = pytest.mark.usefixtures("kept_programs")


class Killed(BaseException):
    """Stands for the end of the process: nothing in the library catches it."""


def kill_at_save(monkeypatch, number):
    """Lets training die when it is about to save its number-th checkpoint."""
    saved, save = [], checkpoint.save

    def dying_save(*args):
        saved.append(args)
        if len(saved) == number:
            raise Killed
        save(*args)

    monkeypatch.setattr(loop.checkpoint, "save", dying_save)


@pytest.mark.parametrize("dies_at", [1, 3])
def test_resumed_run_ends_like_an_uninterrupted_one(
    dies_at, uninterrupted, sets, tmp_path, monkeypatch
):
    kill_at_save(monkeypatch, dies_at)
    with pytest.raises(Killed):
        run(CONFIG, *sets, out=tmp_path)
    assert len(read_lines(tmp_path)) == dies_at
    assert not (tmp_path / "result.json").exists()
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch": 4, "st')  # a torn line
    monkeypatch.undo()
    resumed = run(CONFIG, *sets, out=tmp_path)
    expected = uninterrupted[0]
    assert without_seconds(resumed.epochs) == without_seconds(expected.epochs)
    assert without_seconds(read_lines(tmp_path)) == without_seconds(expected.epochs)


@pytest.mark.parametrize("damage", ["flip", "delete", "metadata"])
def test_damaged_checkpoint_falls_back(damage, uninterrupted, sets, tmp_path):
    expected, whole = uninterrupted
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    latest = out / "checkpoints/24"
    data = max(latest.rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(data.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
    elif damage == "delete":
        data.unlink()
    else:
        path = latest / "_CHECKPOINT_METADATA"
        path.write_text(path.read_text().replace('"epoch": 1', '"epoch": 7'))
    with pytest.warns(UserWarning, match=r"checkpoints/24 is passed over: its file"):
        resumed = run(CONFIG, *sets, out=out)
    assert without_seconds(resumed.epochs) == without_seconds(expected.epochs)
    # And the damaged one has been replaced.
    assert run(CONFIG, *sets, out=out).epochs == resumed.epochs


@pytest.mark.slow
def test_batch_statistics_survive_a_resume(sets, tmp_path, monkeypatch):
    config = dataclasses.replace(RESNET, ema=0.5)
    expected = run(config, *sets, out=tmp_path / "whole")
    kill_at_save(monkeypatch, 2)
    with pytest.raises(Killed):
        run(config, *sets, out=tmp_path / "part")
    monkeypatch.undo()
    resumed = run(config, *sets, out=tmp_path / "part")
    assert without_seconds(resumed.epochs) == without_seconds(expected.epochs)


STEPWISE = dataclasses.replace(
    CONFIG,
    checkpoint_every_steps=5,
    ema=0.9,
    flip=True,
    fresh=vim_jax.VisualMixer(region_size=2),
)


@pytest.fixture(scope="module")
def stepwise(kept_programs, sets, tmp_path_factory):
    return run(STEPWISE, *sets, out=tmp_path_factory.mktemp("stepwise"))


@pytest.mark.parametrize("dies_at", [2, 4])  # After 5 and 10 of 8 steps an epoch.
def test_killed_amid_an_epoch(dies_at, stepwise, sets, tmp_path, monkeypatch):
    kill_at_save(monkeypatch, dies_at)
    with pytest.raises(Killed):
        run(STEPWISE, *sets, out=tmp_path)
    monkeypatch.undo()
    latest = max(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert latest == {2: 5, 4: 10}[dies_at]
    resumed = run(STEPWISE, *sets, out=tmp_path)
    assert without_seconds(resumed.epochs) == without_seconds(stepwise.epochs)
    for old, new in zip(
        *(jax.tree.leaves(nnx.state(history.model)) for history in (stepwise, resumed)),
        strict=True,
    ):
        np.testing.assert_array_equal(old, new)


# Amid an epoch, before its tests, and before those of the last one.
@pytest.mark.parametrize("step", [3, 8, 24])
def test_sigterm_saves_and_exits(step, stepwise, sets, tmp_path, monkeypatch):
    taken = 0
    make = loop.make_train_step

    def make_interrupting_step(*args, **kwargs):
        train_step = make(*args, **kwargs)

        def interrupting_step(*args):
            nonlocal taken
            taken += 1
            if taken == step:
                signal.raise_signal(signal.SIGTERM)
            return train_step(*args)

        return interrupting_step

    monkeypatch.setattr(loop, "make_train_step", make_interrupting_step)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as exit_info:
        run(STEPWISE, *sets, out=tmp_path)
    assert exit_info.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (tmp_path / f"checkpoints/{step}/manifest.json").exists()
    resumed = run(STEPWISE, *sets, out=tmp_path)
    assert taken == 24  # None was taken twice.
    assert without_seconds(resumed.epochs) == without_seconds(stepwise.epochs)


def test_sigterm_amid_tests_saves_the_epoch(stepwise, sets, tmp_path, monkeypatch):
    forward, batches = evaluation._forward, []

    def interrupting(*args):
        batches.append(args)
        if len(batches) == 2:
            signal.raise_signal(signal.SIGTERM)
        return forward(*args)

    monkeypatch.setattr(evaluation, "_forward", interrupting)
    with pytest.raises(SystemExit) as exit_info:
        run(STEPWISE, *sets, out=tmp_path)
    assert exit_info.value.code == 143
    assert len(batches) == 2  # Of five of the first set.
    assert read_lines(tmp_path) == []
    assert (tmp_path / "checkpoints/8/manifest.json").exists()
    resumed = run(STEPWISE, *sets, out=tmp_path)
    assert without_seconds(resumed.epochs) == without_seconds(stepwise.epochs)


def test_sigterm_at_the_end_is_not_lost(stepwise, sets, tmp_path, monkeypatch):
    for module, name in ((loop.checkpoint, "save"), (loop.records, "write_result")):
        out = tmp_path / name
        do, calls = getattr(module, name), []

        def interrupting(*args, do=do, calls=calls):
            calls.append(do(*args))
            if len(calls) == (7 if do.__name__ == "save" else 1):
                signal.raise_signal(signal.SIGTERM)

        with monkeypatch.context() as patch:
            patch.setattr(module, name, interrupting)
            with pytest.raises(SystemExit) as exit_info:
                run(STEPWISE, *sets, out=out)
        assert exit_info.value.code == 143
        assert (out / "result.json").exists()
        assert read_lines(out)[-1]["epoch"] == STEPWISE.epochs
    # A run that was complete before.
    restore = loop.checkpoint.restore_latest

    def interrupted(*args):
        signal.raise_signal(signal.SIGTERM)
        return restore(*args)

    monkeypatch.setattr(loop.checkpoint, "restore_latest", interrupted)
    with pytest.raises(SystemExit) as exit_info:
        run(STEPWISE, *sets, out=out)
    assert exit_info.value.code == 143


def test_a_run_goes_on_with_other_checkpoints(stepwise, sets, tmp_path, monkeypatch):
    save = loop.checkpoint.save

    def interrupting(*args):
        save(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.checkpoint, "save", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run(STEPWISE, *sets, out=tmp_path)
    more = dataclasses.replace(STEPWISE, checkpoint_every=2, checkpoint_every_steps=2)
    resumed = run(more, *sets, out=tmp_path)
    assert without_seconds(resumed.epochs) == without_seconds(stepwise.epochs)


def test_no_random_key_enters_a_checkpoint(stepwise, sets, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop.checkpoint, "save", lambda *args: saved.append(args))
    run(STEPWISE, *sets, out=tmp_path)
    assert len(saved) == 7  # Steps 5, 8, 10, 15, 16, 20 and 24.
    for _, _, state, metadata in saved:
        for leaf in jax.tree.leaves(state):
            assert not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            assert leaf.dtype != np.uint32  # Data of keys.
        assert set(metadata) == {"epochs", "totals"}


@pytest.mark.slow
def test_survives_kill_9_and_sigterm(stepwise, sets, tmp_path):
    out = tmp_path / "run"
    codes = []
    for awaited, number in (
        ("checkpoints/5", signal.SIGKILL),
        ("checkpoints/8", signal.SIGTERM),
    ):
        process = start(STEPWISE, out)
        while process.poll() is None and not (out / awaited).exists():
            time.sleep(0.001)
        process.send_signal(number)
        _, err = process.communicate()
        codes.append(process.returncode)
    assert codes == [-signal.SIGKILL, 143], err
    resumed = run(STEPWISE, *sets, out=out)
    assert without_seconds(resumed.epochs) == without_seconds(stepwise.epochs)
    assert without_seconds(read_lines(out)) == without_seconds(stepwise.epochs)
