"""Shuffling an image and getting it back; planning and shuffling whole batches."""

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
    Image,
    check_channels,
    concrete,
    with_channel_axis,
)
from vim_jax.keys import ImageKey, SecretKey
from vim_jax.keystream import Key, key_material, keystream
from vim_jax.permute import source_cells, words_needed
from vim_jax.planning import TargetError, check_target, plan_regions
from vim_jax.regions import (
    PlanOrSize,
    RegionPlan,
    RegionSize,
    as_plan,
    check_region_size,
    regions_of,
    uniform_plan,
)
from vim_jax.vfe import expected_vfe


def shuffle(
    key: Key,
    image: Image,
    plan_or_size: PlanOrSize,
    *,
    channels: Channels = "independent",
    scramble_regions: bool = False,
) -> Shaped[jax.Array, "h w *c"]:
    """Permutes the pixels of each region among themselves.

    Args:
      key: a JAX PRNG key of any implementation, typed or old-style, for augmentation
        and notebooks; or an image key from `SecretKey.for_image`, for publication.
      image: `h w c` or `h w`, of any dtype of 1, 2 or 4 bytes and any values.
      plan_or_size: a plan for this shape, or a region size in pixels.
      channels: "joint" moves the channels of a pixel together; "independent" gives
        each channel its own permutation; "mixed" permutes all values of a region, of
        all channels, as one set (regions of one pixel are left alone).
      scramble_regions: whether regions of equal height and width trade places too,
        channels together.

    Returns:
      The mixed image, of the shape and dtype of `image`.

    Guarantees:
      * Every arrangement of a region is equally likely, up to ties of 32-bit words
        (a bias below n*n / 2**33 for n values), and independent of other regions,
        channels and keys; each region and channel costs 32 keystream bits a value.
      * Equal key data, image and regions give equal bytes: eager, jitted, vmapped, on
        any device and under any version of JAX. `docs/permutation.md` pins them down.
      * Every region's values stay in the region, so its mean does too: anyone can
        compute the region means of the original. `channels="mixed"` keeps only the
        mean over channels; `scramble_regions` hides which mean belongs where.

    Raises:
      ValueError: on an image of another rank or dtype, a plan for another shape, a
        size below 1, unknown `channels`, or a key made for a smaller image.
      TypeError: if `key` is a `SecretKey`.

    Examples:
      >>> import jax, jax.numpy as jnp, vim_jax
      >>> image = jnp.arange(64, dtype=jnp.uint8).reshape(8, 8)
      >>> key = jax.random.key(0)
      >>> mixed = vim_jax.shuffle(key, image, 4)
      >>> bool((vim_jax.unshuffle(key, mixed, 4) == image).all())
      True

    References:
      Li et al., `You Can Use But Cannot Recognize: Preserving Visual Privacy in Deep
      Neural Networks`, NDSS 2024.
    """
    cells = _checked(image, channels)
    size = as_plan(cells.shape, plan_or_size).size
    material = key_material(key)
    mixed = _shuffle(material, cells, size, channels, scramble_regions)
    return mixed.reshape(jnp.shape(image))


def unshuffle(
    key: Key,
    image: Image,
    plan_or_size: PlanOrSize,
    *,
    channels: Channels = "independent",
    scramble_regions: bool = False,
) -> Shaped[jax.Array, "h w *c"]:
    """Undoes `shuffle`: the exact inverse for the same arguments.

    Args:
      key: the key that the image was shuffled with.
      image: the mixed image.
      plan_or_size: the same plan or region size.
      channels: as it was.
      scramble_regions: as it was.

    Returns:
      The original image, of the shape and dtype of `image`.

    Raises:
      ValueError: as `shuffle`. A wrong key raises nothing: it gives another shuffle.
    """
    cells = _checked(image, channels)
    size = as_plan(cells.shape, plan_or_size).size
    material = key_material(key)
    restored = _unshuffle(material, cells, size, channels, scramble_regions)
    return restored.reshape(jnp.shape(image))


