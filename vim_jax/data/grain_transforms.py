"""Grain transforms: mixing inside a user's own input pipeline.

Imported on its own (`from vim_jax.data.grain_transforms import ...`), since it needs
grain.
"""

import functools
import os
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np

from vim_jax.data.measures import as_grey_levels
from vim_jax.keys import SecretKey
from vim_jax.keystream import Key
from vim_jax.mixer import VisualMixer
from vim_jax.regions import RegionPlan
from vim_jax.shuffling import shuffle


class MixFresh(grain.transforms.RandomMap):
    """Mixes the image of an element anew each time it is read: an augmentation.

    The key comes from grain's generator of random numbers, so that it follows the
    seed of the pipeline. Not a way to publish images.

    Examples:
      >>> import grain, numpy as np, vim_jax
      >>> from vim_jax.data.grain_transforms import MixFresh
      >>> elements = [{"image": np.eye(8, dtype=np.uint8), "label": 1}]
      >>> mix = MixFresh(vim_jax.VisualMixer(region_size=4))
      >>> data = grain.MapDataset.source(elements).seed(0).random_map(mix)
      >>> data[0]["image"].shape
      (8, 8)
    """

    def __init__(self, mixer: VisualMixer, *, image: str = "image"):
        """Mixes `element[image]`, `h w c` or `h w`, with `mixer`."""
        self._mixer, self._image = mixer, image

    def random_map(
        self, element: dict[str, Any], rng: np.random.Generator
    ) -> dict[str, Any]:
        """Returns the element with its image mixed; others stay as they are."""
        words = rng.integers(0, 2**32, 2, dtype=np.uint32)
        key = jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")
        mixed, _ = _mix_pixels(self._mixer, key, element[self._image])
        return {**element, self._image: mixed}


class MixWithKey(grain.transforms.Map):
    """Mixes the image of an element as `vim-jax mix` would with the same key file.

    Equal ids and images give equal results, in any order and epoch. The id is the name
    that `vim-jax mix` knows an image by, such as "cats/a.jpg" in a folder. (It plans
    images above 33 megapixels in another way.) The key is read from its file where it
    is used, so that it never travels to worker processes.
    """

    def __init__(
        self,
        mixer: VisualMixer,
        key_file: str | os.PathLike[str],
        *,
        image: str = "image",
        id: str = "id",
    ):
        """Mixes `element[image]`, named `element[id]`, with `mixer`."""
        self._mixer, self._key_file = mixer, os.fspath(key_file)
        self._image, self._id = image, id

    def map(self, element: dict[str, Any]) -> dict[str, Any]:
        """Returns the element with its image mixed; others stay as they are."""
        name = element[self._id]
        name = name.decode() if isinstance(name, bytes) else str(name)
        image = element[self._image]
        # Grey images are `h w` to sources and writers, and so to the key.
        grey = image.ndim == 3 and image.shape[2] == 1
        pixels = image[..., 0] if grey else image
        key = _load(self._key_file).for_image(name, pixels)
        mixed, _ = _mix_pixels(self._mixer, key, pixels)
        return {**element, self._image: mixed.reshape(image.shape)}


@functools.cache
def _load(path: str) -> SecretKey:
    return SecretKey.load(path)


def _mix_pixels(
    mixer: VisualMixer, key: Key, image: np.ndarray
) -> tuple[np.ndarray, RegionPlan]:
    """Returns a mixed image and its plan.

    Args:
      mixer: the settings.
      key: the image's key: one of a `SecretKey`, or a PRNG key.
      image: `h w c` or `h w`, uint8, uint16 or float in [0, 1].

    Raises:
      TargetError: if the target is out of reach for this image.
    """
    plan = mixer.plan(as_grey_levels(image))
    mixed = shuffle(
        key,
        image,
        plan,
        channels=mixer.channels,
        scramble_regions=mixer.scramble_regions,
    )
    return np.asarray(mixed), plan
