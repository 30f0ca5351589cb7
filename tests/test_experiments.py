"""The experiments run."""

import pytest

from experiments import audit_settings


@pytest.mark.slow
def test_audit_of_settings_smokes(tmp_path):
    rows = audit_settings.run("smoke", None, tmp_path)
    assert set(rows) == {"size 2", "size 4", "size 4, scrambled"}
    table = audit_settings.table(rows).splitlines()
    assert len(table) == 2 + len(rows)
    for row in rows.values():
        assert set(row["verdicts"]) == {"see", "recognise", "link", "unlock"}
    assert table[2].split(" | ")[-1].endswith(" |")
    assert "not tried" in table[2]  # Learned inversion takes the full budget.
