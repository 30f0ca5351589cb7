"""Learning rates, optimizers and averages of training runs."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training_runs import CONFIG

from vim_jax.training.optimizers import make_optimizer, make_schedule


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
    for optimizer in ("st_adam", "adam_no_bias_correction", "adamw", "sgd"):
        config = dataclasses.replace(CONFIG, optimizer=optimizer, weight_decay=0.5)
        with jax.numpy_dtype_promotion("standard"):
            opt = make_optimizer(config, total_steps=10)
            updates: Any
            updates, _ = opt.update(grads, opt.init(params), params)
        assert (updates["kernel"] < 0).all()
        assert (updates["bias"] == 0).all()


def steps_of(config, grads, total_steps=1000):
    """Returns the steps that an optimizer takes from [1, 1], without a schedule."""
    params = jnp.ones((2,))
    config = dataclasses.replace(config, warmup_fraction=0.0)
    with jax.numpy_dtype_promotion("standard"):
        optimizer = make_optimizer(config, total_steps)
        state, steps = optimizer.init(params), []
        for grad in grads:
            updates, state = optimizer.update(jnp.asarray(grad), state, params)
            steps.append(np.asarray(updates) / -config.learning_rate)
    return np.array(steps)


GRADS = np.array([[1.0, -2.0], [0.5, 1e-5], [-3.0, 1.0]], np.float32)


# By gradients as small as these, the optimizers differ in where epsilon stands.
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_optimizers_follow_their_formulas(scale):
    gradients = scale * GRADS
    m = v = np.zeros(2)
    expected = {"st_adam": [], "adam": [], "adam_no_bias_correction": [], "sgd": []}
    momentum = np.zeros(2)
    for t, g in enumerate(gradients.astype(np.float64), 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        momentum = 0.9 * momentum + g
        expected["st_adam"].append(m / np.sqrt(v + 1e-8))
        expected["adam_no_bias_correction"].append(m / (np.sqrt(v) + 1e-8))
        corrected = m / (1 - 0.9**t), v / (1 - 0.999**t)
        expected["adam"].append(corrected[0] / (np.sqrt(corrected[1]) + 1e-8))
        expected["sgd"].append(momentum)
    for name, steps in expected.items():
        config = dataclasses.replace(CONFIG, optimizer=name, learning_rate=1.0)
        np.testing.assert_allclose(steps_of(config, gradients), steps, rtol=1e-3)
    adamw = dataclasses.replace(CONFIG, optimizer="adamw", learning_rate=1.0)
    np.testing.assert_allclose(steps_of(adamw, gradients), expected["adam"], rtol=1e-3)
    if scale < 1:
        there, here = expected["adam_no_bias_correction"], expected["st_adam"]
        assert (np.abs(there) > 1.1 * np.abs(here)).all()


def test_large_gradients_are_clipped_and_small_ones_left():
    config = dataclasses.replace(CONFIG, optimizer="sgd", clip_norm=1.0)
    np.testing.assert_allclose(steps_of(config, [[3.0, 4.0]]), [[0.6, 0.8]], rtol=1e-4)
    np.testing.assert_allclose(steps_of(config, [[0.3, 0.4]]), [[0.3, 0.4]], rtol=1e-4)
