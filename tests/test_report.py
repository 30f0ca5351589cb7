"""The demo and its report, looked at as a browser would."""

import base64
import html.parser
import io
import json
import shutil
import subprocess

import jax
import numpy as np
import pytest
from PIL import Image

import vim_jax
from vim_jax.data import DataError, decode
from vim_jax.report import demo, page
from vim_jax.report.pictures import as_rgb, psnr, square, strip

pytestmark = pytest.mark.slow


class _Images(html.parser.HTMLParser):
    """Collects what a page shows and refers to."""

    def __init__(self):
        super().__init__()
        self.sources, self.references, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "img":
            self.sources.append(attributes["src"])
            assert attributes.get("alt")
        self.references += [attributes[k] for k in ("href", "src") if k in attributes]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Runs a short demo once: smaller photographs, one network, one epoch."""
    # optax.adam itself relies on implicit promotion.
    with (
        jax.numpy_dtype_promotion("standard"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(demo, "_SIDE", 64)
        patch.setattr(demo, "_EPOCHS", 1)
        patch.setattr(demo, "_NETWORKS", {"ResNet": demo._NETWORKS["ResNet"]})
        out = tmp_path_factory.mktemp("demo") / "out"
        demo.run(out)
    return out


@pytest.fixture(scope="module")
def parsed(report):
    parser = _Images()
    parser.feed((report / "report.html").read_text())
    return parser


def test_page_needs_no_other_file(parsed):
    assert parsed.references
    assert all(r.startswith("data:") for r in parsed.references)


def test_every_picture_decodes(parsed):
    for source in parsed.sources:
        kind, data = source.split(";base64,")
        content = base64.b64decode(data)
        if kind == "data:image/png":
            Image.open(io.BytesIO(content)).load()
        else:
            assert content.rstrip().endswith(b"</svg>")


def test_photographs_stand_beside_mixed_forms_and_region_means(parsed):
    photographs, settings = len(demo._SHOWN), len(demo.SETTINGS)
    pngs = [s for s in parsed.sources if s.startswith("data:image/png")]
    assert len(pngs) == photographs * (1 + 2 * settings)


def test_sections(parsed):
    text = " ".join("".join(parsed.text).split())
    for title in (
        "Photographs",
        "VFE against region size",
        "Where the shuffling goes",
        "Training on mixed digits",
        "ST-Adam against Adam",
    ):
        assert title in text
    assert "40 of 40 published images came back bit for bit" in text


def test_sentences_quote_the_results(report, parsed):
    results = json.loads((report / "results.json").read_text())
    text = " ".join("".join(parsed.text).split())
    run = results["digits"]["networks"]["ResNet"]["mixed"]["ST-Adam"]
    assert f"reaches {run['mixed_accuracy']:.1%}" in text
    assert results["seconds"] > 0
    assert results["versions"]["vim_jax"] == vim_jax.__version__


def test_the_key_is_not_in_the_report_or_the_results(report):
    secret = (report / "demo.key").read_text().split("\n")[1]
    for name in ("report.html", "results.json"):
        assert secret not in (report / name).read_text()


def test_published_photographs_meet_their_level(report):
    original = decode(report / "photographs" / "astronaut.png").image
    mixed = decode(report / "level-0.5" / "astronaut.png").image
    low, high = vim_jax.vfe(original), vim_jax.max_vfe(original)
    assert float((vim_jax.vfe(mixed) - low) / (high - low)) == pytest.approx(
        0.5, abs=0.05
    )


def test_a_second_demo_replaces_the_first_but_nothing_else(report, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(report, copy)
    names = {path.name for path in copy.iterdir()}
    (copy / "thesis.txt").touch()
    with pytest.raises(DataError, match=r"thesis\.txt"):
        page.claim(copy, names)
    assert {path.name for path in copy.iterdir()} == {*names, "thesis.txt"}
    (copy / "thesis.txt").unlink()
    assert list(page.claim(copy, names).iterdir()) == []


def test_it_renders_in_a_browser(report, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here to render the page with")
    picture = tmp_path / "page.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-sync"]
    flags += ["--disable-background-networking", "--no-first-run", "--hide-scrollbars"]
    command = [browser, *flags, f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=1280,1600", f"--screenshot={picture}"]
    command.append((report / "report.html").as_uri())
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    shown = np.asarray(Image.open(picture).convert("RGB"))
    assert shown.shape == (1600, 1280, 3)
    # Astronaut's orange suit, and the noise of mixed images, are on the first screen.
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 5000


def test_strip_puts_images_side_by_side():
    a, b = np.zeros((4, 5), np.uint8), np.full((4, 5, 3), 200.4)
    grid = strip([[a, b]], gap=2)
    assert grid.shape == (4, 12, 3)
    assert (grid[:, :5] == 0).all()
    assert (grid[:, 5:7] == 255).all()
    assert (grid[:, 7:] == 200).all()


def test_square_cuts_the_centre():
    image = np.zeros((10, 20, 3), np.uint8)
    image[:, 5:15] = 255
    assert (square(image, 10) == 255).all()


def test_as_rgb_clips():
    assert (as_rgb(np.array([[-3.0, 300.0]])) == [[[0] * 3, [255] * 3]]).all()


def test_psnr():
    assert psnr(np.array([[10]]), np.array([[10]])) == float("inf")
    assert psnr(np.array([[0]]), np.array([[255]])) == pytest.approx(0)
