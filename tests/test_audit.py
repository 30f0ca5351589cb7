"""The audit: its cases, what it keeps, its command and its page."""

import collections
import contextlib
import dataclasses
import functools
import html.parser
import io
import json
import math
import re

import jax
import numpy as np
import pytest
from folders import complaints, photograph, photographs, run_command, save
from mixing_by_hand import cells_of

from vim_jax import SecretKey, VisualMixer
from vim_jax.attacks import audit as audits
from vim_jax.attacks import cases, inversion, recognition, seed_search
from vim_jax.attacks.audit import Attack, audit
from vim_jax.attacks.cases import from_data, from_published
from vim_jax.attacks.protocol import Control, Outcome, Score
from vim_jax.attacks.verdicts import answers, summary
from vim_jax.cli import main
from vim_jax.data import DataError, folder
from vim_jax.data.publish import publish
from vim_jax.report.audit import render

KEY = SecretKey(bytes(range(32)))
QUICK = {
    "as_published", "thumbnail", "multiset", "linkage",
    "jigsaw", "seed_search", "key_reuse",
}  # fmt: skip
FIELDS = {
    "name", "knowledge", "metric", "score", "low", "high", "chance", "control",
    "verdict",
}  # fmt: skip
QUESTIONS = ["see", "recognise", "link", "unlock"]
VERDICTS = {"leaks", "partial", "at chance", "inconclusive"}
MODULES = (audits.thumbnail, audits.multiset, audits.linkage, seed_search)


@pytest.fixture(autouse=True, scope="module")
def fewer_seeds():
    """A search of few seeds takes as long to write down, and less to run."""
    few = functools.partial(seed_search.Config, seed_bits=6, batch=64, finalists=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed_search, "Config", few)
        yield


