"""Where Apache Beam is not installed."""

import subprocess
import sys

from folders import is_sentence

PROGRAM = """
import sys
sys.modules["apache_beam"] = None
try:
    import vim_jax.data.beam
except ValueError as error:
    print(error)
"""


def test_its_absence_is_one_sentence_that_names_the_extra():
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install 'vim-jax[beam]'" in done.stdout
    assert is_sentence(done.stdout.strip())
