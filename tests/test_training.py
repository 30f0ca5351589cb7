"""Training on small real data: scikit-learn's 8x8 digits."""

import dataclasses
import json
import shutil
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from training_runs import CONFIG, RESNET, read_lines, run, without_seconds

from vim_jax.data.writers import locked
from vim_jax.models import create_model
from vim_jax.training import display, load_model, loop, predict, records
from vim_jax.training.epoch import shuffled_batches
from vim_jax.training.initial import initial_model
from vim_jax.training.optimizers import make_optimizer
from vim_jax.training.parallel import make_layout
from vim_jax.training.step import init_state, make_train_step, merge

pytestmark = pytest.mark.usefixtures("kept_programs")


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
    classify = jax.jit(lambda images: history.model(images))
    logits = classify(jnp.asarray(images, jnp.float32) / 255)
    right = int((np.argmax(logits, -1) == labels).sum())
    assert abs(right / 300 - history.final["plain_accuracy"]) < 1.5 / 300


def test_starts_from_a_given_model_and_leaves_it_alone(uninterrupted, sets):
    history, _ = uninterrupted
    given = history.model
    before = jax.tree.map(np.array, nnx.state(given))
    slowly = dataclasses.replace(CONFIG, learning_rate=1e-9, epochs=1)
    tuned = run(slowly, *sets, model=given)
    assert tuned.final["plain_accuracy"] == history.final["plain_accuracy"]
    for start, same, end in zip(
        *map(jax.tree.leaves, (before, nnx.state(given), nnx.state(tuned.model))),
        strict=True,
    ):
        np.testing.assert_array_equal(start, same)
        np.testing.assert_allclose(start, end, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 7}, "model has num_classes 7 and not 10, which"),
        ({"channels": 3}, "model has channels 3 and not 1, which"),
        (
            {"image_size": 16},
            r"model has image_size \(16, 16\) and not \(8, 8\), which",
        ),
        # What shapes do not show.
        ({"patch_encoder": "sorted"}, "model has patch_encoder 'sorted' and not 'lin"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(changes, message, sets, unchecked):
    shape = {"num_classes": 10, "image_size": 8, "channels": 1}
    options = {**shape, **CONFIG.model_options, **changes}
    model = create_model(CONFIG.model, rngs=nnx.Rngs(0), **options)
    with pytest.raises(ValueError, match=message):
        run(CONFIG, *sets, model=model)


def test_a_model_of_another_kind_is_refused(sets):
    shape = {"num_classes": 10, "image_size": 8, "channels": 1}
    model = create_model("resnet8", rngs=nnx.Rngs(0), **shape)
    with pytest.raises(ValueError, match="model is a ResNet, not the vit_tiny_patch4"):
        run(CONFIG, *sets, model=model)


def test_finished_run_is_read_not_repeated(uninterrupted, sets, monkeypatch):
    history, out = uninterrupted
    monkeypatch.setattr(loop, "train_epoch", None)
    again = run(CONFIG, *sets, out=out)
    assert again.epochs == history.epochs
    for old, new in zip(
        *(jax.tree.leaves(nnx.state(each.model)) for each in (history, again)),
        strict=True,
    ):
        np.testing.assert_array_equal(old, new)


def test_memory_maps_are_as_good_as_arrays(uninterrupted, sets, tmp_path):
    history, _ = uninterrupted
    (images, labels), test_sets = sets
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    again = run(history.config, (mapped, labels), test_sets)
    assert without_seconds(again.epochs) == without_seconds(history.epochs)


def test_folder_of_another_run_is_refused(uninterrupted, sets, tmp_path):
    _, out = uninterrupted
    other = dataclasses.replace(CONFIG, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"learning_rate 0.01 there and 0.1 here: use"):
        run(other, *sets, out=out)
    (images, labels), tests = sets
    mixed = (images[:, ::-1].copy(), labels)
    with pytest.raises(ValueError, match="holds another run, with train_set"):
        run(CONFIG, mixed, tests, out=out)


def test_a_run_that_is_older_than_a_setting_goes_on(uninterrupted, sets, tmp_path):
    history, out = uninterrupted
    shutil.copytree(out, tmp_path / "run")
    path = tmp_path / "run/config.json"
    settings = json.loads(path.read_text())
    assert settings.pop("gradient_cosine") is False
    path.write_text(json.dumps(settings))
    assert run(CONFIG, *sets, out=tmp_path / "run").epochs == history.epochs
    other = dataclasses.replace(CONFIG, gradient_cosine=True)
    with pytest.raises(ValueError, match="gradient_cosine False there and True here"):
        run(other, *sets, out=tmp_path / "run")


def test_one_training_at_a_time_in_a_folder(sets, tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(ValueError, match="is being written to by another vim-jax"),
    ):
        run(CONFIG, *sets, out=tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_what_no_step_could_take_claims_no_folder(sets, tmp_path):
    with pytest.raises(ValueError, match="crop is 8 for images of 8 x 8 pixels"):
        run(dataclasses.replace(CONFIG, crop=8), *sets, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_lists_are_as_good_as_tuples(sets, tmp_path):
    options = {"widths": [4, 8], "blocks": [1, 1]}
    config = dataclasses.replace(RESNET, model_options=options, epochs=1)
    model = run(config, *sets, out=tmp_path).model
    loaded: Any = load_model(tmp_path)
    assert loaded.config == model.config
    assert loaded.config.widths == (4, 8)


@pytest.mark.parametrize("text", ["[1]", "no JSON", '{"model": "bert"}'])
def test_folder_of_another_kind_is_refused(text, sets, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is not that of a training run"):
        run(CONFIG, *sets, out=tmp_path)
    assert (tmp_path / "config.json").read_text() == text


def test_checkpoint_every(sets, tmp_path):
    config = dataclasses.replace(CONFIG, checkpoint_every=2)
    run(config, *sets, out=tmp_path)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["16", "24"]  # every second epoch, and the last


def test_batches_depend_on_seed_and_epoch():
    other_seed = dataclasses.replace(CONFIG, seed=1)
    first = shuffled_batches(CONFIG, 1, 140)
    np.testing.assert_array_equal(first, shuffled_batches(CONFIG, 1, 140))
    assert first.shape == (2, 64)
    assert len(set(first.ravel()) & set(range(140))) == 128
    assert (first != shuffled_batches(CONFIG, 2, 140)).any()
    assert (first != shuffled_batches(other_seed, 1, 140)).any()


def test_nan_loss_stops_with_advice_and_is_in_no_checkpoint(sets, tmp_path):
    config = dataclasses.replace(
        CONFIG, optimizer="sgd", learning_rate=1e30, checkpoint_every_steps=1
    )
    advice = r"in another run and folder, try a smaller learning_rate than 1e\+30, a"
    with pytest.raises(FloatingPointError, match=rf"loss is \w+ at step \d+: {advice}"):
        run(config, *sets, out=tmp_path)
    steps = [int(path.name) for path in (tmp_path / "checkpoints").glob("[0-9]*")]
    with pytest.raises(FloatingPointError, match=f"at step {max(steps) + 1}:"):
        run(config, *sets, out=tmp_path)


def test_what_the_last_step_breaks_is_noticed(sets, tmp_path, monkeypatch):
    (images, labels), tests = sets
    config = dataclasses.replace(CONFIG, epochs=1)
    monkeypatch.setattr(loop, "make_optimizer", lambda *_: optax.scale(float("nan")))
    one_step = (images[:64], labels[:64]), tests
    with pytest.raises(
        FloatingPointError, match="Parameters are not finite after step 1: in another"
    ):
        run(config, *one_step, out=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "metrics.jsonl",
    ]
    # Parameters stay as they are, but the moments do not.
    overflowing = optax.GradientTransformation(
        lambda params: jnp.zeros([]),
        lambda updates, state, params=None: (updates, state + jnp.inf),
    )
    monkeypatch.setattr(loop, "make_optimizer", lambda *_: overflowing)
    with pytest.raises(
        FloatingPointError, match="optimizer's state is not finite after step 1"
    ):
        run(config, *one_step)


def test_other_weights_to_start_from_are_another_run(uninterrupted, sets, tmp_path):
    history, _ = uninterrupted
    config = dataclasses.replace(CONFIG, epochs=1)
    first = run(config, *sets, out=tmp_path, model=history.model)
    assert run(config, *sets, out=tmp_path, model=history.model).epochs == first.epochs
    for other in (first.model, None):
        with pytest.raises(ValueError, match="with another model to start from"):
            run(config, *sets, out=tmp_path, model=other)


def test_models_to_start_from_are_told_apart_but_machines_are_not(sets):
    shape = sets[0][0].shape[1:]
    model: Any = initial_model(RESNET, shape, 10)
    before = records._model_fingerprint(model)

    def same(model):
        return records._same_start(before, records._model_fingerprint(model))

    assert same(initial_model(RESNET, shape, 10))
    assert not same(initial_model(dataclasses.replace(RESNET, seed=1), shape, 10))
    # As another machine, or XLA with other options, rounds what it draws.
    rounded = jax.tree.map(lambda x: x * (1 + 1e-6), nnx.state(model))
    nnx.update(model, rounded)
    assert same(model)
    variance = model.stem.norm.var.get_value()
    model.stem.norm.var.set_value(variance * 1.01)
    assert not same(model)
    model.stem.norm.var.set_value(variance)
    model.stem.norm.mean.set_value(model.stem.norm.mean.get_value() + 1)
    assert not same(model)


def test_checkpoints_without_settings_are_not_gone_on_with(
    uninterrupted, sets, tmp_path
):
    _, out = uninterrupted
    shutil.copytree(out, tmp_path / "run")
    (tmp_path / "run/config.json").unlink()
    with pytest.raises(ValueError, match=r"whose config\.json is gone: use another"):
        run(CONFIG, *sets, out=tmp_path / "run")
    assert not (tmp_path / "run/config.json").exists()


def test_steps_donate_count_and_average(sets):
    (images, labels), _ = sets
    images, labels = jnp.asarray(images[:64]), jnp.asarray(labels[:64], jnp.int32)
    config = dataclasses.replace(CONFIG, label_smoothing=0.1, ema=0.9)
    layout = make_layout(64, jax.devices()[:1])
    model = initial_model(config, images.shape[1:], 10)
    optimizer = make_optimizer(config, total_steps=30)
    graphdef, state = init_state(model, optimizer, ema=config.ema)
    log_p = np.asarray(jax.nn.log_softmax(predict(model, np.asarray(images))))
    state = first = jax.device_put(state, layout.replicated)
    step = make_train_step(graphdef, optimizer, config, replicated=layout.replicated)
    losses, states = [], []
    for _ in range(20):
        state, metrics = step(state, images, labels, jnp.arange(64, dtype=jnp.int32))
        losses.append(float(metrics.loss) / 64)
        states.append(np.asarray(state.params["head"]["kernel"]))
    # Of the target, 0.9 is the label and 0.1 all classes alike.
    of_labels = log_p[np.arange(64), np.asarray(labels)]
    np.testing.assert_allclose(
        losses[0], -(0.9 * of_labels + 0.1 * log_p.mean(axis=1)).mean(), rtol=1e-4
    )
    assert losses[-1] < 0.8 * losses[0]
    assert int(state.step) == 20
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(first))
    # The average weighs a step by 0.9 a step of age, and the start not at all.
    expected = np.average(states, axis=0, weights=0.9 ** np.arange(20)[::-1])
    averaged = merge(graphdef, state).head.kernel[...]
    np.testing.assert_allclose(averaged, expected, atol=1e-5)
    assert np.abs(expected - states[-1]).max() > 1e-3


def test_cosines_are_those_of_the_gradients_of_successive_steps(sets):
    (images, labels), _ = sets
    batch = jnp.asarray(images[:64]), jnp.asarray(labels[:64], jnp.int32)
    layout = make_layout(64, jax.devices()[:1])
    model = initial_model(CONFIG, images.shape[1:], 10)
    optimizer = optax.sgd(1.0)  # Each step is a gradient.
    graphdef, state = init_state(model, optimizer, gradient_cosine=True)
    step = make_train_step(graphdef, optimizer, CONFIG, replicated=layout.replicated)
    cosines, params = [], []
    for _ in range(4):
        params.append(np.concatenate([*map(np.ravel, jax.tree.leaves(state.params))]))
        state, metrics = step(state, *batch, jnp.arange(64, dtype=jnp.int32))
        cosines.append(np.asarray(metrics.cosine))
    a, b = np.diff(params, axis=0)[-2:]
    assert cosines[0] == 0
    assert cosines[2] == pytest.approx(
        a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-3
    )


def test_cosines_are_averaged_over_the_pairs_of_an_epoch(sets):
    config = dataclasses.replace(
        CONFIG, gradient_cosine=True, batch_size=256, epochs=2, learning_rate=1e-9
    )
    same = np.repeat(sets[0][0][:1], 512, 0), np.zeros(512, np.int32)
    history = run(dataclasses.replace(config, num_classes=10), same, sets[1])
    # Always the same image, and hardly any step: the gradient stays what it is.
    assert [line["gradient_cosine"] for line in history.epochs] == pytest.approx([1, 1])


def test_bfloat16_computes_narrow_and_keeps_parameters_wide(uninterrupted, sets):
    narrow = {**CONFIG.model_options, "dtype": "bfloat16"}
    history = run(dataclasses.replace(CONFIG, model_options=narrow), *sets)
    leaves = jax.tree.leaves(nnx.state(history.model, nnx.Param))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    losses, expected = (
        np.array([line["train_loss"] for line in each.epochs])
        for each in (history, uninterrupted[0])
    )
    assert (losses != expected).all()
    np.testing.assert_allclose(losses, expected, rtol=0.05)


def events_in(folder):
    """Yields the events that TensorBoard would read, as TFRecords hold them."""
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore

    for path in sorted(folder.iterdir()):
        rest = path.read_bytes()
        while rest:
            length = int.from_bytes(rest[:8], "little")
            yield Event.FromString(rest[12 : 12 + length])
            rest = rest[16 + length :]


def test_tensorboard_gets_all_epochs_of_all_starts(uninterrupted, sets, tmp_path):
    history, _ = uninterrupted

    def stop_at_three(record, epochs):
        if record["epoch"] == 3:
            raise KeyboardInterrupt
        return ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(display, "summary", stop_at_three)
        with pytest.raises(KeyboardInterrupt):
            run(CONFIG, *sets, out=tmp_path, write_tensorboard=True, progress=True)
    time.sleep(1)  # Files are named by the second.
    run(CONFIG, *sets, out=tmp_path, write_tensorboard=True)
    values = {
        (value.tag, event.step): value.simple_value
        for event in events_in(tmp_path / "tensorboard")
        for value in event.summary.value
    }
    assert {name for name, _ in values} >= {"train_loss", "dark_accuracy", "seconds"}
    for line in history.epochs:
        for name in ("train_loss", "plain_accuracy"):
            assert values[name, line["step"]] == pytest.approx(line[name])


def test_tensorboard_is_missed_before_training(sets, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(RuntimeError, match=r"needs tensorboardX, .* not installed"):
        run(CONFIG, *sets, out=tmp_path / "run", write_tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_the_host_does_not_wait_for_each_step(uninterrupted, sets, monkeypatch):
    waits, get = [], jax.device_get
    monkeypatch.setattr(jax, "device_get", lambda tree: get((waits.append(1), tree)[1]))
    run(CONFIG, *sets)
    assert len(waits) == 3  # Once for the 8 steps of an epoch.


def test_progress_is_shown(sets, capsys):
    run(dataclasses.replace(CONFIG, epochs=1), *sets, progress=True)
    assert "epoch 1/1, loss" in capsys.readouterr().out
