"""Use against leak: what networks learn, beside what attackers see.

Two budgets. The attackers' classifiers, and all attacks, come from `attacks`; networks
that an owner's partner would train, on mixed images or on thumbnails, from Table II.
Both mix CIFAR-10 with the same settings.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments import accuracy_tables
from experiments.page import Results, made_by, table
from experiments.privacy_scores import best_picture, pictures
from experiments.record import read
from experiments.training_runs import Run

_TRAINED = "table2_accuracy_gpu"
_CHANCE = 0.1  # CIFAR-10 has ten classes, of one size each.


class Use(NamedTuple):
    """The best of the networks of Table II, on the same images.

    Attributes:
      accuracy: a mean over seeds.
      network: its name.
      star: not empty if it was measured with an earlier recipe.
    """

    accuracy: float
    network: str
    star: str = ""


class Point(NamedTuple):
    """A setting, as published in two ways.

    Attributes:
      setting: its name.
      mixed: use of the mixed images.
      seen: the best picture that attackers got of them.
      thumbnail: use of their thumbnails.
      enlarged: what enlarging a thumbnail gives.
    """

    setting: str
    mixed: Use
    seen: Mapping[str, Any]
    thumbnail: Use
    enlarged: Mapping[str, Any]


def points(attacks: Results, trained: Results) -> list[Point]:
    """Returns the settings of CIFAR-10 that were attacked, and trained on both ways."""
    rows = [row for row in trained["rows"] if row["data"] == "cifar10"]
    runs = accuracy_tables.runs_of(trained)
    found = []
    for row in attacks["rows"]:
        if row["data"] != "cifar10":
            continue
        here = [x for x in rows if x["setting"] == row["setting"]]
        mixed, thumbnail = (
            best_use([x for x in here if x["way"] == way], runs, f"{way}_accuracy")
            for way in ("mixed", "thumbnail")
        )
        enlarged = pictures(row).get("thumbnail")
        if mixed is None or thumbnail is None or enlarged is None:
            continue
        seen = best_picture(row)
        found.append(Point(row["setting"], mixed, seen, thumbnail, enlarged))
    return found


def best_use(
    rows: Sequence[Mapping[str, Any]], runs: Sequence[Run], metric: str
) -> Use | None:
    """Returns the network with the highest accuracy, or None.

    Args:
      rows: of Table II, one way to show images.
      runs: those of today.
      metric: name of the accuracy; that over several shuffles counts if it is higher.
    """
    found = []
    for network, here in accuracy_tables.by_network(rows).items():
        (here,), star = accuracy_tables.newest([here], runs)
        for name in (metric, "averaged_accuracy"):
            accuracy = accuracy_tables.mean(here, name)
            found += [] if accuracy is None else [Use(accuracy, network, star)]
    return max(found, default=None)


def plain_use(trained: Results) -> Use | None:
    """Returns the best network that was trained on plain CIFAR-10."""
    rows = [row for row in trained["rows"] if row["data"] == "cifar10"]
    networks = accuracy_tables.by_network(rows).values()
    plain = [row for here in networks for row in accuracy_tables.plain_of(here)]
    return best_use(plain, accuracy_tables.runs_of(trained), "plain_accuracy")


def frontier_table(attacks: Results) -> str:
    """Returns use and leak of mixed images beside those of their thumbnails."""
    trained = read(_TRAINED)
    assert trained is not None
    heads = (
        "setting", "mixed: labels", "by", "mixed: best SSIM", "thumbnail: labels", "by",
        "thumbnail: SSIM, enlarged",
    )  # fmt: skip
    cells = [
        (
            x.setting + (x.mixed.star or x.thumbnail.star),
            f"{x.mixed.accuracy:.1%}",
            x.mixed.network,
            f"{x.seen['score']:.2f}",
            f"{x.thumbnail.accuracy:.1%}",
            x.thumbnail.network,
            f"{x.enlarged['score']:.2f}",
        )
        for x in points(attacks, trained)
    ]
    plain, first = plain_use(trained), trained["rows"][0]
    assert plain is not None
    words = (
        f"Labels: {first['train_images']:,} training images, "
        f"{first['recipe']['epochs']} epochs, {first['tested']:,} test images; plain "
        f"images: {plain.accuracy:.1%} by {plain.network}. A star: with an earlier "
        "recipe."
    )
    return "\n\n".join([words, table(heads, cells), made_by(trained)])


def plot_frontier(attacks: Results, axis, colors: Mapping[str, str]) -> None:
    """Draws mixed images and their thumbnails: use against leak.

    Args:
      attacks: what attackers got.
      axis: to draw on.
      colors: of settings.
    """
    trained = read(_TRAINED)
    assert trained is not None
    for x in points(attacks, trained):
        color = colors[x.setting]
        across = [x.seen["score"], x.enlarged["score"]]
        up = [x.mixed.accuracy, x.thumbnail.accuracy]
        axis.plot(across, up, "-", color=color, linewidth=0.7)
        axis.plot(across[0], up[0], "o", color=color, label=x.setting)
        axis.plot(across[1], up[1], "s", color=color, markerfacecolor="white")
    plain = plain_use(trained)
    assert plain is not None
    axis.axhline(plain.accuracy, color="grey", linewidth=0.8)
    axis.text(0.02, plain.accuracy + 0.01, "plain images", color="grey")
    axis.axhline(_CHANCE, color="grey", linewidth=0.8, linestyle=":")
    axis.text(0.02, _CHANCE + 0.01, "chance", color="grey")
