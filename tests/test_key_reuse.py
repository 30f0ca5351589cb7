"""Key reuse: one permutation for a whole set falls, fresh keys do not."""

import jax
import numpy as np
import pytest

import vim_jax
from vim_jax.attacks.key_reuse import Config, mixed_alike, run
from vim_jax.attacks.placing import (
    from_correlations,
    from_pairs,
    groups_of,
    random_rates,
    restored,
)
from vim_jax.attacks.protocol import Knowledge, Truth
from vim_jax.data import open_source
from vim_jax.mixer import VisualMixer

SIDE = 8
SHAPE = (SIDE, SIDE, 3)


def smooth(count, seed=0, side=SIDE):
    """Images of random waves: neighbours are alike, as in photographs.

    Channels differ in level, or nothing would tell them apart once they are mixed.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    images = np.broadcast_to([100.0, 128.0, 156.0], (count, side, side, 3)).copy()
    for _ in range(6):
        fy, fx = rng.normal(0, 2.5, (2, count, 1, 1))
        phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
        colour = rng.normal(20, 6, (count, 1, 1, 3))
        images += np.sin(fy * y + fx * x + phase)[..., None] * colour
    return (images + rng.normal(0, 2, images.shape)).clip(0, 255).astype(np.uint8)


def flat(images):
    return images.reshape(len(images), -1)


def alike(images, size, mixer, seed=1):
    """Images mixed by one permutation, and the groups that it moves."""
    plan = np.full(images.shape[1:3], size, np.int32)
    mixed = mixed_alike(flat(images), plan, images.shape[3], mixer, seed)
    return mixed, groups_of([plan] * len(images), images.shape[3], mixer)


def exact(found, images, first=0):
    return float((found == flat(images))[first:].mean())


def afresh(images, mixer):
    mixed, plans = mixer(vim_jax.SecretKey(bytes(range(32))), images)
    return list(np.asarray(mixed)), list(np.asarray(plans.size))


def attack(mixed, plans, images, mixer, config, auxiliary=None):
    knowledge = Knowledge(
        plans=plans, mixer=mixer, auxiliary=auxiliary, known_originals=list(images)
    )
    return run(mixed, knowledge, Truth(originals=list(images)), config)


MIXERS = {
    "independent": VisualMixer(region_size=4),
    "joint": VisualMixer(region_size=4, channels="joint"),
    "mixed": VisualMixer(region_size=4, channels="mixed"),
}


# --- One permutation ------------------------------------------------------------------
@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("scramble", [False, True])
def test_the_control_is_mixed_as_the_library_mixes(name, scramble):
    images = smooth(3)
    mixer = VisualMixer(
        region_size=4, channels=MIXERS[name].channels, scramble_regions=scramble
    )
    mixed, _ = alike(images, 4, mixer, seed=7)
    for image, result in zip(images, mixed, strict=True):
        expected = vim_jax.shuffle(
            jax.random.key(7),
            image,
            4,
            channels=mixer.channels,
            scramble_regions=scramble,
        )
        np.testing.assert_array_equal(np.asarray(expected).reshape(-1), result)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("scramble", [False, True])
def test_known_originals_give_the_permutation_away(name, scramble):
    images = smooth(20)
    mixer = VisualMixer(
        region_size=4, channels=MIXERS[name].channels, scramble_regions=scramble
    )
    mixed, groups = alike(images, 4, mixer)
    known = flat(images)[:8]
    found = restored(mixed, from_pairs(mixed[:8], known, groups))
    assert exact(found, images, first=8) > 0.999
    assert exact(mixed, images, first=8) < 0.5


def test_more_known_originals_tell_more():
    images = smooth(20)
    mixed, groups = alike(images, SIDE, MIXERS["independent"])
    rates = [
        exact(
            restored(mixed, from_pairs(mixed[:k], flat(images)[:k], groups)), images, 8
        )
        for k in (1, 2, 8)
    ]
    assert rates[0] < rates[1] <= rates[2]


@pytest.mark.parametrize("name", MIXERS)
def test_correlations_give_the_permutation_away(name):
    images = smooth(400)
    mixed, groups = alike(images, 4, MIXERS[name])
    placed = from_correlations(mixed[:300], flat(smooth(500, 9)), groups, SHAPE)
    assert exact(restored(mixed, placed), images, first=300) > 0.9
    assert exact(mixed, images, first=300) < 0.5


def test_correlations_need_many_images():
    images = smooth(400)
    mixed, groups = alike(images, 4, MIXERS["independent"])
    auxiliary = flat(smooth(500, 9))
    few, many = (
        exact(
            restored(mixed, from_correlations(mixed[:n], auxiliary, groups, SHAPE)),
            images,
            first=300,
        )
        for n in (3, 300)
    )
    assert few < many - 0.2


@pytest.mark.slow
@pytest.mark.parametrize(("size", "least"), [(4, 0.99), (8, 0.95)])
def test_a_thousand_photographs_give_the_permutation_away(tfds_dir, size, least):
    source = open_source("cifar10", split="train", data_dir=tfds_dir)
    images = np.stack([source[i].image for i in range(3100)])
    mixed, groups = alike(images[:1100], size, MIXERS["independent"])
    placed = from_correlations(mixed[:1000], flat(images[1100:]), groups, (32, 32, 3))
    assert exact(restored(mixed, placed), images[:1100], first=1000) > least


def test_regions_that_images_share_fall_although_plans_differ():
    # The left half has the same regions in all images, the right half in none known.
    images = smooth(12)
    plans = [np.full((SIDE, SIDE), 4, np.int32) for _ in images]
    for plan in plans[6:]:
        plan[:, 4:] = 2
    mixer = MIXERS["independent"]
    mixed = np.concatenate(
        [
            mixed_alike(flat(images[i : i + 1]), p, 3, mixer, 1)
            for i, p in enumerate(plans)
        ]
    )
    groups = groups_of(plans, 3, mixer)
    found = restored(mixed, from_pairs(mixed[:6], flat(images)[:6], groups))
    right = (found == flat(images)).reshape(12, *SHAPE)[6:]
    assert right[:, :, :4].mean() > 0.999
    assert right[:, :, 4:].mean() < 0.6


# --- Chance ---------------------------------------------------------------------------
def test_random_rates_count_equal_values():
    image = np.asarray([5, 5, 7, 9, 1, 1, 1, 1], np.uint8).reshape(1, 2, 4, 1)
    plan = np.full((2, 4), 2, np.int32)
    groups = groups_of([plan], 1, MIXERS["independent"])
    # Left region: 5 5 1 1, hit half of the time; right region: 7 9 1 1.
    expected = (4 * (2 * 4 / 16) + (1 + 1 + 4) / 4) / 8
    assert random_rates(flat(image), groups)[0] == pytest.approx(expected)


@pytest.mark.parametrize("name", [*MIXERS, "scrambled"])
def test_random_rates_are_what_random_permutations_hit(name):
    images = smooth(1)
    scramble = name == "scrambled"
    mixer = VisualMixer(
        region_size=4,
        channels="independent" if scramble else MIXERS[name].channels,
        scramble_regions=scramble,
    )
    rates = []
    for seed in range(60):
        mixed, _ = alike(images, 4, mixer, seed)
        rates.append(exact(mixed, images))
    _, groups = alike(images, 4, mixer)
    expected = random_rates(flat(images), groups)[0]
    error = np.std(rates) / np.sqrt(len(rates))
    assert abs(np.mean(rates) - expected) < 4 * error


# --- The attack -----------------------------------------------------------------------
CONFIG = Config(known=(1, 8), held_out=60)


@pytest.mark.parametrize("name", [*MIXERS, "level"])
def test_fresh_keys_are_at_chance(name):
    images = smooth(200)
    mixer = VisualMixer(level=0.6) if name == "level" else MIXERS[name]
    outcome = attack(*afresh(images, mixer), images, mixer, CONFIG, smooth(500, 9))
    assert [score.name for score in outcome.scores] == [
        "key reuse, 1 known",
        "key reuse, 8 known",
        "key reuse, correlations",
    ]
    for score in outcome.scores:
        assert score.control.passed
        assert score.low <= score.chance <= score.high
        assert score.verdict == "at chance"
        assert abs(score.score - score.chance) < 0.02


def test_one_permutation_leaks():
    images, mixer = smooth(200), MIXERS["independent"]
    mixed, _ = alike(images, 4, mixer, seed=5)
    plans = [np.full((SIDE, SIDE), 4, np.int32)] * 200
    mixed = list(mixed.reshape(images.shape))
    outcome = attack(mixed, plans, images, mixer, CONFIG, smooth(500, 9))
    assert [score.verdict for score in outcome.scores] == ["leaks"] * 3
    assert outcome.reconstructions is not None
    assert np.mean(np.stack([*outcome.reconstructions]) == images) > 0.9


def test_correlations_are_left_out_without_what_they_need():
    images = smooth(40)
    scrambling = VisualMixer(region_size=4, scramble_regions=True)
    config = Config(known=(2,))
    cases = (scrambling, smooth(20, 9)), (MIXERS["independent"], None)
    for mixer, auxiliary in cases:
        mixed, plans = afresh(images, mixer)
        outcome = attack(mixed, plans, images, mixer, config, auxiliary)
        assert [score.name for score in outcome.scores] == ["key reuse, 2 known"]
        assert outcome.scores[0].knowledge == ("plan", "algorithm", "known plaintext")


def test_arrays_do_as_well_as_lists():
    images, mixer = smooth(40), MIXERS["independent"]
    mixed, plans = afresh(images, mixer)
    config = Config(known=(2,))
    lists = attack(mixed, plans, images, mixer, config)
    knowledge = Knowledge(
        plans=np.stack(plans), mixer=mixer, known_originals=images[:2]
    )
    arrays = run(np.stack(mixed), knowledge, Truth(originals=images), config)
    assert lists.scores == arrays.scores


# --- Bad input ------------------------------------------------------------------------
def test_plans_and_mixer_are_needed():
    images = list(smooth(4))
    for knowledge in (Knowledge(), Knowledge(mixer=MIXERS["joint"])):
        with pytest.raises(ValueError, match="no plans or no mixer"):
            run(images, knowledge, Truth(originals=images), Config())


def test_known_originals_are_needed():
    images, mixer = smooth(8), MIXERS["joint"]
    mixed, plans = afresh(images, mixer)
    for few in (None, images[:1]):
        knowledge = Knowledge(plans=plans, mixer=mixer, known_originals=few)
        with pytest.raises(ValueError, match=r"known originals, known=\(2,\)"):
            run(mixed, knowledge, Truth(originals=images), Config(known=(2,)))


def test_what_is_known_is_not_read_off_the_truth():
    """Of one permutation: wrong originals give it away to nobody."""
    images, mixer = smooth(60), MIXERS["independent"]
    mixed, _ = alike(images, 4, mixer, seed=5)
    plans = [np.full((SIDE, SIDE), 4, np.int32)] * 60
    for known, leaks in ((images[:8], True), (smooth(8, 99), False)):
        knowledge = Knowledge(plans=plans, mixer=mixer, known_originals=known)
        mixed = list(np.reshape(mixed, images.shape))
        config = Config(known=(8,))
        (score,) = run(mixed, knowledge, Truth(originals=images), config).scores
        assert (score.score > 0.9) is leaks


def test_lists_must_be_of_one_length():
    images = list(smooth(4))
    knowledge = Knowledge(plans=[], mixer=MIXERS["joint"])
    with pytest.raises(ValueError, match="4 published images, 0 plans"):
        run(images, knowledge, Truth(originals=images), Config())


def test_too_few_images_are_refused():
    images = smooth(20)
    plans = [np.full((SIDE, SIDE), 4, np.int32)] * 20
    with pytest.raises(ValueError, match=r"known=\(11,\) of 20 images"):
        attack(list(images), plans, images, MIXERS["joint"], Config(known=(11,)))


def test_images_must_have_one_shape(unchecked):
    images = smooth(20)
    plans = [np.full((SIDE, SIDE), 4, np.int32)] * 20
    auxiliary = smooth(5, side=6)
    with pytest.raises(ValueError, match="2 shapes"):
        attack(list(images), plans, images, MIXERS["joint"], Config(), auxiliary)


@pytest.mark.parametrize(
    ("name", "value"),
    [("known", ()), ("known", (0, 3)), ("images", 0), ("held_out", 0)],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}="):
        Config(**{name: value})
