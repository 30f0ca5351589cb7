"""Use against leak: what networks learn, beside what attackers see.

Two budgets. The attackers' classifiers, and all attacks, come from `attacks`; networks
that an owner's partner would train, on mixed images or on thumbnails, from Table II.
Both mix CIFAR-10 with the same settings.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments.comparisons import Row, compared, mean, networks, usual_plain
from experiments.page import Results, made_by, table
from experiments.privacy_scores import best_picture, pictures
from experiments.record import read

TRAINED = "table2_accuracy_gpu"
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
    on_cifar10 = networks(trained, "cifar10")
    found = []
    for row in attacks["rows"]:
        if row["data"] != "cifar10":
            continue
        mixed: list[Use] = []
        thumbnails: list[Use] = []
        for network in on_cifar10:
            if (ways := compared(network, row["setting"])) is not None:
                of_it = network.name, " *" if ways.outdated else ""
                mixed += _uses(ways.mixed, "mixed_accuracy", *of_it)
                thumbnails += _uses(ways.thumbnails, "thumbnail_accuracy", *of_it)
        enlarged = pictures(row).get("thumbnail")
        if not mixed or enlarged is None:
            continue
        seen = best_picture(row)
        best = max(mixed), seen, max(thumbnails), enlarged
        found.append(Point(row["setting"], *best))
    return found


def _uses(rows: list[Row], metric: str, network: str, star: str) -> list[Use]:
    """Returns the accuracy of a network, and that averaged over shuffles, if any."""
    both = (mean(rows, name) for name in (metric, "averaged_accuracy"))
    return [Use(x, network, star) for x in both if x is not None]


def plain_use(trained: Results) -> Use:
    """Returns the best network that was trained on plain CIFAR-10."""
    found: list[Use] = []
    for network in networks(trained, "cifar10"):
        rows, outdated = usual_plain(network)
        star = " *" if outdated else ""
        found += _uses(rows, "plain_accuracy", network.name, star)
    return max(found)


def frontier_table(attacks: Results) -> str:
    """Returns use and leak of mixed images beside those of their thumbnails."""
    trained = read(TRAINED)
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
    words = (
        f"Labels: {first['train_images']:,} training images, "
        f"{first['recipe']['epochs']} epochs, {first['tested']:,} test images; plain "
        f"images: {plain.accuracy:.1%} by {plain.network}{plain.star}. A star: with an "
        "earlier recipe."
    )
    return "\n\n".join([words, table(heads, cells), made_by(trained)])


def plot_frontier(
    attacks: Results, trained: Results, axis, colors: Mapping[str, str]
) -> None:
    """Draws mixed images and their thumbnails: use against leak.

    Args:
      attacks: what attackers got.
      trained: what networks learned.
      axis: to draw on.
      colors: of settings.
    """
    for x in points(attacks, trained):
        color = colors[x.setting]
        across = [x.seen["score"], x.enlarged["score"]]
        up = [x.mixed.accuracy, x.thumbnail.accuracy]
        axis.plot(across, up, "-", color=color, linewidth=0.7)
        axis.plot(across[0], up[0], "o", color=color, label=x.setting)
        axis.plot(across[1], up[1], "s", color=color, markerfacecolor="white")
    plain = plain_use(trained)
    axis.axhline(plain.accuracy, color="grey", linewidth=0.8)
    axis.text(0.02, plain.accuracy + 0.01, "plain images", color="grey")
    axis.axhline(_CHANCE, color="grey", linewidth=0.8, linestyle=":")
    axis.text(0.02, _CHANCE + 0.01, "chance", color="grey")
