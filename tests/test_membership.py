"""Membership inference: the formulas, and that it finds members just where it can."""

import math

import numpy as np
import pytest

from vim_jax.attacks.intervals import rate
from vim_jax.attacks.many_networks import ask, train
from vim_jax.attacks.membership import Config, run
from vim_jax.attacks.membership_scores import area, found_at, lira, rmia
from vim_jax.attacks.protocol import Knowledge, Truth
from vim_jax.data import train_test_arrays
from vim_jax.mixer import VisualMixer

MODELS = 6
RNG = np.random.default_rng


pytestmark = pytest.mark.usefixtures("standard_promotion")


TINY = Config(
    models=4, pool=40, others=20, widths=(4, 4), epochs=2, batch_size=10, queries=2
)


def halves(models, n, seed=0):
    return RNG(seed).permuted(np.tile(np.arange(n) < n // 2, (models, 1)), axis=1)


def said(leak, n=300, z=100, seed=1):
    """Phi as networks might say it: images differ, and members gain `leak`."""
    rng = RNG(seed)
    members = halves(MODELS, n)
    phi = rng.normal(0, 2, n) + rng.normal(0, 1, (MODELS, n)) + leak * members
    return phi, members, rng.normal(0, 2, z) + rng.normal(0, 1, (MODELS, z))


# --- Formulas, against slow ones ------------------------------------------------------
def gaussian(x, mean, variance):
    return -((x - mean) ** 2) / (2 * variance) - math.log(2 * math.pi * variance) / 2


def test_lira_is_the_ratio_of_gaussians_over_references():
    phi, members, _ = said(1.0, n=30)
    found = lira(phi, members)
    for target in range(MODELS):
        refs = [m for m in range(MODELS) if m != target]
        densities = []
        for learnt in (True, False):
            groups = [
                [phi[m, i] for m in refs if members[m, i] == learnt] for i in range(30)
            ]
            means = [sum(g) / len(g) if g else None for g in groups]
            overall = [m for m in means if m is not None]
            centre = sum(overall) / len(overall)
            squares = sum(
                (x - mean) ** 2
                for g, mean in zip(groups, means, strict=True)
                for x in g
            )
            variance = squares / sum(len(g) - 1 for g in groups if g)
            densities.append(
                [
                    gaussian(phi[target, i], centre if mean is None else mean, variance)
                    for i, mean in enumerate(means)
                ]
            )
        expected = np.subtract(*densities)
        np.testing.assert_allclose(found[target], expected, rtol=1e-9)


@pytest.mark.parametrize("slope", [None, 0.3])
@pytest.mark.parametrize("gamma", [1.0, 1.7])
def test_rmia_is_the_share_of_the_population_that_an_image_beats(slope, gamma):
    phi, members, other = said(1.0, n=80, z=30)
    # Both kinds of references for each target.
    count = members.sum(0)
    chosen = np.flatnonzero((count > 1) & (count < MODELS - 1))
    phi, members = phi[:, chosen], members[:, chosen]
    found = rmia(phi, members, other, gamma=gamma, offline_slope=slope)

    def p(x):
        return 1 / (1 + math.exp(-x))

    def usual(q):
        return q if slope is None else ((1 + slope) * q + 1 - slope) / 2

    for target in range(MODELS):
        refs = [m for m in range(MODELS) if m != target]
        for i in range(len(chosen)):
            inside = [p(phi[m, i]) for m in refs if members[m, i]]
            outside = [p(phi[m, i]) for m in refs if not members[m, i]]
            mean = sum(outside) / len(outside)
            if slope is None:
                mean = (sum(inside) / len(inside) + mean) / 2
            ratio = p(phi[target, i]) / usual(mean)
            beaten = 0
            for z in range(30):
                mean_z = sum(p(other[m, z]) for m in refs) / len(refs)
                beaten += ratio / (p(other[target, z]) / usual(mean_z)) >= gamma
            assert beaten / 30 <= found[target, i] < (beaten + 1) / 30


def test_rmia_tells_images_apart_that_beat_everything():
    phi = np.array([[8.0, 9.0], [-2.0, -3.0], [-2.0, -3.0]])
    members = np.array([[True, True], [True, False], [False, True]])
    first = rmia(phi, members, np.zeros((3, 5)))[0]
    assert 1 <= first[0] < first[1]


def test_area_is_the_share_of_pairs_in_order():
    phi, members, _ = said(0.5, n=40)
    phi = phi.round()  # Ties.
    shares = []
    for values, inside in zip(phi, members, strict=True):
        pairs = [
            (a > b) + (a == b) / 2 for a in values[inside] for b in values[~inside]
        ]
        shares.append(sum(pairs) / len(pairs))
    found = area(phi, members)
    assert found.value == pytest.approx(np.mean(shares), abs=1e-12)
    assert found.low < found.value < found.high


def test_the_share_found_counts_members_above_the_highest_others():
    phi, members, _ = said(1.0, n=2000)
    found = found_at(phi, members, 0.01)
    threshold = np.sort(phi[~members])[-1 - 60]  # Of 6,000.
    above = int((phi[members] > threshold).sum())
    assert found.value == above / 6000
    pinned = rate(above, 6000)
    # Wider, for the threshold is an estimate, too.
    assert found.low < pinned.low < pinned.high < found.high


def test_too_few_others_give_no_lower_end():
    phi, members, _ = said(1.0, n=1000)
    assert np.isfinite(found_at(phi, members, 0.01).low)
    assert found_at(phi, members, 0.001).low == -np.inf


# --- Whom they find -------------------------------------------------------------------
ATTACKS = {
    "threshold": lambda phi, members, other: phi,
    "LiRA": lambda phi, members, other: lira(phi, members),
    "RMIA": rmia,
    "RMIA offline": lambda *said: rmia(*said, offline_slope=0.3),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_members_that_stand_out_are_found(name):
    phi, members, other = said(1.5)
    assert area(ATTACKS[name](phi, members, other), members).low > 0.55


def test_reference_networks_help():
    phi, members, other = said(1.5)
    found = {name: area(f(phi, members, other), members) for name, f in ATTACKS.items()}
    assert found["LiRA"].low > found["threshold"].high
    assert found["RMIA"].low > found["threshold"].high


@pytest.mark.parametrize("name", ATTACKS)
def test_members_drawn_anew_are_not_found(name):
    """Nothing but the labels of membership changes: a leak here is one of the code."""
    phi, _, other = said(1.5, n=2000)
    members = halves(MODELS, 2000, seed=10)
    values = ATTACKS[name](phi, members, other)
    assert area(values, members).low < 0.5 < area(values, members).high
    for share in (0.01, 0.001):
        found = found_at(values, members, share)
        assert found.low <= share <= found.high


@pytest.mark.slow
def test_chance_is_seldom_called_a_leak():
    alarms = []
    for seed in range(15):
        phi, _, other = said(1.5, n=1000, seed=seed)
        members = halves(MODELS, 1000, seed=seed + 1000)
        for attack in ATTACKS.values():
            values = attack(phi, members, other)
            alarms.append(area(values, members).low > 0.5)
            alarms.append(found_at(values, members, 0.01).low > 0.01)
    assert np.mean(alarms) < 0.04


# --- Networks -------------------------------------------------------------------------
def trained(images, labels, members, **more):
    options = {"widths": (8,), "epochs": 3, "batch_size": 16, "learning_rate": 1e-2}
    same = np.zeros(members.shape, np.int32)
    return train(
        lambda epoch: (images[None], same),
        labels,
        members,
        shape=images.shape[1:],
        classes=int(labels.max()) + 1,
        seed=0,
        after=lambda params: None,
        **(options | more),
    )


def digits(n):
    data = train_test_arrays("embedded:digits")
    images = data.train.images[:n]
    return images.reshape(*images.shape[:3], -1), data.train.labels[:n].astype(np.int32)


def test_networks_see_only_their_members():
    images, labels = digits(64)
    members = halves(3, 64)
    changed = images.copy()
    changed[~members[1]] = 0
    first, second = (ask(trained(x, labels, members), images, labels)[0]
                     for x in (images, changed))  # fmt: skip
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != second[0]).any()


def test_each_network_sees_its_own_form():
    images, labels = digits(64)
    members = halves(3, 64)
    forms = np.stack([images, images[::-1]])
    own = np.zeros((3, 64), np.int32)
    own[2] = 1
    params = trained(images, labels, members)
    both = train(
        lambda epoch: (forms, own), labels, members, shape=images.shape[1:],
        classes=int(labels.max()) + 1, widths=(8,), epochs=3, batch_size=16,
        learning_rate=1e-2, seed=0, after=lambda params: None,
    )  # fmt: skip
    first, second = (ask(x, images, labels)[0] for x in (params, both))
    np.testing.assert_array_equal(first[:2], second[:2])
    assert (first[2] != second[2]).any()


@pytest.mark.parametrize("shape", [(7, 6, 3), (1, 3, 2)])
def test_phi_is_what_the_convolutions_say(shape):
    """Convolutions by loops, on images whose sides are odd, too."""
    rng = RNG(0)
    images = rng.integers(0, 256, (20, *shape), np.uint8)
    labels = np.arange(20, dtype=np.int32) % 3
    params = trained(images, labels, halves(2, 20), widths=(4, 5))
    phi, right = ask(params, images, labels, batch_size=8)
    for m in range(2):
        *layers, (weights, bias) = [
            (np.asarray(w[m], float), np.asarray(b[m], float)) for w, b in params
        ]
        for i in range(20):
            x = images[i] / 64 - 2
            for kernel, offset in layers:
                h, w, channels = x.shape
                kernel = kernel.reshape(3, 3, channels, -1)
                out = np.tile(offset, ((h + 1) // 2, (w + 1) // 2, 1))
                for r, c in np.ndindex(out.shape[:2]):
                    for a, b in np.ndindex(3, 3):
                        y, z = 2 * r + a - 1, 2 * c + b - 1
                        if 0 <= y < h and 0 <= z < w:
                            out[r, c] += x[y, z] @ kernel[a, b]
                x = np.maximum(out, 0)
            logits = x.reshape(-1) @ weights + bias
            p = np.exp(logits) / np.exp(logits).sum()
            own = p[labels[i]]
            assert phi[m, i] == pytest.approx(np.log(own / (1 - own)), abs=1e-3)
            assert right[m, i] == (logits.argmax() == labels[i])


# --- The attack -----------------------------------------------------------------------
def outcome(config, images, labels, mixer=None, progress=None):
    knowledge = Knowledge(
        mixer=VisualMixer(region_size=4) if mixer is None else mixer,
        auxiliary=images,
        auxiliary_labels=labels,
    )
    return run([], knowledge, Truth(originals=[]), config, progress=progress)


def noise(n, side=8, seed=0):
    """Images and labels that have nothing in common: they can only be memorised."""
    rng = RNG(seed)
    images = rng.integers(0, 256, (n, side, side, 1), np.uint8)
    return images, rng.integers(0, 4, n)


def by_name(outcome):
    return {(score.name, score.metric.split()[0]): score for score in outcome.scores}


def test_overfitted_networks_leak_and_mixing_hides():
    config = Config(
        models=6, pool=300, others=100, widths=(32, 32), epochs=30, batch_size=50,
        learning_rate=5e-3, queries=4,
    )  # fmt: skip
    found = by_name(outcome(config, *noise(400), VisualMixer(region_size=8)))
    for name in ("threshold", "LiRA", "RMIA online"):
        score = found[f"membership, {name}", "AUC,"]
        assert score.control.passed
        assert score.control.score > 0.8
        # Fresh mixings of noise say nothing of the one that was learnt, but their
        # histogram.
        assert score.score < 0.6
        assert score.verdict != "leaks"
        plain = found[f"membership, {name}, plain", "AUC,"]
        assert plain.score == plain.control.score == score.control.score
        assert plain.low == plain.control.low
        assert plain.low < plain.score < plain.high
    best = max(x.score for (name, _), x in found.items() if name.endswith(", plain"))
    reached = {x.control.reach for (_, metric), x in found.items() if metric == "AUC,"}
    assert reached == {best}


def test_pixels_that_stay_in_place_leak_as_plain_images():
    """Regions of one pixel are no mixing, so the scores of both must be the same."""
    config = Config(
        models=4, pool=100, others=50, widths=(16,), epochs=20, batch_size=25,
        learning_rate=5e-3, queries=2,
    )  # fmt: skip
    found = by_name(outcome(config, *noise(150), VisualMixer(region_size=1)))
    score = found["membership, LiRA", "AUC,"]
    assert score.score == score.control.score
    assert score.verdict == "leaks"


def test_the_same_seed_gives_the_same_scores_and_progress_is_reported():
    images, labels = digits(60)
    steps = []
    first = outcome(TINY, images, labels, progress=lambda *step: steps.append(step))
    assert first == outcome(TINY, images, labels)
    assert steps == [(i + 1, 6) for i in range(6)]
    assert len(first.scores) == 27
    assert first.note is not None
    assert "4 networks" in first.note
    assert "80 non-members are too few" in first.note


@pytest.mark.slow
def test_a_level_and_offline_rmia_work_too():
    config = Config(
        models=3, pool=40, others=20, widths=(4,), epochs=1, queries=1, rmia="offline"
    )
    mixer = VisualMixer(level=0.9, scramble_regions=True, channels="mixed")
    found = by_name(outcome(config, *noise(60), mixer))
    assert ("membership, RMIA offline", "AUC,") in found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("models", 2),
        ("pool", 41),
        ("pool", 2),
        ("others", 1),
        ("widths", ()),
        ("learning_rate", 0.0),
        ("gamma", -1.0),
        ("shuffled_share", 1.5),
        ("offline_slope", -0.1),
        ("rmia", "both"),
    ],
)
def test_a_bad_setting_is_named(name, value, unchecked):
    with pytest.raises(ValueError, match=name):
        Config(**{name: value})


def test_what_is_missing_is_named():
    images, labels = noise(60)
    truth = Truth(originals=[])
    with pytest.raises(ValueError, match="lacks mixer"):
        run([], Knowledge(auxiliary=images, auxiliary_labels=labels), truth, TINY)
    with pytest.raises(ValueError, match="too few"):
        outcome(TINY, images[:20], labels[:20])
