"""Seed search: trying all seeds that a set may have been mixed under.

`jax.random.key(seed)` knows 2**32 seeds, and people choose small ones. Under each seed
a small patch of one image is put back, and judged by its smoothness: the keystream
addresses its words by place (`docs/permutation.md`), so a patch takes few of them. The
best candidates are then compared on whole images.

Nothing of this helps against a `SecretKey`: 256 bits are not tried one by one.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8

from vim_jax.attacks import intervals
from vim_jax.attacks.protocol import (
    Control,
    Images,
    Knowledge,
    Outcome,
    Plans,
    Truth,
    score,
)
from vim_jax.attacks.seed_patch import (
    IMPLEMENTATION,
    bounds_of_sizes,
    choose_patch,
    patch_channels,
    patch_roughness,
    roughness,
)
from vim_jax.mixer import VisualMixer
from vim_jax.regions import Bounds, RegionPlan
from vim_jax.shuffling import shuffle, unshuffle

Progress = Callable[[int, int], None]

_MAX_BITS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """How the search is done.

    Attributes:
      seed_bits: seeds from 0 to 2**seed_bits - 1 are tried, 1 to 32.
      images: how many of the first published images are restored.
      patch: side of the patch that candidates are judged by, in pixels; it grows to
        the next whole regions.
      batch: candidates tried at once.
      finalists: the candidates whose patches are smoothest are compared on all images.
      seed: of the random numbers that choose the control's seed.
    """

    seed_bits: int = 16
    images: int = 8
    patch: int = 16
    batch: int = 2048
    finalists: int = 32
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.seed_bits <= _MAX_BITS:
            raise ValueError(
                f"seed_bits={self.seed_bits} is not from 1 to {_MAX_BITS}: "
                "jax.random.key takes no more."
            )
        for name in ("images", "patch", "batch", "finalists"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is below 1.")


class Found(NamedTuple):
    """The seed that a search ended with, right or wrong.

    Attributes:
      seed: under which the images look smoothest.
      roughness: of the images restored with it: sum of squared differences between
        neighbours, in squared grey levels.
      stands_out: how far its patch lies below the average candidate's roughness, in
        standard deviations of the candidates. The best of 2**16 (2**20, 2**32) wrong
        ones is expected at about 4.2 (4.9, 6.3).
      seeds_per_second: tried, compilation not counted.
    """

    seed: int
    roughness: float
    stands_out: float
    seeds_per_second: float


def extrapolate(seeds_per_second: float, bits: int) -> float:
    """Returns the seconds that all seeds of a number of bits take."""
    if not seeds_per_second > 0:
        raise ValueError(f"seeds_per_second={seeds_per_second} is not above 0.")
    return 2.0**bits / seeds_per_second


def search(
    published: Images,
    plans: Plans,
    mixer: VisualMixer,
    config: Config,
    progress: Progress | None = None,
    *,
    numbers: Sequence[int] | None = None,
) -> Found:
    """Returns the seed under which the published images look smoothest.

    Args:
      published: each taken to be mixed under `fold_in(jax.random.key(seed), number)`.
      plans: region sizes of each, in pixels.
      mixer: the algorithm; only its channels and scrambling matter.
      config: how the search is done; `images` is not looked at.
      progress: called with the number of seeds tried and the number to try.
      numbers: of the images, by default in their order from 0.
    """
    patch, bounds = choose_patch(published, plans, mixer, config.patch)
    numbers = range(len(published)) if numbers is None else numbers
    patch = patch._replace(index=np.asarray(numbers[int(patch.index)], np.uint32))
    judge = functools.partial(
        patch_roughness, patch=patch, bounds=bounds, channels=patch_channels(mixer)
    )
    count = 1 << config.seed_bits
    batch = min(config.batch, count)
    judge(jnp.arange(batch, dtype=jnp.uint32)).block_until_ready()
    best, values = np.zeros(0, np.uint32), np.zeros(0)
    total = squares = 0.0
    start = time.perf_counter()
    for first in range(0, count, batch):
        # The last batch is filled up with seeds from beyond the end, which are dropped.
        seeds = (first + np.arange(batch)).astype(np.uint32)
        rough = np.asarray(judge(jnp.asarray(seeds)), np.float64)[: count - first]
        seeds = seeds[: count - first]
        total, squares = total + rough.sum(), squares + (rough**2).sum()
        best, values = np.append(best, seeds), np.append(values, rough)
        keep = np.argsort(values, kind="stable")[: config.finalists]
        best, values = best[keep], values[keep]
        if progress is not None:
            progress(first + len(seeds), count)
    seconds = time.perf_counter() - start
    restored = (
        _moved(int(s), numbers, published, plans, mixer, unshuffle) for s in best
    )
    whole = [float(_set_roughness(images)) for images in restored]
    winner = int(np.argmin(whole))
    others = max(count - 1, 1)
    average = (total - values[winner]) / others
    spread = np.sqrt(max((squares - values[winner] ** 2) / others - average**2, 0.0))
    return Found(
        seed=int(best[winner]),
        roughness=whole[winner],
        stands_out=float((average - values[winner]) / spread) if spread > 0 else 0.0,
        seeds_per_second=count / seconds,
    )


def restore(
    seed: int,
    published: Images,
    plans: Plans,
    mixer: VisualMixer,
    *,
    numbers: Sequence[int] | None = None,
) -> list[UInt8[np.ndarray, "h w c"]]:
    """Returns what the published images are if they were mixed under a seed."""
    numbers = range(len(published)) if numbers is None else numbers
    return list(np.asarray(_moved(seed, numbers, published, plans, mixer, unshuffle)))


def run(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    numbers: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Searches the seed of a published set.

    Chance is 0: without the permutation, an image of hundreds of moved values is not
    hit bit for bit. The interval takes images as separate trials, although one seed
    restores all or none of them.

    Args:
      published: images, the first of which are of one shape.
      knowledge: with `plans` and `mixer`.
      truth: the originals.
      config: how the search is done.
      numbers: of the images in the published set, see `search`.
      progress: see `search`; counts once for the set and once for the control.

    Returns:
      One score, "images restored"; and as reconstructions the images that were tried.

    Raises:
      ValueError: if plans or mixer are missing, or the first images are of different
        shapes.
    """
    if knowledge.plans is None or knowledge.mixer is None:
        raise ValueError("knowledge has no plans or no mixer, which this attack takes")
    mixer = knowledge.mixer
    mixed, plans = published[: config.images], knowledge.plans[: config.images]
    originals = truth.originals[: config.images]
    _check(mixed, plans, originals)
    seed = int(np.random.default_rng(config.seed).integers(1 << config.seed_bits))
    numbers = (range(len(mixed)) if numbers is None else numbers)[: len(mixed)]
    control = list(np.asarray(_moved(seed, numbers, originals, plans, mixer, shuffle)))

    def attack(images: Images) -> tuple[int, Images, float]:
        found = search(images, plans, mixer, config, progress, numbers=numbers)
        restored = restore(found.seed, images, plans, mixer, numbers=numbers)
        pairs = zip(restored, originals, strict=True)
        hits = sum(np.array_equal(*pair) for pair in pairs)
        return hits, restored, found.seeds_per_second

    control_hits, _, _ = attack(control)
    hits, restored, speed = attack(mixed)
    result = score(
        intervals.rate(hits, len(mixed)),
        name=f"seed search, {config.seed_bits} bits",
        knowledge=("plan", "algorithm"),
        metric="images restored bit for bit (share)",
        chance=0.0,
        control=Control(
            case=f"mixed under a seed of {config.seed_bits} bits",
            score=control_hits / len(mixed),
            needed=1.0,
        ),
    )
    hours = extrapolate(speed, 32) / 3600
    years = extrapolate(speed, 64) / (3600 * 24 * 365.25)
    note = (
        f"At the {speed:,.0f} seeds a second of this machine, all 32-bit seeds, which "
        f"jax.random.key(seed) has, take {hours:,.1f} hours, and 64 bits {years:,.0f} "
        "years; a secret key has 256 bits."
    )
    return Outcome((result,), restored, note)


