"""Training runs on scikit-learn's 8x8 digits, small enough to compile in seconds."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import vim_jax
from vim_jax.training import TrainConfig, train

CONFIG = TrainConfig(
    model="vit_tiny_patch4",
    model_options={"patch_size": 2, "dim": 32, "depth": 1, "heads": 2},
    epochs=3,
    batch_size=64,
    learning_rate=1e-2,
)
RESNET = dataclasses.replace(
    CONFIG, model="resnet8", model_options={"widths": (4, 8)}, epochs=2
)


class ByBrightness(vim_jax.VisualMixer):
    """Plans one of two sizes: for levels, planning takes long to compile."""

    def plan(self, image):
        bright = image.astype(jnp.float32).mean() > 96
        size = jnp.where(bright, jnp.int32(4), jnp.int32(2))
        return vim_jax.RegionPlan(jnp.broadcast_to(size, image.shape[:2]))


def digit_sets():
    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    test_set = images[-300:], labels[-300:]
    test_sets = {"plain": test_set, "dark": (test_set[0] // 4, test_set[1])}
    return (images[:512], labels[:512]), test_sets


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


def start(config, out, **environment):
    """Trains on the digits in another process, on one device if it is alone."""
    program = f"""
import jax
from flax import nnx
from training_runs import *
from vim_jax import VisualMixer
from vim_jax.training import evaluate, initialize, load_model
initialize()
several, out = jax.process_count() > 1, {str(out)!r}
devices = jax.devices() if several else jax.devices()[:1]
trained = train({config!r}, *digit_sets(), out=out, progress=False, devices=devices)
if several:
    leaves = (jax.tree.leaves(nnx.state(x)) for x in (load_model(out), trained.model))
    for loaded, kept in zip(*leaves, strict=True):
        np.testing.assert_array_equal(loaded, kept)
    (images, labels), _ = digit_sets()
    accuracies = [
        evaluate(trained.model, images, labels, batch_size=64, devices=where)
        for where in (None, devices, devices)
    ]
    assert len(set(accuracies)) == 1, accuracies
"""
    tests = pathlib.Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tests}:{tests.parent}",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "8",  # As here, or programs would not be shared.
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
