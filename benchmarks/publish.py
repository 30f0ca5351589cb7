"""`vim-jax mix` beside plain decoding and encoding of the same photographs.

Photographs of mixed sizes and orientations, cut from the bundled ones, in JPEG files.

* speed: "plain" decodes and encodes them, with the same decoder, encoder and number of
  threads, and writes nothing. Shuffled pixels are packed for runs only. Photographs
  would not be, since it makes them larger; "plain, packed for runs" does so all the
  same. "vim-jax mix" reads, mixes, encodes and writes files and manifest, all of them
  synced, and starts processes where it is worth it. What it compiles once for a machine
  is compiled before.
* compiling: what a machine's first run takes longer than its second.
* memory: the peak of what publishes few photographs, many, and a large one.
* curve: pixels a second, from small photographs to large ones.
"""

import concurrent.futures
import contextlib
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

import vim_jax
from vim_jax.data import embedded, folder
from vim_jax.data.encode import encode
from vim_jax.data.publish import publish

# Counts of photographs, and the least and largest lengths of their sides in pixels.
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "photographs": 8,
        "short": (32, 40),
        "long": (40, 64),
        "repeats": 1,
        "memory": {"counts": (8, 16), "short": (16, 24), "long": (24, 32)},
        "large": (300, 200),
        "curve": {32: 8, 64: 4},
    },
    "cpu": {
        "photographs": 2000,
        "short": (256, 448),
        "long": (384, 640),
        "repeats": 1,
        "memory": {"counts": (2000, 20000), "short": (64, 112), "long": (96, 160)},
        "large": (12000, 9000),
        "curve": {
            32: 16384,
            64: 8192,
            128: 2048,
            256: 512,
            512: 256,
            1024: 64,
            2048: 8,
            4096: 4,
        },
    },
}
PRESETS["gpu"] = PRESETS["cpu"]

MIXERS = {
    "level 0.6": vim_jax.VisualMixer(level=0.6, clip=True),
    "region size 16": vim_jax.VisualMixer(region_size=16),
}
_SEED = 0
_QUALITY = 90
_PIXELS = 1 << 30  # More than the largest photograph has.


def run(preset: str) -> dict[str, list[dict[str, Any]]]:
    """Returns rows of the speed, of compiling, of the memory and of the curve."""
    settings = PRESETS[preset]
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        compiling = _compiling(root, settings)
        return {
            "compiling": compiling,
            "speed": _speed(root, settings),
            "memory": _memory(root, settings["memory"], settings["large"]),
            "curve": _curve(root, settings["curve"]),
        }


