"""Tables and plots of docs/results.md: numbers worked out by hand."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from table_rows import RUNS, outdated, row_of

from experiments import (
    page,
    plots,
    recipe_ablation,
    record,
    results_page,
    results_plots,
    st_adam_ablation,
)
from experiments.frontier import TRAINED


def cells(text):
    """The rows of a table in Markdown."""
    lines = [line.split("|")[1:-1] for line in text.splitlines() if line[:1] == "|"]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_parts_of_the_recipe_are_beside_the_whole():
    runs = [x for x in recipe_ablation.runs("cpu") if x.model == "resnet8"]
    parts = [*recipe_ablation.PARTS, recipe_ablation.SORTED]
    accuracies = [0.5, 0.52, 0.47, *[0.4] * (len(parts) - 3)]
    rows = [
        row_of(run, mixed_accuracy=x, averaged_accuracy=x + 0.01, train_accuracy=0.6)
        for run, x in zip(runs, accuracies, strict=False)
    ]
    # Of a seed that the whole recipe was not trained with.
    rows.append({**rows[1], "seed": 1, "mixed_accuracy": 0.54})
    found = cells(results_page.recipe_table({"rows": rows}))
    assert found[:3] == [
        ["resnet8", "the whole recipe", "50.0 %", "", "51.0 %", "60.0 %", "1"],
        ["resnet8", "not shuffled again", "53.0 ± 1.4 %", "+2.0", "53.0 ± 0.0 %",
         "60.0 ± 0.0 %", "2"],
        ["resnet8", "no shifts", "47.0 %", "-3.0", "48.0 %", "60.0 %", "1"],
    ]  # fmt: skip
    assert [line[1] for line in found] == parts
    whole, no_shifts, *_ = (run for run in runs if run.way == "plain")
    rows.append(row_of(whole, plain_accuracy=0.8))
    rows.append(row_of(no_shifts, plain_accuracy=0.6))
    text = results_page.recipe_table({"rows": rows})
    assert [line[-3:] for line in cells(text)[:5]] == [
        ["80.0 %", "30.0", "1"], ["80.0 %", "28.0", "2"], ["60.0 %", "13.0", "1"],
        ["80.0 %", "40.0", "1"], ["", "", "1"],
    ]  # fmt: skip
    assert "| plain | drop | seeds |" in text


def test_the_largest_difference_of_a_set_is_shown():
    rows = [
        {"data": "mnist", "scrambled": scrambled, "vfe": vfe, "expected_vfe": 100.0}
        for scrambled, vfe in ((False, 101.0), (False, 98.0), (True, 100.5))
    ]
    found = cells(results_page.region_size_table({"rows": rows}))
    assert found == [["MNIST", "2.00 %", "0.50 %"]]


def gradients(**found):
    return {
        "data": "cifar10", "model": "m", "images": 5000, "steps": 101,
        "batch_size": 64, "setting": "size 2", "way": "fresh", "cosine": -0.05,
        "cosines": [0.1, 0.2],
        "noise": [
            {"square": 2.0, "variance": 4.0, "shuffling": 1.0},
            {"square": -0.1, "variance": 8.0, "shuffling": 0.4},
        ],
        **found,
    }  # fmt: skip


def test_noise_scales_are_in_images_and_none_where_there_is_only_noise():
    rows = [gradients(setting=None, way="plain", cosines=[0.0, 0.2]), gradients()]
    plain, mixed = cells(results_page.gradients_table({"rows": rows}))
    assert plain == ["m", "", "plain", "-0.050", "", "128, -", "", ""]
    # Differences of 0.1 and 0.
    assert mixed[2:] == [
        "fresh", "-0.050", "+0.050 ± 0.050", "128, -", "32, -", "25.0 %, 5.0 %"
    ]  # fmt: skip


SHOWN = {picture: [file] for file, (_, picture) in results_plots.PLOTS.items()} | {
    "frontier.png": ["attacks_cpu", TRAINED],
    "metric_validity.png": ["metric_validity_cpu"],
}


@pytest.mark.parametrize("picture", SHOWN)
def test_plots_show_the_committed_results(picture):
    results = [found for file in SHOWN[picture] if (found := record.read(file))]
    assert len(results) == len(SHOWN[picture])
    assert plots.digest_in(page.IMAGES / picture) == plots.digest(*results)


@pytest.fixture
def drawn(monkeypatch):
    """Figures, instead of files of them."""
    import matplotlib.pyplot as plt

    figures = []
    monkeypatch.setattr(
        results_plots.plots, "save", lambda figure, *_: figures.append(figure)
    )
    yield figures
    plt.close("all")


def test_accuracies_are_drawn_against_region_size(drawn, tmp_path):
    runs = [
        run for run in RUNS
        if (run.data, run.model) == ("cifar10", "resnet20_cifar") and run.seed == 0
        and run.setting != "size 4, scrambled"
    ]  # fmt: skip
    rows = []
    for run in runs:
        if run.setting == "level 0.6":
            continue
        size = 0 if run.setting is None else int(run.setting[5])
        shares = {"plain": 0.9 if run.recipe["crop"] else 0.8}
        shares |= {"mixed": 0.7 - size / 100, "thumbnail": 0.6 - size / 100}
        more = {"averaged_accuracy": 0.65} if run.way == "mixed" else {}
        found = {f"{run.way}_accuracy": shares[run.way], **more}
        rows.append(row_of(run, **found))
    # Of region size 4, only an earlier recipe's thumbnails.
    rows = [
        outdated(x) if (x["way"], x["setting"]) == ("thumbnail", "size 4") else x
        for x in rows
    ]
    # A network with two sizes, which make no line.
    others = [x for x in RUNS if (x.data, x.model) == ("cifar10", "swin_t_cifar")]
    rows += [row_of(run) for run in others]
    results = {"command": "python -m a --preset cpu", "rows": rows}
    results_plots.plot_accuracy(results, tmp_path / "a.png")
    ((axis,),) = (figure.axes for figure in drawn)
    assert axis.get_title() == "resnet20_cifar"
    lines = {x.get_label(): x for x in axis.get_lines() if x.get_label()[:1] != "_"}
    expected = {
        # Images in regions of 8 pixels are not shifted, and so nor are plain ones.
        "plain": [90, 90, 80],
        "mixed": [68, 66, 62],
        "mixed, averaged over shuffles": [65, 65, 65],
        "thumbnails": [58, 56, 52],
    }
    for label, shares in expected.items():
        np.testing.assert_array_equal(lines[label].get_xdata(), [2, 4, 8])
        np.testing.assert_allclose(lines[label].get_ydata(), shares)
    assert "hollow: earlier recipe" in lines
    hollow = [x for x in axis.get_lines() if x.get_color() == "white"]
    assert {tuple(x.get_xdata()) for x in hollow} == {(4,), ()}


def test_seeds_are_drawn_from_the_lowest_to_the_highest(drawn, tmp_path):
    rows = [
        row_of(run, **{f"{run.way}_accuracy": share + 0.1 * run.seed})
        for run in RUNS
        if (run.data, run.model) == ("cifar10", "resnet20_cifar")
        for share in [{"plain": 0.7, "mixed": 0.5, "thumbnail": 0.3}[run.way]]
    ]
    results = {"command": "python -m a --preset cpu", "rows": rows}
    results_plots.plot_accuracy(results, tmp_path / "a.png")
    ((axis,),) = (figure.axes for figure in drawn)
    lines = {x.get_label(): x for x in axis.get_lines()}
    np.testing.assert_allclose(lines["mixed"].get_ydata(), [55, 55, 55])
    mixed = axis.collections[2]
    assert mixed.get_color()[0][:3] == pytest.approx(to_rgb(lines["mixed"].get_color()))
    for size, ends in zip([2, 4, 8], mixed.get_segments(), strict=True):
        np.testing.assert_allclose(ends, [[size, 50], [size, 60]])


def test_held_back_accuracies_are_drawn_against_rates(drawn, tmp_path):
    preset = st_adam_ablation.PRESETS["cpu"]
    rows = [
        row_of(run, validation_accuracy=0.1 + i / 1000)
        for i, run in enumerate(
            st_adam_ablation.tuning(preset, st_adam_ablation.places(preset))
        )
    ]
    # Those of other seeds have no part in the choice.
    rows.append({**rows[0], "seed": 1, "validation_accuracy": 0.9})
    results_plots.plot_optimizers({"rows": rows}, tmp_path / "a.png")
    ((*axes,),) = (figure.axes for figure in drawn)
    assert [axis.get_title() for axis in axes] == [
        f"{model}, {images}"
        for model in preset.models
        for images in ("plain images", "mixed, size 4")
    ]
    lines = {line.get_label(): line for line in axes[1].get_lines()}
    assert list(lines) == list(preset.optimizers)
    adam = lines["Adam"]
    np.testing.assert_array_equal(adam.get_xdata(), preset.rates)
    expected = [
        100 * row["validation_accuracy"]
        for row in rows
        if row["recipe"]["optimizer"] == "adam"
        and (row["model"], row["setting"]) == ("resnet8", "size 4")
    ]
    np.testing.assert_allclose(adam.get_ydata(), expected)


def test_shares_of_noise_are_drawn_over_the_steps(drawn, tmp_path):
    rows = [gradients(setting=None, way="plain"), gradients()]
    results_plots.plot_gradients({"rows": rows}, tmp_path / "a.png")
    ((_, noise),) = (figure.axes for figure in drawn)
    lines = {line.get_label(): line for line in noise.get_lines()}
    mixed = lines["mixed, size 2, fresh"]
    np.testing.assert_allclose(mixed.get_xdata(), [50.5, 101])
    np.testing.assert_allclose(mixed.get_ydata(), [25, 5])
    assert "plain" in lines
