"""Published sizes of models, counted without allocating their parameters."""

import importlib
import math
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from vim_jax.models import create_model, list_models

PUBLISHED = {
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "mobilenet_v3_small": 2_542_856,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "shufflenet_v2_x0_5": 1_366_792,
    "shufflenet_v2_x1_0": 2_278_604,
    "swin_t": 28_288_354,
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vit_b16": 86_567_656,
    "vit_s16": 22_050_664,
    "vit_ti16": 5_717_416,
}


# What docs/training.md says.
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "training.md"
LISTED = {
    name: int(count.replace(",", ""))
    for name, count in re.findall(r"\| `(\w+)` \| ([\d,]+) ", PAGE.read_text())
}


def abstract(name, **kwargs) -> Any:
    return nnx.eval_shape(lambda: create_model(name, rngs=nnx.Rngs(0), **kwargs))


def size(model):
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    return sum(math.prod(leaf.shape) for leaf in leaves)


def test_every_model_for_photographs_has_a_published_size():
    small = {"resnet8", "vit_tiny_patch4"}
    photographs = {name for name in list_models() if not name.endswith("_cifar")}
    assert photographs - small == set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_parameter_counts(name):
    model = abstract(name, num_classes=1000, image_size=224)
    assert size(model) == PUBLISHED[name]
    # PyTorch's names cover all of them, and the statistics, once.
    tensors = model.torch_tensors()
    assert len({tensor.name for tensor in tensors}) == len(tensors)
    named = {id(tensor.variable) for tensor in tensors}
    assert len(named) == len(tensors) == len(jax.tree.leaves(nnx.state(model)))


def test_the_page_lists_every_model():
    assert sorted(LISTED) == list_models()
    assert LISTED.items() >= PUBLISHED.items()


@pytest.mark.parametrize("name", sorted(LISTED.keys() - PUBLISHED.keys()))
def test_the_page_knows_parameter_counts_of_small_models(name):
    assert size(abstract(name, num_classes=10, image_size=32)) == LISTED[name]


def test_parameter_counts_of_small_models():
    def count(name, **kwargs):
        return size(abstract(name, num_classes=10, image_size=32, **kwargs))

    # 269,722 is the count usually given for this network and ten classes.
    assert count("resnet20_cifar") == 269_722
    assert count("resnet8") == 432 + 32 + 4672 + 13952 + 55552 + 650
    block = 4 * 96 + (96 + 1) * 3 * 96 + (96 + 1) * 96 + (96 + 1) * 384 + (384 + 1) * 96
    outside = (48 + 1) * 96 + 2 * 96 + (96 + 1) * 10
    assert count("vit_tiny_patch4") == 3 * block + outside + 64 * 96
    assert count("vit_tiny_patch4", position_embedding=False) == 3 * block + outside


CONVNETS = [
    name
    for name in (*(f"{name}_cifar" for name in PUBLISHED), "resnet8", "resnet20_cifar")
    if name in list_models()
]


@pytest.mark.parametrize("name", [*CONVNETS, "swin_t_cifar"])
def test_small_images_stay_several_pixels_wide(name, monkeypatch):
    side = 28
    model = abstract(name, num_classes=10, image_size=side)
    module = importlib.import_module(type(model).__module__)
    shapes = []

    def spy(x):
        shapes.append(x.shape)
        return jnp.zeros((len(x), x.shape[-1]))

    monkeypatch.setattr(module, "global_mean", spy)
    out = jax.eval_shape(lambda m, x: m(x), model, jnp.zeros((2, side, side, 3)))
    assert out.shape == (2, 10)
    (last,) = shapes
    assert 3 <= last[1] == last[2] <= 8
