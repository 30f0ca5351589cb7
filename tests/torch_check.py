"""Logits agree with torchvision's models: `make torch-check`, outside `make test`.

Random weights, two random images a model, both on the CPU in float32.
"""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from vim_jax.models import create_model, load_torch

torch: Any = pytest.importorskip("torch", reason="no torch: run `make torch-check`")

# torchvision's compiled operators are not in every build, and no classifier needs them.
try:
    import torchvision.models as reference  # pyright: ignore[reportMissingImports]
except RuntimeError:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor boxes, Tensor scores, float iou) -> Tensor")
    import torchvision.models as reference  # pyright: ignore[reportMissingImports]

CLASSES = 10
TOLERANCE = 1e-4


def vit(image_size, patch, depth, heads, dim):
    return reference.VisionTransformer(
        image_size, patch, depth, heads, dim, 4 * dim, num_classes=CLASSES
    )


def by_name(name):
    return lambda: getattr(reference, name)(weights=None, num_classes=CLASSES)


# Name here -> (height, width), what makes the model in PyTorch.
CASES = {
    name: (size, by_name(name))
    for name, size in {
        "mobilenet_v2": (224, 224),
        "mobilenet_v3_large": (224, 224),
        "mobilenet_v3_small": (160, 96),
        "resnet18": (224, 224),
        "resnet34": (97, 64),
        "resnet50": (224, 224),
        "shufflenet_v2_x0_5": (97, 64),
        "shufflenet_v2_x1_0": (224, 224),
        "swin_t": (224, 224),
        "vgg11": (96, 160),
        "vgg11_bn": (96, 160),
        "vgg16": (224, 224),
        "vgg16_bn": (224, 224),
    }.items()
} | {
    "vit_ti16": ((64, 64), lambda: vit(64, 16, 12, 3, 192)),
    "vit_s16": ((64, 64), lambda: vit(64, 16, 12, 6, 384)),
    "vit_b16": ((224, 224), lambda: vit(224, 16, 12, 12, 768)),
    "vit_ti4_cifar": ((32, 32), lambda: vit(32, 4, 12, 3, 192)),
    "vit_s4_cifar": ((32, 32), lambda: vit(32, 4, 12, 6, 384)),
    "vit_b4_cifar": ((32, 32), lambda: vit(32, 4, 12, 12, 768)),
}


def randomized(model, shape):
    """No weights are all alike, as fresh ones may be, and statistics fit them."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.std() == 0:
                weight += 0.02 * torch.randn_like(weight)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        model.train()(torch.randn(4, 3, *shape))
    return model.eval()


def check(name, shape, model, weights):
    images = np.random.default_rng(0).random((2, *shape, 3), dtype=np.float32)
    mean = np.array([0.485, 0.456, 0.406], np.float32)
    stddev = np.array([0.229, 0.224, 0.225], np.float32)
    with torch.no_grad():
        x = torch.from_numpy(((images - mean) / stddev).transpose(0, 3, 1, 2).copy())
        expected = model(x).numpy()
    ours: Any = create_model(
        name,
        num_classes=CLASSES,
        image_size=shape,
        normalize="imagenet",
        rngs=nnx.Rngs(0),
    )
    load_torch(ours, weights)
    graphdef, state = nnx.split(ours)
    got = jax.jit(lambda state, x: nnx.merge(graphdef, state)(x))(state, images)
    difference = np.abs(np.asarray(got) - expected).max()
    print(f"\n{name} {shape}: logits' deviation {expected.std():.3f}, ", end="")
    print(f"greatest difference {difference:.1e}")
    assert expected.std() > 0.05
    assert difference < TOLERANCE


@pytest.mark.parametrize("name", CASES)
def test_logits_agree(name):
    shape, make = CASES[name]
    model = randomized(make(), shape)
    check(name, shape, model, model.state_dict())


def test_windows_that_do_not_divide_the_grid_are_padded_alike():
    shape = (72, 104)
    model = randomized(by_name("swin_t")(), shape)
    check("swin_t", shape, model, model.state_dict())


def test_safetensors_file(tmp_path):
    save = pytest.importorskip("safetensors.torch").save_file
    model = randomized(by_name("resnet18")(), (64, 64))
    save(model.state_dict(), tmp_path / "weights.safetensors")
    check("resnet18", (64, 64), model, tmp_path / "weights.safetensors")
