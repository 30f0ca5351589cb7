"""Weights from PyTorch: which tensor goes where, and loading them.

A model names its tensors in `torch_tensors`, as torchvision's model of the same name
does, with the functions below.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx

from vim_jax.models.layers import MLP, ConvNorm

# Tensors of torchvision's state dicts that hold no weights.
_BOOKKEEPING = ("num_batches_tracked", "relative_position_index")

# The files that torchvision publishes for its ViTs have names that its code has since
# given up.
_OLD_NAMES = {".mlp.linear_1.": ".mlp.0.", ".mlp.linear_2.": ".mlp.3."}


class TorchTensor(NamedTuple):
    """Where a tensor of PyTorch goes.

    Attributes:
      name: In the state dict.
      variable: Of the model here.
      shape: In PyTorch.
      convert: From an array of that shape to one of the shape of `variable`.
      resize: From an array for images of another size to one of that shape, or the
        array as it is if it is none; None where image sizes do not matter.
    """

    name: str
    variable: Any
    shape: tuple[int, ...]
    convert: Callable[[np.ndarray], np.ndarray]
    resize: Callable[[np.ndarray], np.ndarray] | None = None


def load_torch(
    model: Any,
    weights: Mapping[str, Any] | str | os.PathLike[str],
    *,
    head: bool = True,
    resize_positions: bool = False,
) -> None:
    """Replaces the parameters and statistics of a model by those of a PyTorch model.

    Tensors are named and shaped as in torchvision's model of the same name (the
    residual networks of CIFAR: as in torchvision's ResNet-18). Create the model with
    ``normalize="imagenet"`` for weights that torchvision publishes: they expect images
    normalised so. Logits then agree with PyTorch's up to rounding, in evaluation;
    dropout and stochastic depth, which act in training only, are left out here.

    Args:
      model: One that `create_model` made. It changes in place, or not at all if this
        function raises.
      weights: A state dict, name to PyTorch tensor or NumPy array, or the path of a
        safetensors file that holds one (extra ``safetensors``).
      head: Whether to load the last layer as well. Without it that layer stays as it
        is, and what `weights` says of it does not matter: for fine-tuning to
        other classes.
      resize_positions: Whether to resize the position embedding of a ViT, which is
        for one image size, 224 pixels as a rule, to that of the model: by cubic
        interpolation, from a square grid of patches. For fine-tuning, too.

    Raises:
      ValueError: If tensors are missing, surplus or of another shape: the message
        names all of them. If the file cannot be read, or is no safetensors file.
      ModuleNotFoundError: If the package safetensors, which a file needs, is not
        installed.

    Examples:
      >>> import numpy as np
      >>> from flax import nnx
      >>> from vim_jax.models import create_model, load_torch
      >>> model = create_model(
      ...     "resnet8", num_classes=7, image_size=32, normalize="imagenet",
      ...     rngs=nnx.Rngs(0),
      ... )
      >>> state_dict = {t.name: np.zeros(t.shape) for t in model.torch_tensors()}
      >>> load_torch(model, state_dict, head=False)
    """
    tensors: list[TorchTensor] = model.torch_tensors()
    given = weights if isinstance(weights, Mapping) else _read(weights)
    given = {
        _current(name): value
        for name, value in given.items()
        if not name.endswith(_BOOKKEEPING)
    }
    if not head:
        last = [tensor for tensor in tensors if _is_of(tensor, model.head)]
        tensors = [tensor for tensor in tensors if not _is_of(tensor, model.head)]
        for tensor in last:
            given.pop(tensor.name, None)
    if resize_positions:
        for tensor in tensors:
            if tensor.resize is not None and tensor.name in given:
                given[tensor.name] = tensor.resize(_to_numpy(given[tensor.name]))
    _check(tensors, given)
    for tensor in tensors:
        array = tensor.convert(_to_numpy(given[tensor.name]))
        tensor.variable.set_value(jnp.asarray(array, jnp.float32))


def conv(name: str, layer: nnx.Conv) -> list[TorchTensor]:
    """Returns the tensors of a convolution."""
    height, width, inputs, outputs = layer.kernel.get_value().shape
    kernel = TorchTensor(
        f"{name}.weight",
        layer.kernel,
        (outputs, inputs, height, width),
        lambda array: array.transpose(2, 3, 1, 0),
    )
    return [kernel, *_bias(f"{name}.", layer)]


def linear(name: str, layer: nnx.Linear, *, separator: str = ".") -> list[TorchTensor]:
    """Returns the tensors of a linear layer."""
    name += separator
    shape = layer.kernel.get_value().shape[::-1]
    kernel = TorchTensor(f"{name}weight", layer.kernel, shape, np.transpose)
    return [kernel, *_bias(name, layer)]


def patch_linear(name: str, layer: nnx.Linear, size: int) -> list[TorchTensor]:
    """Returns the tensors of a linear layer of square patches.

    PyTorch has it as a convolution whose kernel is a patch.
    """
    inputs, outputs = layer.kernel.get_value().shape
    kernel = TorchTensor(
        f"{name}.weight",
        layer.kernel,
        (outputs, inputs // size**2, size, size),
        lambda array: array.transpose(2, 3, 1, 0).reshape(inputs, outputs),
    )
    return [kernel, *_bias(f"{name}.", layer)]


def norm(name: str, layer: nnx.BatchNorm | nnx.LayerNorm) -> list[TorchTensor]:
    """Returns the tensors of a normalisation, its running statistics included."""
    tensors = [
        array(f"{name}.weight", layer.scale),
        array(f"{name}.bias", layer.bias),
    ]
    if isinstance(layer, nnx.BatchNorm):
        tensors.append(array(f"{name}.running_mean", layer.mean))
        tensors.append(array(f"{name}.running_var", layer.var))
    return tensors


def conv_norm(conv_name: str, norm_name: str, layer: ConvNorm) -> list[TorchTensor]:
    """Returns the tensors of a convolution and of its normalisation."""
    return conv(conv_name, layer.conv) + norm(norm_name, layer.norm)


def mlp(name: str, layer: MLP) -> list[TorchTensor]:
    """Returns the tensors of a two-layer perceptron."""
    return linear(f"{name}.0", layer.up) + linear(f"{name}.3", layer.down)


def array(name: str, variable: Any, *, leading_ones: int = 0) -> TorchTensor:
    """Returns a tensor that has the same values in PyTorch, in the same order."""
    shape = variable.get_value().shape
    return TorchTensor(
        name, variable, (1,) * leading_ones + shape, lambda array: array.reshape(shape)
    )


def _bias(name: str, layer: nnx.Conv | nnx.Linear) -> list[TorchTensor]:
    return [array(f"{name}bias", layer.bias)] if layer.bias is not None else []


def _is_of(tensor: TorchTensor, layer: nnx.Linear) -> bool:
    return tensor.variable is layer.kernel or tensor.variable is layer.bias


def _current(name: str) -> str:
    for old, new in _OLD_NAMES.items():
        name = name.replace(old, new)
    return name


def _check(tensors: list[TorchTensor], given: Mapping[str, Any]) -> None:
    expected = {tensor.name: tensor.shape for tensor in tensors}
    problems = [f"{name} is missing" for name in expected if name not in given]
    problems += [f"{name} is surplus" for name in given if name not in expected]
    problems += [
        f"{name} is {tuple(given[name].shape)}, not {shape}"
        for name, shape in expected.items()
        if name in given and tuple(given[name].shape) != shape
    ]
    if problems:
        raise ValueError(
            f"weights do not fit the model: {'; '.join(problems)}. Create the model "
            "with the name, the options and the image_size that the weights were "
            "trained with; for another num_classes pass head=False, for another "
            "image_size of a ViT resize_positions=True."
        )


def _read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    try:
        from safetensors import SafetensorError  # pyright: ignore
        from safetensors.numpy import load_file  # pyright: ignore
    except ImportError as error:
        raise ModuleNotFoundError(
            "Reading a safetensors file needs the package safetensors: "
            "pip install 'vim-jax[safetensors]'."
        ) from error
    try:
        return load_file(path)
    except OSError:
        raise ValueError(
            f"weights {os.fspath(path)} is no file that can be read: check the path."
        ) from None
    except SafetensorError as error:
        raise ValueError(
            f"weights {os.fspath(path)} is no whole safetensors file ({error}): save a "
            "state dict with safetensors.torch.save_file."
        ) from None


def _to_numpy(tensor: Any) -> np.ndarray:
    if hasattr(tensor, "detach"):  # PyTorch, whose bfloat16 NumPy does not know
        tensor = tensor.detach().cpu().float()
    return np.asarray(tensor)
