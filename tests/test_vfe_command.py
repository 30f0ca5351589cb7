"""`vim-jax vfe`: tables, JSON lines and what is wrong with a file."""

import functools
import json

import numpy as np
import pytest
from folders import complaints, photograph, photographs, run_command, save
from PIL import Image

import vim_jax


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


def test_vfe_as_a_table(call):
    code, out, err = call("vfe", "src/cats/1.png", "src/dogs/0.png")
    assert (code, err) == (0, "")
    for word in ("VFE", "max VFE", "VFE / max", "Geary's C", "src/cats/1.png"):
        assert word in out


def test_vfe_as_json(call):
    code, out, _ = call(
        "vfe", "src/cats/1.png", "src/dogs/0.png", "--region-size", "4", "--json"
    )
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["image"] for row in rows] == ["src/cats/1.png", "src/dogs/0.png"]
    image = photograph(seed=1)
    assert rows[0]["vfe"] == pytest.approx(float(vim_jax.vfe(image)))
    assert rows[0]["max_vfe"] == pytest.approx(float(vim_jax.max_vfe(image)))
    assert rows[0]["ratio"] == pytest.approx(rows[0]["vfe"] / rows[0]["max_vfe"])
    assert rows[0]["gearys_c"] == pytest.approx(float(vim_jax.gearys_c(image)))
    assert rows[0]["expected_vfe"] > rows[0]["vfe"]


def test_vfe_level_against_the_original(call):
    call("mix", "src", "dst", "--level", "0.5", "--key", "my.key")
    _, out, _ = call(
        "vfe", "dst/cats/1.png", "src/cats/1.png", "--original", "src/cats/1.png",
        "--json",
    )  # fmt: skip
    mixed, plain = (json.loads(line)["level"] for line in out.splitlines())
    assert mixed == pytest.approx(0.5, abs=0.15)
    assert plain == 0


def test_vfe_of_flat_and_single_pixels_has_no_ratio(call, folder):
    save(folder / "flat.png", np.full((16, 24, 3), 5, np.uint8))
    save(folder / "one.png", np.full((1, 1), 5, np.uint8))
    for name in ("flat.png", "one.png"):
        code, out, _ = call("vfe", name, "--original", name, "--json")
        assert code == 0
        row = json.loads(out)
        assert row["vfe"] == 0
        assert row["ratio"] is row["gearys_c"] is row["level"] is None
    assert call("vfe", "flat.png")[0] == 0


def test_vfe_names_bad_images_and_measures_the_rest(call, folder):
    (folder / "[red]bad.png").write_bytes(b"")
    save(folder / "[/b]good.png", photograph())
    code, out, err = call("vfe", "[red]bad.png", "none.png", "[/b]good.png")
    assert code == 1
    assert "[/b]good.png" in out
    assert len(complaints(err)) == 2
    assert "[red]bad.png is empty" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no image given"),
        (["src/cats/1.png", "--region-size", "0"], "--region-size 0 is not"),
        (["src/cats/1.png", "--original", "none.png"], "none.png does not exist"),
        (["src/cats/1.png", "--plot", "src/cats/1.png"], "exists: choose another"),
        (["src/cats/1.png", "--plot", "vfe.jpg"], "vfe.jpg is drawn as a PNG"),
    ],
)
def test_vfe_usage_errors(call, arguments, words):
    code, _, err = call("vfe", *arguments)
    assert code == 2
    assert words in complaints(err)[0]


def test_image_of_another_size_has_no_level(call, folder):
    save(folder / "small.png", photograph()[:8])
    code, out, err = call(
        "vfe", "small.png", "src/cats/1.png", "--original", "src/cats/1.png"
    )
    assert code == 1
    assert "small.png has another size" in complaints(err)[0]
    assert "src/cats/1.png" in out


def test_plot_is_drawn_and_never_overwritten(call, folder):
    code, _, err = call("vfe", "src/cats/1.png", "--plot", "plot.png")
    assert code == 0
    assert "Drew plot.png" in err
    drawn = np.asarray(Image.open(folder / "plot.png").convert("L"))
    assert min(drawn.shape) > 400
    assert 0.01 < (drawn < 200).mean() < 0.5
    before = (folder / "plot.png").read_bytes()
    code, _, err = call("vfe", "src/cats/1.png", "--plot", "plot.png")
    assert code == 2
    assert "plot.png exists" in complaints(err)[0]
    assert (folder / "plot.png").read_bytes() == before
