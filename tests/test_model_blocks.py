"""Each block of the models against a slow reference, through PyTorch's names."""

import types
from typing import Any

import jax
import jax.numpy as jnp
import model_reference as reference
import numpy as np
import pytest
from flax import nnx
from model_cases import jit, random_weights

from vim_jax.models import load_torch, shufflenet_v2, swin, vgg, vit
from vim_jax.models.inverted_residual import InvertedResidual
from vim_jax.models.layers import depthwise_conv, max_pool_3x3
from vim_jax.models.resnet import Block as ResidualBlock
from vim_jax.models.resnet import ResNetConfig


def abstract(block, *args, **kwargs) -> Any:
    return nnx.eval_shape(lambda: block(*args, **kwargs, rngs=nnx.Rngs(0)))


def features(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def randomize(block, name, **kwargs):
    """Load random weights into a block; return them as PyTorch would have them."""
    tensors = block.torch_tensors(name, **kwargs)
    weights = random_weights(tensors)
    load_torch(types.SimpleNamespace(torch_tensors=lambda: tensors), weights)
    return weights


def run(block, x, **kwargs):
    graphdef, state = nnx.split(block)
    x = jnp.asarray(x, jnp.float32)
    out = jit(lambda s, x: nnx.merge(graphdef, s)(x, **kwargs))(state, x)
    return np.asarray(out)


def check(block, x, expected):
    """Compare on [n, c, h, w]."""
    got = run(block, x.transpose(0, 2, 3, 1), train=False).transpose(0, 3, 1, 2)
    assert expected.std() > 0.1
    np.testing.assert_allclose(got, expected, atol=2e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shortcut", ["pad", "project"])
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_residual_blocks(kind, shortcut, stride):
    config = ResNetConfig(
        num_classes=2, image_size=(8, 8), block=kind, shortcut=shortcut
    )
    block = abstract(ResidualBlock, 3, 4, stride, config)
    weights = randomize(block, "b")
    assert ("b.downsample.0.weight" in weights) == (shortcut == "project")
    sizes = (3, 3) if kind == "basic" else (1, 3, 1)
    strides = (stride, 1) if kind == "basic" else (1, stride, 1)
    x = features(2, 3, 5, 6)
    check(block, x, reference.residual_block(x, weights, "b", sizes, strides))


@pytest.mark.parametrize("stride", [1, 2])
def test_shuffle_units(stride):
    if stride == 1:
        block = abstract(shufflenet_v2.Block, 6, dtype="float32")
    else:
        block = abstract(shufflenet_v2.HalvingBlock, 4, 6, dtype="float32")
    x = features(2, 6 if stride == 1 else 4, 5, 6)
    weights = randomize(block, "b")
    check(block, x, reference.shuffle_unit(x, weights, "b", stride))


@pytest.mark.parametrize(
    ("expanded", "out_width", "stride"), [(8, 4, 1), (8, 6, 2), (4, 6, 1)]
)
def test_inverted_residual_of_version_2(expanded, out_width, stride):
    shape = 4, expanded, out_width, 3, stride
    block = abstract(InvertedResidual, *shape, jax.nn.relu6, dtype="float32")
    weights = randomize(block, "b", flat_last=True)
    x = 3 * features(2, 4, 5, 6)
    check(block, x, reference.inverted_residual_v2(x, weights, "b", stride))


@pytest.mark.parametrize(("size", "out_width", "stride"), [(3, 4, 1), (5, 6, 2)])
@pytest.mark.parametrize("activation", ["relu", "hard_swish"])
def test_inverted_residual_with_squeeze_excitation(activation, size, out_width, stride):
    block = abstract(
        InvertedResidual, 4, 8, out_width, size, stride, getattr(jax.nn, activation),
        squeeze=3, epsilon=1e-3, dtype="float32",
    )  # fmt: skip
    weights = randomize(block, "b", flat_last=False)
    x = 3 * features(2, 4, 5, 6)
    expected = reference.inverted_residual_v3(
        x, weights, "b", stride, getattr(reference, activation), 1e-3
    )
    check(block, x, expected)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (5, 2)])
def test_depthwise_convolution_and_its_gradients(size, stride):
    x = jnp.asarray(features(2, 6, 7, 3), jnp.float32)
    kernel = jnp.asarray(features(size, size, 1, 3, seed=1), jnp.float32)
    arguments: Any = (stride, stride), [(size // 2, size // 2)] * 2

    def by_xla(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, *arguments, dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=3,
        )  # fmt: skip

    def by_shifts(x, kernel):
        return depthwise_conv(x, kernel, *arguments)

    @jit
    def differences(x, kernel):
        expected, pull = jax.vjp(by_xla, x, kernel)
        got, pull_here = jax.vjp(by_shifts, x, kernel)
        both = (got, *pull_here(expected)), (expected, *pull(expected))
        return jax.tree.map(lambda one, two: jnp.abs(one - two).max(), *both)

    assert max(differences(x, kernel)) < 1e-3
    halves = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    assert jax.eval_shape(by_shifts, *halves).dtype == jnp.bfloat16


def test_vit_block():
    config = vit.ViTConfig(num_classes=2, image_size=(4, 4), dim=12, heads=3)
    block = abstract(vit.Block, config)
    weights = randomize(block, "b")
    x = features(2, 5, 12)
    expected = reference.vit_block(x, weights, "b", 3)
    np.testing.assert_allclose(run(block, x), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("grid", "shift"),
    [((6, 6), 0), ((6, 6), 1), ((6, 9), 1), ((5, 7), 1), ((3, 6), 1), ((2, 3), 1)],
)
def test_windows_shift_and_never_look_across_the_edge(grid, shift):
    config = swin.SwinConfig(num_classes=2, image_size=(4, 4), window=3)
    block = abstract(swin.Block, 4, 2, shift, config)
    weights = randomize(block, "b")
    x = features(2, *grid, 4)
    expected = reference.swin_block(x, weights, "b", 2, 3, shift)
    np.testing.assert_allclose(run(block, x), expected, atol=2e-5)


@pytest.mark.parametrize("grid", [(4, 6), (3, 5)])
def test_merging_of_tokens(grid):
    merge = abstract(swin.Merge, 3, dtype="float32")
    weights = randomize(merge, "m")
    x = features(2, *grid, 3)
    expected = reference.merge_patches(x, weights, "m")
    np.testing.assert_allclose(run(merge, x), expected, atol=2e-5)


@pytest.mark.parametrize("shape", [(7, 7), (3, 14), (9, 10), (1, 8)])
def test_adaptive_mean(shape):
    x = features(2, 3, *shape)
    mean = jit(vgg.adaptive_mean, static_argnums=1)
    got = mean(jnp.asarray(x.transpose(0, 2, 3, 1), jnp.float32), 7)
    expected = reference.adaptive_mean(x, 7).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (5, 6)])
def test_max_pooling(shape):
    x = features(2, 3, *shape)
    got = max_pool_3x3(jnp.asarray(x.transpose(0, 2, 3, 1), jnp.float32))
    expected = reference.max_pool(x, 3, 2, 1).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(got, expected, atol=1e-6)
