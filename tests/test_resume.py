"""A folder that was begun: resumed, refused, locked, or on a full disk."""

import json
import os
import pathlib
import resource

import numpy as np
import pytest
from folders import is_sentence, photograph, photographs, pixels, save, tree

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import DataError, folder
from vim_jax.data.errors import WriteError, WrongKeyError
from vim_jax.data.publish import publish
from vim_jax.data.restore import restore
from vim_jax.data.writers import TEMPORARY_PREFIX, locked

MIXER = VisualMixer(region_size=5)
KEY = SecretKey(bytes(range(32)))


def run(src, dst, key: SecretKey | None = KEY, mixer=MIXER, **options):
    return publish(folder(src), dst, mixer, key, **options)


def test_second_run_does_nothing_twice(tmp_path, monkeypatch):
    src = photographs(tmp_path / "src")
    run(src, tmp_path / "dst")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "dst").rglob("*.png")}
    monkeypatch.setattr("vim_jax.data.job.mix_example", lambda *_, **__: 1 / 0)
    report = run(src, tmp_path / "dst")
    assert (report.found, report.mixed, report.failures) == (4, 0, {})
    assert len(list(report.records)) == report.published == 4
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "dst").rglob("*.png")}
    assert after == before


def test_new_images_are_added_by_a_second_run(tmp_path):
    src = photographs(tmp_path / "src", 2)
    run(src, tmp_path / "dst")
    save(src / "cats/0 new.png", photograph(seed=9))
    report = run(src, tmp_path / "dst")
    assert (report.found, report.mixed) == (2, 1)
    assert not restore(tmp_path / "dst", tmp_path / "back", KEY).failures


def test_failed_images_are_tried_again(tmp_path):
    src = photographs(tmp_path / "src", 2)
    (src / "late.png").write_bytes(b"")
    assert list(run(src, tmp_path / "dst").failures) == ["late.png"]
    save(src / "late.png", photograph())
    assert run(src, tmp_path / "dst").mixed == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mixer": VisualMixer(region_size=7)}, "region_size=5 instead of 7"),
        ({"rename": True}, "renamed=False instead of True"),
        ({"fmt": "webp"}, "fmt='png' instead of 'webp'"),
        ({"key": None}, "another choice between --key and --discard-key"),
    ],
)
def test_other_arguments_than_before_are_refused(tmp_path, changes, words):
    src = photographs(tmp_path / "src", 1)
    run(src, tmp_path / "dst")
    before = tree(tmp_path / "dst")
    with pytest.raises(DataError) as error:
        run(src, tmp_path / "dst", **changes)
    assert words in str(error.value)
    assert is_sentence(str(error.value))
    assert tree(tmp_path / "dst") == before


def test_another_key_than_before_is_refused(tmp_path):
    src = photographs(tmp_path / "src", 1)
    run(src, tmp_path / "dst")
    with pytest.raises(WrongKeyError) as error:
        run(src, tmp_path / "dst", SecretKey.generate())
    assert KEY.fingerprint in str(error.value)


def test_name_that_stands_for_another_image_by_now_is_noticed(tmp_path):
    src = photographs(tmp_path / "src", 2)
    run(src, tmp_path / "dst", rename=True)
    (src / "dogs/0.png").rename(src / "dogs/another.png")
    with pytest.raises(DataError, match=r"was published from dogs/0\.png"):
        run(src, tmp_path / "dst", rename=True)


@pytest.mark.parametrize("key", [KEY, None])
def test_an_original_that_is_gone_is_named(tmp_path, key):
    src = photographs(tmp_path / "src")
    run(src, tmp_path / "dst", key)
    before = tree(tmp_path / "dst")
    (src / "dogs/2.png").unlink()
    with pytest.raises(DataError, match=r"dogs/2\.png is published, but") as error:
        run(src, tmp_path / "dst", key)
    assert is_sentence(str(error.value))
    assert tree(tmp_path / "dst") == before


@pytest.mark.parametrize("name", ["holiday.jpg", "manifest.jsonl", "cats"])
def test_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path, name):
    dst = tmp_path / "dst"
    dst.mkdir()
    if name == "cats":
        (dst / name).mkdir()
    else:
        (dst / name).write_text("mine")
    before = tree(dst)
    with pytest.raises(DataError) as error:
        run(photographs(tmp_path / "src", 1), dst)
    assert is_sentence(str(error.value))
    assert tree(dst) == before


def test_empty_folder_is_fine(tmp_path):
    (tmp_path / "dst").mkdir()
    assert run(photographs(tmp_path / "src", 1), tmp_path / "dst").mixed == 1


def test_strange_file_under_a_final_name_never_passes_for_a_mixed_one(tmp_path):
    src = photographs(tmp_path / "src", 2)
    run(src, tmp_path / "dst")
    save(src / "secret.png", photograph(seed=5))
    save(tmp_path / "dst/secret.png", photograph(seed=5))
    for _ in range(2):  # In the next run it is still no image of ours.
        report = run(src, tmp_path / "dst")
        assert list(report.failures) == ["secret.png"]
        assert "no vim-jax wrote it" in report.failures["secret.png"]
    (tmp_path / "dst/secret.png").unlink()
    assert run(src, tmp_path / "dst").failures == {}


