"""The jigsaw attack where it must work, where it cannot, and what it says of both."""

import itertools

import numpy as np
import pytest
from plan_cases import adaptive_sizes
from puzzle_cases import photograph

from vim_jax import VisualMixer
from vim_jax.attacks import jigsaw, puzzle, sub_blocks
from vim_jax.attacks.mixing import mixed_by
from vim_jax.attacks.protocol import Knowledge, Truth

QUICK = jigsaw.Config(draws=16)


def mixed(image, size, channels="independent", *, scramble=False, seed=0):
    """Mixing as `vim_jax.shuffle` does it, by loops, so that nothing is compiled."""
    rng, picture = np.random.default_rng(seed), image.copy()
    size = np.broadcast_to(np.int32(size), image.shape[:2])
    here = {}
    for y, x in np.ndindex(size.shape):
        s = size[y, x]
        if y % s == x % s == 0:
            part = picture[y : y + s, x : x + s]
            values = part.reshape(-1, 1 if channels == "mixed" else part.shape[2])
            move = rng.permutation if channels == "joint" else rng.permuted
            part[:] = move(values, axis=0).reshape(part.shape)
            here.setdefault(part.shape, []).append(part)
    for parts in here.values() if scramble else ():
        order = rng.permutation(len(parts))
        for part, values in zip(parts, np.stack(parts)[order], strict=True):
            part[:] = values
    return picture, np.array(size)


def placed_share(image, original, region, block):
    """Share of sub-blocks that are where they were."""
    same = []
    for y in range(0, image.shape[0], block):
        for x in range(0, image.shape[1], block):
            here = np.s_[y : y + block, x : x + block]
            same += list((image[here] == original[here]).all((0, 1)))
    return np.mean(same)


@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee"])
def test_sub_blocks_are_put_back(name, grey):
    image = photograph(name, 112, grey=grey)
    moved = sub_blocks.mix_sub_blocks(np.random.default_rng(0), image, 8, 4)
    solved = sub_blocks.solve_sub_blocks(moved, 8, 4)
    assert placed_share(moved, image, 8, 4) < 0.35
    assert placed_share(solved, image, 8, 4) > 0.94


def test_sub_blocks_of_noise_are_placed_at_chance():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (112, 112, 3), np.uint8)
    solved = sub_blocks.solve_sub_blocks(
        sub_blocks.mix_sub_blocks(rng, image, 8, 4), 8, 4
    )
    # Of 2352 sub-blocks; channels have nothing in common.
    assert placed_share(solved, image, 8, 4) == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize(("region", "block"), [(8, 4), (8, 2), (4, 4)])
def test_mixing_sub_blocks_moves_blocks_in_their_region_and_channel(region, block):
    image = np.random.default_rng(1).integers(0, 256, (16, 24, 3), np.uint8)
    moved = sub_blocks.mix_sub_blocks(np.random.default_rng(0), image, region, block)

    def blocks(image, y, x, channel):
        part = puzzle.cut(image[y : y + region, x : x + region, [channel]], block)
        return [piece.tobytes() for row in part for piece in row]

    orders = []
    places = itertools.product(range(0, 16, region), range(0, 24, region), range(3))
    for place in places:
        before, after = blocks(image, *place), blocks(moved, *place)
        assert sorted(before) == sorted(after)
        orders.append(tuple(before.index(piece) for piece in after))
    assert (len(set(orders)) > len(orders) / 3) == (region > block)


def scrambled_by_hand(image, side, seed):
    """Regions trade places, and their pixels stay: a puzzle that can be solved."""
    grid = puzzle.cut(image, side)
    rng = np.random.default_rng(seed)
    moved = rng.permutation(grid.reshape(-1, *grid.shape[2:])).reshape(grid.shape)
    return moved.swapaxes(1, 2).reshape(image.shape)


def test_run_finds_regions_that_keep_their_seams():
    images = [photograph("astronaut", 128), photograph("chelsea", 128)]
    published = [scrambled_by_hand(image, 16, i) for i, image in enumerate(images)]
    knowledge = Knowledge(
        plans=[np.full((128, 128), 16, np.int32)] * 2,
        mixer=VisualMixer(region_size=16, scramble_regions=True),
    )
    outcome = jigsaw.run(published, knowledge, Truth(originals=images), QUICK)
    direct, neighbour, component = outcome.scores
    assert min(direct.score, neighbour.score, component.score) > 0.9
    assert direct.verdict == neighbour.verdict == "leaks"
    # A random place of 64; one of the 56 pairs of its direction among 64 * 63.
    assert direct.chance == pytest.approx(1 / 64, abs=0.006)
    assert neighbour.chance == pytest.approx(56 / (64 * 63), abs=0.006)
    pictures = outcome.reconstructions
    assert pictures is not None
    same = [np.mean(a == b) for a, b in zip(pictures, images, strict=True)]
    assert min(same) > 0.9


