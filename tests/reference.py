"""Slow, obvious NumPy versions of the core, written from its documentation.

Double loops over pixels, Python integers, nothing shared with the library: where both
agree, both are read the same way. The second half is `docs/permutation.md`, version 3,
but for its keystreams, which are in `keystreams.py`.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

# --- The metric -----------------------------------------------------------------------


def grey_levels(image) -> np.ndarray:
    """Returns float64 `h w c` in 8-bit grey levels."""
    image = np.asarray(image)
    values = image.astype(np.float64)
    if image.dtype != np.uint8:
        values = values * 255
    return values.reshape(*image.shape[:2], -1)


def neighbours(height: int, width: int) -> Iterator[tuple[tuple, tuple]]:
    """Yields every pixel with its right and its lower neighbour."""
    for y in range(height):
        for x in range(width):
            if x + 1 < width:
                yield (y, x), (y, x + 1)
            if y + 1 < height:
                yield (y, x), (y + 1, x)


def vfe(image, scale: float = 1.0) -> float:
    """Squared differences of neighbours, per pixel, mean over channels."""
    values = grey_levels(image)
    height, width, _ = values.shape
    total = 0.0
    for p, q in neighbours(height, width):
        total += ((values[p] - values[q]) ** 2).mean()
    return scale * total / (height * width)


def vfe_map(image, region_size: int, scale: float = 1.0) -> np.ndarray:
    """The same sum, kept apart by the region of the left or upper pixel."""
    values = grey_levels(image)
    height, width, _ = values.shape
    grid = np.zeros((math.ceil(height / region_size), math.ceil(width / region_size)))
    for p, q in neighbours(height, width):
        where = p[0] // region_size, p[1] // region_size
        grid[where] += ((values[p] - values[q]) ** 2).mean()
    return scale * grid / (height * width)


def gearys_c(image) -> float:
    """Geary's C from its definition; NaN for a constant image."""
    values = grey_levels(image)
    height, width, _ = values.shape
    pairs = list(neighbours(height, width))
    between = sum(((values[p] - values[q]) ** 2).sum() for p, q in pairs)
    around = ((values - values.mean((0, 1))) ** 2).sum()
    if around == 0:
        return math.nan
    return (height * width - 1) * between / (2 * len(pairs) * around)


# --- Regions --------------------------------------------------------------------------


def size_map(shape: tuple[int, ...], size) -> np.ndarray:
    """Returns an int64 `h w` map of sizes from a size, "entire", or a map."""
    if isinstance(size, str):
        size = max(shape[:2])
    return np.broadcast_to(np.asarray(size, np.int64), shape[:2])


def regions(sizes: np.ndarray) -> dict[int, list[tuple[int, int]]]:
    """Returns the pixels of each region, in row-major order, by the region's origin."""
    height, width = sizes.shape
    members: dict[int, list[tuple[int, int]]] = {}
    for y in range(height):
        for x in range(width):
            s = int(sizes[y, x])
            origin = (y - y % s) * width + (x - x % s)
            members.setdefault(origin, []).append((y, x))
    return dict(sorted(members.items()))


def extent(pixels: list[tuple[int, int]]) -> tuple[int, int]:
    """Returns height and width of a region."""
    ys, xs = zip(*pixels, strict=True)
    return max(ys) - min(ys) + 1, max(xs) - min(xs) + 1


def is_valid(sizes: np.ndarray) -> bool:
    """Whether all pixels of every s x s block (cut off at the edges) have size s."""
    if (sizes < 1).any():
        return False
    blocks = set()
    for (y, x), s in np.ndenumerate(sizes):
        blocks.add((y - y % s, x - x % s, s))
    return all((sizes[y : y + s, x : x + s] == s).all() for y, x, s in blocks)


# --- The expected metric --------------------------------------------------------------


def expected_vfe(
    image, size, channels="independent", scramble=False, scale=1.0
) -> float:
    """The closed form, one neighbour pair at a time."""
    values = grey_levels(image)
    height, width, c = values.shape
    members = regions(size_map(values.shape, size))
    region_of = {p: origin for origin, pixels in members.items() for p in pixels}

    mean, variance, inside = {}, {}, {}
    classes: dict[tuple[int, int], list[int]] = {}
    for origin, pixels in members.items():
        cells = np.array([values[p] for p in pixels])
        n = len(pixels)
        mean[origin], variance[origin] = cells.mean(0), cells.var(0)
        if channels == "mixed" and n > 1:
            mean[origin] = np.full(c, cells.mean())
            variance[origin] = np.full(c, cells.var())
            n = n * c
        inside[origin] = 2 * variance[origin] * n / (n - 1) if n > 1 else None
        classes.setdefault(extent(pixels), []).append(origin)
    class_of = {origin: kind for kind, group in classes.items() for origin in group}
    means = {k: np.array([mean[o] for o in group]) for k, group in classes.items()}
    variances = {
        k: np.mean([variance[o] for o in group], 0) for k, group in classes.items()
    }

    total = 0.0
    for p, q in neighbours(height, width):
        a, b = region_of[p], region_of[q]
        if a == b:
            pair = inside[a]
        elif not scramble:
            pair = variance[a] + variance[b] + (mean[a] - mean[b]) ** 2
        else:
            kind, other = class_of[a], class_of[b]
            if kind == other:
                m = len(classes[kind])
                pair = 2 * variances[kind] + 2 * means[kind].var(0) * m / (m - 1)
            else:
                pair = variances[kind] + variances[other]
                pair = pair + means[kind].var(0) + means[other].var(0)
                pair = pair + (means[kind].mean(0) - means[other].mean(0)) ** 2
        total += np.mean(pair)
    return scale * total / (height * width)


