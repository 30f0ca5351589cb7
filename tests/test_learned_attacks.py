"""Attacks that train networks: that they learn, and that noise teaches nothing."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from mixing_by_hand import mixed_by_hand

from vim_jax import VisualMixer
from vim_jax.attacks import (
    gan_inversion,
    gan_samples,
    inversion,
    thumbnail,
)
from vim_jax.attacks.features import features
from vim_jax.attacks.fitting import apply
from vim_jax.attacks.protocol import Knowledge, Truth
from vim_jax.attacks.similarity import flat, psnr
from vim_jax.attacks.unet import UNet

MIXER = VisualMixer(region_size=2)


pytestmark = pytest.mark.usefixtures("standard_promotion")


def smooth(count, seed=0, side=8):
    """Pictures of random waves in colours, as steep as photographs of this size."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    images = np.full((count, side, side, 3), 128.0)
    for _ in range(4):
        fy, fx = rng.normal(0, 5, (2, count, 1, 1))
        phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        colour = rng.normal(0, 25, (count, 1, 1, 3))
        images += np.sin(fy * y + fx * x + phase)[..., None] * colour
    return images.clip(0, 255).astype(np.uint8)


def noise(count, seed=0, side=8):
    return np.random.default_rng(seed).integers(
        0, 256, (count, side, side, 3), np.uint8
    )


# --- The network that inverts ---------------------------------------------------------


@pytest.mark.parametrize(
    ("sides", "channels"), [((8, 8), 3), ((9, 11), 1), ((5, 4), 3), ((1, 6), 1)]
)
def test_unet_starts_as_the_guide_at_every_shape(sides, channels):
    inputs = 2 * channels + 1
    x = np.random.default_rng(0).random((2, *sides, inputs)).astype(np.float32)
    net = UNet(inputs, channels, 4, 2, rngs=nnx.Rngs(0))
    out = apply(net, x)
    assert out.shape == (2, *sides, channels)
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, x[..., channels : 2 * channels])


def test_unet_sees_far_and_shifts_nothing():
    net = UNet(3, 1, 4, 2, rngs=nnx.Rngs(0))
    net.head.kernel[...] = jnp.ones_like(net.head.kernel[...])
    x = np.zeros((2, 17, 17, 3), np.float32)
    x[1, 8, 8, 0] = 1
    before, after = apply(net, x)
    changed = np.abs(after - before)
    assert changed.shape == (17, 17, 1)
    assert (changed > 0).sum() > 100
    assert changed[6:11, 6:11].mean() > 4 * changed.mean()


@pytest.mark.parametrize("c", [1, 3])
def test_features_are_values_in_order_then_the_guide_then_sizes(c):
    images = smooth(3)[..., :c].copy()
    mixed, plans = mixed_by_hand(images, 4)
    mixer = VisualMixer(region_size=4)
    found = features(mixed, plans, mixer)
    assert found.shape == (3, 8, 8, 2 * c + 1)
    assert found.dtype == np.float32
    ordered, guide, sizes = np.split(found, [c, 2 * c], axis=-1)
    wanted = [
        thumbnail.enlarged(*pair) / 255 for pair in zip(mixed, plans, strict=True)
    ]
    np.testing.assert_allclose(guide, wanted, atol=1e-6)
    np.testing.assert_allclose(sizes, np.full_like(sizes, 2 / 8))
    np.testing.assert_allclose(
        np.sort(ordered[:, :4, :4].reshape(3, 16, c), axis=1),
        np.sort(np.asarray(mixed)[:, :4, :4].reshape(3, 16, c) / 255, axis=1),
        atol=1e-6,
    )


def test_features_do_not_depend_on_the_key():
    images = smooth(2)
    one, other = (mixed_by_hand(images, 4, seed=seed) for seed in (0, 1))
    assert (np.asarray(one[0]) != np.asarray(other[0])).any()
    mixer = VisualMixer(region_size=4)
    np.testing.assert_array_equal(features(*one, mixer), features(*other, mixer))


SMALL = inversion.Config(
    width=8, depth=1, epochs=30, batch_size=32, learning_rate=1e-2, control_images=100
)


def inverted(originals, auxiliary, **options):
    mixed, plans = mixed_by_hand(originals, 2)
    return inversion.run(
        mixed,
        Knowledge(plans=plans, mixer=MIXER, auxiliary=auxiliary),
        Truth(originals=originals),
        SMALL,
        **options,
    )


