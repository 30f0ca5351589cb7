"""Weights from PyTorch: names, shapes, what is refused, and what is left alone."""

import copy
import sys
import types
from typing import Any

import jax
import jax.numpy as jnp
import model_reference as reference
import numpy as np
import pytest
from flax import nnx
from model_cases import CASES, images, logits, make, quick

from vim_jax.models import create_model, load_torch
from vim_jax.training import TrainConfig
from vim_jax.training.initial import initial_model

SHAPES = {
    # As torchvision 0.28 has them, for ten classes.
    "mobilenet_v2": {
        "features.0.0.weight": (32, 3, 3, 3),
        "features.1.conv.0.0.weight": (32, 1, 3, 3),
        "features.1.conv.2.running_var": (16,),
        "features.2.conv.1.0.weight": (96, 1, 3, 3),
        "features.17.conv.3.bias": (320,),
        "features.18.1.running_mean": (1280,),
        "classifier.1.weight": (10, 1280),
    },
    "mobilenet_v3_small": {
        "features.1.block.1.fc1.weight": (8, 16, 1, 1),
        "features.4.block.2.fc2.bias": (96,),
        "features.4.block.3.0.weight": (40, 96, 1, 1),
        "features.12.0.weight": (576, 96, 1, 1),
        "classifier.0.weight": (1024, 576),
        "classifier.3.bias": (10,),
    },
    "resnet50": {
        "conv1.weight": (64, 3, 7, 7),
        "bn1.running_mean": (64,),
        "layer1.0.downsample.0.weight": (256, 64, 1, 1),
        "layer4.2.conv3.weight": (2048, 512, 1, 1),
        "fc.weight": (10, 2048),
    },
    "shufflenet_v2_x1_0": {
        "conv1.0.weight": (24, 3, 3, 3),
        "stage2.0.branch1.2.weight": (58, 24, 1, 1),
        "stage4.3.branch2.6.weight": (232,),
        "conv5.0.weight": (1024, 464, 1, 1),
        "fc.bias": (10,),
    },
    "swin_t": {
        "features.0.0.weight": (96, 3, 4, 4),
        "features.0.2.bias": (96,),
        "features.1.1.attn.relative_position_bias_table": (169, 3),
        "features.2.reduction.weight": (192, 384),
        "features.5.5.mlp.3.weight": (384, 1536),
        "features.7.1.attn.qkv.bias": (2304,),
        "norm.weight": (768,),
        "head.weight": (10, 768),
    },
    "vgg16": {
        "features.28.weight": (512, 512, 3, 3),
        "classifier.0.weight": (4096, 25088),
        "classifier.6.bias": (10,),
    },
    "vgg16_bn": {
        "features.40.bias": (512,),
        "features.41.running_var": (512,),
        "classifier.3.weight": (4096, 4096),
    },
    "vit_b16": {
        "class_token": (1, 1, 768),
        "conv_proj.weight": (768, 3, 16, 16),
        "encoder.pos_embedding": (1, 197, 768),
        "encoder.layers.encoder_layer_11.self_attention.in_proj_weight": (2304, 768),
        "encoder.layers.encoder_layer_0.self_attention.out_proj.bias": (768,),
        "encoder.layers.encoder_layer_3.mlp.0.weight": (3072, 768),
        "encoder.ln.weight": (768,),
        "heads.head.weight": (10, 768),
    },
}


@pytest.mark.parametrize("name", SHAPES)
def test_names_and_shapes_are_those_of_torchvision(name):
    model: Any = nnx.eval_shape(
        lambda: create_model(name, num_classes=10, image_size=224, rngs=nnx.Rngs(0))
    )
    shapes = {tensor.name: tensor.shape for tensor in model.torch_tensors()}
    assert SHAPES[name].items() <= shapes.items()


def abstract(name, **kwargs) -> Any:
    return nnx.eval_shape(lambda: make(name, **kwargs))


def above_half(model, seed=0):
    random = np.random.default_rng(seed)
    return {
        tensor.name: random.uniform(0.5, 1, tensor.shape).astype(np.float32)
        for tensor in model.torch_tensors()
    }


def values(model):
    return copy.deepcopy(jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(model))))


