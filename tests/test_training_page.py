"""Examples of docs/training.md."""

import pathlib
import re

import pytest

PAGE = (pathlib.Path(__file__).parents[1] / "docs" / "training.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(2))
def test_examples_run(number, capsys):
    exec(compile(EXAMPLES[number], "training.md", "exec"), {})
    values = [float(word) for word in capsys.readouterr().out.split()]
    assert len(EXAMPLES) == 2
    assert len(values) == 3
    # Accuracies, of the second one losses.
    assert all(0 < value < (1, 4)[number] for value in values)
