"""Working on several images at a time, in order and within the memory."""

import threading
import time

import numpy as np
import pytest

from vim_jax import VisualMixer
from vim_jax.data import mixing
from vim_jax.data.parallel import MemoryShare, map_in_order


def test_results_come_in_order():
    def slow(i):
        time.sleep(0.01 * (i % 3))
        return i

    assert list(map_in_order(slow, range(20), workers=4)) == list(range(20))


def test_items_are_taken_as_results_are():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = map_in_order(lambda i: i, items(), workers=2)
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()


def test_exceptions_pass_and_end_the_work():
    started = []

    def fail(i):
        started.append(i)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(map_in_order(fail, range(100), workers=2))
    assert len(started) <= 5


def test_no_thread_is_left():
    before = threading.active_count()
    results = map_in_order(lambda i: i, range(50), workers=3)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_images_share_the_memory():
    share = MemoryShare(total=1000)
    inside, most = 0, 0
    lock = threading.Lock()

    def work(values):
        nonlocal inside, most
        with share.of(values):
            with lock:
                inside += min(values * 170, 1000)
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= min(values * 170, 1000)

    list(map_in_order(work, [1, 2, 3, 100, 1, 5, 2, 4], workers=8))
    assert 340 < most <= 1000


def test_image_larger_than_the_memory_is_done_alone():
    with MemoryShare(total=10).of(10**12):
        pass


def test_programs_for_many_shapes_are_forgotten(monkeypatch):
    cleared = []
    monkeypatch.setattr(mixing.jax, "clear_caches", lambda: cleared.append(1))
    monkeypatch.setattr(mixing, "_SHAPES", 3)
    monkeypatch.setattr(mixing, "_shapes", set())
    for _ in range(2):
        for side in (1, 2, 3):
            mixing._forget_old_shapes((side, side))
    assert cleared == []
    mixing._forget_old_shapes((4, 4))
    assert cleared == [1]
    mixing._forget_old_shapes((1, 1))
    assert cleared == [1]


@pytest.mark.slow
def test_forgetting_while_others_work_does_no_harm(monkeypatch):
    monkeypatch.setattr(mixing, "_shapes", set())
    monkeypatch.setattr(mixing, "_SHAPES", 1)
    mixer = VisualMixer(region_size=2)
    key = mixing.jax.random.key(0)
    images = [np.arange(4 * n, dtype=np.uint8).reshape(4, n) for n in (3, 4) * 2]

    def mix(image):
        return mixing.mix_pixels(mixer, key, image)[0]

    together = list(map_in_order(mix, images, workers=2))
    monkeypatch.setattr(mixing, "_SHAPES", 99)
    for image, mixed in zip(images, together, strict=True):
        np.testing.assert_array_equal(mixed, mix(image))