def test_scrambled_regions_of_shuffled_pixels_are_near_chance():
    names = ("astronaut", "chelsea", "coffee", "rocket")
    images = [photograph(name, 96) for name in names]
    mixer = VisualMixer(region_size=8, scramble_regions=True)
    published, plans = mixed_by(mixer, images, 0)
    knowledge = Knowledge(plans=plans, mixer=mixer)
    outcome = jigsaw.run(published, knowledge, Truth(originals=images), QUICK)
    direct, neighbour, component = outcome.scores
    assert all(score.control.passed for score in outcome.scores)
    assert direct.score < 0.05
    # Not quite chance: regions that look alike are often neighbours.
    assert neighbour.score < 0.1
    assert component.score < 0.1
    assert neighbour.verdict in ("at chance", "partial")
    assert outcome.reconstructions is not None
    for picture, image in zip(outcome.reconstructions, images, strict=True):
        np.testing.assert_array_equal(np.sort(picture, None), np.sort(image, None))


def test_regions_of_an_adaptive_plan_are_moved_among_their_like():
    image = photograph("chelsea", 64)
    mixer = VisualMixer(level=0.5, scramble_regions=True)
    published, plan = mixed(image, adaptive_sizes((64, 64)), scramble=True)
    knowledge = Knowledge(plans=[plan], mixer=mixer)
    outcome = jigsaw.run([published], knowledge, Truth(originals=[image]), QUICK)
    assert outcome.reconstructions is not None
    moved = (outcome.reconstructions[0] != published).any(-1)
    assert moved.any()
    assert len(np.unique(plan)) > 1
    assert len(np.unique(plan[moved])) == 1


@pytest.mark.parametrize("channels", ["joint", "mixed"])
def test_regions_are_known_again_however_channels_move(channels):
    image = photograph("coffee", 64)
    mixer = VisualMixer(region_size=8, channels=channels, scramble_regions=True)
    published, plan = mixed(image, 8, channels, scramble=True)
    knowledge = Knowledge(plans=[plan], mixer=mixer)
    outcome = jigsaw.run([published], knowledge, Truth(originals=[image]), QUICK)
    assert outcome.scores[0].score < 0.1


def test_equal_regions_stand_for_each_other():
    image = np.zeros((32, 32, 1), np.uint8)
    image[:, 16:] = 200
    mixer = VisualMixer(region_size=16, scramble_regions=True)
    published = [scrambled_by_hand(image, 16, seed) for seed in range(3)]
    knowledge = Knowledge(plans=[np.full((32, 32), 16, np.int32)] * 3, mixer=mixer)
    outcome = jigsaw.run(published, knowledge, Truth(originals=[image] * 3), QUICK)
    direct, neighbour, _ = outcome.scores
    # Two of four regions are equal: every other one is right by chance.
    assert direct.chance == pytest.approx(1 / 2, abs=0.12)
    # Left of right, in 2 of 3 pairs and 2 * 2 of 12; on top of its like in 1 of 3.
    assert neighbour.chance == pytest.approx(1 / 3, abs=0.12)