def _compiling(root: pathlib.Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Has everything compiled for what follows, and says how long that takes."""
    src = root / "few"
    photographs(src, 2, settings["short"], settings["long"])
    for mixer in MIXERS.values():
        _seconds(src, root / "dst", mixer)
    new = {"NUMBA_CACHE_DIR": os.fspath(root / "compiled")}
    seconds = [
        _apart(src, root / name, environment=new)["seconds"]
        for name in ("first", "second")
    ]
    return [{"first_run_s": seconds[0], "second_run_s": seconds[1]}]


def _speed(root: pathlib.Path, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    count = settings["photographs"]
    src = root / "src"
    pixels = photographs(src, count, settings["short"], settings["long"])
    rows = []
    for name, mixer in MIXERS.items():
        times: dict[str, list[float]] = {}
        for _ in range(settings["repeats"]):  # They take turns.
            for way, seconds in {
                "plain": _plain_seconds(src),
                "plain, packed for runs": _plain_seconds(src, shuffled=True),
                "vim-jax mix": _seconds(src, root / "dst", mixer),
            }.items():
                times.setdefault(way, []).append(seconds)
        speeds = {way: count / statistics.median(t) for way, t in times.items()}
        rows.append(
            {
                "setting": name,
                "photographs": count,
                "megapixels": pixels / 1e6,
                "images_per_s": speeds,
                "ratio": speeds["vim-jax mix"] / speeds["plain"],
                "ratio_packed_alike": speeds["vim-jax mix"]
                / speeds["plain, packed for runs"],
            }
        )
    return rows


def _memory(
    root: pathlib.Path, many: Mapping[str, Any], large: tuple[int, int]
) -> list[dict[str, Any]]:
    rows = []
    for count in many["counts"]:
        src, out = root / f"many{count}", root / f"out{count}"
        photographs(src, count, many["short"], many["long"])
        peak = _apart(src, out, processes_soon=True)
        rows.append({"photographs": count, **peak})
        shutil.rmtree(out)
    width, height = large
    photographs(root / "large", 1, (height, height), (width, width))
    peak = _apart(root / "large", root / "outlarge")
    return [*rows, {"photographs": 1, "size": f"{width}x{height}", **peak}]


def _apart(
    src: pathlib.Path,
    dst: pathlib.Path,
    *,
    processes_soon: bool = False,
    environment: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Publishes a folder in processes of their own.

    Returns their number, the seconds it took and the sum of their peaks of memory in
    MiB, which may come one after the other.

    Args:
      src: the folder.
      dst: a new folder.
      processes_soon: whether processes take over in any case, as they do where images
        are small and many.
      environment: variables to be set there.
    """
    program = (
        "import sys\n"
        "from benchmarks.publish import MIXERS, publish_folder\n"
        "from vim_jax.data import pipeline\n"
        f"if {processes_soon}:\n"
        "  pipeline._TRIAL, pipeline._CROWDED, pipeline._WORTH = 0, 1, 0\n"
        "publish_folder(*sys.argv[1:], MIXERS['level 0.6'])"
    )
    command = [sys.executable, "-c", program, os.fspath(src), os.fspath(dst)]
    start = time.perf_counter()
    peaks: dict[int, float] = {}
    process = subprocess.Popen(command, env={**os.environ, **(environment or {})})
    while process.poll() is None:
        peaks |= _peaks(process.pid)
        time.sleep(0.02)
    if process.returncode:
        raise RuntimeError(f"publishing {src} failed: see above")
    seconds = time.perf_counter() - start
    return {
        "peak_mib": sum(peaks.values()),
        "processes": len(peaks),
        "seconds": seconds,
    }


def _peaks(pid: int) -> dict[int, float]:
    """Returns the peak memory so far of a process and of those it started, in MiB."""
    found: dict[int, float] = {}
    # Not `ru_maxrss`, which begins at what the parent had taken. They end meanwhile.
    with contextlib.suppress(OSError):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        if match := re.search(r"VmHWM:\s*(\d+) kB", status):
            found[pid] = int(match[1]) / 1024
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found |= _peaks(int(child))
    return found


def _curve(root: pathlib.Path, counts: Mapping[int, int]) -> list[dict[str, Any]]:
    rows = []
    mixer = MIXERS["level 0.6"]
    for side, count in counts.items():
        src, dst = root / f"side{side}", root / "dst"
        pixels = photographs(src, count, (side, side), (side, side))
        plain = _plain_seconds(src)
        seconds = _seconds(src, dst, mixer)
        rows.append(
            {
                "side": side,
                "photographs": count,
                "megapixels_per_s": pixels / seconds / 1e6,
                "plain_megapixels_per_s": pixels / plain / 1e6,
            }
        )
    return rows


def _seconds(src: pathlib.Path, dst: pathlib.Path, mixer: vim_jax.VisualMixer) -> float:
    """Returns how long publishing takes; replaces what an earlier run published."""
    shutil.rmtree(dst, ignore_errors=True)
    start = time.perf_counter()
    publish_folder(src, dst, mixer)
    return time.perf_counter() - start


def publish_folder(
    src: str | pathlib.Path, dst: str | pathlib.Path, mixer: vim_jax.VisualMixer
) -> None:
    """Publishes a folder into a new one."""
    source, key = folder(src, max_pixels=_PIXELS), vim_jax.SecretKey.generate()
    report = publish(source, dst, mixer, key, in_processes=True)
    for sentence in report.failures.values():
        raise RuntimeError(sentence)


def _plain_seconds(src: pathlib.Path, *, shuffled: bool = False) -> float:
    """Returns how long decoding and encoding a folder takes.

    Args:
      src: the folder.
      shuffled: whether to encode as if pixels were.
    """
    source = folder(src, max_pixels=_PIXELS)

    def convert(index: int) -> int:
        return len(encode(source[index].image, "png", shuffled=shuffled))

    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(convert, range(len(source))):
            pass
    return time.perf_counter() - start


def photographs(
    folder: pathlib.Path, count: int, short: tuple[int, int], long: tuple[int, int]
) -> int:
    """Writes photographs, upright ones and lying ones; returns their pixels."""
    folder.mkdir()
    rng = np.random.default_rng(_SEED)
    bundled = [x.image for x in embedded("photographs") if x.mode == "RGB"]
    pixels = 0
    for number in range(count):
        sides = [int(rng.integers(*bounds, endpoint=True)) for bounds in (short, long)]
        height, width = sides if rng.random() < 0.7 else sides[::-1]
        image = bundled[rng.integers(len(bundled))]
        if image.shape[0] < height or image.shape[1] < width:
            image = _enlarged(image, height, width, rng)
        top = rng.integers(image.shape[0] - height + 1)
        left = rng.integers(image.shape[1] - width + 1)
        part = image[top : top + height, left : left + width]
        Image.fromarray(part).save(folder / f"{number:05}.jpg", quality=_QUALITY)
        pixels += height * width
    return pixels


def _enlarged(
    image: np.ndarray, height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns a photograph enlarged, with some of the noise that this takes away."""
    scale = max(height / image.shape[0], width / image.shape[1])
    size = [math.ceil(scale * side) for side in image.shape[1::-1]]
    large = np.array(Image.fromarray(image).resize(size))
    for rows in np.array_split(
        large, math.ceil(size[1] / 512)
    ):  # Views, to save memory.
        noise = rng.integers(-6, 6, rows.shape, np.int16, endpoint=True)
        rows[:] = (rows + noise).clip(0, 255)
    return large


def table(
    results: dict[str, list[dict[str, Any]]],
) -> tuple[list[str], list[list[str]]]:
    """Returns the heads and cells of a table, with ratios to decoding and encoding."""
    heads = ["", "photographs", "vim-jax mix", "plain", "ratio", "ratio, packed alike"]
    (compiling,) = results["compiling"]
    cells = [
        ["a first run, s", "2", f"{compiling['first_run_s']:.1f}", "", "", ""],
        ["a second run, s", "2", f"{compiling['second_run_s']:.1f}", "", "", ""],
    ]
    for row in results["speed"]:
        speeds = row["images_per_s"]
        cells.append(
            [
                f"{row['setting']}, images/s",
                f"{row['photographs']:,}",
                f"{speeds['vim-jax mix']:.3g}",
                f"{speeds['plain']:.3g}",
                f"{row['ratio']:.2f}",
                f"{row['ratio_packed_alike']:.2f}",
            ]
        )
    for row in results["curve"]:
        ours, plain = row["megapixels_per_s"], row["plain_megapixels_per_s"]
        cells.append(
            [
                f"{row['side']}x{row['side']}, megapixels/s",
                f"{row['photographs']:,}",
                f"{ours:.3g}",
                f"{plain:.3g}",
                f"{ours / plain:.2f}",
                "",
            ]
        )
    for row in results["memory"]:
        what = f"memory{', ' * ('size' in row)}{row.get('size', '')}, MiB"
        count = f"{row['photographs']:,}"
        cells.append([what, count, f"{row['peak_mib']:.0f}", "", "", ""])
    return heads, cells
