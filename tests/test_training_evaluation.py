"""Logits and accuracy, of images as they are and shuffled again."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from training_runs import CONFIG, ByBrightness

import vim_jax
from vim_jax.data import mix_array
from vim_jax.models import create_model
from vim_jax.training import evaluate, evaluation, predict, thumbnails

pytestmark = pytest.mark.usefixtures("kept_programs")
IMAGES = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), np.uint8)
MIXER = vim_jax.VisualMixer(region_size=2)


@pytest.fixture(scope="module")
def model():
    return create_model(
        CONFIG.model,
        num_classes=10,
        image_size=8,
        channels=1,
        rngs=nnx.Rngs(0),
        **CONFIG.model_options,
    )


@pytest.fixture(scope="module")
def expected(model):
    return np.asarray(jax.jit(lambda x: model(x))(IMAGES.astype(np.float32) / 255))


def test_few_arrays_are_on_the_device_at_a_time():
    given, taken = [], 0

    def arrays():
        for number in range(20):
            assert number - taken <= 5
            given.append(jnp.full(3, number))
            yield given[-1]

    for number, array in enumerate(evaluation.on_host(arrays())):
        taken += 1
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, np.full(3, number))
        assert len(given) >= min(number + 5, 20)  # The device does not wait, either.
    assert taken == 20


@pytest.mark.parametrize("batch_size", [16, 64])
def test_logits_are_the_models_in_any_batches(batch_size, model, expected):
    logits = predict(model, IMAGES, batch_size=batch_size)
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)
    labels = np.where(np.arange(30) < 12, expected.argmax(-1), expected.argmin(-1))
    accuracy = evaluate(model, IMAGES, labels, batch_size=batch_size)
    np.testing.assert_allclose(accuracy, 12 / 30, atol=1e-6)


def test_a_model_may_lie_on_other_devices(model, expected):
    graphdef, state = nnx.split(model)
    elsewhere = nnx.merge(graphdef, jax.device_put(state, jax.devices()[1]))
    for devices in (None, jax.devices()[:2]):
        logits = predict(elsewhere, IMAGES, batch_size=16, devices=devices)
        np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


def test_shuffles_are_averaged(model):
    key = jax.random.key(3)
    logits = predict(model, IMAGES, remixed=MIXER, times=3, key=key, batch_size=16)

    def shuffled(time):
        folded = jax.random.fold_in(jax.random.fold_in(key, 2**32 - 1), time)
        keys = [jax.random.fold_in(folded, i) for i in range(30)]
        pairs = zip(keys, IMAGES, strict=True)
        return np.stack([np.asarray(vim_jax.shuffle(k, x, 2)) for k, x in pairs])

    each = [predict(model, shuffled(time), batch_size=16) for time in range(3)]
    np.testing.assert_allclose(logits, np.mean(each, axis=0), rtol=1e-3, atol=1e-3)
    assert np.abs(each[0] - each[1]).max() > 0.01


class Pixels(nnx.Module):
    """A model whose logits are the pixels that it sees."""

    def __call__(self, images, *, train=False):
        return images.reshape(len(images), -1)


def test_no_shuffle_repeats_the_one_that_mixed_the_images():
    images = np.random.default_rng(0).permuted(
        np.tile(np.arange(64, dtype=np.uint8), (200, 1)), axis=1
    ).reshape(200, 8, 8, 1)  # fmt: skip
    mixed = mix_array(MIXER, jax.random.key(0), images)
    seen = predict(Pixels(), mixed, remixed=MIXER)
    back = np.rint(seen * 255).reshape(images.shape) == images
    # Once more, the same permutation of four pixels would put half of them back.
    assert 0.22 < back.mean() < 0.28


def test_averaging_steadies_logits(model):
    def spread(times):
        logits = [
            predict(
                model, IMAGES, remixed=MIXER, times=times, key=jax.random.key(seed),
                batch_size=16,
            )
            for seed in range(4)
        ]  # fmt: skip
        return np.var(logits, axis=0).mean()

    assert spread(8) < 0.4 * spread(1)


def test_a_second_call_compiles_nothing(model):
    predict(model, IMAGES, batch_size=16)
    again = nnx.clone(model)
    with jax.no_tracing():
        predict(again, IMAGES[:20], batch_size=16)


def test_devices_share_the_work(model, expected):
    logits = predict(model, IMAGES, batch_size=16, devices=jax.devices())
    np.testing.assert_allclose(logits, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(times=0, remixed=MIXER), "times is 0: use at least 1"),
        (dict(batch_size=0), "batch_size is 0: use at least 1"),
        (dict(times=2), "times is 2 without remixed: give the settings"),
        (
            dict(times=2, remixed=vim_jax.VisualMixer(level=0.5, clip=True)),
            "other regions on mixed images: give the region_size",
        ),
    ],
)
def test_times_are_checked(options, message, model):
    with pytest.raises(ValueError, match=message):
        predict(model, IMAGES, **options)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((len(IMAGES), 1), int), "one integer for each of its"),
        (np.zeros(len(IMAGES)), "one integer for each of its"),
        (np.full(len(IMAGES), 99), "run from 99 to 99: number them from 0 to"),
    ],
)
def test_labels_are_checked(labels, message, model, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        evaluate(model, IMAGES, labels)


def test_thumbnails_are_those_of_mixed_images_in_regions_of_the_originals():
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 8, 8, 3), np.uint8)
    originals, mixed = images
    originals[2:] //= 2
    mixer = ByBrightness(level=0.5)
    means = thumbnails(mixer, originals, mixed, batch_size=4)
    for image, mean, size in zip(mixed, means, (4, 4, 2, 2, 2), strict=True):
        expected = np.asarray(vim_jax.thumbnail(image, size))
        assert np.abs(mean - expected).max() <= 0.5