def test_missing_file_of_the_manifest_is_named(tmp_path):
    src = photographs(tmp_path / "src")
    run(src, tmp_path / "dst")
    (tmp_path / "dst/cats/1.png").unlink()
    before = tree(tmp_path / "dst")
    with pytest.raises(DataError, match=r"1\.png is in the manifest but gone"):
        run(src, tmp_path / "dst")
    assert tree(tmp_path / "dst") == before


def test_more_missing_files_than_a_killed_run_leaves_are_named(tmp_path, monkeypatch):
    src = photographs(tmp_path / "src")
    run(src, tmp_path / "dst")
    for file in (tmp_path / "dst").rglob("*.png"):
        file.unlink()
    monkeypatch.setattr("vim_jax.data.folder_writer.GROUP", 3)
    with pytest.raises(DataError, match="in the manifest but gone"):
        run(src, tmp_path / "dst")


def test_folder_that_another_process_writes_to_is_refused(tmp_path):
    src = photographs(tmp_path / "src", 1)
    with locked(tmp_path / "dst"), pytest.raises(DataError) as error:
        run(src, tmp_path / "dst")
    assert "is being written to by another vim-jax" in str(error.value)
    assert run(src, tmp_path / "dst").mixed == 1
    assert not list((tmp_path / "dst").glob("*lock*"))


def test_read_only_disk_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    src = photographs(tmp_path / "src", 1)
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "mkdir", refuse)
        with pytest.raises(WriteError, match="Read-only file system") as error:
            run(src, tmp_path / "dst")
    assert is_sentence(str(error.value))
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="Not a directory"):
        run(src, tmp_path / "file/dst")


def test_full_disk_is_one_sentence_and_the_job_resumes(tmp_path):
    """The disk is full after ever more bytes: every write gets its turn to fail."""
    src = photographs(tmp_path / "src", 2)
    run(src, tmp_path / "whole")
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    sizes = [len(content) for content in tree(tmp_path / "whole").values()]
    for limit in (10, 100, max(sizes[:-1]) // 2, 3000, max(sizes) - 10):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
        try:
            with pytest.raises(WriteError) as error:
                run(src, tmp_path / "dst")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        assert is_sentence(str(error.value))
        assert "File too large" in str(error.value)
    run(src, tmp_path / "dst")
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
@pytest.mark.parametrize("done", [False, True])
def test_killed_at_any_step_and_resumed_gives_the_same_bytes(
    tmp_path, monkeypatch, call, done
):
    """Killed at the first, second, ... call, before or after it took effect."""
    src = photographs(tmp_path / "src", 3)
    run(src, tmp_path / "whole")
    original, step = getattr(os, call), 0
    finished = False
    while not finished:
        step += 1
        calls = 0

        def die(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == step:  # noqa: B023
                if done:
                    original(*arguments, **options)
                raise Killed
            return original(*arguments, **options)

        def no_links(*_, **__):
            raise PermissionError(1, "a file system without hard links")

        def leave(*_, **__):
            raise OSError(5, "killed processes tidy nothing up")

        dst = tmp_path / f"dst{step}"
        with monkeypatch.context() as patch:
            patch.setattr(os, call, die)
            patch.setattr(pathlib.Path, "unlink", leave)
            if call == "replace":
                patch.setattr(os, "link", no_links)
            try:
                run(src, dst, workers=1)
                finished = True
            except Killed:
                names = {name for name in tree(dst) if TEMPORARY_PREFIX not in name}
                assert names <= set(tree(tmp_path / "whole"))
        for name, content in pixels(dst).items():
            if TEMPORARY_PREFIX not in name:
                np.testing.assert_array_equal(content, pixels(tmp_path / "whole")[name])
        run(src, dst)
        assert tree(dst) == tree(tmp_path / "whole"), step
    assert step > 3


@pytest.mark.parametrize("part", [0, 1, 40, 0.999])
def test_half_a_line_in_the_manifest_is_written_anew(tmp_path, part):
    src = photographs(tmp_path / "src", 2)
    run(src, tmp_path / "dst")
    whole = tree(tmp_path / "dst")
    lines = whole["manifest.jsonl"].splitlines(keepends=True)
    for count in range(3):
        torn = lines[count]
        torn = torn[: part if part == int(part) else int(part * len(torn))]
        for name in pixels(tmp_path / "dst"):
            (tmp_path / "dst" / name).unlink()
        for line in lines[1:count]:
            name = json.loads(line)["id"]
            (tmp_path / "dst" / name).write_bytes(whole[name])
        for empty in ("cats", "dogs"):
            if count == 0 and (tmp_path / "dst" / empty).exists():
                (tmp_path / "dst" / empty).rmdir()
        path = tmp_path / "dst/manifest.jsonl"
        path.write_bytes(b"".join(lines[:count]) + torn)
        run(src, tmp_path / "dst")
        assert tree(tmp_path / "dst") == whole


def test_discarded_key_run_resumes_with_a_new_key(tmp_path, monkeypatch):
    src = photographs(tmp_path / "src")
    link, calls = os.link, []

    def die(*arguments, **options):
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return link(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", die)
        with pytest.raises(Killed):
            run(src, tmp_path / "dst", None)
    report = run(src, tmp_path / "dst", None)
    assert (report.found, report.mixed) == (2, 2)
    assert len(pixels(tmp_path / "dst")) == 4
