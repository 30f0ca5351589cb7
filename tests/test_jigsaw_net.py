"""The jigsaw solver that learns what seams look like."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from vim_jax import VisualMixer
from vim_jax.attacks import jigsaw_net, puzzle
from vim_jax.attacks.jigsaw_net import SolvedPuzzle
from vim_jax.attacks.mixing import mixed_by
from vim_jax.attacks.protocol import Knowledge, Truth

TINY = jigsaw_net.Config(width=4, seams=64, epochs=1, images=2)


pytestmark = pytest.mark.usefixtures("standard_promotion")


def photograph(name, side):
    picture = Image.fromarray(np.asarray(getattr(skimage.data, name)()))
    small = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(small)


def windows(names, side, count):
    """Windows of photographs, half of them mirrored."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        image = photograph(names[i % len(names)], 2 * side)
        y, x = rng.integers(side, size=2)
        found.append(image[y : y + side, x : x + side][:, :: 1 - i % 2 * 2])
    return np.stack(found)


def solved(image, side):
    grid = puzzle.cut(image, side)
    pieces = grid.reshape(-1, *grid.shape[2:])
    return SolvedPuzzle(pieces, np.arange(len(pieces)).reshape(grid.shape[:2]))


@pytest.mark.slow
def test_an_ordinary_puzzle_of_another_photograph_is_solved():
    known = [
        solved(photograph(name, 252)[::down, ::right], 21)
        for name in ("astronaut", "coffee", "rocket")
        for down, right in ((1, 1), (1, -1), (-1, 1), (-1, -1))
    ]
    costs_of = jigsaw_net.learned(known, jigsaw_net.Config(width=16, seams=3000))
    pieces, board = solved(photograph("chelsea", 252), 21)
    order = np.random.default_rng(0).permutation(144)
    placed = puzzle.solve(pieces[order], 12, 12, costs_of=costs_of)
    assert puzzle.metrics(order[placed], board).neighbour > 0.9


@pytest.mark.slow
def test_scrambled_regions_of_shuffled_pixels_are_near_chance():
    names = ("astronaut", "chelsea", "coffee", "rocket")
    images = np.stack([photograph(name, 64) for name in names[:2]])
    mixer = VisualMixer(region_size=8, scramble_regions=True)
    published, plans = mixed_by(mixer, images, 0)
    auxiliary = windows(names[2:], 64, 60)
    outcome = jigsaw_net.run(
        published,
        Knowledge(plans=plans, mixer=mixer, auxiliary=auxiliary),
        Truth(originals=images),
        jigsaw_net.Config(seams=3000),
    )
    direct, neighbour, component = outcome.scores
    assert direct.control.score > 0.6
    assert max(direct.score, neighbour.score, component.score) < 0.15


@pytest.mark.parametrize("channels", ["independent", "joint"])
def test_pixels_of_regions_in_place_stay_in_their_regions(channels):
    images = windows(("coffee",), 8, 2)
    mixer = VisualMixer(region_size=4, channels=channels)
    published, plans = mixed_by(mixer, images, 0)
    knowledge = Knowledge(
        plans=plans, mixer=mixer, auxiliary=windows(("rocket",), 8, 4)
    )
    outcome = jigsaw_net.run(published, knowledge, Truth(originals=images), TINY)
    pixels, *_ = outcome.scores
    assert pixels.score == pytest.approx(pixels.chance, abs=0.15)
    assert outcome.reconstructions is not None
    for picture, image in zip(outcome.reconstructions, images, strict=True):
        for y, x in np.ndindex(2, 2):
            here = np.s_[4 * y : 4 * y + 4, 4 * x : 4 * x + 4]
            one, other = (np.sort(z[here].reshape(16, 3), 0) for z in (picture, image))
            np.testing.assert_array_equal(one, other)


def test_regions_of_an_adaptive_plan_are_learned_where_they_lie_side_by_side():
    images = windows(("coffee",), 32, 2)
    mixer = VisualMixer(level=0.5, clip=True, scramble_regions=True)
    published, plans = mixed_by(mixer, images, 0)
    knowledge = Knowledge(
        plans=plans, mixer=mixer, auxiliary=windows(("rocket",), 32, 4)
    )
    outcome = jigsaw_net.run(published, knowledge, Truth(originals=images), TINY)
    assert [score.name for score in outcome.scores] == ["jigsaw, learned seams"] * 3


def test_strips_are_of_true_neighbours_first():
    y, x = np.indices((4, 5))
    values = (10 * y + x).astype(np.uint8)[..., None, None, None]
    grid = np.broadcast_to(values, (4, 5, 2, 2, 1)).reshape(20, 2, 2, 1)
    known = SolvedPuzzle(grid, np.arange(20).reshape(4, 5))
    strips = jigsaw_net._training_strips([known], jigsaw_net.Config(seams=50))
    assert strips.shape == (50, 8, 2, 4, 1)
    left, right = (np.rint(strips[:, 0, 0, k, 0] * 255) for k in (0, 3))
    assert set(right - left) == {1, 10}


@pytest.mark.parametrize("lacking", ["mixer", "auxiliary"])
def test_what_is_missing_is_named(lacking):
    images = windows(("coffee",), 16, 1)
    known = {
        "plans": [np.full((16, 16), 4, np.int32)],
        "mixer": VisualMixer(region_size=4),
        "auxiliary": images,
    }
    with pytest.raises(ValueError, match="lacks mixer or auxiliary"):
        jigsaw_net.run(
            images, Knowledge(**{**known, lacking: None}), Truth(originals=images), TINY
        )


def test_images_of_one_region_teach_nothing():
    known = [SolvedPuzzle(np.zeros((1, 4, 4, 1), np.uint8), np.zeros((1, 1), int))]
    with pytest.raises(ValueError, match="side by side to learn from"):
        jigsaw_net.learned(known, TINY)
