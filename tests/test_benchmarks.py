"""Benchmarks run, and write what the table shows."""

import collections
import functools
import importlib
import itertools
import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vim_jax
from benchmarks import publish, timing, train

RESULTS = pathlib.Path(publish.__file__).parent / "results"


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["shuffle", "vfe", "mixer", "train"])
def test_smoke_preset_gives_numbers_and_a_table(name):
    benchmark = importlib.import_module(f"benchmarks.{name}")
    assert set(benchmark.PRESETS) == {"smoke", "cpu", "gpu"}
    results = json.loads(json.dumps(benchmark.run("smoke"), allow_nan=False))
    assert results["rows"]
    heads, cells = benchmark.table(results)
    assert len(cells) >= len(results["rows"])
    for row in cells:
        assert len(row) == len(heads)
        assert all(isinstance(cell, str) for cell in row)


@pytest.mark.parametrize(
    "path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem
)
def test_committed_results_have_a_table(path):
    name = path.stem.rpartition("_")[0]
    heads, cells = importlib.import_module(f"benchmarks.{name}").table(
        json.loads(path.read_text())
    )
    assert cells
    assert {len(row) for row in cells} == {len(heads)}


@pytest.mark.slow
def test_publishing_gives_numbers_and_a_table():
    results = json.loads(json.dumps(publish.run("smoke"), allow_nan=False))
    preset = publish.PRESETS["smoke"]
    assert [row["setting"] for row in results["speed"]] == list(publish.MIXERS)
    for row in results["speed"]:
        speeds = row["images_per_s"]
        assert row["ratio"] == speeds["vim-jax mix"] / speeds["plain"] > 0
    assert [row["side"] for row in results["curve"]] == list(preset["curve"])
    assert all(row["megapixels_per_s"] > 0 for row in results["curve"])
    few, many, large = results["memory"]
    assert [row["photographs"] for row in (few, many, large)] == [8, 16, 1]
    assert large["size"] == "300x200"
    assert min(row["peak_mib"] for row in results["memory"]) > 50
    (compiling,) = results["compiling"]
    assert compiling["first_run_s"] > compiling["second_run_s"] > 0
    heads, cells = publish.table(results)
    assert len(cells) == sum(map(len, results.values())) + 1
    for row in cells:
        assert len(row) == len(heads)


def test_training_mixes_every_image_of_every_step_afresh():
    image = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    images = jnp.asarray(np.stack([image] * 2))

    def shuffle(key, image, plan):
        return vim_jax.shuffle(key, image, 8)

    mix = jax.jit(train._mix, static_argnums=0)
    mixed = [np.asarray(mix(shuffle, jnp.int32(i), images, None)) for i in (0, 1, 0)]
    np.testing.assert_array_equal(mixed[0], mixed[2])
    different = [image, *mixed[0], *mixed[1]]
    assert len({x.tobytes() for x in different}) == 5
    for x in different:
        np.testing.assert_array_equal(np.sort(x.ravel()), np.sort(image.ravel()))


@pytest.mark.slow
def test_each_way_follows_each_other_one(monkeypatch):
    monkeypatch.setattr(timing, "_turn", lambda way: way())
    called = []
    ways = {name: functools.partial(called.append, name) for name in "abc"}
    times = timing.rounds(ways, 40)
    assert {name: len(values) for name, values in times.items()} == dict(
        a=40, b=40, c=40
    )
    pairs = collections.Counter(itertools.pairwise(called[3:]))
    different = [count for (one, other), count in pairs.items() if one != other]
    assert len(different) == 6
    assert min(different) > 10


def test_command_writes_its_numbers(tmp_path):
    out = tmp_path / "vfe.json"
    command = [sys.executable, "-m", "benchmarks", "vfe"]
    command += ["--preset", "smoke", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = json.loads(out.read_text())
    (row,) = results["rows"]
    assert row["mvalues_per_s"]["vim_jax.vfe"] > 0
    assert results["device"]
    assert results["command"].endswith("vfe --preset smoke")
    assert "numpy" in done.stdout
