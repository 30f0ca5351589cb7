"""Options that several commands share."""

from typing import Annotated

import tyro

from vim_jax._types import Channels
from vim_jax.mixer import VisualMixer
from vim_jax.regions import RegionSize as RegionSize

Level = Annotated[
    float | None,
    tyro.conf.arg(
        help="Privacy level from 0 (as it is) to 1 (as rough as a shuffle of the whole "
        "image); region sizes are chosen to meet it.",
        metavar="0..1",
    ),
]
TargetVfe = Annotated[
    float | None,
    tyro.conf.arg(
        help="The same as an absolute VFE, in squared grey levels per pixel.",
        metavar="VFE",
    ),
]
Size = Annotated[
    RegionSize | None,
    tyro.conf.arg(
        help="One region size for all images, in pixels, or `entire`.",
        metavar="N|entire",
    ),
]
MaxRegion = Annotated[
    int | None,
    tyro.conf.arg(
        help="Largest region size that a level may use, in pixels.", metavar="N"
    ),
]
ChannelMode = Annotated[
    Channels,
    tyro.conf.arg(
        help="Whether the channels of a pixel move together, each by itself, or all "
        "values of a region as one set."
    ),
]
Scramble = Annotated[
    bool,
    tyro.conf.arg(help="Let regions of equal height and width trade places, too."),
]
Clip = Annotated[
    bool,
    tyro.conf.arg(
        help="Where a target is out of reach for an image, come as near as possible "
        "instead of failing on it."
    ),
]
DataDir = Annotated[
    str | None,
    tyro.conf.arg(help="Where the prepared TFDS data sets lie.", metavar="DIR"),
]
MaxPixels = Annotated[
    int | None,
    tyro.conf.arg(
        help="Largest image to read, in pixels; larger ones fail.", metavar="N"
    ),
]
Workers = Annotated[
    int | None,
    tyro.conf.arg(
        help="Images to work on at the same time; by default one a core.", metavar="N"
    ),
]


def check_at_least_one(**options: int | None) -> None:
    """Raises ValueError if an option that counts something is below 1."""
    for name, value in options.items():
        if value is not None and value < 1:
            raise ValueError(f"{name}={value} makes no sense: use 1 or more")


def mixer_from(
    level: float | None,
    target_vfe: float | None,
    region_size: RegionSize | None,
    max_region: int | None,
    channels: Channels,
    scramble_regions: bool,
    clip: bool,
) -> VisualMixer:
    """Returns the mixer that the options describe.

    Raises:
      ValueError: if they are invalid; the message names options, not arguments.
    """
    given = (level, target_vfe, region_size)
    if sum(option is not None for option in given) != 1:
        raise ValueError(
            "give exactly one of --level, --target-vfe and --region-size, for example "
            "--level 0.6"
        )
    return VisualMixer(
        level=level,
        target_vfe=target_vfe,
        region_size=region_size,
        max_region=max_region,
        channels=channels,
        scramble_regions=scramble_regions,
        clip=clip,
    )
