"""Table II as a table: whose rows are compared, and what cells say."""

import dataclasses
from typing import Any

import pytest
from table_rows import RUNS, outdated, row_of, rows_of

from experiments import accuracy_tables, comparisons, table2_accuracy, training_runs

WAYS: tuple[Any, ...] = ("mixed", "thumbnail")


def line(rows, *, preset="cpu"):
    """The cells of a table's last row."""
    results = {"command": f"python -m a --preset {preset}", "rows": rows}
    text = accuracy_tables.accuracy_table(results)
    return [cell.strip() for cell in text.splitlines()[-1].split("|")][1:-1]


def network_of(*rows):
    """A network with rows of CIFAR-10."""
    results = {"command": "python -m a --preset cpu", "rows": list(rows)}
    (network,) = comparisons.networks(results, "cifar10")
    return network


def test_accuracies_are_compared_over_the_seeds_that_all_have():
    rows = rows_of("size 2", shifted_plain=True)
    rows["plain"] |= {"plain_accuracy": 0.8}
    rows["mixed"] |= {"mixed_accuracy": 0.6, "averaged_accuracy": 0.7}
    rows["thumbnail"] |= {"thumbnail_accuracy": 0.5, "averaged_accuracy": 0.55}
    more = rows_of("size 2", seed=1, shifted_plain=True)
    more["plain"] |= {"plain_accuracy": 0.6}
    more["mixed"] |= {"mixed_accuracy": 0.1}
    more["thumbnail"] |= {"thumbnail_accuracy": 0.1}
    some = [*rows.values(), more["mixed"]]
    assert line(some) == [
        "CIFAR-10", "resnet20_cifar", "2", "80.0 %", "60.0 %", "70.0 %",
        "50.0 %, averaged 55.0 %", "20.0", "7.1 (97.23 to 90.15)", "+12.9",
        "7 x 10, 1 s", "1",
    ]  # fmt: skip
    found = line([*more.values(), *rows.values()])
    assert found[3:5] == ["70.0 ± 14.1 %", "35.0 ± 35.4 %"]
    assert found[7:10] == ["35.0 (20.0, 50.0)", "7.1 (97.23 to 90.15)", "+27.9"]
    assert found[-1] == "2"
    one_way = network_of(rows["plain"], more["mixed"])
    assert comparisons.compared(one_way, "size 2") is None


def test_plain_images_are_shifted_as_mixed_ones_are_or_a_dagger_says_so():
    still = rows_of("level 0.6", shifted_plain=False)
    shifted = rows_of("level 0.6", shifted_plain=True)["plain"]
    assert still["mixed"]["recipe"]["crop"] == 0
    shifted |= {"plain_accuracy": 0.8}
    both = [shifted, *still.values()]
    assert line(both)[2:4] == ["level 0.6", "50.0 %"]
    of_another_seed = [
        *both,
        *rows_of("level 0.6", seed=1, shifted_plain=True).values(),
    ]
    assert line(of_another_seed) == line(both)
    del still["plain"]
    assert line([shifted, *still.values()])[2:4] == ["level 0.6 †", "80.0 %"]
    found = comparisons.compared(network_of(shifted, *still.values()), "level 0.6")
    assert found is not None
    assert (found.outdated, found.other_shifts) == (False, True)
    # The other way round, too.
    mixed = rows_of("size 2", shifted_plain=False)
    assert line(list(mixed.values()))[2] == "2 †"
    assert line([*mixed.values(), shifted])[2:4] == ["2", "80.0 %"]


def test_rows_of_an_earlier_recipe_get_a_star_until_all_are_measured_anew():
    rows = rows_of("size 2", shifted_plain=True)
    old = {way: outdated(row) for way, row in rows.items()}
    for row in old.values():
        row[f"{row['way']}_accuracy"] = 0.25
    assert line(list(old.values()))[2:5] == ["2 *", "25.0 %", "25.0 %"]
    # One that is new is not set beside old ones of other ways.
    for way in ("plain", "mixed", "thumbnail"):
        assert line([*old.values(), rows[way]]) == line(list(old.values()))
    assert line([*old.values(), *rows.values()])[2:5] == ["2", "50.0 %", "50.0 %"]
    # Of what has not changed, there is nothing old.
    assert line([rows["plain"], rows["mixed"], old["thumbnail"]])[2:5] == [
        "2 *", "50.0 %", "50.0 %"
    ]  # fmt: skip


def test_each_seed_counts_once_whatever_recipes_it_was_measured_with():
    rows = rows_of("size 2", shifted_plain=True)
    older = [{**outdated(row), f"{way}_accuracy": 0.9} for way, row in rows.items()]
    old = [outdated(row) for row in rows.values()]
    assert line([*older, *old])[2:4] == ["2 *", "50.0 %"]
    assert line([*older, *old])[-1] == "1"
    # Today's plain images, if the old ones were not shifted as mixed ones were.
    unshifted = outdated(rows_of("size 8", shifted_plain=False)["plain"])
    found = [unshifted, rows["plain"], outdated(rows["mixed"]), rows["thumbnail"]]
    assert line(found)[2] == "2 *"


def test_the_usual_plain_rows_are_those_of_today_with_shifts():
    today = rows_of("size 2", shifted_plain=True)["plain"]
    still = rows_of("level 0.6", shifted_plain=False)["plain"]
    more = {**today, "recipe": {**today["recipe"], "crop": 8}}
    found = comparisons.usual_plain(network_of(more, still, outdated(today), today))
    assert found == ([today], False)
    assert comparisons.usual_plain(network_of(still, more)) == ([more], True)
    assert comparisons.usual_plain(network_of(still)) == ([still], False)


