"""What every model does to its images before the first layer."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from vim_jax.models.config import ConvNetConfig, ModelConfig, TransformerConfig
from vim_jax.models.region_encoder import encode_regions

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STDDEV = (0.229, 0.224, 0.225)


def standardize(
    images: Float[Array, "n h w c"], config: ModelConfig
) -> Float[Array, "n h w c"]:
    """Checks the image shape and normalises intensities as ``config.normalize`` says.

    "fixed" subtracts half a unit of intensity and divides the rest by 0.25, about the
    standard deviation of natural images; "imagenet" uses the mean and the standard
    deviation of each channel that torchvision's weights were trained with. Neither
    depends on the data set, so a mixed image and its original are treated alike.

    Args:
      images: Float images in [0, 1], any float dtype.
      config: Of the model.

    Returns:
      The images in float32, same shape.

    Raises:
      ValueError: If the images are no floats, or not of the shape the model was built
        for.
    """
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"The images are {images.dtype}: models take floats in [0, 1], such as "
            "images / 255."
        )
    if images.ndim != 4:
        raise ValueError(
            f"The images are of shape {images.shape}: pass (n, height, width, "
            "channels), one image as image[None]."
        )
    expected = (*config.image_size, config.channels)
    if images.shape[1:] != expected:
        height, width, channels = images.shape[1:]
        raise ValueError(
            f"The images are {images.shape[1:]} (height, width, channels) but the "
            f"model was built for {expected}: resize the images, or create the model "
            f"with image_size=({height}, {width}) and channels={channels}."
        )
    x = images.astype(jnp.float32)
    if config.normalize == "fixed":
        return (x - 0.5) / 0.25
    mean, stddev = (
        jnp.array(numbers, jnp.float32)[None, None, None]
        for numbers in (_IMAGENET_MEAN, _IMAGENET_STDDEV)
    )
    return (x - mean) / stddev


def convnet_input(
    images: Float[Array, "n h w c"], config: ConvNetConfig
) -> Float[Array, "n h2 w2 c2"]:
    """Returns what the first convolution sees: pixels, or regions.

    Args:
      images: Float images in [0, 1].
      config: Of the network.

    Returns:
      float32, of shape ``config.features`` per image.

    Raises:
      ValueError: If the images are not of the shape the model was built for.
    """
    x = standardize(images, config)
    if config.region_size is None:
        return x
    ordered = config.region_encoder == "linear"
    return encode_regions(x, config.region_size, ordered=ordered)


def patches(
    images: Float[Array, "n h w c"], config: TransformerConfig
) -> Float[Array, "n rows columns f"]:
    """Returns what a transformer embeds: the patches, in their grid.

    Args:
      images: Float images in [0, 1].
      config: Of the network.

    Returns:
      float32; the values of a patch ordered as `encode_regions` says.

    Raises:
      ValueError: If the images are not of the shape the model was built for.
    """
    x = standardize(images, config)
    ordered = config.patch_encoder == "linear"
    return encode_regions(x, config.patch_size, ordered=ordered)
