"""Which images a network was trained on, as its run says: what `predict` goes by."""

import os
from collections.abc import Iterator
from typing import Any

from vim_jax.cli import published
from vim_jax.cli.published import MIXING
from vim_jax.mixer import VisualMixer


def described(
    data: str,
    mixer: VisualMixer | None,
    mixed_already: bool,
    *,
    fresh: bool = False,
    remix: bool = False,
) -> dict[str, Any]:
    """Returns what `result.json` says of the training images, as plain data.

    Args:
      data: the images.
      mixer: how they were mixed, or None.
      mixed_already: whether they had been before.
      fresh: whether they were mixed anew in each step, not published once.
      remix: whether they were published once, and shuffled again in each step.
    """
    mixed = mixed_already or mixer is not None
    told = {"data": _name(data), "mixed": mixed, "fresh": fresh, "remixed": remix}
    settings: Any = published.settings_of(data)
    if mixer is not None:
        settings = {name: getattr(mixer, name) for name in MIXING}
    if settings is not None:
        told |= {name: settings[name] for name in MIXING}
    return told


def mixer_of(told: dict[str, Any], mixer: VisualMixer | None) -> VisualMixer:
    """Returns how to shuffle images like those of the training again.

    Args:
      told: from `described`; empty if the run does not say.
      mixer: what was asked for, or None.

    Raises:
      ValueError: if nothing says how, or the run says otherwise.
    """
    size = told.get("region_size")
    if "region_size" in told and size is None:
        raise ValueError(
            "the network learned from images whose regions have many sizes, which only "
            "their plans tell: leave --remixes out"
        )
    if mixer is None:
        if size is None:
            raise ValueError("--remixes needs to know the regions: give --region-size")
        return VisualMixer(**{name: told[name] for name in MIXING})
    if size is not None and any(getattr(mixer, x) != told[x] for x in MIXING):
        raise ValueError(
            f"the network learned from images with {_words(told)}, not with "
            f"{_words({name: getattr(mixer, name) for name in MIXING})}: leave the "
            "options out, which are taken from its run"
        )
    return mixer


def warnings(told: dict[str, Any], data: str, split: str | None) -> Iterator[str]:
    """Yields what speaks against giving a network these images.

    Args:
      told: from `described`; empty if the run does not say.
      data: the images.
      split: of a data set; None for its only one, or for a folder.
    """
    if not told:
        return
    settings = published.settings_of(data)
    if told["mixed"] and settings is None:
        how = f", in {_words(told)}" if told.get("region_size") else ""
        yield (
            f"the network learned from mixed images{how}, and nothing says that those "
            f"of {data} are mixed"
        )
    elif settings is not None and not told["mixed"]:
        yield f"the network learned from plain images, and those of {data} are mixed"
    elif settings is not None and any(
        told.get(x, settings[x]) != settings[x] for x in MIXING
    ):
        yield (
            f"the network learned from images with {_words(told)}, and those of "
            f"{data} have {_words(settings)}"
        )
    if told["data"] == _name(data) and split in (None, "train"):
        yield (
            f"{data} is what the network was trained on, so it knows these images "
            "better than others"
        )


def _name(data: str) -> str:
    """Returns a name of a set from wherever one looks at it."""
    return os.path.realpath(data) if os.path.exists(data) else data


def _words(settings: dict[str, Any]) -> str:
    size = settings.get("region_size")
    regions = "planned regions" if size is None else f"regions of {size} pixels"
    if size == "entire":
        regions = "one region an image"
    scrambled = ", scrambled" if settings.get("scramble_regions") else ""
    return f"{regions}, channels {settings.get('channels')}{scrambled}"
