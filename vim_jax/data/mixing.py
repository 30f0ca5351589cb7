"""Mixing one image of a source for publication."""

import dataclasses
import threading
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vim_jax.data.example import Example
from vim_jax.data.manifest import Sealed, seal
from vim_jax.entropy import arrangement_bits, region_areas
from vim_jax.keys import SecretKey
from vim_jax.keystream import Key
from vim_jax.mixer import VisualMixer
from vim_jax.regions import RegionPlan
from vim_jax.shuffling import shuffle, unshuffle
from vim_jax.vfe import expected_vfe, vfe


@dataclasses.dataclass(frozen=True, eq=False)
class Mixed:
    """A mixed image, ready to be published.

    Attributes:
      published_id: its name in the published set.
      image: its pixels, of the shape and dtype of the original.
      label: index of its class, or None.
      record: its line in the manifest.
      unchanged: whether not a single pixel moved.
      note: what decoding the original changed, or None.
    """

    published_id: str
    image: np.ndarray
    label: int | None
    record: dict[str, Any]
    unchanged: bool
    note: str | None


def mix_pixels(
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


_SHAPES = 32
_shapes: set[tuple[int, ...]] = set()
_shapes_lock = threading.Lock()


def _forget_old_shapes(shape: tuple[int, ...]) -> None:
    """Lets go of compiled programs when there are those of many image shapes.

    JAX compiles for every shape and keeps the programs, 40 MB a shape [measured]: a
    set of photographs cut by hand would fill the memory.
    """
    with _shapes_lock:
        _shapes.add(shape)
        if len(_shapes) > _SHAPES:
            jax.clear_caches()
            _shapes.clear()
            _shapes.add(shape)


def as_grey_levels(image: np.ndarray) -> np.ndarray:
    """Returns an image as the metrics take it: 16-bit grey becomes float32."""
    return image.astype(np.float32) / 65535 if image.dtype == np.uint16 else image


def mix_example(
    example: Example,
    published_id: str,
    mixer: VisualMixer,
    key: SecretKey,
    *,
    keep_key: bool,
    label_names: Sequence[str] | None = None,
) -> Mixed:
    """Mixes one image.

    Args:
      example: the image; of any shape, any mode that `decode` returns.
      published_id: its name in the published set.
      mixer: the settings.
      key: the secret key.
      keep_key: whether the record holds, sealed, what restoring takes.
      label_names: the names of the source's classes.

    Raises:
      TargetError: if the target is out of reach for this image.
    """
    _forget_old_shapes(example.image.shape)
    image_key = key.for_image(example.id, example.image)
    mixed, plan = mix_pixels(mixer, image_key, example.image)
    original = as_grey_levels(example.image)
    bits = arrangement_bits(example.image, plan, channels=mixer.channels)
    # Regions of one pixel are not shuffled: `left_in_place` speaks of them.
    areas = region_areas(plan.size)
    bits = bits.reshape(len(areas), -1)[areas > 1]
    unchanged = np.array_equal(mixed, example.image)
    record: dict[str, Any] = {
        "id": published_id,
        "shape": list(mixed.shape),
        "vfe": _rounded(vfe(original)),
        "expected_vfe": _rounded(plan.expected_vfe),
    }
    if label_names is not None and example.label is not None:
        record["label"] = label_names[example.label]
    if mixer.scramble_regions:
        record["expected_vfe_scrambled"] = _rounded(
            expected_vfe(original, plan, channels=mixer.channels, scramble_regions=True)
        )
    record["left_in_place"] = _rounded(np.mean(np.asarray(plan.size) == 1))
    record["vfe_after"] = _rounded(vfe(as_grey_levels(mixed)))
    record["bits_per_region"] = {
        "minimum": _rounded(bits.min() if bits.size else 0),
        "median": _rounded(np.median(bits) if bits.size else 0),
    }
    if unchanged:
        record["unchanged"] = True
    if keep_key:
        sealed = Sealed(
            id=example.id,
            suffix=example.suffix,
            mode=example.mode,
            nonce=np.asarray(image_key.nonce),
            size=np.asarray(plan.size),
        )
        record["sealed"] = seal(key, published_id, sealed)
    return Mixed(
        published_id=published_id,
        image=mixed,
        label=example.label,
        record=record,
        unchanged=unchanged,
        note=example.note,
    )


def restore_image(
    mixed: np.ndarray, sealed: Sealed, settings: dict[str, Any], key: SecretKey
) -> np.ndarray | None:
    """Returns the original pixels, or None if they do not match their nonce.

    Args:
      mixed: the published pixels, in the original mode.
      sealed: the image's sealed record.
      settings: "channels" and "scramble_regions" of the manifest's settings.
      key: the secret key.
    """
    if mixed.shape[:2] != sealed.size.shape:
        return None
    _forget_old_shapes(mixed.shape)
    image_key = key.image_key(sealed.nonce, mixed.shape)
    plan = RegionPlan(jnp.asarray(sealed.size))
    restored = np.asarray(
        unshuffle(
            image_key,
            mixed,
            plan,
            channels=settings["channels"],
            scramble_regions=settings["scramble_regions"],
        )
    )
    unharmed = np.array_equal(key.nonce(sealed.id, restored), sealed.nonce)
    return restored if unharmed else None


def _rounded(x: Any) -> float:
    """Returns a number with the six digits that float32 vouches for."""
    return float(f"{float(x):.6g}")
