"""The experiments that train classifiers run, and go on where they stopped."""

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest
from folders import save

from experiments import (
    fig2_vfe_vs_noise,
    fig3_vfe_vs_region_size,
    fig5_gradients,
    recipe_ablation,
    results_page,
    st_adam_ablation,
    table2_accuracy,
    table3_throughput,
    training_runs,
)
from experiments.images import images_of, native_side
from vim_jax import training
from vim_jax.models import list_models
from vim_jax.training import loop
from vim_jax.training.initial import initial_model

pytestmark = pytest.mark.usefixtures("usual_settings")


@pytest.mark.slow
def test_accuracy_smokes_and_goes_on(tmp_path):
    path = tmp_path / "results.json"
    runs = list(table2_accuracy.runs("smoke"))
    command = "experiments.table2_accuracy --preset smoke"
    rows = training_runs.finish(runs[:2], path, command, None)
    assert [row["way"] for row in rows] == ["plain", "mixed"]
    assert {"plain_accuracy", "mixed_accuracy", "averaged_accuracy"} <= set(rows[1])
    assert json.loads(path.read_text())["rows"] == rows
    table2_accuracy.main("smoke", json_out=path)
    results = json.loads(path.read_text())
    assert results["command"] == f"python -m {command}"
    *first, last = results["rows"]
    assert first == rows
    assert last["way"] == "thumbnail"


@pytest.mark.slow
def test_a_run_that_was_broken_off_goes_on(tmp_path, monkeypatch):
    run, *_ = table2_accuracy.runs("smoke")
    run = dataclasses.replace(run, recipe={**run.recipe, "epochs": 3})
    (expected,) = training_runs.finish([run], None, "a", None)
    path = tmp_path / "results.json"
    train_epoch, epochs = loop.train_epoch, []

    def broken_off(step, state, totals, *args, epoch, **rest):
        epochs.append(epoch)
        totals.seconds += 1000  # As if it took long.
        if len(epochs) == 3:
            raise KeyboardInterrupt
        return train_epoch(step, state, totals, *args, epoch=epoch, **rest)

    monkeypatch.setattr(loop, "train_epoch", broken_off)
    with pytest.raises(KeyboardInterrupt):
        training_runs.finish([run], path, "a", None)
    assert not path.exists()
    (row,) = training_runs.finish([run], path, "a", None)
    assert epochs == [1, 2, 3, 3]
    measured = {"seconds", "training_seconds"}
    assert {**row, **dict.fromkeys(measured)} == {**expected, **dict.fromkeys(measured)}
    assert row["seconds"] >= row["training_seconds"] >= 3000
    assert [found.name for found in tmp_path.iterdir()] == ["results.json"]


EXPERIMENTS = {
    "accuracy": table2_accuracy.runs,
    "optimizers": lambda name: st_adam_ablation.tuning(
        preset := st_adam_ablation.PRESETS[name], st_adam_ablation.places(preset)
    ),
    "recipe": recipe_ablation.runs,
}


def test_networks_start_from_the_weights_there_are():
    usual = list(table2_accuracy.runs("paper"))
    runs = list(table2_accuracy.runs("paper", ["vit_b16.safetensors", "unknown"]))
    tuned = [run for run in runs if run.weights]
    # ImageNet-100's plain images are among those that the weights were trained on.
    assert {(run.model, run.data) for run in tuned} == {("vit_b16", "cifar10")}
    for before, run in zip(usual, runs, strict=True):
        if run.weights:
            assert run.weights == "vit_b16.safetensors"
            assert run.config.model_options == {"normalize": "imagenet"}
            assert run.config.learning_rate < before.config.learning_rate
        else:
            assert run == before