def slow_luck(image, original, channels):
    """How many of the pixels of 8 x 8 regions are in place if one is drawn for each."""
    lucky = []
    for y, x in np.ndindex(original.shape[:2]):
        here = np.s_[y // 8 * 8 : y // 8 * 8 + 8, x // 8 * 8 : x // 8 * 8 + 8]
        same = image[here] == original[y, x]
        lucky.append((same.all(-1) if channels == "joint" else same).mean())
    return np.mean(lucky)


@pytest.mark.parametrize("channels", ["independent", "joint", "mixed"])
def test_pixels_of_regions_in_place_are_near_chance(channels):
    images = [photograph(name, 32) for name in ("astronaut", "chelsea", "coffee")]
    mixer = VisualMixer(region_size=8, channels=channels)
    pairs = [mixed(image, 8, channels) for image in images]
    published, plans = zip(*pairs, strict=True)
    knowledge = Knowledge(plans=plans, mixer=mixer)
    every = jigsaw.Config(regions=16)
    outcome = jigsaw.run(published, knowledge, Truth(originals=images), every)
    pixels, neighbour, component = outcome.scores
    assert pixels.control.passed
    # The solver puts like pixels side by side, as neighbours are.
    assert neighbour.chance < neighbour.score < neighbour.chance + 0.2
    assert component.score < component.chance + 0.2
    luck = [slow_luck(*pair, channels) for pair in zip(published, images, strict=True)]
    assert pixels.chance == pytest.approx(np.mean(luck))
    assert pixels.score == pytest.approx(pixels.chance, abs=0.03)
    assert outcome.reconstructions is not None
    for picture, before in zip(outcome.reconstructions, published, strict=True):
        for y, x in itertools.product(range(0, 32, 8), repeat=2):
            here = np.s_[y : y + 8, x : x + 8]
            values = np.sort(picture[here].reshape(64, 3), 0)
            np.testing.assert_array_equal(
                values, np.sort(before[here].reshape(64, 3), 0)
            )


def test_pixels_that_differ_have_chance_one_in_n():
    image = np.random.default_rng(0).permutation(256).astype(np.uint8)
    image = np.repeat(image.reshape(16, 16, 1), 3, axis=2)
    for size, n in ((4, 16), (16, 256), (1, 1)):
        published, plan = mixed(image, size)
        knowledge = Knowledge(plans=[plan], mixer=VisualMixer(region_size=size))
        outcome = jigsaw.run([published], knowledge, Truth(originals=[image]), QUICK)
        assert outcome.scores[0].chance == pytest.approx(1 / n)
        assert len(outcome.scores) == (1 if n == 1 else 3)


def test_limits_leave_images_as_published():
    images = [photograph("chelsea", 32), photograph("coffee", 32)]
    for scramble in (False, True):
        mixer = VisualMixer(region_size=4, scramble_regions=scramble)
        pairs = [mixed(image, 4, scramble=scramble) for image in images]
        published, plans = zip(*pairs, strict=True)
        given = (
            published,
            Knowledge(plans=plans, mixer=mixer),
            Truth(originals=images),
        )
        few = jigsaw.run(*given, jigsaw.Config(images=1, draws=8))
        none = jigsaw.run(*given, jigsaw.Config(most_pieces=9, most_pixels=9, draws=8))
        assert few.reconstructions is not None
        assert none.reconstructions is not None
        assert (few.reconstructions[0] != published[0]).any()
        np.testing.assert_array_equal(few.reconstructions[1], published[1])
        np.testing.assert_array_equal(none.reconstructions, published)
        luck = pytest.approx(none.scores[0].chance, abs=0.06)
        assert none.scores[0].score == luck
        assert len(none.scores) == (3 if scramble else 1)


def test_bad_input_is_refused():
    pieces = np.zeros((5, 4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="5 of them for 6 places"):
        puzzle.solve(pieces, 2, 3)
    with pytest.raises(ValueError, match="side by side"):
        puzzle.metrics(np.zeros((1, 1), int), np.zeros((1, 1), int))
    image = np.zeros((16, 16, 3), np.uint8)
    for region, block in ((8, 3), (6, 3), (32, 16), (8, 0)):
        with pytest.raises(ValueError, match="must divide"):
            sub_blocks.mix_sub_blocks(np.random.default_rng(0), image, region, block)
        with pytest.raises(ValueError, match="must divide"):
            sub_blocks.solve_sub_blocks(image, region, block)
    with pytest.raises(ValueError, match="two by two"):
        sub_blocks.solve_sub_blocks(image, 8, 2)


def test_run_refuses_what_does_not_fit_together():
    image = photograph("chelsea", 32)
    mixer = VisualMixer(region_size=8, scramble_regions=True)
    plan = np.full((32, 32), 8, np.int32)
    knowledge, truth = Knowledge(plans=[plan], mixer=mixer), Truth(originals=[image])
    for lacking in (Knowledge(plans=[plan]), Knowledge(mixer=mixer)):
        with pytest.raises(ValueError, match="no plans or no mixer"):
            jigsaw.run([image], lacking, truth, QUICK)
    with pytest.raises(ValueError, match="2 images are published"):
        jigsaw.run([image, image], knowledge, truth, QUICK)
    with pytest.raises(ValueError, match="not what was published"):
        jigsaw.run([255 - image], knowledge, truth, QUICK)
    for part in (image, image[:20]):
        plan = np.full(part.shape[:2], 32, np.int32)
        entire = Knowledge(plans=[plan], mixer=mixer)
        with pytest.raises(ValueError, match="no image has two regions"):
            jigsaw.run([part], entire, Truth(originals=[part]), QUICK)
