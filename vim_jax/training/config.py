"""What to train and how."""

import dataclasses
import math
from typing import Any, Literal, TypeAlias, get_type_hints

from vim_jax.fields import check_type, plain
from vim_jax.mixer import VisualMixer
from vim_jax.models import list_models
from vim_jax.models.registry import checked_options

Optimizer: TypeAlias = Literal[
    "st_adam", "adam", "adam_no_bias_correction", "adamw", "sgd"
]


_LEAST = {
    "num_classes": 2,
    "epochs": 1,
    "batch_size": 1,
    "crop": 0,
    "crop_multiple": 1,
    "checkpoint_every": 1,
    "checkpoint_every_steps": 1,
}
# Closer to 1, float32 cannot tell the weights of the first steps apart.
_MOST_EMA = 0.99999


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Settings of one training run.

    Attributes:
      model: Name of the model, one of `vim_jax.models.list_models()`.
      model_options: Options of that model, such as ``{"patch_size": 2}``, or
        ``{"dtype": "bfloat16"}``: parameters stay in float32. The images decide over
        their size and channels.
      num_classes: Number of classes; None takes the largest training label + 1.
      epochs: Passes over the training set.
      batch_size: Images per step, over all devices together. The images that do
        not fill a last batch are left out of that epoch, others in the next.
      learning_rate: Peak learning rate, before the cosine decay to zero.
      optimizer: "st_adam", "adam", "adam_no_bias_correction" (which differs from
        ST-Adam in its epsilon only: 1e-8 outside the root, where ST-Adam's 1e-8 inside
        keeps the root above 1e-4), "adamw" (Adam with weight decay) or "sgd" (momentum
        0.9).
      weight_decay: Strength of the decay, at least 0: decoupled from the gradient,
        except for "sgd", where it is the L2 penalty's gradient. Vectors (biases,
        normalisation scales) do not decay; position embeddings and Swin's position bias
        do. "adam" has none: that is "adamw".
      clip_norm: Largest norm of a step's gradient, which is scaled down to it; None
        leaves gradients as they are.
      warmup_fraction: Share of all steps in which the learning rate first rises
        linearly from zero, in [0, 1). ST-Adam's early steps are several learning
        rates long, so it wants some.
      label_smoothing: Share of the target spread evenly over the classes, in
        [0, 1).
      ema: Decay rate a step of a moving average of the parameters, and of the
        statistics of normalisation, in [0, 1). The average is what is tested and handed
        back. 0 averages nothing.
      flip: Whether to mirror each training image left to right, or not, at random.
      crop: Largest shift of a training image in either direction, in pixels. What
        comes in from outside is black.
      crop_multiple: Shifts are multiples of this many pixels. On images that are
        mixed already, the region size keeps their regions where they were.
      fresh: Mixes each batch anew within its step, after flip and crop, every image
        with a key made of seed, step and its number. On plain images that is mixing
        "fresh". On images that are mixed already, in regions of this size, it
        shuffles them again as anyone can: of each original, the network sees what
        "fresh" would show it. A level plans what it is given, so it suits plain images
        only; where it is out of reach it comes as near as it can.
      gradient_cosine: Whether to measure how gradients oscillate: the cosine between
        the gradients of successive steps, before clipping. Takes the memory of another
        gradient.
      seed: Decides initial parameters, the order of the images, and augmentation; 0
        to 2**32 - 1. Not a secret.
      checkpoint_every: Epochs between checkpoints; the last epoch always has one.
      checkpoint_every_steps: Steps between further checkpoints; None makes none.
    """

    model: str = "resnet8"
    model_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    num_classes: int | None = None
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Optimizer = "st_adam"
    weight_decay: float = 0.0
    clip_norm: float | None = None
    warmup_fraction: float = 0.1
    label_smoothing: float = 0.0
    ema: float = 0.0
    flip: bool = False
    crop: int = 0
    crop_multiple: int = 1
    fresh: VisualMixer | None = None
    gradient_cosine: bool = False
    seed: int = 0
    checkpoint_every: int = 1
    checkpoint_every_steps: int | None = None

    def __post_init__(self):
        if self.model not in list_models():
            raise ValueError(
                f"model is {self.model!r}: use one of {', '.join(list_models())}."
            )
        self._set_plain()
        if self.optimizer == "adam" and self.weight_decay:
            raise ValueError(
                f'weight_decay is {self.weight_decay} with optimizer "adam": use '
                '"adamw", which is Adam with weight decay.'
            )
        options = checked_options(self.model, self.model_options)
        object.__setattr__(self, "model_options", options)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}: use at least {least}.")
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}: use a positive number.")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(
                f"weight_decay is {self.weight_decay}: use zero or a positive number."
            )
        for name in ("warmup_fraction", "label_smoothing", "ema"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: use at least 0 and below 1."
                )
        if self.ema > _MOST_EMA:
            raise ValueError(
                f"ema is {self.ema}: use at most {_MOST_EMA}, which averages over "
                "100,000 steps."
            )
        if self.crop % self.crop_multiple:
            raise ValueError(
                f"crop is {self.crop} with crop_multiple {self.crop_multiple}: use a "
                "multiple of it."
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed}: use 0 to {2**32 - 1}.")

    def _set_plain(self):
        """Replaces values by plain ones, of their fields' types, or raises ValueError.

        JSON and Flax take no numbers of NumPy's.
        """
        for name, kind in get_type_hints(TrainConfig).items():
            value = plain(getattr(self, name))
            check_type(name, value, kind)
            if kind in (float, float | None) and value is not None:
                value = float(value)
            object.__setattr__(self, name, value)
