"""Multiset assignment: put each region's own values where a smooth guide wants them.

A mixed region still holds its values. The thumbnail, enlarged, says roughly how bright
each place was; giving the largest value to the brightest place, and so on, is the
assignment of least squared distance. Then the picture is denoised by total variation
and the values are assigned anew to what comes out, a few times.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from scipy.optimize import linear_sum_assignment
from skimage.restoration import denoise_tv_chambolle

from vim_jax._types import Channels
from vim_jax.attacks import intervals, thumbnail
from vim_jax.attacks.mixing import mixed_like
from vim_jax.attacks.protocol import (
    Control,
    Images,
    Knowledge,
    Outcome,
    Truth,
    score,
)
from vim_jax.attacks.similarity import picture_scores
from vim_jax.regions import regions_of

_MOST_MATCHED = 1024  # Pixels: larger regions are assigned by brightness alone.


@dataclasses.dataclass(frozen=True)
class Config:
    """How long to refine, and how the control is made.

    Attributes:
      refinements: how often to denoise and assign anew.
      weight: of total variation, for intensities from 0 to 1.
      control_size: region size of the control, in pixels.
      control_ssim: the mean SSIM that its reconstructions must reach.
      control_gain: how much more of the control's values than by chance must be put
        right, as a share of all.
    """

    refinements: int = 3
    weight: float = 0.02
    control_size: int = 2
    control_ssim: float = 0.6
    control_gain: float = 0.02


def run(
    published: Images, knowledge: Knowledge, truth: Truth, config: Config
) -> Outcome:
    """Assigns every region's values. The control is a mixing with tiny regions."""
    if knowledge.plans is None or knowledge.mixer is None:
        raise ValueError("knowledge has no plans or no mixer, which this attack takes")
    channels = knowledge.mixer.channels

    def attacked(images, plans):
        pairs = zip(images, plans, strict=True)
        return [reconstruct(image, plan, channels, config) for image, plan in pairs]

    def rate(pictures):
        pairs = zip(pictures, truth.originals, strict=True)
        return np.asarray([np.mean(a == b) for a, b in pairs])

    pictures = attacked(published, knowledge.plans)
    mixed, plans = mixed_like(knowledge.mixer, truth.originals, config.control_size)
    control = attacked(mixed, plans)
    case = f"region size {config.control_size}"
    pairs = zip(truth.originals, knowledge.plans, strict=True)
    chance = np.asarray([blind_rate(image, plan, channels) for image, plan in pairs])
    in_control = zip(truth.originals, plans, strict=True)
    luck = np.mean([blind_rate(image, plan, channels) for image, plan in in_control])
    exact = score(
        intervals.mean_beside(rate(pictures), chance),
        name="multiset assignment",
        knowledge=("plan", "algorithm"),
        metric="values put right (share)",
        chance=float(chance.mean()),
        control=Control(
            case, float(rate(control).mean()), float(luck) + config.control_gain
        ),
    )
    scores = picture_scores(
        pictures,
        truth.originals,
        name="multiset assignment",
        knowledge=("plan", "algorithm"),
        control_case=case,
        control_pictures=control,
        control_ssim=config.control_ssim,
        auxiliary=knowledge.auxiliary,
        channels=channels,
    )
    return Outcome((*scores, exact), pictures)


def reconstruct(
    image: UInt8[np.ndarray, "h w c"],
    size: Int32[np.ndarray, "h w"],
    channels: Channels,
    config: Config,
) -> UInt8[np.ndarray, "h w c"]:
    """Returns a mixed image with each region's values assigned to a smooth guide.

    Args:
      image: the mixed image.
      size: its plan.
      channels: how its channels moved.
      config: how long to refine.
    """
    region = np.asarray(regions_of(size).origin)
    assign = _assignment(channels, image.shape[2])
    picture = assign(image, region, thumbnail.enlarged(image, size, channels))
    for _ in range(config.refinements):
        guide = denoise_tv_chambolle(
            picture / 255.0, weight=config.weight, channel_axis=2
        )
        picture = assign(image, region, (guide * 255).astype(np.float32))
    return picture


_Assign = Callable[
    [
        UInt8[np.ndarray, "h w c"],
        Int32[np.ndarray, "h w"],
        Float32[np.ndarray, "h w c"],
    ],
    UInt8[np.ndarray, "h w c"],
]


def _assignment(channels: Channels, image_channels: int) -> _Assign:
    if channels == "joint" and image_channels > 1:
        return _assign_pixels
    return _assign_all if channels == "mixed" else _assign_channels


def _by_rank(values: np.ndarray, group: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Returns values of each group put into the order of the group's guide."""
    placed = np.empty_like(values)
    placed[np.lexsort((guide, group))] = values[np.lexsort((values, group))]
    return placed


def _assign_channels(image, region, guide):
    planes = [
        _by_rank(image[..., k].ravel(), region.ravel(), guide[..., k].ravel())
        for k in range(image.shape[2])
    ]
    return np.stack(planes, axis=-1).reshape(image.shape)


def _assign_all(image, region, guide):
    """The channels of a region are one set: its values go to any of them."""
    group = _groups(region, image.shape[2], mixed=True).ravel()
    return _by_rank(image.ravel(), group, guide.ravel()).reshape(image.shape)


def _assign_pixels(image, region, guide):
    """Pixels keep their colours: the Hungarian method matches these to the guide."""
    colours = image.reshape(-1, image.shape[2])
    wanted = guide.reshape(colours.shape)
    placed = np.empty_like(colours)
    order = np.argsort(region, axis=None, kind="stable")
    starts = np.flatnonzero(np.diff(region.ravel()[order], prepend=-1))
    for cells in np.split(order, starts[1:]):
        here = colours[cells].astype(np.float32)
        if len(cells) <= _MOST_MATCHED:
            cost = ((wanted[cells][:, None] - here[None]) ** 2).sum(-1)
            to, source = linear_sum_assignment(cost)
        else:
            to = np.argsort(wanted[cells].sum(-1))
            source = np.argsort(here.sum(-1))
        placed[cells[to]] = colours[cells[source]]
    return placed.reshape(image.shape)


def _groups(region: np.ndarray, channels: int, *, mixed: bool) -> np.ndarray:
    """Returns int64 `h w c`, alike for values that may trade places."""
    region = region.astype(np.int64)[..., None]
    # Regions of one pixel keep their colour, even where channels mix.
    by_channel = (not mixed) | (np.bincount(region.ravel())[region] == 1)
    return region * channels + np.where(by_channel, np.arange(channels), 0)


def blind_rate(
    image: UInt8[np.ndarray, "h w c"],
    size: Int32[np.ndarray, "h w"],
    channels: Channels,
) -> float:
    """Returns the share of values that a random arrangement puts right on average.

    At least 1/n for a region of n values; more where values are equal.

    Args:
      image: the original.
      size: the plan.
      channels: how channels move.
    """
    region = np.asarray(regions_of(size).origin)
    group = _groups(region, image.shape[2], mixed=channels == "mixed")
    value = (group * 256 + image).ravel()
    _, inverse, count = np.unique(value, return_inverse=True, return_counts=True)
    return float(np.mean(count[inverse] / np.bincount(group.ravel())[group].ravel()))
