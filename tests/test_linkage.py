"""Linkage: originals are found among candidates, and only where they are."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixing_by_hand import mixed_by_hand
from plan_cases import adaptive_sizes

import vim_jax
from vim_jax import RegionPlan, VisualMixer
from vim_jax.attacks import linkage
from vim_jax.attacks.protocol import Knowledge, Truth

SHAPE = (16, 24, 3)
CHANNELS = ["independent", "joint", "mixed"]
SIZES = [1, 4, 7, "entire", "adaptive"]
CONFIG = linkage.Config()
EXACT, MEANS, HASH = (
    "linkage by sorted values",
    "linkage by thumbnail",
    "linkage by perceptual hash",
)


def smooth(count, seed=0, shape=SHAPE):
    """Pictures of a few waves, all of one brightness and contrast."""
    rng = np.random.default_rng(seed)
    h, w, c = shape
    y, x = np.mgrid[:h, :w, :c][:2] / max(h, w)
    images = []
    for _ in range(count):
        waves = [
            np.sin(rng.normal(0, 5) * y + rng.normal(0, 5) * x + rng.uniform(0, 6.3))
            for _ in range(4)
        ]
        picture = sum(waves) + rng.normal(0, 0.1, shape)
        picture = 128 + 40 * (picture - picture.mean()) / picture.std()
        images.append(picture.clip(0, 255).astype(np.uint8))
    return images


def sizes_of(size, shape=SHAPE):
    return adaptive_sizes(shape) if isinstance(size, str) and (
        size == "adaptive"
    ) else size  # fmt: skip


def link(published, plans, originals, candidates, *, mixer=None):
    knowledge = Knowledge(plans=plans, mixer=mixer, candidates=candidates)
    outcome = linkage.run(published, knowledge, Truth(originals=originals), CONFIG)
    return {(score.name, score.metric): score for score in outcome.scores}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", CHANNELS)
def test_sorted_values_find_every_original(channels, size):
    candidates = smooth(40)
    originals = candidates[5:17]
    mixed, plans = mixed_by_hand(originals, sizes_of(size), channels)
    scores = link(mixed, plans, originals, candidates)
    rank, area = scores[EXACT, "rank-1 (share)"], scores[EXACT, "AUC"]
    assert rank.score == area.score == 1
    assert rank.verdict == area.verdict == "leaks"
    assert rank.chance == pytest.approx(1 / 40)
    assert area.chance == 0.5


def test_small_regions_are_found_by_thumbnail_and_hash_too():
    candidates = smooth(40)
    mixed, plans = mixed_by_hand(candidates[:12], 2, "mixed")
    scores = link(mixed, plans, candidates[:12], candidates)
    assert scores[MEANS, "rank-1 (share)"].score == 1
    assert scores[HASH, "AUC"].score > 0.95
    assert scores[HASH, "AUC"].verdict == "leaks"


def test_what_each_way_knows():
    images = smooth(4)
    scores = link(*mixed_by_hand(images, 2), images, images).values()
    assert [score.name for score in scores] == [
        x for x in (EXACT, MEANS, HASH) for _ in range(2)
    ]
    for score in scores:
        plan = () if score.name == HASH else ("plan",)
        algorithm = ("algorithm",) if score.name == EXACT else ()
        assert score.knowledge == (*plan, *algorithm, "candidate originals")


@pytest.mark.parametrize("size", [4, "adaptive"])
def test_images_whose_originals_are_not_candidates_are_at_chance(size):
    candidates = smooth(60)
    listed, elsewhere = candidates[:40], smooth(40, seed=1)
    mixed, plans = mixed_by_hand(elsewhere, sizes_of(size))
    for (_, metric), score in link(mixed, plans, listed, candidates).items():
        assert score.control.passed
        assert score.verdict == "at chance"
        if metric == "AUC":
            # Standard error of 40 uniform ranks: 0.046.
            assert score.score == pytest.approx(0.5, abs=0.14)
            assert score.low < 0.5 < score.high
        else:
            assert score.score <= 3 / 40


@pytest.mark.parametrize("channels", CHANNELS)
def test_shuffled_entirely_hides_the_place_but_not_the_values(channels):
    candidates = smooth(40)
    mixed, plans = mixed_by_hand(candidates[:20], "entire", channels)
    scores = link(mixed, plans, candidates[:20], candidates)
    assert scores[EXACT, "rank-1 (share)"].score == 1
    assert scores[HASH, "AUC"].verdict == "at chance"
    assert scores[HASH, "rank-1 (share)"].score <= 0.1


def test_scrambled_regions_are_compared_by_all_values():
    candidates = smooth(40)
    mixed, plans = mixed_by_hand(candidates[:12], 4)
    # Halves trade places: with regions in place, values would be at the wrong ones.
    mixed = [np.roll(image, 12, axis=1) for image in mixed]
    found = {
        scramble: link(
            mixed, plans, candidates[:12], candidates,
            mixer=VisualMixer(region_size=4, scramble_regions=scramble),
        )[EXACT, "rank-1 (share)"].score
        for scramble in (False, True)
    }  # fmt: skip
    assert found[True] == 1
    assert found[False] < 0.5


# --- What shuffling does not change ---------------------------------------------------


@settings(max_examples=10)
@given(
    st.sampled_from(CHANNELS),
    st.integers(0, 2**31),
    st.sampled_from([None, 1, 5, 24]),
    st.sampled_from([2, 256]),
)
def test_sorted_values_do_not_change_by_shuffling(channels, seed, size, levels):
    image = np.random.default_rng(seed).integers(0, levels, SHAPE).astype(np.uint8)
    sizes = adaptive_sizes(SHAPE, seed=seed)
    sizes = sizes if size is None else np.full(SHAPE[:2], size, np.int32)
    plan = RegionPlan(sizes)
    mixed = vim_jax.shuffle(jax.random.key(seed), image, plan, channels=channels)
    before, after = linkage.sorted_values(np.stack([image, np.asarray(mixed)]), sizes)
    np.testing.assert_array_equal(before, after)


def test_sorted_values_are_those_of_each_region():
    image = np.arange(48, dtype=np.uint8)[::-1].reshape(1, 4, 4, 3)
    sizes = np.full((4, 4), 2, np.int32)
    found = linkage.sorted_values(image, sizes).reshape(4, 12)
    for values, (y, x) in zip(found, [(0, 0), (0, 2), (2, 0), (2, 2)], strict=True):
        wanted = np.sort(image[0, y : y + 2, x : x + 2], axis=None)
        np.testing.assert_array_equal(values, wanted)


def test_sorted_values_tell_where_a_value_moved_between_regions():
    image = np.zeros((2, 4, 4, 1), np.uint8)
    image[0, 0, 0], image[1, 0, 2] = 9, 9
    small, entire = (
        linkage.sorted_values(image, np.full((4, 4), size, np.int32)) for size in (2, 4)
    )
    assert (small[0] != small[1]).any()
    np.testing.assert_array_equal(entire[0], entire[1])


# --- How it is scored -----------------------------------------------------------------


def test_images_are_only_compared_with_candidates_of_their_shape():
    small = smooth(3, shape=(16, 16, 3))
    candidates = [*smooth(5), *small]
    originals = [candidates[1], small[0]]
    mixed, plans = mixed_by_hand(originals, 4)
    scores = link(mixed, plans, originals, candidates)
    assert scores[EXACT, "rank-1 (share)"].score == 1
    assert scores[EXACT, "rank-1 (share)"].chance == pytest.approx((1 / 5 + 1 / 3) / 2)
    # None is told by anything but its shape: nothing is known of these ways.
    alone = [smooth(1, shape=(16, 8 + i, 3))[0] for i in range(4)]
    mixed, plans = mixed_by_hand(alone, "entire")
    scores = link(mixed, plans, alone, alone)
    assert {x.verdict for x in scores.values()} == {"inconclusive"}
    # One that is alone does not count beside others that are not.
    some = [*originals, alone[0]]
    mixed, plans = mixed_by_hand(some, 4)
    more = link(mixed, plans, some, [*candidates, alone[0]])
    rank = more[EXACT, "rank-1 (share)"]
    assert (rank.score, rank.chance) == (1, pytest.approx((1 / 5 + 1 / 3) / 2))


def test_equal_candidates_are_no_find():
    images = smooth(6)
    twins = [*images, images[0].copy()]
    mixed, plans = mixed_by_hand(images[:2], 4)
    rank = link(mixed, plans, images[:2], twins)[EXACT, "rank-1 (share)"]
    assert rank.score == 1 / 2


def test_a_flat_region_map_of_ranks_counts_ties_half():
    # All candidates have the same values: every distance ties.
    image = smooth(1)[0]
    rng = np.random.default_rng(0)
    flat = image.reshape(-1, 3)
    candidates = [rng.permutation(flat).reshape(SHAPE) for _ in range(5)]
    mixed, plans = mixed_by_hand(candidates, "entire")
    scores = link(mixed, plans, candidates, candidates)
    assert scores[EXACT, "AUC"].score == 0.5
    assert scores[EXACT, "rank-1 (share)"].score == 0
    # Nor do the originals find themselves: nothing is known of this attack.
    assert scores[EXACT, "AUC"].verdict == "inconclusive"


@pytest.mark.parametrize("count", [1, 2])
def test_few_images_among_themselves(count):
    images = smooth(count)
    scores = link(*mixed_by_hand(images, 4), images, images)
    rank = scores[EXACT, "rank-1 (share)"]
    assert rank.score == 1
    assert rank.chance == 1 / count
    # One candidate is no choice, and two images tell nothing from chance.
    assert rank.verdict == "inconclusive"
    if count == 1:
        assert scores[EXACT, "AUC"].verdict == "inconclusive"


# --- Bad input ------------------------------------------------------------------------


def test_missing_knowledge_is_refused():
    images = smooth(2)
    mixed, plans = mixed_by_hand(images, 4)
    whole = Knowledge(plans=plans, candidates=images)
    for name in ("plans", "candidates"):
        with pytest.raises(ValueError, match="no plans or no candidates"):
            linkage.run(
                mixed,
                dataclasses.replace(whole, **{name: None}),
                Truth(originals=images),
                CONFIG,
            )


def test_originals_that_are_no_candidates_are_refused():
    images = smooth(3)
    mixed, plans = mixed_by_hand(images, 4)
    with pytest.raises(ValueError, match="candidates lack an original"):
        link(mixed, plans, images, images[:2])


def test_images_without_a_plan_are_refused():
    images = smooth(3)
    mixed, plans = mixed_by_hand(images, 4)
    with pytest.raises(ValueError, match="zip"):
        link(mixed, plans[:2], images, images)
