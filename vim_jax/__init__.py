"""VisualMixer in JAX: images people cannot recognise but networks can learn from."""

from vim_jax.entropy import arrangement_bits as arrangement_bits
from vim_jax.keys import ImageKey as ImageKey
from vim_jax.keys import KeyFileError as KeyFileError
from vim_jax.keys import SecretKey as SecretKey
from vim_jax.mixer import VisualMixer as VisualMixer
from vim_jax.optim import scale_by_st_adam as scale_by_st_adam
from vim_jax.optim import st_adam as st_adam
from vim_jax.planning import TargetError as TargetError
from vim_jax.planning import plan_regions as plan_regions
from vim_jax.regions import RegionPlan as RegionPlan
from vim_jax.regions import uniform_plan as uniform_plan
from vim_jax.shuffling import shuffle as shuffle
from vim_jax.shuffling import unshuffle as unshuffle
from vim_jax.thumbnail import thumbnail as thumbnail
from vim_jax.vfe import expected_vfe as expected_vfe
from vim_jax.vfe import gearys_c as gearys_c
from vim_jax.vfe import max_vfe as max_vfe
from vim_jax.vfe import vfe as vfe
from vim_jax.vfe import vfe_map as vfe_map

__version__ = "0.1.0"

__all__ = [
    "ImageKey",
    "KeyFileError",
    "RegionPlan",
    "SecretKey",
    "TargetError",
    "VisualMixer",
    "arrangement_bits",
    "expected_vfe",
    "gearys_c",
    "max_vfe",
    "plan_regions",
    "scale_by_st_adam",
    "shuffle",
    "st_adam",
    "thumbnail",
    "uniform_plan",
    "unshuffle",
    "vfe",
    "vfe_map",
]
