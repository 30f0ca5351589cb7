"""What a setting leaves in the open, whatever the attack: told from its plans."""

import math
from typing import NamedTuple

import numpy as np

import vim_jax
from vim_jax.attacks.cases import Case
from vim_jax.attacks.protocol import Plans
from vim_jax.entropy import permutation_bits
from vim_jax.regions import regions_of

WEAK_BITS = 64
"""Regions with fewer bits of arrangement can be put back one by one."""


class Thumbnails(NamedTuple):
    """How large pictures with as many pixels as regions are: (width, height).

    Attributes:
      median: over images, each of the shape of its plan.
      largest: of the image with most of them.
    """

    median: tuple[int, int]
    largest: tuple[int, int]


def thumbnail_sides(plans: Plans) -> Thumbnails:
    """Returns how much of images their region means show."""
    sides = []
    for size in plans:
        h, w = size.shape
        pixels = len(np.unique(np.asarray(regions_of(size).origin)))
        scale = math.sqrt(pixels / (h * w))
        sides.append((max(1, round(w * scale)), max(1, round(h * scale))))
    median = np.median(np.asarray(sides), axis=0)
    largest = max(sides, key=lambda side: side[0] * side[1])
    return Thumbnails((int(median[0]), int(median[1])), largest)


def weak_share(case: Case) -> float:
    """Returns the share of pixels in regions of fewer than 64 bits of arrangement.

    Pixels that were not moved are not counted.
    """
    shares = []
    for image, size in zip(case.originals, case.plans, strict=True):
        weak, areas = 0.0, _areas(size)
        for area in np.unique(areas[areas > 1]):
            alike = areas == area
            here = np.where(alike, size, 1)
            bits, _ = permutation_bits(image, here, case.mixer.channels)
            weak += float(alike.sum()) * float(np.mean(bits < WEAK_BITS))
        shares.append(weak / size.size)
    return float(np.mean(shares))


def _areas(size: np.ndarray) -> np.ndarray:
    """Returns the area of each pixel's region, `h w`."""
    regions = regions_of(size)
    return np.asarray(regions.height * regions.width)


def clear_shares(case: Case) -> list[float]:
    """Returns each image's share of pixels that regions of one pixel leave in clear."""
    return [float(np.mean(_areas(size) == 1)) for size in case.plans]


def suggested_by_vfe(case: Case) -> float | None:
    """Returns how far VFE rose, from 0 (not at all) to 1 (as in a whole shuffle).

    The mean over images; None where all of them are flat.
    """
    levels = []
    channels = case.mixer.channels
    for image, original in zip(case.published, case.originals, strict=True):
        low = float(vim_jax.vfe(original))
        high = float(vim_jax.max_vfe(original, channels=channels))
        if high > low:
            levels.append((float(vim_jax.vfe(image)) - low) / (high - low))
    return float(np.mean(levels)) if levels else None
