"""How near pictures come to the originals: SSIM, PSNR, and what blind guesses score."""

import functools
from collections.abc import Callable

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from vim_jax._types import Channels
from vim_jax.attacks import intervals
from vim_jax.attacks.protocol import Control, Images, Known, Score, score

_WINDOW, _SMALL_WINDOW, _SMALL = 11, 7, 64
_MOST_PSNR = 100.0  # Decibels; stands for the infinity of equal images.
_HALF_THE_ERROR = 3.01  # Decibels; a working attack must halve a blind guess's error.


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


def flat(images: Images, channels: Channels = "independent") -> list[np.ndarray]:
    """Returns each image as a picture of its mean colour, or grey of `mixed` channels.

    Args:
      images: uint8 `h w c` each.
      channels: how they move. Where they are mixed, whose a value was is not known.
    """
    axes = None if channels == "mixed" else (0, 1)
    return [
        np.broadcast_to(np.rint(image.mean(axes)), image.shape).astype(np.uint8)
        for image in images
    ]


def most_frequent(
    images: Images, channels: Channels = "independent"
) -> list[np.ndarray]:
    """Returns each image as a picture of the most frequent value of its channels.

    Args:
      images: uint8 `h w c` each.
      channels: as `flat` takes it: mixed ones have one such value in common.
    """

    def usual(image: np.ndarray) -> np.ndarray:
        pixels = image.reshape(-1, 1 if channels == "mixed" else image.shape[2])
        return np.array([np.bincount(values).argmax() for values in pixels.T])

    return [np.broadcast_to(usual(x), x.shape).astype(np.uint8) for x in images]


def blind_guesses(
    originals: Images,
    auxiliary: UInt8[np.ndarray, "m h w c"] | None = None,
    channels: Channels = "independent",
) -> dict[str, Images]:
    """Returns what can be painted of each original without looking where values lie.

    No single guess is the best one for all sets. Where most of each picture is
    background, as in scans and digits, the background alone scores more than the mean
    colour; in photographs it is the other way round.

    Args:
      originals: what was mixed. Mixing keeps an image's values, so its mean colour and
        its most frequent values are no finding.
      auxiliary: images like them, all of the shape of each original; None if the
        attacker has none.
      channels: how they moved: mixed ones keep neither their means nor their values.
    """
    guesses: dict[str, Images] = {
        "its mean colour": flat(originals, channels),
        "its most frequent values": most_frequent(originals, channels),
        "black": [np.zeros_like(image) for image in originals],
    }
    if auxiliary is not None:
        mean = np.rint(auxiliary.mean(0)).astype(np.uint8)
        guesses["the mean auxiliary image"] = [mean] * len(originals)
    return guesses


def best_guess(
    measure: Callable[[Images, Images], Float[np.ndarray, " n"]],
    originals: Images,
    auxiliary: UInt8[np.ndarray, "m h w c"] | None = None,
    channels: Channels = "independent",
) -> tuple[str, Float[np.ndarray, " n"]]:
    """Returns the blind guess with the highest mean, and its score for each image.

    Args:
      measure: `ssim` or `psnr`. Each has its own best guess.
      originals: see `blind_guesses`.
      auxiliary: see `blind_guesses`.
      channels: see `blind_guesses`.
    """
    guesses = blind_guesses(originals, auxiliary, channels)
    found = {name: measure(guess, originals) for name, guess in guesses.items()}
    best = max(found, key=lambda name: found[name].mean())
    return best, found[best]


def picture_scores(
    reconstructions: Images,
    originals: Images,
    *,
    name: str,
    knowledge: tuple[Known, ...],
    control_case: str,
    control_pictures: Images,
    control_ssim: float,
    channels: Channels,
    auxiliary: UInt8[np.ndarray, "m h w c"] | None = None,
) -> tuple[Score, Score]:
    """Returns the SSIM and the PSNR of reconstructions as scores.

    Chance is what the best of a few blind guesses scores, for this set and this metric:
    each original's mean colour, its most frequent values, black, and the mean auxiliary
    image, where there are any. It is the best for the set, not for each image, since an
    attacker who learns nothing does not know which image is which.

    Args:
      reconstructions: one an original.
      originals: the truth.
      name: of the attack.
      knowledge: what it used.
      control_case: what was attacked for the positive control.
      control_pictures: the attack's reconstructions there, one an original.
      control_ssim: the SSIM that they must reach.
      channels: how those of the originals moved, for the blind guess alone.
      auxiliary: images like the originals, of their shape, for the blind guess alone.
    """
    works = float(ssim(control_pictures, originals).mean())
    decibels = float(psnr(control_pictures, originals).mean())
    _, chance = best_guess(ssim, originals, auxiliary, channels)
    _, blind_decibels = best_guess(psnr, originals, auxiliary, channels)
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
