"""Training on small real data: scikit-learn's 8x8 digits."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from sklearn.datasets import load_digits

from vim_jax.models import create_model
from vim_jax.training import TrainConfig, TrainState, checkpoint, loop, train
from vim_jax.training.step import (
    init_state,
    make_eval_step,
    make_optimizer,
    make_schedule,
    make_train_step,
)

# Small enough to compile in about a second, as every call of `train` does.
CONFIG = TrainConfig(
    model="vit_tiny_patch4",
    model_options={"patch_size": 2, "dim": 32, "depth": 1, "heads": 2},
    epochs=3,
    batch_size=64,
    learning_rate=1e-2,
)
RESNET = dataclasses.replace(CONFIG, model="resnet8", model_options={})


def digits():
    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return images, labels


@pytest.fixture(scope="module")
def sets():
    images, labels = digits()
    train_set = images[:512], labels[:512]
    test_set = images[-300:], labels[-300:]
    return train_set, {"plain": test_set, "dark": (test_set[0] // 4, test_set[1])}


@pytest.fixture(scope="module")
def uninterrupted(sets, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "whole"
    return run(CONFIG, *sets, out=out), out


def run(*args, **kwargs):
    """Trains on one device, for which it compiles faster than for eight."""
    one = jax.devices()[:1]
    return train(*args, **{"progress": False, "devices": one, **kwargs})


def without_seconds(epochs):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in epochs]


def read_lines(out):
    return [
        json.loads(line)
        for line in (out / "metrics.jsonl").read_text().split("\n")[:-1]
    ]


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


def test_learns_and_records(uninterrupted, sets):
    history, out = uninterrupted
    assert [line["epoch"] for line in history.epochs] == [1, 2, 3]
    assert [line["step"] for line in history.epochs] == [8, 16, 24]
    assert history.final["train_loss"] < 0.8 * history.epochs[0]["train_loss"]
    assert history.final["train_accuracy"] > 0.3
    assert history.final["plain_accuracy"] > 0.2
    assert list(history.final) == [
        "epoch", "step", "train_loss", "train_accuracy", "plain_accuracy",
        "dark_accuracy", "seconds",
    ]  # fmt: skip
    assert read_lines(out) == history.epochs
    result = json.loads((out / "result.json").read_text())
    assert result["plain_accuracy"] == history.final["plain_accuracy"]
    assert result["config"] == dataclasses.asdict(CONFIG)
    assert result["seconds"] >= history.final["seconds"]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["16", "24"]
    # The model handed back is the trained one, and the accuracy is exact although
    # 300 images do not fill batches of 64.
    images, labels = sets[1]["plain"]
    logits = history.model(jnp.asarray(images, jnp.float32) / 255)
    right = int((np.argmax(logits, -1) == labels).sum())
    assert abs(right / 300 - history.final["plain_accuracy"]) < 1.5 / 300


def test_finished_run_is_read_not_repeated(uninterrupted, sets, monkeypatch):
    history, out = uninterrupted
    monkeypatch.setattr(loop, "_train_epoch", None)
    again = run(CONFIG, *sets, out=out)
    assert again.epochs == history.epochs
    for old, new in zip(
        *(jax.tree.leaves(nnx.state(run.model)) for run in (history, again)),
        strict=True,
    ):
        np.testing.assert_array_equal(old, new)


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
    with pytest.warns(UserWarning, match=r"checkpoints/24 is passed over .* its file"):
        resumed = run(CONFIG, *sets, out=out)
    assert without_seconds(resumed.epochs) == without_seconds(expected.epochs)
    # And the damaged one has been replaced.
    assert run(CONFIG, *sets, out=out).epochs == resumed.epochs


def test_folder_of_another_run_is_refused(uninterrupted, sets, tmp_path):
    _, out = uninterrupted
    other = dataclasses.replace(CONFIG, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"learning_rate 0.01 there and 0.1 here: use"):
        run(other, *sets, out=out)
    (images, labels), tests = sets
    mixed = (images[:, ::-1].copy(), labels)
    with pytest.raises(ValueError, match="holds another run, with train_set"):
        run(CONFIG, mixed, tests, out=out)


def test_checkpoint_every(sets, tmp_path):
    config = dataclasses.replace(CONFIG, checkpoint_every=2)
    run(config, *sets, out=tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["16", "24"]  # every second epoch, and the last


@pytest.mark.slow
@pytest.mark.parametrize("config", [CONFIG, RESNET], ids=["vit", "resnet"])
def test_eight_devices_train_like_one(config, sets):
    # Plain gradient descent does not blow rounding up, as dividing by sqrt(v) does.
    config = dataclasses.replace(config, epochs=1, optimizer="sgd")
    one = run(config, *sets)
    eight = run(config, *sets, devices=None)
    np.testing.assert_allclose(
        eight.final["train_loss"], one.final["train_loss"], rtol=1e-4
    )
    for a, b in zip(
        *(jax.tree.leaves(nnx.state(run.model)) for run in (one, eight)), strict=True
    ):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_batch_statistics_survive_a_resume(sets, tmp_path, monkeypatch):
    config = dataclasses.replace(RESNET, epochs=2)
    expected = run(config, *sets, out=tmp_path / "whole")
    kill_at_save(monkeypatch, 2)
    with pytest.raises(Killed):
        run(config, *sets, out=tmp_path / "part")
    monkeypatch.undo()
    resumed = run(config, *sets, out=tmp_path / "part")
    assert without_seconds(resumed.epochs) == without_seconds(expected.epochs)


def test_batch_that_does_not_divide_uses_one_device():
    with pytest.warns(UserWarning, match="batch_size 100 does not divide over 8"):
        split, replicated = loop._shardings(100, None)
    assert len(split.device_set) == len(replicated.device_set) == 1
    assert len(loop._shardings(64, None)[0].device_set) == 8


def test_batches_depend_on_seed_and_epoch():
    other_seed = dataclasses.replace(CONFIG, seed=1)
    first = loop._shuffled_batches(CONFIG, 1, 140)
    np.testing.assert_array_equal(first, loop._shuffled_batches(CONFIG, 1, 140))
    assert first.shape == (2, 64)
    assert len(set(first.ravel()) & set(range(140))) == 128
    assert (first != loop._shuffled_batches(CONFIG, 2, 140)).any()
    assert (first != loop._shuffled_batches(other_seed, 1, 140)).any()


def test_nan_loss_stops_with_advice(sets):
    config = dataclasses.replace(
        CONFIG, optimizer="sgd", learning_rate=1e30, warmup_fraction=0.0
    )
    with pytest.raises(
        FloatingPointError,
        match=r"loss is \w+ at step \d+: try a smaller learning_rate",
    ):
        run(config, *sets)


@pytest.mark.parametrize(
    ("optimizer", "rate"), [("st_adam", 0.01), ("adam", 0.01), ("sgd", 0.3)]
)
def test_steps_donate_count_and_lower_the_loss(optimizer, rate, sets):
    config = dataclasses.replace(
        CONFIG, optimizer=optimizer, learning_rate=rate, weight_decay=0.01
    )
    (images, labels), _ = sets
    images, labels = jnp.asarray(images[:64]), jnp.asarray(labels[:64], jnp.int32)
    replicated = loop._shardings(64, jax.devices()[:1])[1]
    model: Any = create_model(
        CONFIG.model,
        num_classes=10,
        image_size=8,
        channels=1,
        rngs=nnx.Rngs(0),
        **CONFIG.model_options,
    )
    # optax.adam mixes floats and integers in its bias correction.
    with jax.numpy_dtype_promotion("standard"):
        opt = make_optimizer(config, total_steps=30)
        graphdef, state = init_state(model, opt)
        state = first = jax.device_put(state, replicated)
        step = make_train_step(
            graphdef, opt, label_smoothing=0.1, replicated=replicated
        )
        losses = []
        for _ in range(30):
            state, metrics = step(state, images, labels)
            losses.append(float(metrics.loss) / 64)
    assert losses[-1] < 0.8 * losses[0]
    assert int(state.step) == 30
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    # Labels below zero mark images that do not count.
    evaluate = make_eval_step(graphdef, replicated=replicated)
    some = evaluate(state, images, labels.at[32:].set(-1))
    half = evaluate(state, images[:32], labels[:32])
    assert int(some.correct) == int(half.correct)
    np.testing.assert_allclose(some.loss, half.loss, rtol=1e-5)


def test_schedule_rises_and_falls():
    config = dataclasses.replace(CONFIG, learning_rate=2.0, warmup_fraction=0.25)
    schedule = make_schedule(config, total_steps=100)
    rates = np.array([schedule(jnp.int32(step)) for step in range(100)])
    np.testing.assert_allclose(rates[:25], 2 * (np.arange(25) + 0.5) / 25, rtol=1e-5)
    cosine = 1 + np.cos(np.pi * (np.arange(75) + 0.5) / 75)
    np.testing.assert_allclose(rates[25:], cosine, rtol=1e-3, atol=1e-5)
    for epochs, fraction in [(1, 0.99), (1, 0.0), (3, 0.99)]:  # the shortest runs
        config = dataclasses.replace(CONFIG, warmup_fraction=fraction)
        assert float(np.asarray(make_schedule(config, total_steps=epochs)(0))) > 0


def test_vectors_do_not_decay():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    grads = jax.tree.map(jnp.zeros_like, params)
    for optimizer in ("st_adam", "adam", "sgd"):
        config = dataclasses.replace(CONFIG, optimizer=optimizer, weight_decay=0.5)
        with jax.numpy_dtype_promotion("standard"):
            opt = make_optimizer(config, total_steps=10)
            updates: Any
            updates, _ = opt.update(grads, opt.init(params), params)
        assert (updates["kernel"] < 0).all()
        assert (updates["bias"] == 0).all()


def state_of(value, names=("a", "b")):
    params = {name: jnp.full((2, 3), value) for name in names}
    return TrainState(params, {}, (jnp.bfloat16(value), None), jnp.int32(value))


def test_checkpoint_round_trip(tmp_path):
    assert checkpoint.restore_latest(tmp_path / "none", state_of(0.0)) is None
    for step in (1, 2, 10):
        checkpoint.save(tmp_path, step, state_of(float(step)), {"lines": [0.1, step]})
    found = checkpoint.restore_latest(tmp_path, state_of(0.0))
    assert found is not None
    assert found.step == 10
    assert found.metadata == {"lines": [0.1, 10]}
    expected = state_of(10.0)
    assert jax.tree.structure(found.state) == jax.tree.structure(expected)
    for got, leaf in zip(*map(jax.tree.leaves, (found.state, expected)), strict=True):
        assert got.dtype == leaf.dtype
        np.testing.assert_array_equal(got, leaf)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["10", "2"]


def test_checkpoint_of_another_structure_is_refused_not_skipped(tmp_path):
    checkpoint.save(tmp_path, 1, state_of(1.0), {})
    with pytest.raises(ValueError, match=r"params/b is float32 .* there and absent"):
        checkpoint.restore_latest(tmp_path, state_of(0.0, names=("a", "c")))


def test_all_checkpoints_damaged_is_an_error(tmp_path):
    checkpoint.save(tmp_path, 1, state_of(1.0), {})
    (tmp_path / "1/manifest.json").write_text('{"a')
    with (
        pytest.warns(
            UserWarning, match=r"1 is passed over .* manifest.json is damaged"
        ),
        pytest.raises(RuntimeError, match=r"All checkpoints .* are damaged: delete"),
    ):
        checkpoint.restore_latest(tmp_path, state_of(0.0))


def test_unfinished_checkpoint_does_not_count(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, state_of(float(step)), {})
    (tmp_path / "2/manifest.json").unlink()
    found = checkpoint.restore_latest(tmp_path, state_of(0.0))
    assert found is not None
    assert found.step == 1
    (tmp_path / "1/manifest.json").unlink()
    assert checkpoint.restore_latest(tmp_path, state_of(0.0)) is None
    checkpoint.save(tmp_path, 2, state_of(2.0), {})
    found = checkpoint.restore_latest(tmp_path, state_of(0.0))
    assert found is not None
    assert found.step == 2


def test_random_keys_are_never_stored(tmp_path):
    with pytest.raises(TypeError, match="holds a random key at 1/key: derive"):
        checkpoint.save(tmp_path, 1, (jnp.ones(2), {"key": jax.random.key(0)}), {})
    assert checkpoint.restore_latest(tmp_path, jnp.ones(2)) is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model", "lenet", "model is 'lenet': use one of mobilenet_v2,"),
        ("optimizer", "adagrad", "optimizer is 'adagrad': use \"st_adam\""),
        ("epochs", 0, "epochs is 0: use at least 1"),
        ("batch_size", -1, "batch_size is -1: use at least 1"),
        ("checkpoint_every", 0, "checkpoint_every is 0: use at least 1"),
        ("learning_rate", 0.0, "learning_rate is 0.0: use a positive"),
        ("learning_rate", float("nan"), "learning_rate is nan: use a positive"),
        ("weight_decay", -0.1, "weight_decay is -0.1: use zero or"),
        ("warmup_fraction", 1.0, "warmup_fraction is 1.0: use at least 0 and below"),
        ("label_smoothing", -0.5, "label_smoothing is -0.5: use at least 0"),
        ("num_classes", 1, "num_classes is 1: use at least 2"),
        ("seed", -1, "seed is -1: use zero or"),
    ],
)
def test_config_messages_name_argument_value_and_remedy(
    field, value, message, monkeypatch
):
    # Users have no type checker that would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{field: value})


def test_data_messages_name_argument_value_and_remedy(sets):
    (images, labels), tests = sets
    wide = np.zeros((5, 8, 9, 1), np.uint8)
    for train_set, test_sets, message in [
        (
            (images / 255, labels),
            tests,
            "images of train_set are float64 .*: pass uint8",
        ),
        ((images, labels[1:]), tests, r"labels of train_set are int64 \(511,\): pass"),
        ((images[:0], labels[:0]), tests, "train_set has no images"),
        ((images[:9], labels[:9]), {}, "batch_size is 64 but .* only 9 images: use"),
        ((images, labels), {"w": (wide, labels[:5])}, r"of w are \(8, 9, 1\) but"),
        ((images, labels), {"train": tests["plain"]}, 'called "train": use another'),
        ((images, labels % 5), tests, "labels of plain run from 0 to 9: number them"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(CONFIG, train_set, test_sets)


def test_progress_is_shown(sets, capsys):
    run(dataclasses.replace(CONFIG, epochs=1), *sets, progress=True)
    assert "epoch 1/1, loss" in capsys.readouterr().out


@pytest.mark.slow
def test_survives_kill_9(uninterrupted, sets, tmp_path):
    np.savez(tmp_path / "sets.npz", *sets[0], *sets[1]["plain"], *sets[1]["dark"])
    out = tmp_path / "run"
    program = f"""
import jax
jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from vim_jax.training import TrainConfig, train
a = list(np.load({str(tmp_path / "sets.npz")!r}).values())
train(TrainConfig(**{dataclasses.asdict(CONFIG)!r}), (a[0], a[1]),
      {{"plain": (a[2], a[3]), "dark": (a[4], a[5])}}, out={str(out)!r},
      devices=jax.devices()[:1])
"""
    deaths = 0
    for awaited in ("checkpoints/8", "checkpoints/16"):
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=pathlib.Path(__file__).parents[1],
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.DEVNULL,
        )
        while process.poll() is None and not (out / awaited).exists():
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        deaths += process.wait() == -signal.SIGKILL
    assert deaths
    resumed = run(CONFIG, *sets, out=out)
    expected = uninterrupted[0].epochs
    assert without_seconds(resumed.epochs) == without_seconds(expected)
    assert without_seconds(read_lines(out)) == without_seconds(expected)
