"""Tables of docs/privacy.md say what results say, and no more."""

import matplotlib.pyplot as plt
import pytest

from experiments import audit_tables, frontier, page, privacy_page, privacy_plots
from experiments.record import read


def attack(name, metric, score, *, chance=0.1, control=0.9, verdict="leaks"):
    return {
        "name": name, "metric": metric, "score": score, "low": score - 0.1,
        "high": score + 0.1, "chance": chance, "verdict": verdict,
        "control": {"score": control, "needed": 0.75, "passed": control >= 0.75},
    }  # fmt: skip


def cells_of(text):
    """The rows of a table in Markdown, by their first cell."""
    lines = [x.strip("| ").split(" | ") for x in text.splitlines() if x[:1] == "|"]
    return {line[0]: line[1:] for line in lines}


@pytest.mark.parametrize("pieces", ["regions", "pixels"])
def test_puzzles_whose_control_failed_say_nothing(pieces):
    metrics = (f"{pieces} in place", f"neighbouring {pieces} joined", "largest part")
    rows = [
        {
            "data": data,
            "setting": "size 2",
            "attacks": [
                attack("jigsaw", f"{what} (share)", 0.5, control=control, verdict=said)
                for what in metrics
            ],
        }
        for data, control, said in (
            ("cifar10", 0.95, "leaks"), ("mnist", 0.55, "inconclusive"),
        )
    ]  # fmt: skip
    found = cells_of(privacy_page.jigsaw_table({"rows": rows}, pieces))
    works = ["0.50 (0.40 to 0.60); 0.10"] * 3
    assert found["CIFAR-10, size 2"] == [*works, "0.95 of 0.75"]
    fails = ["inconclusive; 0.10"] * 3
    assert found["MNIST, size 2"] == [*fails, "0.55 of 0.75"]
    other = {"regions": "pixels", "pixels": "regions"}[pieces]
    assert "size 2" not in privacy_page.jigsaw_table({"rows": rows}, other)


def test_what_was_not_tried_is_not_left_blank():
    row = {
        "data": "cifar10", "setting": "size 8", "images": 9, "suggested_by_vfe": 0.5,
        "attacks": [
            attack("thumbnail", "SSIM", 0.3), attack("as published", "SSIM", 0.2),
        ],
    }  # fmt: skip
    found = cells_of(privacy_page.settings_table({"rows": [row]}))["size 8"]
    assert found == ["0.50", "0.20", "0.30", "not tried", "not tried", "**leaks**"]


def test_what_was_measured_again_says_so():
    row = {
        "data": "mnist", "setting": "size 8", "commit": "abc",
        "measured_again": "it was wrong", "attacks": [attack("thumbnail", "SSIM", 0.3)],
    }  # fmt: skip
    text = privacy_page.other_data_table({"rows": [row]})
    assert "MNIST was attacked again, with commit `abc`: it was wrong." in text
    del row["measured_again"]
    assert "again" not in privacy_page.other_data_table({"rows": [row]})


def member(name, score, metric="AUC, mean over networks", **more):
    return attack(f"membership, {name}", metric, score, chance=0.5, **more)


def test_membership_has_a_column_for_what_was_learnt():
    attacks = [
        member("LiRA", 0.7),
        member("LiRA, plain with patch shuffle", 0.5, verdict="at chance"),
        member("LiRA, plain", 0.9),
    ]
    results = {"attacks": attacks, "notes": ["17 networks.", "All seeds."]}
    text = audit_tables.membership_table(results)
    assert text.startswith("17 networks.\n\n| attack")
    plain, mixed = "0.90 (0.80 to 1.00)", "0.70 (0.60 to 0.80)"
    shuffled = "0.50 (0.40 to 0.60), at chance"
    metric = "AUC, mean over networks"
    assert list(cells_of(text)) == ["attack", "---", "LiRA"]
    assert cells_of(text)["LiRA"] == [metric, "0.50", plain, mixed, shuffled]


