"""Learned inversion: a network trained to undo the mixing, without the key.

The attacker mixes auxiliary images under keys of its own, and trains a U-Net to restore
them from what mixing leaves (`features`). It is then let loose on the published images.
"""

import dataclasses
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, UInt8

from vim_jax.attacks.features import features
from vim_jax.attacks.fitting import apply, fit
from vim_jax.attacks.mixing import mixed_by, mixed_like
from vim_jax.attacks.protocol import Images, Knowledge, Outcome, Score, Truth
from vim_jax.attacks.similarity import picture_scores
from vim_jax.attacks.thumbnail import as_picture
from vim_jax.mixer import VisualMixer

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Config:
    """The network and its training.

    Attributes:
      width: channels at full resolution; doubled each time the sides are halved.
      depth: how often they are.
      epochs: how often each auxiliary image is seen.
      batch_size: images a step.
      learning_rate: at its peak.
      seed: of the network, the order of images and the attacker's keys.
      control_size: region size of the control, in pixels.
      control_images: of the auxiliary images, how many the control learns from.
      control_ssim: the mean SSIM that the control must reach.
    """

    width: int = 32
    depth: int = 2
    epochs: int = 8
    batch_size: int = 64
    learning_rate: float = 2e-3
    seed: int = 0
    control_size: int = 2
    control_images: int = 2000
    control_ssim: float = 0.7


def run(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    transfer: Images | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Trains on auxiliary images, attacks the published. All have one shape.

    The control is an equal network, trained less long, on a mixing with tiny regions.

    Args:
      published: the mixed images.
      knowledge: with plans, mixer and auxiliary images.
      truth: the originals.
      config: the network and its training.
      transfer: images of another kind, to be mixed and attacked by the same network.
      progress: called with the steps done and the steps to do.
    """
    plans, mixer, auxiliary = knowledge.plans, knowledge.mixer, knowledge.auxiliary
    if plans is None or mixer is None or auxiliary is None:
        raise ValueError(
            "knowledge lacks plans, mixer or auxiliary: this attack learns"
        )
    tiny = mixed_like(mixer, truth.originals, config.control_size)
    easy = _trained_on_size(mixer, auxiliary[: config.control_images], config, progress)
    control = _restored(easy, *tiny, mixer)
    model = trained(mixer, auxiliary, config, progress)
    pictures = _restored(model, published, plans, mixer)

    def scores(name, pictures, originals, control, case) -> tuple[Score, Score]:
        return picture_scores(
            pictures,
            originals,
            name=name,
            knowledge=("plan", "algorithm", "auxiliary images"),
            control_case=case,
            control_pictures=control,
            control_ssim=config.control_ssim,
        )

    case = f"region size {config.control_size}"
    found = scores("learned inversion", pictures, truth.originals, control, case)
    if transfer is not None:
        moved = _restored(model, *mixed_by(mixer, transfer, config.seed + 1), mixer)
        tiny = mixed_like(mixer, transfer, config.control_size)
        found += scores(
            "learned inversion, other kind of image",
            moved,
            transfer,
            _restored(easy, *tiny, mixer),
            case,
        )
    return Outcome(found, pictures)


def trained(
    mixer: VisualMixer,
    auxiliary: UInt8[np.ndarray, "m h w c"],
    config: Config,
    progress: Progress | None = None,
) -> "UNet":
    """Returns a network that restores images mixed by `mixer`."""
    mixed, plans = mixed_by(mixer, auxiliary, config.seed)
    return _trained(mixed, plans, mixer, auxiliary, config, progress)


def _trained_on_size(mixer, auxiliary, config, progress) -> "UNet":
    mixed, plans = mixed_like(mixer, auxiliary, config.control_size)
    return _trained(mixed, plans, mixer, auxiliary, config, progress)


def _trained(mixed, plans, mixer, auxiliary, config, progress) -> "UNet":
    inputs = features(mixed, plans, mixer)
    model = UNet(
        inputs.shape[-1],
        auxiliary.shape[-1],
        config.width,
        config.depth,
        rngs=nnx.Rngs(config.seed),
    )
    return fit(
        model,
        _loss,
        {"inputs": inputs, "wanted": auxiliary},
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        progress=progress,
    )


def _loss(model: "UNet", batch) -> jax.Array:
    wanted = batch["wanted"].astype(jnp.float32) / 255
    error = model(batch["inputs"]) - wanted
    # Of both kinds: squares for decibels, absolute values for sharp edges.
    return (jnp.abs(error) + 4 * error**2).mean()


def _restored(model: "UNet", mixed: Images, plans: Images, mixer) -> list[np.ndarray]:
    restored = apply(model, features(mixed, plans, mixer), batch_size=64)
    return [as_picture(picture * 255) for picture in restored]


class UNet(nnx.Module):
    """A U-Net that adds to the guide, which is among its inputs.

    References:
      Ronneberger et al., `U-Net: Convolutional Networks for Biomedical Image
      Segmentation <https://arxiv.org/abs/1505.04597>`_, MICCAI 2015.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int, *, rngs: nnx.Rngs
    ):
        self.outputs, self.depth = outputs, depth
        widths = [width << level for level in range(depth + 1)]
        self.down = nnx.List([_Block(inputs, width, rngs=rngs)])
        for narrow, wide in itertools.pairwise(widths):
            self.down.append(_Block(narrow, wide, rngs=rngs))
        self.up = nnx.List(
            [
                _Block(narrow + wide, narrow, rngs=rngs)
                for narrow, wide in itertools.pairwise(widths)
            ]
        )
        self.head = nnx.Conv(
            width, outputs, (1, 1), kernel_init=nnx.initializers.zeros_init(), rngs=rngs
        )

    def __call__(self, x: Float[Array, "n h w k"]) -> Float32[Array, "n h w c"]:
        """Returns pictures, 0 to 1 and a little beyond."""
        h, w = x.shape[1:3]
        guide = x[..., self.outputs : 2 * self.outputs]
        step = 1 << self.depth
        x = jnp.pad(x, ((0, 0), (0, -h % step), (0, -w % step), (0, 0)), mode="edge")
        passed = []
        for level, block in enumerate(self.down):
            if level:
                x = nnx.avg_pool(x, (2, 2), (2, 2))
            x = block(x)
            passed.append(x)
        for level in reversed(range(self.depth)):
            skipped = passed[level]
            larger = jax.image.resize(
                x, (*skipped.shape[:3], x.shape[-1]), method="nearest"
            )
            x = self.up[level](jnp.concatenate([skipped, larger], axis=-1))
        return guide + self.head(x)[:, :h, :w]


class _Block(nnx.Module):
    """Two 3x3 convolutions."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs):
        self.first = nnx.Conv(inputs, outputs, (3, 3), rngs=rngs)
        self.second = nnx.Conv(outputs, outputs, (3, 3), rngs=rngs)

    def __call__(self, x):
        return nnx.gelu(self.second(nnx.gelu(self.first(x))))
