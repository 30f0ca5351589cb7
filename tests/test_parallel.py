"""Working on several images at a time, in order and within the memory."""

import threading
import time

import pytest

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
    assert len(taken) <= 9
    results.close()


def test_exceptions_pass_and_end_the_work():
    started = []

    def fail(i):
        started.append(i)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(map_in_order(fail, range(100), workers=2))
    assert len(started) <= 9


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
                inside += min(values * 64, 1000)
                most = max(most, inside)
            time.sleep(0.01)
            with lock:
                inside -= min(values * 64, 1000)

    list(map_in_order(work, [1, 2, 3, 100, 1, 5, 2, 4], workers=8))
    assert 128 < most <= 1000


def test_image_larger_than_the_memory_is_done_alone():
    with MemoryShare(total=10).of(10**12):
        pass


def test_image_larger_than_its_share_keeps_other_processes_out():
    entered = []

    class Lock:
        def __enter__(self):
            entered.append("in")

        def __exit__(self, *_):
            entered.append("out")

    share = MemoryShare(total=640, alone=Lock())
    with share.of(10):
        assert entered == []
    with share.of(11):
        assert entered == ["in"]
    assert entered == ["in", "out"]
