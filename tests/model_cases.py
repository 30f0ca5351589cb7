"""Tiny models of every architecture, and images cut into patches by slicing."""

import functools
from typing import Any

import jax
import numpy as np
from flax import nnx

from vim_jax.models import create_model, load_torch

# Options that make models of each kind fit tiny images.
CASES = {
    "mobilenet_v2": dict(
        stem_width=4, stages=((1, 4, 1, 1), (2, 8, 2, 2)), head_width=8
    ),
    "mobilenet_v3_large": dict(
        stem_width=4,
        rows=((3, 4, 4, False, False, 1), (5, 12, 8, True, True, 2)),
        hidden=8,
    ),
    "resnet8": {},
    "resnet18": dict(blocks=(1, 1), widths=(8, 16)),
    "resnet50": dict(blocks=(1, 2), widths=(8, 16)),
    "shufflenet_v2_x1_0": dict(stem_width=4, blocks=(2,), widths=(8,), head_width=8),
    "swin_t": dict(patch_size=2, dim=12, depths=(2, 1), heads=(2, 3), window=2),
    "vgg11": dict(convs=(1, 2), widths=(4, 8), hidden=8),
    "vgg11_bn_cifar": dict(convs=(1, 1), widths=(4, 8)),
    "vit_b16": dict(patch_size=4, dim=24, depth=2, heads=3),
    "vit_tiny_patch4": {},
}

# For programs that run once: compiling them takes longer than anything else.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})

WITH_BATCH_NORM = [name for name in CASES if name[:3] not in ("swi", "vit")]
WITH_BATCH_NORM.remove("vgg11")


def make(name, **kwargs):
    defaults = dict(num_classes=10, image_size=8, channels=3, rngs=nnx.Rngs(0))
    return create_model(name, **{**defaults, **CASES.get(name, {}), **kwargs})


def quick(name, **kwargs):
    """Make a model with random weights and statistics; making one with fresh weights
    takes seconds, most of them to compile the generation of random numbers.
    """
    model: Any = nnx.eval_shape(lambda: make(name, **kwargs))
    load_torch(model, random_weights(model.torch_tensors()))
    return model


def random_weights(tensors):
    """Random values that keep the scale of features, named as in PyTorch."""
    random, weights = np.random.default_rng(1), {}
    for tensor in tensors:
        fan_in = np.prod(tensor.shape[1:])
        value = random.normal(size=tensor.shape, scale=fan_in**-0.5)
        if tensor.name.endswith("running_var"):
            value = random.uniform(0.5, 2, tensor.shape)
        weights[tensor.name] = value.astype(np.float32)
    return weights


def images(shape=(2, 8, 8, 3), seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def logits(model, x):
    graphdef, state = nnx.split(model)
    return np.asarray(jit(lambda s, x: nnx.merge(graphdef, s)(x))(state, x))


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
