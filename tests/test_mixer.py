"""VisualMixer: its contract with keys, and exact restoration."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

import vim_jax

SECRET = bytes(range(100, 132))
MODES = ["joint", "independent", "mixed"]


def batch(count: int = 3, shape=(20, 22, 3)) -> np.ndarray:
    """Different parts of a photograph."""
    image = np.asarray(skimage.data.astronaut())
    parts = [
        image[60 * i : 60 * i + shape[0], 100 : 100 + shape[1]] for i in range(count)
    ]
    stacked = np.stack(parts)
    return stacked if len(shape) == 3 else stacked[..., 0]


def secret() -> vim_jax.SecretKey:
    return vim_jax.SecretKey(SECRET)


# --- Restoring ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["secret", "threefry", "old-style", "rbg"])
def test_images_come_back_bit_for_bit(kind):
    key = {
        "secret": secret,
        "threefry": lambda: jax.random.key(0),
        "old-style": lambda: jax.random.PRNGKey(0),
        "rbg": lambda: jax.random.key(0, impl="rbg"),
    }[kind]()
    mixer = vim_jax.VisualMixer(region_size=5, channels="mixed", scramble_regions=True)
    images = batch()
    mixed, plans = mixer(key, images)
    restored = mixer.restore(key, mixed, plans)
    assert mixed.shape == restored.shape == images.shape
    assert mixed.dtype == restored.dtype == images.dtype
    assert not np.array_equal(mixed, images)
    np.testing.assert_array_equal(restored, images)


SETTINGS: dict[str, Any] = {
    "level": {"level": 0.4},
    "target": {"target_vfe": 25.0},
    "capped": {
        "level": 0.9,
        "max_region": 3,
        "clip": True,
        "scramble_regions": True,
    },
}
PLANNING = {name: vim_jax.VisualMixer(**kind) for name, kind in SETTINGS.items()}


@pytest.mark.parametrize("mixer", PLANNING.values(), ids=PLANNING.keys())
def test_planned_images_come_back_bit_for_bit(mixer):
    images, ids = batch(), ["a", "b", "c"]
    mixed, plans = mixer(secret(), images, ids)
    np.testing.assert_array_equal(mixer.restore(secret(), mixed, plans, ids), images)


def test_float_images_come_back_bit_for_bit():
    images = batch().astype(np.float32) / 255
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(secret(), images)
    assert mixed.dtype == jnp.float32
    restored = mixer.restore(secret(), mixed, plans)
    assert np.asarray(restored).tobytes() == images.tobytes()


def test_grey_batches_come_back():
    images = batch(shape=(20, 22))
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(secret(), images)
    assert mixed.shape == images.shape
    np.testing.assert_array_equal(mixer.restore(secret(), mixed, plans), images)


def test_restoring_works_from_what_was_kept_on_the_host():
    images = batch()
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(secret(), images)
    kept = vim_jax.RegionPlan(
        jnp.asarray(np.asarray(plans.size)), nonce=jnp.asarray(np.asarray(plans.nonce))
    )
    np.testing.assert_array_equal(
        mixer.restore(secret(), np.asarray(mixed), kept), images
    )


def test_images_restore_in_another_order_than_they_were_mixed_in():
    images, ids = batch(), ["a", "b", "c"]
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(secret(), images, ids)
    order = np.array([2, 0])
    some = jax.tree.map(lambda leaf: leaf[order], plans)
    restored = mixer.restore(secret(), mixed[order], some, [ids[i] for i in order])
    np.testing.assert_array_equal(restored, images[order])


# --- The contract with keys -----------------------------------------------------------


@pytest.mark.parametrize(
    ("style", "channels"),
    [(jax.random.key, mode) for mode in MODES] + [(jax.random.PRNGKey, "mixed")],
)
def test_image_i_uses_the_prng_key_folded_with_i(style, channels):
    mixer = vim_jax.VisualMixer(region_size=5, channels=channels, scramble_regions=True)
    images, key = batch(), style(3)
    mixed, _ = mixer(key, images)
    for i, image in enumerate(images):
        alone = vim_jax.shuffle(
            jax.random.fold_in(key, i),
            image,
            5,
            channels=channels,
            scramble_regions=True,
        )
        np.testing.assert_array_equal(mixed[i], alone)


def test_rbg_keys_are_folded_as_outside_of_vmap():
    mixer = vim_jax.VisualMixer(region_size=5)
    images, key = batch(), jax.random.key(3, impl="rbg")
    mixed, _ = mixer(key, images)
    for i, image in enumerate(images):
        alone = vim_jax.shuffle(jax.random.fold_in(key, i), image, 5)
        np.testing.assert_array_equal(mixed[i], alone)


def test_image_i_uses_its_own_image_key():
    mixer = vim_jax.VisualMixer(region_size=5)
    images, ids = batch(), ["a", "b", "ö"]
    mixed, plans = mixer(secret(), images, ids)
    for i, image in enumerate(images):
        key = secret().for_image(ids[i], image)
        np.testing.assert_array_equal(mixed[i], vim_jax.shuffle(key, image, 5))
        np.testing.assert_array_equal(np.asarray(plans.nonce)[i], key.nonce)


def test_names_are_numbers_by_default():
    images = batch()
    mixer = vim_jax.VisualMixer(region_size=5)
    by_default, _ = mixer(secret(), images)
    by_name, _ = mixer(secret(), images, ["0", "1", "2"])
    np.testing.assert_array_equal(by_default, by_name)


def test_copies_of_one_image_get_different_permutations():
    images = np.stack([batch()[0]] * 8)
    mixer = vim_jax.VisualMixer(region_size=5)
    for key in (secret(), jax.random.key(0)):
        mixed, _ = mixer(key, images)
        assert len({np.asarray(image).tobytes() for image in mixed}) == 8


def test_images_do_not_depend_on_their_batch_under_a_secret_key():
    images, ids = batch(), ["a", "b", "c"]
    mixer = vim_jax.VisualMixer(region_size=5)
    together, _ = mixer(secret(), images, ids)
    alone, _ = mixer(secret(), images[1:2], ids[1:2])
    np.testing.assert_array_equal(alone[0], together[1])


@pytest.mark.parametrize("name", SETTINGS)
def test_plans_are_those_of_plan_regions(name):
    # Whether regions are scrambled or not.
    mixer, settings = PLANNING[name], SETTINGS[name]
    _, plans = mixer(secret(), batch())
    settings = {k: v for k, v in settings.items() if k != "scramble_regions"}
    for i, image in enumerate(batch()):
        plan: Any = vim_jax.plan_regions(image, **settings)
        np.testing.assert_array_equal(plans.size[i], plan.size)
        np.testing.assert_array_equal(
            np.asarray(plans.expected_vfe)[i], plan.expected_vfe
        )
        np.testing.assert_array_equal(mixer.plan(image).size, plan.size)


def test_plans_carry_nonces_under_secret_keys_only():
    mixer = vim_jax.VisualMixer(region_size=5)
    _, secretly = mixer(secret(), batch())
    _, openly = mixer(jax.random.key(0), batch())
    assert secretly.nonce is not None
    assert secretly.nonce.shape == (3, 8)
    assert openly.nonce is None


# --- Refusing to restore what is not there --------------------------------------------


def test_a_tampered_image_is_named():
    mixer = vim_jax.VisualMixer(region_size=5)
    ids = ["a.png", "b.png", "c.png"]
    mixed, plans = mixer(secret(), batch(), ids)
    tampered = np.array(mixed)
    tampered[1, 3, 4, 0] ^= 1
    with pytest.raises(ValueError, match=r"b\.png"):
        mixer.restore(secret(), tampered, plans, ids)


def test_swapped_images_are_noticed():
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(secret(), batch())
    with pytest.raises(ValueError, match="unharmed"):
        mixer.restore(secret(), mixed[::-1], plans)


def test_wrong_ids_are_noticed():
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(secret(), batch(), ["a", "b", "c"])
    with pytest.raises(ValueError, match="'x'"):
        mixer.restore(secret(), mixed, plans, ["a", "x", "c"])


def test_a_wrong_key_is_noticed():
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(secret(), batch())
    with pytest.raises(ValueError, match="unharmed"):
        mixer.restore(vim_jax.SecretKey.generate(), mixed, plans)


def test_a_wrong_plan_is_noticed():
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(secret(), batch())
    other = dataclasses.replace(plans, size=jnp.full_like(plans.size, 4))
    with pytest.raises(ValueError, match="unharmed"):
        mixer.restore(secret(), mixed, other)


def test_plans_without_nonces_are_refused_under_a_secret_key():
    mixer = vim_jax.VisualMixer(region_size=5)
    mixed, plans = mixer(jax.random.key(0), batch())
    with pytest.raises(ValueError, match="nonce"):
        mixer.restore(secret(), mixed, plans)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_ids_of_another_length_are_refused(count):
    mixer = vim_jax.VisualMixer(region_size=5)
    ids = [str(i) for i in range(count)]
    with pytest.raises(ValueError, match=rf"ids has {count}\b.*\b3 images"):
        mixer(secret(), batch(), ids)
    mixed, plans = mixer(secret(), batch())
    with pytest.raises(ValueError, match="ids"):
        mixer.restore(secret(), mixed, plans, ids)


# --- Targets out of reach -------------------------------------------------------------


def with_a_checkerboard() -> np.ndarray:
    images = batch()
    board = (np.indices(images.shape[1:3]).sum(0) % 2 * 255).astype(np.uint8)
    images[1] = board[..., None]
    return images


def test_the_image_that_is_out_of_reach_is_named():
    mixer = vim_jax.VisualMixer(level=0.4)
    ids = ["a.png", "board.png", "c.png"]
    with pytest.raises(vim_jax.TargetError, match=r"board\.png"):
        mixer(secret(), with_a_checkerboard(), ids)
    with pytest.raises(vim_jax.TargetError, match="1"):
        mixer(jax.random.key(0), with_a_checkerboard())


def test_clipped_images_are_marked_and_come_back():
    mixer, images = PLANNING["capped"], with_a_checkerboard()
    mixed, plans = mixer(secret(), images)
    assert not np.asarray(plans.reached)[1]
    np.testing.assert_array_equal(mixer.restore(secret(), mixed, plans), images)


def test_constant_images_come_out_unchanged():
    images = np.full((3, 20, 22, 3), 80, np.uint8)
    mixed, plans = vim_jax.VisualMixer(level=0.4)(secret(), images)
    np.testing.assert_array_equal(mixed, images)
    assert (np.asarray(plans.size) == 1).all()


# --- Wrong batches and keys -----------------------------------------------------------


@pytest.mark.parametrize(
    "images",
    [np.zeros((20, 22), np.uint8), np.zeros((2, 3, 4, 4, 3), np.uint8)],
    ids=["one image", "batch of batches"],
)
@pytest.mark.parametrize("kind", ["secret", "prng"])
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_batch_is_refused(images, kind):
    key = secret() if kind == "secret" else jax.random.key(0)
    with pytest.raises(ValueError, match=r"image|batch"):
        vim_jax.VisualMixer(region_size=5)(key, images)


@pytest.mark.usefixtures("unchecked")
def test_float64_batches_are_refused_rather_than_narrowed():
    images = batch().astype(np.float64) / 255
    for key in (secret(), jax.random.key(0)):
        with pytest.raises(ValueError, match="float64"):
            vim_jax.VisualMixer(region_size=5)(key, images)


@pytest.mark.parametrize("key", [7, None, "secret"])
@pytest.mark.usefixtures("unchecked")
def test_what_is_no_key_is_refused(key):
    with pytest.raises((TypeError, ValueError), match="key"):
        vim_jax.VisualMixer(region_size=5)(key, batch())


@pytest.mark.usefixtures("unchecked")
def test_a_batch_of_keys_is_refused():
    keys = jax.random.split(jax.random.key(0), 3)
    with pytest.raises((TypeError, ValueError), match="key"):
        vim_jax.VisualMixer(region_size=5)(keys, batch())


def test_an_empty_batch_comes_back_empty_or_is_refused():
    mixer = vim_jax.VisualMixer(region_size=5)
    try:
        mixed, _ = mixer(secret(), batch()[:0])
    except ValueError as error:
        assert "batch" in str(error)  # noqa: PT017
    else:
        assert mixed.shape == (0, 20, 22, 3)


# --- Inside jit -----------------------------------------------------------------------


def test_works_inside_jit_under_a_prng_key():
    images = batch()
    mixer = vim_jax.VisualMixer(region_size=5)
    eager, _ = mixer(jax.random.key(1), images)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def both(key, x):
        mixed, plans = mixer(key, x)
        return mixed, mixer.restore(key, mixed, plans)

    both(jax.random.key(0), images)
    mixed, restored = both(jax.random.key(1), images)
    np.testing.assert_array_equal(mixed, eager)
    np.testing.assert_array_equal(restored, images)


def test_inside_jit_nothing_raises_and_reached_tells():
    mixer = vim_jax.VisualMixer(level=0.4)
    _, plans = jax.jit(lambda key, x: mixer(key, x))(
        jax.random.key(0), with_a_checkerboard()
    )
    assert np.asarray(plans.reached).tolist() == [True, False, True]


def test_each_image_has_its_own_plan():
    _, plans = PLANNING["level"](secret(), batch())
    assert not np.array_equal(plans.size[0], plans.size[1])
