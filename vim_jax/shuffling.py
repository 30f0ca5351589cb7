"""Shuffling an image region by region, and getting it back."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Shaped, UInt8

from vim_jax._types import (
    Channels,
    Image,
    check_channels,
    check_dtype,
    with_channel_axis,
)
from vim_jax.keys import ImageKey
from vim_jax.keystream import (
    Key,
    check_words,
    key_material,
    keystream,
    keystream_bytes,
)
from vim_jax.permute import exchange_cells, pairs_of, takes_bytes
from vim_jax.regions import (
    Bounds,
    PlanOrSize,
    as_plan,
    bounds_of,
    regions_of,
)
from vim_jax.rounds import check_sides
from vim_jax.scrambling import exchange_regions
from vim_jax.words import (
    Words,
    needs_far,
    needs_odds,
    starts_of,
    turn_words,
)

_MOST_MIXED = 16  # Channels: their pairs are many, and all in the program.


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
      * Each value ends anywhere in its region with equal probability, and each pair of
        values at each pair of places, up to a total variation distance that
        `docs/permutation.md` lists: 1e-4 at most in squares of 2, 4, 8, ... pixels, and
        4e-3 in other regions and with "mixed" channels. Not every arrangement is
        equally likely: that would take sorting.
      * Other regions, channels, images and keys are independent. Each region and
        channel of n values takes at least min(log2(n!), 256) fresh keystream bits.
      * Equal key data, image and regions give equal bytes: eager, jitted, vmapped, on
        any device and under any version of JAX. `docs/permutation.md` pins them down.
      * Every region's values stay in the region, so its mean does too: anyone can
        compute the region means of the original. `channels="mixed"` keeps only the
        mean over channels; `scramble_regions` hides which mean belongs where.

    Raises:
      ValueError: on an image of another rank or dtype, a plan for another shape, a
        size below 1, regions of more than 65,536 pixels a side, unknown `channels`,
        more than 16 channels to be "mixed", a batch of keys, or an image key with fewer
        words than this image takes.
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
    return _run(key, image, plan_or_size, channels, scramble_regions, inverse=False)


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
    return _run(key, image, plan_or_size, channels, scramble_regions, inverse=True)


def _run(key, image, plan_or_size, channels, scramble_regions, *, inverse):
    check_channels(channels)
    check_dtype(image)
    cells = with_channel_axis(image)
    if channels == "mixed" and cells.shape[2] > _MOST_MIXED:
        raise ValueError(
            f'image has {cells.shape[2]} channels, of which channels="mixed" takes '
            f'{_MOST_MIXED} at most: use "joint" or "independent"'
        )
    plan = as_plan(cells.shape, plan_or_size)
    moved = _move_image(
        key_material(key),
        cells,
        plan.size,
        bounds_of(plan),
        channels,
        scramble_regions,
        inverse,
    )
    return moved.reshape(jnp.shape(image))


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _move_image(material, cells, size, bounds, channels, scramble_regions, inverse):
    h, w, _ = cells.shape
    starts = starts_of(cells.shape, channels)
    needed = words_read(cells.shape, bounds, channels, scramble_regions)
    check_words(material, needed)
    scrambling = (
        keystream(material, starts.regions, h * w) if scramble_regions else None
    )
    return _move(material, scrambling, cells, size, bounds, channels, inverse)


def words_read(
    shape: tuple[int, ...], bounds: Bounds, channels: Channels, scramble_regions: bool
) -> int:
    """Returns how many words of its keystream an image takes, from the first.

    Args:
      shape: of the image, `h w c`.
      bounds: of its regions.
      channels: see `shuffle`.
      scramble_regions: see `shuffle`.
    """
    h, w, c = shape
    starts = starts_of((h, w, c), channels)
    if needs_far(bounds):
        return starts.end
    if needs_odds(bounds):
        return starts.far
    if turn_words(c, channels):
        return starts.odds
    return starts.turns if scramble_regions else starts.regions


def _words_of(draw, source, plane, planes, shape, channels, bounds) -> Words:
    """Returns the words of the cells that are moved together, drawn only now.

    Args:
      draw: `keystream` or `keystream_bytes`.
      source: what `key_material` returned.
      plane: number of the first plane of cells that move by themselves.
      planes: how many, from there.
      shape: of the image.
      channels: see `shuffle`.
      bounds: of the regions.
    """
    h, w, c = shape
    pixels = h * w
    starts = starts_of(shape, channels)

    def part(start, planes):
        found = draw(source, start + plane * pixels, planes * pixels)
        return found.reshape(planes, -1)

    turns = turn_words(c, channels)
    return Words(
        coins=part(0, planes),
        turns=part(starts.turns, turns) if turns else None,
        odds=part(starts.odds, planes) if needs_odds(bounds) else None,
        far=part(starts.far, planes) if needs_far(bounds) else None,
    )


def _move(source, scrambling, cells, size, bounds, channels, inverse):
    """Returns `h w c` cells shuffled within regions, and regions if there are words.

    Args:
      source: of the words that cells move by, see `_words_of`.
      scrambling: uint32 `h*w`, words that regions move by, or None.
      cells: the image.
      size: the plan's region sizes, int32 `h w`.
      bounds: of the regions.
      channels: see `shuffle`.
      inverse: whether to undo it.
    """
    check_sides(bounds.height, bounds.width)
    if jnp.issubdtype(cells.dtype, jnp.floating):
        return _move_floats(bounds, channels, inverse, cells, source, scrambling, size)
    if cells.dtype == jnp.bool_:
        bits = cells.astype(jnp.uint8)
    else:
        bits = jax.lax.bitcast_convert_type(cells, f"uint{8 * cells.dtype.itemsize}")
    moved = _move_bits(bounds, channels, inverse, bits, source, scrambling, size)
    if cells.dtype == jnp.bool_:
        return moved != 0
    return jax.lax.bitcast_convert_type(moved, cells.dtype)


def _move_bits(bounds, channels, inverse, cells, source, scrambling, size):
    h, w, _ = cells.shape
    exchanged = functools.partial(
        exchange_planes, source, size, bounds, channels, inverse=inverse
    )
    sender = None
    if scrambling is not None:
        sender = exchange_regions(scrambling, regions_of(size))
        if inverse:
            pixel = jnp.arange(h * w, dtype=sender.dtype)
            cells = _take(cells, jnp.zeros_like(sender).at[sender].set(pixel))

    straight = functools.partial(exchanged, straight=True)
    planes = jax.lax.platform_dependent(
        _planes_of(cells),
        cuda=straight,
        rocm=straight,
        default=functools.partial(exchanged, straight=False),
    )
    cells = _cells_of(planes, cells.dtype)
    return cells if sender is None or inverse else _take(cells, sender)


def exchange_planes(
    source: jax.Array | ImageKey,
    size: jax.Array,
    bounds: Bounds,
    channels: Channels,
    planes: UInt8[jax.Array, "c bytes h w"],
    *,
    inverse: bool,
    straight: bool,
) -> UInt8[jax.Array, "c bytes h w"]:
    """Shuffles the cells of an image within regions.

    Args:
      source: of the words that cells move by, see `_words_of`.
      size: the plan's region sizes, int32 `h w`.
      bounds: of the regions.
      channels: see `shuffle`.
      planes: the cells, byte by byte.
      inverse: whether to undo it.
      straight: see `exchange_cells`.
    """
    c, _, h, w = planes.shape
    pairs = pairs_of(size, bounds, straight=straight)
    draw = keystream
    if takes_bytes(pairs):
        draw = functools.partial(keystream_bytes, straight=straight)

    def exchanged(plane, groups):
        words = _words_of(draw, source, plane, len(groups), (h, w, c), channels, bounds)
        # Varies over devices as the key does, which loops insist on in `shard_map`.
        groups ^= words.coins[0, 0].astype(groups.dtype) * 0
        return exchange_cells(
            groups, words, pairs, bounds, inverse=inverse, straight=straight
        )

    if channels == "joint":
        return exchanged(0, planes.reshape(1, -1, h, w)).reshape(planes.shape)
    if channels == "mixed" or straight:
        return exchanged(0, planes)
    # One plane after the other: so the words of one fit into the cache.
    return jax.lax.map(
        lambda i: exchanged(i, jax.lax.dynamic_slice_in_dim(planes, i, 1))[0],
        jnp.arange(c),
    )


def _planes_of(
    cells: Shaped[jax.Array, "h w c"],
) -> UInt8[jax.Array, "c bytes h w"]:
    planes = jnp.moveaxis(cells, 2, 0)
    if planes.dtype == jnp.uint8:
        return planes[:, None]
    return jnp.moveaxis(jax.lax.bitcast_convert_type(planes, jnp.uint8), 3, 1)


def _cells_of(
    planes: UInt8[jax.Array, "c bytes h w"], dtype
) -> Shaped[jax.Array, "h w c"]:
    if planes.shape[1] == 1:
        return jnp.moveaxis(planes[:, 0], 0, 2)
    cells = jax.lax.bitcast_convert_type(jnp.moveaxis(planes, 1, 3), dtype)
    return jnp.moveaxis(cells, 0, 2)


def _take(cells: jax.Array, pixel: jax.Array) -> jax.Array:
    """Returns `h w c` cells, each pixel from the number given for it."""
    flat = cells.reshape(-1, cells.shape[2])
    return flat.at[pixel].get(mode="promise_in_bounds").reshape(cells.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _move_floats(bounds, channels, inverse, cells, source, scrambling, size):
    """Moves floats as bits: XLA may compute narrow ones in float32, and lose NaNs."""
    bits = jax.lax.bitcast_convert_type(cells, f"uint{8 * cells.dtype.itemsize}")
    moved = _move_bits(bounds, channels, inverse, bits, source, scrambling, size)
    return jax.lax.bitcast_convert_type(moved, cells.dtype)


@_move_floats.defjvp
def _move_floats_jvp(bounds, channels, inverse, primals, tangents):
    cells, source, scrambling, size = primals
    tangent = tangents[0]
    number = jnp.arange(cells.size, dtype=jnp.uint32).reshape(cells.shape)
    places = _move_bits(bounds, channels, inverse, number, source, scrambling, size)
    moved = tangent.reshape(-1).at[places.reshape(-1)]
    moved = moved.get(unique_indices=True, mode="promise_in_bounds")
    out = _move_floats(bounds, channels, inverse, *primals)
    return out, moved.reshape(cells.shape)