@pytest.mark.parametrize("name", CASES)
def test_all_parameters_and_statistics_are_replaced(name):
    model = abstract(name)
    kinds = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(nnx.state(model))]
    load_torch(model, above_half(model))
    for path, leaf in jax.tree_util.tree_leaves_with_path(values(model)):
        assert leaf.min() >= 0.5, path
        assert leaf.max() <= 1, path
    leaves = jax.tree.leaves(nnx.state(model))
    assert [(leaf.shape, leaf.dtype) for leaf in leaves] == kinds


def test_vgg_against_a_slow_reference():
    """Whole: the order in which features become a vector is the catch."""
    model = abstract("vgg11", normalize="imagenet")
    random = np.random.default_rng(0)
    weights = {
        tensor.name: 0.3 * random.normal(size=tensor.shape)
        for tensor in model.torch_tensors()
    }
    load_torch(model, weights)
    x = images()
    mean, stddev = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    y = ((x - mean) / stddev).transpose(0, 3, 1, 2)
    for stage in ([0], [3, 5]):
        for index in stage:
            name = f"features.{index}"
            y = reference.conv(y, weights[f"{name}.weight"], weights[f"{name}.bias"])
            y = reference.relu(y)
        y = reference.max_pool(y, 2, 2, 0)
    y = reference.adaptive_mean(y, 7).reshape(2, -1)
    for index in (0, 3):
        y = reference.relu(reference.linear(y, weights, f"classifier.{index}"))
    y = reference.linear(y, weights, "classifier.6")
    np.testing.assert_allclose(logits(model, x), y, rtol=1e-4, atol=1e-4)


def test_patches_are_embedded_as_pytorch_convolves_them():
    model = abstract("vit_tiny_patch4")
    weights = above_half(model)
    load_torch(model, weights)
    x = images()
    expected = reference.conv(
        x.transpose(0, 3, 1, 2), weights["conv_proj.weight"],
        weights["conv_proj.bias"], stride=4, padding=0,
    )  # fmt: skip
    got = model.embed(
        jnp.asarray(x.reshape(2, 2, 4, 2, 4, 3).swapaxes(2, 3)).reshape(2, 4, 48)
    )
    np.testing.assert_allclose(
        got, expected.transpose(0, 2, 3, 1).reshape(2, 4, -1), rtol=1e-4
    )


def test_bookkeeping_is_ignored_and_old_names_are_known():
    model = abstract("vit_b16")
    weights = above_half(model)
    old = {
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): value
        for name, value in weights.items()
    }
    assert set(old) != set(weights)
    load_torch(model, old)
    model = abstract("resnet8")
    load_torch(model, above_half(model) | {"bn1.num_batches_tracked": np.int64(3)})
    model = abstract("swin_t")
    index = {"features.1.0.attn.relative_position_index": np.zeros(16, np.int64)}
    load_torch(model, above_half(model) | index)


def test_the_head_stays_for_other_classes():
    model = quick("resnet8", num_classes=3)
    other = above_half(abstract("resnet8", num_classes=7))
    head = np.asarray(model.head.kernel[...])
    with pytest.raises(ValueError, match=r"fc.weight is \(7, 64\), not \(3, 64\)"):
        load_torch(model, other)
    load_torch(model, other, head=False)
    np.testing.assert_array_equal(model.head.kernel[...], head)
    assert model.stem.conv.kernel[...].min() >= 0.5
    del other["fc.weight"], other["fc.bias"]
    load_torch(model, other, head=False)


def test_errors_name_every_tensor_and_nothing_changes():
    model = quick("resnet8")
    before = values(model)
    weights = above_half(model)
    del weights["layer2.0.bn1.running_var"], weights["fc.bias"]
    weights["layer9.weight"] = weights["extra"] = np.zeros(3)
    weights["conv1.weight"] = np.zeros((64, 3, 7, 7))
    with pytest.raises(ValueError, match="weights do not fit") as caught:
        load_torch(model, weights)
    for problem in (
        "layer2.0.bn1.running_var is missing",
        "fc.bias is missing",
        "layer9.weight is surplus",
        "extra is surplus",
        "conv1.weight is (64, 3, 7, 7), not (16, 3, 3, 3)",
        "head=False",
    ):
        assert problem in str(caught.value)
    assert jax.tree.all(
        jax.tree.map(lambda a, b: bool((a == b).all()), before, values(model))
    )