def _check(mixed: Images, plans: Plans, originals: Images) -> None:
    if not len(mixed):
        raise ValueError("published holds no image.")
    if not len(mixed) == len(plans) == len(originals):
        raise ValueError(
            f"{len(mixed)} published images, {len(plans)} plans and {len(originals)} "
            "originals: give one of each for each image."
        )
    shapes = {image.shape for image in (*mixed, *originals)}
    if len(shapes) > 1:
        raise ValueError(
            f"images have {len(shapes)} shapes, such as {sorted(shapes)[:2]}: a batch "
            "has one, search the images of each shape by themselves."
        )


@jax.jit
def _set_roughness(images: UInt8[jax.Array, "n h w c"]) -> Float32[jax.Array, ""]:
    return jax.vmap(roughness)(images).sum()


def _moved(
    seed,
    numbers: Sequence[int],
    images: Images,
    plans: Plans,
    mixer: VisualMixer,
    function,
) -> jax.Array:
    """Returns a batch `n h w c`, shuffled or unshuffled under a seed."""
    all_bounds = [bounds_of_sizes(size) for size in plans]
    bounds = Bounds(
        height=max(bounds.height for bounds in all_bounds),
        width=max(bounds.width for bounds in all_bounds),
        smallest=min(bounds.smallest for bounds in all_bounds),
        squares=all(bounds.squares for bounds in all_bounds),
    )
    pixels, sizes = np.stack([*images]), np.stack([*plans]).astype(np.int32)
    own = np.asarray(numbers, np.uint32)
    return _move(jnp.uint32(seed), own, pixels, sizes, mixer, function, bounds)


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _move(seed, numbers, images, sizes, mixer: VisualMixer, function, bounds: Bounds):
    key = jax.random.key(seed, impl=IMPLEMENTATION)

    def one(i, image, size):
        return function(
            jax.random.fold_in(key, i),
            image,
            RegionPlan(size, bounds=bounds),
            channels=mixer.channels,
            scramble_regions=mixer.scramble_regions,
        )

    return jax.vmap(one)(numbers, images, sizes)