def test_scores_of_failed_attacks_are_not_shown():
    rows = [attack("a", "x (share)", 0.5, control=0.2, verdict="inconclusive")]
    found = cells_of(audit_tables.scores_table(rows))["a"]
    assert found == [
        "x (share)", "inconclusive", "10.0%", "20.0% of 75.0%", "inconclusive",
    ]  # fmt: skip


def trained(setting, way, model="m", **accuracies):
    return {
        "data": "cifar10", "setting": setting, "way": way, "model": model,
        "options": {}, "seed": 0, "recipe": {"crop": 4}, **accuracies,
    }  # fmt: skip


def test_the_frontier_has_the_best_network_of_each_way():
    attacks = [attack("thumbnail", "SSIM", 0.3), attack("multiset", "SSIM", 0.4)]
    rows = [
        {"data": data, "setting": setting, "attacks": attacks}
        for data, setting in (("cifar10", "a"), ("cifar10", "b"), ("mnist", "a"))
    ]
    table2 = [
        trained(None, "plain", plain_accuracy=0.9),
        trained(None, "plain", "n", plain_accuracy=0.9),
        trained("a", "mixed", mixed_accuracy=0.5, averaged_accuracy=0.6),
        trained("a", "mixed", "n", mixed_accuracy=0.55),
        trained("a", "thumbnail", mixed_accuracy=0.9, thumbnail_accuracy=0.4),
        trained("a", "thumbnail", "n", thumbnail_accuracy=0.45),
        # A seed that plain and mixed images do not have.
        trained("a", "thumbnail", "n", thumbnail_accuracy=0.95) | {"seed": 1},
        trained("b", "mixed", mixed_accuracy=0.5),  # Without thumbnails.
    ]
    results = {"rows": table2, "command": "a --preset gpu"}
    (point,) = frontier.points({"rows": rows}, results)
    assert point.setting == "a"
    assert point.mixed == (0.6, "m", " *")  # No run of today has such a setting.
    assert point.thumbnail == (0.45, "n", " *")
    assert (point.seen["score"], point.enlarged["score"]) == (0.4, 0.3)


def test_plain_use_is_that_with_the_usual_shifts():
    def plain(model, crop, accuracy):
        row = trained(None, "plain", model, plain_accuracy=accuracy)
        return {**row, "recipe": {"crop": crop}}

    rows = [plain("m", 4, 0.9), plain("m", 0, 0.5), plain("n", 4, 0.8)]
    best = frontier.plain_use({"rows": rows, "command": "a --preset gpu"})
    assert (best.accuracy, best.network) == (0.9, "m")


def test_an_audit_says_how_it_was_made():
    made = {
        "command": "vim-jax audit", "commit": "a-dirty", "device": "cpu, x", "cores": 2,
        "seed": 0, "seconds": {"a": 60, "b": 120}, "uncommitted": "Words.",
    }  # fmt: skip
    wanted = "commit `a-dirty`, 2 core(s) of a CPU, seed 0, 3 minutes.* *Words.*"
    assert page.made_by(made).endswith(wanted)
    rows = [{"commit": "b", "uncommitted": "Words."}, {"commit": "c", "cores": 1}]
    line = page.made_by({**made, "seconds": 60, "rows": rows})
    assert "commit `b`, `c`, 1 or 2 core(s) of a CPU, seed" in line
    rows.append({"device": "NVIDIA H200, x86_64", "cores": 16})
    line = page.made_by({**made, "seconds": 60, "rows": rows})
    assert "1 or 2 core(s) of a CPU and NVIDIA H200, seed" in line
    assert line.count("Words.") == 1


def test_the_plots_are_drawn(tmp_path):
    for name, plot in (
        ("attacks_cpu", privacy_plots.plot_frontiers),
        ("metric_validity_cpu", privacy_plots.plot_validity),
    ):
        results = read(name)
        assert results is not None
        plot(results, tmp_path / f"{name}.png")
        height, width, _ = plt.imread(tmp_path / f"{name}.png").shape
        assert width > 2 * height > 600
