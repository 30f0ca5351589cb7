"""The command line: options, sentences and exit codes."""

import errno
import functools
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from folders import complaints, photograph, photographs, pixels, run_command, save, tree

from vim_jax import SecretKey
from vim_jax.data.errors import WorkerError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Tests run in a folder with photographs in `src`."""
    photographs(tmp_path / "src")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def call(capsys):
    return functools.partial(run_command, capsys)


MIX = ("mix", "src", "dst", "--region-size", "5", "--key", "my.key")
RESTORE = ("restore", "dst", "back", "--key", "my.key")


def test_mix_and_restore(call, folder):
    code, out, err = call(*MIX)
    assert code == 0
    assert complaints(err) == []
    assert "4/4" in err
    assert "images/s" in err
    assert "mixed now" in out
    assert "VFE before, median" in out
    assert "Keep my.key safe" in out
    code, out, _ = call(*RESTORE)
    assert code == 0
    assert "Restored 4 images to back, each checked bit for bit." in out
    for name, image in pixels(folder / "src").items():
        np.testing.assert_array_equal(pixels(folder / "back")[name], image)


def test_second_run_finds_all_done(call):
    call(*MIX)
    code, out, _ = call(*MIX)
    assert code == 0
    assert "Made a new key" not in out
    assert [line for line in out.splitlines() if "earlier run" in line and "4" in line]


@pytest.mark.parametrize(("src", "dst"), [("src/", "./dst/"), ("../{}/src", "a/b/c")])
def test_paths_may_be_written_in_any_way(call, folder, src, dst):
    assert call("mix", src.format(folder.name), dst, *MIX[3:])[0] == 0
    assert len(pixels(folder / dst)) == 4


def test_key_is_made_before_the_first_image_and_said_so(call, folder, monkeypatch):
    synced, fsync = [], os.fsync

    def note(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    code, out, _ = call(*MIX)
    assert code == 0
    key = SecretKey.load("my.key")
    assert f"Made a new key in my.key (fingerprint {key.fingerprint})." in out
    assert stat.S_IMODE((folder / "my.key").stat().st_mode) == 0o600
    # The file and then its folder, before the output so much as exists.
    assert os.path.dirname(synced[0]) == synced[1] == str(folder)


def test_key_file_is_never_overwritten(call, folder):
    (folder / "my.key").write_text("not a key")
    (folder / "my.key").chmod(0o600)
    code, _, err = call(*MIX)
    assert code == 2
    assert "holds no vim-jax key" in complaints(err)[0]
    assert (folder / "my.key").read_text() == "not a key"
    assert not (folder / "dst").exists()


def test_key_file_that_others_can_read_is_refused(call, folder):
    SecretKey.generate().save("my.key")
    (folder / "my.key").chmod(0o640)
    code, _, err = call(*MIX)
    assert code == 2
    assert "open to other users" in complaints(err)[0]


def test_key_file_in_no_folder(call):
    code, _, err = call(*MIX[:5], "--key", "none/my.key")
    assert code == 2
    assert "key file none/my.key cannot be written" in complaints(err)[0]


def test_wrong_key_is_exit_code_3(call, folder):
    call(*MIX)
    SecretKey.generate().save("other.key")
    before = tree(folder / "dst")
    for command in (MIX, RESTORE):
        code, _, err = call(*command[:-1], "other.key")
        assert code == 3
        (sentence,) = complaints(err)
        assert SecretKey.load("my.key").fingerprint in sentence
    assert tree(folder / "dst") == before
    assert not (folder / "back").exists()


def test_missing_key_of_a_begun_folder_is_not_made_anew(call, folder):
    call(*MIX)
    code, _, err = call(*MIX[:-1], "misspelt.key")
    assert code == 3
    assert "misspelt.key does not exist, and dst was begun with" in err
    assert not (folder / "misspelt.key").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--key", "my.key"], "exactly one of --level, --target-vfe and --region-size"),
        (["--level", "0.5"], "exactly one of --key FILE"),
        (["--level", "0.5", "--key", "k", "--discard-key"], "exactly one of --key"),
        (["--level", "0.5", "--region-size", "3", "--key", "k"], "exactly one of --l"),
        (["--level", "1.5", "--key", "k"], "--level 1.5 is not a privacy level"),
        (["--level", "nan", "--key", "k"], "--level nan is not a privacy level"),
        (["--target-vfe", "-1", "--key", "k"], "--target-vfe -1.0 is not a VFE"),
        (["--region-size", "0", "--key", "k"], "--region-size 0 is not a region size"),
        (["--region-size", "4", "--max-region", "8", "--key", "k"], "--max-region 8"),
        (["--level", "1", "--max-region", "0", "--key", "k"], "--max-region 0 is"),
        (["--region-size", "4", "--key", "k", "--workers", "0"], "--workers 0"),
        (["--region-size", "4", "--key", "k", "--max-pixels", "0"], "--max-pixels 0"),
        (["--region-size", "4", "--key", "k", "--split", "train"], "has no splits"),
    ],
)
def test_contradictions_are_usage_errors(call, folder, arguments, words):
    code, _, err = call("mix", "src", "dst", *arguments)
    assert code == 2
    (sentence,) = complaints(err)
    assert words in sentence
    assert not (folder / "k").exists()
    assert not (folder / "dst").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["src"],
        ["src", "dst", "--level", "much", "--key", "k"],
        ["src", "dst", "--level", "0.5", "--key", "k", "--format", "jpg"],
        ["src", "dst", "--level", "0.5", "--key", "k", "--channels", "none"],
        ["src", "dst", "--no-such-option"],
    ],
)
def test_unknown_and_missing_arguments_are_usage_errors(call, arguments):
    code, _, err = call("mix", *arguments)
    assert code == 2
    assert "vim-jax mix --help" in err


@pytest.mark.parametrize(
    ("src", "dst", "key", "words"),
    [
        ("src", "src", "k", "DST src lies inside SRC src"),
        ("src", "src/dst", "k", "lies inside SRC"),
        ("src/cats", "src", "k", "SRC src/cats lies inside DST src"),
        ("src", ".", "k", "SRC src lies inside DST ."),
        ("src", "link/dst", "k", "lies inside SRC"),
        ("src", "dst", "src/k", "key file src/k lies inside SRC"),
        ("src", "dst", "dst/k", "key file dst/k lies inside DST"),
        ("src", "dst", "dst", "key file dst lies inside DST"),
        ("src", "dst", "src/../link/k", "lies inside SRC"),
    ],
)
def test_folders_and_key_inside_each_other(call, folder, src, dst, key, words):
    (folder / "link").symlink_to("src")
    before = tree(folder / "src")
    code, _, err = call("mix", src, dst, "--region-size", "5", "--key", key)
    assert code == 2
    (sentence,) = complaints(err)
    assert words in sentence
    assert tree(folder / "src") == before
    assert not (folder / "dst").exists()


def test_restoring_into_the_published_folder_is_refused(call):
    call(*MIX)
    for dst in ("dst", "dst/back"):
        code, _, err = call("restore", "dst", dst, "--key", "my.key")
        assert code == 2
        assert "lies inside SRC dst" in complaints(err)[0]


@pytest.mark.parametrize(
    ("src", "words"),
    [
        ("nothing", "there is no folder nothing, and data set 'nothing' is unknown"),
        ("./nothing", "folder ./nothing does not exist"),
        ("empty", "folder empty holds no images"),
        ("src/cats/1.png", "src/cats/1.png is a file: give the folder"),
        ("embedded:cars", "embedded set 'cars' is unknown"),
        ("circle", "there is no folder circle"),
    ],
)
def test_source_that_is_none(call, folder, src, words):
    (folder / "empty").mkdir()
    (folder / "circle").symlink_to("circle")
    code, _, err = call("mix", src, "dst", *MIX[3:])
    assert code == 2
    (sentence,) = complaints(err)
    assert words in sentence
    assert not (folder / "my.key").exists()


def test_output_that_is_not_empty(call, folder):
    (folder / "dst").mkdir()
    (folder / "dst/mine.txt").write_text("")
    code, _, err = call(*MIX)
    assert code == 2
    assert "dst is not empty (it holds 'mine.txt')" in complaints(err)[0]
    assert not (folder / "my.key").exists()


def test_letters_that_the_terminal_lacks_do_not_end_a_job(folder):
    save(folder / "src/猫.png", photograph())
    (folder / "src/犬.png").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "vim_jax", *MIX],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert r"src/\u72ac.png is empty" in done.stderr
    assert "Traceback" not in done.stderr
    assert (folder / "dst/猫.png").exists()


def test_failures_are_named_once_and_the_rest_is_done(call, folder):
    (folder / "src/bad [red].png").write_bytes(b"no image")
    (folder / "src/a\x1b[31m\n.png").write_bytes(b"")
    (folder / "src/notes.txt").write_text("")
    (folder / "src/more.TXT").write_text("")
    code, out, err = call(*MIX)
    assert code == 1
    sentences = complaints(err)
    assert len(sentences) == 2
    assert r"src/a\x1b[31m\n.png is empty" in sentences[0]
    assert "src/bad [red].png is not an image" in sentences[1]
    assert "\x1b" not in err
    assert "2 files left out, dead links or not of the types .png, " in out
    assert ".tiff: more.TXT, notes.txt" in out
    assert "convert them" not in err
    assert len(pixels(folder / "dst")) == 4


def test_pictures_that_are_not_read_are_warned_of(call, folder):
    for name in ("a.HEIC", "b.gif", "c.txt"):
        (folder / "src" / name).write_bytes(b"")
    code, out, err = call(*MIX)
    assert code == 0
    assert "3 files left out" in out
    assert "warning: 2 pictures left out, such as a.HEIC: convert them" in err


def test_nothing_shows_progress_before_it_is_known_to_fit(call):
    call(*MIX)
    _, _, err = call(*MIX[:4], "7", *MIX[5:])
    assert "was begun with --region-size 5 instead of 7" in err
    assert len(err.splitlines()) == 1


def test_a_key_is_made_once(call, folder):
    code, out, _ = call("key", "new.key")
    assert code == 0
    key = SecretKey.load(folder / "new.key")
    assert key.fingerprint in out
    code, _, err = call("key", "new.key")
    assert code == 2
    assert "exists and is never overwritten" in complaints(err)[0]
    assert SecretKey.load(folder / "new.key").fingerprint == key.fingerprint
    assert call(*MIX[:5], "--key", "new.key", "--shard", "1/2")[0] == 0


def test_what_lies_beside_restored_images_is_told(call, folder):
    call(*MIX)
    assert "other file" not in call(*RESTORE)[2]
    assert "other file" not in call(*RESTORE)[2]
    save(folder / "back/mine.jpg", photograph())
    _, _, err = call(*RESTORE)
    assert "warning: back also holds 1 other file, such as mine.jpg" in err
    save(folder / "dst/cats/1.png", photograph(seed=9))
    assert "other file" not in call(*RESTORE)[2]  # One was restored before.


def test_restore_names_what_it_cannot_restore(call, folder):
    call(*MIX)
    save(folder / "dst/cats/1.png", photograph(seed=9))
    code, out, err = call(*RESTORE)
    assert code == 1
    assert "Restored 3 images to back" in out
    (sentence,) = complaints(err)
    assert "cats/1.png was changed after mixing" in sentence


def test_unreachable_targets_name_the_options(call, folder):
    board = (np.indices((16, 24)).sum(0) % 2 * 255).astype(np.uint8)
    save(folder / "boards/a.png", board)
    code, _, err = call("mix", "boards", "dst", "--level", "0.5", "--key", "my.key")
    assert code == 1
    (sentence,) = complaints(err)
    assert "a.png: --level 0.5 means nothing for this image" in sentence
    assert "--clip" in sentence


def test_large_image_names_the_option(call):
    code, _, err = call(*MIX, "--max-pixels", "100")
    assert code == 1
    assert "--max-pixels 384 or more" in complaints(err)[0]


def test_discarded_key(call, folder):
    code, out, _ = call(*MIX[:5], "--discard-key")
    assert code == 0
    assert "nobody has it, you included" in out
    assert not list(folder.glob("*.key"))
    code, _, err = call("mix", *MIX[1:])
    assert code == 2
    assert "what it was begun with, the file of its key or --discard-key" in err
    assert not list(folder.glob("*.key"))
    SecretKey.generate().save("some.key")
    code, _, err = call("restore", "dst", "back", "--key", "some.key")
    assert code == 2
    assert "nobody can restore it" in complaints(err)[0]


def test_renamed_images(call, folder):
    assert call(*MIX, "--rename", "--format", "webp")[0] == 0
    assert min(pixels(folder / "dst")) == "cats/000001.webp"
    assert call(*RESTORE)[0] == 0
    assert set(pixels(folder / "back")) == set(pixels(folder / "src"))


def test_warnings_and_notes(call, folder):
    save(folder / "src/flat.png", np.full((16, 24, 3), 5, np.uint8))
    code, _, err = call(*MIX)
    assert code == 0
    assert "warning: flat.png came out unchanged" in err
    assert "warning: 4 of 5 images have regions that can be put back one by one" in err
    code, _, err = call(*MIX[:2], "large", "--region-size", "entire", *MIX[5:])
    assert "can be put back" not in err  # Nothing moves in the flat one.


def test_conversions_are_said(call, folder):
    from PIL import Image

    Image.fromarray(photograph()).convert("P").save(folder / "src/palette.png")
    _, out, _ = call(*MIX)
    assert "palette.png: converted from a palette to RGB." in out


def test_a_killed_worker_is_exit_code_1(call, folder, monkeypatch):
    def dies(*_, **__):
        raise WorkerError("a worker process was killed: use fewer workers")

    monkeypatch.setattr("vim_jax.data.publish.publish", dies)
    code, _, err = call(*MIX)
    assert code == 1
    assert "a worker process was killed" in err


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_disk_that_takes_nothing_is_exit_code_1(call, folder, monkeypatch, code):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr("vim_jax.data.folder_writer.stage", fail)
        exit_code, _, err = call(*MIX)
    assert exit_code == 1
    (sentence,) = complaints(err)
    assert os.strerror(code) in sentence
    assert call(*MIX)[0] == 0
    assert call(*RESTORE)[0] == 0


def test_tfds_data_set(call, folder):
    code, out, _ = call(*MIX, "--format", "tfds")
    assert code == 0
    assert "mixed now" in out
    assert (folder / "dst/dataset_info.json").is_file()
    assert call(*RESTORE)[0] == 0
    assert set(pixels(folder / "back")) == set(pixels(folder / "src"))
    code, _, err = call(*MIX, "--format", "tfds")
    assert code == 2
    assert "dst exists" in complaints(err)[0]


def test_published_tfds_data_set_is_a_source(call, folder):
    call(*MIX, "--format", "tfds")
    code, _, _ = call("mix", "dst", "again", "--region-size", "5", "--key", "my.key")
    assert code == 0
    assert "cats/1.png" in pixels(folder / "again")
