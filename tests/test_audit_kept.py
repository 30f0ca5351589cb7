"""What an audit keeps of finished attacks, and does not try again."""

import dataclasses

import audited
import numpy as np
import pytest
from audited import Fake

from vim_jax.attacks import audit as audits
from vim_jax.attacks.audit import audit


@pytest.fixture(scope="module")
def digits():
    return audited.digits()


@pytest.fixture
def attacked(digits, tmp_path, monkeypatch):
    """Audits the digits by fakes, with one folder for what is kept."""

    def run(*fakes, case=digits, **options):
        attacks = [fake.attack for fake in fakes]
        monkeypatch.setattr(audits, "attacks_on", lambda *_: (attacks, {}))
        return audit(case, "quick", kept=tmp_path / "kept", **options)

    return run


def test_a_finished_attack_is_not_run_again(attacked):
    fakes = Fake("one"), Fake("other")
    before, after = attacked(*fakes), attacked(*fakes)
    assert [fake.runs for fake in fakes] == [1, 1]
    assert after.scores == before.scores
    assert after.seconds == before.seconds
    for name, outcome in before.outcomes.items():
        again = after.outcomes[name]
        assert again.note == outcome.note == "A note."
        for one, other in zip(
            again.reconstructions, outcome.reconstructions, strict=True
        ):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_only_the_user_can_read_what_is_kept(attacked, tmp_path):
    attacked(Fake())
    for folder in (tmp_path / "kept").iterdir():
        assert folder.stat().st_mode & 0o777 == 0o700


def test_an_audit_goes_on_where_it_stopped(attacked):
    class Stopped(Fake):
        def run(self, progress):
            raise KeyboardInterrupt

    one, other = Fake("one"), Fake("other")
    with pytest.raises(KeyboardInterrupt):
        attacked(one, Stopped("other"))
    attacked(one, other)
    assert (one.runs, other.runs) == (1, 1)


def test_an_attack_with_other_settings_is_run_anew_and_kept(attacked):
    attacked(Fake(config="before"))
    changed = Fake(config="after")
    attacked(changed)
    attacked(changed)
    assert changed.runs == 1


def test_another_case_is_attacked_anew(attacked, digits):
    fake = Fake()
    attacked(fake)
    other = dataclasses.replace(digits, published=digits.published[::-1])
    attacked(fake, case=other)
    assert fake.runs == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"garbage",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:200] + bytes([data[200] ^ 255]) + data[201:],
        lambda data: b"\0" * len(data),
    ],
    ids=["empty", "garbage", "half", "cut short", "one byte", "zeros"],
)
def test_a_damaged_file_is_ignored_and_replaced(attacked, tmp_path, damage):
    fake = Fake()
    attacked(fake)
    (path,) = (tmp_path / "kept").rglob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    assert attacked(fake).scores == list(fake.outcome.scores)
    assert fake.runs == 2
    attacked(fake)
    assert fake.runs == 2


def test_progress_is_told_by_attack(attacked):
    told = []
    attacked(Fake("one"), Fake("other"), progress=lambda *step: told.append(step))
    once = [(0, 1), (1, 2), (1, 1)]
    assert told == [(name, *step) for name in ("one", "other") for step in once]


def test_nothing_is_kept_unless_told(digits, monkeypatch, tmp_path):
    fake = Fake()
    monkeypatch.setattr(audits, "attacks_on", lambda *_: ([fake.attack], {}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    audit(digits, "quick")
    audit(digits, "quick")
    assert fake.runs == 2
    assert list(tmp_path.iterdir()) == []
