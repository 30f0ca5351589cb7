"""Mixing images of a source for publication."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from vim_jax._types import Channels
from vim_jax.data.example import Example
from vim_jax.data.large import bits_of_large, is_large, plan_large
from vim_jax.data.manifest import Sealed, seal
from vim_jax.data.measures import expected_vfe, regions_in, vfe
from vim_jax.data.plans import Plan, plan_image
from vim_jax.data.shuffling import shuffle_image
from vim_jax.entropy import permutation_bits
from vim_jax.keys import SecretKey
from vim_jax.mixer import VisualMixer
from vim_jax.planning import TargetError, out_of_reach
from vim_jax.regions import RegionSize, uniform_size


@dataclasses.dataclass(frozen=True, eq=False)
class Mixed:
    """A mixed image, ready to be published.

    Attributes:
      published_id: its name in the published set.
      image: its pixels, of the shape and dtype of the original.
      label: index of its class, or None.
      record: its line in the manifest.
      note: what decoding the original changed, or None.
    """

    published_id: str
    image: np.ndarray
    label: int | None
    record: dict[str, Any]
    note: str | None


def mix_example(
    example: Example,
    published_id: str,
    mixer: VisualMixer,
    key: SecretKey,
    *,
    keep_key: bool,
    label_names: Sequence[str] | None = None,
) -> Mixed:
    """Mixes an image for publication.

    Args:
      example: the image, of any mode that `decode` returns.
      published_id: its name in the published set.
      mixer: the settings.
      key: the secret key.
      keep_key: whether the record holds, sealed, what restoring takes.
      label_names: the names of the source's classes.

    Raises:
      TargetError: if the target is out of this image's reach.
    """
    image = _with_channels(example.image)
    plan = plan_of(image, mixer)
    if not (plan.reached or mixer.clip):
        raise TargetError(
            out_of_reach(mixer.level, mixer.target_vfe, mixer.max_region, plan.reach)
        )
    nonce = key.nonce(example.id, example.image)
    mixed = shuffle_image(
        image,
        plan.size,
        key.stream(nonce),
        channels=mixer.channels,
        scramble_regions=mixer.scramble_regions,
    )
    record = _record(image, mixed, plan, mixer)
    record = {"id": published_id, "shape": list(example.image.shape), **record}
    if label_names is not None and example.label is not None:
        record["label"] = label_names[example.label]
    if keep_key:
        sealed = Sealed(
            id=example.id,
            suffix=example.suffix,
            mode=example.mode,
            nonce=nonce,
            size=plan.size,
        )
        record["sealed"] = seal(key, published_id, sealed)
    return Mixed(
        published_id=published_id,
        image=mixed.reshape(example.image.shape),
        label=example.label,
        record=record,
        note=example.note,
    )


def _with_channels(image: np.ndarray) -> np.ndarray:
    return image.reshape(*image.shape[:2], -1)


def plan_of(image: np.ndarray, mixer: VisualMixer) -> Plan:
    """Returns the plan that an image is mixed in, large ones in tiles.

    Args:
      image: `h w c`, uint8 or uint16.
      mixer: the settings.
    """
    if is_large(image, mixer.scramble_regions):
        return plan_large(image, mixer)
    if mixer.region_size is not None:
        return _plan_of_size(image, mixer.region_size, mixer.channels)
    return plan_image(image, mixer)


def _plan_of_size(
    image: np.ndarray, region_size: RegionSize, channels: Channels
) -> Plan:
    # Not `uniform_plan`, which compiles a program for each shape.
    side = uniform_size(image.shape, region_size)
    size = np.full(image.shape[:2], side, np.int32)
    expected = expected_vfe(image, size, channels=channels)
    return Plan(size, expected, True, ())


def _record(
    image: np.ndarray, mixed: np.ndarray, plan: Plan, mixer: VisualMixer
) -> dict[str, Any]:
    """Returns what anyone may know of a mixed image."""
    bits = (
        bits_of_large(image, plan.size, mixer.channels)
        if is_large(image, mixer.scramble_regions)
        else permutation_bits(image, plan.size, mixer.channels)[0]
    )
    record: dict[str, Any] = {
        "vfe": _rounded(vfe(image)),
        "expected_vfe": _rounded(plan.expected_vfe),
    }
    if mixer.scramble_regions:
        record["expected_vfe_scrambled"] = _rounded(
            expected_vfe(
                image, plan.size, channels=mixer.channels, scramble_regions=True
            )
        )
    record["left_in_place"] = _rounded(np.mean(plan.size == 1))
    record["regions"] = regions_in(plan.size)
    record["vfe_after"] = _rounded(vfe(mixed))
    record["bits_per_region"] = {
        "minimum": _rounded(bits.min() if bits.size else 0),
        "median": _rounded(np.median(bits) if bits.size else 0),
    }
    if np.array_equal(mixed, image):
        record["unchanged"] = True
    return record


def restore_image(
    mixed: np.ndarray, sealed: Sealed, settings: dict[str, Any], key: SecretKey
) -> np.ndarray | None:
    """Returns the original pixels, or None if they do not match their nonce.

    Args:
      mixed: the published pixels, in the original mode.
      sealed: the image's sealed record.
      settings: the manifest's settings.
      key: the secret key.
    """
    if mixed.shape[:2] != sealed.size.shape:
        return None
    restored = shuffle_image(
        _with_channels(mixed),
        sealed.size,
        key.stream(sealed.nonce),
        channels=settings["channels"],
        scramble_regions=settings["scramble_regions"],
        inverse=True,
    )
    restored = restored.reshape(mixed.shape)
    unharmed = np.array_equal(key.nonce(sealed.id, restored), sealed.nonce)
    return restored if unharmed else None


def _rounded(x: Any) -> float:
    """Returns a number with the six digits that float32 vouches for."""
    return float(f"{float(x):.6g}")
