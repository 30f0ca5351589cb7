"""Training image classifiers: one config, one call, resumable runs."""

from vim_jax.training.config import TrainConfig as TrainConfig
from vim_jax.training.evaluation import evaluate as evaluate
from vim_jax.training.evaluation import predict as predict
from vim_jax.training.image_sets import thumbnails as thumbnails
from vim_jax.training.loop import History as History
from vim_jax.training.loop import train as train
from vim_jax.training.parallel import initialize as initialize
from vim_jax.training.saved import load_model as load_model
from vim_jax.training.step import TrainState as TrainState
