"""`vim-jax train`, on bundled and on real images."""

import json
import signal
from typing import Any

import numpy as np
import pytest
from flax import nnx
from folders import save

from vim_jax import VisualMixer, training
from vim_jax.cli import main, published
from vim_jax.cli.train import _initial_model
from vim_jax.cli.training_sets import mixed_sets, prepared, regions_of
from vim_jax.data.arrays import LabelledImages, TrainTest
from vim_jax.models import create_model
from vim_jax.training import TrainConfig

pytestmark = pytest.mark.usefixtures("kept_programs")


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", *map(str, arguments)])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


TINY = ["--model", "vit_tiny_patch4", "--patch-size", 2, "--model-option", "dim=16"]
TINY += ["--model-option", "depth=1", "--model-option", "heads=2"]
DIGITS = ["--data", "embedded:digits", "--limit", 400, "--batch-size", 40, *TINY]


def test_a_model_that_does_not_fit_is_refused_before_mixing(capsys, monkeypatch):
    monkeypatch.setattr("vim_jax.cli.training_sets.prepared", lambda *_, **__: 1 / 0)
    arguments = [*DIGITS, "--region-size", 2]
    assert _run(*arguments, "--model-option", "colour=1") == 2
    assert "has no option 'colour': its options are" in _one_line(capsys)
    assert _run(*arguments, "--model-option", "image_size=9") == 2
    assert "has no option 'image_size': its options are" in _one_line(capsys)
    assert _run(*arguments, "--patch-size", 3) == 2
    assert "patch_size" in _one_line(capsys).replace("-", "_")


@pytest.mark.parametrize(
    ("mixing", "told"),
    [
        (
            ["--region-size", 2],
            "regions of 2 pixels are 0.8 wide in the originals",
        ),
        (["--level", 0.5], "regions are 2.5 times as narrow in the originals"),
        (["--region-size", "entire"], ""),
        ([], ""),
    ],
)
def test_mixing_enlarged_images_is_warned_of(mixing, told, capsys, monkeypatch):
    def stop(*_, **__):
        raise ValueError("far enough")

    monkeypatch.setattr("vim_jax.cli.training_sets.prepared", stop)
    model = ["--model", "resnet8", "--limit", 50, "--batch-size", 10]
    where = ["--data", "embedded:digits", *model, *mixing]
    assert _run(*where, "--side", 20) == 2
    words = _one_line(capsys)
    assert told in words
    assert ("--side 20 enlarges images, some of 8 pixels" in words) == bool(told)
    assert _run(*where, "--side", 8) == 2
    assert "enlarges" not in _one_line(capsys)


