"""Small audits to test: sets, mixed folders, and an attack that does nothing."""

import math

import numpy as np
from folders import photograph, save
from mixing_by_hand import cells_of

from vim_jax import SecretKey, VisualMixer
from vim_jax.attacks.audit import Attack
from vim_jax.attacks.cases import from_data
from vim_jax.attacks.protocol import Control, Outcome, Score
from vim_jax.attacks.published import from_published
from vim_jax.data import folder
from vim_jax.data.publish import publish

KEY = SecretKey(bytes(range(32)))


def digits():
    """Bundled digits, mixed with regions of two pixels."""
    return from_data(
        "embedded:digits", VisualMixer(region_size=2),
        data_dir=None, images=12, auxiliary=40,
    )  # fmt: skip


def opened(tmp_path, *, auxiliary=None, images=100, windows=7, **options):
    return from_published(
        tmp_path / "dst", str(tmp_path / "src"),
        auxiliary=auxiliary, data_dir=None, images=images, windows=windows, **options,
    )  # fmt: skip


def picture(mode="RGB", seed=0):
    """A photograph that is rough on the left: a low level divides the rest."""
    image = photograph(mode, seed)
    rough = np.random.default_rng(seed).integers(0, 256, image[:, :8].shape)
    image[:, :8] = rough * (257 if mode == "I;16" else 1)
    return image


def published(tmp_path, mixer, *, modes=("RGB",), count=3, **options):
    for i in range(count):
        mode = modes[i % len(modes)]
        save(tmp_path / f"src/{i}.png", picture(mode, seed=i))
    publish(folder(tmp_path / "src"), tmp_path / "dst", mixer, KEY, **options)


def labelled(folder, *classes, first=0):
    """Writes two pictures of each class; their numbers tell them apart."""
    for i, name in enumerate([*classes, *classes], first):
        save(folder / f"{name}/{i}.png", picture(seed=i))


def opened_labelled(tmp_path):
    """Publishes what is in "src"; the attacker has what is in "more"."""
    publish(folder(tmp_path / "src"), tmp_path / "dst", VisualMixer(region_size=4), KEY)
    return opened(tmp_path, auxiliary=str(tmp_path / "more"))


def same_regions(case):
    """Whether mixing kept every region's values, image by image, and moved some."""
    moved = False
    for mixed, plain, sizes in zip(
        case.published, case.originals, case.plans, strict=True
    ):
        assert mixed.shape == plain.shape
        assert mixed.ndim == 3
        assert sizes.shape == mixed.shape[:2]
        for cells in cells_of(sizes):
            if not np.array_equal(np.sort(mixed[cells], 0), np.sort(plain[cells], 0)):
                return False
        moved |= bool((mixed != plain).any())
    return moved


class Fake:
    """An attack that counts its runs."""

    def __init__(self, name="fake", config="config"):
        self.name, self.config, self.runs = name, config, 0
        score = Score(
            name=name, knowledge=("plan", "algorithm"), metric="share", score=1 / 3,
            low=-math.inf, high=math.inf, chance=0.1, control=Control("case", 1.0, 0.5),
        )  # fmt: skip
        pictures = [np.full((2, 3 + i, 1), i, np.uint8) for i in range(12)]
        self.outcome = Outcome((score, score), pictures, "A note.")

    def run(self, progress):
        self.runs += 1
        progress(1, 2)
        return self.outcome

    @property
    def attack(self):
        return Attack(self.name, self.config, self.run)
