"""Sets that `vim-jax mix` published, as cases for an audit."""

import os
import pathlib
from collections.abc import Callable, Container, Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, UInt8

from vim_jax.attacks.cases import Case, Whole, as_bytes, may_be_mirrored, photographs
from vim_jax.attacks.partners import Pair, Partners, kept_values, label_of, partners
from vim_jax.attacks.recognition import second_attribute
from vim_jax.data import manifest
from vim_jax.data.errors import DataError
from vim_jax.data.example import LazySource
from vim_jax.data.sources import open_source
from vim_jax.mixer import VisualMixer
from vim_jax.regions import RegionPlan
from vim_jax.shuffling import shuffle

Progress = Callable[[int, int], None]

WINDOW = 192
"""Larger images are judged by a window of about this side, in pixels."""

_MOST_WHOLE = 1 << 20  # Pixels.
_MOST_SCRAMBLED = WINDOW**2  # Pixels: to try a seed, all of the image is put back.
_FEW_WHOLE = 8  # Of fewer than 6, no failure to find a seed says anything.
_STRANGERS = 1000  # Auxiliary images among the candidates.
_SEED = 0  # Of windows that are mixed anew. The attacks know nothing of it.


def from_published(
    published: str | os.PathLike[str],
    originals: str | os.PathLike[str],
    *,
    split: str | None = None,
    auxiliary: str | None,
    auxiliary_split: str | None = None,
    data_dir: str | None,
    images: int,
    windows: int,
    max_pixels: int | None = None,
    progress: Progress | None = None,
) -> Case:
    """Returns a set that `vim-jax mix` published.

    Each published image is matched with its original by their values, which mixing
    keeps: so neither names nor the key are needed. Its label is that of its original;
    labels of originals and of auxiliary images are the same where their names are.

    Args:
      published: the folder with the manifest.
      originals: what it was made from, see `open_source`; some sets have a second
        attribute.
      split: of `originals`, if that is a TFDS data set.
      auxiliary: images like them that were not published; see `open_source`. Those that
        were are left out.
      auxiliary_split: of `auxiliary`, if that is a TFDS data set.
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
    mixer = VisualMixer(**{**head["settings"], "clip": True})
    is_tfds = head["file_format"] == "tfds"
    mixed = open_source(
        folder, split="train" if is_tfds else None, max_pixels=max_pixels
    )
    plain = open_source(
        originals, split=split, data_dir=data_dir, max_pixels=max_pixels
    )
    chosen = [(i, mixed[i].image) for i in _spread(len(mixed), images)]
    found = partners(chosen, plain, mixer, progress)
    if not found.pairs:
        shapes = {image.shape[:2] for _, image in chosen}
        raise DataError(_why_none_matches(folder, shapes, originals, found))
    notes = _notes(found, originals)
    cut = [_window(pair, mixer) for pair in found.pairs]
    is_cut = any(
        here.size.shape != pair.size.shape
        for here, pair in zip(cut, found.pairs, strict=True)
    )
    if is_cut and mixer.scramble_regions:
        notes.append(
            f"Regions are scrambled, so the windows, of {WINDOW} pixels, are those of "
            "the originals, mixed anew with the same settings. Whole images are harder "
            "to put together: they have more regions."
        )
    shapes = {pair.mixed.shape for pair in cut}
    known, known_labels, names = None, [], _names(plain)
    if auxiliary is not None and len(shapes) == 1:
        source = open_source(
            auxiliary, split=auxiliary_split, data_dir=data_dir, max_pixels=max_pixels
        )
        (shape,) = shapes
        values = {kept_values(pair.original) for pair in found.pairs}
        known, known_labels, left_out = _windows(
            source, shape, windows, values, progress
        )
        if left_out:
            notes.append(f"{left_out} auxiliary images were published: left out.")
        names += _names(source)
    elif auxiliary is not None:
        notes.append("The images have different sizes, so no network was trained.")
    own = [pair.original for pair in cut]
    strangers = [] if known is None else known[_spread(len(known), _STRANGERS)]
    labels = _Labels.of([pair.label for pair in cut], known_labels, names)
    return Case(
        name=folder.name,
        mixer=mixer,
        published=[pair.mixed for pair in cut],
        originals=own,
        plans=[pair.size for pair in cut],
        candidates=[*own, *strangers],
        whole=_whole(found.pairs, mixer),
        auxiliary=known,
        labels=labels.own,
        auxiliary_labels=labels.auxiliary,
        why_unlabelled=labels.why_not,
        flips=may_be_mirrored(labels.names),
        attribute=second_attribute(os.fspath(originals), labels.names),
        other=() if known is None else photographs(known.shape[1:]),
        cut=is_cut,
        notes=tuple(notes),
    )


def _notes(found: Partners, originals: str | os.PathLike[str]) -> list[str]:
    """Returns what was left out, as sentences."""
    notes = []
    if found.unread:
        others = len(found.unread) - 1
        more = f", and {others} more" if others else ""
        notes.append(f"An original could not be read: {found.unread[0]}{more}.")
    if found.missing:
        notes.append(
            f"{found.missing} published images have no original among {originals}."
        )
    if found.ambiguous:
        notes.append(
            f"{found.ambiguous} published images are left out: there are several "
            "originals with their values, such as mirrored copies, and scrambled "
            "regions do not tell which it was."
        )
    return notes


def _why_none_matches(
    folder: pathlib.Path,
    own: set[tuple[int, ...]],
    originals: str | os.PathLike[str],
    found: Partners,
) -> str:
    """Returns a sentence; `own` are heights and widths of the published images."""
    if found.ambiguous:
        return _notes(found, originals)[-1].rstrip(".")
    if own.isdisjoint(found.sides):
        (h, w), (height, width) = min(own), min(found.sides)
        return (
            f"sizes differ: {folder} holds images of {w} x {h} pixels, {originals} of "
            f"{width} x {height}: give the images that it was made from, at their size"
        )
    return (
        f"no image of {folder} was made from one of {originals}: give the images "
        "that it was made from"
    )


class _Labels(NamedTuple):
    """Labels of published and of auxiliary images, by common numbers.

    Attributes:
      names: of the labels.
      own: of the published images; None if they cannot be compared.
      auxiliary: of the auxiliary images.
      why_not: why there are none, or nothing.
    """

    names: tuple[str, ...]
    own: Int[np.ndarray, " n"] | None
    auxiliary: Int[np.ndarray, " m"] | None
    why_not: str

    @classmethod
    def of(
        cls,
        own: Sequence[str | None],
        auxiliary: Sequence[str | None],
        names: Iterable[str],
    ) -> "_Labels":
        """Numbers labels by their names."""
        names = tuple(dict.fromkeys(names))
        for kind, labels in (("", own), ("auxiliary ", auxiliary)):
            bare = sum(label is None for label in labels)
            if bare == len(labels):
                return cls(names, None, None, f"the {kind}images have no labels")
            if bare:
                why = f"{bare} of {len(labels)} {kind}images have no label"
                return cls(names, None, None, why)
        if set(own).isdisjoint(auxiliary):
            why = (
                f"no auxiliary image has the label of a published one, such as {own[0]}"
            )
            return cls(names, None, None, why)
        numbers = {name: i for i, name in enumerate(names)}
        return cls(
            names,
            np.asarray([numbers[str(name)] for name in own]),
            np.asarray([numbers[str(name)] for name in auxiliary]),
            "",
        )


def _names(source: LazySource) -> tuple[str, ...]:
    return source.label_names or ()


def _spread(n: int, most: int) -> list[int]:
    """Returns numbers below `n`, at most so many, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(int)).tolist()


