"""VFE, its map and Geary's C against double loops, closed forms and photographs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
import skimage.data

import vim_jax

SHAPES = [
    (1, 1),
    (1, 1, 3),
    (1, 9),
    (5, 7),
    (8, 8, 3),
    (6, 11, 1),
]
DTYPES = ["uint8", "float32", "float16"]
PHOTOGRAPHS = ["astronaut", "chelsea", "coffee", "rocket", "camera"]


@functools.cache
def photograph(name: str) -> np.ndarray:
    return np.asarray(getattr(skimage.data, name)())


def noise(shape, dtype="uint8", seed=0) -> np.ndarray:
    image = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    if dtype == "uint8":
        return image
    return (image / 255).astype(dtype)


def checkerboard(height: int, width: int) -> np.ndarray:
    return (np.indices((height, width)).sum(0) % 2 * 255).astype(np.uint8)


# --- Against the slow version ---------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_vfe_matches_the_double_loop(shape, dtype):
    image = noise(shape, dtype)
    np.testing.assert_allclose(vim_jax.vfe(image), reference.vfe(image), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 7, 50])
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 5), (8, 8, 3), (6, 11, 1)])
def test_vfe_map_matches_the_double_loop(shape, size):
    image = noise(shape)
    expected = reference.vfe_map(image, size)
    measured = vim_jax.vfe_map(image, size)
    assert measured.shape == expected.shape
    np.testing.assert_allclose(measured, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES[2:])
def test_gearys_c_matches_the_double_loop(shape, dtype):
    image = noise(shape, dtype)
    np.testing.assert_allclose(
        vim_jax.gearys_c(image), reference.gearys_c(image), rtol=1e-5
    )


# --- Closed forms ---------------------------------------------------------------------


def test_vfe_of_a_gradient():
    # Rows of 0, 3, 6, ...: 9 for every horizontal pair, nothing for a vertical one.
    image = np.tile(np.arange(10, dtype=np.uint8) * 3, (4, 1))
    assert float(vim_jax.vfe(image)) == pytest.approx(9 * 9 / 10, rel=1e-6)


def test_vfe_of_a_checkerboard():
    pairs = 5 * 6 + 4 * 7
    expected = 255.0**2 * pairs / (5 * 7)
    measured = vim_jax.vfe(checkerboard(5, 7))
    assert float(measured) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (4, 5), (3, 3, 3)])
def test_vfe_of_a_constant_image_is_zero(shape):
    assert float(vim_jax.vfe(np.full(shape, 77, np.uint8))) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (4, 5), (3, 3, 3)])
def test_gearys_c_of_a_constant_image_is_nan(shape, dtype):
    image = np.full(shape, 0.3 if dtype != "uint8" else 77, dtype)
    assert np.isnan(vim_jax.gearys_c(image))


def test_gearys_c_sees_where_channels_differ_in_contrast():
    # One channel constant: C is that of the other.
    grey = noise((6, 6))
    image = np.stack([grey, np.full_like(grey, 9)], -1)
    np.testing.assert_allclose(
        vim_jax.gearys_c(image), vim_jax.gearys_c(grey), rtol=1e-6
    )


# --- Invariances ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric",
    [
        vim_jax.vfe,
        vim_jax.gearys_c,
        vim_jax.max_vfe,
        functools.partial(vim_jax.expected_vfe, plan_or_size=3),
        functools.partial(vim_jax.vfe_map, region_size=3),
    ],
    ids=["vfe", "gearys_c", "max_vfe", "expected_vfe", "vfe_map"],
)
@pytest.mark.parametrize("form", ["rgb", "one channel", "float32"])
def test_all_forms_of_an_image_score_the_same(metric, form):
    grey = noise((9, 10))
    image = grey
    if form.startswith("rgb"):
        image = np.stack([grey] * 3, -1)
    if form == "one channel":
        image = grey[..., None]
    if form.endswith("float32"):
        image = image.astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(metric(image), metric(grey), rtol=1e-6)


def test_vfe_does_not_change_under_transposition():
    image = noise((6, 9, 3))
    np.testing.assert_allclose(
        vim_jax.vfe(image), vim_jax.vfe(image.transpose(1, 0, 2)), rtol=1e-6
    )


@pytest.mark.parametrize(("contrast", "brightness"), [(0.5, 0.0), (0.3, 0.4)])
def test_gearys_c_ignores_brightness_and_contrast(contrast, brightness):
    image = noise((12, 13, 3), "float32")
    other = (image * contrast + brightness).astype(np.float32)
    np.testing.assert_allclose(
        vim_jax.gearys_c(other), vim_jax.gearys_c(image), rtol=1e-4
    )


def test_vfe_grows_with_the_square_of_contrast():
    image = noise((12, 13, 3), "float32")
    np.testing.assert_allclose(
        vim_jax.vfe(image / 2), vim_jax.vfe(image) / 4, rtol=1e-5
    )


@pytest.mark.parametrize("shape", [(1, 9), (12, 13, 3)])
def test_gearys_c_is_vfe_over_max_vfe(shape):
    image = noise(shape)
    np.testing.assert_allclose(
        vim_jax.gearys_c(image), vim_jax.vfe(image) / vim_jax.max_vfe(image), rtol=1e-5
    )


def test_gearys_c_of_shuffled_pixels_is_one_on_average():
    image = noise((16, 16))
    keys = jax.random.split(jax.random.key(0), 500)
    mixed = jax.vmap(lambda key: vim_jax.shuffle(key, image, "entire"))(keys)
    assert float(jax.vmap(vim_jax.gearys_c)(mixed).mean()) == pytest.approx(1, abs=0.01)


# --- Photographs ----------------------------------------------------------------------


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_vfe_map_sums_to_vfe_on_photographs(name):
    image = photograph(name)
    whole = float(vim_jax.vfe(image))
    for size in (1, 2, 7, 16, 100, 1000):
        parts = np.asarray(vim_jax.vfe_map(image, size), np.float64).sum()
        assert parts == pytest.approx(whole, rel=1e-6), size


@pytest.mark.parametrize("name", ["chelsea", "camera"])
def test_vfe_of_a_photograph_matches_the_double_loop(name):
    image = photograph(name)[50:170, 50:180]
    np.testing.assert_allclose(vim_jax.vfe(image), reference.vfe(image), rtol=1e-6)


def test_vfe_of_a_large_image_loses_no_precision():
    image = np.tile(photograph("astronaut"), (4, 4, 1))
    values = image.astype(np.int64)
    total = (np.diff(values, axis=0) ** 2).sum() + (np.diff(values, axis=1) ** 2).sum()
    assert float(vim_jax.vfe(image)) == pytest.approx(total / image.size, rel=1e-6)


# --- The rest of the interface --------------------------------------------------------


def test_scale_is_a_factor():
    scale = 0.5
    image = noise((7, 9, 3))
    for metric in (
        vim_jax.vfe,
        vim_jax.max_vfe,
        functools.partial(vim_jax.vfe_map, region_size=4),
        functools.partial(vim_jax.expected_vfe, plan_or_size=4),
    ):
        np.testing.assert_allclose(
            metric(image, scale=scale), metric(image) * np.float32(scale), rtol=1e-6
        )


@pytest.mark.parametrize("metric", [vim_jax.vfe, vim_jax.gearys_c, vim_jax.max_vfe])
def test_metrics_are_float32_scalars_eager_jitted_and_vmapped(metric):
    batch = noise((3, 6, 7, 3))
    eager = metric(batch[1])
    assert eager.shape == ()
    assert eager.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(metric)(batch[1]), eager, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(metric)(batch)[1], eager, rtol=1e-6)


def test_vfe_has_a_gradient():
    image = jnp.array([[0.0, 0.1], [0.4, 0.3]])
    gradient = jax.grad(vim_jax.vfe)(image)
    step = 1e-2
    bumped = image.at[0, 1].add(step)
    dipped = image.at[0, 1].add(-step)
    slope = (vim_jax.vfe(bumped) - vim_jax.vfe(dipped)) / (2 * step)
    np.testing.assert_allclose(gradient[0, 1], slope, rtol=1e-3)


@pytest.mark.parametrize("metric", [vim_jax.vfe, vim_jax.gearys_c, vim_jax.max_vfe])
@pytest.mark.parametrize(
    ("image", "named"),
    [
        (np.zeros((2, 4, 4, 3), np.uint8), "(2, 4, 4, 3)"),
        (np.zeros(4, np.uint8), "(4,)"),
        (np.zeros((0, 4), np.uint8), "(0, 4)"),
        (np.zeros((4, 4), np.uint16), "uint16"),
        (np.zeros((4, 4), np.int32), "int32"),
        (np.zeros((4, 4), bool), "bool"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_metrics_name_what_they_refuse(metric, image, named):
    with pytest.raises(ValueError, match="image") as error:
        metric(image)
    assert named in str(error.value)


@pytest.mark.parametrize("size", [0, -1])
@pytest.mark.usefixtures("unchecked")
def test_vfe_map_refuses_sizes_below_one(size):
    with pytest.raises(ValueError, match=rf"region_size={size}"):
        vim_jax.vfe_map(np.zeros((4, 4), np.uint8), size)


@pytest.mark.parametrize("size", [0, -3, 1.5, True, "whole"])
@pytest.mark.usefixtures("unchecked")
def test_expected_vfe_refuses_what_is_no_size(size):
    with pytest.raises(ValueError, match="region_size"):
        vim_jax.expected_vfe(np.zeros((4, 4), np.uint8), size)
