"""Table II as a table: whose seeds are compared, and what is outdated."""

from experiments import accuracy_tables, table2_accuracy, training_runs


def accuracies(way: str, seed: int, **found: float):
    setting = None if way == "plain" else "size 2"
    return {
        "data": "cifar10", "model": "m", "options": {}, "setting": setting, "way": way,
        "seed": seed, "native_pixels_per_pixel": 1.0, "shape": [32, 32, 3],
        "train_images": 7, "recipe": {"epochs": 1, "crop": 4}, "tested": 9,
        "training_seconds": 1,
        **found,
    }  # fmt: skip


def test_accuracies_are_compared_over_the_seeds_that_all_have():
    rows = [
        accuracies("plain", 0, plain_accuracy=0.8),
        accuracies("mixed", 0, mixed_accuracy=0.6, averaged_accuracy=0.7),
        accuracies("thumbnail", 0, thumbnail_accuracy=0.5, averaged_accuracy=0.55),
        accuracies("mixed", 1, mixed_accuracy=0.1),
    ]

    def line(rows):
        results = {"command": "python -m a --preset cpu", "rows": rows}
        text = accuracy_tables.accuracy_table(results)
        return [cell.strip() for cell in text.splitlines()[-1].split("|")][1:-1]

    expected = ["CIFAR-10", "m", "2 *", "80.0 %", "60.0 %", "70.0 %"]
    expected += ["50.0 %, averaged 55.0 %", "20.0", "", "", "7 x 1, 1 s", "1"]
    assert line(rows) == expected
    rows += [
        accuracies("plain", 1, plain_accuracy=0.6),
        accuracies("thumbnail", 1, thumbnail_accuracy=0.1),
    ]
    assert line(rows)[3:5] == ["70.0 ± 14.1 %", "35.0 ± 35.4 %"]
    assert line(rows)[7:] == ["35.0", "", "", "7 x 1, 1 s", "2"]


def test_what_was_measured_with_an_earlier_recipe_gets_a_star():
    run = next(run for run in table2_accuracy.runs("cpu") if run.setting == "size 2")
    rows = []
    for way in ("plain", "mixed", "thumbnail"):
        row = accuracies(way, 0, **{f"{way}_accuracy": 0.5})
        today = next(
            x for x in table2_accuracy.runs("cpu")
            if (x.model, x.way, x.setting) == (run.model, way, row["setting"])
        )  # fmt: skip
        rows.append({**row, **training_runs._identity(today)})
    results = {"command": "python -m a --preset cpu", "rows": rows}
    assert "A star marks" not in accuracy_tables.accuracy_table(results)
    rows[1]["recipe"] = {**rows[1]["recipe"], "crop": 1}
    text = accuracy_tables.accuracy_table(results)
    assert "A star marks" in text
    assert "| 2 * |" in text


def test_fine_tuned_networks_are_of_the_preset():
    weights = {"vit_b16.safetensors"}
    tuned = [x for x in table2_accuracy.runs("paper", weights) if x.weights]
    rows = [training_runs._identity(run) for run in tuned]
    results = {"command": "python -m a --preset paper", "rows": rows}
    runs = accuracy_tables.runs_of(results)
    assert all(training_runs.is_done(run, rows) for run in tuned)
    assert sum(training_runs.is_done(run, rows) for run in runs) == len(tuned) > 0


def test_plain_images_are_shifted_as_mixed_ones_are():
    def unshifted(way, **accuracy):
        return {**accuracies(way, 0, **accuracy), "recipe": {"epochs": 1, "crop": 0}}

    shifted, still = (
        accuracies("plain", 0, plain_accuracy=0.8),
        unshifted("plain", plain_accuracy=0.7),
    )
    assert accuracy_tables.plain_of([shifted, still]) == [shifted]
    assert accuracy_tables.plain_of([shifted, still], 4) == [shifted]
    assert accuracy_tables.plain_of([shifted, still], 0) == [still]
    assert accuracy_tables.plain_of([shifted], 0) == [shifted]
    mixed = unshifted("mixed", mixed_accuracy=0.6)
    thumbnails = unshifted("thumbnail", thumbnail_accuracy=0.5)
    rows = [shifted, still, mixed, thumbnails]
    results = {"command": "python -m a --preset cpu", "rows": rows}
    assert "| 70.0 % | 60.0 % |" in accuracy_tables.accuracy_table(results)


def test_networks_are_named_by_their_options():
    options = {"patch_encoder": "sorted", "patch_size": 8, "position_embedding": False}
    row = {"model": "vit", "options": options}
    expected = "vit, sorted, patch size 8, no position embedding"
    assert accuracy_tables.network(row) == expected
