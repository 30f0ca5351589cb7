"""Photographs to plan, and what plans of them are compared with."""

import functools
import re
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

import vim_jax

LEVELS = [0.05, 0.2, 0.5, 0.9]
PHOTOGRAPHS = ["astronaut", "chelsea", "coffee", "rocket", "camera"]


def plan_regions(image, **settings) -> Any:
    """`vim_jax.plan_regions`, whose plans have all their parts."""
    return vim_jax.plan_regions(image, **settings)


@functools.cache
def photograph(name: str, how: str = "crop") -> np.ndarray:
    """A photograph at 224 x 224 RGB, cut out of the middle or resized."""
    image = np.asarray(getattr(skimage.data, name)())
    if image.ndim == 2:
        image = np.stack([image] * 3, -1)
    if how == "resize":
        return np.asarray(Image.fromarray(image).resize((224, 224)))
    top, left = ((side - 224) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top : top + 224, left : left + 224])


def patches(count: int, height: int = 40, width: int = 44) -> np.ndarray:
    """Parts of photographs, each with a different plan."""
    random = np.random.default_rng(0)
    parts = []
    for i in range(count):
        image = photograph(PHOTOGRAPHS[i % len(PHOTOGRAPHS)])
        top = random.integers(0, image.shape[0] - height)
        left = random.integers(0, image.shape[1] - width)
        parts.append(image[top : top + height, left : left + width])
    return np.stack(parts)


def checkerboard(height: int, width: int) -> np.ndarray:
    return (np.indices((height, width)).sum(0) % 2 * 255).astype(np.uint8)


def target_of(image, level: float, channels: Any = "independent") -> float:
    low = float(vim_jax.vfe(image))
    high = float(vim_jax.max_vfe(image, channels=channels))
    return low + level * (high - low)


def numbers_in(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", text)]


def names_about(text: str, value: float) -> bool:
    return any(n == pytest.approx(value, rel=0.01, abs=0.01) for n in numbers_in(text))


def adaptive_sizes(shape: tuple[int, ...], steps=(8, 4, 2, 1), seed=0) -> np.ndarray:
    """Returns a random valid plan: blocks of one step are split into the next."""
    random = np.random.default_rng(seed)
    sizes = np.ones(shape[:2], np.int32)

    def split(top: int, left: int, level: int) -> None:
        step = steps[level]
        if level + 1 == len(steps) or random.random() < 0.4:
            sizes[top : top + step, left : left + step] = step
            return
        for y in range(top, min(top + step, shape[0]), steps[level + 1]):
            for x in range(left, min(left + step, shape[1]), steps[level + 1]):
                split(y, x, level + 1)

    for top in range(0, shape[0], steps[0]):
        for left in range(0, shape[1], steps[0]):
            split(top, left, 0)
    return sizes
