import math
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax.tree
import pytest
from flax import nnx

from vim_jax.models import create_model, list_models

# Options that make the large models fit tiny images.
TINY = {
    "resnet50": dict(blocks=(1, 2), widths=(8, 16)),
    "vit_b16": dict(patch_size=4, dim=24, depth=2, heads=3),
}


def make(name, **kwargs):
    defaults = dict(num_classes=10, image_size=8, channels=3, rngs=nnx.Rngs(0))
    return create_model(name, **{**defaults, **TINY.get(name, {}), **kwargs})


def images(shape=(2, 8, 8, 3), seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def logits(model, x):
    graphdef, state = nnx.split(model)
    return np.asarray(jax.jit(lambda s, x: nnx.merge(graphdef, s)(x))(state, x))


def to_patches(x, size):
    """[n, h, w, c] -> [n, rows, columns, size, size, c], by slicing."""
    n, h, w, c = x.shape
    out = np.zeros((n, h // size, w // size, size, size, c), x.dtype)
    for i in range(h // size):
        for j in range(w // size):
            rows, columns = slice(i * size, (i + 1) * size), slice(j * size, None)
            out[:, i, j] = x[:, rows, columns][:, :, :size]
    return out


def from_patches(patches):
    return np.concatenate(
        [
            np.concatenate(list(np.moveaxis(row, 1, 0)), 2)
            for row in patches.swapaxes(0, 1)
        ],
        axis=1,
    )


@pytest.mark.parametrize("name", list_models())
def test_shapes_dtypes_and_explicit_randomness(name):
    kwargs = dict(image_size=(8, 12), channels=1, num_classes=4)
    x = images((2, 8, 12, 1))
    got = logits(make(name, **kwargs), x)
    assert got.shape == (2, 4)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, logits(make(name, **kwargs), x))
    assert np.abs(got - logits(make(name, rngs=nnx.Rngs(1), **kwargs), x)).max() > 0.01
    half = logits(make(name, **kwargs), jnp.asarray(x, jnp.bfloat16))
    assert half.dtype == np.float32
    np.testing.assert_allclose(half, got, atol=0.1)


@pytest.mark.parametrize("name", ["resnet8", "resnet50", "vit_b16"])
def test_computing_in_bfloat16_changes_little(name):
    x = images()
    exact = logits(make(name), x)
    rough = logits(make(name, dtype="bfloat16"), x)
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.1


@pytest.mark.parametrize("name", ["resnet8", "resnet50", "vit_b16"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_random_state_in_the_model_and_all_of_it_float32(name, dtype):
    _, params, rest = nnx.split(make(name, dtype=dtype), nnx.Param, ...)
    for leaf in jax.tree.leaves((params, rest)):
        assert leaf.dtype == jnp.float32


def test_parameter_counts():
    def count(name, **kwargs):
        return optax.tree.size(nnx.state(make(name, **kwargs), nnx.Param))

    # 269,722 is the count usually given for this network and ten classes.
    assert count("resnet20_cifar", image_size=32) == 269_722
    assert count("resnet8", image_size=32) == 432 + 32 + 4672 + 13952 + 55552 + 650
    block = 4 * 96 + (96 + 1) * 3 * 96 + (96 + 1) * 96 + (96 + 1) * 384 + (384 + 1) * 96
    outside = (48 + 1) * 96 + 2 * 96 + (96 + 1) * 10
    assert count("vit_tiny_patch4", image_size=32) == 3 * block + outside + 64 * 96
    bare = count("vit_tiny_patch4", image_size=32, position_embedding=False)
    assert bare == 3 * block + outside


@pytest.mark.parametrize(
    ("name", "parameters"), [("resnet50", 25_557_032), ("vit_b16", 86_567_656)]
)
def test_published_parameter_counts(name, parameters):
    def create():
        return create_model(
            name, num_classes=1000, image_size=224, rngs=nnx.Rngs(0), dtype="bfloat16"
        )

    def logits_and_parameters():
        model: Any = create()
        x = jnp.zeros((2, 224, 224, 3))
        return model(x, train=True), nnx.to_pure_dict(nnx.state(model, nnx.Param))

    out, params = jax.eval_shape(logits_and_parameters)
    assert (out.shape, out.dtype) == ((2, 1000), jnp.float32)
    sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(params)]
    assert sum(sizes) == parameters


def test_bottlenecks_shrink_in_the_middle_convolution():
    model: Any = nnx.eval_shape(
        lambda: create_model("resnet50", num_classes=5, image_size=64, rngs=nnx.Rngs(0))
    )
    assert len(model.blocks) == 16
    halving = [i for i, block in enumerate(model.blocks) if block.conv.conv.strides > 1]
    assert halving == [3, 7, 13]
    projected = [i for i, block in enumerate(model.blocks) if block.project is not None]
    assert projected == [0, *halving]
    for block in model.blocks:
        assert block.reduce.conv.strides == block.expand.conv.strides == 1
        assert block.conv.norm.momentum == 0.9


def test_class_token_sees_every_patch_and_its_place():
    x = images((1, 8, 12, 3))
    patches = to_patches(x, 4)
    model = make("vit_b16", image_size=(8, 12), position_stddev=0.5)
    before = logits(model, x)
    for row, column in np.ndindex(2, 3):
        changed = patches.copy()
        changed[:, row, column] = 1 - changed[:, row, column]
        assert np.abs(logits(model, from_patches(changed)) - before).max() > 1e-3
    moved = from_patches(patches[:, ::-1])
    assert np.abs(logits(model, moved) - before).max() > 1e-3


def test_sorted_encoder_ignores_order_within_each_channel_of_a_patch():
    random = np.random.default_rng(1)
    x = images((3, 8, 12, 3))
    patches = to_patches(x, 4)
    np.testing.assert_array_equal(from_patches(patches), x)
    values = patches.reshape(3, 2, 3, 16, 3)
    shuffled = from_patches(random.permuted(values, axis=3).reshape(patches.shape))
    across = from_patches(
        random.permuted(values.reshape(3, 2, 3, 48), axis=3).reshape(patches.shape)
    )
    assert np.abs(shuffled - x).max() > 0.1
    ordered = make("vit_tiny_patch4", image_size=(8, 12), patch_encoder="sorted")
    linear = make("vit_tiny_patch4", image_size=(8, 12))
    np.testing.assert_array_equal(logits(ordered, shuffled), logits(ordered, x))
    assert np.abs(logits(linear, shuffled) - logits(linear, x)).max() > 0.01
    assert np.abs(logits(ordered, across) - logits(ordered, x)).max() > 0.01


def test_without_position_embedding_the_order_of_patches_does_not_matter():
    x = images((3, 8, 12, 3))
    patches = to_patches(x, 2)
    flat = patches.reshape(3, 24, 2, 2, 3)
    order = np.random.default_rng(2).permutation(24)
    moved = from_patches(flat[:, order].reshape(patches.shape))
    kwargs = dict(image_size=(8, 12), patch_size=2)
    bare = make("vit_tiny_patch4", position_embedding=False, **kwargs)
    np.testing.assert_allclose(logits(bare, moved), logits(bare, x), atol=1e-5)
    placed = make("vit_tiny_patch4", **kwargs)
    assert np.abs(logits(placed, moved) - logits(placed, x)).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8", {}),
        ("vit_tiny_patch4", {}),
        ("vit_tiny_patch4", {"patch_encoder": "sorted"}),
        ("resnet50", {}),
        ("resnet50", {"dtype": "bfloat16"}),
        ("vit_b16", {}),
        ("vit_b16", {"dtype": "bfloat16"}),
    ],
)
def test_every_parameter_gets_a_gradient(name, options):
    graphdef, params, rest = nnx.split(make(name, **options), nnx.Param, ...)
    params, rest = nnx.to_pure_dict(params), nnx.to_pure_dict(rest)
    x = jnp.asarray(images((8, 8, 8, 3)))

    @jax.jit
    @jax.grad
    def gradient(params):
        out = nnx.merge(graphdef, params, rest)(x, train=True)
        # Not the plain sum: biases before a normalisation would cancel in it.
        return -jax.nn.log_softmax(out)[jnp.arange(8), jnp.arange(8)].sum()

    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient(params)):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize("name", ["resnet8", "resnet50"])
def test_batch_statistics_change_in_training_only(name):
    model = make(name)
    graphdef, params, start = nnx.split(model, nnx.Param, ...)
    start = nnx.to_pure_dict(start)

    @jax.jit
    def run(rest, x):
        model = nnx.merge(graphdef, params, rest)
        evaluated = model(x)
        untouched = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
        trained = model(x, train=True)
        touched = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
        return evaluated, untouched, trained, touched

    evaluated, untouched, trained, touched = run(start, jnp.asarray(images()))
    assert np.abs(evaluated - trained).max() > 0.01
    for old, same, new in zip(
        *map(jax.tree.leaves, (start, untouched, touched)), strict=True
    ):
        np.testing.assert_array_equal(old, same)
        assert np.abs(np.asarray(new) - np.asarray(old)).max() > 1e-4


@pytest.mark.parametrize("name", ["resnet8", "vit_tiny_patch4"])
def test_eager_equals_compiled(name):
    model, x = make(name), jnp.asarray(images())
    eager: Any = model
    np.testing.assert_allclose(eager(x), logits(model, x), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet99", {}, r"no model 'resnet99': use one of resnet20_cifar, resnet50,"),
        ("resnet8", {"patch_size": 2}, r"resnet8 has no option 'patch_size'.*blocks"),
        (
            "vit_tiny_patch4",
            {"image_size": 30},
            r"image_size \(30, 30\) does not divide .* patch_size 4: pass a patch",
        ),
        ("vit_tiny_patch4", {"heads": 5}, r"dim 96 .* heads 5: use .* 100"),
        ("vit_tiny_patch4", {"depth": 0}, r"depth is 0: use at least 1"),
        (
            "vit_tiny_patch4",
            {"patch_encoder": "set"},
            r"patch_encoder is 'set': use \"linear\" or \"sorted\"",
        ),
        ("resnet8", {"image_size": 3}, r"image_size \(3, 3\) is too small"),
        ("resnet8", {"widths": (16, 8)}, r"widths is \(16, 8\): use"),
        ("resnet8", {"dtype": "float16"}, r"dtype is 'float16': use \"float32\" or"),
        ("resnet50", {"image_size": 7}, r"image_size \(7, 7\) .* at least 8 pixels"),
        ("resnet50", {"channels": 0}, r"channels is 0: use at least 1"),
        ("resnet50", {"blocks": (1, 0)}, r"blocks is \(1, 0\): use positive"),
        ("resnet50", {"blocks": (1,)}, r"blocks \(1,\) and widths \(8, 16\) differ"),
        ("resnet50", {"dtype": "float16"}, r"dtype is 'float16': use \"float32\" or"),
        ("vit_b16", {"pool": "max"}, r"pool is 'max': use \"mean\" or \"token\""),
        ("vit_b16", {"dtype": "float16"}, r"dtype is 'float16': use \"float32\" or"),
    ],
)
def test_messages_name_argument_value_and_remedy(name, options, message, monkeypatch):
    # Users have no type checker that would speak first.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        make(name, **options)


@pytest.mark.parametrize("name", list_models())
def test_images_of_another_size_are_refused(name):
    with pytest.raises(ValueError, match=r"\(8, 12, 1\).*image_size=\(8, 12\)"):
        logits(make(name), images((1, 8, 12, 1)))
