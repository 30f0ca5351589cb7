import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from model_cases import (
    CASES,
    WITH_BATCH_NORM,
    from_patches,
    images,
    jit,
    logits,
    make,
    quick,
    to_patches,
)


@pytest.mark.parametrize("name", CASES)
def test_shapes_dtypes_and_explicit_randomness(name):
    kwargs = dict(image_size=(8, 12), channels=1, num_classes=4)
    x = jnp.asarray(images((2, 8, 12, 1)))

    @jit
    def classify(key, x):
        return make(name, rngs=nnx.Rngs(key), **kwargs)(x)

    key = jax.random.key(0)
    got = classify(key, x)
    assert got.shape == (2, 4)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, classify(key, x))
    assert np.abs(got - classify(jax.random.key(1), x)).max() > 0.01
    half = jax.eval_shape(classify, key, x.astype(jnp.bfloat16))
    assert (half.shape, half.dtype) == ((2, 4), np.float32)


@pytest.mark.parametrize("name", CASES)
def test_computing_in_bfloat16_changes_little(name):
    x = images()
    exact = logits(quick(name), x)
    rough = logits(quick(name, dtype="bfloat16"), x)
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("name", CASES)
def test_products_but_the_last_are_computed_in_bfloat16(name):
    model = nnx.eval_shape(lambda: make(name, dtype="bfloat16"))
    graphdef, state = nnx.split(model)
    program = str(
        jax.make_jaxpr(lambda state, x: nnx.merge(graphdef, state)(x))(state, images())
    )
    products = r":(\w+)\[([\d,]*)\] = (?:dot_general|conv_general_dilated)"
    found = re.findall(products, program)
    assert len(found) >= 3
    wide = [shape for dtype, shape in found if dtype != "bf16"]
    # Attention adds its scores up in float32; they have an axis for the heads.
    assert [shape for shape in wide if shape.count(",") < 3] == ["2,10"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_no_random_state_in_the_model_and_all_of_it_float32(name, dtype):
    model = nnx.eval_shape(lambda: make(name, dtype=dtype))
    _, params, rest = nnx.split(model, nnx.Param, ...)
    for leaf in jax.tree.leaves((params, rest)):
        assert leaf.dtype == jnp.float32


def test_bottlenecks_shrink_in_the_middle_convolution():
    options: Any = dict(image_size=64, blocks=(3, 4, 6, 3), widths=(8, 16, 32, 64))
    model: Any = nnx.eval_shape(lambda: make("resnet50", **options))
    blocks = [block for stage in model.stages for block in stage]
    assert len(blocks) == 16
    halving = [i for i, block in enumerate(blocks) if block.convs[1].conv.strides > 1]
    assert halving == [3, 7, 13]
    projected = [i for i, block in enumerate(blocks) if block.project is not None]
    assert projected == [0, *halving]
    for block in blocks:
        assert block.convs[0].conv.strides == block.convs[2].conv.strides == 1
        assert block.convs[1].norm.momentum == 0.9


def test_class_token_sees_every_patch_and_its_place():
    x = images((1, 8, 12, 3))
    patches = to_patches(x, 4)
    model = quick("vit_b16", image_size=(8, 12))
    before = logits(model, x)
    for row, column in np.ndindex(2, 3):
        changed = patches.copy()
        changed[:, row, column] = 1 - changed[:, row, column]
        assert np.abs(logits(model, from_patches(changed)) - before).max() > 1e-3
    moved = from_patches(patches[:, ::-1])
    assert np.abs(logits(model, moved) - before).max() > 1e-3


def test_without_position_embedding_the_order_of_patches_does_not_matter():
    x = images((3, 8, 12, 3))
    patches = to_patches(x, 2)
    flat = patches.reshape(3, 24, 2, 2, 3)
    order = np.random.default_rng(2).permutation(24)
    moved = from_patches(flat[:, order].reshape(patches.shape))
    kwargs: Any = dict(image_size=(8, 12), patch_size=2)
    bare = quick("vit_tiny_patch4", position_embedding=False, **kwargs)
    np.testing.assert_allclose(logits(bare, moved), logits(bare, x), atol=1e-5)
    placed = quick("vit_tiny_patch4", **kwargs)
    assert np.abs(logits(placed, moved) - logits(placed, x)).max() > 1e-3


def gradient_of(name, **options):
    """Return the parameters, and what gives the gradient of a loss by them."""
    graphdef, params, rest = nnx.split(quick(name, **options), nnx.Param, ...)
    rest = nnx.to_pure_dict(rest)
    x = jnp.asarray(images((8, 8, 8, 3)))

    def loss(params):
        out = nnx.merge(graphdef, params, rest)(x, train=True)
        # Not the plain sum: biases before a normalisation would cancel in it.
        return -jax.nn.log_softmax(out)[jnp.arange(8), jnp.arange(8)].sum()

    return nnx.to_pure_dict(params), jax.grad(loss)


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_gets_a_gradient(name):
    params, gradient = gradient_of(name)
    for path, leaf in jax.tree_util.tree_leaves_with_path(jit(gradient)(params)):
        assert np.isfinite(leaf).all(), path
        assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_bfloat16_computations_are_float32(name):
    params, gradient = gradient_of(name, dtype="bfloat16")
    for leaf in jax.tree.leaves(jax.eval_shape(gradient, params)):
        assert leaf.dtype == jnp.float32


@pytest.mark.parametrize("name", WITH_BATCH_NORM)
def test_batch_statistics_change_in_training_only(name):
    model = quick(name)
    graphdef, params, start = nnx.split(model, nnx.Param, ...)
    start = nnx.to_pure_dict(start)

    @jit
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
    model, x = quick(name), jnp.asarray(images())
    eager: Any = model
    np.testing.assert_allclose(eager(x), logits(model, x), atol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_images_of_another_size_are_refused(name):
    with pytest.raises(ValueError, match=r"\(8, 12, 1\).*image_size=\(8, 12\)"):
        logits(quick(name), images((1, 8, 12, 1)))


def test_a_single_image_is_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"shape \(8, 8, 3\): .* as image\[None\]"):
        make("resnet8")(jnp.zeros((8, 8, 3)))


def test_integers_are_refused(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=r"images are uint8: .* floats in \[0, 1\]"):
        make("resnet8")(jnp.zeros((1, 8, 8, 3), jnp.uint8))


def test_every_kind_of_model_and_training_work_in_tree_mode():
    script = (
        "import flax; from flax import nnx\n"
        "from model_cases import CASES, images, quick\n"
        "assert not flax.config.nnx_graph_mode\n"
        "for name in CASES:\n"
        "    model = quick(name)\n"
        "    model = nnx.merge(*nnx.split(model))\n"
        "    out = nnx.eval_shape(lambda m, x: m(x, train=True), model, images())\n"
        "    assert out.shape == (2, 10), name\n"
        "model = quick('vgg11_bn_cifar')\n"
        "before = model.stages[0][0].norm.mean[...]\n"
        "nnx.jit(lambda model, x: model(x, train=True))(model, images())\n"
        "assert abs(before - model.stages[0][0].norm.mean[...]).max() > 1e-3\n"
        "import numpy as np\n"
        "from vim_jax.training import TrainConfig, predict, train\n"
        "pair = np.zeros((8, 8, 8, 1), np.uint8), np.arange(8)\n"
        "config = TrainConfig(\n"
        "    model_options={'widths': (4,)}, epochs=1, batch_size=4, ema=0.9\n"
        ")\n"
        "history = train(config, pair, {'plain': pair}, progress=False)\n"
        "assert predict(history.model, pair[0]).shape == (8, 8)\n"
    )
    here = pathlib.Path(__file__).parent
    path = os.pathsep.join([str(here.parent), str(here)])
    environment = os.environ | {"NNX_GRAPH_MODE": "false", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
