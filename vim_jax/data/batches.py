"""Mixing sets of images that lie in memory as one array."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Shaped

from vim_jax.mixer import VisualMixer

_BATCH = 256


def mix_array(
    mixer: VisualMixer,
    key: jax.Array,
    images: Shaped[np.ndarray, "n h w *c"],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Shaped[np.ndarray, "n h w *c"]:
    """Mixes each image of a set once, for experiments.

    Image i uses `fold_in(fold_in(key, i // 256), i % 256)`. This is "published once",
    as far as training goes; for publication use `publish` and a secret key.

    Args:
      mixer: the settings.
      key: a PRNG key.
      images: `n h w c` or `n h w`, uint8 or float in [0, 1].
      progress: called with the number of images done and of all images.

    Returns:
      The mixed images, of the shape and dtype of `images`.

    Raises:
      TargetError: as `VisualMixer`.
    """
    mixed = np.empty_like(images)
    if progress:
        progress(0, len(images))
    for start in range(0, len(images), _BATCH):
        batch = images[start : start + _BATCH]
        batch_key = jax.random.fold_in(key, start // _BATCH)
        mixed[start : start + _BATCH] = mixer(batch_key, batch)[0]
        if progress:
            progress(start + len(batch), len(images))
    return mixed
