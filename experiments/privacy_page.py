"""The tables and plots of `docs/privacy.md`, made of committed results."""

import functools
from collections.abc import Mapping
from typing import Any

from experiments import audit_tables, distortions, metric_validity, network_tables
from experiments.frontier import frontier_table
from experiments.page import (
    IMAGES,
    ROOT,
    Section,
    data_name,
    replace_sections,
    table,
)
from experiments.privacy_plots import plot_frontiers, plot_validity
from experiments.privacy_scores import (
    MARKS,
    NOT_TRIED,
    best_picture,
    conclusive,
    control_of,
    score_of,
    with_interval,
)
from experiments.record import read

PAGE = ROOT / "docs" / "privacy.md"
_METRICS = {
    "vfe": "VFE",
    "level": "level",
    "gearys_c": "Geary's C",
    "arrangement_bits": "bits of arrangement",
}
_OUTCOMES = {"best_ssim": "best SSIM", "recognised": "share recognised"}


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
                f"{attack['score']:.2f}" if attack else NOT_TRIED
                for attack in (
                    score_of(row, name, "SSIM")
                    for name in (
                        "as published",
                        "thumbnail",
                        "multiset assignment",
                        "learned inversion",
                    )
                )
            ),
            MARKS[best_picture(row)["verdict"]],
        )
        for row in rows
    ]
    blind = best_picture(rows[0])["chance"]
    return "\n\n".join(
        [
            f"SSIM with the original, the mean of {rows[0]['images']} test images. The "
            f"best blind guess has {blind:.2f}.",
            table(heads, cells),
        ]
    )


def recognition_table(results: Mapping[str, Any], data: str, attribute: str) -> str:
    """Returns what classifiers made of a data set, and of an attribute."""
    heads = (
        "setting", "label, plain-trained", "label, thumbnails", "label, adapted",
        f"{attribute}, adapted",
    )  # fmt: skip
    cells = []
    chosen = [
        row
        for row in results["rows"]
        if row["data"] == data and score_of(row, "recognition, adapted")
    ]
    for row in chosen:
        asked = (
            ("recognition, plain-trained", "label"),
            ("recognition of thumbnails, plain-trained", "label"),
            ("recognition, adapted", "label"),
            ("recognition, adapted", attribute),
        )
        found = (with_interval(score_of(row, *x), ".0%") for x in asked)
        cells.append((row["setting"], *found))
    label, second = (
        score_of(chosen[0], "recognition, adapted", metric)
        for metric in ("label", attribute)
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
        f"{data_name(name)}, {short}" for name in names for short in ways.values()
    ]
    cells = []
    for setting in settings:
        found = [
            score_of(by_place[name, setting], f"linkage by {way}", "rank-1")
            for name in names
            for way in ways
        ]
        cells.append(
            [setting] + [f"{x['score']:.0%}" if x else NOT_TRIED for x in found]
        )
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
        heads += [f"{data_name(name)} (blind guess: {blind:.2f})", "by", "see"]
    cells = []
    moving = [row["setting"] for row in results["rows"] if row["setting"] != "size 1"]
    for setting in dict.fromkeys(moving):
        line = [setting]
        for name in names:
            best = best_picture(by_place[name, setting])
            line += [with_interval(best), best["name"], MARKS[best["verdict"]]]
        cells.append(line)
    return "\n\n".join([table(heads, cells), *_measured_again(results)])


def _measured_again(results: Mapping[str, Any]) -> list[str]:
    """Returns which rows replace others, and why, as sentences."""
    made = {
        (row["data"], row["commit"], row["measured_again"]): None
        for row in results["rows"]
        if "measured_again" in row
    }
    return [
        f"{data_name(data)} was attacked again, with commit `{commit}`: {why}."
        for data, commit, why in made
    ]


def jigsaw_table(results: Mapping[str, Any], pieces: str) -> str:
    """Returns what the jigsaw solver made of "regions" or of "pixels"."""
    heads = (
        "setting", f"{pieces} in place; chance", "neighbours joined; chance",
        "largest part; chance", "ordinary puzzle, neighbours joined, of what it takes",
    )  # fmt: skip
    cells = []
    for row in results["rows"]:
        place = score_of(row, "jigsaw", f"{pieces} in place")
        joined = score_of(row, "jigsaw", f"neighbouring {pieces}")
        part = score_of(row, "jigsaw", "largest part")
        if place is None or joined is None or part is None:
            continue
        found = [f"{conclusive(x)}; {x['chance']:.2f}" for x in (place, joined, part)]
        setting = f"{data_name(row['data'])}, {row['setting']}"
        cells.append((setting, *found, control_of(joined)))
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
        ends = f"{row['low']:+.2f} to {row['high']:+.2f}"
        line.append(f"{row['rho']:+.2f} ({ends})")
    measured = len(results["rows"])
    wanted = sum(len(ways) for ways in distortions.WAYS.values())
    words = f"{measured} of {wanted} ways have been measured."
    if measured < wanted:
        words += " What takes the others is left out."
    parts = [words, table(heads, list(cells.values()))]
    return "\n\n".join([*parts, *_computed_again(results)])


