"""How near pictures come to their originals, and what blind guesses score."""

import numpy as np
import pytest
import skimage.metrics
from hypothesis import given
from hypothesis import strategies as st
from picture_cases import SHAPE, photographs, rough, tiles

from vim_jax._types import Channels
from vim_jax.attacks import similarity

# --- What is measured -----------------------------------------------------------------


@pytest.mark.parametrize("shape", [(64, 80, 3), (70, 64, 1)])
def test_ssim_is_that_of_skimage(shape):
    image, other = rough(0, shape)
    wanted = skimage.metrics.structural_similarity(
        image, other, data_range=255, channel_axis=2,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    # float32: variances are off by 1e-7 and are compared with 0.03 ** 2.
    assert similarity.ssim([other], [image]) == pytest.approx(wanted, abs=2e-4)


def slow_ssim(image, other, side):
    """The definition, window by window."""
    near = np.exp(-0.5 * ((np.arange(side) - (side - 1) / 2) / 1.5) ** 2)
    weight = np.outer(near, near) / near.sum() ** 2
    a, b = (x.astype(float) / 255 for x in (image, other))
    found = []
    for y, x, k in np.ndindex(a.shape[0] - side + 1, a.shape[1] - side + 1, a.shape[2]):
        p, q = (z[y : y + side, x : x + side, k] for z in (a, b))
        means = np.asarray([(weight * p).sum(), (weight * q).sum()])
        p, q = p - means[0], q - means[1]
        around = (weight * (p * p + q * q)).sum()
        light = (2 * means[0] * means[1] + 1e-4) / (means @ means + 1e-4)
        found.append(light * (2 * (weight * p * q).sum() + 9e-4) / (around + 9e-4))
    return np.mean(found)


@pytest.mark.parametrize(
    ("shape", "side"), [((20, 24, 3), 7), ((63, 9, 1), 7), ((5, 8, 2), 5)]
)
def test_ssim_of_small_images_has_a_smaller_window(shape, side):
    image, other = rough(1, shape, step=2)
    wanted = slow_ssim(image, other, side)
    assert similarity.ssim([other], [image]) == pytest.approx(wanted, abs=2e-4)


def test_psnr_is_that_of_skimage():
    pairs = [rough(seed, SHAPE) for seed in range(3)]
    wanted = [skimage.metrics.peak_signal_noise_ratio(*pair) for pair in pairs]
    images, others = zip(*pairs, strict=True)
    assert similarity.psnr(others, images) == pytest.approx(wanted, abs=1e-3)


def test_equal_images_score_full_marks():
    images = photographs()[:2]
    assert similarity.ssim(images, images) == pytest.approx([1, 1], abs=1e-6)
    assert similarity.psnr(images, images).tolist() == [100, 100]


def test_images_must_be_paired():
    with pytest.raises(ValueError, match="longer"):
        similarity.ssim(photographs()[:1], photographs()[:2])


@given(st.integers(0, 2**32 - 1))
def test_flat_is_the_best_guess_of_one_colour(seed):
    rng = np.random.default_rng(seed)
    image = (256 * rng.random((4, 5, 2)) ** rng.uniform(0.2, 5)).astype(np.uint8)
    (guess,) = similarity.flat([image])
    assert guess.shape == image.shape
    assert guess.dtype == np.uint8
    for channel, guessed in zip(np.moveaxis(image, 2, 0), guess[0, 0], strict=True):
        assert (guess[..., 0] == guess[0, 0, 0]).all()
        errors = [((channel.astype(int) - v) ** 2).sum() for v in range(256)]
        assert errors[guessed] == min(errors)


# --- What blind guesses score ---------------------------------------------------------


def strokes(count=24, seed=0):
    """Bright strokes on black, as scanned digits are: mostly background."""
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28, 1), np.uint8)
    for image in images:
        y, x = rng.integers(4, 18, 2)
        image[y : y + 6, x : x + 2] = rng.integers(150, 256, (6, 2, 1))
        image[y : y + 2, x : x + 6] = rng.integers(150, 256, (2, 6, 1))
    return images


def scores_of(pictures, originals, auxiliary=None, channels: Channels = "independent"):
    return similarity.picture_scores(
        pictures, originals, name="a", knowledge=(), control_case="b",
        control_pictures=originals, control_ssim=0.99, auxiliary=auxiliary,
        channels=channels,
    )  # fmt: skip


