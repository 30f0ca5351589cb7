"""Slow NumPy versions of the models' blocks, as PyTorch defines and names them.

Images are [n, c, h, w], kernels [out, in, h, w], and weights a state dict `w`.
"""

import numpy as np
from scipy.special import erf


def conv(x, kernel, bias=None, stride=1, groups=1, padding=None):
    n, channels, *sides = x.shape
    out, _, size, _ = kernel.shape
    padding = size // 2 if padding is None else padding
    x = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    height, width = ((s + 2 * padding - size) // stride + 1 for s in sides)
    y = np.zeros((n, out, height, width))
    for o in range(out):
        first = o // (out // groups) * (channels // groups)
        inputs = slice(first, first + channels // groups)
        for i in range(height):
            for j in range(width):
                rows = slice(i * stride, i * stride + size)
                columns = slice(j * stride, j * stride + size)
                window = x[:, inputs, rows, columns]
                y[:, o, i, j] = (window * kernel[o]).sum(axis=(1, 2, 3))
    return y if bias is None else y + bias[:, None, None]


def batch_norm(x, w, name, epsilon=1e-5):
    mean, var, scale, bias = (
        w[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / np.sqrt(var + epsilon) * scale + bias


def conv_norm(x, w, conv_name, norm_name, epsilon=1e-5, **kwargs):
    y = conv(x, w[f"{conv_name}.weight"], w.get(f"{conv_name}.bias"), **kwargs)
    return batch_norm(y, w, norm_name, epsilon)


def layer_norm(x, w, name, epsilon):
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(x, w, name, separator="."):
    y = x @ w[f"{name}{separator}weight"].T
    bias = w.get(f"{name}{separator}bias")
    return y if bias is None else y + bias


def relu(x):
    return np.maximum(x, 0)


def relu6(x):
    return np.clip(x, 0, 6)


def hard_sigmoid(x):
    return relu6(x + 3) / 6


def hard_swish(x):
    return x * hard_sigmoid(x)


def gelu(x):
    return x * (1 + erf(x / np.sqrt(2))) / 2


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def max_pool(x, size, stride, padding):
    edge = ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2)
    x = np.pad(x, edge, constant_values=-np.inf)
    height, width = ((side - size) // stride + 1 for side in x.shape[2:])
    y = np.zeros((*x.shape[:2], height, width))
    for i in range(height):
        for j in range(width):
            rows = slice(i * stride, i * stride + size)
            columns = slice(j * stride, j * stride + size)
            y[:, :, i, j] = x[:, :, rows, columns].max(axis=(2, 3))
    return y


def adaptive_mean(x, side):
    n, c, h, w = x.shape
    y = np.zeros((n, c, side, side))
    for i in range(side):
        for j in range(side):
            rows = slice(int(np.floor(i * h / side)), int(np.ceil((i + 1) * h / side)))
            columns = slice(
                int(np.floor(j * w / side)), int(np.ceil((j + 1) * w / side))
            )
            y[:, :, i, j] = x[:, :, rows, columns].mean(axis=(2, 3))
    return y


def residual_block(x, w, name, sizes, strides):
    """Basic with sizes (3, 3), bottleneck with (1, 3, 1)."""
    y = x
    for k, (size, stride) in enumerate(zip(sizes, strides, strict=True), 1):
        assert w[f"{name}.conv{k}.weight"].shape[2:] == (size, size)
        y = conv_norm(y, w, f"{name}.conv{k}", f"{name}.bn{k}", stride=stride)
        if k < len(sizes):
            y = relu(y)
    if f"{name}.downsample.0.weight" in w:
        names = f"{name}.downsample.0", f"{name}.downsample.1"
        x = conv_norm(x, w, *names, stride=max(strides))
    else:
        x = x[:, :, :: max(strides), :: max(strides)]
        x = np.pad(x, ((0, 0), (0, y.shape[1] - x.shape[1]), (0, 0), (0, 0)))
    return relu(x + y)


def shuffle_unit(x, w, name, stride):
    def branch2(x):
        groups = w[f"{name}.branch2.3.weight"].shape[0]
        x = relu(conv_norm(x, w, f"{name}.branch2.0", f"{name}.branch2.1"))
        names = f"{name}.branch2.3", f"{name}.branch2.4"
        x = conv_norm(x, w, *names, stride=stride, groups=groups)
        return relu(conv_norm(x, w, f"{name}.branch2.5", f"{name}.branch2.6"))

    if stride == 1:
        half = x.shape[1] // 2
        first, second = x[:, :half], branch2(x[:, half:])
    else:
        names = f"{name}.branch1.0", f"{name}.branch1.1"
        first = conv_norm(x, w, *names, stride=2, groups=x.shape[1])
        first = relu(conv_norm(first, w, f"{name}.branch1.2", f"{name}.branch1.3"))
        second = branch2(x)
    y = np.zeros((x.shape[0], 2 * first.shape[1], *first.shape[2:]))
    for channel in range(first.shape[1]):
        y[:, 2 * channel] = first[:, channel]
        y[:, 2 * channel + 1] = second[:, channel]
    return y


def inverted_residual_v2(x, w, name, stride):
    y, last = x, 1
    if f"{name}.1.0.weight" in w:
        y = relu6(conv_norm(y, w, f"{name}.0.0", f"{name}.0.1"))
        last = 2
    names = f"{name}.{last - 1}.0", f"{name}.{last - 1}.1"
    y = relu6(conv_norm(y, w, *names, stride=stride, groups=y.shape[1]))
    y = conv_norm(y, w, f"{name}.{last}", f"{name}.{last + 1}")
    return x + y if x.shape == y.shape else y


def inverted_residual_v3(x, w, name, stride, activation, epsilon):
    y = activation(conv_norm(x, w, f"{name}.0.0", f"{name}.0.1", epsilon))
    names = f"{name}.1.0", f"{name}.1.1"
    y = conv_norm(y, w, *names, epsilon, stride=stride, groups=y.shape[1])
    y = activation(y)
    scale = y.mean(axis=(2, 3), keepdims=True)
    fc1, fc2 = f"{name}.2.fc1", f"{name}.2.fc2"
    scale = relu(conv(scale, w[f"{fc1}.weight"], w[f"{fc1}.bias"]))
    scale = conv(scale, w[f"{fc2}.weight"], w[f"{fc2}.bias"])
    y = y * hard_sigmoid(scale)
    y = conv_norm(y, w, f"{name}.3.0", f"{name}.3.1", epsilon)
    return x + y if x.shape == y.shape else y


def mlp(x, w, name):
    return linear(gelu(linear(x, w, f"{name}.0")), w, f"{name}.3")


def attend(x, qkv, heads, bias, allowed):
    """One set of tokens [t, d]; bias [heads, t, t], allowed [t, t], of query, key."""
    t, d = x.shape
    query, key, value = np.split(qkv(x), 3, axis=-1)
    y = np.zeros((t, d))
    for head in range(heads):
        part = slice(head * d // heads, (head + 1) * d // heads)
        scores = query[:, part] @ key[:, part].T / np.sqrt(d // heads) + bias[head]
        weights = softmax(np.where(allowed, scores, -np.inf))
        y[:, part] = weights @ value[:, part]
    return y


def vit_block(x, w, name, heads):
    attention = f"{name}.self_attention"
    t = x.shape[1]
    everyone = np.zeros((heads, t, t)), np.ones((t, t), bool)
    y = layer_norm(x, w, f"{name}.ln_1", 1e-6)
    y = np.stack(
        [
            attend(
                tokens, lambda z: linear(z, w, f"{attention}.in_proj", "_"), heads,
                *everyone,
            )
            for tokens in y
        ]
    )  # fmt: skip
    x = x + linear(y, w, f"{attention}.out_proj")
    return x + mlp(layer_norm(x, w, f"{name}.ln_2", 1e-6), w, f"{name}.mlp")


def swin_block(x, w, name, heads, side, shift):
    """Nothing is rolled: pairs of tokens in the same shifted window, over the grid."""
    n, h, width, d = x.shape
    y = layer_norm(x, w, f"{name}.norm1", 1e-5)
    y = np.pad(y, ((0, 0), (0, -h % side), (0, -width % side), (0, 0)))
    rows, columns = y.shape[1:3]
    shifts = [shift if length > side else 0 for length in (rows, columns)]
    places = [(i, j) for i in range(rows) for j in range(columns)]
    table = w[f"{name}.attn.relative_position_bias_table"]
    bias = np.zeros((heads, len(places), len(places)))
    allowed = np.zeros((len(places), len(places)), bool)
    for a, p in enumerate(places):
        for b, q in enumerate(places):
            allowed[a, b] = all(
                (p[k] - shifts[k]) // side == (q[k] - shifts[k]) // side for k in (0, 1)
            )
            if allowed[a, b]:
                down, right = p[0] - q[0] + side - 1, p[1] - q[1] + side - 1
                bias[:, a, b] = table[down * (2 * side - 1) + right]
    y = np.stack(
        [
            attend(
                tokens.reshape(-1, d), lambda z: linear(z, w, f"{name}.attn.qkv"),
                heads, bias, allowed,
            )
            for tokens in y
        ]
    )  # fmt: skip
    y = linear(y, w, f"{name}.attn.proj").reshape(n, rows, columns, d)[:, :h, :width]
    x = x + y
    return x + mlp(layer_norm(x, w, f"{name}.norm2", 1e-5), w, f"{name}.mlp")


def merge_patches(x, w, name):
    n, h, width, d = x.shape
    x = np.pad(x, ((0, 0), (0, h % 2), (0, width % 2), (0, 0)))
    y = np.zeros((n, x.shape[1] // 2, x.shape[2] // 2, 4 * d))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            corners = ((0, 0), (1, 0), (0, 1), (1, 1))
            four = [x[:, 2 * i + a, 2 * j + b] for a, b in corners]
            y[:, i, j] = np.concatenate(four, axis=-1)
    return linear(layer_norm(y, w, f"{name}.norm", 1e-5), w, f"{name}.reduction")
