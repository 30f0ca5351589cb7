"""Many small classifiers trained at once, each on its own part of the images."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, UInt8

Members: TypeAlias = Bool[np.ndarray, "m n"]
"""Which network learns which image."""

Phi: TypeAlias = Float[np.ndarray, "m n"]
"""log(p / (1 - p)), where network m gives the label of image n the probability p."""

Views: TypeAlias = Callable[
    [int], tuple[UInt8[np.ndarray, "v n h w c"], Int[np.ndarray, "m n"]]
]
"""From an epoch to the images in one or more forms, and the form in which network m
sees image n."""

_WARM_UP = 0.1  # Of all steps.


def train(
    views: Views,
    labels: Int[np.ndarray, " n"],
    members: Members,
    *,
    shape: tuple[int, int, int],
    classes: int,
    widths: tuple[int, ...],
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    after: Callable[[Any], None],
) -> Any:
    """Returns the parameters of networks, each trained with Adam on its members.

    The learning rate rises linearly and falls as a cosine. Images left over at the end
    of an epoch are left out of it.

    Args:
      views: the images, anew in each epoch.
      labels: of the images.
      members: which network learns which image; equally many for each network.
      shape: of an image, `h w c`.
      classes: how many labels there are.
      widths: channels of the layers, each of which halves the sides.
      epochs: how often each member is seen.
      batch_size: images a step and network; all of them if there are fewer.
      learning_rate: at its peak.
      seed: of the networks and the order of images.
      after: called after each epoch with the parameters, stacked along axis 0.
    """
    count = int(members[0].sum())
    own = np.nonzero(members)[1].reshape(len(members), count)
    batch_size = min(batch_size, count)
    batches = count // batch_size
    steps = epochs * batches
    optimizer, step = _training(learning_rate, steps)
    keys = jax.random.split(jax.random.key(seed), len(members))
    params = jax.vmap(lambda key: _start(key, shape, classes, widths))(keys)
    state = jax.vmap(optimizer.init)(params)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        images, form = views(epoch)
        order = rng.permuted(own, axis=1)[:, : batches * batch_size]
        for chosen in np.split(order, batches, axis=1):
            seen = images[np.take_along_axis(form, chosen, axis=1), chosen]
            params, state = step(params, state, seen, labels[chosen])
        after(params)
    return params


@functools.cache  # So that sets of networks trained alike share one program.
def _training(learning_rate: float, steps: int):
    """Returns the optimizer of one network, and the step of all of them."""
    optimizer = optax.adam(
        optax.warmup_cosine_decay_schedule(
            0.0, learning_rate, max(1, int(_WARM_UP * steps)), max(2, steps)
        )
    )

    def step(params, state, images, labels):
        def loss(params):
            return optax.softmax_cross_entropy_with_integer_labels(
                _logits(params, images), labels
            ).mean()

        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return optax.apply_updates(params, updates), state

    return optimizer, jax.jit(jax.vmap(step))


def ask(
    params: Any,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    *,
    batch_size: int = 256,
) -> tuple[Phi, Bool[np.ndarray, "m n"]]:
    """Returns phi of all networks, and whether the label is their first choice."""
    n = len(images)
    batch_size = min(batch_size, n)
    phi = np.empty((len(jax.tree.leaves(params)[0]), n))
    right = np.empty(phi.shape, bool)
    # The last batch reaches back, so that all have one shape.
    for start in range(0, n, batch_size):
        part = slice(
            min(start, n - batch_size), min(start, n - batch_size) + batch_size
        )
        phi[:, part], right[:, part] = _ask(params, images[part], labels[part])
    return phi, right


def _start(key, shape, classes: int, widths: tuple[int, ...]):
    """Returns one network's fresh parameters: weights and biases of each layer."""
    h, w, channels = shape
    sizes = []
    for width in widths:
        sizes.append((9 * channels, width))
        h, w, channels = -(-h // 2), -(-w // 2), width
    sizes.append((h * w * channels, classes))
    keys = jax.random.split(key, len(sizes))
    return [
        (jax.random.normal(key, size) * (2 / size[0]) ** 0.5, jnp.zeros(size[1]))
        for key, size in zip(keys, sizes, strict=True)
    ]


def _logits(params, images: UInt8[Array, "b h w c"]) -> Float[Array, "b k"]:
    """Returns what one network says: 3x3 convolutions of stride 2, then a linear layer.

    Convolutions are written as products with patches, because XLA has only a slow path
    on the CPU for those of many networks at once.
    """
    x = images.astype(jnp.float32) / 64 - 2
    *layers, (weights, bias) = params
    for kernel, offset in layers:
        h, w = (-(-side // 2) for side in x.shape[1:3])
        x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        patches = [
            x[:, i : i + 2 * h - 1 : 2, j : j + 2 * w - 1 : 2]
            for i in range(3)
            for j in range(3)
        ]
        x = jnp.concatenate(patches, axis=-1) @ kernel + offset[None, None, None]
        x = jax.nn.relu(x)
    return x.reshape(len(x), -1) @ weights + bias[None]


@jax.jit
def _ask(params, images, labels):
    def one(params):
        logits = _logits(params, images)
        own = jax.nn.one_hot(labels, logits.shape[1], dtype=bool)
        rest = jnp.where(own, -jnp.inf, logits)
        mine = jnp.where(own, logits, 0).sum(axis=1)
        return mine - jax.nn.logsumexp(rest, axis=1), mine > rest.max(axis=1)

    return jax.vmap(one)(params)
