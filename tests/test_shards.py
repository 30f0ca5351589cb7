"""A job in shards: to the byte what one run writes, whatever happens on the way."""

import os
import shutil

import pytest
from folders import (
    is_sentence,
    photograph,
    photographs,
    save,
    sentence,
    tree,
)

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import DataError, folder, shards
from vim_jax.data.errors import WrongKeyError
from vim_jax.data.folder_writer import FolderWriter
from vim_jax.data.publish import publish
from vim_jax.data.restore import restore
from vim_jax.data.shards import Shard, merge
from vim_jax.data.writers import TEMPORARY_PREFIX, locked

MIXER = VisualMixer(region_size=5)
KEY = SecretKey(bytes(range(32)))


def run(src, dst, shard: str | None = None, key: SecretKey | None = KEY, **options):
    part = None if shard is None else Shard.parse(shard)
    options = {"mixer": MIXER, **options}
    mixer = options.pop("mixer")
    return publish(folder(src), dst, mixer, key, shard=part, **options)


@pytest.mark.parametrize("count", [1, 2, 5, 7])
@pytest.mark.parametrize("images", [5])
def test_shards_are_consecutive_and_cover_all_images(count, images):
    indices = [i for n in range(1, count + 1) for i in Shard(n, count).indices(images)]
    assert indices == list(range(images))


