"""Networks that read regions whole, and need not know the order inside them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import from_patches, images, logits, quick, to_patches

import vim_jax
from vim_jax.models.region_encoder import encode_regions


def shuffled(x, size, *, across_channels=False):
    """Permutes the values of every region, each channel on its own or all together."""
    patches = to_patches(x, size)
    grid, channels = patches.shape[:3], () if across_channels else x.shape[-1:]
    values = patches.reshape(*grid, -1, *channels)
    values = np.random.default_rng(1).permuted(values, axis=3)
    return from_patches(values.reshape(patches.shape))


def by_hand(x, size, ordered):
    patches = to_patches(x, size)
    out = np.zeros((*patches.shape[:3], patches[0, 0, 0].size), x.dtype)
    for index in np.ndindex(*out.shape[:3]):
        pixels = patches[index].reshape(-1, x.shape[-1])
        if not ordered:
            pixels = np.stack([sorted(channel) for channel in pixels.T], axis=1)
        out[index] = pixels.reshape(-1)
    return out


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_regions_by_hand(size, ordered):
    x = images((2, 8, 12, 3))
    np.testing.assert_array_equal(from_patches(to_patches(x, size)), x)
    got = encode_regions(jnp.asarray(x), size, ordered=ordered)
    np.testing.assert_array_equal(got, by_hand(x, size, ordered))


SORTED = {
    "resnet8": dict(region_encoder="sorted", region_size=2),
    "resnet20_cifar": dict(region_encoder="sorted", region_size=2, blocks=1),
    "mobilenet_v2": dict(region_encoder="sorted", region_size=2, small_images=True),
    "swin_t": dict(patch_encoder="sorted"),
    "vit_tiny_patch4": dict(patch_encoder="sorted", patch_size=2),
}


@pytest.mark.parametrize("name", SORTED)
def test_sorted_encoders_ignore_order_within_each_channel_of_a_region(name):
    x = images((3, 8, 12, 3))
    model = quick(name, image_size=(8, 12), **SORTED[name])
    before, mixed = logits(model, x), shuffled(x, 2)
    assert np.abs(mixed - x).max() > 0.1
    np.testing.assert_array_equal(logits(model, mixed), before)
    across = shuffled(x, 2, across_channels=True)
    assert np.abs(logits(model, across) - before).max() > 1e-3
    coarser = shuffled(x, 4)
    assert np.abs(logits(model, coarser) - before).max() > 1e-3


@pytest.mark.parametrize("channels", ["independent", "joint"])
@pytest.mark.parametrize("patch_size", [2, 4])
def test_patches_of_regions_do_not_see_what_shuffle_does(channels, patch_size):
    x = images((1, 8, 12, 3))
    options = dict(patch_encoder="sorted", patch_size=patch_size)
    model = quick("vit_tiny_patch4", image_size=(8, 12), **options)
    plan = vim_jax.uniform_plan((8, 12), 2)
    mixed = vim_jax.shuffle(jax.random.key(0), x[0], plan, channels=channels)[None]
    assert np.abs(mixed - x).max() > 0.1
    np.testing.assert_array_equal(logits(model, mixed), logits(model, x))


def test_without_positions_scrambled_regions_change_nothing():
    x = images((1, 8, 12, 3))
    plan = vim_jax.uniform_plan((8, 12), 2)
    key = jax.random.key(0)
    mixed = vim_jax.shuffle(key, x[0], plan, scramble_regions=True)[None]
    options = dict(patch_encoder="sorted", patch_size=2, image_size=(8, 12))
    model = quick("vit_tiny_patch4", **options, position_embedding=False)
    np.testing.assert_allclose(logits(model, mixed), logits(model, x), atol=1e-5)
    model = quick("vit_tiny_patch4", **options)
    assert np.abs(logits(model, mixed) - logits(model, x)).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8", {}),
        ("resnet8", dict(region_encoder="linear", region_size=2)),
        ("vit_tiny_patch4", {"patch_size": 2}),
    ],
)
def test_other_encoders_see_the_order(name, options):
    x = images((3, 8, 12, 3))
    model = quick(name, image_size=(8, 12), **options)
    assert np.abs(logits(model, shuffled(x, 2)) - logits(model, x)).max() > 0.01


def test_the_stem_sees_a_region_at_a_time():
    model = quick("resnet8", image_size=(8, 16), region_encoder="sorted", region_size=2)
    assert model.config.features == (4, 8, 12)
    assert model.stem.conv.kernel.shape == (3, 3, 12, 16)
    assert model.stem.conv.strides == 1
