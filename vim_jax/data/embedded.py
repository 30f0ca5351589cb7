"""Small real image sets that come with scikit-image and scikit-learn, no download."""

import functools
import importlib.util
import pathlib

import numpy as np

from vim_jax.data.decode import decode
from vim_jax.data.encode import mode_of
from vim_jax.data.errors import DataError
from vim_jax.data.example import Example, LazySource

NAMES = ("photographs", "faces", "digits")

_PHOTOGRAPHS = {
    "astronaut": "astronaut.png",
    "camera": "camera.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "coins": "coins.png",
    "moon": "moon.png",
    "motorcycle": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}


def embedded(name: str) -> LazySource:
    """Opens a small set of real images that is on this machine already.

    Args:
      name: "photographs" (8 of scikit-image, 300 to 512 pixels high, colour and
        grey, no labels), "faces" (200 of 25x25 grey from Labelled Faces in the Wild,
        half of them faces) or "digits" (1797 handwritten ones of 8x8 grey, in
        scikit-learn).

    Raises:
      DataError: for another name, and if scikit-image or scikit-learn is missing.
    """
    if name == "photographs":
        ids = tuple(_PHOTOGRAPHS)
        return LazySource(ids, functools.partial(_photograph, _skimage_data(), ids))
    if name == "faces":
        return _faces()
    if name == "digits":
        return _digits()
    raise DataError(f"embedded set {name!r} is unknown: choose {', '.join(NAMES)}")


def _missing(package: str) -> DataError:
    return DataError(
        f"{package} is not installed: install vim_jax with its extra, as in "
        "`pip install '.[demo]'` in a clone"
    )


def _skimage_data() -> pathlib.Path:
    """Returns the folder of the images inside scikit-image.

    They are read as files: `skimage.data` would import all of scikit-image, and fetch
    from the network what is not there.
    """
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise _missing("scikit-image")
    return pathlib.Path(spec.origin).parent / "data"


def _photograph(folder: pathlib.Path, ids: tuple[str, ...], index: int) -> Example:
    id = ids[index]
    path = folder / _PHOTOGRAPHS[id]
    decoded = decode(path)
    return Example(id, decoded.image, None, decoded.mode, path.suffix, decoded.note)


def _faces() -> LazySource:
    path = _skimage_data() / "lfw_subset.npy"
    try:
        intensities = np.load(path)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read: install scikit-image 0.25 or newer again"
        ) from error
    images = np.rint(intensities * 255).astype(np.uint8)
    # The file holds 100 faces first, then 100 other cuttings from photographs.
    labels = np.arange(len(images)) < 100
    return _arrays("faces", images, labels.astype(int), ("non-face", "face"))


def _digits() -> LazySource:
    try:
        # Imported here because it takes a second, and is an optional dependency.
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise _missing("scikit-learn") from error
    values, labels = load_digits(return_X_y=True)
    images = np.rint(np.asarray(values) * (255 / 16)).astype(np.uint8)
    labels = np.asarray(labels)
    return _arrays("digits", images.reshape(-1, 8, 8), labels, tuple("0123456789"))


def _arrays(
    name: str, images: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...]
) -> LazySource:
    """Makes a source of uint8 `(n, h, w)` images and their labels."""
    ids = tuple(f"{name}-{i:06d}" for i in range(len(images)))
    read = functools.partial(_from_arrays, images, labels, ids)
    return LazySource(ids, read, label_names)


def _from_arrays(
    images: np.ndarray, labels: np.ndarray, ids: tuple[str, ...], index: int
) -> Example:
    image = images[index].copy()
    label = int(labels[index])
    return Example(ids[index], image, label, mode_of(image), None, None)
