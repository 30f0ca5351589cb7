"""Folders of small images, commands run on them, and what came of it: for tests."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from vim_jax.cli import main
from vim_jax.data import decode

SIDES = (16, 24)
"""Height and width of the usual test image: JAX compiles anew for every other."""

MODES = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,), "I;16": ()}


def photograph(mode="RGB", seed=0, sides=SIDES):
    """A smooth picture with some noise: shuffling makes it rougher."""
    rng = np.random.default_rng(seed)
    h, w = sides
    slope = np.add.outer(np.linspace(0, 120, h), np.linspace(0, 100, w))
    channels = MODES[mode]
    noise = rng.normal(10, 4, (h, w, *channels))
    image = slope.reshape(h, w, *[1] * len(channels)) + noise
    image = image.clip(0, 255).astype(np.uint8)
    return image.astype(np.uint16) * 257 if mode == "I;16" else image


def save(path, image, **options):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def photographs(folder, count=4):
    """Writes photographs of two classes; returns the folder."""
    for i in range(count):
        save(folder / f"{'cats' if i % 2 else 'dogs'}/{i}.png", photograph(seed=i))
    return folder


def tree(folder):
    """All files below a folder, with what is in them, and the folders as empty."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def pixels(folder):
    """The pixels of all images below a folder."""
    return {
        str(path.relative_to(folder)): decode(path).image
        for path in sorted(folder.rglob("*.*"))
        if path.suffix in (".png", ".webp")
    }


def is_sentence(text):
    """Whether a message is one line that names a remedy."""
    return "\n" not in text and ": " in text and "Traceback" not in text


def run_command(capsys, *arguments):
    """Runs `vim-jax`; returns its exit code and what it wrote to out and err."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    written = capsys.readouterr()
    assert "Traceback" not in written.err
    return exit.value.code, written.out, written.err


def complaints(err):
    """The sentences that follow the program's name."""
    return [line for line in err.splitlines() if line.startswith("vim-jax: ")]


def put(root, name, value=0, size=(4, 3)):
    """Writes a tiny grey picture into a folder."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def sentence(error):
    """The message of an error that pytest caught: one line that names a remedy."""
    message = str(error.value)
    assert is_sentence(message)
    return message
