"""Training on several devices, of one process and of two."""

import dataclasses
import json
import shutil
import signal
import socket
import time

import jax
import numpy as np
import pytest
from flax import nnx
from training_runs import CONFIG, RESNET, read_lines, run, start, without_seconds

from vim_jax.training import parallel
from vim_jax.training.parallel import make_layout

pytestmark = pytest.mark.usefixtures("kept_programs")


# Plain gradient descent does not blow rounding up, as dividing by sqrt(v) does.
SGD = dict(epochs=1, optimizer="sgd", learning_rate=0.1)
FLIPPED = dataclasses.replace(CONFIG, **SGD, flip=True)
TWICE = dataclasses.replace(FLIPPED, epochs=2)


def assert_equally_trained(a, b):
    np.testing.assert_allclose(a["train_loss"], b["train_loss"], rtol=1e-4)
    # One image of 300 may be on the edge between two classes.
    np.testing.assert_allclose(a["plain_accuracy"], b["plain_accuracy"], atol=0.004)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        dataclasses.replace(CONFIG, epochs=1, flip=True, ema=0.9),
        dataclasses.replace(RESNET, **SGD),
    ],
    ids=["vit by st_adam", "resnet by sgd"],
)
def test_eight_devices_train_like_one(config, sets):
    one = run(config, *sets)
    eight = run(config, *sets, devices=None)
    assert_equally_trained(one.final, eight.final)
    if config.optimizer == "st_adam":  # Where the network is smooth.
        losses = (each.final["train_loss"] for each in (one, eight))
        np.testing.assert_allclose(*losses, rtol=1e-6)
    for a, b in zip(
        *(jax.tree.leaves(nnx.state(each.model)) for each in (one, eight)), strict=True
    ):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3)


def test_batch_that_does_not_divide_uses_one_device():
    with pytest.warns(UserWarning, match="batch_size 100 does not divide over 8"):
        split, replicated = make_layout(100)
    assert len(split.device_set) == len(replicated.device_set) == 1
    assert len(make_layout(64).split.device_set) == 8


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_what_fails_in_one_process_fails_in_all(error, monkeypatch):
    asked = []

    def in_any(flag):
        asked.append(flag)
        return True

    def check():
        raise error("here")

    monkeypatch.setattr(parallel, "in_any", in_any)
    with pytest.raises(error, match="here"):
        parallel.in_all(check)
    with pytest.raises(ValueError, match="Another process cannot go on"):
        parallel.in_all(lambda: None)
    assert asked == [True, False]


def start_two(config, out, other=None):
    """Two processes of one run; the second one gets other settings, if there are."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return [
        start(
            other if number and other else config,
            out,
            JAX_NUM_CPU_DEVICES="2",
            JAX_COORDINATOR_ADDRESS=address,
            JAX_NUM_PROCESSES="2",
            JAX_PROCESS_ID=str(number),
        )
        for number in range(2)
    ]


def finish(processes):
    errors = [process.communicate(timeout=240)[1] for process in processes]
    return [process.returncode for process in processes], "".join(errors)


@pytest.mark.slow
def test_two_processes_train_like_one(sets, tmp_path):
    codes, errors = finish(start_two(TWICE, tmp_path / "two"))
    assert codes == [0, 0], errors
    four = run(TWICE, *sets, out=tmp_path / "one", devices=jax.devices()[:4])
    lines = read_lines(tmp_path / "two")
    assert_equally_trained(lines[-1], four.final)
    assert json.loads((tmp_path / "two/result.json").read_text())["devices"] == (
        "4 x cpu"
    )
    # One process reads what two have written.
    read = run(TWICE, *sets, out=tmp_path / "two")
    assert read.epochs == lines
    for a, b in zip(
        *(jax.tree.leaves(nnx.state(each.model)) for each in (read, four)), strict=True
    ):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3)

    # As if both had been killed in the second epoch.
    shutil.rmtree(tmp_path / "two/checkpoints/16")
    (tmp_path / "two/result.json").unlink()
    codes, errors = finish(start_two(TWICE, tmp_path / "two"))
    assert codes == [0, 0], errors
    again = read_lines(tmp_path / "two")
    assert again[0] == lines[0]  # Not run again: it took the same seconds.
    assert without_seconds(again) == without_seconds(lines)


@pytest.mark.slow
def test_a_process_with_other_settings_stops_all(tmp_path):
    other = dataclasses.replace(FLIPPED, seed=1)
    codes, errors = finish(start_two(FLIPPED, tmp_path, other))
    assert codes == [1, 1], errors
    assert "holds another run, with seed 0 there and 1 here" in errors
    assert "Another process cannot go on, and says why" in errors
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.slow
def test_one_of_two_processes_is_terminated(tmp_path):
    config = dataclasses.replace(FLIPPED, epochs=200)
    processes = start_two(config, tmp_path)
    while all(p.poll() is None for p in processes):
        if (tmp_path / "checkpoints/8/manifest.json").exists():
            processes[1].send_signal(signal.SIGTERM)
            break
        time.sleep(0.01)
    codes, errors = finish(processes)
    assert codes == [143, 143], errors
    latest = max(int(path.name) for path in (tmp_path / "checkpoints").glob("[0-9]*"))
    # Amid an epoch, too: processes ask each other every few steps.
    assert read_lines(tmp_path)[-1]["step"] <= latest < 1600


def test_each_process_reads_only_its_rows():
    read = []

    class Images(np.ndarray):
        def __getitem__(self, rows):
            read.append(rows.tolist())
            return np.asarray(super().__getitem__(rows))

    images = np.arange(10, 26).reshape(16, 1)
    chosen = np.array([3, 0, 15, 7, 8, 2, 2, 5])
    batch = parallel.put_rows(make_layout(8), images.view(Images), chosen)
    np.testing.assert_array_equal(batch, images[chosen])
    assert sorted(read) == sorted([i] for i in chosen.tolist())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (dict(JAX_NUM_PROCESSES="2", JAX_PROCESS_ID="1"), None),
        (dict(TPU_WORKER_HOSTNAMES="localhost"), None),
        (dict(TPU_WORKER_HOSTNAMES="a,b"), (None, None, None)),
        (dict(TPU_PROCESS_ADDRESSES="a:1,b:1"), (None, None, None)),
        (dict(MEGASCALE_COORDINATOR_ADDRESS="a"), (None, None, None)),
        (dict(JAX_COORDINATOR_ADDRESS="a:1"), ("a:1", None, None)),
        (
            dict(
                JAX_COORDINATOR_ADDRESS="a:1", JAX_NUM_PROCESSES="2", JAX_PROCESS_ID="1"
            ),
            ("a:1", 2, 1),
        ),
    ],
)
def test_the_environment_says_whether_there_are_others(
    environment, expected, monkeypatch
):
    calls = []
    for name in (
        "JAX_COORDINATOR_ADDRESS",
        "JAX_NUM_PROCESSES",
        "JAX_PROCESS_ID",
        "TPU_WORKER_HOSTNAMES",
        "TPU_PROCESS_ADDRESSES",
        "MEGASCALE_COORDINATOR_ADDRESS",
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args: calls.append(args))
    parallel.initialize()
    assert calls == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (dict(JAX_PROCESS_ID="1"), "Only one of JAX_NUM_PROCESSES and JAX_PROCESS_ID"),
        (
            dict(JAX_PROCESS_ID="first", JAX_NUM_PROCESSES="2"),
            "JAX_PROCESS_ID is 'first': set it to a number",
        ),
    ],
)
def test_half_an_environment_is_refused(environment, message, monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "a:1")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        parallel.initialize()
