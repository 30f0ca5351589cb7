"""How many rounds of exchanges regions take, as `docs/permutation.md` has it."""

ROUNDS = 4
"""Of regions other than large squares and small rectangles."""

LARGE = 8
"""Squares with sides of powers of two from here up take a round less."""

EXTRA_ROUNDS = 4
"""Of small rectangles, after the others."""

NEAR_LEVELS = 4
"""Distances of `2**0` to `2**3` cells are near. Extra rounds have no others."""

LONGEST = 1 << 16
"""Sides of regions, in pixels, at most."""

FEW, VERY_FEW = 64, 16
"""Rectangles of fewer cells than the first are small if a side is no power of two,
and of fewer than the second, any."""


def rounds_of(height: int, width: int) -> int:
    """Returns how many rounds a rectangle takes."""
    cells = height * width
    ragged = bool((height & (height - 1)) | (width & (width - 1)))
    if cells < VERY_FEW or (cells < FEW and ragged):
        return ROUNDS + EXTRA_ROUNDS
    large = height == width >= LARGE and not ragged
    return ROUNDS - 1 if large else ROUNDS


def check_sides(height: int, width: int) -> None:
    """Raises ValueError on a region for whose longest distances there are no coins."""
    if max(height, width) > LONGEST:
        raise ValueError(
            f"a region of {height} x {width} pixels is too long to be shuffled: use "
            f"regions of up to {LONGEST:,} pixels a side."
        )
