"""Attacks on pictures that learn nothing: as published, thumbnail, multiset."""

import jax
import numpy as np
import pytest
from mixing_by_hand import cells_of, mixed_by_hand
from picture_cases import SHAPE, as_multiset, photographs, plans_of, rough, tiles
from plan_cases import adaptive_sizes

import vim_jax
from vim_jax import RegionPlan, VisualMixer
from vim_jax._types import Channels
from vim_jax.attacks import as_published, multiset, thumbnail
from vim_jax.attacks.mixing import mixed_by, mixed_like
from vim_jax.attacks.protocol import Knowledge, Truth

ATTACKS = [as_published, thumbnail, multiset]
CHANNELS: list[Channels] = ["independent", "joint", "mixed"]
QUICK = multiset.Config(refinements=1)


def noise(count=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


def attack(
    module, originals, size, channels: Channels = "independent", *, published=None
):
    """Mixes, unless told what was published instead, and attacks."""
    mixed, plans = mixed_by_hand(originals, size, channels)
    return module.run(
        mixed if published is None else published,
        Knowledge(plans=plans, mixer=VisualMixer(region_size=size, channels=channels)),
        Truth(originals=originals),
        QUICK if module is multiset else module.Config(),
    )


@pytest.mark.parametrize("module", ATTACKS)
def test_attacks_count_the_mean_auxiliary_image_as_chance(module):
    frame = photographs()[0]
    rng = np.random.default_rng(0)
    n = len(photographs())  # As elsewhere: nothing is compiled anew.
    images = np.clip(frame + rng.normal(0, 9, (2 * n, *SHAPE)), 0, 255)
    images = images.astype(np.uint8)
    mixed, plans = mixed_by_hand(images[:n], 8)
    mixer = VisualMixer(region_size=8)
    settings = QUICK if module is multiset else module.Config()
    alone, beside = (
        module.run(
            mixed, Knowledge(plans=plans, mixer=mixer, auxiliary=auxiliary),
            Truth(originals=images[:n]), settings,
        ).scores[0]
        for auxiliary in (None, images[n:])
    )  # fmt: skip
    assert beside.score == alone.score
    assert beside.chance > alone.chance + 0.2
    # Some do not come that near even where they must succeed.
    could = beside.control.score > beside.chance
    assert could == (module not in (thumbnail, multiset))
    assert beside.verdict == ("at chance" if could else "inconclusive")


# --- Thumbnails, enlarged -------------------------------------------------------------


def slow_bicubic(row, step):
    """Keys' cubic with a = -1/2, around the middle of each new pixel."""

    def cubic(t):
        t = abs(t)
        if t < 1:
            return 1.5 * t**3 - 2.5 * t**2 + 1
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    out = []
    for i in range(len(row) * step):
        middle = (i + 0.5) / step - 0.5
        weights = [cubic(j - middle) for j in range(len(row))]
        out.append(np.dot(weights, row) / sum(weights))
    return np.asarray(out)


def slow_enlarged(image, size):
    h, w, c = image.shape
    rows, columns = -(-h // size), -(-w // size)
    means = np.zeros((rows, columns, c))
    for y, x in np.ndindex(rows, columns):
        block = image[y * size : (y + 1) * size, x * size : (x + 1) * size]
        means[y, x] = block.astype(float).mean((0, 1))
    tall = np.apply_along_axis(slow_bicubic, 0, means, size)
    return np.apply_along_axis(slow_bicubic, 1, tall, size)[:h, :w]


@pytest.mark.parametrize(
    ("shape", "size"), [((24, 16, 3), 4), ((10, 13, 1), 4), ((9, 9, 2), 1)]
)
def test_enlarged_region_means(shape, size):
    image, _ = rough(3, shape, step=2)
    plan = np.full(shape[:2], size, np.int32)
    wanted = slow_enlarged(image, size)
    np.testing.assert_allclose(thumbnail.enlarged(image, plan), wanted, atol=1e-3)


def test_enlarged_takes_each_size_from_its_own_picture():
    image = photographs()[0]
    sizes = adaptive_sizes(SHAPE)
    means = np.asarray(vim_jax.thumbnail(image, RegionPlan(sizes))).astype(np.float32)
    found = thumbnail.enlarged(image, sizes)
    for size in (8, 4, 2, 1):
        here = sizes == size
        assert here.any()
        np.testing.assert_allclose(
            found[here], slow_enlarged(means, size)[here], atol=1e-3
        )


def test_an_image_of_one_region_becomes_flat():
    image = photographs()[0]
    for size in (48, 64):
        found = thumbnail.enlarged(image, np.full(SHAPE[:2], size, np.int32))
        means = image.mean((0, 1), dtype=np.float64)
        np.testing.assert_allclose(found, np.broadcast_to(means, SHAPE), rtol=1e-5)


@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_mixing_does_not_change_the_thumbnail(channels):
    image = photographs()[1]
    sizes = adaptive_sizes(SHAPE)
    mixed = vim_jax.shuffle(
        jax.random.key(0), image, RegionPlan(sizes), channels=channels
    )
    assert (np.asarray(mixed) != image).mean() > 0.5
    np.testing.assert_array_equal(
        thumbnail.enlarged(np.asarray(mixed), sizes), thumbnail.enlarged(image, sizes)
    )


# --- Images mixed by the attacker -----------------------------------------------------


@pytest.mark.parametrize("channels", CHANNELS)
def test_controls_are_mixed_as_the_mixer_moves_channels_but_in_place(channels):
    mixer = VisualMixer(level=0.9, max_region=16, channels=channels)
    images = photographs()[:2, :16, :16]
    mixed, plans = mixed_like(mixer, images, 4)
    for image, other, plan in zip(images, mixed, plans, strict=True):
        assert (plan == 4).all()
        assert (image != other).mean() > 0.5
        for cells in cells_of(plan):
            kept = as_multiset(other[cells], channels)
            assert kept == as_multiset(image[cells], channels)


def test_mixing_by_the_attacker_follows_its_seed():
    mixer, images = VisualMixer(region_size=4), photographs()[:2, :16, :16]
    one, again, other = (mixed_by(mixer, images, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (np.asarray(one) != np.asarray(other)).mean() > 0.5


# --- The attacks ----------------------------------------------------------------------


@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_small_regions_hide_nothing(channels):
    outcomes = [attack(module, photographs(), 2, channels) for module in ATTACKS]
    seen, small, sets = (outcome.scores[0] for outcome in outcomes)
    assert [x.metric for x in (seen, small, sets)] == ["SSIM"] * 3
    assert {x.verdict for x in (small, sets)} == {"leaks"}
    assert sets.score > small.score > 0.8
    assert small.score > seen.score > seen.chance


def test_small_regions_that_mix_channels_hide_colours_at_most():
    small, sets = (
        attack(module, photographs(), 2, "mixed").scores[0]
        for module in (thumbnail, multiset)
    )
    assert small.verdict == "leaks"
    assert min(small.score, sets.score) > small.chance + 0.15


@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_values_put_right_beat_luck_in_photographs(channels):
    originals = tiles()
    outcome = attack(multiset, originals, 8, channels)
    similar, _, exact = outcome.scores
    assert outcome.reconstructions is not None
    assert exact.metric == "values put right (share)"
    assert exact.verdict in ("leaks", "partial")
    assert exact.score > 2 * exact.chance
    mean = np.mean([(a == b).mean() for a, b in zip(
        outcome.reconstructions, originals, strict=True
    )])  # fmt: skip
    assert exact.score == pytest.approx(mean)
    assert similar.score > attack(as_published, originals, 8, channels).scores[0].score


@pytest.mark.parametrize("module", ATTACKS)
def test_pixels_of_independent_noise_are_not_found(module):
    originals = noise()
    outcome = attack(module, originals, 8)
    similar, decibels, *exact = outcome.scores
    # A region's mean holds one 64th of the variance of independent pixels: 0.07 dB.
    assert similar.score < similar.chance + 0.05
    assert decibels.score < decibels.chance + 0.1
    assert all(x.score < x.chance + 0.01 for x in exact)
    assert "leaks" not in {x.verdict for x in outcome.scores}


@pytest.mark.parametrize("module", ATTACKS)
def test_noise_that_is_shuffled_entirely_is_at_chance(module):
    outcome = attack(module, noise(), "entire")
    for score in outcome.scores:
        assert score.score < score.chance + 0.01
        # The control fails: even single pixels say nothing of their neighbours.
        wanted = "at chance" if module is as_published else "inconclusive"
        assert score.verdict == wanted


@pytest.mark.parametrize("module", ATTACKS)
def test_photographs_that_were_not_published_are_at_chance(module):
    outcome = attack(module, photographs(), 8, published=[*noise()])
    assert {score.verdict for score in outcome.scores} == {"at chance"}
    assert all(score.control.passed for score in outcome.scores)


def test_photographs_that_are_shuffled_entirely_cannot_be_seen():
    for module in (as_published, thumbnail):
        outcome = attack(module, photographs(), "entire")
        assert {score.verdict for score in outcome.scores} == {"at chance"}


@pytest.mark.parametrize("module", ATTACKS)
def test_reconstructions_are_pictures_in_the_order_of_the_originals(module):
    outcome = attack(module, photographs(), 2)
    assert len(outcome.reconstructions) == len(photographs())
    for i, picture in enumerate(outcome.reconstructions):
        assert picture.dtype == np.uint8
        errors = [((picture.astype(int) - x) ** 2).mean() for x in photographs()]
        assert np.argmin(errors) == i


@pytest.mark.parametrize("module", ATTACKS)
def test_images_may_have_different_shapes(module):
    originals = [photographs()[0][:16, :16], photographs()[1][:12, :16]]
    outcome = attack(module, originals, 2)
    shapes = [picture.shape for picture in outcome.reconstructions]
    assert shapes == [(16, 16, 3), (12, 16, 3)]


def test_the_published_images_are_looked_at_as_they_are():
    mixed = noise(2)
    outcome = as_published.run(
        mixed, Knowledge(), Truth(originals=mixed), as_published.Config()
    )
    assert outcome.reconstructions is mixed
    assert outcome.scores[0].knowledge == ()
    assert outcome.scores[1].score == 100


@pytest.mark.parametrize("module", [thumbnail, multiset])
def test_attacks_without_a_plan_or_the_algorithm_are_refused(module):
    images, mixer = photographs()[:1], VisualMixer(region_size=4)
    for knowledge in (Knowledge(mixer=mixer), Knowledge(plans=plans_of(4, 1))):
        with pytest.raises(ValueError, match="no plans or no mixer"):
            module.run(images, knowledge, Truth(originals=images), module.Config())
