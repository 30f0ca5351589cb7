"""Mixing as `vim_jax.shuffle` does it, by loops, so that nothing is compiled."""

import numpy as np
import reference


def cells_of(sizes):
    """The pixels of each region, as indices into the image."""
    return [tuple(np.transpose(cells)) for cells in reference.regions(sizes).values()]


def mixed_by_hand(images, size, channels="independent", *, seed=0):
    """Mixed images, and their plans: one size, "entire", or a map of sizes for all."""
    rng, mixed, plans = np.random.default_rng(seed), [], []
    for image in images:
        picture = image.copy()
        sizes = reference.size_map(image.shape, size)
        for cells in cells_of(sizes):
            values = image[cells]
            if channels == "joint":
                values = rng.permutation(values, axis=0)
            elif channels == "independent":
                values = rng.permuted(values, axis=0)
            elif len(values) > 1:  # A single pixel keeps its colour.
                values = rng.permutation(values.ravel()).reshape(values.shape)
            picture[cells] = values
        mixed.append(picture)
        plans.append(sizes.astype(np.int32))
    return mixed, plans
