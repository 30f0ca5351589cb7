"""The tables and plots of `docs/privacy.md`, made of committed results."""

import pathlib
from collections.abc import Mapping
from typing import Any

from experiments import distortions, metric_validity
from experiments.page import IMAGES, ROOT, Section, replace_sections, table
from experiments.record import read

PAGE = ROOT / "docs" / "privacy.md"
_NAMES = {"cifar10": "CIFAR-10", "mnist": "MNIST", "imagenette/160px-v2": "Imagenette"}
_MARKS = {"leaks": "**leaks**", "at chance": "at chance", "partial": "partial"}
_METRICS = {
    "vfe": "VFE",
    "level": "level",
    "gearys_c": "Geary's C",
    "arrangement_bits": "bits of arrangement",
}
_OUTCOMES = {"best_ssim": "best SSIM", "recognised": "share recognised"}


def pictures(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the SSIM of each attack that reconstructs images, where it works."""
    return {
        attack["name"]: attack
        for attack in row["attacks"]
        if attack["metric"] == "SSIM"
        and "other kind" not in attack["name"]
        and attack["verdict"] != "inconclusive"
    }


def best_picture(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the score of the attack that comes nearest to the originals."""
    return max(pictures(row).values(), key=lambda attack: attack["score"])


def _score(row, name: str, metric: str = "") -> dict[str, Any] | None:
    for attack in row["attacks"]:
        if attack["name"] == name and attack["metric"].startswith(metric):
            return attack
    return None


def _with_interval(attack: Mapping[str, Any] | None, *, share: bool = False) -> str:
    if attack is None:
        return ""
    numbers = [attack[name] for name in ("score", "low", "high")]
    value, low, high = (f"{x:.0%}" if share else f"{x:.2f}" for x in numbers)
    return f"{value} ({low.rstrip('%')} to {high})"


def settings_table(results: Mapping[str, Any]) -> str:
    """Returns what the attacks got out of CIFAR-10 at each setting."""
    rows = [row for row in results["rows"] if row["data"] == "cifar10"]
    heads = (
        "setting", "level by VFE", "as published", "thumbnail", "multiset",
        "learned inversion", "see",
    )  # fmt: skip
    cells = [
        (
            row["setting"],
            f"{row['suggested_by_vfe']:.2f}",
            *(
                f"{attack['score']:.2f}" if attack else ""
                for attack in (
                    _score(row, name, "SSIM")
                    for name in (
                        "as published",
                        "thumbnail",
                        "multiset assignment",
                        "learned inversion",
                    )
                )
            ),
            _MARKS[best_picture(row)["verdict"]],
        )
        for row in rows
    ]
    blind = best_picture(rows[0])["chance"]
    return "\n\n".join(
        [
            f"SSIM with the original, the mean of {rows[0]['images']} test images. A "
            f"picture of one colour, each image's mean, has {blind:.2f}.",
            table(heads, cells),
        ]
    )


def recognition_table(results: Mapping[str, Any]) -> str:
    """Returns what classifiers made of CIFAR-10."""
    heads = (
        "setting", "label, plain-trained", "label, thumbnails", "label, adapted",
        "animal or vehicle, adapted",
    )  # fmt: skip
    cells = []
    chosen = [row for row in results["rows"] if _score(row, "recognition, adapted")]
    for row in chosen:
        asked = (
            ("recognition, plain-trained", "label"),
            ("recognition of thumbnails, plain-trained", "label"),
            ("recognition, adapted", "label"),
            ("recognition, adapted", "animal or vehicle"),
        )
        found = (_with_interval(_score(row, *x), share=True) for x in asked)
        cells.append((row["setting"], *found))
    label, second = (
        _score(chosen[0], "recognition, adapted", metric)
        for metric in ("label", "animal or vehicle")
    )
    assert label is not None
    assert second is not None
    return "\n\n".join(
        [
            f"Chance is {label['chance']:.0%} for the label and {second['chance']:.0%} "
            "for the attribute; the plain-trained network gets "
            f"{label['control']['score']:.0%} and {second['control']['score']:.0%} of "
            f"the originals right. It saw {chosen[0]['auxiliary']:,} images.",
            table(heads, cells),
        ]
    )


def linkage_table(results: Mapping[str, Any]) -> str:
    """Returns how often the right original was found, by data set and setting."""
    names = list(dict.fromkeys(row["data"] for row in results["rows"]))
    settings = list(dict.fromkeys(row["setting"] for row in results["rows"]))
    by_place = {(row["data"], row["setting"]): row for row in results["rows"]}
    ways = {
        "sorted values": "values",
        "thumbnail": "thumbnail",
        "perceptual hash": "hash",
    }
    heads = ["setting"] + [
        f"{_NAMES[name]}, {short}" for name in names for short in ways.values()
    ]
    cells = []
    for setting in settings:
        found = [
            _score(by_place[name, setting], f"linkage by {way}", "rank-1")
            for name in names
            for way in ways
        ]
        cells.append([setting] + [f"{x['score']:.0%}" if x else "" for x in found])
    return table(heads, cells)


def other_data_table(results: Mapping[str, Any]) -> str:
    """Returns the best SSIM on the other data sets."""
    names = [
        name
        for name in dict.fromkeys(row["data"] for row in results["rows"])
        if name != "cifar10"
    ]
    by_place = {(row["data"], row["setting"]): row for row in results["rows"]}
    heads = ["setting"]
    for name in names:
        row = next(row for row in results["rows"] if row["data"] == name)
        blind = best_picture(row)["chance"]
        heads += [f"{_NAMES[name]} (one colour: {blind:.2f})", "by"]
    cells = []
    moving = [row["setting"] for row in results["rows"] if row["setting"] != "size 1"]
    for setting in dict.fromkeys(moving):
        line = [setting]
        for name in names:
            best = best_picture(by_place[name, setting])
            line += [_with_interval(best), best["name"]]
        cells.append(line)
    return table(heads, cells)


def jigsaw_table(results: Mapping[str, Any]) -> str:
    """Returns what the jigsaw solver made of scrambled regions of CIFAR-10."""
    heads = ("setting", "regions in place", "chance", "neighbours joined", "chance")
    cells = []
    for row in results["rows"]:
        place = _score(row, "jigsaw", "regions in place")
        joined = _score(row, "jigsaw", "neighbouring regions")
        if place is None or joined is None:
            continue
        found = [_with_interval(place), f"{place['chance']:.3f}"]
        found += [_with_interval(joined), f"{joined['chance']:.3f}"]
        cells.append((f"{_NAMES[row['data']]}, {row['setting']}", *found))
    return table(heads, cells)


def validity_table(results: Mapping[str, Any]) -> str:
    """Returns the correlations of metrics with outcomes."""
    found = metric_validity.correlations(results["rows"])
    heads = ("over", "ways", "metric", *_OUTCOMES.values())
    cells: dict[tuple[str, str], list[str]] = {}
    for row in found:
        line = cells.setdefault(
            (row["scope"], row["metric"]),
            [row["scope"], str(row["ways"]), _METRICS[row["metric"]]],
        )
        line.append(f"{row['rho']:+.2f}")
    measured = len(results["rows"])
    wanted = sum(len(ways) for ways in distortions.WAYS.values())
    words = f"{measured} of {wanted} ways have been measured."
    if measured < wanted:
        words += " What takes the others is left out."
    return f"{words}\n\n{table(heads, list(cells.values()))}"


def gan_table(results: Mapping[str, Any]) -> str:
    """Returns how many samples were known again."""
    heads = ("trained on", "samples known again", "images themselves known")
    cells = [
        (
            row["way"],
            *(
                _with_interval(
                    {"score": x["value"], "low": x["low"], "high": x["high"]},
                    share=True,
                )
                for x in (row["known_again"], row["published_known"])
            ),
        )
        for row in results["rows"]
    ]
    return table(heads, cells)


SECTIONS: Mapping[str, Section] = {
    "settings": Section("attacks_cpu", settings_table),
    "other data": Section("attacks_cpu", other_data_table),
    "recognition": Section("attacks_cpu", recognition_table),
    "linkage": Section("attacks_cpu", linkage_table),
    "jigsaw": Section("attacks_cpu", jigsaw_table),
    "validity": Section(
        "metric_validity_cpu",
        validity_table,
        "![Level and Geary's C against the best reconstruction]"
        "(images/metric_validity.png)",
    ),
    "gan": Section("gan_samples_cpu", gan_table),
}


def plot_frontier(results: Mapping[str, Any], path: pathlib.Path) -> None:
    """Draws use against leak: recognition of the label, and the best picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in results["rows"] if _score(row, "recognition, adapted")]
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for row in rows:
        use, best = _score(row, "recognition, adapted", "label"), best_picture(row)
        assert use is not None
        axis.errorbar(
            best["score"],
            use["score"],
            xerr=[[best["score"] - best["low"]], [best["high"] - best["score"]]],
            yerr=[[use["score"] - use["low"]], [use["high"] - use["score"]]],
            fmt="o",
        )
        axis.annotate(
            row["setting"],
            (best["score"], use["score"]),
            textcoords="offset points",
            xytext=(6, 6),
        )
    one = _score(rows[0], "recognition, adapted", "label")
    assert one is not None
    axis.axhline(one["control"]["score"], color="grey", linewidth=0.8)
    axis.text(0.02, one["control"]["score"] + 0.01, "plain images", color="grey")
    axis.axhline(one["chance"], color="grey", linewidth=0.8, linestyle=":")
    axis.text(0.02, one["chance"] + 0.01, "chance", color="grey")
    axis.set(xlim=(0, 1.1), ylim=(0, 1))
    axis.set_xlabel("SSIM of the best reconstruction (what leaks)")
    axis.set_ylabel("labels recognised (use)")
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def plot_validity(results: Mapping[str, Any], path: pathlib.Path) -> None:
    """Draws level and Geary's C against the best picture, by family."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 2, figsize=(9, 3.6), sharey=True, layout="constrained"
    )
    families = list(dict.fromkeys(row["family"] for row in results["rows"]))
    for axis, metric in zip(axes, ("level", "gearys_c"), strict=True):
        for family in families:
            points = [
                (row[metric], row["best_ssim"])
                for row in results["rows"]
                if row["family"] == family
            ]
            axis.plot(*zip(*points, strict=True), "o", label=family, markersize=5)
        axis.set_xlabel("level that VFE suggests" if metric == "level" else "Geary's C")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("SSIM of the best reconstruction")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write() -> None:
    """Writes the plots, and the sections into the page."""
    replace_sections(PAGE, SECTIONS)
    for file, plot, picture in (
        ("attacks_cpu", plot_frontier, "frontier.png"),
        ("metric_validity_cpu", plot_validity, "metric_validity.png"),
    ):
        if (results := read(file)) is not None:
            plot(results, IMAGES / picture)
