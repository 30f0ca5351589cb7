"""Photographs in pieces, for tests."""

import numpy as np
import skimage.data
from PIL import Image

from vim_jax.attacks import puzzle


def photograph(name: str, side: int, *, grey: bool = False) -> np.ndarray:
    picture = Image.fromarray(np.asarray(getattr(skimage.data, name)()))
    picture = picture.convert("L" if grey else "RGB")
    small = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC))
    return small.reshape(side, side, -1)


def shuffled_puzzle(image, side, seed=0):
    """Pieces in random order, and which of them belongs to each place."""
    grid = puzzle.cut(image, side)
    pieces = grid.reshape(-1, *grid.shape[2:])
    order = np.random.default_rng(seed).permutation(len(pieces))
    return pieces[order], np.argsort(order).reshape(grid.shape[:2])