@pytest.mark.parametrize("auxiliary", [None, strokes(seed=1)])
@pytest.mark.parametrize("guess", ["black", "mean colour", "another", "mean of others"])
def test_in_dark_images_no_blind_picture_is_above_chance(guess, auxiliary):
    originals = strokes()
    pictures = {
        "black": np.zeros_like(originals),
        "mean colour": similarity.flat(originals),
        "another": np.roll(originals, 1, axis=0),
        "mean of others": [strokes(seed=1).mean(0).astype(np.uint8)] * len(originals),
    }[guess]
    similar, decibels = scores_of(pictures, originals, auxiliary)
    assert similar.verdict == "at chance"
    assert (
        similar.chance > similarity.ssim(similarity.flat(originals), originals).mean()
    )
    if guess != "mean of others" or auxiliary is not None:
        assert decibels.verdict == "at chance"


def test_mixed_channels_are_not_told_apart_by_a_blind_guess():
    red = tiles() // 4
    red[..., 0] += 150
    kept, unknown = (
        similarity.blind_guesses(red, channels=how) for how in ("joint", "mixed")
    )
    for name in ("its mean colour", "its most frequent values"):
        assert np.ptp(np.asarray(kept[name])[0, 0, 0]) > 100
        assert not np.ptp(np.asarray(unknown[name]), axis=3).any()
    grey = np.asarray(unknown["its mean colour"])[:, 0, 0, 0]
    assert np.abs(grey - red.mean((1, 2, 3))).max() <= 0.5
    _, known = scores_of(red, red)
    _, mixed = scores_of(red, red, channels="mixed")
    assert mixed.chance < known.chance - 3


def blotted(count=8):
    """Dark noise with a white blot, so that white is the most frequent value."""
    images = np.random.default_rng(0).integers(0, 8, (count, 28, 28, 1), np.uint8)
    images[:, 4:14, 4:15] = 255
    return images


def test_a_black_picture_is_never_above_chance():
    for originals in (strokes(), blotted(), tiles()):
        for score in scores_of(np.zeros_like(originals), originals):
            assert score.score <= score.chance
            assert score.verdict == "at chance"


@pytest.mark.parametrize(
    ("originals", "guess"),
    [
        (blotted(), "black"),
        (255 - strokes(), "its most frequent values"),
        (tiles(), "its mean colour"),
    ],
)
def test_the_best_blind_guess_depends_on_the_images(originals, guess):
    name, chance = similarity.best_guess(similarity.ssim, originals)
    assert name == guess
    found = similarity.blind_guesses(originals)
    means = [similarity.ssim(x, originals).mean() for x in found.values()]
    assert chance.mean() == max(means) > sorted(means)[-2]


def test_photographs_are_guessed_best_by_their_mean_colour():
    originals, others = tiles()[::2], tiles()[1::2]
    flat = similarity.flat(originals)
    for auxiliary in (None, others):
        scores = scores_of(originals, originals, auxiliary)
        for score, measure in zip(
            scores, (similarity.ssim, similarity.psnr), strict=True
        ):
            assert score.chance == pytest.approx(measure(flat, originals).mean())
            name, _ = similarity.best_guess(measure, originals, auxiliary)
            assert name == "its mean colour"


def test_what_the_images_have_in_common_is_a_blind_guess():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (24, 24, 3))
    images = np.clip(frame + rng.normal(0, 20, (20, 24, 24, 3)), 0, 255)
    images = images.astype(np.uint8)
    name, chance = similarity.best_guess(similarity.ssim, images[:10], images[10:])
    assert name == "the mean auxiliary image"
    score, _ = scores_of([frame.astype(np.uint8)] * 10, images[:10], images[10:])
    assert score.chance == pytest.approx(chance.mean())
    assert score.chance > 0.8


@given(st.integers(0, 2**32 - 1))
def test_most_frequent_values_are_those_of_each_channel(seed):
    image = np.random.default_rng(seed).integers(0, 4, (4, 5, 2)).astype(np.uint8)
    (guess,) = similarity.most_frequent([image])
    assert guess.shape == image.shape
    assert guess.dtype == np.uint8
    for channel, guessed in zip(np.moveaxis(image, 2, 0), guess[0, 0], strict=True):
        counts = [(channel == v).sum() for v in range(4)]
        assert counts[guessed] == max(counts)
    assert (guess == guess[0, 0]).all()
