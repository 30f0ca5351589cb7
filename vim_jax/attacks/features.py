"""What a mixed image says to a network that knows the plan.

The order of the values within a region is noise. So networks get the values in the
order of a smooth guide, the guide itself, and the region sizes: all that the image
holds of the original, and nothing of the key.
"""

import numpy as np
from jaxtyping import Float32

from vim_jax.attacks import multiset, thumbnail
from vim_jax.attacks.protocol import Images, Plans
from vim_jax.mixer import VisualMixer

_BLUNT = multiset.Config(refinements=0)
_LOG_SIZES = 8.0  # Sizes of 1 to 256 pixels become 0 to 1.


def features(
    published: Images, plans: Plans, mixer: VisualMixer
) -> Float32[np.ndarray, "n h w k"]:
    """Returns the channels of values in order, of the guide, and one of sizes; 0 to 1.

    Args:
      published: mixed images, all of one shape.
      plans: int32 `h w` each.
      mixer: how they were mixed.
    """
    out = []
    for image, size in zip(published, plans, strict=True):
        guide = thumbnail.enlarged(image, size, mixer.channels)
        ordered = multiset.reconstruct(image, size, mixer.channels, _BLUNT)
        log_size = np.log2(size)[..., None] * (255 / _LOG_SIZES)
        out.append(np.concatenate([ordered, guide, log_size], axis=-1))
    return (np.stack(out) / 255).astype(np.float32)
