"""Which original a published image was made from, told by the values that mixing keeps.

Neither names nor the key are needed. Copies of an image that are mirrored or turned
have the same values: their regions tell which of them it was, unless these are
scrambled.
"""

import collections
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Shaped

from vim_jax.data.errors import DataError
from vim_jax.data.example import Example, LazySource
from vim_jax.data.mixing import plan_of
from vim_jax.mixer import VisualMixer
from vim_jax.regions import regions_of

Progress = Callable[[int, int], None]


class Pair(NamedTuple):
    """A published image and its original.

    Attributes:
      number: of the image in the published set.
      mixed: as published.
      original: as it was before.
      size: its region sizes, in pixels.
      label: the name of its class, or None.
    """

    number: int
    mixed: Shaped[np.ndarray, "h w *c"]
    original: Shaped[np.ndarray, "h w *c"]
    size: Int32[np.ndarray, "h w"]
    label: str | None


class Partners(NamedTuple):
    """What `partners` returns.

    Attributes:
      pairs: in the order of the published images.
      missing: how many published images have no original there.
      ambiguous: how many have several that cannot be told apart.
      sides: heights and widths of the originals that were read.
      unread: why others could not be, as sentences.
    """

    pairs: list[Pair]
    missing: int
    ambiguous: int
    sides: set[tuple[int, ...]]
    unread: list[str]


def partners(
    mixed: Sequence[tuple[int, np.ndarray]],
    originals: LazySource,
    mixer: VisualMixer,
    progress: Progress | None = None,
) -> Partners:
    """Finds the originals of published images.

    Args:
      mixed: published images, `h w c` or `h w`, after their numbers in the set.
      originals: images, among them the originals.
      mixer: the settings that they were mixed with.
      progress: called with the originals read and to read.

    Raises:
      DataError: if no original can be read.
    """
    named = [(number, image, kept_values(image)) for number, image in mixed]
    wanted = {values for *_, values in named}
    found: dict[bytes, list[Example]] = {}
    sides: set[tuple[int, ...]] = set()
    unread = []
    for i in range(len(originals)):
        try:
            example = originals[i]
        except DataError as error:
            unread.append(str(error))
            continue
        sides.add(example.image.shape[:2])
        values = kept_values(example.image)
        if values in wanted:
            found.setdefault(values, []).append(example)
        if progress is not None:
            progress(i + 1, len(originals))
    if unread and len(unread) == len(originals):
        raise DataError(unread[0])
    published = collections.Counter(values for *_, values in named)
    pairs, missing, ambiguous = [], 0, 0
    for number, image, values in named:
        possible = _different(found.get(values, []))
        if len(possible) > 1 or published[values] > 1:
            possible = [x for x in possible if _has_regions_of(image, x.image, mixer)]
        if len(possible) == 1:
            (example,) = possible
            size = _sizes(example.image, mixer)
            label = label_of(originals, example)
            pairs.append(Pair(number, image, example.image, size, label))
        missing += not possible
        ambiguous += len(possible) > 1
    return Partners(pairs, missing, ambiguous, sides, unread)


def kept_values(image: np.ndarray) -> bytes:
    """Returns what mixing keeps of an image: its shape and its values, as a digest."""
    values, count = np.unique(image, return_counts=True)
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(values.astype("<u4").tobytes() + count.astype("<u4").tobytes())
    return digest.digest()


def _different(examples: Sequence[Example]) -> list[Example]:
    """Returns examples without copies that are the same to the pixel."""
    return list({x.image.tobytes(): x for x in examples}.values())


def _has_regions_of(
    mixed: np.ndarray, original: np.ndarray, mixer: VisualMixer
) -> bool:
    """Returns whether each region of an image has the values that it had before.

    Scrambled regions are compared as a set.
    """
    size = _sizes(original, mixer)
    before, after = (_regions(image, size) for image in (original, mixed))
    if mixer.scramble_regions:
        return collections.Counter(before) == collections.Counter(after)
    return before == after


def _regions(image: np.ndarray, size: np.ndarray) -> list[tuple[int, int, bytes]]:
    """Returns each region's height, width, and values in ascending order."""
    cells = image.reshape(size.size, -1)
    regions = regions_of(size)
    origin = np.asarray(regions.origin).ravel()
    order = np.argsort(origin, kind="stable")
    first, starts = np.unique(origin[order], return_index=True)
    heights, widths = (np.asarray(x).ravel()[first] for x in regions[2:])
    return [
        (int(height), int(width), np.sort(cells[pixels], axis=None).tobytes())
        for height, width, pixels in zip(
            heights, widths, np.split(order, starts[1:]), strict=True
        )
    ]


def _sizes(original: np.ndarray, mixer: VisualMixer) -> np.ndarray:
    """Returns the sizes of the regions that an image was mixed in."""
    image = original.reshape(*original.shape[:2], -1)
    return plan_of(image, mixer).size.astype(np.int32)


def label_of(source: LazySource, example: Example) -> str | None:
    """Returns the name of an image's class, or None if it has none."""
    if example.label is None or source.label_names is None:
        return None
    return source.label_names[example.label]