def _one_line(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_starts_from_weights_of_a_file(tmp_path, capsys, monkeypatch):
    numpy = pytest.importorskip("safetensors.numpy")
    _photographs(tmp_path / "photos")
    shape = dict(num_classes=7, image_size=8)
    model: Any = create_model("resnet8", rngs=nnx.Rngs(5), widths=(4, 8), **shape)
    random = np.random.default_rng(0)
    state = {
        tensor.name: random.uniform(0.5, 1, tensor.shape).astype(np.float32)
        for tensor in model.torch_tensors()
    }
    given = []

    def train(config, *_, model, **__):
        given.append((config, model))
        raise ValueError("enough: stop")

    monkeypatch.setattr("vim_jax.training.train", train)
    arguments = ["--data", tmp_path / "photos", "--side", 8, "--model", "resnet8"]
    arguments += ["--model-option", "widths=[4,8]", "--out", tmp_path / "run"]
    arguments += ["--batch-size", 4]
    numpy.save_file(state, tmp_path / "weights")
    short = {name: x for name, x in state.items() if name != "conv1.weight"}
    numpy.save_file(short, tmp_path / "short")
    (tmp_path / "broken").write_bytes(b"no weights")
    for name, words in [
        ("weights", "enough: stop"),
        ("short", "conv1.weight"),
        ("broken", "is no whole safetensors file"),
        ("missing", "missing is no file that can be read"),
    ]:
        assert _run(*arguments, "--weights", tmp_path / name) == 2
        assert words in _one_line(capsys)
    ((config, model),) = given
    assert config.model_options["normalize"] == "imagenet"
    tensors = {tensor.name: tensor for tensor in model.torch_tensors()}
    np.testing.assert_array_equal(
        tensors["conv1.weight"].variable[...],
        tensors["conv1.weight"].convert(state["conv1.weight"]),
    )
    assert model.head.kernel.shape[-1] == 2  # Classes, not the 7 of the weights.


def test_another_set_to_test_on(tmp_path, capsys, monkeypatch):
    for part, value in [("train", 0), ("test", 200)]:
        for label in "ab":
            image = np.full((4, 4, 3), value, np.uint8)
            save(tmp_path / part / label / "1.png", image)
        (tmp_path / part / f"{part}.HEIC").write_bytes(b"")
        (tmp_path / part / "notes.txt").write_bytes(b"")
    given = []

    def train(config, train_set, test_sets, **_):
        given.append((train_set, test_sets))
        raise ValueError("enough: stop")

    monkeypatch.setattr("vim_jax.training.train", train)
    arguments = ["--data", tmp_path / "train", "--out", tmp_path / "run"]
    arguments += ["--batch-size", 2]
    assert _run(*arguments, "--test-data", tmp_path / "test") == 2
    told = _one_line(capsys)
    assert "enough: stop" in told
    for part in ("train", "test"):
        assert f"warning: 1 picture left out, such as {part}.HEIC: convert" in told
    assert "notes.txt" not in told
    (((images, labels), test_sets),) = given
    assert (images == 0).all()
    assert labels.tolist() == [0, 1]
    assert list(test_sets) == ["plain"]
    assert (test_sets["plain"].images == 200).all()
    assert _run(*arguments, "--test-data", tmp_path / "none") == 2
    assert "none does not exist: check the path" in _one_line(capsys)


def test_folders_that_were_mixed_are_known_as_such(tmp_path, capsys):
    _photographs(tmp_path / "plain")
    mix = ["mix", tmp_path / "plain", tmp_path / "mixed", "--region-size", 4]
    level = ["mix", tmp_path / "plain", tmp_path / "level", "--level", 0.5, "--clip"]
    for command in (mix, level):
        with pytest.raises(SystemExit) as exit_info:
            main(list(map(str, [*command, "--discard-key"])))
        assert exit_info.value.code == 0
    for folder, more, words in [
        ("mixed", ["--side", 8], "--side 8 would blend"),
        ("mixed", ["--region-size", 2], "region_size 4 and not 2"),
        ("mixed", ["--region-size", 4, "--channels", "joint"], "and not joint"),
        ("mixed", ["--region-size", 4, "--fresh"], "--fresh mixes plain images anew"),
        ("mixed", ["--level", 0.5], "plan regions from the originals"),
        ("mixed", ["--out", tmp_path / "mixed/run"], "among the images: put it else"),
        ("plain", ["--out", tmp_path / "plain"], "among the images: put it elsewhere"),
        ("level", ["--remix"], "--remix needs to know the regions"),
        ("plain", ["--remix"], "--remix needs to know the regions"),
        ("level", ["--region-size", 4], "regions of many sizes"),
        ("plain", ["--test-data", tmp_path / "mixed", "--level", 0.5], "plan regions"),
        ("plain", ["--test-data", tmp_path / "mixed", "--side", 8], "would blend"),
    ]:
        assert _run("--data", tmp_path / folder, *more) == 2
        assert words in _one_line(capsys)
    plain, mixed = str(tmp_path / "plain"), str(tmp_path / "mixed")
    assert regions_of(mixed, None, fresh=False) == 4
    assert published.mixer_of(mixed) == VisualMixer(region_size=4)
    assert published.mixer_of(str(tmp_path / "level")) is None
    assert published.mixer_of(plain) is None
    assert regions_of(str(tmp_path / "level"), None, fresh=False) == "planned"
    assert regions_of(plain, None, fresh=False) is None
    assert regions_of(plain, VisualMixer(region_size=2), fresh=False) == 2
    assert regions_of(plain, VisualMixer(region_size=2), fresh=True) is None
    assert _run("--data", mixed, "--crop", 6) == 2
    assert (
        "--crop 6 would cut up regions of 4 pixels: use a multiple of 4"
        in _one_line(capsys)
    )
    for train, test, said_to_be, expected in [
        (plain, None, False, (False, False)),
        (mixed, None, False, (True, True)),
        (mixed, plain, False, (True, False)),
        (plain, mixed, False, (False, True)),
        (plain, plain, True, (True, True)),
        (mixed, plain, True, (True, False)),
    ]:
        assert mixed_sets(train, test, said_to_be, None, None) == expected


def test_weights_get_as_many_classes_as_are_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("vim_jax.training.initial.load_torch", lambda *_, **__: None)
    part = LabelledImages(np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2)
    sets = TrainTest(part, part, ("a", "b", "of which no image was read"))
    config = TrainConfig(model="resnet8", model_options={"widths": (4,)}, batch_size=4)
    model: Any = _initial_model(config, sets, tmp_path / "weights")
    assert model.head.kernel.shape[-1] == 2


def _photographs(folder):
    for i in range(10):
        image = np.full((9 + i, 20 - i, 3), 25 * i, np.uint8)
        save(folder / f"{'ab'[i % 2]}/{i}.png", image)


@pytest.mark.slow
def test_photographs_of_any_sizes_are_brought_to_one(tmp_path):
    _photographs(tmp_path / "photos")
    arguments = ["--data", tmp_path / "photos", "--side", 8, "--batch-size", 8]
    arguments += ["--epochs", 1, "--out", tmp_path / "run", *TINY]
    assert _run(*arguments) == 0


@pytest.mark.slow
def test_trains_on_mixed_digits_and_tests_on_three_kinds(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [*DIGITS, "--out", out, "--region-size", 2, "--epochs", 3]
    arguments += ["--learning-rate", 0.01, "--patch-encoder", "sorted", "--ema", 0.8]
    arguments += ["--remix", "--crop", 2, "--eval-remixes", 2, "--clip-norm", 1]
    assert _run(*arguments) == 0
    result = json.loads((out / "result.json").read_text())
    assert {"plain_accuracy", "thumbnail_accuracy"} < set(result)
    # A sorting encoder sees no difference.
    assert abs(result["remixed_accuracy"] - result["mixed_accuracy"]) < 0.01
    config = result["config"]
    assert (config["crop_multiple"], config["ema"], config["clip_norm"]) == (2, 0.8, 1)
    assert config["fresh"]["region_size"] == 2
    assert config["model_options"]["dim"] == 16
    assert (out / "checkpoints").is_dir()
    lines = (out / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["train_loss"] for line in lines]
    assert len(losses) == 3
    assert losses[2] < 0.95 * losses[0]
    shown = capsys.readouterr().out
    for name in ("plain", "mixed", "thumbnail", "mean of 2 shuffles"):
        assert name in shown


@pytest.mark.parametrize(
    "how", ["once", "fresh", "mixed_already", "test_plain", "mixed_unknown", "plain"]
)
def test_what_is_trained_and_tested_on(how):
    rng = np.random.default_rng(0)
    labels = np.arange(3, dtype=np.int32)
    train, test = (rng.integers(0, 256, (3, 8, 8, 1), np.uint8) for _ in range(2))
    sets = TrainTest(
        LabelledImages(train, labels), LabelledImages(test, labels), ("a", "b", "c")
    )
    mixer = VisualMixer(region_size=4)
    if how in ("plain", "mixed_unknown"):
        mixer = None
    already = how in ("mixed_already", "mixed_unknown")
    (images, _), test_sets = prepared(
        sets,
        mixer,
        0,
        train_mixed=already or how in ("fresh", "test_plain"),
        test_mixed=already,
    )
    assert (images == train).all() == (how != "once")
    assert (np.sort(images, axis=None) == np.sort(train, axis=None)).all()
    expected = {
        "once": ["plain", "mixed", "thumbnail"],
        "fresh": ["plain", "mixed", "thumbnail"],
        "mixed_already": ["mixed", "thumbnail"],
        "test_plain": ["plain", "mixed", "thumbnail"],
        "mixed_unknown": ["mixed"],
        "plain": ["plain"],
    }
    assert list(test_sets) == expected[how]
    if mixer is not None:
        mixed = test_sets["mixed"][0]
        assert (mixed == test).all() == already
        assert np.unique(test_sets["thumbnail"][0][0]).size <= 4


def test_a_bad_loss_is_one_sentence(tmp_path, capsys):
    arguments = [*DIGITS, "--out", tmp_path / "run", "--optimizer", "sgd"]
    assert _run(*arguments, "--learning-rate", 1e30) == 1
    error = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in error
    assert "at step" in error
    assert "folder, try a smaller --learning-rate than 1e+30" in error


@pytest.mark.parametrize("saved", [False, True])
def test_sigterm_exits_143(saved, tmp_path, capsys, monkeypatch):
    def terminated(*args, **kwargs):
        if saved:
            raise SystemExit(143)
        signal.raise_signal(signal.SIGTERM)  # Before training listens to it itself.

    monkeypatch.setattr(training, "train", terminated)
    assert _run(*DIGITS, "--out", tmp_path / "run") == 143
    error = capsys.readouterr().err
    assert error.count("stopped: run the same command again to go on") == 1


@pytest.mark.slow
def test_trains_on_real_images_at_a_level(tmp_path, tfds_dir):
    out = tmp_path / "run"
    arguments = ["--data", "cifar10", "--data-dir", tfds_dir, "--out", out]
    arguments += ["--model", "vit_tiny_patch4", "--patch-encoder", "sorted"]
    arguments += ["--level", 0.5, "--epochs", 1, "--limit", 256, "--batch-size", 32]
    assert _run(*arguments) == 0
    result = json.loads((out / "result.json").read_text())
    assert {"plain_accuracy", "mixed_accuracy"} <= set(result)


def test_another_run_in_the_folder_is_refused(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = [*DIGITS, "--out", out]
    assert _run(*arguments, "--epochs", 1) == 0
    before = (out / "metrics.jsonl").read_bytes()
    assert _run(*arguments, "--epochs", 2) == 2
    assert (out / "metrics.jsonl").read_bytes() == before
    assert "Traceback" not in capsys.readouterr().err


def test_classes_that_only_test_images_have_are_classes(tmp_path, monkeypatch):
    few, more = (
        LabelledImages(np.zeros((8, 8, 8, 1), np.uint8), np.arange(8) % count)
        for count in (2, 4)
    )
    monkeypatch.setattr(
        "vim_jax.data.arrays.train_test_arrays",
        lambda *_, **__: TrainTest(few, more, tuple("abcd")),
    )
    out = tmp_path / "run"
    arguments = ["--data", "embedded:digits", "--out", out, "--epochs", 1, *TINY]
    for _ in range(2):  # Again, the run is known as the same.
        assert _run(*arguments, "--batch-size", 8) == 0
    assert json.loads((out / "result.json").read_text())["num_classes"] == 4


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data", "embedded:cats", "--out", "run"], "cats"),
        (["--data", "embedded:digits", "--out", "run", "--epochs", "0"], "epochs"),
        (["--data", "embedded:digits", "--out", "run", "--level", "2"], "level"),
        (
            [
                "--data",
                "embedded:digits",
                "--out",
                "run",
                "--level",
                "0.5",
                "--region-size",
                "2",
            ],
            "region-size",
        ),
        (["--out", "run"], "data"),
        ([*DIGITS, "--channels", "joint"], "but not how much: give --level"),
        ([*DIGITS, "--max-region", "4"], "but not how much: give --level"),
        ([*DIGITS, "--batch-size", "401"], "has only 400 images"),
        ([*DIGITS, "--flip", "--region-size", "3"], "do not divide a side of 8"),
        (
            [*DIGITS, "--crop", "3", "--region-size", "3"],
            "--crop moves regions of 3 pixels, which do not divide a side of 8",
        ),
        (
            [*DIGITS, "--mixed-already", "--side", "4"],
            "--side 4 would blend the regions of embedded:digits",
        ),
        ([*DIGITS, "--fresh"], "--fresh needs to know how to mix"),
        ([*DIGITS, "--remix", "--level", "0.5"], "--remix needs to know the regions"),
        ([*DIGITS, "--mixed-already", "--level", "0.5"], "give neither, or a"),
        ([*DIGITS, "--eval-remixes", "2"], "--eval-remixes needs to know the regions"),
        ([*DIGITS, "--fresh", "--remix", "--region-size", "2"], "leave one out"),
        (
            [*DIGITS, "--crop", "3", "--region-size", "2"],
            "--crop 3 would cut up regions of 2 pixels",
        ),
        (
            [*DIGITS, "--crop", "3", "--region-size", "entire"],
            "--crop 3 would cut up the one region, which is the whole image",
        ),
        ([*DIGITS, "--crop", "3", "--crop-multiple", "2"], "--crop 3 with"),
        ([*DIGITS, "--model-option", "dim"], "--model-option dim is not NAME=VALUE"),
        ([*DIGITS, "--model", "lenet"], "use one of mobilenet_v2"),
        ([*DIGITS, "--optimizer", "adam", "--weight-decay", "1"], "adamw"),
        ([*DIGITS, "--ema", "1"], "--ema 1.0: use"),
    ],
)
def test_usage_errors_name_the_option(arguments, named, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _run(*arguments) == 2
    assert named in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
