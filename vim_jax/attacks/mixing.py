"""Images mixed by the attacker: for controls, and to learn from."""

import dataclasses

import jax
import numpy as np

from vim_jax.attacks.protocol import Images
from vim_jax.mixer import VisualMixer
from vim_jax.regions import RegionSize

_SEED = 0


def mixed_like(
    mixer: VisualMixer, images: Images, region_size: RegionSize
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns images mixed with one region size, regions in place, and their plans.

    Args:
      mixer: how channels move.
      images: the originals.
      region_size: in pixels, in place of the mixer's own choice.
    """
    simple = dataclasses.replace(
        mixer,
        level=None,
        target_vfe=None,
        region_size=region_size,
        max_region=None,
        scramble_regions=False,
    )
    return mixed_by(simple, images, _SEED)


def mixed_by(
    mixer: VisualMixer, images: Images, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Returns images mixed under a key of the attacker's own, and their plans."""
    key = jax.random.key(seed)
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        by_shape.setdefault(image.shape, []).append(i)
    mixed: dict[int, np.ndarray] = {}
    plans: dict[int, np.ndarray] = {}
    for numbers in by_shape.values():
        batch, plan = mixer(
            jax.random.fold_in(key, numbers[0]), np.stack([images[i] for i in numbers])
        )
        mixed |= dict(zip(numbers, np.asarray(batch), strict=True))
        plans |= dict(zip(numbers, np.asarray(plan.size), strict=True))
    order = range(len(images))
    return [mixed[i] for i in order], [plans[i] for i in order]