def _computed_again(results: Mapping[str, Any]) -> list[str]:
    """Returns which metrics were put right later, as sentences."""
    ways: dict[tuple[str, str], list[str]] = {}
    for row in results["rows"]:
        if "computed_again" in row:
            made = row["computed_again"]
            what = " and ".join(_METRICS[name] for name in made["metrics"])
            ways.setdefault((what, made["commit"]), []).append(f"*{row['way']}*")
    return [
        f"Computed again, of the same images, with commit `{commit}`: {what} of "
        f"{' and '.join(names)}."
        for (what, commit), names in ways.items()
    ]


def gan_table(results: Mapping[str, Any]) -> str:
    """Returns how many samples were known again."""
    heads = ("trained on", "samples known again", "images themselves known")
    cells = [
        (
            row["way"],
            *(
                with_interval(
                    {"score": x["value"], "low": x["low"], "high": x["high"]},
                    ".0%",
                )
                for x in (row["known_again"], row["published_known"])
            ),
        )
        for row in results["rows"]
    ]
    return table(heads, cells)


def placing_table(results: Mapping[str, Any]) -> str:
    """Returns how near scrambled regions, put in likely places, come to pictures."""
    heads = ("data", "region size", "metric", "score", "chance", "control, of what it "
             "takes", "verdict")  # fmt: skip
    cells = [
        (
            data_name(row["data"]),
            row["setting"].removeprefix("size ").removesuffix(", scrambled"),
            score["metric"],
            f"{score['score']:.{digits}f} ({score['low']:.{digits}f} to "
            f"{score['high']:.{digits}f})",
            f"{score['chance']:.{digits}f}",
            f"{score['control']['score']:.{digits}f} of "
            f"{score['control']['needed']:.{digits}f}",
            MARKS[score["verdict"]],
        )
        for row in results["rows"]
        for score, digits in zip(row["scores"], (3, 2), strict=True)
    ]
    first = results["rows"][0]
    words = (
        f"{first['images']} test images, regions scrambled; the attacker has "
        f"{first['auxiliary']:,} others."
    )
    return f"{words}\n\n{table(heads, cells)}"


def sub_blocks_table(results: Mapping[str, Any]) -> str:
    """Returns how many blocks came back to their places."""
    ways = {
        "blocks in place": "in_place",
        "neighbours joined": "neighbours",
        "largest part": "largest_part",
    }
    heads = (
        "images",
        "block in region, pixels",
        *(f"{x}; chance" for x in ways),
        "SSIM",
    )
    cells = []
    for row in results["rows"]:
        low, high = (f"{row['ssim'][end]:.2f}" for end in ("low", "high"))
        cells.append(
            (
                f"{row['images']} of {data_name(row['data'])}",
                f"{row['block']} in {row['region']}",
                *(
                    f"{row[key]['value']:.0%} ({row[key]['low']:.0%} to "
                    f"{row[key]['high']:.0%}); {row[key]['chance']:.0%}"
                    for key in ways.values()
                ),
                f"{row['ssim']['value']:.2f} ({low} to {high})",
            )
        )
    return table(heads, cells)


SECTIONS: Mapping[str, Section] = {
    "settings": Section("attacks_cpu", settings_table),
    "other data": Section("attacks_cpu", other_data_table),
    "recognition": Section(
        "attacks_cpu",
        functools.partial(
            recognition_table, data="cifar10", attribute="animal or vehicle"
        ),
    ),
    "frontier": Section(
        "attacks_cpu",
        frontier_table,
        "![Labels recognised, against the best reconstruction](images/frontier.png)",
    ),
    "linkage": Section("attacks_cpu", linkage_table),
    "jigsaw, regions": Section(
        "attacks_cpu", functools.partial(jigsaw_table, pieces="regions")
    ),
    "jigsaw, pixels": Section(
        "attacks_cpu", functools.partial(jigsaw_table, pieces="pixels")
    ),
    "sub-blocks": Section("sub_blocks_cpu", sub_blocks_table),
    "placing": Section("scrambled_regions_cpu", placing_table),
    "validity": Section(
        "metric_validity_cpu",
        validity_table,
        "![Level and Geary's C against the best reconstruction]"
        "(images/metric_validity.png)",
    ),
    "pictures": Section("audit_full_cpu", audit_tables.pictures_table),
    "keys": Section("audit_full_cpu", audit_tables.keys_table),
    "membership": Section("audit_full_cpu", audit_tables.membership_table),
    "networks, pictures": Section(
        "attacks_networks_cpu", network_tables.pictures_table
    ),
    "networks, membership": Section(
        "attacks_networks_cpu", network_tables.membership_table
    ),
    "networks, accuracies": Section(
        "attacks_networks_cpu", network_tables.accuracies_list
    ),
    "digits": Section(
        "attacks_networks_cpu",
        functools.partial(
            recognition_table, data="mnist", attribute="odd or even digit"
        ),
    ),
    "gan": Section("gan_samples_cpu", gan_table),
}


def write() -> None:
    """Writes the plots, and the sections into the page."""
    replace_sections(PAGE, SECTIONS)
    for file, plot, picture in (
        ("attacks_cpu", plot_frontiers, "frontier.png"),
        ("metric_validity_cpu", plot_validity, "metric_validity.png"),
    ):
        if (results := read(file)) is not None:
            plot(results, IMAGES / picture)
