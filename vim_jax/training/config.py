"""What to train and how."""

import dataclasses
import math
from typing import Literal

from vim_jax.models import list_models


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Settings of one training run.

    Attributes:
      model: Name of the model, one of `vim_jax.models.list_models()`.
      model_options: Options of that model, such as ``{"patch_size": 2}``.
      num_classes: Number of classes; None takes the largest training label + 1.
      epochs: Passes over the training set.
      batch_size: Images per step, over all devices together. The images that do
        not fill a last batch are left out of that epoch, others in the next.
      learning_rate: Peak learning rate, before the cosine decay to zero.
      optimizer: "st_adam", "adam" or "sgd" (momentum 0.9).
      weight_decay: Strength of decoupled weight decay for "st_adam" and "adam", of
        the L2 penalty's gradient for "sgd". Vectors (biases, normalisation scales)
        do not decay.
      warmup_fraction: Share of all steps in which the learning rate first rises
        linearly from zero, in [0, 1). ST-Adam's early steps are several learning
        rates long, so it wants some.
      label_smoothing: Share of the target spread evenly over the classes, in
        [0, 1).
      seed: Decides initial parameters and the order of the images. Not a secret.
      checkpoint_every: Epochs between checkpoints; the last epoch always has one.
    """

    model: str = "vit_tiny_patch4"
    model_options: dict[str, bool | int | float | str] = dataclasses.field(
        default_factory=dict
    )
    num_classes: int | None = None
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    optimizer: Literal["st_adam", "adam", "sgd"] = "st_adam"
    weight_decay: float = 0.0
    warmup_fraction: float = 0.1
    label_smoothing: float = 0.0
    seed: int = 0
    checkpoint_every: int = 1

    def __post_init__(self):
        if self.model not in list_models():
            raise ValueError(
                f"model is {self.model!r}: use one of {', '.join(list_models())}."
            )
        if self.optimizer not in ("st_adam", "adam", "sgd"):
            raise ValueError(
                f'optimizer is {self.optimizer!r}: use "st_adam", "adam" or "sgd".'
            )
        if self.num_classes is not None and self.num_classes < 2:
            raise ValueError(
                f"num_classes is {self.num_classes}: use at least 2, or None."
            )
        for name in ("epochs", "batch_size", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: use at least 1.")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(
                f"learning_rate is {self.learning_rate}: use a positive number."
            )
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(
                f"weight_decay is {self.weight_decay}: use zero or a positive number."
            )
        for name in ("warmup_fraction", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: use at least 0 and below 1."
                )
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: use zero or a positive number.")
