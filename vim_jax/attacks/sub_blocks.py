"""Sub-blocks that trade places inside each region and channel, and how to undo it.

VisualMixer never mixes that way, but such images are around: whole blocks keep their
seams, and most of them fall into place.
"""

import itertools

import numpy as np
from jaxtyping import UInt8

_ARRANGEMENTS = np.array(list(itertools.permutations(range(4))))


def mix_sub_blocks(
    rng: np.random.Generator,
    image: UInt8[np.ndarray, "h w c"],
    region: int,
    block: int,
) -> UInt8[np.ndarray, "h w c"]:
    """Returns an image whose blocks trade places in each region and channel.

    Args:
      rng: draws the arrangements.
      image: of whole regions.
      region: side of the regions in pixels.
      block: side of the blocks in pixels.

    Raises:
      ValueError: if blocks do not divide regions, or regions the image.
    """
    _check_blocks(image, region, block)
    blocks = _blocks(image, region, block)
    order = np.broadcast_to(np.arange(blocks.shape[3]), blocks.shape[:4])
    order = rng.permuted(order, axis=3)
    return _unblocks(np.take_along_axis(blocks, order[..., None, None], axis=3))


def solve_sub_blocks(
    image: UInt8[np.ndarray, "h w c"], region: int, block: int, sweeps: int = 20
) -> UInt8[np.ndarray, "h w c"]:
    """Returns an image with each region's four blocks put back where they fit best.

    Each region has 24 arrangements a channel. What counts is how well seams fit, inside
    regions and between them, and how well the channels agree. The arrangements of least
    cost are sought by passing messages (min-sum) between neighbours and channels.

    Args:
      image: as of `mix_sub_blocks`.
      region: side of the regions in pixels.
      block: side of the blocks in pixels, half of `region`.
      sweeps: how often messages are passed.

    Raises:
      ValueError: if regions do not have four blocks, or do not divide the image.
    """
    _check_blocks(image, region, block)
    if region != 2 * block:
        raise ValueError(
            f"region={region} and block={block}: only regions of two by two blocks can "
            "be solved by trying all arrangements."
        )
    blocks = _blocks(image, region, block)
    alone, links = _sub_block_costs(blocks.astype(float))
    messages = [(np.zeros(alone[one].shape),) * 2 for one, _, _ in links]
    for _ in range(sweeps):
        belief = _belief(alone, links, messages)
        updated = []
        for (one, other, cost), (to_one, to_other) in zip(links, messages, strict=True):
            there = ((belief[one] - to_one)[..., :, None] + cost).min(-2)
            back = ((belief[other] - to_other)[..., None, :] + cost).min(-1)
            # Half of each old message stays: it keeps them from oscillating.
            updated.append((_lowered(back + to_one), _lowered(there + to_other)))
        messages = updated
    order = _ARRANGEMENTS[_belief(alone, links, messages).argmin(-1)]
    return _unblocks(np.take_along_axis(blocks, order[..., None, None], axis=3))


def _belief(alone, links, messages) -> np.ndarray:
    belief = alone.copy()
    for (one, other, _), (to_one, to_other) in zip(links, messages, strict=True):
        belief[one] += to_one
        belief[other] += to_other
    return belief


def _lowered(message: np.ndarray) -> np.ndarray:
    return (message - message.min(-1, keepdims=True)) / 2


def _sub_block_costs(blocks: np.ndarray):
    """Returns what arrangements cost alone, `rows columns c 24`, and beside others.

    The latter as (one, other, cost): two views of the former, and what their
    arrangements cost together, `... 24 24`.
    """
    a = _ARRANGEMENTS
    turned = blocks.swapaxes(-1, -2)
    beside, stacked = _seams(blocks, blocks), _seams(turned, turned)
    alone = beside[..., a[:, 0], a[:, 1]] + beside[..., a[:, 2], a[:, 3]]
    alone += stacked[..., a[:, 0], a[:, 2]] + stacked[..., a[:, 1], a[:, 3]]

    def together(cost, places):
        return sum(cost[..., a[:, k][:, None], a[:, m]] for k, m in places)

    left, right, up, down = np.s_[:, :-1], np.s_[:, 1:], np.s_[:-1], np.s_[1:]
    across = together(_seams(blocks[left], blocks[right]), ((1, 0), (3, 2)))
    under = together(_seams(turned[up], turned[down]), ((2, 0), (3, 1)))
    links = [(left, right, across), (up, down, under)]
    # What is left without their means: texture, which channels share.
    texture = blocks - blocks.mean((-1, -2), keepdims=True)
    for i, j in itertools.combinations(range(blocks.shape[2]), 2):
        one, other = texture[:, :, i, :, None], texture[:, :, j, None]
        cost = np.abs(one - other).sum((-1, -2)) / blocks.shape[-1]
        agreement = together(cost, tuple((k, k) for k in range(4)))
        links.append((np.s_[:, :, i], np.s_[:, :, j], agreement))
    return alone, links


def _seams(blocks: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the cost of each of four others right of each of four blocks, `... 4 4`.

    The step across the seam, and how far it is from the steps before and behind it.
    """
    one, other = blocks[..., :, None, :, :], others[..., None, :, :, :]
    step = min(blocks.shape[-1], 2)
    last, first = one[..., -1], other[..., 0]
    before, behind = last - one[..., -step], other[..., step - 1] - first
    cost = np.abs(first - last)
    cost += (np.abs(first - last - before) + np.abs(first - last - behind)) / 4
    return cost.sum(-1)


def _check_blocks(image, region: int, block: int) -> None:
    h, w = image.shape[:2]
    if block < 1 or region < 1 or region % block or h % region or w % region:
        raise ValueError(
            f"region={region} and block={block} on an image of {h} x {w} pixels: "
            "blocks must divide regions, and regions the image."
        )


def _blocks(image: np.ndarray, region: int, block: int) -> np.ndarray:
    """Returns the blocks by region and channel, `rows columns c n block block`."""
    h, w, c = image.shape
    k = region // block
    parts = image.reshape(h // region, k, block, w // region, k, block, c)
    parts = parts.transpose(0, 3, 6, 1, 4, 2, 5)
    return parts.reshape(h // region, w // region, c, k * k, block, block)


def _unblocks(blocks: np.ndarray) -> np.ndarray:
    rows, columns, c, count, block, _ = blocks.shape
    k = round(count**0.5)
    parts = blocks.reshape(rows, columns, c, k, k, block, block)
    parts = parts.transpose(0, 3, 5, 1, 4, 6, 2)
    return parts.reshape(rows * k * block, columns * k * block, c)
