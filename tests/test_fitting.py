"""Training the networks of attacks: that they learn, alike for one seed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vim_jax.attacks.fitting import apply, fit

pytestmark = pytest.mark.usefixtures("standard_promotion")


class Line(nnx.Module):
    """A line with a count of its calls, which is no parameter."""

    def __init__(self):
        self.slope = nnx.Param(jnp.zeros((2,)))
        self.calls = nnx.BatchStat(jnp.zeros((), jnp.int32))

    def __call__(self, x, *, shift=0.0):
        self.calls[...] += 1
        return x @ self.slope[...] + shift


def squared(model, batch):
    return ((model(batch["x"]) - batch["y"]) ** 2).mean()


def points(count=50):
    x = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    return {"x": x, "y": x @ np.asarray([1, -2], np.float32)}


def fitted(model, *, seed=0, epochs=30, **options):
    given = {"epochs": epochs, "batch_size": 16, "learning_rate": 0.1, "seed": seed}
    return fit(model, squared, points(), **given | options)


def test_training_finds_what_explains_the_data():
    start = Line()
    found = fitted(start)
    np.testing.assert_allclose(found.slope[...], [1, -2], atol=0.1)
    assert squared(found, points()) < squared(start, points()) / 100
    assert isinstance(found, Line)


def test_training_does_not_change_the_model_it_is_given():
    start = Line()
    before = start.slope
    fitted(start, epochs=1)
    assert start.slope is before
    np.testing.assert_array_equal(start.slope[...], np.zeros(2))
    assert int(start.calls[...]) == 0


def test_training_keeps_what_the_model_counts():
    # 50 points in batches of 16: 3 steps an epoch.
    assert int(fitted(Line(), epochs=4).calls[...]) == 12


def test_training_follows_its_seed():
    one, again, other = (fitted(Line(), seed=seed, epochs=2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.slope[...], again.slope[...])
    assert (one.slope[...] != other.slope[...]).any()


@pytest.mark.parametrize(
    ("epochs", "batch_size", "steps"), [(3, 16, 9), (1, 50, 1), (2, 200, 2), (1, 1, 50)]
)
def test_progress_is_told_after_every_step(epochs, batch_size, steps):
    told = []
    fitted(
        Line(), epochs=epochs, batch_size=batch_size,
        progress=lambda *numbers: told.append(numbers),
    )  # fmt: skip
    assert told == [(i + 1, steps) for i in range(steps)]


def test_every_example_is_seen_about_once_an_epoch():
    seen = np.zeros(50, int)

    def count(numbers):
        np.add.at(seen, np.asarray(numbers), 1)

    def loss(model, batch):
        jax.debug.callback(count, batch["y"])
        return (model.slope[...] ** 2).sum()

    data = {"y": np.arange(50, dtype=np.int32)}
    fit(Line(), loss, data, epochs=10, batch_size=16, learning_rate=0.1, seed=0)
    jax.effects_barrier()
    assert seen.sum() == 480
    assert seen.min() >= 5
    assert seen.max() <= 10


class Squares(nnx.Module):
    def __call__(self, x, *, shift=0.0):
        return (x**2).sum(-1) + shift


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 23])
def test_a_model_applied_batch_by_batch_is_the_model_applied_at_once(count):
    x = np.random.default_rng(0).normal(size=(count, 5)).astype(np.float32)
    found = apply(Squares(), x, batch_size=8, shift=2.0)
    assert found.shape == (count,)
    np.testing.assert_allclose(found, (x**2).sum(-1) + 2, rtol=1e-6)


def test_applying_a_model_does_not_change_it():
    model = Line()
    apply(model, np.zeros((9, 2), np.float32), batch_size=4)
    assert int(model.calls[...]) == 0
