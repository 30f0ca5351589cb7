"""Many images at the same time: whatever a worker does at once, in their order."""

import os

import numpy as np
import pytest

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import DataError, Example, LazySource, parallel, pipeline
from vim_jax.data.job import Job


def job_of(sides, failing=()):
    def read(i):
        if i in failing:
            raise DataError(f"{i} is broken: mend it")
        image = np.full((sides[i], sides[i]), i, np.uint8)
        return Example(str(i), image, None, "L", None, None)

    source = LazySource([str(i) for i in range(len(sides))], read)
    mixer = VisualMixer(region_size=2)
    return Job(source, mixer, SecretKey.generate(), False, ".png")


def finish(id, mixed):
    if id == "5":
        raise DataError("5 cannot be written: choose another format")
    assert (mixed.image == int(id)).all()
    return id, mixed.image.shape[0]


@pytest.mark.parametrize("pixels", [1, 40, 1000, 10**6])
@pytest.mark.parametrize("workers", [1, 3])
def test_results_are_in_order_whatever_a_worker_does_at_once(
    pixels, workers, monkeypatch
):
    monkeypatch.setattr(pipeline, "_PIXELS", pixels)
    sides = [4] * 12 + [20, 3, 30] + [4] * 25
    job = job_of(sides, failing=(2, 13))
    results = list(
        pipeline.mixed_in_order(job, range(len(sides)), finish, workers=workers)
    )
    assert len(results) == len(sides)
    for i, result in enumerate(results):
        if i in (2, 5, 13):
            assert isinstance(result, DataError)
            assert str(result).startswith(str(i))
        else:
            assert result == (str(i), sides[i])


def test_a_worker_stops_when_it_has_enough():
    job = job_of([4, 4, 2000, 4, 4])
    done = pipeline.mix_some(job, finish, range(4))
    assert [result[1] for result in done.results] == [4, 4, 2000]
    assert (done.pixels, done.heaviest) == (32 + 2000**2, 2000**2)


def test_few_are_under_way(monkeypatch):
    monkeypatch.setattr(pipeline, "_PIXELS", 1)
    started = []

    def finish(id, mixed):
        started.append(id)

    results = pipeline.mixed_in_order(job_of([4] * 200), range(200), finish, workers=2)
    for _ in range(10):
        next(results)
    results.close()
    assert len(started) <= 10 + 8 * 2 + 3 * 2


def test_cores_are_those_that_this_process_may_use():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert parallel.cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= parallel.cores() <= len(allowed)
