"""The experiments run."""

import collections
import errno
import itertools
import json
import math
import os
import re
import subprocess

import numpy as np
import pytest

from experiments import (
    attacks,
    gan_samples,
    metric_validity,
    privacy_page,
    record,
    sub_blocks,
    training_runs,
)
from vim_jax.attacks.audit import attacks_on
from vim_jax.attacks.cases import from_arrays
from vim_jax.data.arrays import LabelledImages, TrainTest
from vim_jax.data.errors import WriteError
from vim_jax.report import provenance

pytestmark = pytest.mark.usefixtures("standard_promotion")


@pytest.mark.slow
def test_attacks_smoke(tmp_path):
    rows = attacks.run("smoke", None, tmp_path)
    assert [row["setting"] for row in rows] == ["size 1", "size 2", "size 2, scrambled"]
    for row in rows:
        assert set(row["verdicts"]) == {"see", "recognise", "link", "unlock"}
        assert row["skipped"]["seed_search"] == "it was left out"
    tried = [{attack["name"] for attack in row["attacks"]} for row in rows]
    assert "learned inversion" in tried[1] - tried[0]


def test_every_setting_that_is_trained_is_one():
    for part in itertools.chain(*attacks.PRESETS.values()):
        assert set(part.trained) <= set(part.settings) <= set(attacks.SETTINGS)


def test_two_presets_together_run_every_attack_that_trains():
    """What `cpu` leaves out for its cost, `networks` does, and nothing twice."""
    digits = LabelledImages(
        np.zeros((40, 32, 32, 3), np.uint8), np.arange(40, dtype=np.int32) % 10
    )
    case = from_arrays(
        "cifar10",
        TrainTest(digits, digits, tuple("0123456789")),
        attacks.SETTINGS["size 4"],
        images=20,
        auxiliary=20,
    )
    tried = []
    for name in ("cpu", "networks"):
        configs = attacks.PRESETS[name][0].configs
        tried += [x.name for x in attacks_on(case, "full", configs)[0]]
    assert collections.Counter(tried) == {
        "as_published": 2,
        **dict.fromkeys(("thumbnail", "multiset", "linkage", "jigsaw"), 1),
        **dict.fromkeys(("inversion", "gan_inversion", "jigsaw_net"), 1),
        **dict.fromkeys(("recognition", "membership"), 1),
    }


def test_rows_are_replaced_by_those_measured_again():
    old = {"commit": "old", "rows": [{"data": "a", "setting": x} for x in ("b", "c")]}
    again = [{"data": "a", "setting": "c", "x": 1}]
    kept, new = attacks._replaced(old, again, "it was wrong")
    assert kept == {"data": "a", "setting": "b", "commit": "old"}
    assert new["x"] == 1
    assert new["commit"] != "old"
    assert new["measured_again"] == "it was wrong"


def test_nothing_is_replaced_without_a_reason(tmp_path):
    with pytest.raises(SystemExit, match="why"):
        attacks.main(json_out=tmp_path / "a.json", data=("mnist",))


def test_a_part_trains_no_more_than_the_whole(monkeypatch):
    """Networks are trained on the first data set alone, whichever are attacked."""
    trained = []
    monkeypatch.setattr(attacks, "_cases", lambda *_: [("size 4", None)])
    monkeypatch.setattr(
        attacks, "_audited", lambda _, train, **__: trained.append(train) or {}
    )
    rows = attacks.run("cpu", None, None, ("size 4",), ("mnist",))
    assert [row["data"] for row in rows] == ["mnist"]
    attacks.run("cpu", None, None, ("size 4",))
    assert trained == [False, True, False, False]


def test_results_say_how_they_were_made(tmp_path):
    path = tmp_path / "new/a.json"
    for _ in range(2):  # Results are replaced.
        row = {"a": 1, "seconds": 1.26}
        record.write(path, "experiments.attacks --preset smoke", [row])
    written = json.loads(path.read_text())
    assert written["command"] == "python -m experiments.attacks --preset smoke"
    assert written["seconds"] == 1.3
    assert written["rows"] == [row]
    assert {"commit", "device", "cores", "seed", "versions"} <= set(written)


