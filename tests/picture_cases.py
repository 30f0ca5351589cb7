"""Small photographs, for tests of attacks on pictures."""

import functools

import numpy as np
from PIL import Image

from vim_jax.data import open_source

SHAPE = (48, 48, 3)


@functools.cache
def photographs():
    """The bundled photographs in colour, reduced."""
    colour = [x.image for x in open_source("embedded:photographs") if x.mode == "RGB"]
    shape = (SHAPE[1], SHAPE[0])
    small = [Image.fromarray(x).resize(shape, Image.Resampling.BICUBIC) for x in colour]
    return np.stack([np.asarray(x) for x in small])


def rough(seed, shape, step=8):
    """A picture whose patches have several contrasts, and a distorted copy."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, shape).astype(float)
    image[:step] = 77  # Flat: there, rounding shows.
    image[:, :step] *= 0.1
    other = 0.7 * image + rng.normal(20, 15, shape)
    return image.astype(np.uint8), other.clip(0, 255).astype(np.uint8)


def tiles():
    """Pieces of the photographs, about as large as images of CIFAR-10."""
    found = photographs().reshape(-1, 2, 24, 2, 24, 3).swapaxes(2, 3)
    return found.reshape(-1, 24, 24, 3)


def plans_of(size, count):
    return [np.broadcast_to(np.int32(size), SHAPE[:2]).copy()] * count


def as_multiset(values, channels):
    """What a region keeps: its values, those of each channel, or its colours."""
    if channels == "joint":
        return sorted(map(tuple, values.tolist()))
    if channels == "mixed" and len(values) > 1:
        return sorted(values.ravel().tolist())
    return np.sort(values, axis=0).tolist()
