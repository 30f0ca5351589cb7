"""The thumbnail: what anyone computes from a mixed image in three lines.

Shuffling keeps the mean of every region. Enlarged with bicubic interpolation, the means
are a blurred picture of the original, nearer to it than the mixed image is.
"""

import dataclasses

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from PIL import Image

import vim_jax
from vim_jax._types import Channels
from vim_jax.attacks.mixing import mixed_like
from vim_jax.attacks.protocol import Images, Knowledge, Outcome, Plans, Truth
from vim_jax.attacks.similarity import picture_scores
from vim_jax.regions import RegionPlan


@dataclasses.dataclass(frozen=True)
class Config:
    """How the control is made.

    Attributes:
      control_size: region size of the control, in pixels.
      control_ssim: the mean SSIM that its thumbnails must reach.
    """

    control_size: int = 2
    control_ssim: float = 0.6


def run(
    published: Images, knowledge: Knowledge, truth: Truth, config: Config
) -> Outcome:
    """Enlarges region means. The control is a mixing with tiny regions."""
    if knowledge.plans is None or knowledge.mixer is None:
        raise ValueError("knowledge has no plans or no mixer, which this attack takes")
    channels = knowledge.mixer.channels

    def enlarge(images: Images, plans: Plans) -> list[np.ndarray]:
        pairs = zip(images, plans, strict=True)
        return [as_picture(enlarged(*pair, channels)) for pair in pairs]

    pictures = enlarge(published, knowledge.plans)
    control = enlarge(
        *mixed_like(knowledge.mixer, truth.originals, config.control_size)
    )
    scores = picture_scores(
        pictures,
        truth.originals,
        name="thumbnail",
        knowledge=("plan", "algorithm"),
        control_case=f"region size {config.control_size}",
        control_pictures=control,
        control_ssim=config.control_ssim,
        auxiliary=knowledge.auxiliary,
        channels=channels,
    )
    return Outcome(scores, pictures)


def enlarged(
    image: UInt8[np.ndarray, "h w c"],
    size: Int32[np.ndarray, "h w"],
    channels: Channels = "independent",
) -> Float32[np.ndarray, "h w c"]:
    """Returns the region means of an image as a smooth picture, 0 to 255.

    Args:
      image: the mixed image.
      size: its plan.
      channels: how its channels moved. Where they are "mixed", regions of more than a
        pixel keep their mean over channels only, and become grey.
    """
    means = np.asarray(vim_jax.thumbnail(image, RegionPlan(size)))
    if channels == "mixed":
        grey = means.mean(-1, keepdims=True, dtype=np.float32)
        means = np.where((size > 1)[..., None], grey, means)
    smooth = np.zeros_like(means)
    for s in np.unique(size):
        smooth = np.where((size == s)[..., None], _enlarged_from(means, int(s)), smooth)
    return smooth


def _enlarged_from(means: np.ndarray, size: int) -> np.ndarray:
    """Returns block means of one size, enlarged to where they came from."""
    h, w, c = means.shape
    down, right = -h % size, -w % size
    padded = np.pad(means, ((0, down), (0, right), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // size, padded.shape[1] // size
    # In double precision: float32 is off by grey levels over many pixels.
    blocks = padded.reshape(rows, size, columns, size, c).mean((1, 3), np.float64)
    blocks = blocks.astype(np.float32)
    shape = (columns * size, rows * size)
    planes = [
        np.asarray(
            Image.fromarray(blocks[..., k]).resize(shape, Image.Resampling.BICUBIC)
        )
        for k in range(c)
    ]
    return np.stack(planes, axis=-1)[:h, :w]


def as_picture(
    values: Float32[np.ndarray, "h w c"],
) -> UInt8[np.ndarray, "h w c"]:
    """Returns values of 0 to 255, and a little beyond, as an image."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
