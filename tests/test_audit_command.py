"""The command that audits, and its page."""

import collections
import contextlib
import dataclasses
import functools
import html.parser
import io
import json
import re

import audited
import pytest
from audited import Fake, opened, published
from folders import complaints, photograph, photographs, run_command, save

from vim_jax import VisualMixer
from vim_jax.attacks import audit as audits
from vim_jax.attacks import cases, seed_search
from vim_jax.attacks import published as published_sets
from vim_jax.attacks.audit import audit
from vim_jax.attacks.protocol import Outcome
from vim_jax.attacks.verdicts import summary
from vim_jax.cli import main
from vim_jax.data import folder
from vim_jax.data.publish import publish
from vim_jax.report.audit import render

FIELDS = {
    "name", "knowledge", "metric", "score", "low", "high", "chance", "control",
    "verdict",
}  # fmt: skip
CONTROL = {"case", "score", "needed", "low", "reach", "passed"}
QUESTIONS = ["see", "recognise", "link", "unlock"]
VERDICTS = {"leaks", "partial", "at chance", "inconclusive"}
MODULES = (audits.thumbnail, audits.multiset, audits.linkage, seed_search)

pytestmark = pytest.mark.usefixtures("few_seeds")


@pytest.fixture(scope="module")
def digits():
    return audited.digits()


@pytest.fixture(scope="module")
def found(digits):
    return audit(digits, "quick")


# --- The command ----------------------------------------------------------------------