@pytest.mark.slow
def test_a_run_starts_from_its_weights(tmp_path, monkeypatch):
    numpy = pytest.importorskip("safetensors.numpy")
    run, *_ = table2_accuracy.runs("smoke")
    run = dataclasses.replace(run, weights="resnet8.safetensors")
    shape = images_of(run.data, images=run.images)["train"].images.shape[1:]
    model: Any = initial_model(run.config, shape, 7)
    random = np.random.default_rng(0)
    state = {
        tensor.name: random.uniform(0.5, 1, tensor.shape).astype(np.float32)
        for tensor in model.torch_tensors()
    }
    numpy.save_file(state, tmp_path / run.weights)
    started = []

    def train(*args, model, **settings):
        started.extend(x for x in model.torch_tensors() if x.name == "conv1.weight")
        return training.train(*args, model=model, **settings)

    monkeypatch.setattr(training_runs, "train", train)
    rows = training_runs.finish([run], None, "a", None, weights_dir=tmp_path)
    first = started[0].variable[...], started[0].convert(state["conv1.weight"])
    np.testing.assert_array_equal(*first)
    assert rows[0]["weights"] == run.weights
    assert "from resnet8.safetensors" in training_runs.sentence(rows[0])
    # Rows from before there were weights are those of runs without.
    plain = dataclasses.replace(run, weights=None)
    kept = [{**training_runs._identity(plain), "plain_accuracy": 0.5}]
    assert "weights" not in kept[0]
    assert training_runs.finish([plain], None, "a", None, rows=kept) == kept
    assert not training_runs.is_of(rows[0], plain)
    assert not training_runs.is_of(kept[0], run)


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
@pytest.mark.parametrize("preset", ["smoke", "cpu", "gpu", "paper"])
def test_all_runs_are_valid_and_different(experiment, preset):
    runs = list(experiment(preset))
    rows = [json.dumps(dataclasses.asdict(run), default=dict) for run in runs]
    assert len(set(rows)) == len(rows)
    for run in runs:
        assert run.config.model in list_models()
        assert run.setting is None or run.setting in training_runs.SETTINGS
        # A network for mixed images sees regions where they were.
        scrambled = run.setting is not None and run.setting.endswith("scrambled")
        if run.way != "mixed":
            assert (run.remixer is not None) == (run.way == "thumbnail" and scrambled)
        if run.remixer is not None:
            assert run.remixer.scramble_regions == scrambled
            assert run.recipe.get("crop", 0) % run.remixer.region_size == 0


