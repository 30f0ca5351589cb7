"""Flips, crops and fresh mixing of training images."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from shuffle_cases import COLLECTIVES
from training_runs import CONFIG, ByBrightness

import vim_jax
from vim_jax.training.augment import (
    augment,
    image_keys,
    random_crop,
    random_flip,
    remix,
)
from vim_jax.training.parallel import make_layout

SIZE = 4
IMAGES = np.random.default_rng(0).integers(1, 256, (16, 8, 12, 3), np.uint8)
INDICES = np.arange(16, dtype=np.int32)
MIXER = vim_jax.VisualMixer(region_size=SIZE)


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def regions(images, size=SIZE):
    """Returns the sorted values of each region and channel."""
    n, h, w, c = images.shape
    cells = np.asarray(images).reshape(n, h // size, size, w // size, size, c)
    cells = cells.transpose(0, 1, 3, 5, 2, 4)
    return np.sort(cells.reshape(*cells.shape[:4], -1))


def augmented(step=0, images=IMAGES, indices=INDICES, **settings: Any):
    config = dataclasses.replace(CONFIG, **settings)
    return np.asarray(
        augment(config, jnp.int32(step), jnp.asarray(images), jnp.asarray(indices))
    )


def test_flips_half_of_the_images():
    flipped = np.asarray(
        jax.vmap(random_flip, (0, None))(keys(400), jnp.asarray(IMAGES[0]))
    )
    mirrored = (flipped == IMAGES[0][:, ::-1]).all((1, 2, 3))
    assert ((flipped == IMAGES[0]).all((1, 2, 3)) | mirrored).all()
    assert 160 < mirrored.sum() < 240


@pytest.mark.parametrize(("largest", "multiple"), [(2, 1), (4, 4), (6, 3)])
def test_crops_by_every_allowed_shift(largest, multiple):
    crop = jax.vmap(
        lambda key: random_crop(key, jnp.asarray(IMAGES[0]), largest, multiple=multiple)
    )
    shifted = np.asarray(crop(keys(600)))
    h, w, _ = IMAGES[0].shape
    padded = np.pad(IMAGES[0], ((largest,) * 2, (largest,) * 2, (0, 0)))
    shifts = range(0, 2 * largest + 1, multiple)
    counts = [
        (shifted == padded[y : y + h, x : x + w]).all((1, 2, 3)).sum()
        for y in shifts
        for x in shifts
    ]
    assert sum(counts) == 600
    assert min(counts) > 0.4 * 600 / len(counts)


def test_a_crop_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match="crop is 8 for images of 8 x 12 pixels: use"):
        random_crop(jax.random.key(0), jnp.asarray(IMAGES[0]), 8)


@pytest.mark.parametrize("flip", [False, True])
def test_multiples_of_the_region_size_keep_mixed_regions_whole(flip):
    out = augmented(flip=flip, crop=SIZE, crop_multiple=SIZE)
    before = {values.tobytes() for values in regions(IMAGES).reshape(-1, SIZE**2)}
    after = regions(out).reshape(-1, SIZE**2)
    assert all(values.tobytes() in before or not values.any() for values in after)
    torn = regions(augmented(crop=SIZE)).reshape(-1, SIZE**2)
    assert not all(values.tobytes() in before or not values.any() for values in torn)


def test_fresh_mixing_is_that_of_shuffle_and_differs_by_step_and_image():
    out = augmented(fresh=MIXER)
    np.testing.assert_array_equal(regions(out), regions(IMAGES))
    assert (out != IMAGES).mean() > 0.8
    assert (augmented(fresh=MIXER) == out).all()
    assert (augmented(1, fresh=MIXER) != out).mean() > 0.8
    assert (augmented(fresh=MIXER, seed=1) != out).mean() > 0.8
    same = np.broadcast_to(IMAGES[:1], IMAGES.shape)
    alike = augmented(images=same, fresh=MIXER)
    assert len({image.tobytes() for image in alike}) == 16
    few = remix(keys(2), jnp.asarray(IMAGES[:2]), MIXER)
    for key, image, mixed in zip(keys(2), IMAGES, few, strict=False):
        np.testing.assert_array_equal(mixed, vim_jax.shuffle(key, image, SIZE))


def test_what_happens_to_an_image_does_not_depend_on_its_batch():
    settings: dict[str, Any] = dict(flip=True, crop=2, fresh=MIXER)
    whole = augmented(3, **settings)
    order = np.random.default_rng(1).permutation(16)[:8]
    part = augmented(3, IMAGES[order], INDICES[order], **settings)
    np.testing.assert_array_equal(part, whole[order])


def test_devices_augment_their_own_images_and_as_one_would():
    config = dataclasses.replace(CONFIG, flip=True, crop=2, fresh=MIXER)
    split = make_layout(16).split
    images, indices = jax.device_put((IMAGES, INDICES), split)
    program = jax.jit(functools.partial(augment, config), out_shardings=split)
    compiled = program.lower(jnp.int32(3), images, indices).compile()
    assert not COLLECTIVES.findall(compiled.as_text() or "")
    out = compiled(jnp.int32(3), images, indices)
    expected = augmented(3, flip=True, crop=2, fresh=MIXER)
    np.testing.assert_array_equal(out, expected)


def test_flips_and_crops_come_before_mixing():
    settings: dict[str, Any] = dict(flip=True, crop=2)
    moved = augmented(5, **settings)
    assert (regions(moved) != regions(IMAGES)).any()
    mixed = augmented(5, fresh=MIXER, **settings)
    np.testing.assert_array_equal(regions(mixed), regions(moved))


def test_a_level_is_planned_for_each_image():
    mixer = ByBrightness(level=0.5)
    images = jnp.asarray(np.stack([IMAGES[0] // 4, 255 - IMAGES[0] // 4]))
    mixed = remix(keys(2), images, mixer)
    for size, key, image, out in zip((2, 4), keys(2), images, mixed, strict=True):
        np.testing.assert_array_equal(out, vim_jax.shuffle(key, image, size))


def test_remixing_gives_what_mixing_afresh_would_have_given():
    # In distribution: each value is as likely in each cell of its region.
    image = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    once = vim_jax.shuffle(jax.random.key(9), image, 2)
    mixer = vim_jax.VisualMixer(region_size=2)
    batch = jnp.broadcast_to(once, (1200, 2, 2, 1))
    again = np.asarray(remix(keys(1200), batch, mixer)).reshape(1200, 4)
    for cell in again.T:
        assert (np.bincount(cell, minlength=4) > 230).all()


def test_image_keys_are_folded_in_one_after_the_other():
    key = jax.random.key(1)
    expected = jax.random.fold_in(jax.random.fold_in(key, 7), 3)
    (found,) = image_keys(key, 7, jnp.array([3]))
    assert (jax.random.key_data(found) == jax.random.key_data(expected)).all()


def test_nothing_asked_for_changes_nothing():
    assert (augmented() == IMAGES).all()
