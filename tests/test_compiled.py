"""Compiled loops are kept, where there is a place, as long as the code stays."""

import pathlib
from typing import no_type_check

import numpy as np
import pytest

from vim_jax.data import compiled as module
from vim_jax.data.compiled import compiled


@no_type_check
def total(x):
    """Sums an array."""
    result = 0
    for k in range(x.size):
        result += x[k]
    return result


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Has a folder of its own looked for, by the environment of the test."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    module._folder.cache_clear()
    yield
    module._folder.cache_clear()


def hits(function):
    """How often what was kept was loaded."""
    return sum(function.stats.cache_hits.values())


def test_what_was_compiled_is_loaded_by_the_next(tmp_path, folders):
    first, second = compiled(total), compiled(total)
    assert first(np.arange(5)) == second(np.arange(5)) == 10
    assert (hits(first), hits(second)) == (0, 1)
    assert list((tmp_path / "cache").rglob("*.nbc"))


def test_with_nowhere_to_write_it_works_all_the_same(tmp_path, folders):
    (tmp_path / "cache").write_text("not a folder")
    first, second = compiled(total), compiled(total)
    assert first(np.arange(5)) == second(np.arange(5)) == 10
    assert hits(second) == 0


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_a_damaged_cache_is_made_anew(kind, tmp_path, folders):
    compiled(total)(np.arange(5))
    for file in (tmp_path / "cache").rglob(f"*.{kind}"):
        file.write_bytes(b"")
    again, after = compiled(total), compiled(total)
    assert again(np.arange(5)) == after(np.arange(5)) == 10
    assert (hits(again), hits(after)) == (0, 1)


def test_a_full_disk_leaves_no_cache(monkeypatch, folders):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    first = compiled(total)
    monkeypatch.setattr(first._cache._cache_file, "save", refuse)
    assert first(np.arange(5)) == 10


def test_a_user_without_a_home_has_no_folder(monkeypatch, folders):
    def home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pathlib.Path, "home", home)
    assert module._folder() is None


def test_other_code_has_another_folder(monkeypatch, tmp_path, folders):
    data = tmp_path / "vim_jax/data"
    data.mkdir(parents=True)
    names = set()
    monkeypatch.setattr(module, "__file__", str(data / "compiled.py"))
    for path, content in [
        (data / "compiled.py", "1"),
        (data / "compiled.py", "2"),
        (data.parent / "rounds.py", "ROUNDS = 4"),
        (data.parent / "rounds.py", "ROUNDS = 5"),
    ]:
        path.write_text(content)
        module._folder.cache_clear()
        folder = module._folder()
        assert folder is not None
        names.add(folder.name)
    assert len(names) == 4