@pytest.mark.parametrize("text", ["2", "0/4", "5/4", "a/b", "1/0", "-1/4", "1/4/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(DataError) as error:
        Shard.parse(text)
    assert "shard is" in sentence(error)


@pytest.mark.parametrize("options", [{}, {"rename": True}, {"fmt": "webp"}])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_merged_shards_are_byte_for_byte_one_run(tmp_path, count, options):
    src = photographs(tmp_path / "src", 6)
    run(src, tmp_path / "whole", **options)
    for number in reversed(range(1, count + 1)):
        run(src, tmp_path / "dst", f"{number}/{count}", **options)
    assert merge(tmp_path / "dst") == (6, 6)
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")
    assert not restore(tmp_path / "dst", tmp_path / "back", KEY).failures


def test_shards_of_several_machines_are_put_together_by_copying(tmp_path):
    src = photographs(tmp_path / "src", 6)
    run(src, tmp_path / "whole")
    for number in (1, 2, 3):
        run(src, tmp_path / f"machine{number}", f"{number}/3")
        shutil.copytree(
            tmp_path / f"machine{number}", tmp_path / "dst", dirs_exist_ok=True
        )
    merge(tmp_path / "dst")
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")


def test_failed_images_fail_in_their_shard_alone(tmp_path):
    src = photographs(tmp_path / "src", 6)
    (src / "dogs/2.png").write_bytes(b"")
    save(src / "dogs/4.jpg", photograph())
    whole = run(src, tmp_path / "whole")
    failures = {}
    for number in (1, 2, 3):
        report = run(src, tmp_path / "dst", f"{number}/3")
        assert not failures.keys() & report.failures.keys()
        failures |= report.failures
    assert failures == whole.failures
    assert sorted(failures) == ["dogs/2.png", "dogs/4.png"]
    merge(tmp_path / "dst")
    assert tree(tmp_path / "dst") == tree(tmp_path / "whole")


def test_shard_that_is_done_does_nothing_twice(tmp_path, monkeypatch):
    src = photographs(tmp_path / "src", 4)
    run(src, tmp_path / "dst", "1/2")
    before = tree(tmp_path / "dst")
    monkeypatch.setattr("vim_jax.data.job.mix_example", lambda *_, **__: 1 / 0)
    report = run(src, tmp_path / "dst", "1/2")
    assert (report.found, report.mixed) == (2, 0)
    assert len(list(report.records)) == 2
    assert tree(tmp_path / "dst") == before


def test_merging_before_all_is_done_names_what_is_missing(tmp_path):
    src = photographs(tmp_path / "src", 4)
    run(src, tmp_path / "dst", "2/4")
    run(src, tmp_path / "dst", "4/4")
    part = tmp_path / "dst/manifest-4-of-4.jsonl"
    part.write_bytes(part.read_bytes().rpartition(b'{"end"')[0])
    before = tree(tmp_path / "dst")
    with pytest.raises(DataError) as error:
        merge(tmp_path / "dst")
    assert "of the shards 1/4, 3/4, 4/4: run those" in sentence(error)
    assert tree(tmp_path / "dst") == before


def test_folder_that_is_not_merged_is_not_restored(tmp_path):
    run(photographs(tmp_path / "src", 4), tmp_path / "dst", "1/2")
    with pytest.raises(DataError, match="vim-jax merge") as error:
        restore(tmp_path / "dst", tmp_path / "back", KEY)
    assert is_sentence(str(error.value))


def test_merging_nothing_says_why(tmp_path):
    src = photographs(tmp_path / "src", 2)
    with pytest.raises(DataError, match="is no folder"):
        merge(tmp_path / "dst")
    with pytest.raises(DataError, match="was not mixed in shards"):
        merge(src)
    run(src, tmp_path / "dst", "1/1")
    merge(tmp_path / "dst")
    with pytest.raises(DataError, match="is merged already"):
        merge(tmp_path / "dst")


def test_merging_waits_for_nobody(tmp_path):
    run(photographs(tmp_path / "src", 2), tmp_path / "dst", "1/1")
    with locked(tmp_path / "dst", shared=True), pytest.raises(DataError) as error:
        merge(tmp_path / "dst")
    assert "is being written to by another vim-jax" in sentence(error)


def test_published_file_that_is_gone_is_named_by_merging(tmp_path):
    run(photographs(tmp_path / "src", 2), tmp_path / "dst", "1/1")
    (tmp_path / "dst/dogs/0.png").unlink()
    with pytest.raises(
        DataError, match=r"dogs/0\.png is in manifest-1-of-1\.jsonl but"
    ):
        merge(tmp_path / "dst")


class Killed(BaseException):
    """Stands for a kill: nothing handles it."""


@pytest.mark.parametrize("call", ["link", "unlink", "fsync"])
@pytest.mark.parametrize("done", [False, True])
def test_merging_killed_at_any_step_is_done_by_the_next(
    tmp_path, monkeypatch, call, done
):
    src = photographs(tmp_path / "src", 4)
    run(src, tmp_path / "whole")
    for number in (1, 2, 3):
        run(src, tmp_path / "parts", f"{number}/3")
    original, step, finished = getattr(os, call), 0, False
    while not finished:
        step, calls = step + 1, 0
        dst = tmp_path / f"dst{step}"
        shutil.copytree(tmp_path / "parts", dst)

        def die(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls == step:  # noqa: B023
                if done:
                    original(*arguments, **options)
                raise Killed
            return original(*arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, die)
            try:
                merge(dst)
                finished = True
            except Killed:
                pass
        if any(dst.glob("manifest-*")):
            merge(dst)
        assert tree(dst) == tree(tmp_path / "whole"), step
    assert step > 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shard": None}, "was begun in 3 shards: run all of them"),
        ({"shard": "2/4"}, "was begun in 3 shards instead of 4"),
        ({"mixer": VisualMixer(region_size=7)}, "region_size=5 instead of 7"),
        ({"rename": True}, "renamed=False instead of True"),
    ],
)
def test_other_arguments_than_those_of_other_shards_are_refused(
    tmp_path, changes, words
):
    src = photographs(tmp_path / "src", 3)
    run(src, tmp_path / "dst", "1/3")
    before = tree(tmp_path / "dst")
    with pytest.raises(DataError) as error:
        run(src, tmp_path / "dst", **{"shard": "2/3", **changes})
    assert words in sentence(error)
    assert tree(tmp_path / "dst") == before


def test_another_key_or_none_is_refused(tmp_path):
    src = photographs(tmp_path / "src", 3)
    run(src, tmp_path / "dst", "1/3")
    with pytest.raises(WrongKeyError):
        run(src, tmp_path / "dst", "2/3", SecretKey.generate())
    with pytest.raises(DataError, match="a shard needs a key"):
        run(src, tmp_path / "dst", "2/3", None)


@pytest.mark.parametrize("change", ["more", "renamed"])
def test_another_list_of_images_is_refused(tmp_path, change):
    src = photographs(tmp_path / "src", 3)
    run(src, tmp_path / "dst", "1/3")
    if change == "more":
        save(src / "new.png", photograph())
    else:
        (src / "dogs/2.png").rename(src / "dogs/3.png")
    for shard in ("1/3", "2/3"):
        with pytest.raises(DataError, match="begun with other images in the source"):
            run(src, tmp_path / "dst", shard)


def test_parts_name_no_image_that_is_not_published(tmp_path):
    src = photographs(tmp_path / "src", 3)
    run(src, tmp_path / "dst", "1/3", rename=True)
    header = (tmp_path / "dst/manifest-1-of-3.jsonl").read_text().splitlines()[0]
    other = SecretKey.generate()
    run(src, tmp_path / "other", "1/3", key=other, rename=True)
    another = (tmp_path / "other/manifest-1-of-3.jsonl").read_text().splitlines()[0]
    assert "dogs" not in header
    # Who guesses the names cannot tell whether they are right.
    assert header.split('"source":')[1] != another.split('"source":')[1]


def test_parts_of_different_jobs_are_not_merged(tmp_path):
    src = photographs(tmp_path / "src", 4)
    run(src, tmp_path / "dst", "1/2")
    run(src, tmp_path / "other", "2/2", mixer=VisualMixer(region_size=7))
    shutil.copytree(tmp_path / "other", tmp_path / "dst", dirs_exist_ok=True)
    with pytest.raises(DataError, match="are parts of different jobs"):
        merge(tmp_path / "dst")


def test_merged_and_whole_folders_take_no_shards(tmp_path):
    src = photographs(tmp_path / "src", 2)
    run(src, tmp_path / "whole")
    run(src, tmp_path / "merged", "1/1")
    merge(tmp_path / "merged")
    for name in ("whole", "merged"):
        with pytest.raises(DataError, match="without shards, or is merged already"):
            run(src, tmp_path / name, "1/1")
    save(src / "new.png", photograph(seed=9))
    assert run(src, tmp_path / "merged").mixed == 1


def test_strange_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "dst").mkdir()
    (tmp_path / "dst/mine.txt").write_text("")
    with pytest.raises(DataError, match=r"it holds 'mine\.txt'"):
        run(photographs(tmp_path / "src", 2), tmp_path / "dst", "1/2")
    assert list(tree(tmp_path / "dst")) == ["mine.txt"]


