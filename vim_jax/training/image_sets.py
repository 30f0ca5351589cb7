"""Sets of labelled images as training takes them: checks, fingerprints, thumbnails."""

import functools
import hashlib

import jax
import numpy as np
from jaxtyping import UInt8

from vim_jax.mixer import VisualMixer
from vim_jax.thumbnail import thumbnail

# uint8 images [n, h, w, c] and integer labels [n]
ImageSet = tuple[np.ndarray, np.ndarray]


def check_image_sets(train_set: ImageSet, test_sets: dict[str, ImageSet]) -> None:
    """Checks that the sets are well-formed and of one image shape.

    Args:
      train_set: Images and labels to train on.
      test_sets: Images and labels to test on, by name.

    Raises:
      ValueError: If a set has images or labels of the wrong dtype or shape, a name
        that is taken, or nothing in it.
    """
    expected = train_set[0].shape[1:]
    for name, (images, labels) in [("train_set", train_set), *test_sets.items()]:
        if images.dtype != np.uint8 or images.ndim != 4:
            raise ValueError(
                f"The images of {name} are {images.dtype} {images.shape}: pass uint8 "
                "[n, height, width, channels]."
            )
        if len(images) == 0:
            raise ValueError(f"{name} has no images: pass at least one.")
        check_labels(name, images, labels)
        if images.shape[1:] != expected:
            raise ValueError(
                f"The images of {name} are {images.shape[1:]} but those of the "
                f"training set {expected}: bring them to the same shape."
            )
    if "train" in test_sets:
        raise ValueError(
            'A test set is called "train": use another name, as train_accuracy is the '
            "accuracy on the training set."
        )


def check_labels(name: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Raises ValueError unless there is one integer an image.

    Args:
      name: Of the set.
      images: Of the set.
      labels: Its labels.
    """
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"The labels of {name} are {labels.dtype} {labels.shape}: pass one integer "
            f"for each of its {len(images)} images."
        )


def check_classes(name: str, labels: np.ndarray, num_classes: int) -> None:
    """Raises ValueError if a label is outside 0 to num_classes - 1.

    Args:
      name: Of the set.
      labels: Its labels.
      num_classes: How many classes there are.
    """
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ValueError(
            f"The labels of {name} run from {labels.min()} to {labels.max()}: number "
            f"them from 0 to {num_classes - 1}, or give the network as many classes, "
            "num_classes."
        )


def steps_in_epoch(train_set: ImageSet, batch_size: int) -> int:
    """Returns the number of whole batches in a training set.

    Raises:
      ValueError: If there is none.
    """
    steps = len(train_set[0]) // batch_size
    if steps == 0:
        raise ValueError(
            f"batch_size is {batch_size} but the training set has only "
            f"{len(train_set[0])} images: use a smaller batch_size."
        )
    return steps


def resolve_num_classes(
    num_classes: int | None, train_set: ImageSet, test_sets: dict[str, ImageSet]
) -> int:
    """Returns the number of classes, after checking all labels against it.

    Args:
      num_classes: The number if given; None takes the largest training label + 1.
      train_set: Images and labels to train on.
      test_sets: Images and labels to test on, by name.

    Raises:
      ValueError: If a label is outside 0 to num_classes - 1.
    """
    if num_classes is None:
        num_classes = max(2, int(train_set[1].max()) + 1)
    for name, (_, labels) in [("train_set", train_set), *test_sets.items()]:
        check_classes(name, labels, num_classes)
    return num_classes


def fingerprint(image_set: ImageSet, samples: int = 256) -> str:
    """Tells sets apart by their shapes, labels, and evenly spaced images.

    Sampling keeps this instant for sets of many gigabytes. Mixing changes every
    image, so a mixed set cannot pass for the original or for one of another key.

    Args:
      image_set: Images and labels.
      samples: How many images to look at.

    Returns:
      16 hexadecimal digits.
    """
    images, labels = image_set
    chosen = np.linspace(0, len(images) - 1, min(samples, len(images))).astype(int)
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(np.ascontiguousarray(labels, np.int32).data)
    digest.update(np.ascontiguousarray(images[chosen]).data)
    return digest.hexdigest()[:16]


def thumbnails(
    mixer: VisualMixer,
    originals: UInt8[np.ndarray, "n h w c"],
    mixed: UInt8[np.ndarray, "n h w c"],
    *,
    batch_size: int = 256,
) -> UInt8[np.ndarray, "n h w c"]:
    """Returns the region means of mixed images, in place of their pixels, rounded.

    Args:
      mixer: The settings that the images were mixed with.
      originals: The images before, from which a level plans its regions.
      mixed: The images after.
      batch_size: Images at a time.

    Raises:
      ValueError: If there are no images.
    """
    if len(mixed) == 0:
        raise ValueError("mixed has no images: pass at least one.")
    starts = range(0, len(mixed), batch_size)
    parts = [
        _thumbnails(mixer, originals[i : i + batch_size], mixed[i : i + batch_size])
        for i in starts
    ]
    return np.rint(np.concatenate(parts)).astype(np.uint8)


@functools.partial(jax.jit, static_argnums=0)
def _thumbnails(mixer, originals, mixed):
    def one(original, image):
        return thumbnail(image, mixer.plan(original))

    return jax.vmap(one)(originals, mixed)
