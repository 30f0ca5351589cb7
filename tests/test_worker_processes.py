"""Publishing with processes: the same bytes, and nothing left of them."""

import contextlib
import os
import pathlib
import pickle
import signal
import threading
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from folders import photograph, photographs, save, tree
from test_processes import (
    MIX,
    finish,
    many,
    secrets_of,
    start,
    start_python,
    wait_for,
)

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import (
    Example,
    LazySource,
    folder,
    pipeline,
    processes,
    publish,
)
from vim_jax.data.errors import WorkerError
from vim_jax.data.job import Job

KEY = SecretKey(bytes(range(32)))
MIXER = VisualMixer(region_size=5)

pytestmark = pytest.mark.slow


# Has processes take over after the first few images.
SOON = {"_TRIAL": -1, "_WORTH": -1, "_CROWDED": 1000.0, "_FIRST": 2, "_MOST": 2}


@pytest.fixture
def pools(monkeypatch):
    """The numbers of processes of all pools that take over, which they do soon."""
    for name, value in SOON.items():
        monkeypatch.setattr(pipeline, name, value)
    found, pool = [], processes.pool

    def counted(job, workers):
        found.append(workers)
        return pool(job, workers)

    monkeypatch.setattr(processes, "pool", counted)
    return found


@pytest.mark.parametrize("fmt", ["png", "tfds"])
def test_the_same_bytes_as_with_threads(fmt, tmp_path, pools):
    photographs(tmp_path / "src", 40)
    save(tmp_path / "src/cats/odd.png", photograph(sides=(7, 33)))
    (tmp_path / "src/dogs/broken.png").write_bytes(b"no image")
    reports = [
        publish.publish(
            folder(tmp_path / "src"),
            tmp_path / name,
            MIXER,
            KEY,
            fmt=fmt,
            workers=2,
            in_processes=name == "processes",
        )
        for name in ("threads", "processes")
    ]
    assert reports[0].mixed == reports[1].mixed == 41
    assert pools == [2]
    assert list(reports[1].failures) == ["dogs/broken.png"]
    assert reports[0].failures == reports[1].failures
    assert tree(tmp_path / "threads") == tree(tmp_path / "processes")


@pytest.mark.parametrize(("gigabytes", "started"), [(1, [2]), (0.5, []), (64, [3])])
def test_no_more_processes_than_memory_is_for(
    gigabytes, started, tmp_path, pools, monkeypatch
):
    memory = int(gigabytes * 2**30)
    monkeypatch.setattr(pipeline, "memory", lambda: memory)
    source = folder(photographs(tmp_path / "src", 20))
    publish.publish(source, tmp_path / "dst", MIXER, KEY, workers=3, in_processes=True)
    assert pools == started


def _die(index: int) -> Example:
    if index == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return Example(str(index), np.zeros((8, 8), np.uint8), None, "L", None, None)


def test_a_killed_worker_ends_the_job_in_one_sentence(tmp_path, pools):
    source = LazySource([str(i) for i in range(50)], _die)
    with pytest.raises(WorkerError, match=r"worker process was killed.*fewer workers"):
        publish.publish(
            source, tmp_path / "dst", MIXER, KEY, workers=2, in_processes=True
        )
    left = [path.name for path in (tmp_path / "dst").rglob(".vim-jax-tmp-*")]
    assert not left


def test_a_pool_that_breaks_at_any_moment_says_so():
    job = Job(LazySource(["a"], _die), MIXER, KEY, False, ".png")
    with (
        pytest.raises(WorkerError, match="worker process was killed"),
        processes.pool(job, 2),
    ):
        raise BrokenProcessPool  # As when more is submitted.


def test_a_worker_killed_while_it_starts_ends_the_job(tmp_path):
    """Nobody waits for it to take a job longer than a pipe holds."""
    source = LazySource(["x" * 60 + str(i) for i in range(20_000)], _die)
    job = Job(source, MIXER, KEY, False, ".png")
    raised = []

    def use_a_pool():
        with pytest.raises(WorkerError) as error, processes.pool(job, 2) as pool:
            processes.submit(pool, pipeline.mix_some, None, [0]).result()
        raised.append(error)

    user = threading.Thread(target=use_a_pool, daemon=True)
    user.start()
    while not (workers := spawned(os.getpid())):
        time.sleep(0.01)
    os.kill(workers[0], signal.SIGKILL)
    user.join(timeout=60)
    assert raised


def test_ctrl_c_leaves_processes_that_start_alone(tmp_path):
    job = Job(LazySource(["a"], _die), MIXER, KEY, False, ".png")
    with processes.pool(job, 1) as pool:
        future = processes.submit(pool, pipeline.mix_some, None, [])
        (worker,) = spawned(os.getpid())
        os.kill(worker, signal.SIGINT)
        assert future.result().results == []


def test_a_job_travels_without_its_key():
    source = LazySource(["a"], _die)
    content = pickle.dumps(Job(source, MIXER, KEY, False, ".png"))
    assert bytes(range(32)) not in content


def children(pid):
    """The processes that a process has started, and those that these have."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def spawned(pid):
    """The processes among them that work, or will."""
    found = []
    for child in children(pid):
        with contextlib.suppress(OSError):
            line = pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
            found += [child] if b"spawn_main" in line else []
    return found


def running(pids):
    states = [pathlib.Path(f"/proc/{pid}/stat") for pid in pids]
    return [x for x in states if x.exists() and ") Z " not in x.read_text()]


@pytest.mark.skipif(not pathlib.Path("/proc").exists(), reason="there is no /proc")
def test_killed_its_workers_end_and_another_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    many(tmp_path, 400)
    SecretKey.generate().save("my.key")
    program = f"""
from vim_jax.cli import main
from vim_jax.data import pipeline
vars(pipeline).update({SOON})
main({[*MIX, "--workers", "2"]})
"""
    process = start_python("-c", program)
    wait_for(process, 30)
    workers = children(process.pid)
    assert len(workers) >= 2
    for pid in workers:
        for name in ("cmdline", "environ"):
            shown = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
            assert not any(secret in shown for secret in secrets_of("my.key"))
    process.kill()
    process.communicate(timeout=60)  # They hold its pipes, too.
    assert process.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while running(workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(workers)
    assert finish(start(*MIX))[0] == 0
    assert finish(start("mix", "src", "whole", *MIX[3:], "--workers", "1"))[0] == 0
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")
