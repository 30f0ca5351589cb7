"""Logits and accuracy of a model on a set of images."""

import collections
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int, UInt8

from vim_jax.mixer import VisualMixer
from vim_jax.training.augment import image_keys, remix
from vim_jax.training.image_sets import check_classes, check_labels
from vim_jax.training.parallel import Layout, make_layout, put_rows, replicate
from vim_jax.training.step import to_unit

_APART = 2**32 - 1
"""What no batch or image is numbered by: folded in, it keeps keys apart."""

_AHEAD = 4
"""How many batches are given to the device before their results are waited for."""


def predict(
    model: nnx.Module,
    images: UInt8[np.ndarray, "n h w c"],
    *,
    remixed: VisualMixer | None = None,
    times: int = 1,
    key: jax.Array | None = None,
    batch_size: int = 256,
    devices: Sequence[Any] | None = None,
) -> Float[np.ndarray, "n k"]:
    """Returns a model's logits, over several shuffles of each image if asked to.

    Whoever knows the regions of mixed images can shuffle them again, without the key,
    and average what the model says: the order inside regions is noise to it.

    Args:
      model: The model, as `vim_jax.models.create_model` or `train` return it.
      images: uint8 images.
      remixed: The settings that the images were mixed with, to shuffle them again in
        the same regions; give a region size. None takes the images as they are.
      times: How many shuffles of each image to average over.
      key: Of the shuffles: a PRNG key; image i of shuffle t uses
        `fold_in(fold_in(fold_in(key, 2**32 - 1), t), i)`, another key than any that
        `VisualMixer` makes of `key`. By default `jax.random.key(0)`.
      batch_size: Images at a time, over all devices together.
      devices: Devices to use; by default the first of this process.

    Returns:
      float32 logits, in the order of the images.

    Raises:
      ValueError: If times or batch_size is below 1, or times above without anything to
        shuffle by; if `remixed` has no region size; if the images are not uint8
        `n h w c`, or none.
    """
    layout = make_layout(batch_size, devices or jax.local_devices()[:1])
    batches = logits_of_batches(
        model, images, batch_size, layout, remixed=remixed, times=times, key=key
    )
    return np.concatenate(list(on_host(batches)))[: len(images)]


def evaluate(
    model: nnx.Module,
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, " n"],
    *,
    remixed: VisualMixer | None = None,
    times: int = 1,
    key: jax.Array | None = None,
    batch_size: int = 256,
    devices: Sequence[Any] | None = None,
) -> float:
    """Returns the share of images whose largest logit is the label's.

    Args:
      model: See `predict`.
      images: uint8 images.
      labels: Their integer labels.
      remixed: See `predict`.
      times: See `predict`.
      key: See `predict`.
      batch_size: See `predict`.
      devices: See `predict`.

    Raises:
      ValueError: As `predict`, or if the labels are not one integer an image, each the
        number of a logit.

    Examples:
      >>> import numpy as np
      >>> from flax import nnx
      >>> from vim_jax import VisualMixer
      >>> from vim_jax.models import create_model
      >>> from vim_jax.training import evaluate
      >>> model = create_model(
      ...     "vit_tiny_patch4", num_classes=2, image_size=8, depth=1, rngs=nnx.Rngs(0)
      ... )
      >>> images = np.zeros((3, 8, 8, 3), np.uint8)
      >>> mixer = VisualMixer(region_size=4)
      >>> accuracy = evaluate(model, images, np.ones(3, int), remixed=mixer, times=2)
      >>> accuracy in (0.0, 1.0)
      True
    """
    check_labels("the images", images, labels)
    layout = make_layout(batch_size, devices or jax.local_devices()[:1])
    batches = logits_of_batches(
        model, images, batch_size, layout, remixed=remixed, times=times, key=key
    )
    return accuracy(batches, labels)


def accuracy(
    batches: Iterable[jax.Array],
    labels: Int[np.ndarray, " n"],
    after_batch: Callable[[], None] = lambda: None,
) -> float:
    """Returns the share of images whose largest logit is the label's.

    Args:
      batches: Logits, as `logits_of_batches` computes them.
      labels: Integer labels of the images.
      after_batch: Called after each batch; what it raises ends the evaluation.

    Raises:
      ValueError: If a label is not the number of a logit.
    """

    def classes() -> Iterator[jax.Array]:
        for number, logits in enumerate(batches):
            if number == 0:
                check_classes("the images", labels, logits.shape[-1])
            yield jnp.argmax(logits, axis=-1)
            after_batch()

    found = np.concatenate(list(on_host(classes())))[: len(labels)]
    return float((found == labels).mean())


def on_host(arrays: Iterable[jax.Array]) -> Iterator[np.ndarray]:
    """Yields arrays from the device, a few after they were asked for.

    To wait for each would leave the device idle, to wait for none would fill its
    memory.

    Args:
      arrays: computed one by one.
    """
    waiting: collections.deque[jax.Array] = collections.deque()
    for array in arrays:
        waiting.append(array)
        if len(waiting) > _AHEAD:
            yield np.asarray(waiting.popleft())
    yield from map(np.asarray, waiting)


def logits_of_batches(
    model: nnx.Module,
    images: UInt8[np.ndarray, "n h w c"],
    batch_size: int,
    layout: Layout,
    *,
    remixed: VisualMixer | None = None,
    times: int = 1,
    key: jax.Array | None = None,
) -> Iterator[jax.Array]:
    """Yields the logits of batches, the last filled up with images that do not count.

    Args:
      model: See `predict`, as for the others.
      images: uint8 images.
      batch_size: Images at a time.
      layout: Where batches lie.
      remixed: Shuffles each image anew.
      times: Shuffles to average over.
      key: Of the shuffles.

    Raises:
      ValueError: As `predict`.
    """
    if times < 1:
        raise ValueError(f"times is {times}: use at least 1.")
    if times > 1 and remixed is None:
        raise ValueError(
            f"times is {times} without remixed: give the settings that the images were "
            "mixed with, or use times=1."
        )
    if remixed is not None and remixed.region_size is None:
        raise ValueError(
            f"remixed is {remixed}, which would plan other regions on mixed images: "
            "give the region_size that they were mixed with."
        )
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise ValueError(
            f"images are {images.dtype} {images.shape}: pass uint8 [n, height, width, "
            "channels], at least one; a single image as image[None]."
        )
    if remixed is not None:
        key = jax.random.key(0) if key is None else key
        # To repeat the shuffle that mixed an image would put some pixels back.
        key = jax.random.fold_in(key, _APART)
    graphdef, state = nnx.split(model)
    state = replicate(nnx.to_pure_dict(state), layout)
    indices = np.arange(len(images), dtype=np.int32)
    for start in range(0, len(images), batch_size):
        # One shape for all batches, so that one program is compiled.
        chosen = np.minimum(np.arange(start, start + batch_size), len(images) - 1)
        batch, numbers = (put_rows(layout, x, chosen) for x in (images, indices))
        yield _forward(
            graphdef, remixed, times, layout.replicated, state, key, batch, numbers
        )


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _forward(graphdef, mixer, times, replicated, state, key, images, indices):
    """Returns logits of a batch: compiled once for all calls with equal models."""
    model: Any = nnx.merge(graphdef, state)

    def logits_at(time):
        shuffled = images
        if mixer is not None:
            shuffled = remix(image_keys(key, time, indices), images, mixer)
        return model(to_unit(shuffled), train=False)

    total = logits_at(0)
    if times > 1:
        total = jax.lax.fori_loop(1, times, lambda t, sum: sum + logits_at(t), total)
    return jax.lax.with_sharding_constraint(total / float(times), replicated)
