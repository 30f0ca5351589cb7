"""What an audit looks at: published images, their originals, and the attacker's own."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

import vim_jax
from vim_jax.attacks.protocol import Images, Knowledge, Plans, Truth
from vim_jax.attacks.recognition import SecondAttribute, second_attribute
from vim_jax.data import manifest
from vim_jax.data.arrays import TrainTest, train_test_arrays
from vim_jax.data.buckets import Buckets
from vim_jax.data.errors import DataError
from vim_jax.data.example import LazySource
from vim_jax.data.padded import as_grey_levels, plan_images
from vim_jax.data.sources import open_source
from vim_jax.keys import SecretKey
from vim_jax.mixer import VisualMixer
from vim_jax.regions import uniform_plan

Progress = Callable[[int, int], None]

WINDOW = 192
"""Larger images are judged by a window of about this side, in pixels."""

_MOST_WHOLE = 1 << 20  # Pixels.
_FEW_WHOLE = 4
_EMBEDDED_PHOTOGRAPHS = "embedded:photographs"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Published images, with what is needed to attack them and to judge the attacks.

    Attributes:
      name: of the set.
      mixer: the settings that it was mixed with.
      published: the mixed images, or windows of them.
      originals: the same images, or windows, not mixed.
      plans: int32 `h w` each.
      candidates: the originals, and images that were not published.
      auxiliary: uint8 `m h w c`, the attacker's images, of the published shape; None
        if there are none.
      whole: some published images, their originals and plans, of one shape and not cut
        to windows; may be empty.
      labels: int `n`, of the published images; None if there are none.
      auxiliary_labels: int `m`.
      attribute: a second attribute that follows from the label.
      other: images of another kind, of the published shape; may be none.
      cut: whether windows of larger images stand for them.
      notes: what was left out, as sentences.
    """

    name: str
    mixer: VisualMixer
    published: Images
    originals: Images
    plans: Plans
    candidates: Images
    whole: tuple[Images, Images, Plans] = ((), (), ())
    auxiliary: UInt8[np.ndarray, "m h w c"] | None = None
    labels: Int[np.ndarray, " n"] | None = None
    auxiliary_labels: Int[np.ndarray, " m"] | None = None
    attribute: SecondAttribute | None = None
    other: Images = ()
    cut: bool = False
    notes: tuple[str, ...] = ()

    @property
    def one_shape(self) -> bool:
        """Whether all published images have one shape."""
        return len({image.shape for image in self.published}) == 1

    @property
    def knowledge(self) -> Knowledge:
        """All that an attacker may hold, of which an attack takes its part."""
        return Knowledge(
            plans=self.plans,
            mixer=self.mixer,
            auxiliary=self.auxiliary,
            auxiliary_labels=self.auxiliary_labels,
            candidates=self.candidates,
        )

    @property
    def truth(self) -> Truth:
        """What the attacker wants to know."""
        return Truth(originals=self.originals, labels=self.labels)

    @property
    def digest(self) -> str:
        """Names the case by its contents, in hexadecimal."""
        # With the version, so that no result survives a better attack.
        digest = hashlib.sha256(f"{vim_jax.__version__} {self.mixer}".encode())
        parts: list[Any] = [*self.published, *self.originals, *self.plans]
        for images in (self.candidates, self.other, *self.whole):
            parts += list(images)
        more = (self.auxiliary, self.auxiliary_labels, self.labels)
        parts += [x for x in more if x is not None]
        for part in parts:
            digest.update(f"{part.shape}{part.dtype}".encode())
            digest.update(part.tobytes())
        return digest.hexdigest()[:16]


def from_data(
    spec: str,
    mixer: VisualMixer,
    *,
    data_dir: str | None,
    images: int,
    auxiliary: int,
    progress: Progress | None = None,
) -> Case:
    """Returns a labelled set as it would be published: a setting judged beforehand.

    Its test images are mixed as `vim-jax mix` does; its training images are what the
    attacker has.

    Args:
      spec: the set, see `open_source`; all images of one size.
      mixer: the setting.
      data_dir: where the TFDS data sets lie.
      images: how many test images to publish, at most.
      auxiliary: how many training images the attacker has, at most.
      progress: called with the images read and to read.

    Raises:
      DataError: as `train_test_arrays`.
    """
    limit = max(images, auxiliary)
    data = train_test_arrays(spec, data_dir=data_dir, limit=limit, progress=progress)
    return from_arrays(spec, data, mixer, images=images, auxiliary=auxiliary)


