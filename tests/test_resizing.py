"""Copies of photographs in one size and mode."""

import functools
import pathlib

import numpy as np
import pytest
from folders import (
    MODES,
    complaints,
    is_sentence,
    photograph,
    pixels,
    run_command,
    save,
    tree,
)
from PIL import Image

from vim_jax.data import DataError, folder
from vim_jax.data.resizing import as_rgb, resize


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode):
    image = photograph(mode)
    found = as_rgb(image)
    assert (found.shape, found.dtype) == ((*image.shape[:2], 3), np.uint8)
    values = image.reshape(*image.shape[:2], -1).astype(float)
    if mode == "I;16":
        values /= 257
    if mode in ("LA", "RGBA"):
        alpha = values[..., -1:] / 255
        values = alpha * values[..., :-1] + (1 - alpha) * 255
    np.testing.assert_allclose(found, np.broadcast_to(values, found.shape), atol=0.51)


def test_images_become_squares_under_their_names(tmp_path):
    halves = np.repeat([[0, 200]], 20, 1).repeat(10, 0).astype(np.uint8)
    save(tmp_path / "src/cats/a b.jpg", np.stack([halves] * 3, -1), quality=100)
    save(tmp_path / "src/ä.png", halves.T)
    result = resize(folder(tmp_path / "src"), tmp_path / "dst", 4)
    assert result.names == ["cats/a b.png", "ä.png"]
    wide, tall = pixels(tmp_path / "dst").values()
    # The squares in the middle have both halves, of which those at the border blend.
    for image in (wide, tall.swapaxes(0, 1)):
        assert image.shape == (4, 4, 3)
        assert (image[:, 0] < 20).all()
        assert (image[:, 3] > 180).all()


def test_what_fails_is_named_and_the_rest_is_done(tmp_path):
    save(tmp_path / "src/a.png", photograph())
    save(tmp_path / "src/a.bmp", photograph(seed=1))
    (tmp_path / "src/b.png").write_bytes(b"no image")
    save(tmp_path / "src/w\\x.png", photograph())
    result = resize(folder(tmp_path / "src"), tmp_path / "dst", 8)
    assert result.names == ["a.png"]
    assert set(result.failures) == {"a.png", "b.png", "w\\x.png"}
    assert all(map(is_sentence, result.failures.values()))
    with pytest.raises(DataError, match="side is 0"):
        resize(folder(tmp_path / "src"), tmp_path / "other", 0)


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return functools.partial(run_command, capsys)


def test_command(call, tmp_path):
    for i in range(3):
        save(tmp_path / f"src/cats/{i}.png", photograph(seed=i))
    save(tmp_path / "src/dogs/grey.png", photograph("L"))
    (tmp_path / "src/x.heic").write_bytes(b"")
    command = ("resize", "src", "dst", "--side", "8")
    code, out, err = call(*command)
    assert code == 0
    assert "dst holds 4 images of 8 x 8 pixels." in out
    assert "such as x.heic: convert them" in err
    before = tree(tmp_path / "dst")
    assert {image.shape for image in pixels(tmp_path / "dst").values()} == {(8, 8, 3)}
    assert call(*command)[0] == 0
    assert tree(tmp_path / "dst") == before
    code, _, err = call(*command[:-1], "16")  # Nothing is overwritten.
    assert code == 1
    assert len(complaints(err)) == 4
    assert tree(tmp_path / "dst") == before
    (tmp_path / "src/cats/0.png").unlink()
    _, _, err = call(*command)
    assert "warning: dst also holds 1 other file, such as cats/0.png" in err
    assert call("resize", "src", "src/small", "--side", "8")[0] == 2
    code, _, err = call("resize", "src", "new", "--side", "0")
    assert code == 2
    assert "--side 0 makes no sense" in complaints(err)[0]


def test_what_decoding_changed_is_told(call, tmp_path):
    pathlib.Path(tmp_path / "src").mkdir()
    Image.new("CMYK", (9, 9)).save(tmp_path / "src/a.jpg")
    _, out, _ = call("resize", "src", "dst", "--side", "8")
    assert "a.jpg: converted from CMYK" in out


def test_mixed_images_are_not_resized(call, tmp_path):
    save(tmp_path / "src/a.png", photograph())
    assert call("mix", "src", "dst", "--region-size", "4", "--discard-key")[0] == 0
    for src, dst, named in (("dst", "new", "SRC dst"), ("src", "dst", "DST dst")):
        code, _, err = call("resize", src, dst, "--side", "8")
        assert code == 2
        assert f"{named} holds mixed images" in complaints(err)[0]
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_copies_are_mixed_and_trained_on(call, tmp_path):
    for i in range(10):
        save(tmp_path / f"src/{'ab'[i % 2]}/{i}.png", photograph(sides=(20 + i, 30)))
    save(tmp_path / "src/a/grey.png", photograph("L"))
    assert call("resize", "src", "small", "--side", "8")[0] == 0
    assert call("mix", "small", "dst", "--region-size", "4", "--discard-key")[0] == 0
    code, out, err = call(
        "train", "--data", "dst", "--remix", "--eval-remixes", "2", "--epochs", "1",
        "--batch-size", "8", "--model-option", "widths=[4]", "--out", "run",
    )  # fmt: skip
    assert code == 0, err
    assert "mean of 2 shuffles" in out
