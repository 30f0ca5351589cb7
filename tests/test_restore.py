"""Restoring: the original pixels, or a sentence that says why not."""

import json
import os
import pathlib

import numpy as np
import pytest
from folders import is_sentence, photograph, photographs, pixels, save, tree
from PIL import Image

from vim_jax import SecretKey, VisualMixer
from vim_jax.data import DataError, folder, manifest
from vim_jax.data.errors import WriteError, WrongKeyError
from vim_jax.data.publish import publish
from vim_jax.data.restore import restore
from vim_jax.data.writers import TEMPORARY_PREFIX, locked

MIXER = VisualMixer(region_size=5)
KEY = SecretKey(bytes(range(32)))


@pytest.fixture
def published(tmp_path):
    """Four images, published; the originals are in `src` beside them."""
    photographs(tmp_path / "src")
    publish(folder(tmp_path / "src"), tmp_path / "dst", MIXER, KEY)
    return tmp_path / "dst"


def edit(path, change):
    """Rewrites the manifest's lines, each a dictionary."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines = change(lines) or lines
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def check_all_but(published, names):
    """Restores, and checks that all is well but for some images; returns sentences."""
    src, back = published.parent / "src", published.parent / "back"
    result = restore(published, back, KEY)
    assert sorted(result.failures) == sorted(names)
    assert all(is_sentence(sentence) for sentence in result.failures.values())
    originals, restored = pixels(src), pixels(back)
    assert sorted(restored) == sorted(set(originals) - set(names))
    for name, image in restored.items():
        np.testing.assert_array_equal(image, originals[name])
    return result.failures


def test_swapped_images_are_named_and_the_rest_restored(published):
    one, two = published / "cats/1.png", published / "cats/3.png"
    one.rename(published / "x")
    two.rename(one)
    (published / "x").rename(two)
    failures = check_all_but(published, ["cats/1.png", "cats/3.png"])
    assert "swapped" in failures["cats/1.png"]


def test_image_of_another_shape_is_named(published):
    save(published / "cats/1.png", photograph(sides=(16, 20)))
    failures = check_all_but(published, ["cats/1.png"])
    assert "was changed after mixing" in failures["cats/1.png"]


@pytest.mark.parametrize("mode", ["RGBA", "L"])
def test_image_of_another_mode_is_named(published, mode):
    path = published / "cats/1.png"
    image = Image.open(path).convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    image.save(path)
    failures = check_all_but(published, ["cats/1.png"])
    assert "was changed after mixing" in failures["cats/1.png"]


def test_re_encoded_image_is_named(published):
    path = published / "dogs/0.png"
    Image.open(path).save(path, "JPEG", quality=90)
    failures = check_all_but(published, ["dogs/0.png"])
    assert "re-encoded" in failures["dogs/0.png"]


def test_lossless_re_encoding_does_no_harm(published):
    path = published / "dogs/0.png"
    Image.open(path).convert("RGBA").save(path, compress_level=1)
    check_all_but(published, [])


def test_one_changed_pixel_is_noticed(published):
    image = pixels(published)["dogs/0.png"].copy()
    image[3, 5, 1] ^= 1
    save(published / "dogs/0.png", image)
    check_all_but(published, ["dogs/0.png"])


def test_damaged_and_missing_images_are_named(published):
    path = published / "dogs/0.png"
    path.write_bytes(path.read_bytes()[:90])
    (published / "cats/1.png").unlink()
    failures = check_all_but(published, ["cats/1.png", "dogs/0.png"])
    assert "does not exist" in failures["cats/1.png"]


def test_pipe_in_place_of_an_image_does_not_block(published):
    (published / "cats/1.png").unlink()
    os.mkfifo(published / "cats/1.png")
    failures = check_all_but(published, ["cats/1.png"])
    assert "is no file" in failures["cats/1.png"]


def test_records_moved_to_other_images_do_not_open(published):
    def swap(lines):
        lines[1]["sealed"], lines[2]["sealed"] = lines[2]["sealed"], lines[1]["sealed"]

    edit(published / "manifest.jsonl", swap)
    failures = check_all_but(published, ["cats/1.png", "cats/3.png"])
    assert "does not open with this key" in failures["cats/1.png"]


@pytest.mark.parametrize("sealed", [None, 5, "", "AAAA", "not base64", "é", []])
def test_records_damaged_by_hand_are_named(published, sealed):
    edit(published / "manifest.jsonl", lambda lines: lines[1].update(sealed=sealed))
    check_all_but(published, ["cats/1.png"])


def test_damaged_lines_of_the_manifest_cost_their_images_only(published):
    path = published / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"id"', b'"x"')
    lines[3] = lines[3][:50] + b"\n"
    path.write_bytes(b"".join(lines))
    result = restore(published, published.parent / "back", KEY)
    assert list(result.failures) == ["line 2", "line 4"]
    assert all(is_sentence(sentence) for sentence in result.failures.values())
    assert sorted(result.names) == ["cats/3.png", "dogs/2.png"]


def test_other_settings_than_were_used_are_noticed(published):
    def change(lines):
        lines[0]["settings"]["scramble_regions"] = True

    edit(published / "manifest.jsonl", change)
    result = restore(published, published.parent / "back", KEY)
    assert len(result.failures) == 4
    assert pixels(published.parent / "back") == {}


def forged(published_id, original_id="x.png", nonce=None):
    """A sealed record as only the key's holder can make one."""
    size = np.full((16, 24), 5, np.int32)
    nonce = np.zeros(8, np.uint32) if nonce is None else nonce
    sealed = manifest.Sealed(original_id, ".png", "RGB", nonce, size)
    return manifest.seal(KEY, published_id, sealed)


