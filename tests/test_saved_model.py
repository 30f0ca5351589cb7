"""Models of finished runs, read back, and used by `vim-jax predict`."""

import csv
import dataclasses
import io
import json
import shutil

import jax
import numpy as np
import pytest
import training_runs
from flax import nnx
from folders import save

from vim_jax import VisualMixer, training
from vim_jax.cli import main

pytestmark = pytest.mark.usefixtures("kept_programs")


def leaves(model):
    return jax.tree.leaves(nnx.to_pure_dict(nnx.state(model)))


def assert_equal_models(one, other):
    assert len(leaves(one)) == len(leaves(other)) > 0
    for a, b in zip(leaves(one), leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_comes_back_as_it_was(uninterrupted, sets):
    history, out = uninterrupted
    model = training.load_model(out)
    assert_equal_models(model, history.model)
    images = sets[0][0][:10]
    np.testing.assert_array_equal(
        training.predict(model, images), training.predict(history.model, images)
    )


def test_averages_and_every_kind_of_setting_come_back(sets, tmp_path):
    config = dataclasses.replace(
        training_runs.RESNET,
        epochs=1,
        ema=0.9,
        clip_norm=1.0,
        gradient_cosine=True,
        fresh=VisualMixer(region_size=2),
    )
    history = training_runs.run(config, *sets, out=tmp_path)
    assert_equal_models(training.load_model(tmp_path), history.model)
    result = json.loads((tmp_path / "result.json").read_text())
    averaged = nnx.state(history.model, nnx.Param)
    assert not any((x == 0).all() for x in jax.tree.leaves(averaged))
    del result["image_shape"]
    (tmp_path / "result.json").write_text(json.dumps(result))
    with pytest.raises(ValueError, match=r"delete result\.json there, and train again"):
        training.load_model(tmp_path)
    (tmp_path / "result.json").unlink()
    training_runs.run(config, *sets, out=tmp_path)
    assert_equal_models(training.load_model(tmp_path), history.model)


def test_folders_without_a_model_are_refused(uninterrupted, tmp_path):
    with pytest.raises(ValueError, match="no finished run"):
        training.load_model(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result\.json is damaged"):
        training.load_model(tmp_path)
    shutil.copytree(uninterrupted[1], tmp_path / "run")
    newest = max((tmp_path / "run/checkpoints").iterdir(), key=lambda x: int(x.name))
    (newest / "manifest.json").write_text("{}x")
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(RuntimeError, match="no intact checkpoint of its last step, 24"),
    ):
        training.load_model(tmp_path / "run")
    shutil.rmtree(tmp_path / "run/checkpoints")
    with pytest.raises(RuntimeError, match="no intact checkpoint"):
        training.load_model(tmp_path / "run")


# --- The command ----------------------------------------------------------------------
@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Dark and bright photographs, in a folder each, and what was trained on them."""
    path = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name, low in {"bright": 150, "dark": 0}.items():
        for i in range(20):
            image = random.integers(low, low + 100, (8, 8, 3), np.uint8)
            save(path / f"set/{name}/{i}.png", image)
    arguments = ["train", "--data", path / "set", "--out", path / "run"]
    arguments += ["--model", "resnet8", "--model-option", "widths=[4,8]"]
    arguments += ["--epochs", 6, "--batch-size", 8, "--learning-rate", 0.01]
    (path / "set/dark/unread.heic").write_bytes(b"")
    assert _code(arguments) == 0
    return path


def _code(arguments) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(list(map(str, arguments)))
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def _rows(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.slow
def test_predict_names_the_classes_of_images(photos, capsys):
    code = _code(["predict", "--run", photos / "run", "--data", photos / "set"])
    out, err = capsys.readouterr()
    rows = _rows(out)
    assert code == 0
    assert len(rows) == 40
    assert {row["label"] for row in rows} == {"bright", "dark"}
    for row in rows:
        assert row["image"].split("/")[0] == row["label"] == row["class"]
        assert 0.5 < float(row["probability"]) <= 1
    assert "100.0% of 40 labelled images are right." in err
    words = " ".join(err.split())
    assert "is what the network was trained on" in words
    assert "1 picture left out, such as dark/unread.heic" in words


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_damaged_run_is_two_sentences(photos, tmp_path, capsys):
    shutil.copytree(photos / "run", tmp_path / "run")
    newest = max((tmp_path / "run/checkpoints").iterdir(), key=lambda x: int(x.name))
    (newest / "manifest.json").write_text("{}x")
    command = ["predict", "--run", tmp_path / "run", "--data", photos / "set"]
    assert _code(command) == 1
    out, err = capsys.readouterr()
    assert out == ""
    warning, error = err.strip().splitlines()
    assert warning.startswith("warning: The checkpoint")
    assert "passed over: its manifest.json is damaged." in warning
    assert error.startswith("vim-jax: ")
    assert "no intact checkpoint of its last step" in error


def test_predict_cut_short_promises_nothing(photos, capsys, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "load_model", interrupted)
    command = ["predict", "--run", photos / "run", "--data", photos / "set"]
    assert _code(command) == 130
    assert capsys.readouterr().err == "vim-jax: interrupted\n"


@pytest.mark.slow
def test_predict_averages_over_shuffles(photos, capsys):
    command = ["predict", "--run", photos / "run", "--data", photos / "set"]
    assert _code([*command, "--remixes", 3, "--region-size", 4]) == 0
    averaged = _rows(capsys.readouterr().out)
    model = training.load_model(photos / "run")
    from vim_jax.data import open_source

    source = open_source(photos / "set")
    images = np.stack([source[i].image for i in range(len(source))])
    key = jax.random.fold_in(jax.random.key(0), 0)
    logits = training.predict(
        model, images, remixed=VisualMixer(region_size=4), times=3, key=key
    )
    expected = jax.nn.softmax(logits).max(-1)
    found = [float(row["probability"]) for row in averaged]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_images_of_other_shapes_are_named_and_the_others_classified(
    photos, tmp_path, capsys
):
    shutil.copy(photos / "set/dark/0.png", tmp_path / "a.png")
    save(tmp_path / "b.png", np.full((12, 16, 3), 200, np.uint8))
    command = ["predict", "--run", photos / "run", "--data", tmp_path]
    assert _code(command) == 1
    out, err = capsys.readouterr()
    assert [(row["image"], row["class"]) for row in _rows(out)] == [("a.png", "dark")]
    assert _rows(out)[0]["label"] == ""
    sentence = " ".join(err.split())
    assert "image 'b.png' has shape (12, 16, 3)" in sentence
    assert "or give --side 8" in sentence
    assert "labelled" not in sentence
    assert _code([*command, "--side", 8]) == 0
    classes = [row["class"] for row in _rows(capsys.readouterr().out)]
    assert classes == ["dark", "bright"]


@pytest.mark.slow
def test_classes_are_those_of_the_run_and_batches_keep_their_order(
    photos, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("vim_jax.cli.predict._BATCH", 4)
    for i in range(3):
        # Folders that come before and between those of the run.
        for source, folder in [("dark", "ant"), ("bright", "bright"), ("dark", "cat")]:
            (tmp_path / folder).mkdir(exist_ok=True)
            shutil.copy(photos / f"set/{source}/{i}.png", tmp_path / folder)
    (tmp_path / "bright/1.png").write_bytes(b"no picture")
    assert _code(["predict", "--run", photos / "run", "--data", tmp_path]) == 1
    out, err = capsys.readouterr()
    shown = {"ant": "dark", "bright": "bright", "cat": "dark"}
    found = [(row["image"], row["class"], row["label"]) for row in _rows(out)]
    assert found == [
        (f"{folder}/{i}.png", name, folder)
        for folder, name in shown.items()
        for i in range(3)
        if (folder, i) != ("bright", 1)
    ]
    assert "100.0% of 2 labelled images are right." in err
    assert "6 images have labels that the run does not name." in err
    assert "bright/1.png" in err


@pytest.mark.slow
def test_a_run_that_names_no_classes_is_not_scored(photos, tmp_path, capsys):
    shutil.copytree(photos / "run", tmp_path / "run")
    path = tmp_path / "run/result.json"
    result = json.loads(path.read_text())
    assert result["label_names"] == ["bright", "dark"]
    path.write_text(json.dumps({**result, "label_names": None}))
    command = ["predict", "--run", tmp_path / "run", "--data", photos / "set"]
    assert _code(command) == 0
    out, err = capsys.readouterr()
    assert {row["class"] for row in _rows(out)} == {"0", "1"}
    assert "right" not in err


@pytest.mark.slow
def test_options_that_suit_neither_images_nor_network_are_refused(
    photos, tmp_path, capsys
):
    command = ["predict", "--run", photos / "run", "--data"]
    for side in (0, 9):
        assert _code([*command, photos / "set", "--side", side]) == 2
        assert "give --side 8" in " ".join(capsys.readouterr().err.split())
    mix = ["mix", photos / "set", tmp_path / "mixed", "--region-size", 4]
    assert _code([*mix, "--discard-key"]) == 0
    capsys.readouterr()
    mixed = [*command, tmp_path / "mixed"]
    remixes = ["--remixes", 2, "--region-size"]
    for options, words in [
        (["--side", 8], "--side 8 would blend the regions"),
        ([*remixes, 2], "region_size 4 and not 2"),
        ([*remixes, 4, "--channels", "joint"], "channels independent and not joint"),
    ]:
        assert _code([*mixed, *options]) == 2
        out, err = capsys.readouterr()
        assert words in " ".join(err.split())
        assert not out
    assert _code([*mixed, *remixes, 4]) == 0


def test_contradicting_options_are_refused(tmp_path, capsys):
    command = ["predict", "--run", tmp_path, "--data", "embedded:digits"]
    assert _code([*command, "--remixes", 2, "--channels", "joint"]) == 2
    assert "give --region-size, too" in " ".join(capsys.readouterr().err.split())
    assert _code([*command, "--remixes", -1, "--region-size", 2]) == 2
    assert "--remixes -1 makes no sense" in capsys.readouterr().err
    assert _code([*command, "--region-size", 2]) == 2
    assert "give --remixes, too" in " ".join(capsys.readouterr().err.split())
    assert _code(command) == 2
    assert "no finished run" in " ".join(capsys.readouterr().err.split())
