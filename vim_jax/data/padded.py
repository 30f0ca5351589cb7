"""Planning batches of padded images, with one program for each bucket.

Images are padded at their lower and right edges. What becomes of an image depends
neither on its padding nor on the images beside it.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from vim_jax.data.buckets import Bucket
from vim_jax.mixer import VisualMixer
from vim_jax.planning import goal_words, plan_padded


def as_grey_levels(image: np.ndarray) -> np.ndarray:
    """Returns an image as the metrics take it: 16-bit grey becomes float32."""
    return image.astype(np.float32) / 65535 if image.dtype == np.uint16 else image


class Plan(NamedTuple):
    """The plan of one image, on the host.

    Attributes:
      size: integers `h w`, the region size of each pixel.
      expected_vfe: see `RegionPlan`.
      reached: whether the target lay within reach.
      reach: the VFE of the image, of its largest regions and of its whole shuffle.
    """

    size: np.ndarray
    expected_vfe: float
    reached: bool
    reach: tuple[float, ...]


def plan_images(
    images: Sequence[np.ndarray], bucket: Bucket, mixer: VisualMixer
) -> list[Plan]:
    """Plans images for a level or a target.

    Args:
      images: `h w c` each, uint8 or uint16.
      bucket: a shape that they all fit into.
      mixer: the settings, with a level or a target.
    """
    goals = [goal_words(mixer.level, mixer.target_vfe, x.size) for x in images]
    plans, reach = _plan(
        batch_of([as_grey_levels(image) for image in images], bucket),
        extents_of(images, bucket),
        _full(goals, bucket),
        mixer.level is not None,
        mixer.max_region,
        mixer.channels,
    )
    sizes, expected, reached, *reach = jax.device_get(
        (plans.size, plans.expected_vfe, plans.reached, *reach)
    )
    return [
        Plan(
            sizes[i, : image.shape[0], : image.shape[1]],
            float(expected[i]),
            bool(reached[i]),
            tuple(float(vfe[i]) for vfe in reach),
        )
        for i, image in enumerate(images)
    ]


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def _plan(images, extents, goals, is_level, max_region, channels):
    plan = functools.partial(
        plan_padded, is_level=is_level, max_region=max_region, channels=channels
    )
    return jax.vmap(plan)(images, extents, goals)


def batch_of(arrays: Sequence[np.ndarray], bucket: Bucket, fill: int = 0) -> np.ndarray:
    """Returns arrays `h w ...` padded and stacked to a full batch."""
    shape = (bucket.images, bucket.height, bucket.width, *arrays[0].shape[2:])
    batch = np.full(shape, fill, arrays[0].dtype)
    for padded, array in zip(batch, arrays, strict=False):
        padded[: array.shape[0], : array.shape[1]] = array
    return batch


def extents_of(images: Sequence[np.ndarray], bucket: Bucket) -> np.ndarray:
    """Returns heights and widths, int32 `b 2`."""
    return _full([np.array(image.shape[:2], np.int32) for image in images], bucket)


def _full(rows: Sequence[np.ndarray], bucket: Bucket) -> np.ndarray:
    """Returns rows stacked; the last one stands in for those that are missing."""
    return np.stack([*rows, *[rows[-1]] * (bucket.images - len(rows))])
