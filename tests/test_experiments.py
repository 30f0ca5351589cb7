"""The experiments run."""

import json

import pytest

from experiments import attacks, record


@pytest.mark.slow
def test_attacks_smoke(tmp_path):
    rows = attacks.run("smoke", None, tmp_path)
    assert [row["setting"] for row in rows] == ["size 1", "size 2", "size 2, scrambled"]
    for row in rows:
        assert set(row["verdicts"]) == {"see", "recognise", "link", "unlock"}
        assert row["skipped"]["seed_search"] == "it was left out"
    tried = [{attack["name"] for attack in row["attacks"]} for row in rows]
    assert "learned inversion" in tried[1] - tried[0]


def test_every_setting_that_is_trained_is_one():
    for preset in attacks.PRESETS.values():
        assert set(preset.trained) <= set(preset.settings) <= set(attacks.SETTINGS)
        assert set(preset.images) == set(preset.auxiliary)


def test_results_say_how_they_were_made(tmp_path):
    path = tmp_path / "new/a.json"
    for _ in range(2):  # Results are replaced.
        record.write(path, "experiments.attacks --preset smoke", 1.26, [{"a": 1}])
    written = json.loads(path.read_text())
    assert written["command"] == "python -m experiments.attacks --preset smoke"
    assert written["seconds"] == 1.3
    assert written["rows"] == [{"a": 1}]
    assert {"commit", "device", "cores", "seed", "versions"} <= set(written)
