"""Planning and shuffling whole batches of images: the paper's VisualMixer."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from vim_jax._types import (
    AnyArray,
    Channels,
    as_pixels,
    check_channels,
    check_dtype,
    concrete,
)
from vim_jax.keys import ImageKey, SecretKey
from vim_jax.keystream import key_material
from vim_jax.planning import (
    TargetError,
    check_target,
    goal_words,
    plan_for,
    plan_regions,
)
from vim_jax.regions import (
    RegionPlan,
    RegionSize,
    bounds_of,
    check_region_size,
    uniform_plan,
)
from vim_jax.shuffling import shuffle, unshuffle, words_read
from vim_jax.vfe import expected_vfe


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisualMixer:
    """Plans and shuffles batches of images: the paper's VisualMixer.

    Give exactly one of `level`, `target_vfe` and `region_size`.

    Attributes:
      level: privacy level in [0, 1], see `plan_regions`.
      target_vfe: VFE after shuffling, in squared grey levels per pixel.
      region_size: one region size for all images, in pixels.
      max_region: largest region size that a level or target may use, in pixels.
      channels: see `shuffle`.
      scramble_regions: see `shuffle`. The plan is chosen as if it were False.
      clip: what to do with a target out of reach: raise, or come near.

    Raises:
      ValueError: on construction, if a value is invalid or they contradict.

    Examples:
      >>> import jax, numpy as np, vim_jax
      >>> batch = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
      >>> mixer = vim_jax.VisualMixer(region_size=4)
      >>> key = vim_jax.SecretKey.generate()
      >>> mixed, plans = mixer(key, batch, ids=["cat.png", "dog.png"])
      >>> restored = mixer.restore(key, mixed, plans, ids=["cat.png", "dog.png"])
      >>> bool((restored == batch).all())
      True
    """

    level: float | None = None
    target_vfe: float | None = None
    region_size: RegionSize | None = None
    max_region: int | None = None
    channels: Channels = "independent"
    scramble_regions: bool = False
    clip: bool = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):  # JSON takes Python's numbers only.
                object.__setattr__(self, field.name, value.item())
        given = [
            name
            for name in ("level", "target_vfe", "region_size")
            if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                f"{' and '.join(given) or 'nothing'} given: give exactly one of level, "
                "target_vfe and region_size."
            )
        check_channels(self.channels)
        if self.region_size is None:
            check_target(self.level, self.target_vfe, self.max_region)
            return
        if self.region_size != "entire":
            check_region_size("region_size", self.region_size)
        if self.max_region is not None:
            raise ValueError(
                f"max_region={self.max_region} contradicts region_size="
                f"{self.region_size}: it only limits a level or a target_vfe."
            )

    def plan(self, image: AnyArray) -> RegionPlan:
        """Returns the plan for one image (`h w c` or `h w`, uint8 or float)."""
        if self.region_size is None:
            return plan_regions(
                image,
                level=self.level,
                target_vfe=self.target_vfe,
                max_region=self.max_region,
                channels=self.channels,
                clip=self.clip,
            )
        plan = uniform_plan(jnp.shape(image), self.region_size)
        expected = expected_vfe(image, plan, channels=self.channels)
        return dataclasses.replace(plan, expected_vfe=expected)

    def __call__(
        self,
        key: AnyArray | SecretKey,
        batch: Shaped[AnyArray, "b h w *c"],
        ids: Sequence[str] | None = None,
    ) -> tuple[Shaped[jax.Array, "b h w *c"], RegionPlan]:
        """Mixes a batch of images of one shape.

        Args:
          key: a PRNG key, of which image i uses `jax.random.fold_in(key, i)`; or a
            `SecretKey`, of which each image uses its own image key.
          batch: `b h w c` or `b h w`, uint8 or float in [0, 1].
          ids: names of the images in their set, used by a `SecretKey`; by default
            their numbers in the batch.

        Returns:
          The mixed batch, and its plans: a `RegionPlan` with a leading batch axis. It
          is needed to restore the images and as secret as the images' edges.

        Raises:
          TargetError: if an image's target is out of reach and `clip` is False; not
            inside `jit`, where `plans.reached` tells.
          ValueError: if `ids` and `batch` differ in length, or on an image that
            `shuffle` or `vfe` refuses.
        """
        _check_batch(batch)
        images = jnp.asarray(batch)
        # Two programs: in one, XLA would plan anew for each use of the plan.
        plans = _plan_each(self, images)
        keys = self._keys(key, batch, ids, plans)
        mixed = _move_each(shuffle, self, keys, images, plans)
        reached = None if plans.reached is None else concrete(plans.reached)
        if not self.clip and reached is not None and not reached.all():
            first = int(np.flatnonzero(~reached)[0])
            try:
                self.plan(batch[first])
            except TargetError as error:
                name = _names(batch, ids)[first]
                raise TargetError(f"image {name!r} of the batch: {error}") from None
        if isinstance(keys, ImageKey):
            plans = dataclasses.replace(plans, nonce=jnp.asarray(keys.nonce))
        return mixed, plans

    def restore(
        self,
        key: AnyArray | SecretKey,
        mixed: Shaped[AnyArray, "b h w *c"],
        plans: RegionPlan,
        ids: Sequence[str] | None = None,
    ) -> Shaped[jax.Array, "b h w *c"]:
        """Restores a batch that this mixer mixed with the same key.

        Args:
          key: the key that mixed the batch.
          mixed: the mixed images.
          plans: the plans that came with them.
          ids: the names they were mixed under.

        Returns:
          The original images. Under a `SecretKey` each is checked against its nonce.

        Raises:
          ValueError: if, under a `SecretKey`, the plans carry no nonces, or an image
            does not come back unharmed.
        """
        _check_batch(mixed)
        if not isinstance(key, SecretKey):
            keys = self._keys(key, mixed, ids, plans)
            return _move_each(unshuffle, self, keys, mixed, plans)
        names = _names(mixed, ids)
        if plans.nonce is None:
            raise ValueError(
                "plans carry no nonces, which a SecretKey needs: pass the plans that "
                "came with the mixed images."
            )
        nonces = np.asarray(plans.nonce)
        shape, words = np.shape(mixed)[1:], self._words(mixed, plans)
        keys = _stack([key.image_key(nonce, shape, words=words) for nonce in nonces])
        restored = _move_each(unshuffle, self, keys, jnp.asarray(mixed), plans)
        for name, nonce, pixels in zip(
            names, nonces, np.asarray(restored), strict=True
        ):
            if not np.array_equal(key.nonce(name, pixels), nonce):
                raise ValueError(
                    f"image {name!r} did not come back unharmed: it was changed after "
                    "mixing, or key, plans or ids belong to another image."
                )
        return restored

    def _words(self, batch, plans: RegionPlan) -> int:
        """Returns how many words of its keystream an image of a batch takes."""
        shape = (*np.shape(batch)[1:], 1)[:3]
        return words_read(shape, bounds_of(plans), self.channels, self.scramble_regions)

    def _keys(self, key, batch, ids, plans) -> jax.Array | ImageKey:
        """Returns one key an image: PRNG key data `b k`, or a stacked image key."""
        if isinstance(key, SecretKey):
            pixels = concrete(batch)
            if pixels is None:
                raise ValueError(
                    "key is a SecretKey, which works on the host: call the mixer "
                    "outside jit, or pass image keys to shuffle."
                )
            names, words = _names(batch, ids), self._words(batch, plans)
            return _stack(
                [
                    key.for_image(name, image, words=words)
                    for name, image in zip(names, pixels, strict=True)
                ]
            )
        key_material(key)
        return _fold_each(key, jnp.shape(batch)[0])


@functools.partial(jax.jit, static_argnums=1)
def _fold_each(key: jax.Array, count: int) -> jax.Array:
    """Returns the data of `key` folded with 0, 1, ..., uint32 `count k`."""

    # Not vmapped: some implementations give other keys under vmap.
    def fold(i):
        return jax.random.key_data(jax.random.fold_in(key, i))

    return jax.lax.map(fold, jnp.arange(count, dtype=jnp.uint32))


def _check_batch(batch: AnyArray) -> None:
    shape = np.shape(batch)
    # Three axes, the last of 4 or less: an image (h, w, c) rather than a grey batch.
    if len(shape) not in (3, 4) or 0 in shape or (len(shape) == 3 and shape[2] <= 4):
        raise ValueError(
            f"batch has shape {shape}: pass images as (b, h, w) or (b, h, w, c), at "
            "least one; a single image as image[None]; grey images of up to 4 pixels "
            "width as (b, h, w, 1)."
        )
    check_dtype(batch)


def _names(batch: AnyArray, ids: Sequence[str] | None) -> Sequence[str]:
    count = np.shape(batch)[0]
    names = [str(i) for i in range(count)] if ids is None else ids
    if len(names) != count:
        raise ValueError(
            f"ids has {len(names)} names for a batch of {count} images: give each its "
            "own."
        )
    return names


def _stack(keys: Sequence[ImageKey]) -> ImageKey:
    return ImageKey(
        np.stack([key.words for key in keys]), np.stack([key.nonce for key in keys])
    )


def _plan_each(mixer: VisualMixer, batch: jax.Array) -> RegionPlan:
    if mixer.region_size is not None:
        return _uniform_plan_each(mixer, batch)
    # All levels share a program, and so do all targets.
    return _plan_each_for(
        batch,
        goal_words(mixer.level, mixer.target_vfe, batch[0].size),
        is_level=mixer.level is not None,
        max_region=mixer.max_region,
        channels=mixer.channels,
    )


@functools.partial(jax.jit, static_argnums=0)
def _uniform_plan_each(mixer: VisualMixer, batch):
    return jax.vmap(mixer.plan)(batch)


@functools.partial(jax.jit, static_argnames=("is_level", "max_region", "channels"))
def _plan_each_for(batch, goal, **settings):
    def plan(image):
        return plan_for(as_pixels(image), goal, **settings)[0]

    return jax.vmap(plan)(batch)


def _move_each(function, mixer: VisualMixer, keys, batch, plans) -> jax.Array:
    return _moved_each(
        function, mixer.channels, mixer.scramble_regions, keys, batch, plans
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _moved_each(function, channels, scramble_regions, keys, batch, plans):
    moved = functools.partial(
        function, channels=channels, scramble_regions=scramble_regions
    )
    return jax.vmap(moved)(keys, batch, plans)
