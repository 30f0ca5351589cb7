"""What a folder that `vim-jax mix` wrote tells of how its images were mixed."""

import pathlib
from typing import Any

from vim_jax._types import Channels
from vim_jax.regions import RegionSize


def settings_of(data: str | None) -> dict[str, Any] | None:
    """Returns the settings of a set of images, or None if it has no manifest.

    Raises:
      DataError: if the manifest is damaged, or of another version.
    """
    from vim_jax.data import manifest

    path = pathlib.Path(data or "", manifest.NAME)
    return manifest.read(path)[0]["settings"] if data and path.is_file() else None


def check_side(data: str, side: int | None) -> None:
    """Raises ValueError if images that are mixed already are to be resized."""
    if side is not None:
        raise ValueError(
            f"--side {side} would blend the regions of {data}, whose images are mixed "
            "already: leave it out, and resize images before they are mixed"
        )


def check_regions(
    data: str,
    settings: dict[str, Any],
    region_size: RegionSize,
    channels: Channels,
    scramble_regions: bool,
) -> None:
    """Raises ValueError if images are to be shuffled in other ways than before.

    Args:
      data: the set of images.
      settings: from its manifest.
      region_size: how they are to be shuffled again, like the others.
      channels: see `shuffle`.
      scramble_regions: see `shuffle`.
    """
    if settings.get("region_size") is None:
        raise ValueError(
            f"--region-size {region_size}: the images of {data} have regions of many "
            "sizes, which only their owner knows, so nobody else can shuffle them "
            "again: leave it out"
        )
    asked = {
        "region_size": region_size,
        "channels": channels,
        "scramble_regions": scramble_regions,
    }
    differing = [
        f"{name} {settings[name]} and not {value}"
        for name, value in asked.items()
        if settings[name] != value
    ]
    if differing:
        raise ValueError(
            f"the manifest of {data} says {', '.join(differing)}: give what it says"
        )
