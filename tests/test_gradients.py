"""Gradients beside their noise: what shuffling adds, and what drawing images does."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import fig5_gradients, training_runs
from vim_jax.training import TrainConfig

pytestmark = pytest.mark.usefixtures("usual_settings")
# A network that hardly changes.
STILL = TrainConfig(
    model="resnet8",
    model_options={"widths": (4,)},
    batch_size=16,
    optimizer="sgd",
    learning_rate=1e-9,
)


@pytest.mark.slow
def test_gradients_smoke_and_go_on(tmp_path, capsys):
    path = tmp_path / "results.json"
    rows = fig5_gradients.run("smoke", None, path)
    for found in rows:
        assert -1 <= found["cosine"] <= 1
        assert len(found["noise"]) == 4
        assert all(0 < x <= 1 for x in found["noise"])
    assert json.loads(path.read_text())["rows"] == rows
    fig5_gradients.main("smoke", None, path)
    assert json.loads(path.read_text())["rows"] == rows  # With the same seconds.
    told = capsys.readouterr().out.splitlines()[-3:]
    sources = ["drawing images", "shuffling", "shuffling"]
    assert all(
        f"noise of {x} 0." in line for x, line in zip(sources, told, strict=True)
    )


@pytest.mark.slow
def test_shuffling_is_no_noise_where_it_changes_nothing():
    labels = np.arange(16) % 2
    flat = np.full((16, 8, 8, 1), 100, np.uint8) + labels[:, None, None, None]
    flat = flat.astype(np.uint8)
    mixer = training_runs.SETTINGS["size 4"]
    still = fig5_gradients.trace(STILL, flat, labels, 4, noise_of=mixer)
    assert max(still.noise) == pytest.approx(0, abs=1e-5)
    # Each batch has all images, and the network hardly changes.
    assert min(still.cosines) > 0.99
    rough = np.random.default_rng(0).integers(0, 256, flat.shape, np.uint8)
    moved = fig5_gradients.trace(STILL, rough, labels, 4, noise_of=mixer)
    assert min(moved.noise) > 0.01


@pytest.mark.slow
def test_drawing_images_is_no_noise_where_a_batch_has_all_of_them():
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), np.uint8)
    labels = np.arange(16) % 2
    every = fig5_gradients.trace(STILL, images, labels, 4)
    assert max(every.noise) == pytest.approx(0, abs=1e-5)
    half = dataclasses.replace(STILL, batch_size=8)
    some = fig5_gradients.trace(half, images, labels, 4)
    assert min(some.noise) > 0.01


def test_the_share_of_noise_is_that_of_the_variance():
    generator = np.random.default_rng(0)
    signal, deviation = 0.5, 1.5
    gradients = signal + deviation * generator.standard_normal((16, 20_000))
    share = fig5_gradients._noise_share(jax.numpy.asarray(gradients))
    assert share == pytest.approx(deviation**2 / (signal**2 + deviation**2), abs=0.01)
