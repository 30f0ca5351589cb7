"""Benchmarks run, and write what the table shows."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_shuffle_benchmark_writes_its_numbers(tmp_path):
    out = tmp_path / "shuffle.json"
    command = [sys.executable, "-m", "benchmarks", "shuffle"]
    command += ["--preset", "smoke", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    results = json.loads(out.read_text())
    (row,) = results["rows"]
    assert row["mvalues_per_s"]["vim_jax.shuffle"] > 0
    assert results["device"]
    assert results["command"].endswith("shuffle --preset smoke")
    assert "numpy" in done.stdout