@pytest.mark.slow
def test_inversion_beats_the_thumbnail_on_images_it_has_not_seen():
    originals, told = smooth(40, seed=1), []
    outcome = inverted(
        originals, smooth(400), transfer=noise(10),
        progress=lambda *numbers: told.append(numbers),
    )  # fmt: skip
    mixed, plans = mixed_by_hand(originals, 2)
    thumbnails = [
        thumbnail.as_picture(thumbnail.enlarged(*pair))
        for pair in zip(mixed, plans, strict=True)
    ]
    assert outcome.reconstructions is not None
    gain = psnr(outcome.reconstructions, originals) - psnr(thumbnails, originals)
    # Half the squared error, and less in nearly each picture.
    assert gain.mean() > 3
    assert (gain > 0).mean() > 0.9
    similar, decibels, other, _ = outcome.scores
    assert similar.name == decibels.name == "learned inversion"
    assert similar.verdict == "leaks"
    assert other.name == "learned inversion, other kind of image"
    assert other.verdict == "inconclusive"
    assert similar.knowledge == ("plan", "algorithm", "auxiliary images")
    # The control's network and the attacker's.
    assert told[-1] == (12 * 30, 12 * 30)
    assert told.count((1, 12 * 30)) == 1
    assert told.count((1, 3 * 30)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "config"),
    [
        (inversion, SMALL),
        (
            gan_inversion,
            gan_inversion.Config(**dataclasses.asdict(SMALL), critic_width=8),
        ),
    ],
    ids=["inversion", "adversarial"],
)
def test_inversion_learns_nothing_about_noise(module, config):
    originals = noise(40, seed=1)
    mixed, plans = mixed_by_hand(originals, "entire")
    outcome = module.run(
        mixed,
        Knowledge(
            plans=plans,
            mixer=VisualMixer(region_size="entire"),
            auxiliary=noise(300),
        ),
        Truth(originals=originals),
        config,
    )
    pictures = outcome.reconstructions
    assert pictures is not None
    assert psnr(pictures, originals).mean() < psnr(flat(originals), originals).mean()
    assert {score.verdict for score in outcome.scores} == {"inconclusive"}


@pytest.mark.slow
def test_adversarial_inversion_restores():
    originals = smooth(40, seed=1)
    config = gan_inversion.Config(
        **{**dataclasses.asdict(SMALL), "learning_rate": 3e-3}, critic_width=8
    )
    mixed, plans = mixed_by_hand(originals, 2)
    told = []
    outcome = gan_inversion.run(
        mixed,
        Knowledge(plans=plans, mixer=MIXER, auxiliary=smooth(400)),
        Truth(originals=originals),
        config,
        progress=lambda *numbers: told.append(numbers),
    )
    similar, decibels = outcome.scores
    assert similar.name == decibels.name == "adversarial inversion"
    assert outcome.reconstructions is not None
    gain = psnr(outcome.reconstructions, originals) - psnr(mixed, originals)
    assert gain.mean() > 3
    assert told[-1] == (12 * 30, 12 * 30)


@pytest.mark.parametrize("name", ["plans", "mixer", "auxiliary"])
def test_inversion_without_what_it_learns_from_is_refused(name):
    images = smooth(2)
    mixed, plans = mixed_by_hand(images, 2)
    whole = Knowledge(plans=plans, mixer=MIXER, auxiliary=images)
    with pytest.raises(ValueError, match="knowledge lacks plans, mixer or auxiliary"):
        inversion.run(
            mixed,
            dataclasses.replace(whole, **{name: None}),
            Truth(originals=images),
            SMALL,
        )


def test_gan_samples_are_of_the_wanted_labels():
    """Black and white images: each is a label, so a label is all there is to learn."""
    labels = np.resize(np.arange(2), 256)
    images = np.broadcast_to((labels * 255).astype(np.uint8), (1, 8, 8, 256)).T
    config = gan_samples.Config(
        width=8, latent=4, epochs=40, batch_size=32, learning_rate=2e-3
    )
    wanted = np.array([0, 1, 1, 0])
    found = gan_samples.samples(images, labels, wanted, config)
    assert [picture.shape for picture in found] == [(8, 8, 1)] * 4
    assert [picture.mean() > 127 for picture in found] == [False, True, True, False]


@pytest.mark.slow
def test_gan_samples_follow_no_labels_that_mean_nothing():
    rng = np.random.default_rng(0)
    bright = np.resize(np.arange(2), 256)
    images = np.broadcast_to((bright * 255).astype(np.uint8), (1, 8, 8, 256)).T
    config = gan_samples.Config(
        width=8, latent=4, epochs=40, batch_size=32, learning_rate=2e-3
    )
    wanted = np.resize(np.arange(2), 64)
    labels = rng.permutation(bright)
    found = gan_samples.samples(images, labels, wanted, config)
    right = np.mean([(x.mean() > 127) == y for x, y in zip(found, wanted, strict=True)])
    assert 0.2 < right < 0.8


def test_gan_samples_take_sides_that_can_be_halved_twice():
    images, labels = np.zeros((4, 6, 8, 1), np.uint8), np.zeros(4, int)
    with pytest.raises(ValueError, match="8 x 6 pixels: give sides that 4 divides"):
        gan_samples.samples(images, labels, labels, gan_samples.Config())
