"""What a folder that `vim-jax mix` wrote tells of how its images were mixed."""

import pathlib
from typing import Any

from vim_jax.mixer import VisualMixer

MIXING = "region_size", "channels", "scramble_regions"
"""The settings that must be those of the mixing to shuffle images again."""


def settings_of(data: str | None) -> dict[str, Any] | None:
    """Returns the settings of a set of images, or None if it has no manifest.

    Raises:
      DataError: if the manifest is damaged, or of another version.
    """
    from vim_jax.data import manifest

    path = pathlib.Path(data or "", manifest.NAME)
    return manifest.read(path)[0]["settings"] if data and path.is_file() else None


def mixer_of(data: str) -> VisualMixer | None:
    """Returns how to shuffle a set's images again, or None if no manifest tells."""
    settings = settings_of(data)
    if settings is None or settings["region_size"] is None:
        return None
    return VisualMixer(**{name: settings[name] for name in MIXING})


def check_side(data: str, side: int | None) -> None:
    """Raises ValueError if images that are mixed already are to be resized."""
    if side is not None:
        raise ValueError(
            f"--side {side} would blend the regions of {data}, whose images are mixed "
            "already: leave it out, and mix copies that `vim-jax resize` made"
        )


def check_regions(
    data: str, settings: dict[str, Any] | None, mixer: VisualMixer | None
) -> None:
    """Raises ValueError if images are to be shuffled in other regions than before.

    Args:
      data: the set of images.
      settings: from its manifest; None if it has none.
      mixer: how they are to be shuffled again, if they are; a level is no such way.
    """
    if settings is None or mixer is None or mixer.region_size is None:
        return
    if settings.get("region_size") is None:
        raise ValueError(
            f"--region-size {mixer.region_size}: the images of {data} have regions of "
            "many sizes, which only their owner knows, so nobody else can shuffle them "
            "again: leave it out"
        )
    differing = [
        f"{name} {settings[name]} and not {getattr(mixer, name)}"
        for name in MIXING
        if settings[name] != getattr(mixer, name)
    ]
    if differing:
        raise ValueError(
            f"the manifest of {data} says {', '.join(differing)}: give what it says"
        )