def _checked(image: AnyArray, channels: str) -> jax.Array:
    """Returns `image` as `h w c`, before JAX could silently narrow its dtype."""
    check_channels(channels)
    dtype = np.dtype(image.dtype)
    if dtype.itemsize not in (1, 2, 4):
        raise ValueError(
            f"image has dtype {dtype}: use a dtype of 1, 2 or 4 bytes, such as uint8, "
            "uint16 or float32."
        )
    return with_channel_axis(image)


def _source(material, cells, size, channels, scramble_regions):
    h, w, c = cells.shape
    words = keystream(
        material,
        words_needed((h, w, c), channels, scramble_regions),
        words_needed((h, w, c), channels, True),
    )
    return source_cells(
        words, regions_of(size), c, channels=channels, scramble_regions=scramble_regions
    )


@functools.partial(jax.jit, static_argnums=(3, 4))
def _shuffle(material, cells, size, channels, scramble_regions):
    source = _source(material, cells, size, channels, scramble_regions)
    flat = cells.reshape(source.shape[0], -1)
    # The sources are a permutation: telling so makes the gradient a plain scatter.
    mixed = flat.at[source].get(unique_indices=True, mode="promise_in_bounds")
    return mixed.reshape(cells.shape)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _unshuffle(material, cells, size, channels, scramble_regions):
    source = _source(material, cells, size, channels, scramble_regions)
    flat = cells.reshape(source.shape[0], -1)
    restored = (
        jnp.zeros_like(flat)
        .at[source]
        .set(flat, unique_indices=True, mode="promise_in_bounds")
    )
    return restored.reshape(cells.shape)


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
        keys = self._keys(key, batch, ids)
        mixed, plans = _mix(self, keys, jnp.asarray(batch))
        reached = None if plans.reached is None else concrete(plans.reached)
        if not self.clip and reached is not None and not reached.all():
            first = int(np.flatnonzero(~reached)[0])
            try:
                self.plan(batch[first])
            except TargetError as error:
                raise TargetError(f"image {first} of the batch: {error}") from None
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
        if not isinstance(key, SecretKey):
            return _restore(self, self._keys(key, mixed, ids), mixed, plans)
        names = _names(mixed, ids)
        if plans.nonce is None:
            raise ValueError(
                "plans carry no nonces, which a SecretKey needs: pass the plans that "
                "came with the mixed images."
            )
        nonces = np.asarray(plans.nonce)
        shape = np.shape(mixed)[1:]
        keys = _stack([key.image_key(nonce, shape) for nonce in nonces])
        restored = _restore(self, keys, jnp.asarray(mixed), plans)
        for name, nonce, pixels in zip(
            names, nonces, np.asarray(restored), strict=True
        ):
            if not np.array_equal(key.nonce(name, pixels), nonce):
                raise ValueError(
                    f"image {name!r} did not come back unharmed: it was changed after "
                    "mixing, or key, plans or ids belong to another image."
                )
        return restored

    def _keys(self, key, batch, ids) -> jax.Array | ImageKey:
        """Returns one key an image: PRNG key data `b k`, or a stacked image key."""
        if isinstance(key, SecretKey):
            pixels = np.asarray(batch)
            names = _names(batch, ids)
            return _stack(
                [key.for_image(*pair) for pair in zip(names, pixels, strict=True)]
            )
        key_material(key)

        # Not vmapped: some implementations give other keys under vmap.
        def fold(i):
            return jax.random.key_data(jax.random.fold_in(key, i))

        return jax.lax.map(fold, jnp.arange(jnp.shape(batch)[0], dtype=jnp.uint32))


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


@functools.partial(jax.jit, static_argnums=0)
def _mix(mixer: VisualMixer, keys, batch):
    def mix(key, image):
        plan = mixer.plan(image)
        return _apply(shuffle, mixer, key, image, plan), plan

    return jax.vmap(mix)(keys, batch)


@functools.partial(jax.jit, static_argnums=0)
def _restore(mixer: VisualMixer, keys, mixed, plans):
    restore = functools.partial(_apply, unshuffle, mixer)
    return jax.vmap(restore)(keys, mixed, plans)


def _apply(function, mixer: VisualMixer, key, image, plan):
    return function(
        key,
        image,
        plan,
        channels=mixer.channels,
        scramble_regions=mixer.scramble_regions,
    )