def test_position_embeddings_are_resized_to_the_patches_of_the_model():
    """Linear ones: cubic interpolation keeps what is linear, but for the edges."""
    model = abstract("vit_ti16", image_size=(128, 192))
    weights = above_half(model)
    for wide in (False, True):
        ramp = np.arange(0.5, 6) / 6
        across = np.broadcast_to(ramp if wide else ramp[:, None], (6, 6))
        token = np.full((1, 1), 7.0)
        tokens = np.concatenate([token, across.reshape(1, 36)], axis=1)
        weights["encoder.pos_embedding"] = np.repeat(tokens[..., None], 192, axis=2)
        load_torch(model, weights, resize_positions=True)
        position = np.asarray(model.position[...])
        assert position.shape == (1 + 8 * 12, 192)
        np.testing.assert_array_equal(position[0], 7)
        side = 12 if wide else 8
        finer = np.arange(0.5, side) / side
        expected = np.broadcast_to(finer if wide else finer[:, None], (8, 12))
        got = position[1:].reshape(8, 12, 192)
        inner = slice(4, -4) if wide else slice(3, -3)
        along = (slice(None), inner) if wide else (inner,)
        np.testing.assert_allclose(
            got[along], np.repeat(expected[..., None], 192, 2)[along], atol=1e-5
        )


def test_position_embeddings_stay_without_another_size():
    # Of 4x9 patches, not to be taken for 6x6.
    model = abstract("vit_tiny_patch4", image_size=(16, 36))
    weights = above_half(model)
    load_torch(model, weights, resize_positions=True)
    np.testing.assert_array_equal(
        model.position[...], weights["encoder.pos_embedding"][0]
    )


def test_trainings_start_from_weights_for_images_of_another_size(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    options = {"dim": 6, "depth": 1}
    config = TrainConfig(model="vit_tiny_patch4", model_options=options)
    theirs: Any = initial_model(config, (16, 16, 3), 7)
    state = {t.name: np.ones(t.shape, np.float32) for t in theirs.torch_tensors()}
    numpy.save_file(state, tmp_path / "weights")
    ours: Any = initial_model(config, (8, 24, 3), 2, tmp_path / "weights")
    assert ours.position.shape == (2 * 6, 6)
    np.testing.assert_allclose(ours.position[...], 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 37, 95), (1, 38, 96), (1, 0, 96), (36, 96)])
def test_no_position_embeddings_are_named(shape):
    model = abstract("vit_tiny_patch4")
    weights = above_half(model) | {"encoder.pos_embedding": np.zeros(shape)}
    with pytest.raises(ValueError, match=r"pos_embedding is .*resize_positions=True"):
        load_torch(model, weights, resize_positions=True)


class Tensor:
    """What of a PyTorch tensor is used: NumPy takes it only after these steps."""

    def __init__(self, array, steps=("detach", "cpu", "float")):
        self.array, self.steps, self.shape = array, steps, array.shape

    def __getattr__(self, name):
        if not self.steps or name != self.steps[0]:
            raise AttributeError(name)
        return lambda: Tensor(self.array, self.steps[1:])

    def __array__(self, dtype=None, copy=None):
        assert not self.steps
        return self.array


def test_tensors_of_pytorch_are_converted():
    one, two = abstract("resnet8"), abstract("resnet8")
    weights = above_half(one)
    load_torch(one, weights)
    load_torch(two, {name: Tensor(value) for name, value in weights.items()})
    np.testing.assert_array_equal(logits(one, images()), logits(two, images()))


def test_a_safetensors_file(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    one, two = abstract("resnet8"), abstract("resnet8")
    weights = above_half(one)
    numpy.save_file(weights, tmp_path / "weights.safetensors")
    load_torch(one, weights)
    load_torch(two, tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(logits(one, images()), logits(two, images()))


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", types.ModuleType("safetensors"))
    monkeypatch.delitem(sys.modules, "safetensors.numpy", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'vim-jax\[safetensors\]'"):
        load_torch(abstract("resnet8"), tmp_path / "weights.safetensors")


def test_images_are_normalised_as_torchvision_does():
    fixed, imagenet = quick("resnet8"), quick("resnet8", normalize="imagenet")
    x = images()
    mean, stddev = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    as_fixed = np.float32((x - mean) / stddev * 0.25 + 0.5)
    np.testing.assert_allclose(logits(imagenet, x), logits(fixed, as_fixed), atol=1e-4)