def test_results_of_another_preset_are_not_gone_on_with(tmp_path):
    path = tmp_path / "a.json"
    assert record.kept(path, "experiments.a --preset cpu") == []
    record.write(path, "experiments.a --preset cpu", [{"seconds": 1.0}])
    assert record.kept(path, "experiments.a --preset cpu") == [{"seconds": 1.0}]
    with pytest.raises(SystemExit, match=r"results of `python -m exp"):
        record.kept(path, "experiments.a --preset gpu")


def test_results_beside_the_code_do_not_make_it_other_code(tmp_path, monkeypatch):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", tmp_path, *who, *arguments], check=True)

    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("a = 1\n")
    (tmp_path / "results.json").write_text("{}\n")
    git("init", "-q")
    monkeypatch.setattr(provenance, "_PACKAGE", package)
    assert provenance._commit() is None
    git("add", ".")
    git("commit", "-qm", "a")
    clean = provenance._commit()
    assert clean is not None
    assert re.fullmatch("[0-9a-f]{12}", clean)
    (tmp_path / "results.json").write_text("[]\n")
    assert provenance._commit() == clean
    (package / "__init__.py").write_text("a = 2\n")
    assert provenance._commit() == f"{clean}-dirty"


def test_results_that_cannot_be_written_leave_the_earlier_ones(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    record.write(path, "experiments.attacks", [], seconds=1.0)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="No space"):
        record.write(path, "experiments.attacks", [{"seconds": 2.0}])
    assert path.read_bytes() == before


def test_shards_are_joined_in_the_order_of_one_run(tmp_path):
    shards = [tmp_path / name for name in ("a.json", "b.json")]
    for path, rows in zip(shards, ([1, 3, 5], [2, 4]), strict=True):
        runs = [{"run": x} for x in rows]
        record.write(path, "experiments.table2", runs, seconds=2.0)
    record.join(tmp_path / "all.json", shards)
    joined = json.loads((tmp_path / "all.json").read_text())
    assert [row["run"] for row in joined["rows"]] == [1, 2, 3, 4, 5]
    assert joined["seconds"] == 4.0
    assert joined["command"] == "python -m experiments.table2"
    with pytest.raises(SystemExit, match="exists"):
        record.join(tmp_path / "all.json", shards)
    record.write(shards[0], "experiments.table3", [])
    with pytest.raises(SystemExit, match="different commands"):
        record.join(tmp_path / "new.json", shards)


def test_shards_have_each_item_once():
    items = list("abcde")
    parts = [training_runs.in_shard(items, f"{i}/3") for i in (1, 2, 3)]
    assert parts == [["a", "d"], ["b", "e"], ["c"]]
    for text, why in (("0/3", "count the shards from 1"), ("x", "write it as"),
                      ("6/6", "use fewer shards")):  # fmt: skip
        with pytest.raises(SystemExit, match=why):
            training_runs.in_shard(items, text)


@pytest.mark.slow
def test_metric_validity_smokes(tmp_path):
    path = tmp_path / "results.json"
    rows = metric_validity.run("smoke", None, path)
    assert [row["family"] for row in rows] == ["none", "shuffling", "noise"]
    unchanged, *changed = rows
    assert unchanged["best_ssim"] == pytest.approx(1, abs=1e-6)
    assert unchanged["level"] == 0
    assert all(row["best_ssim"] < 1 for row in changed)
    assert metric_validity.run("smoke", None, path) == rows


def test_bits_that_are_wrong_are_put_right_and_others_left_alone():
    smoke = metric_validity.PRESETS["smoke"]
    image = metric_validity._data(smoke, None).test.images[: smoke.test]
    bits = metric_validity._median_bits(
        image.astype(np.uint8), np.full((smoke.test, 8, 8), 2, np.int32), "independent"
    )
    right = [
        {"way": "size 2", "arrangement_bits": bits},
        {"way": "noise 10", "arrangement_bits": None},
    ]
    assert metric_validity.with_bits_again(right, smoke, None) == right
    wrong = [{**right[0], "arrangement_bits": 1.0}, right[1]]
    mended = metric_validity.with_bits_again(wrong, smoke, None)
    assert mended[0].pop("computed_again")["metrics"] == ["arrangement_bits"]
    assert mended == right