def arrangement_bits(image, size, channels="independent") -> list[float]:
    """log2(n! / prod m_v!) of every permutation, in no particular order."""
    image = np.asarray(image)
    image = image.reshape(*image.shape[:2], -1)
    bits = []
    for pixels in regions(size_map(image.shape, size)).values():
        cells = [tuple(image[p].tolist()) for p in pixels]
        if channels == "joint" or (channels == "mixed" and len(cells) == 1):
            groups = [cells]
        elif channels == "independent":
            groups = list(zip(*cells, strict=True))
        else:
            groups = [[value for cell in cells for value in cell]]
        for group in groups:
            ways = math.factorial(len(group))
            for value in set(group):
                ways //= math.factorial(group.count(value))
            bits.append(math.log2(ways))
    return bits


# --- The permutation, version 3 -------------------------------------------------------


class Coin(NamedTuple):
    """Where the coin of a pair lies, and when it shows heads.

    Attributes:
      part: "coins", "odds" or "far".
      owner: the cell, as (row, column) in its rectangle.
      bits: numbers of the bits of the owner's word, which are those of its bytes.
      heads: how many of the `2**len(bits)` values of these bits show heads: the lower
        ones of odds, 1 of a single bit.
    """

    part: str
    owner: tuple[int, ...]
    bits: tuple[int, ...]
    heads: int


def is_power_of_two(number: int) -> bool:
    return number in [2**e for e in range(number)]


def rounds_of(a: int, b: int) -> int:
    """Returns how many rounds a rectangle of `a` rows and `b` columns has."""
    powers = is_power_of_two(a) and is_power_of_two(b)
    small = a * b < 16 or (a * b < 64 and not powers)
    large_square = powers and a == b and a >= 8
    return 8 if small else 3 if large_square else 4


