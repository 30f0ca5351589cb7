"""Planning and measuring large images in tiles, so that memory does not grow with them.

No region reaches over the edge of a tile.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from vim_jax._types import Channels
from vim_jax.data.measures import expected_vfe
from vim_jax.data.plans import Plan, plan_image
from vim_jax.entropy import permutation_bits
from vim_jax.mixer import VisualMixer
from vim_jax.regions import sizes_in, uniform_size

LARGE_PIXELS = 1 << 25

# Sides of the tiles, and of the largest region that a level may use, in pixels.
_PLANNED = 2048
_LARGEST = 512
_MEASURED = 512

_Tile = tuple[slice, slice]


def is_large(image: np.ndarray, scramble_regions: bool) -> bool:
    """Returns whether an image is worked on in tiles; not if regions trade places."""
    return image.shape[0] * image.shape[1] > LARGE_PIXELS and not scramble_regions


def _tiles(shape: tuple[int, ...], side: int) -> Iterator[_Tile]:
    h, w = shape[:2]
    for top in range(0, h, side):
        for left in range(0, w, side):
            yield (
                slice(top, min(top + side, h)),
                slice(left, min(left + side, w)),
            )


def plan_large(image: np.ndarray, mixer: VisualMixer) -> Plan:
    """Plans an image, each tile to the level or target for itself.

    Args:
      image: `h w c`, uint8 or uint16.
      mixer: the settings.

    Returns:
      The plan, with sizes of few bytes. For its VFE, pairs of pixels across tiles are
      taken to be like the others.
    """
    h, w, _ = image.shape
    if mixer.region_size is None:
        size, side = np.empty((h, w), np.uint16), _PLANNED
    else:
        everywhere = uniform_size(image.shape, mixer.region_size)
        size = np.full((h, w), everywhere, np.min_scalar_type(everywhere))
        side = _side(size)
    expected, reach, reached, total = 0.0, np.zeros(3), True, 0
    for tile in _tiles(image.shape, side):
        part = image[tile]
        rows, cols, _ = part.shape
        pairs = 2 * rows * cols - rows - cols
        total += pairs
        if mixer.region_size is None:
            # Up to a quarter of a tile, plans have powers of two: these fit the grid
            # of the image.
            bound = min(mixer.max_region or _LARGEST, _LARGEST, max(rows, cols) // 4)
            bound = 1 << max(0, bound.bit_length() - 1)
            bounded = dataclasses.replace(mixer, max_region=bound)
            plan = plan_image(part, bounded)
            if mixer.max_region is None:
                plan = _or_whole(plan, mixer)
            size[tile] = plan.size
            expected += rows * cols * plan.expected_vfe
            reach += rows * cols * np.array(plan.reach)
            reached &= plan.reached
        else:
            found = expected_vfe(part, size[tile], channels=mixer.channels)
            expected += rows * cols * found
    share = (2 * h * w - h - w) / max(total, 1) / (h * w)
    return Plan(size, share * expected, reached, tuple((share * reach).tolist()))


def _or_whole(plan: Plan, mixer: VisualMixer) -> Plan:
    """Returns a tile's plan, or the tile as one region if it takes that to get there.

    A smooth tile, such as one of sky, may be out of reach of its largest regions.
    """
    own, top, whole = plan.reach
    level, target = mixer.level, mixer.target_vfe
    goal = own + level * (whole - own) if level is not None else target
    if plan.reached or goal is None or not top < min(goal, whole):
        return plan
    return Plan(
        np.full_like(plan.size, _PLANNED), whole, goal <= whole, (own, whole, whole)
    )


def _side(size: np.ndarray) -> int:
    """Returns the side of tiles that cut no region."""
    step = math.lcm(*sizes_in(size))
    return step * max(1, _MEASURED // step)


def bits_of_large(
    image: np.ndarray, size: np.ndarray, channels: Channels
) -> np.ndarray:
    """Returns the `permutation_bits` of an image, as float32."""
    tiles = _tiles(size.shape, _side(size))
    bits = [permutation_bits(image[tile], size[tile], channels)[0] for tile in tiles]
    return np.concatenate([part.astype(np.float32) for part in bits])
