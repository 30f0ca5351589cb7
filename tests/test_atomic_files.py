"""Files appear whole under their names, or not at all."""

import errno
import os
import pathlib
import stat
import threading

import pytest
from folders import sentence

from vim_jax.data import (
    DataError,
    writers,
)
from vim_jax.data.errors import WriteError
from vim_jax.data.writers import replace_atomically, write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_file_is_written_with_its_folders(tmp_path):
    path = tmp_path / "new/d é/a b.png"
    write_atomically(path, b"content")
    assert path.read_bytes() == b"content"
    assert names(path.parent) == ["a b.png"]


def test_file_has_usual_rights(tmp_path):
    (tmp_path / "usual").touch()
    write_atomically(tmp_path / "a", b"")
    rights = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("usual", "a")]
    assert rights[0] == rights[1]
    assert (tmp_path / "a").stat().st_nlink == 1


@pytest.mark.parametrize("links", [True, False])
def test_file_is_never_replaced(tmp_path, monkeypatch, links):
    if not links:

        def link(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", link)
    path = tmp_path / "a.png"
    write_atomically(path, b"first")
    before = path.stat()
    write_atomically(path, b"first")  # the same content: nothing to do
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(DataError) as error:
        write_atomically(path, b"second")
    assert "a.png exists with another content" in sentence(error)
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["a.png"]


def test_folder_and_dead_link_in_the_way(tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere")
    for name in ("folder.png", "link.png"):
        with pytest.raises(DataError) as error:
            write_atomically(tmp_path / name, b"x")
        assert name in sentence(error)
    assert names(tmp_path) == ["folder.png", "link.png"]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, step):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(DataError) as error:
        write_atomically(tmp_path / "a.png", b"x")
    assert "No space left on device" in sentence(error)
    assert names(tmp_path) == []


def test_unwritable_places(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file/a.png", tmp_path / ("x" * 300)):
        with pytest.raises(DataError) as error:
            write_atomically(path, b"x")
        assert str(path) in sentence(error)


def test_the_name_appears_with_the_whole_content(tmp_path, monkeypatch):
    seen, synced = [], []
    link, fsync = os.link, os.fsync

    def watched_link(source, target):
        source = pathlib.Path(source)
        seen.append((source.name, source.read_bytes(), os.path.lexists(target)))
        assert synced, "linked before the content was on the disk"
        link(source, target)

    monkeypatch.setattr(os, "link", watched_link)
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), fsync(fd)))
    write_atomically(tmp_path / "a", b"content")
    write_atomically(tmp_path / "b", b"content")
    (first, content, there), (second, *_) = seen
    assert (content, there) == (b"content", False)
    assert first.startswith(writers.TEMPORARY_PREFIX)
    assert first != second
    assert len(synced) == 4  # each file and its folder


def test_a_file_is_replaced_or_left_as_it_is(tmp_path, monkeypatch):
    path = tmp_path / "new/a"
    for content in (b"first", b"second"):
        replace_atomically(path, content)
        assert path.read_bytes() == content
    path.with_name("a.partial").write_bytes(b"of a process that was killed")
    replace_atomically(path, b"third")
    assert [each.name for each in path.parent.iterdir()] == ["a"]

    def full(descriptor):
        assert path.read_bytes() == b"third"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space left on device"):
        replace_atomically(path, b"fourth")
    assert path.read_bytes() == b"third"


def test_of_many_writers_one_wins(tmp_path):
    path, outcomes = tmp_path / "a", []

    def write(content):
        try:
            write_atomically(path, content)
            outcomes.append(content)
        except DataError:
            outcomes.append(None)

    threads = [
        threading.Thread(target=write, args=(bytes([i]) * 1000,)) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if outcome is not None]
    assert winners == [path.read_bytes()]
    assert names(tmp_path) == ["a"]


# TFDS data sets.