@pytest.mark.parametrize("id", ["../src/cats/1.png", "/etc/x.png", "a\\b.png", "a\0"])
def test_ids_that_lead_out_of_the_folder_are_refused(published, id):
    def forge(lines):
        lines[1]["sealed"] = forged(id)
        lines[1]["id"] = id

    edit(published / "manifest.jsonl", forge)
    result = restore(published, published.parent / "back", KEY)
    assert list(result.failures) == [id]
    assert "no relative path inside a folder" in result.failures[id]


def test_originals_never_leave_the_output_folder(tmp_path):
    """Not even for who holds the key and forges a record."""
    source = folder(photographs(tmp_path / "src", 1))
    publish(source, tmp_path / "dst", MIXER, KEY)
    image = source[0].image

    def forge(lines):
        nonce = KEY.nonce("../evil.png", image)
        lines[1]["sealed"] = forged(lines[1]["id"], "../evil.png", nonce)

    edit(tmp_path / "dst/manifest.jsonl", forge)
    with pytest.raises(DataError, match="no relative path inside a folder"):
        restore(tmp_path / "dst", tmp_path / "back", KEY)
    assert not (tmp_path / "evil.png").exists()


def test_wrong_key_is_refused_by_its_fingerprint(published):
    with pytest.raises(WrongKeyError) as error:
        restore(published, published.parent / "back", SecretKey.generate())
    assert KEY.fingerprint in str(error.value)
    assert not (published.parent / "back").exists()


def test_folder_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no manifest\.jsonl"):
        restore(photographs(tmp_path / "src"), tmp_path / "back", KEY)


def test_names_that_differ_by_their_endings_are_all_restored(tmp_path):
    images = {}
    for i, name in enumerate(("a.jpg", "a.png", "a.png.png")):
        images[name] = photograph(seed=i)
        ending = "PNG"  # Whatever the name says.
        (tmp_path / "src").mkdir(exist_ok=True)
        Image.fromarray(images[name]).save(tmp_path / "src" / name, ending)
    publish(folder(tmp_path / "src"), tmp_path / "dst", MIXER, KEY, rename=True)
    result = restore(tmp_path / "dst", tmp_path / "back", KEY)
    assert result.failures == {}
    found = {x.tobytes() for x in pixels(tmp_path / "back").values()}
    assert found == {x.tobytes() for x in images.values()}
    assert restore(tmp_path / "dst", tmp_path / "back", KEY).names == result.names


def test_files_that_exist_are_never_overwritten(published):
    back = published.parent / "back"
    restore(published, back, KEY)
    before = {path: path.stat().st_mtime_ns for path in back.rglob("*.png")}
    save(back / "cats/1.png", photograph(seed=99))
    mine = (back / "cats/1.png").read_bytes()
    result = restore(published, back, KEY)
    assert list(result.failures) == ["cats/1.png"]
    assert "exists with another content" in result.failures["cats/1.png"]
    assert (back / "cats/1.png").read_bytes() == mine
    for path, time in before.items():
        assert path.name == "1.png" or path.stat().st_mtime_ns == time


def test_interrupted_restore_is_finished_by_the_next(published, monkeypatch):
    back = published.parent / "back"
    restore(published, published.parent / "whole", KEY)
    link, calls = os.link, []

    def die(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        link(*arguments)

    def leave(*_, **__):
        raise OSError(5, "killed processes tidy nothing up")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", die)
        patch.setattr(pathlib.Path, "unlink", leave)
        with pytest.raises(KeyboardInterrupt):
            restore(published, back, KEY)
    assert any(TEMPORARY_PREFIX in name for name in tree(back))
    restore(published, back, KEY)
    assert tree(back) == tree(published.parent / "whole")


def test_full_disk_stops_it_with_one_sentence(published, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vim_jax.data.writers.stage", fail)
    with pytest.raises(WriteError, match="No space left on device") as error:
        restore(published, published.parent / "back", KEY)
    assert is_sentence(str(error.value))


def test_two_restores_into_one_folder_do_not_mix(published):
    back = published.parent / "back"
    with locked(back), pytest.raises(DataError, match="another vim-jax"):
        restore(published, back, KEY)


def test_half_a_manifest_restores_its_complete_lines(published):
    path = published / "manifest.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    result = restore(published, published.parent / "back", KEY)
    assert len(result.names) == 3
    assert result.failures == {}


def test_progress_is_told(published):
    seen = []
    back = published.parent / "back"
    restore(published, back, KEY, progress=lambda *numbers: seen.append(numbers))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