def test_only_the_marks_in_use_are_explained():
    results: Any = {"command": "python -m a --preset cpu"}
    rows = rows_of("size 2", shifted_plain=True)
    text = accuracy_tables.accuracy_table({**results, "rows": list(rows.values())})
    assert "star" not in text
    assert "dagger" not in text
    rows["mixed"] = outdated(rows["mixed"])
    text = accuracy_tables.accuracy_table({**results, "rows": list(rows.values())})
    assert "A star" in text
    rows = rows_of("level 0.6", shifted_plain=False)
    rows["plain"] = rows_of("size 2", shifted_plain=True)["plain"]
    text = accuracy_tables.accuracy_table({**results, "rows": list(rows.values())})
    assert "A dagger" in text


def test_networks_to_which_mixing_changes_nothing_are_marked():
    sizes = {}
    for run in RUNS:
        if run.data == "cifar10" and run.model == "vit_tiny_patch4" and run.setting:
            rows = [row_of(dataclasses.replace(run, way="plain", setting=None))]
            rows += [row_of(dataclasses.replace(run, way=x)) for x in WAYS]
            sizes[comparisons.network_name(rows[1]), run.setting] = line(rows)[2]
    blind = {key for key, size in sizes.items() if "‡" in size}
    vit = "vit_tiny_patch4, sorted"
    assert blind == {
        (vit, "size 2"), (vit, "size 4"), (f"{vit}, patch size 8", "size 8"),
        (f"{vit}, patch size 2", "size 2"),
    }  # fmt: skip
    assert len(sizes) > 12


def test_a_network_that_diverged_has_a_line():
    rows = rows_of("size 2", shifted_plain=True)
    del rows["mixed"]["training_seconds"]
    assert line(list(rows.values()))[-2] == "7 x 10, diverged"


def test_rows_come_in_the_order_of_the_preset():
    runs = [x for x in RUNS if x.data == "cifar10"]
    rows = [row_of(run) for run in reversed(runs)]
    unknown = {**rows[0], "model": "another"}
    found = comparisons.in_order([unknown, *rows], RUNS)
    places = list(dict.fromkeys((x["model"], x["setting"]) for x in found))
    assert places[:4] == [
        ("resnet20_cifar", None), ("resnet20_cifar", "size 2"),
        ("resnet20_cifar", "size 4"), ("resnet20_cifar", "size 8"),
    ]  # fmt: skip
    assert found[-1] is unknown
    assert len(found) == len(rows) + 1


@pytest.mark.parametrize(
    ("setting", "found", "expected"),
    [
        ("size 4", {}, "4"),
        ("size 4, scrambled", {}, "4, scrambled"),
        ("size 4", {"native_pixels_per_pixel": 2.5, "shape": [64, 64, 3]},
         "10.0 (4 of 64)"),
        ("size 4", {"native_pixels_per_pixel": None}, "4 of 32, resized"),
        ("level 0.6", {"mean_region_size": 4.25, "native_pixels_per_pixel": None},
         "level 0.6 (mean 4.2 of 32, resized)"),
        ("level 0.6", {}, "level 0.6"),
        ("level 0.6", {"mean_region_size": 4.25}, "level 0.6 (mean 4.2)"),
        ("level 0.6", {"mean_region_size": 4.25, "native_pixels_per_pixel": 2.0},
         "level 0.6 (mean 8.5)"),
    ],
)  # fmt: skip
def test_region_sizes_are_in_native_pixels(setting, found, expected):
    rows = rows_of(setting, shifted_plain=not setting.startswith("level"))
    rows = [row | found for row in rows.values()]
    assert line(rows)[2] == expected


def test_headlines_are_small_regions_and_a_level_of_cifar10():
    rows = [row_of(run) for run in RUNS]
    results = {"command": "python -m a --preset cpu", "rows": rows}
    text = accuracy_tables.headline_table(results)
    lines = [x.split(" | ") for x in text.splitlines() if x.startswith("| ")][2:]
    assert {x[1].removesuffix(" ‡") for x in lines} == {"2", "4", "level 0.6"}
    networks = {x.model for x in RUNS if x.data == "cifar10"}
    assert {x[0].strip("| ") for x in lines} >= networks
    assert lines[0][5] == "0.0 (0.0, 0.0)"
    assert "MNIST" not in text


def test_fine_tuned_networks_are_of_the_preset():
    weights = {"vit_b16.safetensors"}
    tuned = [x for x in table2_accuracy.runs("paper", weights) if x.weights]
    rows = [training_runs._identity(run) for run in tuned]
    results = {"command": "python -m a --preset paper", "rows": rows}
    runs = comparisons.runs_of(results)
    assert all(training_runs.is_done(run, rows) for run in tuned)
    assert sum(training_runs.is_done(run, rows) for run in runs) == len(tuned) > 0


def test_networks_are_named_by_their_options():
    options = {"patch_encoder": "sorted", "patch_size": 8, "position_embedding": False}
    row = {"model": "vit", "options": options}
    expected = "vit, sorted, patch size 8, no position embedding"
    assert comparisons.network_name(row) == expected
    run = dataclasses.asdict(RUNS[0])
    assert comparisons.network_name(run) == RUNS[0].model
    tuned = {**row, "options": {}, "weights": "a.safetensors"}
    assert comparisons.network_name(tuned) == "vit, fine-tuned"
