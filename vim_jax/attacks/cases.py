"""What an audit looks at: published images, their originals, and the attacker's own."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

import vim_jax
from vim_jax.attacks.protocol import Images, Knowledge, Plans, Truth
from vim_jax.attacks.recognition import SecondAttribute, second_attribute
from vim_jax.data.arrays import TrainTest, train_test_arrays
from vim_jax.data.sources import open_source
from vim_jax.keys import SecretKey
from vim_jax.mixer import VisualMixer

Progress = Callable[[int, int], None]

_EMBEDDED_PHOTOGRAPHS = "embedded:photographs"


class Whole(NamedTuple):
    """Some published images of one shape, not cut to windows; may be none.

    Attributes:
      published: the mixed images.
      originals: the same images, not mixed.
      plans: int32 `h w` each.
      numbers: of the images in the published set.
    """

    published: Images = ()
    originals: Images = ()
    plans: Plans = ()
    numbers: Sequence[int] = ()


_NONE_WHOLE = Whole()


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
      whole: some published images of one shape, not cut to windows.
      labels: int `n`, of the published images; None if there are none.
      auxiliary_labels: int `m`.
      why_unlabelled: why labels are missing, if they are.
      flips: whether mirrored images have the same label.
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
    whole: Whole = _NONE_WHOLE
    auxiliary: UInt8[np.ndarray, "m h w c"] | None = None
    labels: Int[np.ndarray, " n"] | None = None
    auxiliary_labels: Int[np.ndarray, " m"] | None = None
    why_unlabelled: str = "the images have no labels"
    flips: bool = True
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
            known_originals=self.originals,
        )

    @property
    def truth(self) -> Truth:
        """What the attacker wants to know."""
        return Truth(originals=self.originals, labels=self.labels)

    @property
    def digest(self) -> str:
        """Names the case by its contents, in hexadecimal."""
        attribute = self.attribute
        values = None if attribute is None else attribute.of_label.tolist()
        digest = hashlib.sha256(f"{self.name} {self.mixer} {values}".encode())
        # So that no result survives a better attack.
        digest.update(_code())
        parts: list[Any] = [*self.published, *self.originals, *self.plans]
        for images in (self.candidates, self.other, *self.whole):
            parts += [np.asarray(image) for image in images]
        more = (self.auxiliary, self.auxiliary_labels, self.labels)
        parts += [x for x in more if x is not None]
        for part in parts:
            digest.update(f"{part.shape}{part.dtype}".encode())
            digest.update(part.tobytes())
        return digest.hexdigest()[:16]


@functools.cache
def _code() -> bytes:
    """Returns what changes when attacks do: a hash of all source."""
    digest = hashlib.sha256(vim_jax.__version__.encode())
    package = pathlib.Path(__file__).parents[1]
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).as_posix()
        digest.update(f"{name} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.digest()


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
    originals = as_bytes(data.test.images[:images])
    known = as_bytes(data.train.images[:auxiliary])
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
        whole=Whole(
            np.asarray(mixed), originals, np.asarray(plans.size), range(len(originals))
        ),
        auxiliary=known,
        labels=data.test.labels[:images].astype(np.int64),
        auxiliary_labels=data.train.labels[:auxiliary].astype(np.int64),
        flips=may_be_mirrored(data.label_names),
        attribute=second_attribute(name, data.label_names),
        other=photographs(originals.shape[1:]),
    )


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Returns images as uint8: of 16 bits, the upper 8."""
    return (image >> 8).astype(np.uint8) if image.dtype == np.uint16 else image


def may_be_mirrored(names: Iterable[str]) -> bool:
    """Whether mirrored images have the same label: a digit becomes another, or none."""
    names = tuple(names)
    return not names or not all(name.isdigit() for name in names)


def photographs(shape: tuple[int, ...]) -> Images:
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
