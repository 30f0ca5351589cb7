"""Mixing large images in tiles, so that the memory does not grow with them.

No region reaches over the edge of a tile. So a tile is mixed like an image of its own,
with those words of the keystream that belong to its place.
"""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from vim_jax._types import Channels
from vim_jax.data.buckets import Bucket, rectangle
from vim_jax.data.measures import expected_vfe
from vim_jax.data.padded import Plan, plan_images
from vim_jax.data.tiled import shuffle_images
from vim_jax.entropy import permutation_bits
from vim_jax.keys import ImageKey, SecretKey, _mac
from vim_jax.mixer import VisualMixer
from vim_jax.words import BYTES, moving_planes, turn_words

LARGE_PIXELS = 1 << 25

# Sides of the tiles, and of the largest region that a level may use, in pixels.
_PLANNED = 2048
_LARGEST = 512
_SHUFFLED = 512

_BLOCK_BYTES = 64

_Tile = tuple[slice, slice]


def is_large(image: np.ndarray, scramble_regions: bool) -> bool:
    """Returns whether an image is mixed in tiles; regions that trade places forbid."""
    return image.shape[0] * image.shape[1] > LARGE_PIXELS and not scramble_regions


def _tiles(shape: tuple[int, ...], side: int) -> Iterator[_Tile]:
    h, w = shape[:2]
    for top in range(0, h, side):
        for left in range(0, w, side):
            yield (
                slice(top, min(top + side, h)),
                slice(left, min(left + side, w)),
            )


def _tile_bucket(image: np.ndarray, side: int) -> Bucket:
    h, w, c = image.shape
    return rectangle((min(side, h), min(side, w), c), image.dtype)


def plan_large(image: np.ndarray, mixer: VisualMixer) -> Plan:
    """Plans an image, each tile to the level or target for itself.

    Args:
      image: `h w c`, uint8 or uint16.
      mixer: the settings.

    Returns:
      The plan, with uint16 sizes. For its VFE, pairs of pixels across tiles are taken
      to be like the others.
    """
    h, w, _ = image.shape
    size = np.empty((h, w), np.uint16)
    if mixer.region_size is None:
        side = _PLANNED
    else:
        longer = max(h, w)
        size[:] = longer if mixer.region_size == "entire" else mixer.region_size
        side = _side(size)
    bucket = _tile_bucket(image, side)
    expected, reach, reached, total = 0.0, np.zeros(3), True, 0
    for tile in _tiles(image.shape, side):
        part = image[tile]
        rows, cols, _ = part.shape
        pairs = 2 * rows * cols - rows - cols
        total += pairs
        if mixer.region_size is None:
            # Up to a quarter of a tile, plans have powers of two: these fit the grid
            # of the image.
            bound = min(mixer.max_region or _LARGEST, _LARGEST, max(rows, cols) // 4)
            bound = 1 << max(0, bound.bit_length() - 1)
            bounded = dataclasses.replace(mixer, max_region=bound)
            (plan,) = plan_images([part], bucket, bounded)
            size[tile] = plan.size
            expected += rows * cols * plan.expected_vfe
            reach += rows * cols * np.array(plan.reach)
            reached &= plan.reached
        else:
            found = expected_vfe(part, size[tile], channels=mixer.channels)
            expected += rows * cols * found
    share = (2 * h * w - h - w) / max(total, 1) / (h * w)
    return Plan(size, share * expected, reached, tuple((share * reach).tolist()))


def _side(size: np.ndarray) -> int:
    """Returns the side of tiles that cut no region."""
    sizes = {
        int(s)
        for tile in _tiles(size.shape, _PLANNED)
        for s in np.flatnonzero(np.bincount(size[tile].reshape(-1)))
    }
    step = math.lcm(*sizes)
    return step * max(1, _SHUFFLED // step)


def shuffle_large(
    image: np.ndarray,
    size: np.ndarray,
    key: SecretKey,
    nonce: np.ndarray,
    *,
    channels: Channels,
    uniform: bool = False,
    inverse: bool = False,
) -> np.ndarray:
    """Returns an image `h w c` shuffled, as by its image key.

    Args:
      image: the image.
      size: integers `h w`, its plan.
      key: the secret key.
      nonce: the number of the image's key.
      channels: see `shuffle`.
      uniform: see `shuffle_images`.
      inverse: whether to undo it.
    """
    mixed, side = np.empty_like(image), _side(size)
    seed = _mac(key._subkey("stream"), nonce.astype("<u4").tobytes())
    for tile in _tiles(image.shape, side):
        (mixed[tile],) = shuffle_images(
            [image[tile]],
            [size[tile].astype(np.int32)],
            [_tile_key(seed, image.shape, tile, channels)],
            _tile_bucket(image, side),
            channels=channels,
            scramble_regions=False,
            uniform=uniform,
            inverse=inverse,
        )
    return mixed


def bits_of_large(
    image: np.ndarray, size: np.ndarray, channels: Channels
) -> np.ndarray:
    """Returns the `permutation_bits` of an image, as float32."""
    tiles = _tiles(size.shape, _side(size))
    bits = [permutation_bits(image[tile], size[tile], channels)[0] for tile in tiles]
    return np.concatenate([part.astype(np.float32) for part in bits])


def _tile_key(
    seed: bytes, shape: tuple[int, ...], tile: _Tile, channels: Channels
) -> ImageKey:
    """Returns the words of a tile, in the order of an image of its size."""
    height, width, c = shape
    moving = moving_planes(c, channels)
    rows, cols = (part.stop - part.start for part in tile)
    planes = 3 * moving + 1 + turn_words(c, channels)
    words = np.zeros((planes, BYTES, rows, cols), np.uint8)
    for plane in range(planes):
        if plane == moving:  # Words for regions, which are not scrambled.
            continue
        for number in range(BYTES):
            for y, line in enumerate(words[plane, number], tile[0].start):
                row = (plane * BYTES + number) * height + y
                line[:] = _keystream(seed, row * width + tile[1].start, line.size)
    return ImageKey(words.reshape(-1).view("<u4"), np.zeros(0, np.uint32))


def _keystream(seed: bytes, start: int, count: int) -> np.ndarray:
    """Returns bytes of the keystream that `SecretKey.image_key` gives in full."""
    block, skipped = divmod(start, _BLOCK_BYTES)
    cipher = ChaCha20(seed, block.to_bytes(4, "little") + bytes(12))
    stream = np.zeros(skipped + count, np.uint8)
    Cipher(cipher, None).encryptor().update_into(stream.data, stream.data)
    return stream[skipped:]
