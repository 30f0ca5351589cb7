"""Images of every mode that files keep."""

import numpy as np

SHAPES = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "I;16": ()}


def pixels(mode, height=11, width=7, seed=0):
    rng = np.random.default_rng(seed)
    dtype = np.uint16 if mode == "I;16" else np.uint8
    top = np.iinfo(dtype).max
    image = rng.integers(0, top, (height, width, *SHAPES[mode]), dtype, endpoint=True)
    if mode in ("LA", "RGBA"):
        image[: height // 2 + 1, :, -1] = 0  # colours under full transparency
    return image


def check_sentence(error, *words):
    message = str(error.value)
    assert "\n" not in message
    assert ": " in message, "no remedy"
    for word in words:
        assert word in message, message
    return message