def test_shards_that_begin_at_the_same_time_are_no_strangers(tmp_path, monkeypatch):
    """Another makes its part and publishes just before this one looks around."""
    src, stranger = photographs(tmp_path / "src", 2), FolderWriter._stranger

    def looked(writer):
        monkeypatch.undo()
        run(src, tmp_path / "dst", "2/2")
        found = stranger(writer)
        assert found is not None
        return found

    monkeypatch.setattr(FolderWriter, "_stranger", looked)
    run(src, tmp_path / "dst", "1/2")
    assert len(list((tmp_path / "dst").rglob("*.png"))) == 2


def test_one_shard_is_run_once_at_a_time(tmp_path):
    src = photographs(tmp_path / "src", 2)
    (tmp_path / "dst").mkdir()
    part = tmp_path / "dst" / Shard(1, 2).manifest_name
    with shards.open_part(part), pytest.raises(DataError) as error:
        run(src, tmp_path / "dst", "1/2")
    assert "manifest-1-of-2.jsonl is being written to" in sentence(error)


def test_shard_leaves_the_hidden_files_of_others(tmp_path):
    src = photographs(tmp_path / "src", 2)
    run(src, tmp_path / "dst", "1/2")
    for owner in ("1-of-2-", "2-of-2-"):
        (tmp_path / f"dst/{TEMPORARY_PREFIX}{owner}abc").write_text("")
    run(src, tmp_path / "dst", "1/2")
    left = [name for name in tree(tmp_path / "dst") if name.startswith(".")]
    assert left == [f"{TEMPORARY_PREFIX}2-of-2-abc"]


def test_there_are_no_shards_of_tfds_data_sets(tmp_path):
    with pytest.raises(DataError, match="choose png or webp"):
        run(photographs(tmp_path / "src", 2), tmp_path / "dst", "1/2", fmt="tfds")