COMMAND = (
    "audit", "--data", "embedded:digits", "--region-size", "2", "--quick",
    "--images", "12", "--auxiliary-images", "40",
)  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a command wrote: to its folder, to out and to err."""
    place = tmp_path_factory.mktemp("audit")
    files = ("--json", place / "a.json", "--report", place / "a.html")
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setenv("COLUMNS", "200")
        arguments = [str(x) for x in (*COMMAND, *files, "--keep", place / "kept")]
        patch.setattr("sys.argv", ["vim-jax", *arguments])
        with pytest.raises(SystemExit) as exit:
            main(arguments)
    assert exit.value.code == 0
    return place, out.getvalue(), err.getvalue()


def test_command_prints_verdicts_numbers_and_advice(written):
    place, out, err = written
    for question in QUESTIONS:
        assert re.search(rf"^{question} +({'|'.join(VERDICTS)}) ", out, re.MULTILINE)
    for words in (
        "multiset",
        "SSIM",
        "control",
        "12 images, region size 2",
    ):
        assert words in out
    assert "- Publish no image whose original is public" in out
    assert "recognition was not tried" in out
    assert "a.html: it shows originals, do not publish it." in " ".join(err.split())
    assert f"made of the images is kept in {place / 'kept'}" in out
    assert (place / "a.html").stat().st_mode & 0o077 == 0
    assert "Traceback" not in err


def test_json_holds_verdicts_and_attacks(written):
    text = (written[0] / "a.json").read_text()
    numbers = json.loads(text, parse_constant=pytest.fail)
    assert list(numbers["verdicts"]) == QUESTIONS
    for answer in numbers["verdicts"].values():
        assert set(answer) == {"verdict", "text", "numbers"}
        assert answer["verdict"] in VERDICTS
        assert len(answer["text"]) > 20
    see, _, link, unlock = (x["numbers"] for x in numbers["verdicts"].values())
    assert numbers["verdicts"]["recognise"]["numbers"] == {}
    rows = [
        {
            name: row[name]
            for name in ("name", "metric", "score", "low", "high", "chance")
        }
        for row in numbers["attacks"]
    ]
    for deciding, metric in ((see, "SSIM"), (link, "rank-1"), (unlock, "")):
        assert metric in deciding["metric"]
        assert any(row.items() <= deciding.items() for row in rows)
    assert see["thumbnail"] == [4, 4]
    assert see["in_clear"] == 0
    assert unlock["few_bits"] == 1
    assert len(numbers["attacks"]) > 10
    for row in numbers["attacks"]:
        assert set(row) == FIELDS
        assert set(row["control"]) == CONTROL
        assert row["verdict"] in VERDICTS
        assert row["low"] <= row["score"] + 1e-9
        assert row["score"] <= row["high"] + 1e-9
    assert numbers["budget"] == "quick"
    assert {"inversion", "recognition"} <= set(numbers["skipped"])


def test_nothing_is_called_safe(written):
    place, out, err = written
    page = (place / "a.html").read_text()
    denial = r"cannot show that images are\s+safe"
    assert re.search(denial, page)
    page = re.sub(r"data:[^\"]*", "", page)
    for text in (out, err, (place / "a.json").read_text(), page):
        claims = re.sub(denial, "", text).lower()
        assert not re.search(r"\b(un)?safe|\bsecure\b|guarantee", claims)


class Links(html.parser.HTMLParser):
    """Collects what a page refers to, and its headings."""

    def __init__(self, page):
        super().__init__()
        self.pictures, self.links, self.tags = [], [], collections.Counter()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action"):
                (self.pictures if tag == "img" else self.links).append(value)


def test_report_is_one_page_with_pictures(written):
    place = written[0]
    assert sorted(x.name for x in place.iterdir()) == ["a.html", "a.json", "kept"]
    page = (place / "a.html").read_text()
    links = Links(page)
    assert links.links == []
    assert links.tags["link"] == links.tags["script"] == links.tags["iframe"] == 0
    assert "@import" not in page
    assert "url(" not in page
    # 6 images: original, as published, thumbnail, multiset, jigsaw.
    assert len(links.pictures) == 6 * 5
    assert all(x.startswith("data:image/png;base64,") for x in links.pictures)
    assert page.count('<div class="verdict ') == 4
    for words in ("Can people see", "Can a network", "traced", "key be found"):
        assert words in page


def test_second_run_attacks_nothing_and_says_the_same(written, capsys, monkeypatch):
    def run(*_, **__):
        pytest.fail("an attack that ran is run again")

    for module in MODULES:
        monkeypatch.setattr(module, "run", run)
    place, out, _ = written
    monkeypatch.setenv("COLUMNS", "200")
    again = ("--json", place / "b.json", "--keep", place / "kept")
    code, repeated, _ = run_command(capsys, *COMMAND, *again)
    assert code == 0
    assert repeated == out
    one, other = (json.loads((place / f"{x}.json").read_text()) for x in "ab")
    (place / "b.json").unlink()
    assert one["attacks"] == other["attacks"]
    assert one["seconds"] == other["seconds"]


def test_files_are_there_when_nobody_reads_what_is_shown(written, monkeypatch):
    """As in `vim-jax audit ... | head -1`."""

    def closed(*_, **__):
        raise KeyboardInterrupt  # A broken pipe would end this test's own output.

    monkeypatch.setattr("vim_jax.cli.audit._print", closed)
    place = written[0]
    files = [place / "c.json", place / "c.html"]
    arguments = ("--json", files[0], "--report", files[1], "--keep", place / "kept")
    with pytest.raises(SystemExit):
        main([str(x) for x in (*COMMAND, *arguments)])
    for path in files:
        assert path.stat().st_size > 0
        path.unlink()


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return functools.partial(run_command, capsys)


@pytest.fixture
def no_work(monkeypatch):
    """Fails a test whose command begins to work."""

    def work(*_, **__):
        pytest.fail("work was begun")

    monkeypatch.setattr(cases, "from_data", work)
    monkeypatch.setattr(published_sets, "from_published", work)


def test_help_says_what_it_takes(call):
    code, out, _ = call("audit", "--help")
    assert code == 0
    for option in ("--originals", "--data", "--quick", "--full", "--json", "--report"):
        assert option in out
    assert "--key" not in out
    assert "cannot show that images are safe" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give either PUBLISHED with --originals, or --data"),
        (["dst", "--data", "embedded:digits"], "give either PUBLISHED"),
        (["dst"], "--originals is missing"),
        (["dst", "--originals", "src", "--level", "0.5"], "leave those for --data"),
        (["dst", "--originals", "src", "--max-region", "8"], "leave those for --data"),
        (["dst", "--originals", "src", "--channels", "joint"], "leave those"),
        (["dst", "--originals", "src", "--scramble-regions"], "leave those"),
        ([*COMMAND[1:], "--full"], "--quick and --full contradict"),
        ([*COMMAND[1:], "--originals", "src"], "only go with PUBLISHED"),
        ([*COMMAND[1:], "--auxiliary", "src"], "only go with PUBLISHED"),
        ([*COMMAND[1:], "--level", "0.5"], "exactly one of --level, --target-vfe"),
        (["--data", "embedded:digits"], "exactly one of --level, --target-vfe"),
        (["--data", "embedded:digits", "--level", "2"], "level"),
        (["--data", "embedded:digits", "--region-size", "0"], "region-size"),
        (["--data", "x", "--level", "1", "--images", "0"], "images=0 makes no sense"),
        (
            ["--data", "x", "--level", "1", "--auxiliary-images", "-1"],
            "auxiliary_images=-1 makes no sense",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(call, no_work, arguments, words):
    code, out, err = call("audit", *arguments)
    assert (code, out) == (2, "")
    (sentence,) = complaints(err)
    assert words in sentence
    assert [line for line in err.splitlines() if line] == [sentence]


@pytest.mark.parametrize("option", ["--json", "--report"])
def test_a_file_that_exists_is_refused_before_any_work(call, no_work, tmp_path, option):
    (tmp_path / "old").write_text("precious")
    for path in ("old", "."):
        code, _, err = call(*COMMAND, option, path)
        assert code == 2
        (sentence,) = complaints(err)
        assert f"{option} {path} exists: choose another name" in sentence
    assert (tmp_path / "old").read_text() == "precious"


@pytest.mark.parametrize("option", ["--json", "--report", "--keep"])
def test_nothing_is_written_among_the_published_images(call, no_work, tmp_path, option):
    for path in ("dst/new", "dst", "dst/../dst/deep/new"):
        code, _, err = call("audit", "dst", "--originals", "src", option, path)
        assert code == 2
        (sentence,) = complaints(err)
        assert f"{option} {path} lies inside dst, where it would be" in sentence


@pytest.mark.parametrize(
    "arguments",
    [
        ["none", "--originals", "src"],
        ["src", "--originals", "src"],
        ["--data", "none", "--level", "0.5"],
        ["--data", "src", "--level", "0.5"],
    ],
)
def test_sets_that_cannot_be_used_are_refused(call, tmp_path, arguments):
    save(tmp_path / "src/0.png", photograph())
    code, _, err = call("audit", *arguments, "--keep", "kept")
    assert code == 2
    assert len(complaints(err)) == 1


def test_a_published_folder_is_audited_without_its_key(call, tmp_path):
    photographs(tmp_path / "src")
    publish(
        folder(tmp_path / "src"), tmp_path / "dst", VisualMixer(region_size=4), None
    )
    (tmp_path / "src/cats/1.png").write_bytes(b"damaged since")
    code, out, err = call(
        "audit", "dst", "--originals", "src",
        "--json", "new/a.json", "--report", "a.html", "--keep", "kept",
    )  # fmt: skip
    assert code == 0, err
    numbers = json.loads((tmp_path / "new/a.json").read_text())
    assert numbers["images"] == 3
    assert numbers["verdicts"]["link"]["verdict"] != "inconclusive"
    assert any("no original" in note for note in numbers["notes"])
    assert "no original" in out
    assert "An original could not be read: " in out
    assert "src/cats/1.png is not an image" in out
    assert "no original" in (tmp_path / "a.html").read_text()


def test_results_are_kept_in_the_cache_folder(call, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fake = Fake()
    monkeypatch.setattr(audits, "attacks_on", lambda *_: ([fake.attack], {}))
    monkeypatch.setattr("vim_jax.cli.audit._print", lambda *_: None)
    monkeypatch.setattr(
        "vim_jax.attacks.verdicts.summary", lambda _: {"notes": ["Done."]}
    )
    assert call(*COMMAND)[0] == call(*COMMAND)[0] == 0
    assert fake.runs == 1
    assert len(list((tmp_path / "cache/vim_jax/audit").rglob("fake.npz"))) == 1


# --- The page -------------------------------------------------------------------------


def test_page_escapes_names(found):
    numbers = summary(found) | {"set": "<script>alert(1)</script>"}
    page = render(found, numbers)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_page_shows_images_of_all_modes(tmp_path):
    modes = ("RGB", "L", "LA", "RGBA", "I;16")
    published(tmp_path, VisualMixer(region_size=5), modes=modes, count=5)
    case = opened(tmp_path)
    nothing = audits.Audit(case, "quick", {}, {}, {})
    shown = Outcome((), case.published)
    found = dataclasses.replace(nothing, outcomes={"as_published": shown})
    numbers = {
        "set": "dst", "budget": "quick", "images": 5, "verdicts": {}, "attacks": [],
        "skipped": {}, "suggested_by_vfe": None, "thumbnail": [1, 1], "advice": [],
        "notes": [], "seconds": {},
    }  # fmt: skip
    assert len(Links(render(found, numbers)).pictures) == 10


def test_page_of_a_single_image_has_no_intervals(tmp_path):
    published(tmp_path, VisualMixer(region_size=5), count=1)
    case = opened(tmp_path)
    outcome = Outcome(Fake().outcome.scores, case.published)
    found = audits.Audit(
        case, "quick",
        {"as_published": outcome}, {"recognition": "it takes --full"}, {},
    )  # fmt: skip
    numbers = {
        "set": "dst", "budget": "quick", "images": 1, "verdicts": {},
        "attacks": [score.as_json() for score in found.scores], "skipped": {},
        "suggested_by_vfe": None, "thumbnail": [1, 1], "advice": [], "notes": [],
        "seconds": {},
    }  # fmt: skip
    assert "<td>- to -</td>" in render(found, numbers)