@pytest.mark.parametrize("preset", ["cpu", "gpu", "paper"])
def test_all_networks_of_a_data_set_see_as_much_of_its_images(preset):
    runs = list(table2_accuracy.runs(preset))
    networks = [(r.data, r.model, json.dumps(dict(r.options)), r.seed) for r in runs]
    beside, unshifted = set(), set()
    for run, network in zip(runs, networks, strict=True):
        eighth = -(-(run.side or 32) // 8)
        config = run.config
        assert config.flip == (run.data != "mnist")
        if run.data == "mnist":
            assert config.crop == 0
        elif config.crop == 0:
            (beside if run.setting else unshifted).add(network)
        elif run.setting is None or run.setting.startswith("size 2"):
            assert config.crop == eighth
        assert config.crop <= eighth
    # Whatever is not shifted has plain images that are not, and others that are.
    assert beside == unshifted
    assert unshifted
    plain = [
        network
        for run, network in zip(runs, networks, strict=True)
        if run.way == "plain"
    ]
    assert all(plain.count(network) == 2 for network in unshifted)


def test_weights_of_no_network_are_refused(tmp_path):
    (tmp_path / "resnet50-11ad3fa6.safetensors").touch()
    with pytest.raises(SystemExit, match=r"there is none of vit_b16\.safetensors"):
        table2_accuracy.main("paper", weights_dir=tmp_path)


def test_experiments_name_the_data_that_they_lack(tmp_path):
    path = tmp_path / "results.json"
    with pytest.raises(SystemExit, match="imagenet_100") as refusal:
        table2_accuracy.main("paper", str(tmp_path), path, data=("imagenet_100",))
    assert "\n" not in str(refusal.value)
    with pytest.raises(SystemExit, match=r"data is cats: use .*cifar10, mnist"):
        table2_accuracy.main("paper", data=("cats",))
    for experiment in (fig2_vfe_vs_noise, fig3_vfe_vs_region_size, fig5_gradients):
        with pytest.raises(SystemExit, match="cifar10"):
            experiment.main("cpu", str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_images_of_many_sizes_have_no_native_side(tmp_path):
    for name, shapes in {
        "one": [(12, 20), (12, 30)],
        "many": [(12, 20), (9, 9)],
    }.items():
        for number, shape in enumerate(shapes):
            image = np.full((*shape, 3), number, np.uint8)
            save(tmp_path / name / f"class/{number}.png", image)
    assert native_side(str(tmp_path / "one"), None) == 12
    assert native_side(str(tmp_path / "many"), None) is None


def test_one_part_of_the_recipe_is_left_out_at_a_time():
    runs = [x for x in recipe_ablation.runs("cpu") if x.model == "resnet8"]
    whole, *others = (run.config for run in runs if run.way == "mixed")
    assert whole.fresh is not None
    assert others[0] == dataclasses.replace(whole, fresh=None)
    assert others[-3] == dataclasses.replace(whole, ema=0.0)
    assert others[-2] == dataclasses.replace(whole, optimizer="adamw")
    assert others[-1].model_options.items() > whole.model_options.items()
    plain = [run.config for run in runs if run.way == "plain"]
    like_plain = {"fresh": None, "crop_multiple": 1}
    expected = [dataclasses.replace(x, **like_plain) for x in (whole, *others)]
    assert plain == [expected[i] for i in (0, 2, 4, 5, 6, 7)]
    rows = [json.loads(json.dumps(dataclasses.asdict(run))) for run in runs]
    parts = [*recipe_ablation.PARTS, recipe_ablation.SORTED]
    found = [recipe_ablation.part_of(row) for row in rows]
    assert found[: len(parts)] == parts
    assert found[len(parts) :] == [
        part for part in parts if part not in recipe_ablation.OF_MIXED_ONLY
    ]
    rows[0]["recipe"]["ema"] = 0.5
    with pytest.raises(ValueError, match=r"'ema': 0\.5"):
        recipe_ablation.part_of(rows[0])


@pytest.mark.slow
def test_recipe_smokes(tmp_path):
    recipe_ablation.main("smoke", json_out=tmp_path / "results.json")
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    found = [(row["way"], recipe_ablation.part_of(row)) for row in rows]
    some = recipe_ablation.ALL, recipe_ablation.NOT_AGAIN, recipe_ablation.SORTED
    assert found == [("mixed", x) for x in some] + [("plain", x) for x in some[::2]]
    for row in rows:
        assert 0 <= row[f"{row['way']}_accuracy"] <= 1


def test_thumbnails_are_those_of_the_mixed_images():
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    mixer = training_runs.SETTINGS["size 4"]
    mixed, thumbnails, size = training_runs.mixed_part(images, mixer, jax.random.key(0))
    assert (mixed != images).any()
    blocks = mixed.reshape(5, 2, 4, 2, 4, 3).mean((2, 4))
    expected = blocks.repeat(4, 1).repeat(4, 2)
    np.testing.assert_allclose(thumbnails, expected, atol=0.51)
    assert size == 4


def row(name: str, rate: float, seed: int, validation: float, accuracies, cosines):
    return {
        "model": "m", "setting": None, "way": "plain", "seed": seed,
        "validation_accuracy": validation, "accuracies": accuracies, "cosines": cosines,
        "train_images": 105,
        "recipe": {
            **st_adam_ablation.OPTIMIZERS[name], "learning_rate": rate, "batch_size": 10
        },
    }  # fmt: skip


def test_optimizers_are_compared_at_their_best_rates():
    rows = [
        row("Adam", 0.1, 0, 0.6, [0.2, 0.3, 0.5], [0.1, 0.2, 0.3]),
        row("Adam", 0.2, 0, 0.5, [0.3, 0.8, 0.9], [0.0, 0.0, 0.0]),
        row("Adam", 0.1, 1, 0.1, [0.4, 0.6, 0.7], [0.3, 0.4, 0.5]),
        row("SGD with momentum", 0.1, 0, 0.5, [0.2, 0.5, 0.4], [0.0, -0.3, 0.0]),
        row("AdamW", 0.1, 0, 0.5, [0.6, 0.4, 0.3], [0.0, 0.0, 0.0]),
    ]
    adam, adamw, sgd = st_adam_ablation.compared(rows)
    assert (adam["learning_rate"], adam["seeds"]) == (0.1, 2)
    assert adam["accuracy"] == pytest.approx(0.6)
    assert adam["cosine"] == pytest.approx(0.3)
    assert adam["target"] == pytest.approx(0.54)
    # Adam goes from 0.45 to 0.6 in the third epoch, of ten steps.
    assert adam["steps_to_target"] == pytest.approx(20 + 10 * 0.09 / 0.15)
    assert adamw["steps_to_target"] == pytest.approx(10 * 0.44 / 0.5)
    assert sgd["steps_to_target"] is None
    assert sgd["cosine"] == pytest.approx(-0.1)
    assert sgd["cosine_at_shared_rate"] is None


def test_a_target_that_chance_reaches_takes_no_steps():
    rows = [row("Adam", 0.1, 0, 0.5, [0.1, 0.11], [0.0, 0.0])]
    (adam,) = st_adam_ablation.compared(rows)
    assert adam["target"] == pytest.approx(0.099)
    assert adam["steps_to_target"] == 0


def test_runs_that_diverged_have_no_cosines():
    names = ("Adam", "SGD with momentum")
    rows = [row(name, 1e-3, 0, 0.5, [0.5], [0.1]) for name in names]
    diverged = row("SGD with momentum", 1e-3, 1, 0.0, [0.0], [])
    del diverged["cosines"]
    _, sgd = st_adam_ablation.compared([*rows, diverged])
    assert sgd["accuracy"] == pytest.approx(0.25)
    assert sgd["cosine"] == sgd["cosine_at_shared_rate"] == pytest.approx(0.1)
    _, sgd = st_adam_ablation.compared([rows[0], diverged | {"seed": 0}])
    assert sgd["cosine"] is None


@pytest.mark.slow
def test_a_run_that_diverges_recognises_nothing_and_the_next_goes_on():
    preset = st_adam_ablation.PRESETS["smoke"]
    run = next(st_adam_ablation.tuning(preset, st_adam_ablation.places(preset)))
    recipe = {**run.recipe, "optimizer": "sgd", "learning_rate": 1e30, "epochs": 2}
    (row,) = training_runs.finish(
        [dataclasses.replace(run, recipe=recipe)], None, "a", None
    )
    assert row["accuracies"] == [0, 0]
    assert row["validation_accuracy"] == row["plain_accuracy"] == 0
    assert "try a smaller learning_rate" in row["diverged"]


@pytest.mark.slow
def test_optimizers_smoke_in_shards(tmp_path, capsys):
    preset = st_adam_ablation.PRESETS["smoke"]
    count = len(st_adam_ablation.places(preset))
    path = tmp_path / "last.json"
    rows = st_adam_ablation.run("smoke", path, None, f"{count}/{count}")
    assert [row["seed"] for row in rows] == [0] * len(preset.rates) + [1]
    (found,) = st_adam_ablation.compared(rows)
    last = st_adam_ablation.places(preset)[-1]
    assert (found["setting"], found["optimizer"]) == (last.setting, last.optimizer)
    assert found["learning_rate"] == rows[-1]["recipe"]["learning_rate"]
    assert found["seeds"] == 2
    assert json.loads(path.read_text())["rows"] == rows
    st_adam_ablation.main("smoke", None, path, f"{count}/{count}")
    assert json.loads(path.read_text())["rows"] == rows
    # The others, in the same file.
    st_adam_ablation.main("smoke", None, path)
    everything = json.loads(path.read_text())["rows"]
    assert everything[: len(rows)] == rows
    assert len(everything) == count * len(rows)
    assert len(st_adam_ablation.compared(everything)) == count
    assert f"{found['optimizer']}: {found['accuracy']:.1%}" in capsys.readouterr().out


@pytest.mark.slow
def test_throughput_smokes(tmp_path, capsys):
    table3_throughput.main("smoke", tmp_path / "results.json")
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert "published once" in capsys.readouterr().out
    line = results_page.throughput_table({"rows": [row]}).splitlines()[-1]
    assert line.startswith("| resnet8 |")
    assert line.count(" to ") == 2
    # A second start times nothing again, unless the preset has changed.
    table3_throughput.main("smoke", tmp_path / "results.json")
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == [row]
    written = json.loads((tmp_path / "results.json").read_text())
    written["rows"] = [{**row, "steps": 9}]
    (tmp_path / "results.json").write_text(json.dumps(written))
    (again,) = table3_throughput.run("smoke", tmp_path / "results.json")
    assert again["steps"] == row["steps"]
    assert set(row["images_per_s"]) == {
        "plain", "published once", "fresh", "mixing alone"
    }  # fmt: skip
    assert min(row["images_per_s"].values()) > 0
    for way in ("published once", "fresh"):
        more = row["overhead_percent"][way]
        assert -100 < more["low"] <= more["median"] <= more["high"]


def test_slower_steps_are_fewer_images():
    words = results_page._change({"median": 25, "low": -20, "high": 100})
    assert words == "-20.0 % (-50.0 to +25.0)"


def test_overheads_are_those_of_rounds():
    # A machine that slows down tenfold, and a step that is 0 to 24 % longer: of 25
    # values, the 8th and the 18th enclose the median at 95 %.
    more = np.random.default_rng(0).permutation(25)
    plain = np.linspace(1.0, 10.0, 25)
    found = table3_throughput._overhead(list(plain * (1 + more / 100)), list(plain))
    assert found == pytest.approx({"median": 12, "low": 7, "high": 17})


def test_figures_of_vfe_smoke(tmp_path):
    def rows_of(experiment):
        path = tmp_path / f"{experiment.__name__}.json"
        experiment.main("smoke", json_out=path)
        written = json.loads(path.read_text())
        # Rows that are there are not measured again, the others are.
        written["rows"][0]["seconds"] = 77.0
        path.write_text(json.dumps({**written, "rows": written["rows"][:-1]}))
        experiment.main("smoke", json_out=path)
        found = json.loads(path.read_text())["rows"]
        assert found[0]["seconds"] == 77
        assert found[-1]["vfe"] == written["rows"][-1]["vfe"]
        return found

    unchanged, noisy, shuffled = rows_of(fig2_vfe_vs_noise)
    assert unchanged["ssim"] == pytest.approx(1, abs=1e-6)
    assert shuffled["ssim"] < noisy["ssim"] < 1
    rows = rows_of(fig3_vfe_vs_region_size)
    for found in rows:
        assert found["vfe"] == pytest.approx(found["expected_vfe"], rel=0.05)
    assert rows[0]["vfe"] == pytest.approx(rows[0]["expected_vfe"], rel=1e-4)