@pytest.fixture(scope="module")
def digits():
    return from_data(
        "embedded:digits", VisualMixer(region_size=2),
        data_dir=None, images=12, auxiliary=40,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(digits):
    return audit(digits, "quick")


def same_regions(case):
    """Whether mixing kept every region's values, image by image, and moved some."""
    moved = False
    for mixed, plain, sizes in zip(
        case.published, case.originals, case.plans, strict=True
    ):
        assert mixed.shape == plain.shape
        assert mixed.ndim == 3
        assert sizes.shape == mixed.shape[:2]
        for cells in cells_of(sizes):
            if not np.array_equal(np.sort(mixed[cells], 0), np.sort(plain[cells], 0)):
                return False
        moved |= bool((mixed != plain).any())
    return moved


# --- Cases from a data set ------------------------------------------------------------


def test_a_case_from_data_is_mixed_test_images_and_known_training_images(digits):
    assert np.shape(digits.published) == np.shape(digits.originals) == (12, 8, 8, 1)
    assert digits.auxiliary.shape == (40, 8, 8, 1)
    assert digits.labels.shape == (12,)
    assert digits.auxiliary_labels.shape == (40,)
    assert same_regions(digits)
    assert (np.asarray(digits.plans) == 2).all()
    both = {x.tobytes() for x in digits.auxiliary} & {
        x.tobytes() for x in digits.originals
    }
    assert not both
    assert digits.notes == ()
    assert digits.attribute is None
    assert len(digits.other) == 0


def test_originals_are_among_the_candidates_once(digits):
    names = collections.Counter(x.tobytes() for x in digits.candidates)
    assert len(digits.candidates) == 12 + 40
    assert all(names[x.tobytes()] == 1 for x in digits.originals)


def test_each_image_has_its_own_permutation(digits):
    moves = {
        (mixed - plain).tobytes()
        for mixed, plain in zip(digits.published, digits.originals, strict=True)
    }
    assert len(moves) == 12


def test_equal_cases_have_equal_digests(digits):
    again = from_data(
        "embedded:digits", VisualMixer(region_size=2),
        data_dir=None, images=12, auxiliary=40,
    )  # fmt: skip
    np.testing.assert_array_equal(again.published, digits.published)
    assert again.digest == digits.digest


@pytest.mark.parametrize(
    "other",
    [
        {"mixer": VisualMixer(region_size=2, channels="joint")},
        {"images": 11},
        {"auxiliary": 39},
    ],
)
def test_other_cases_have_other_digests(digits, other):
    given = {"mixer": VisualMixer(region_size=2), "images": 12, "auxiliary": 40}
    given |= other
    case = from_data("embedded:digits", given.pop("mixer"), data_dir=None, **given)
    assert case.digest != digits.digest


def test_targets_out_of_reach_are_approached():
    case = from_data(
        "embedded:digits", VisualMixer(target_vfe=1e6),
        data_dir=None, images=2, auxiliary=2,
    )  # fmt: skip
    assert case.mixer.clip
    assert len(case.published) == 2


def test_real_images_have_a_second_attribute_and_others_to_transfer_to(tfds_dir):
    case = from_data(
        "cifar10", VisualMixer(region_size=4),
        data_dir=str(tfds_dir), images=3, auxiliary=4,
    )  # fmt: skip
    assert same_regions(case)
    assert case.attribute is not None
    assert case.attribute.name == "animal or vehicle"
    assert case.other[0].shape == (32, 32, 3)


# --- Cases from a published folder ----------------------------------------------------


def opened(tmp_path, *, auxiliary=None, images=100, **options):
    return from_published(
        tmp_path / "dst", str(tmp_path / "src"),
        auxiliary=auxiliary, data_dir=None, images=images, windows=7, **options,
    )  # fmt: skip


def picture(mode="RGB", seed=0):
    """A photograph that is rough on the left: a low level divides the rest."""
    image = photograph(mode, seed)
    rough = np.random.default_rng(seed).integers(0, 256, image[:, :8].shape)
    image[:, :8] = rough * (257 if mode == "I;16" else 1)
    return image


def published(tmp_path, mixer, *, modes=("RGB",), count=3, **options):
    for i in range(count):
        mode = modes[i % len(modes)]
        save(tmp_path / f"src/{i}.png", picture(mode, seed=i))
    publish(folder(tmp_path / "src"), tmp_path / "dst", mixer, KEY, **options)


@pytest.mark.parametrize("rename", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    "mixer",
    [VisualMixer(region_size=5), VisualMixer(level=0.3)],
    ids=["uniform", "adaptive"],
)
def test_published_images_are_matched_with_their_originals(
    tmp_path, mixer, mode, rename
):
    published(tmp_path, mixer, modes=(mode,), rename=rename)
    case = opened(tmp_path)
    assert len(case.published) == 3
    assert same_regions(case)
    plain = {picture(mode, seed=i).tobytes() for i in range(3)}
    assert {x.tobytes() for x in case.originals} == plain
    assert case.name == "dst"
    assert case.notes == ()
    assert case.one_shape
    assert len(case.whole[0]) == 3
    if mixer.level is not None:
        assert len(np.unique(case.plans)) > 1


def test_images_of_all_modes_are_matched(tmp_path):
    modes = ("RGB", "L", "LA", "RGBA", "I;16")
    published(tmp_path, VisualMixer(region_size=5), modes=modes, count=5)
    case = opened(tmp_path)
    assert sorted(x.shape[2] for x in case.published) == [1, 1, 2, 3, 4]
    assert {x.dtype for x in case.published} == {np.dtype(np.uint8)}
    assert same_regions(case)
    assert not case.one_shape


def test_images_without_an_original_are_noted(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    (tmp_path / "src/1.png").unlink()
    save(tmp_path / "src/unpublished.png", photograph(seed=9))
    case = opened(tmp_path)
    assert len(case.published) == 2
    (note,) = case.notes
    assert note.startswith("1 published image")
    assert "no original" in note


def test_other_originals_are_refused(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    for i in range(3):
        save(tmp_path / f"src/{i}.png", photograph(seed=i + 10))
    with pytest.raises(DataError, match="give the images that it was made from"):
        opened(tmp_path)


def test_a_folder_without_a_manifest_is_refused(tmp_path):
    photographs(tmp_path / "src")
    photographs(tmp_path / "dst")
    with pytest.raises(DataError):
        opened(tmp_path)


def test_fewer_images_are_spread_over_the_set(tmp_path):
    published(tmp_path, VisualMixer(region_size=5), count=5)
    case = opened(tmp_path, images=3)
    wanted = [picture(seed=i).tobytes() for i in (0, 2, 4)]
    assert [x.tobytes() for x in case.originals] == wanted
    assert case.notes == ()


@pytest.mark.parametrize(
    "mixer",
    [VisualMixer(region_size=5), VisualMixer(level=0.3)],
    ids=["uniform", "adaptive"],
)
def test_of_large_images_the_middle_is_judged_without_cutting_a_region(
    tmp_path, mixer, monkeypatch
):
    published(tmp_path, mixer)
    monkeypatch.setattr(cases, "WINDOW", 12)
    case = opened(tmp_path)
    assert all(8 <= min(x.shape[:2]) <= max(x.shape[:2]) <= 12 for x in case.published)
    assert same_regions(case)
    assert case.whole[0][0].shape == (16, 24, 3)
    assert len(case.candidates) == 3


def test_the_attacker_gets_windows_of_auxiliary_images(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    for i in range(3):
        save(tmp_path / f"more/{i}.png", photograph(seed=20 + i, sides=(30, 30)))
    save(tmp_path / "more/small.png", photograph(sides=(8, 8)))
    case = opened(tmp_path, auxiliary=str(tmp_path / "more"))
    assert case.auxiliary is not None
    assert case.auxiliary.shape == (6, 16, 24, 3)
    assert len(case.candidates) == 3 + 6
    whole = photograph(seed=20, sides=(30, 30))
    views = np.lib.stride_tricks.sliding_window_view(whole, (16, 24, 3))
    assert (views.reshape(-1, 16, 24, 3) == case.auxiliary[0]).all((1, 2, 3)).any()


def test_auxiliary_images_that_are_too_small_are_refused(tmp_path):
    published(tmp_path, VisualMixer(region_size=5))
    save(tmp_path / "more/small.png", photograph(sides=(8, 8)))
    with pytest.raises(DataError, match="24 x 16 pixels or more"):
        opened(tmp_path, auxiliary=str(tmp_path / "more"))


def test_images_of_several_sizes_train_no_network(tmp_path):
    photographs(tmp_path / "src")
    save(tmp_path / "src/small.png", photograph(sides=(8, 8)))
    publish(folder(tmp_path / "src"), tmp_path / "dst", VisualMixer(region_size=5), KEY)
    case = opened(tmp_path, auxiliary=str(tmp_path / "src"))
    assert case.auxiliary is None
    assert "different sizes" in case.notes[0]
    attacks, skipped = audits.attacks_on(case, "full")
    assert {"inversion", "recognition", "key_reuse"} <= set(skipped)
    assert "inversion" not in {attack.name for attack in attacks}


# --- The attacks ----------------------------------------------------------------------


def test_a_quick_audit_tries_all_that_trains_no_network(found):
    assert set(found.outcomes) == set(found.seconds) == QUICK
    assert {"inversion", "recognition"} <= set(found.skipped)
    assert all("--full" in why for why in found.skipped.values())
    assert len(found.scores) > 10


def test_the_four_verdicts_of_tiny_regions(found):
    by_question = {answer.question: answer for answer in answers(found)}
    assert list(by_question) == QUESTIONS
    verdicts = [by_question[question].verdict for question in QUESTIONS]
    # No key is found, but few bits of arrangement can be tried one by one.
    assert verdicts == ["leaks", "inconclusive", "leaks", "partial"]
    assert "4x4 picture" in by_question["see"].text
    assert "nothing is known" in by_question["recognise"].text
    assert "100%" in by_question["link"].text
    assert "bits of arrangement" in by_question["unlock"].text
    attacks = by_question["unlock"].scores
    assert {score.verdict for score in attacks} == {"at chance"}


def test_a_summary_is_plain_json(found):
    numbers = json.loads(json.dumps(summary(found), allow_nan=False))
    assert numbers["images"] == 12
    assert numbers["thumbnail"] == [4, 4]
    assert 0 < numbers["suggested_by_vfe"] < 1
    assert all(seconds >= 0 for seconds in numbers["seconds"].values())


def test_a_full_audit_of_a_case_trains_networks(digits):
    attacks, skipped = audits.attacks_on(digits, "full")
    names = {attack.name for attack in attacks}
    assert names >= QUICK | {"inversion", "recognition"}
    assert skipped == {}
    by_name = {attack.name: attack.config for attack in attacks}
    assert not by_name["recognition"].flip  # A mirrored digit is another one, or none.


def test_an_image_of_one_region_is_no_puzzle(digits):
    entire = VisualMixer(region_size="entire", scramble_regions=True)
    case = dataclasses.replace(digits, mixer=entire)
    assert "jigsaw" in audits.attacks_on(case, "quick")[1]


@pytest.mark.slow
def test_a_full_audit_from_end_to_end(digits, monkeypatch):
    learnt = functools.partial(inversion.Config, width=4, depth=1, epochs=1)
    told = functools.partial(recognition.Config, epochs=1)
    monkeypatch.setattr(inversion, "Config", learnt)
    monkeypatch.setattr(recognition, "Config", told)
    attacks = [
        attack
        for attack in audits.attacks_on(digits, "full")[0]
        if attack.name in ("as_published", "linkage", "inversion", "recognition")
    ]
    monkeypatch.setattr(audits, "attacks_on", lambda *_: (attacks, {"seed_search": ""}))
    with jax.numpy_dtype_promotion("standard"):
        found = audit(digits, "full")
    assert {"inversion", "recognition"} < set(found.outcomes)
    by_question = {answer.question: answer for answer in answers(found)}
    assert "No second attribute" in by_question["recognise"].text
    assert "learned inversion" in {score.name for score in found.scores}
    assert len(found.outcomes["inversion"].reconstructions or ()) == 12
    json.dumps(summary(found), allow_nan=False)


def test_a_single_published_image_is_audited(tmp_path):
    published(tmp_path, VisualMixer(region_size=5), count=1)
    found = audit(opened(tmp_path), "quick")
    assert "several images" in found.skipped["key_reuse"]
    numbers = json.loads(json.dumps(summary(found), allow_nan=False))
    for row in numbers["attacks"]:
        if row["metric"] in ("SSIM", "PSNR (dB)", "AUC"):
            assert row["verdict"] == "inconclusive"
            assert row["low"] is row["high"] is None


# --- What is kept ---------------------------------------------------------------------


class Fake:
    """An attack that counts its runs."""

    def __init__(self, name="fake", config="config"):
        self.name, self.config, self.runs = name, config, 0
        score = Score(
            name=name, knowledge=("plan", "algorithm"), metric="share", score=1 / 3,
            low=-math.inf, high=math.inf, chance=0.1, control=Control("case", 1.0, 0.5),
        )  # fmt: skip
        pictures = [np.full((2, 3 + i, 1), i, np.uint8) for i in range(12)]
        self.outcome = Outcome((score, score), pictures, "A note.")

    def run(self, progress):
        self.runs += 1
        progress(1, 2)
        return self.outcome

    @property
    def attack(self):
        return Attack(self.name, self.config, self.run)


@pytest.fixture
def attacked(digits, tmp_path, monkeypatch):
    """Audits the digits by fakes, with one folder for what is kept."""

    def run(*fakes, case=digits, **options):
        attacks = [fake.attack for fake in fakes]
        monkeypatch.setattr(audits, "attacks_on", lambda *_: (attacks, {}))
        return audit(case, "quick", kept=tmp_path / "kept", **options)

    return run


def test_a_finished_attack_is_not_run_again(attacked):
    fakes = Fake("one"), Fake("other")
    before, after = attacked(*fakes), attacked(*fakes)
    assert [fake.runs for fake in fakes] == [1, 1]
    assert after.scores == before.scores
    assert after.seconds == before.seconds
    for name, outcome in before.outcomes.items():
        again = after.outcomes[name]
        assert again.note == outcome.note == "A note."
        for one, other in zip(
            again.reconstructions, outcome.reconstructions, strict=True
        ):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_an_audit_goes_on_where_it_stopped(attacked):
    class Stopped(Fake):
        def run(self, progress):
            raise KeyboardInterrupt

    one, other = Fake("one"), Fake("other")
    with pytest.raises(KeyboardInterrupt):
        attacked(one, Stopped("other"))
    attacked(one, other)
    assert (one.runs, other.runs) == (1, 1)


def test_an_attack_with_other_settings_is_run_anew_and_kept(attacked):
    attacked(Fake(config="before"))
    changed = Fake(config="after")
    attacked(changed)
    attacked(changed)
    assert changed.runs == 1


def test_another_case_is_attacked_anew(attacked, digits):
    fake = Fake()
    attacked(fake)
    other = dataclasses.replace(digits, published=digits.published[::-1])
    attacked(fake, case=other)
    assert fake.runs == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"garbage",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:200] + bytes([data[200] ^ 255]) + data[201:],
        lambda data: b"\0" * len(data),
    ],
    ids=["empty", "garbage", "half", "cut short", "one byte", "zeros"],
)
def test_a_damaged_file_is_ignored_and_replaced(attacked, tmp_path, damage):
    fake = Fake()
    attacked(fake)
    (path,) = (tmp_path / "kept").rglob("*.npz")
    path.write_bytes(damage(path.read_bytes()))
    assert attacked(fake).scores == list(fake.outcome.scores)
    assert fake.runs == 2
    attacked(fake)
    assert fake.runs == 2


def test_progress_is_told_by_attack(attacked):
    told = []
    attacked(Fake("one"), Fake("other"), progress=lambda *step: told.append(step))
    once = [(0, 1), (1, 2), (1, 1)]
    assert told == [(name, *step) for name in ("one", "other") for step in once]


def test_nothing_is_kept_unless_told(digits, monkeypatch, tmp_path):
    fake = Fake()
    monkeypatch.setattr(audits, "attacks_on", lambda *_: ([fake.attack], {}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    audit(digits, "quick")
    audit(digits, "quick")
    assert fake.runs == 2
    assert list(tmp_path.iterdir()) == []


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
    _, out, err = written
    for question in QUESTIONS:
        assert re.search(rf"^{question} +({'|'.join(VERDICTS)}) ", out, re.MULTILINE)
    for words in ("multiset", "SSIM", "control", "12 images, region size 2"):
        assert words in out
    assert "- Publish no image whose original is public" in out
    assert "recognition was not tried" in out
    assert "Wrote " in err
    assert "Traceback" not in err


def test_json_holds_verdicts_and_attacks(written):
    text = (written[0] / "a.json").read_text()
    numbers = json.loads(text, parse_constant=pytest.fail)
    assert list(numbers["verdicts"]) == QUESTIONS
    for answer in numbers["verdicts"].values():
        assert set(answer) == {"verdict", "text"}
        assert answer["verdict"] in VERDICTS
        assert len(answer["text"]) > 20
    assert len(numbers["attacks"]) > 10
    for row in numbers["attacks"]:
        assert set(row) == FIELDS
        assert set(row["control"]) == {"case", "score", "needed", "passed"}
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

    for name in ("from_data", "from_published"):
        monkeypatch.setattr(cases, name, work)


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
    (tmp_path / "src/cats/1.png").unlink()
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