@pytest.mark.parametrize("channels", ["independent", "joint", "mixed"])
def test_bits_of_arrangement_are_of_what_moves(channels):
    image = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(1, 4, 4, 3)
    plans = np.full((1, 4, 4), 4, np.int32)
    found = metric_validity._metrics(image, image, plans, channels)["arrangement_bits"]
    cells = 48 if channels == "mixed" else 16
    assert found == pytest.approx(math.log2(math.factorial(cells)))


def test_correlations_are_of_ranks():
    rows = [
        {
            "family": family, "way": str(x), "vfe": x, "level": -x, "gearys_c": x * x,
            "arrangement_bits": bits, "best_ssim": 10.0**-x, "recognised": x,
        }
        for family, x, bits in [
            ("none", 1, 0.0), ("shuffling", 2, 1.0), ("shuffling", 3, 2.0),
            ("noise", 4, None),
        ]
    ]  # fmt: skip
    found = {
        (row["scope"], row["metric"], row["outcome"]): (row["rho"], row["ways"])
        for row in metric_validity.correlations(rows, complete=False)
    }
    assert metric_validity.correlations(rows) == []
    assert found["all ways", "vfe", "best_ssim"] == (-1, 4)
    assert found["all ways", "level", "best_ssim"] == (1, 4)
    assert found["shuffles", "arrangement_bits", "recognised"] == (1, 3)
    # Noise has no arrangement: these would be the same three shuffles again.
    assert ("all ways", "arrangement_bits", "best_ssim") not in found


def test_intervals_of_correlations():
    # By hand: z = 0.5493, its error sqrt(1.125 / 25).
    low, high = metric_validity.interval(0.5, 28)
    assert low == pytest.approx(math.tanh(0.549306 - 1.959964 * 0.2121320), abs=1e-6)
    assert high == pytest.approx(math.tanh(0.549306 + 1.959964 * 0.2121320), abs=1e-6)
    assert metric_validity.interval(-0.5, 28) == pytest.approx((-high, -low))
    assert metric_validity.interval(0.9, 3) == (-1, 1)
    assert metric_validity.interval(-1.0, 9) == (-1, -1)


def test_intervals_of_correlations_hold_what_they_promise():
    rng = np.random.default_rng(0)
    pearson = -0.9
    true = 6 / np.pi * np.arcsin(pearson / 2)  # Of Gaussian pairs.
    drawn = rng.multivariate_normal([0, 0], [[1, pearson], [pearson, 1]], (600, 16))
    held = 0
    for x, y in drawn.transpose(0, 2, 1):
        rho = np.corrcoef(x.argsort().argsort(), y.argsort().argsort())[0, 1]
        low, high = metric_validity.interval(rho, 16)
        held += low <= true <= high
    assert 0.92 < held / 600 < 0.98


@pytest.mark.slow
def test_sub_blocks_smoke():
    digits, noise = sub_blocks.run("smoke", None)
    assert (digits["data"], noise["data"]) == ("embedded:digits", "noise")
    for name in ("in_place", "neighbours", "largest_part"):
        assert digits[name]["value"] > digits[name]["chance"] + 0.05
        assert noise[name]["value"] == pytest.approx(noise[name]["chance"], abs=0.1)
    page = privacy_page.sub_blocks_table({"rows": [digits, noise]})
    assert "20 of noise | 2 in 4" in page


def test_blocks_are_judged_by_channel():
    original = np.arange(32, dtype=np.uint8).reshape(4, 4, 2)
    image = original.copy()
    image[0, 2, 0] += 1  # Spoils a block of one channel, which has two neighbours.
    assert sub_blocks.accuracy(image, original, 2) == (7 / 8, 3 / 4, 7 / 8)


@pytest.mark.slow
def test_gan_samples_smoke(tmp_path):
    rows, shown = gan_samples.run("smoke", None)
    assert [row["way"] for row in rows] == ["plain", "size 2"] == list(shown)
    for row in rows:
        found = row["known_again"]
        assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert rows[0]["published_known"]["value"] > rows[1]["published_known"]["value"]
    gan_samples.plot(shown, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
