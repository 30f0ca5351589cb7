"""Random changes of training images: flips, crops, and mixing afresh.

Pure functions of one uint8 image and a key. Where regions are, and must stay, is what
sets mixed images apart: a shift by no multiple of the region size moves values of two
regions into one cell of the grid, and a patch encoder built for the regions sees
neither of them whole. A flip keeps the grid if the width is a multiple of the region
size.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt8

from vim_jax.mixer import VisualMixer
from vim_jax.regions import uniform_plan
from vim_jax.shuffling import shuffle
from vim_jax.training.config import TrainConfig


def random_flip(key: jax.Array, image: UInt8[Array, "h w c"]) -> UInt8[Array, "h w c"]:
    """Mirrors an image left to right with probability 1/2.

    Args:
      key: A PRNG key.
      image: The image, of any values.
    """
    return jnp.where(jax.random.bernoulli(key), image[:, ::-1], image)


def random_crop(
    key: jax.Array, image: UInt8[Array, "h w c"], largest: int, *, multiple: int = 1
) -> UInt8[Array, "h w c"]:
    """Shifts an image up or down and left or right, and fills up with zeros.

    Every shift is as likely as any other, in both directions.

    Args:
      key: A PRNG key.
      image: The image, of any values.
      largest: Largest shift in pixels, rounded down to a multiple of `multiple`.
      multiple: Shifts are multiples of this many pixels: of the region size, for a
        mixed image.

    Raises:
      ValueError: If a shift could move all of the image out of sight.
    """
    check_crop(largest, image.shape)
    count = largest // multiple
    reach = count * multiple
    steps = jax.random.randint(key, (2,), 0, 2 * count + 1)
    padded = jnp.pad(image, ((reach, reach), (reach, reach), (0, 0)))
    start = (*(steps * multiple), jnp.zeros_like(steps[0]))
    return jax.lax.dynamic_slice(padded, start, image.shape)


def check_crop(largest: int, image_shape: tuple[int, ...]) -> None:
    """Raises ValueError if a shift could move all of an image out of sight.

    Args:
      largest: See `random_crop`.
      image_shape: (height, width, ...) of the images.
    """
    height, width = image_shape[:2]
    if largest >= min(height, width):
        raise ValueError(
            f"crop is {largest} for images of {height} x {width} pixels: use less than "
            "their shorter side."
        )


def remix(
    keys: jax.Array, images: UInt8[Array, "n h w c"], mixer: VisualMixer
) -> UInt8[Array, "n h w c"]:
    """Mixes a batch with a key for each image, plain or mixed already.

    Shuffling regions that were shuffled gives what shuffling them once under another
    key would have given. It takes no knowledge but the regions.

    Args:
      keys: PRNG keys, shape (n,).
      images: The images.
      mixer: The settings; those with a level or target plan the images as they come.
    """

    def move(key, image, plan):
        return shuffle(
            key,
            image,
            plan,
            channels=mixer.channels,
            scramble_regions=mixer.scramble_regions,
        )

    if mixer.region_size is not None:
        plan = uniform_plan(images.shape[1:], mixer.region_size)
        return jax.vmap(move, in_axes=(0, 0, None))(keys, images, plan)
    # The barrier keeps XLA from planning anew for each use of the plan.
    plans = jax.lax.optimization_barrier(jax.vmap(mixer.plan)(images))
    return jax.vmap(move)(keys, images, plans)


def image_keys(
    key: jax.Array, time: jax.Array | int, indices: Int[Array, " n"]
) -> jax.Array:
    """Returns a key for each image, the same however a batch is split.

    Args:
      key: A PRNG key.
      time: Number of the occasion, such as the step.
      indices: Numbers of the images in their set.
    """
    return jax.vmap(jax.random.fold_in, (None, 0))(
        jax.random.fold_in(key, time), indices
    )


def augment(
    config: TrainConfig,
    step: jax.Array,
    images: UInt8[Array, "n h w c"],
    indices: Int[Array, " n"],
) -> UInt8[Array, "n h w c"]:
    """Flips, crops and mixes a batch as the config says, in this order.

    Args:
      config: The run's settings.
      step: Number of the step.
      images: The images of a batch.
      indices: Their numbers in the training set.
    """
    if not (config.flip or config.crop or config.fresh):
        return images
    # Named, since keys of some other implementations differ under vmap.
    key = jax.random.key(config.seed, impl="threefry2x32")
    flips, crops, mixes = jax.vmap(lambda k: jax.random.split(k, 3), out_axes=1)(
        image_keys(key, step, indices)
    )
    if config.flip:
        images = jax.vmap(random_flip)(flips, images)
    if config.crop:
        images = jax.vmap(
            lambda key, image: random_crop(
                key, image, config.crop, multiple=config.crop_multiple
            )
        )(crops, images)
    if config.fresh:
        images = remix(mixes, images, config.fresh)
    return images