def from_arrays(
    name: str, data: TrainTest, mixer: VisualMixer, *, images: int, auxiliary: int
) -> Case:
    """Returns what `from_data` returns, of images that were read before.

    Args:
      name: of the set; some have a second attribute.
      data: training and test images.
      mixer: the setting.
      images: how many test images to publish, at most.
      auxiliary: how many training images the attacker has, at most.
    """
    originals = _as_bytes(data.test.images[:images])
    known = _as_bytes(data.train.images[:auxiliary])
    # Fixed, so that an interrupted audit goes on with the same images. The attacks
    # know nothing of it.
    key = SecretKey(hashlib.sha256(b"vim_jax: the key of audits").digest())
    lenient = dataclasses.replace(mixer, clip=True)
    mixed, plans = lenient(key, originals, [str(i) for i in range(len(originals))])
    return Case(
        name=name,
        mixer=lenient,
        published=np.asarray(mixed),
        originals=originals,
        plans=np.asarray(plans.size),
        candidates=np.concatenate([originals, known[:1000]]),
        whole=(np.asarray(mixed), originals, np.asarray(plans.size)),
        auxiliary=known,
        labels=data.test.labels[:images].astype(np.int64),
        auxiliary_labels=data.train.labels[:auxiliary].astype(np.int64),
        attribute=second_attribute(name, data.label_names),
        other=_photographs(originals.shape[1:]),
    )


