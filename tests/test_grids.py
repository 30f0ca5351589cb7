"""Which uniform grids plans are chosen from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vim_jax.grids import grids_of


@pytest.mark.parametrize(
    ("shape", "largest", "sizes", "plans"),
    [
        ((1, 1), 1, [1], 0),  # A region of one pixel is none.
        ((2, 1), 2, [2], 1),
        ((5, 3), 5, [2, 3, 4, 5], 4),
        ((5, 3), 3, [2, 3, 5], 2),  # The last one is for its energy alone.
        ((16, 9), 16, [*range(4, 17)], 13),
        ((33, 40), 40, [*range(8, 41, 2)], 17),
        ((224, 224), 64, [32, 40, 48, 56, 64, 224], 5),
        ((224, 224), 8, [224], 0),
    ],
)  # fmt: skip
def test_grids_of_images(shape, largest, sizes, plans):
    grids = grids_of(shape, largest)
    assert (grids.sizes, grids.plans) == (sizes, plans)


@given(entire=st.integers(1, 20_000), data=st.data())
def test_grids_are_few_and_step_evenly_from_a_quarter_to_the_whole(entire, data):
    largest = data.draw(st.integers(1, entire))
    grids = grids_of((data.draw(st.integers(1, entire)), entire), largest)
    unit = 2**grids.step
    assert grids.sizes[-1] == entire
    assert grids.sizes[:-1] == [n * unit for n in grids.units[:-1]]
    assert grids.units[-1] * unit >= entire > (grids.units[-1] - 1) * unit
    assert len(grids.units) <= 32
    plans = grids.sizes[: grids.plans]
    every = range(plans[0], largest + 1, unit) if plans else []
    assert set(every) <= set(plans) <= {*every, entire}
    if plans:
        assert entire / 8 < plans[0] <= max(entire / 4, 2)