def _with_channels(image: np.ndarray) -> np.ndarray:
    return image.reshape(*image.shape[:2], -1)


def _whole(pairs: Sequence[Pair], mixer: VisualMixer) -> Whole:
    """Returns the first images of moderate size that have the shape of the first."""
    most = _MOST_SCRAMBLED if mixer.scramble_regions else _MOST_WHOLE
    small = [pair for pair in pairs if pair.size.size <= most]
    alike = [pair for pair in small if pair.mixed.shape == small[0].mixed.shape]
    few = alike[:_FEW_WHOLE]
    return Whole(
        [_with_channels(as_bytes(pair.mixed)) for pair in few],
        [_with_channels(as_bytes(pair.original)) for pair in few],
        [pair.size for pair in few],
        [pair.number for pair in few],
    )


def _window(pair: Pair, mixer: VisualMixer) -> Pair:
    """Returns the middle of a mixed image, of its original and of its plan.

    Where regions are scrambled, those of the middle lie anywhere: then the middle of
    the original is mixed on its own.
    """
    step = int(pair.size.max())
    rows, columns = (_middle(side, step) for side in pair.size.shape)

    def cut(image):
        return np.ascontiguousarray(_with_channels(as_bytes(image))[rows, columns])

    original, size = cut(pair.original), np.ascontiguousarray(pair.size[rows, columns])
    mixed = cut(pair.mixed)
    if mixer.scramble_regions and size.shape != pair.size.shape:
        key = jax.random.fold_in(jax.random.key(_SEED), pair.number)
        plan = RegionPlan(jnp.asarray(size))
        mixed = np.asarray(
            shuffle(key, original, plan, channels=mixer.channels, scramble_regions=True)
        )
    return pair._replace(mixed=mixed, original=original, size=size)


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
    source: LazySource,
    shape: tuple[int, ...],
    most: int,
    published: Container[bytes],
    progress: Progress | None,
) -> tuple[UInt8[np.ndarray, "m h w c"], list[str | None], int]:
    """Returns windows of one shape, the names of their classes, and how many were not.

    They are evenly spread over the images that are large enough: sources often have
    them class by class. An image of just that shape is taken once, and one that was
    published, by its values, not at all.
    """
    rng = np.random.default_rng(0)
    each = -(-most // len(source))
    found: list[tuple[np.ndarray, str | None]] = []
    left_out = 0
    chosen = _spread(len(source), most)
    for done, i in enumerate(chosen):
        example = source[i]
        image = _with_channels(as_bytes(example.image))
        room = [have - want for have, want in zip(image.shape, shape, strict=True)]
        if kept_values(example.image) in published:
            left_out += 1
        elif min(room) >= 0 and room[2] == 0:
            for _ in range(each if max(room) else 1):
                y, x = (int(rng.integers(r + 1)) for r in room[:2])
                window = image[y : y + shape[0], x : x + shape[1]]
                found.append((window, label_of(source, example)))
        if progress is not None:
            progress(done + 1, len(chosen))
    if left_out and not found:
        raise DataError(
            "all auxiliary images were published: give images like them that were not"
        )
    if not found:
        raise DataError(
            f"no auxiliary image is {shape[1]} x {shape[0]} pixels or more, with "
            f"{shape[2]} channels, as the published ones: give others"
        )
    kept = [found[i] for i in _spread(len(found), most)]
    windows = np.stack([window for window, _ in kept])
    return windows, [label for _, label in kept], left_out
