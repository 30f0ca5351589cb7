"""How near pictures come to the originals: SSIM, PSNR, and what flat colour scores."""

import functools

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from vim_jax.attacks import intervals
from vim_jax.attacks.protocol import Control, Images, Known, Score, score

_WINDOW, _SMALL_WINDOW, _SMALL = 11, 7, 64
_MOST_PSNR = 100.0  # Decibels; stands for the infinity of equal images.
_HALF_THE_ERROR = 3.01  # Decibels; a working attack must halve a flat picture's error.


def ssim(images: Images, originals: Images) -> Float[np.ndarray, " n"]:
    """Returns the structural similarity of each image with its original, at most 1.

    The window is 11 pixels wide, and 7 for images with a side below 64 pixels.
    """
    return _each(_ssim, images, originals)


def psnr(images: Images, originals: Images) -> Float[np.ndarray, " n"]:
    """Returns the peak signal-to-noise ratio of each image in decibels, at most 100."""
    return np.minimum(_each(_psnr, images, originals), _MOST_PSNR)


def _each(measure, images: Images, originals: Images) -> np.ndarray:
    # dm_pix promotes dtypes; the user's settings may forbid it.
    with jax.numpy_dtype_promotion("standard"):
        return np.asarray(
            [float(measure(a, b)) for a, b in zip(images, originals, strict=True)]
        )


def _in_unit_range(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float32) / np.float32(255)


def _ssim(image: np.ndarray, original: np.ndarray) -> jax.Array:
    window = _SMALL_WINDOW if min(image.shape[:2]) < _SMALL else _WINDOW
    window = min(window, *image.shape[:2])
    return _compiled_ssim(window)(_in_unit_range(image), _in_unit_range(original))


@functools.cache
def _compiled_ssim(window: int):
    return jax.jit(functools.partial(dm_pix.ssim, filter_size=window))


def _psnr(image: np.ndarray, original: np.ndarray) -> jax.Array:
    decibels = dm_pix.psnr(_in_unit_range(image), _in_unit_range(original))
    return jnp.asarray(decibels)


def flat(images: Images) -> list[np.ndarray]:
    """Returns each image as a picture of its mean colour: the blindest of guesses."""
    return [
        np.broadcast_to(np.rint(image.mean((0, 1))), image.shape).astype(np.uint8)
        for image in images
    ]


def picture_scores(
    reconstructions: Images,
    originals: Images,
    *,
    name: str,
    knowledge: tuple[Known, ...],
    control_case: str,
    control_pictures: Images,
    control_ssim: float,
) -> tuple[Score, Score]:
    """Returns the SSIM and the PSNR of reconstructions as scores.

    Chance is what a picture of the original's mean colour scores.

    Args:
      reconstructions: one an original.
      originals: the truth.
      name: of the attack.
      knowledge: what it used.
      control_case: what was attacked for the positive control.
      control_pictures: the attack's reconstructions there, one an original.
      control_ssim: the SSIM that they must reach.
    """
    blind = flat(originals)
    works = float(ssim(control_pictures, originals).mean())
    decibels = float(psnr(control_pictures, originals).mean())
    chance, blind_decibels = ssim(blind, originals), psnr(blind, originals)
    similarity = score(
        intervals.mean_beside(ssim(reconstructions, originals), chance),
        name=name,
        knowledge=knowledge,
        metric="SSIM",
        chance=float(chance.mean()),
        control=Control(control_case, works, control_ssim),
    )
    noise = score(
        intervals.mean_beside(psnr(reconstructions, originals), blind_decibels),
        name=name,
        knowledge=knowledge,
        metric="PSNR (dB)",
        chance=float(blind_decibels.mean()),
        control=Control(
            control_case, decibels, float(blind_decibels.mean()) + _HALF_THE_ERROR
        ),
    )
    return similarity, noise