def from_published(
    published: str | os.PathLike[str],
    originals: str | os.PathLike[str],
    *,
    split: str | None = None,
    auxiliary: str | None,
    data_dir: str | None,
    images: int,
    windows: int,
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Case:
    """Returns a set that `vim-jax mix` published.

    Each published image is matched with its original by their values, which mixing
    keeps: so neither names nor the key are needed.

    Args:
      published: the folder with the manifest.
      originals: what it was made from, see `open_source`.
      split: of `originals`, if that is a TFDS data set.
      auxiliary: images like them that were not published; see `open_source`.
      data_dir: where the TFDS data sets lie.
      images: how many images to look at, at most, evenly spread.
      windows: how many windows of auxiliary images the attacker has, at most.
      max_pixels: the largest image to decode.
      progress: called with the images read and to read.

    Raises:
      DataError: if there is no manifest, or no published image has its original among
        `originals`.
    """
    folder = pathlib.Path(published)
    head = manifest.read(folder / manifest.NAME)[0]
    settings = dict(head["settings"])
    mixer = VisualMixer(**{**settings, "clip": True})
    is_tfds = head["file_format"] == "tfds"
    mixed = open_source(folder, split="train" if is_tfds else None)
    plain = open_source(
        originals, split=split, data_dir=data_dir, max_pixels=max_pixels
    )
    chosen = _spread(len(mixed), images)
    total = len(chosen) + len(plain)
    partners: dict[bytes, UInt8[np.ndarray, "h w c"]] = {}
    wanted: dict[bytes, UInt8[np.ndarray, "h w c"]] = {}
    for done, i in enumerate(chosen):
        image = mixed[i].image
        wanted[_values(image)] = image
        if progress is not None:
            progress(done + 1, total)
    for i in range(len(plain)):
        image = plain[i].image
        values = _values(image)
        if values in wanted:
            partners[values] = image
        if progress is not None:
            progress(len(chosen) + i + 1, total)
    if not partners:
        raise DataError(
            f"no image of {folder} was made from one of {originals}: give the images "
            "that it was made from"
        )
    notes = []
    if missing := len(wanted) - len(partners):
        notes.append(f"{missing} published images have no original among {originals}.")
    buckets = Buckets()
    uncut = [
        (wanted[values], partners[values], _plan(partners[values], mixer, buckets))
        for values in partners
    ]
    cut = [_window(*images) for images in uncut]
    shapes = {window[0].shape for window in cut}
    known = None
    if auxiliary is not None and len(shapes) == 1:
        source = open_source(auxiliary, data_dir=data_dir, max_pixels=max_pixels)
        known = _windows(source, shapes.copy().pop(), windows, progress)
    elif auxiliary is not None:
        notes.append("The images have different sizes, so no network was trained.")
    own = [original for _, original, _ in cut]
    same = [] if known is None else list(known[:1000])
    return Case(
        name=folder.name,
        mixer=mixer,
        published=[window for window, _, _ in cut],
        originals=own,
        plans=[plan for _, _, plan in cut],
        candidates=[*own, *same],
        whole=_whole(uncut),
        auxiliary=known,
        cut=any(
            window.shape[:2] != size.shape
            for (window, _, _), (_, _, size) in zip(cut, uncut, strict=True)
        ),
        notes=tuple(notes),
    )


def _as_bytes(image: np.ndarray) -> np.ndarray:
    """Returns images as uint8: of 16 bits, the upper 8."""
    return (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image


def _values(image: np.ndarray) -> bytes:
    """Returns what mixing keeps of an image: its shape and its values."""
    values, count = np.unique(image, return_counts=True)
    digest = hashlib.sha256(f"{image.shape}".encode())
    digest.update(values.astype("<u4").tobytes() + count.astype("<u4").tobytes())
    return digest.digest()


def _spread(n: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int)).tolist()


def _plan(original: np.ndarray, mixer: VisualMixer, buckets: Buckets) -> np.ndarray:
    """Returns the sizes of the regions that an image was mixed in."""
    if mixer.region_size is not None:
        return np.asarray(uniform_plan(original.shape, mixer.region_size).size)
    cells = _with_channels(original)
    bucket = buckets.of(cells.shape, as_grey_levels(cells).dtype)
    return plan_images([cells], bucket, mixer)[0].size.astype(np.int32)


def _with_channels(image: np.ndarray) -> np.ndarray:
    return image.reshape(*image.shape[:2], -1)


def _whole(images) -> tuple[Images, Images, Plans]:
    """Returns the first images of moderate size that have the shape of the first."""
    small = [parts for parts in images if parts[2].size <= _MOST_WHOLE]
    alike = [parts for parts in small if parts[0].shape == small[0][0].shape]
    return (
        [_with_channels(_as_bytes(mixed)) for mixed, _, _ in alike[:_FEW_WHOLE]],
        [_with_channels(_as_bytes(original)) for _, original, _ in alike[:_FEW_WHOLE]],
        [size for _, _, size in alike[:_FEW_WHOLE]],
    )


def _window(mixed, original, size):
    """Returns the middle of a mixed image, of its original and of its plan."""
    step = int(size.max())
    rows, columns = (_middle(side, step) for side in size.shape)

    def cut(image):
        return np.ascontiguousarray(_with_channels(_as_bytes(image))[rows, columns])

    return cut(mixed), cut(original), np.ascontiguousarray(size[rows, columns])


def _middle(side: int, step: int) -> slice:
    """Returns the middle of a side, about `WINDOW` pixels, without cutting a region.

    Regions of a plan lie on grids whose steps divide the largest, or are alike.
    """
    length = WINDOW // step * step
    if side <= WINDOW or length == 0:
        return slice(0, side)
    start = (side - length) // 2 // step * step
    return slice(start, start + length)


def _windows(
    source: LazySource, shape: tuple[int, ...], most: int, progress
) -> UInt8[np.ndarray, "m h w c"]:
    """Returns windows of one shape, evenly over the images that are large enough."""
    rng = np.random.default_rng(0)
    each = -(-most // len(source))
    found = []
    for i in range(len(source)):
        image = _with_channels(_as_bytes(source[i].image))
        room = [have - want for have, want in zip(image.shape, shape, strict=True)]
        if min(room) >= 0 and room[2] == 0:
            for _ in range(each):
                y, x = (int(rng.integers(r + 1)) for r in room[:2])
                found.append(image[y : y + shape[0], x : x + shape[1]])
        if progress is not None:
            progress(i + 1, len(source))
    if not found:
        raise DataError(
            f"no auxiliary image is {shape[1]} x {shape[0]} pixels or more, with "
            f"{shape[2]} channels, as the published ones: give others"
        )
    return np.stack(found[:most])


def _photographs(shape: tuple[int, ...]) -> Images:
    """Returns the bundled photographs, reduced and cut to a shape; RGB only."""
    if shape[2] != 3:
        return ()
    from PIL import Image

    found = []
    for example in open_source(_EMBEDDED_PHOTOGRAPHS):
        if example.mode != "RGB":
            continue
        picture = Image.fromarray(example.image)
        scale = 2 * max(shape[0] / picture.height, shape[1] / picture.width)
        small = picture.resize(
            (round(picture.width * scale), round(picture.height * scale)),
            Image.Resampling.LANCZOS,
        )
        pixels = np.asarray(small)
        found += [
            pixels[y : y + shape[0], x : x + shape[1]]
            for y in range(0, pixels.shape[0] - shape[0] + 1, shape[0])
            for x in range(0, pixels.shape[1] - shape[1] + 1, shape[1])
        ]
    return np.stack(found)