def steps(a: int, b: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields round, direction (0: along rows), bit and distance, in their order."""
    for r in range(rounds_of(a, b)):
        for v, length in [(0, b), (1, a)]:
            for e in reversed(range(length.bit_length())):
                if 2**e < length and (r < 4 or 2**e <= 8):
                    yield r, v, e, 2**e


def pairs_of(a: int, b: int, step: tuple) -> Iterator[tuple[tuple, tuple, Coin]]:
    """Yields the pairs of cells of one step, each with its coin."""
    r, v, e, d = step
    lines, length = (b, a) if v else (a, b)
    byte = r % 2 + 2 * v
    for line in range(lines):
        for i in range(length - d):
            if i // d % 2:
                continue
            first, second = (line, i), (line, i + d)
            if v:
                first, second = first[::-1], second[::-1]
            owner = first if r in (0, 1, 4, 5) else second
            start = i // (2 * d) * (2 * d)
            s = min(length, start + 2 * d) - start
            if r in (0, 1) and s < 2 * d:
                bits = tuple(range(8 * byte, 8 * byte + 8))
                heads = min(255, (512 * d + s) // (2 * s))
                yield first, second, Coin("odds", owner, bits, heads)
            elif e < 8:
                middle = r >= 4 or e >= 4
                bit = 8 * (v + 2 * middle) + 4 * (r % 2) + e % 4
                yield first, second, Coin("coins", owner, (bit,), 1)
            else:
                yield first, second, Coin("far", owner, (8 * byte + e - 8,), 1)


def shows_heads(coin: Coin, word: int) -> bool:
    number = sum((word >> bit & 1) << i for i, bit in enumerate(coin.bits))
    return number < coin.heads if coin.part == "odds" else number == 1


def exchange(rectangles: list[list[list]], word_of, *, turning: bool) -> list:
    """Returns the contents of the cells of rectangles after all rounds.

    Args:
      rectangles: each with rows of cells; all of one shape.
      word_of: takes the part of the keystream and a cell, returns a word.
      turning: whether cells at one place of all rectangles trade places, too.
    """
    content = [[list(row) for row in rectangle] for rectangle in rectangles]
    a, b = len(rectangles[0]), len(rectangles[0][0])
    turning = turning and a * b > 1 and len(rectangles) > 1
    for r in range(rounds_of(a, b)):
        for y, x in itertools.product(range(a), range(b)) if turning else ():
            if r >= 4:
                continue
            column = [plane[y][x] for plane in content]
            planes = range(turn_words(len(column)))
            words = [word_of("turns", (*rectangles[0][y][x][:2], k)) for k in planes]
            turned = turn(column, [word >> 8 * r & 255 for word in words])
            for plane, cell in zip(content, turned, strict=True):
                plane[y][x] = cell
        for step in steps(a, b):
            if step[0] != r:
                continue
            for (y, x), (v, u), coin in pairs_of(a, b, step):
                for plane, rectangle in zip(content, rectangles, strict=True):
                    owner = rectangle[coin.owner[0]][coin.owner[1]]
                    if shows_heads(coin, word_of(coin.part, owner)):
                        plane[y][x], plane[v][u] = plane[v][u], plane[y][x]
    return content


def turn_words(c: int) -> int:
    """Returns how many words for turns a pixel has."""
    return 0 if c == 1 else max(1, c - 2)


def turn(content: list, bytes_: list[int]) -> list:
    """Returns the contents of a pixel's cells after a turn, given its words' bytes."""
    content = list(content)
    for j in reversed(range(1, len(content))):
        if j == 1:
            back = bytes_[0] % 2
        elif j == 2:
            back = bytes_[0] // 2 * 3 // 128
        else:
            back = bytes_[j - 2] * (j + 1) // 256
        content[j - back], content[j] = content[j], content[j - back]
    return content


def rectangles(pixels: list[tuple], c: int, channels: str) -> list[list[list]]:
    """Returns the rectangles of one region, as rows of cells: (y, x) or (y, x, k)."""
    height, _ = extent(pixels)
    rows = [[p for p in pixels if p[0] == pixels[0][0] + i] for i in range(height)]
    if channels == "joint":
        return [rows]
    return [[[(*p, k) for p in row] for row in rows] for k in range(c)]


def sources(words, shape: tuple, size, channels="independent", scramble=False):
    """Returns, for each cell (y, x, k), the cell whose value it receives."""
    height, width = shape[:2]
    c = math.prod(shape[2:])
    n = height * width
    m = n if channels == "joint" else n * c
    members = regions(size_map(shape, size))
    t = n * turn_words(c) if channels == "mixed" else 0
    starts = {
        "coins": 0, "turns": m + n, "odds": m + n + t, "far": 2 * m + n + t
    }  # fmt: skip

    def word_of(part: str, cell: tuple) -> int:
        p = cell[0] * width + cell[1]
        plane = 0 if channels == "joint" else cell[2]
        first = starts[part] + plane * n

        def byte(i: int) -> int:
            return int(words[first + i // 4]) >> 8 * (i % 4) & 255

        return sum(byte(b * n + p) << 8 * b for b in range(4))

    source: dict[tuple, tuple] = {}
    for pixels in members.values():
        planes = rectangles(pixels, c, channels)
        contents = exchange(planes, word_of, turning=channels == "mixed")
        for rectangle, content in zip(planes, contents, strict=True):
            for here_row, there_row in zip(rectangle, content, strict=True):
                for here, there in zip(here_row, there_row, strict=True):
                    if channels == "joint":
                        source.update({(*here, k): (*there, k) for k in range(c)})
                    else:
                        source[here] = there

    if scramble:
        classes: dict[tuple[int, int], list[int]] = {}
        for origin, pixels in members.items():
            classes.setdefault(extent(pixels), []).append(origin)
        moved = {}
        for group in classes.values():
            ordered = sorted(group, key=lambda origin: (words[m + origin], origin))
            for here, there in zip(group, ordered, strict=True):
                for p, q in zip(members[here], members[there], strict=True):
                    moved.update({(*p, k): source[(*q, k)] for k in range(c)})
        source = moved
    return source


def shuffle(words, image, size, channels="independent", scramble=False) -> np.ndarray:
    """Shuffles an image with given keystream words."""
    image = np.asarray(image)
    cells = image.reshape(*image.shape[:2], -1)
    out = np.empty_like(cells)
    for cell, origin in sources(words, image.shape, size, channels, scramble).items():
        out[cell] = cells[origin]
    return out.reshape(image.shape)


def unshuffle(words, image, size, channels="independent", scramble=False) -> np.ndarray:
    """Undoes `shuffle`."""
    image = np.asarray(image)
    cells = image.reshape(*image.shape[:2], -1)
    out = np.empty_like(cells)
    for cell, origin in sources(words, image.shape, size, channels, scramble).items():
        out[origin] = cells[cell]
    return out.reshape(image.shape)


def words_for(shape: tuple[int, ...]) -> int:
    """Returns the number of words that any way of shuffling `shape` may read."""
    return math.prod(shape[:2]) * (4 * math.prod(shape[2:]) + 1)
