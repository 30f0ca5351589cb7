"""What every model does to its images before the first layer."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def standardize(
    images: Float[Array, "n h w c"], expected: tuple[int, int, int]
) -> Float[Array, "n h w c"]:
    """Check the image shape and map intensities from [0, 1] to [-2, 2].

    Half a unit of intensity is subtracted and the rest divided by 0.25, about the
    standard deviation of natural images. The constants do not depend on the data
    set, so a mixed image and its original are treated alike.

    Args:
      images: Float images in [0, 1], any float dtype.
      expected: Height, width and channels that the model was built for.

    Returns:
      The images in float32, same shape.

    Raises:
      ValueError: If the images are not of the expected shape.
    """
    if images.shape[1:] != expected:
        height, width, channels = images.shape[1:]
        raise ValueError(
            f"The images are {images.shape[1:]} (height, width, channels) but the "
            f"model was built for {expected}: resize the images, or create the model "
            f"with image_size=({height}, {width}) and channels={channels}."
        )
    return (images.astype(jnp.float32) - 0.5) / 0.25
