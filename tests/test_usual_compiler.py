"""Bytes and plans hold under XLA as users have it.

Tests compile in other ways, which take less time: see `conftest.py`.
"""

import os
import pathlib
import subprocess
import sys

import pytest

CALLS = [
    "test_permutation.test_golden_digests(('threefry', 4, 'independent', False))",
    "test_permutation.test_golden_digests(('threefry', 'adaptive', 'mixed', True))",
    "test_permutation.test_golden_digests(('secret', 'line', 'joint', False))",
    "test_host_plans.test_a_photograph_of_many_blocks('independent')",
]


@pytest.mark.slow
def test_golden_bytes_and_plans():
    code = "\n".join(["import test_host_plans, test_permutation", *CALLS])
    tests_own = {"XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS"}
    usual = {name: x for name, x in os.environ.items() if name not in tests_own}
    here = pathlib.Path(__file__).parent
    subprocess.run([sys.executable, "-c", code], cwd=here, env=usual, check=True)
