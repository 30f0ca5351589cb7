"""Images and plans to measure on."""

import numpy as np


def photographs(count: int, side: int, channels: int = 3) -> np.ndarray:
    """Returns `count side side channels` uint8 crops of the bundled photographs."""
    from vim_jax.data import embedded

    sources = [example.image for example in embedded("photographs")]
    sources = [x for x in sources if x.ndim == 3 and min(x.shape[:2]) >= side]
    rng = np.random.default_rng(0)
    crops = []
    for i in range(count):
        image = sources[i % len(sources)]
        y, x = (int(rng.integers(n - side + 1)) for n in image.shape[:2])
        crops.append(image[y : y + side, x : x + side, :channels])
    return np.stack(crops)


def mixed_sizes(count: int, side: int, largest: int) -> np.ndarray:
    """Returns int32 `count side side` region sizes, from `largest` down to 2.

    Every block is cut into quarters with probability one half.
    """
    rng = np.random.default_rng(0)
    sizes = np.full((count, side, side), largest, np.int32)
    size = largest
    while size > 2:
        cut = rng.random((count, side // size, side // size)) < 0.5
        cut = cut.repeat(size, 1).repeat(size, 2)
        sizes = np.where(cut & (sizes == size), size // 2, sizes)
        size //= 2
    return sizes
