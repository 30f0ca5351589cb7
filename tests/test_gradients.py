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
        assert len(found["noise"]) == 3
        for noise in found["noise"]:
            assert noise["variance"] > 0
            assert 0 <= noise["shuffling"] < noise["variance"]
            assert (noise["shuffling"] == 0) == (found["way"] == "plain")
    assert json.loads(path.read_text())["rows"] == rows
    fig5_gradients.main("smoke", None, path)
    assert json.loads(path.read_text())["rows"] == rows  # With the same seconds.
    told = capsys.readouterr().out.splitlines()[-3:]
    assert told[0].endswith("by shuffling 0.0%, 0.0%, 0.0%")
    assert "size 2 published once" in told[1]


@pytest.mark.slow
def test_shuffling_is_no_noise_where_it_changes_nothing():
    labels = np.arange(16) % 2
    flat = np.full((16, 8, 8, 1), 100, np.uint8) + labels[:, None, None, None]
    flat = flat.astype(np.uint8)
    mixer = training_runs.SETTINGS["size 4"]
    still = fig5_gradients.trace(STILL, flat, labels, 4, noise_of=mixer)
    for noise in still.noise:
        assert noise.shuffling == pytest.approx(0, abs=1e-5 * noise.square)
        # Nor is drawing, where each batch has all images.
        assert noise.variance == pytest.approx(0, abs=1e-5 * noise.square)
    # The network hardly changes.
    assert min(still.cosines) > 0.99
    rough = np.random.default_rng(0).integers(0, 256, flat.shape, np.uint8)
    moved = fig5_gradients.trace(STILL, rough, labels, 4, noise_of=mixer)
    for noise in moved.noise:
        assert noise.shuffling > 0.01 * noise.square
        # All that there is in batches of all images.
        assert noise.variance == pytest.approx(noise.shuffling, rel=0.5)


@pytest.mark.slow
def test_drawing_other_images_is_noise():
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1), np.uint8)
    labels = np.arange(16) % 2
    every = fig5_gradients.trace(STILL, images, labels, 4)
    half = dataclasses.replace(STILL, batch_size=8)
    some = fig5_gradients.trace(half, images, labels, 4)
    for one, other in zip(every.noise, some.noise, strict=True):
        assert one.shuffling == other.shuffling == 0
        assert one.variance == pytest.approx(0, abs=1e-5 * one.square)
        assert other.variance > 0.01 * one.square


def test_square_and_variance_are_unbiased():
    generator = np.random.default_rng(0)
    signal, deviation, values = 0.5, 1.5, 200_000
    gradients = signal + deviation * generator.standard_normal((4, values))
    found = fig5_gradients._square_and_variance(jax.numpy.asarray(gradients))
    # The square of a mean of four has as much noise again, and more.
    assert found[0] == pytest.approx(signal**2 * values, rel=0.05)
    assert found[1] == pytest.approx(deviation**2 * values, rel=0.01)
