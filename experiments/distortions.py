"""Ways to change images, some of which hide more than others."""

from collections.abc import Callable, Mapping

import numpy as np
import scipy.ndimage

from vim_jax import VisualMixer

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
Way = VisualMixer | Change


def noise(sigma: float) -> Change:
    """Adds Gaussian noise, sigma in grey levels."""
    return lambda x, rng: _bytes(x + rng.normal(0, sigma, x.shape))


def blur(sigma: float) -> Change:
    """Blurs with a Gaussian, sigma in pixels."""
    return lambda x, _: _bytes(
        scipy.ndimage.gaussian_filter(x.astype(float), (0, sigma, sigma, 0))
    )


def pixelate(size: int) -> Change:
    """Replaces blocks by their means."""

    def change(x, _):
        n, h, w, c = x.shape
        blocks = x.reshape(n, h // size, size, w // size, size, c).mean((2, 4))
        return _bytes(blocks.repeat(size, 1).repeat(size, 2))

    return change


def brighten(factor: float) -> Change:
    """Multiplies all values."""
    return lambda x, _: _bytes(x * factor)


def stretch(factor: float) -> Change:
    """Multiplies what values differ from the middle grey."""
    return lambda x, _: _bytes((x - 127.5) * factor + 127.5)


def _bytes(x: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(x), 0, 255).astype(np.uint8)


def leave(x: np.ndarray, _: np.random.Generator) -> np.ndarray:
    """Changes nothing."""
    return x


WAYS: Mapping[str, Mapping[str, Way]] = {
    "none": {"unchanged": leave},
    "shuffling": {
        **{f"size {s}": VisualMixer(region_size=s) for s in (2, 3, 4, 6, 8, 16)},
        "whole image": VisualMixer(region_size="entire"),
        **{f"level {x}": VisualMixer(level=x, clip=True) for x in (0.3, 0.6, 0.9)},
        **{
            f"size 4, {how}": VisualMixer(region_size=4, channels=how)
            for how in ("joint", "mixed")
        },
    },
    "hierarchical shuffling": {
        f"size {s}, scrambled": VisualMixer(region_size=s, scramble_regions=True)
        for s in (2, 4, 8)
    },
    "noise": {f"noise {s}": noise(s) for s in (10, 25, 50, 100)},
    "blur": {f"blur {s}": blur(s) for s in (1, 2, 4)},
    "pixelation": {f"pixelate {s}": pixelate(s) for s in (2, 4, 8, 16)},
    "brightness": {f"brightness x {f}": brighten(f) for f in (0.5, 1.5)},
    "contrast": {f"contrast x {f}": stretch(f) for f in (0.25, 0.5, 2.0)},
}
