"""Publishing as a TFDS data set, which is there in full or not at all."""

import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from folders import is_sentence, photograph, photographs, pixels, save, tree

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import DataError, LazySource, TfdsWriter, folder, tfds
from vim_jax.data.errors import WriteError
from vim_jax.data.publish import publish
from vim_jax.data.restore import restore
from vim_jax.data.tfds_library import import_tfds
from vim_jax.data.writers import TEMPORARY_PREFIX

MIXER = VisualMixer(region_size=5)
KEY = SecretKey(bytes(range(32)))


def run(src, dst, key: SecretKey | None = KEY, **options):
    return publish(folder(src), dst, MIXER, key, fmt="tfds", **options)


def test_tfds_reads_it_back_without_tensorflow(tmp_path):
    src = photographs(tmp_path / "src")
    save(src / "dogs/4.png", photograph(sides=(12, 20)))
    run(src, tmp_path / "dst")
    publish(folder(src), tmp_path / "png", MIXER, KEY)
    builder = import_tfds().builder_from_directory(tmp_path / "dst")
    examples = list(builder.as_data_source("train"))
    assert "tensorflow" not in sys.modules
    ids = [example["id"].decode() for example in examples]
    assert ids == ["cats/1", "cats/3", "dogs/0", "dogs/2", "dogs/4"]
    assert [example["label"] for example in examples] == [0, 0, 1, 1, 1]
    assert builder.info.features["label"].names == ["cats", "dogs"]
    # A name is part of the key, and the names differ by a suffix only in the output.
    for id, example in zip(ids, examples, strict=True):
        np.testing.assert_array_equal(
            example["image"], pixels(tmp_path / "png")[f"{id}.png"]
        )


def test_it_is_restored_bit_for_bit(tmp_path):
    src = photographs(tmp_path / "src")
    run(src, tmp_path / "dst")
    result = restore(tmp_path / "dst", tmp_path / "back", KEY)
    assert result.failures == {}
    for name, image in pixels(src).items():
        np.testing.assert_array_equal(pixels(tmp_path / "back")[name], image)


def test_equal_runs_write_equal_bytes(tmp_path):
    src = photographs(tmp_path / "src")
    for workers in (1, 4):
        run(src, tmp_path / str(workers), workers=workers)
    assert tree(tmp_path / "1") == tree(tmp_path / "4")


def test_published_set_is_a_source_with_the_same_labels(tmp_path):
    run(photographs(tmp_path / "src"), tmp_path / "dst", rename=True)
    source = tfds(str(tmp_path / "dst"), "train")
    assert source.label_names == ("cats", "dogs")
    assert source.ids[0] == "cats/000001"


def test_interrupted_run_leaves_nothing(tmp_path):
    source = folder(photographs(tmp_path / "src"))

    def read(index):
        if index == 2:
            raise KeyboardInterrupt
        return source[index]

    interrupted = LazySource(source.ids, read, source.label_names)
    with pytest.raises(KeyboardInterrupt):
        publish(interrupted, tmp_path / "out/dst", MIXER, KEY, fmt="tfds")
    assert tree(tmp_path / "out") == {}


def test_what_killed_runs_left_is_removed(tmp_path):
    src = photographs(tmp_path / "src")
    program = f"""
        import os
        from vim_jax import SecretKey, VisualMixer
        from vim_jax.data import LazySource, folder
        from vim_jax.data.publish import publish

        source = folder({str(src)!r})
        def read(index):
            os.kill(os.getpid(), 9) if index == 3 else None
            return source[index]
        killed = LazySource(source.ids, read, source.label_names)
        mixer, key = VisualMixer(region_size=5), SecretKey.generate()
        publish(killed, {str(tmp_path / "out/dst")!r}, mixer, key, fmt="tfds")
        """
    code = textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    left = list((tmp_path / "out").iterdir())
    assert [path.name.startswith(TEMPORARY_PREFIX) for path in left] == [True]
    # Killed before it wrote anything at all, and one that is still at work.
    (tmp_path / f"out/{TEMPORARY_PREFIX}empty").mkdir()
    with TfdsWriter(tmp_path / "out/alive") as alive:
        run(src, tmp_path / "out/dst")
        names = {path.name for path in (tmp_path / "out").iterdir()}
        assert names == {"dst", alive.folder.name}
        alive.add("a", photograph())


def test_folder_that_exists_is_refused(tmp_path):
    (tmp_path / "dst").mkdir()
    with pytest.raises(DataError, match="exists: choose another path"):
        run(photographs(tmp_path / "src", 1), tmp_path / "dst")


def test_images_that_fail_are_named_and_the_rest_is_written(tmp_path):
    src = photographs(tmp_path / "src", 2)
    save(src / "zebras/grey.png", photograph("L"))
    (src / "cats/0.png").write_bytes(b"")
    report = run(src, tmp_path / "dst")
    assert sorted(report.failures) == ["cats/0.png", "zebras/grey.png"]
    assert "has the mode L" in report.failures["zebras/grey.png"]
    assert report.mixed == 2


def test_where_all_images_fail_each_is_named_and_nothing_written(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "src" / name).write_bytes(b"")
    report = run(tmp_path / "src", tmp_path / "out/dst")
    assert sorted(report.failures) == ["a.png", "b.png"]
    assert tree(tmp_path / "out") == {}


def test_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    src = photographs(tmp_path / "src", 2)
    monkeypatch.setattr("vim_jax.data.tfds_files.ShardWriter.add", fail)
    with pytest.raises(WriteError, match="No space left on device") as error:
        run(src, tmp_path / "out/dst")
    assert is_sentence(str(error.value))
    assert tree(tmp_path / "out") == {}


def test_discarded_key_stores_nothing_sealed(tmp_path):
    run(photographs(tmp_path / "src", 1), tmp_path / "dst", None)
    content = (tmp_path / "dst/manifest.jsonl").read_text()
    assert "sealed" not in content
    assert '"key":null' in content


def test_moved_set_can_be_restored(tmp_path):
    run(photographs(tmp_path / "src", 2), tmp_path / "dst")
    shutil.move(tmp_path / "dst", tmp_path / "elsewhere")
    assert not restore(tmp_path / "elsewhere", tmp_path / "back", KEY).failures
