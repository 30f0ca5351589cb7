"""The part of a mixed image by which a seed is judged."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32, UInt8, UInt32

from vim_jax._types import Channels
from vim_jax.attacks.protocol import Images, Plans
from vim_jax.keys import ImageKey
from vim_jax.mixer import VisualMixer
from vim_jax.regions import Bounds, RegionPlan
from vim_jax.shuffling import unshuffle
from vim_jax.threefry import threefry2x32
from vim_jax.words import BYTES, needs_far, needs_odds, starts_of, turn_words

IMPLEMENTATION = "threefry2x32"
"""JAX's default PRNG keys. Others give other keys under `jax.vmap`."""

_DOMAIN = 0x56494D00 + 2  # Of keys of two words, see `docs/permutation.md`.


class Part(NamedTuple):
    """Words that are put together from bytes of the keystream of an image.

    Attributes:
      numbers: which words of the keystream to draw.
      places: where among their bytes those of the patch are.
    """

    numbers: UInt32[np.ndarray, " _"]
    places: Int32[np.ndarray, " _"]


class Patch(NamedTuple):
    """A part of one image that regions do not stick out of.

    Attributes:
      index: number of the image, as it is folded into the key.
      pixels: `h w c`, with one channel unless cells change channels.
      size: `h w`, its region sizes.
      words: the keystream of the patch, if it were an image, part by part; None, for
        zeros, where there are region words that are not needed.
    """

    index: UInt32[np.ndarray, ""]
    pixels: UInt8[np.ndarray, "h w c"]
    size: Int32[np.ndarray, "h w"]
    words: tuple[Part | None, ...]


def choose_patch(
    published: Images, plans: Plans, mixer: VisualMixer, side: int
) -> tuple[Patch, Bounds]:
    """Returns the patch, among the smallest there are, that varies most in regions."""
    h, w, c = published[0].shape
    if mixer.scramble_regions:
        side = max(h, w)
    while True:
        choice, most = None, -1.0
        for i, (image, size) in enumerate(zip(published, plans, strict=True)):
            for y in range(0, h, side):
                for x in range(0, w, side):
                    part = slice(y, y + side), slice(x, x + side)
                    deviations = image[part].var((0, 1))
                    if deviations.max() > most and _whole_regions(size, part):
                        most = deviations.max()
                        choice = (i, part, int(deviations.argmax()))
        if choice is not None:
            break
        side += 1
    i, part, k = choice
    starts = starts_of((h, w, c), mixer.channels)
    planes = range(c) if mixer.channels == "mixed" else range(k, k + 1)
    moving = planes if mixer.channels != "joint" else range(1)
    size = np.asarray(plans[i], np.int32)[part]
    bounds = bounds_of_sizes(size)
    turning = turn_words(c, mixer.channels)
    later = needs_odds(bounds) or needs_far(bounds)
    pixel = np.arange(h * w, dtype=np.int64).reshape(h, w)[part].reshape(-1)

    def cells(start, planes):
        firsts = [BYTES * (start + plane * h * w) for plane in planes]
        rows = [first + b * h * w for first in firsts for b in range(BYTES)]
        return _part(np.concatenate([pixel + row for row in rows]))

    words: list[Part | None] = [cells(0, moving)]
    if mixer.scramble_regions or turning or later:
        # Their place is kept where they are not needed.
        bytes_ = BYTES * (starts.regions + pixel)[:, None] + np.arange(BYTES)
        words.append(_part(bytes_.reshape(-1)) if mixer.scramble_regions else None)
    if turning:
        words.append(cells(starts.turns, range(turning)))
    if later:
        words.append(cells(starts.odds, moving))
    if needs_far(bounds):
        words.append(cells(starts.far, moving))
    patch = Patch(
        index=np.asarray(i, np.uint32),
        pixels=np.ascontiguousarray(published[i][part][..., list(planes)]),
        size=size,
        words=tuple(words),
    )
    return patch, bounds


def _part(bytes_: np.ndarray) -> Part:
    """Returns the part that consists of these bytes of the keystream."""
    numbers, places = np.unique(bytes_ // BYTES, return_inverse=True)
    places = BYTES * places.reshape(-1) + bytes_ % BYTES
    return Part(numbers.astype(np.uint32), places.astype(np.int32))


def _whole_regions(size: np.ndarray, part: tuple[slice, slice]) -> bool:
    """Whether a part of a plan is a plan of its own, with the same regions."""
    own = size[part]
    for axis, cut in enumerate(part):
        place = np.arange(size.shape[axis])[cut]
        place = np.expand_dims(place, 1 - axis)
        end = np.minimum(place // own * own + own, size.shape[axis])
        if (cut.start % own).any() or (end > place.max() + 1).any():
            return False
    return True


def bounds_of_sizes(size: np.ndarray) -> Bounds:
    """Returns the bounds of a plan's regions."""
    h, w = size.shape
    height = np.minimum(size, h - np.arange(h)[:, None] // size * size)
    width = np.minimum(size, w - np.arange(w)[None, :] // size * size)
    whole = (height == size) & (width == size)
    square = whole & ((size & (size - 1)) == 0)
    return Bounds(
        height=int(height.max()),
        width=int(width.max()),
        smallest=int(min(height.min(), width.min())),
        squares=bool(square.all()),
    )


def patch_channels(mixer: VisualMixer) -> Channels:
    """Returns how the cells of a patch move: of one channel, all by themselves."""
    return "mixed" if mixer.channels == "mixed" else "independent"


def roughness(image: UInt8[jax.Array, "h w c"]) -> Float32[jax.Array, ""]:
    """Returns the sum of squared differences between neighbours."""
    values = image.astype(jnp.float32)
    return (jnp.diff(values, axis=0) ** 2).sum() + (jnp.diff(values, axis=1) ** 2).sum()


@functools.partial(jax.jit, static_argnames=("bounds", "channels"))
def patch_roughness(
    seeds: UInt32[jax.Array, " b"], patch: Patch, bounds: Bounds, channels: Channels
) -> Float32[jax.Array, " b"]:
    """Returns the roughness of a patch put back under each seed."""
    plan = RegionPlan(patch.size, bounds=bounds)
    scrambled = len(patch.words) > 1 and patch.words[1] is not None
    pixels = patch.size.size

    def one(seed):
        key = jax.random.fold_in(jax.random.key(seed, impl=IMPLEMENTATION), patch.index)
        first, second = jax.random.key_data(key)

        def drawn(part):
            if part is None:
                return jnp.zeros(pixels, jnp.uint32)
            domain = jnp.full_like(part.numbers, _DOMAIN)
            words = threefry2x32((first, second), (part.numbers, domain))[0]
            bytes_ = jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)
            chosen = bytes_[part.places].reshape(-1, BYTES)
            return jax.lax.bitcast_convert_type(chosen, jnp.uint32)

        words = jnp.concatenate([drawn(part) for part in patch.words])
        image = unshuffle(
            ImageKey(words, jnp.zeros(8, jnp.uint32)),
            patch.pixels,
            plan,
            channels=channels,
            scramble_regions=scrambled,
        )
        return roughness(image)

    return jax.vmap(one)(seeds)
