"""Which rows of Table II are compared: mixed images, their thumbnails, plain ones."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from experiments import table2_accuracy
from experiments.page import Results
from experiments.training_runs import Run, is_of

Row: TypeAlias = Mapping[str, Any]


class Network(NamedTuple):
    """The rows of a network on a data set.

    Attributes:
      name: of the network, with its options.
      settings: of the mixing, in the order of the preset.
      today: rows that runs of today's recipes left.
      earlier: those of earlier recipes.
    """

    name: str
    settings: list[str]
    today: list[Row]
    earlier: list[Row]


class Compared(NamedTuple):
    """A network at one setting, trained in three ways, with the same seeds.

    Attributes:
      plain: rows, one a seed; so are the others.
      mixed: of the setting.
      thumbnails: of the same mixed images.
      outdated: whether some were measured with an earlier recipe.
      other_shifts: whether only one of plain and mixed images were shifted.
    """

    plain: list[Row]
    mixed: list[Row]
    thumbnails: list[Row]
    outdated: bool
    other_shifts: bool

    @property
    def drops(self) -> list[float]:
        """What mixing costs, in points, of each seed."""
        return gains(self.plain, self.mixed)


def networks(results: Results, data: str) -> list[Network]:
    """Returns the networks that were trained on a data set, in the preset's order."""
    runs = runs_of(results)
    found: dict[str, Network] = {}
    for row in in_order([row for row in results["rows"] if row["data"] == data], runs):
        name = network_name(row)
        here = found.setdefault(name, Network(name, [], [], []))
        if row["setting"] not in (None, *here.settings):
            here.settings.append(row["setting"])
        is_today = any(is_of(row, run) for run in runs)
        (here.today if is_today else here.earlier).append(row)
    return list(found.values())


def compared(network: Network, setting: str) -> Compared | None:
    """Returns the rows to compare, or None if a part of them is to be trained yet.

    Today's, if there are all three ways. Plain images that are shifted if mixed ones
    are, and are not if they are not, if there are such: what shifts are worth is not
    what mixing costs.

    Args:
      network: with its rows.
      setting: one of `SETTINGS`.
    """
    today, earlier = network.today, network.earlier
    for outdated, parts in ((False, [today]), (True, [earlier, today])):
        mixed = _first(parts, "mixed", setting)
        thumbnails = _first(parts, "thumbnail", setting)
        if not mixed:
            continue
        shifted = _is_shifted(mixed[0])
        for others in (False, True):
            plain = _first(parts, "plain", None, shifted=shifted != others)
            ways = plain, mixed, thumbnails
            seeds = set.intersection(*({row["seed"] for row in way} for way in ways))
            if seeds:
                plain, mixed, thumbnails = (
                    [row for row in way if row["seed"] in seeds] for way in ways
                )
                return Compared(plain, mixed, thumbnails, outdated, others)
    return None


def usual_plain(network: Network) -> tuple[list[Row], bool]:
    """Returns plain rows with the usual shifts, and whether they are outdated."""
    parts = [network.today, network.earlier]
    found = _first(parts, "plain", None, shifted=True) or _first(parts, "plain", None)
    return found, not all(row in network.today for row in found)


def all_compared(results: Results) -> list[tuple[str, str, Compared]]:
    """Returns all that can be compared, with its data set and network, in order."""
    rows = in_order(results["rows"], runs_of(results))
    return [
        (data, network.name, found)
        for data in dict.fromkeys(row["data"] for row in rows)
        for network in networks(results, data)
        for setting in network.settings
        if (found := compared(network, setting)) is not None
    ]


def _first(
    parts: Iterable[Sequence[Row]],
    way: str,
    setting: str | None,
    *,
    shifted: bool | None = None,
) -> list[Row]:
    """Returns the rows of a way, the last of each seed, of the first part with some."""
    for part in parts:
        found = {
            row["seed"]: row
            for row in part
            if (row["way"], row["setting"]) == (way, setting)
            and shifted in (None, _is_shifted(row))
        }
        if found:
            return list(found.values())
    return []


def _is_shifted(row: Row) -> bool:
    return row["recipe"]["crop"] > 0


def network_name(row: Row) -> str:
    """Returns the name of a row's network, with its options."""
    options = row["options"].items()
    parts = [row["model"], *(_option(*option) for option in options)]
    return ", ".join([*parts, "fine-tuned"] if row.get("weights") else parts)


def _option(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} {value}" if isinstance(value, int) else f"{value}"


def runs_of(results: Results) -> list[Run]:
    """Returns the runs of the preset that results are of, as they are today."""
    weights = {row["weights"] for row in results["rows"] if "weights" in row}
    return list(table2_accuracy.runs(preset_of(results), weights))


def preset_of(results: Results) -> Any:
    """Returns the name of the preset that results are of."""
    return results["command"].rpartition(" ")[2]


def in_order(rows: Sequence[Row], runs: Iterable[Run]) -> list[Row]:
    """Returns rows by network and setting, those that tell most first.

    Args:
      rows: in any order.
      runs: those of the preset, in its order.
    """
    planned = [dataclasses.asdict(run) for run in runs]

    def place(row: Row) -> tuple[str, str]:
        return row["data"], network_name(row)

    def places(of) -> dict[Any, int]:
        return {x: i for i, x in enumerate(dict.fromkeys(map(of, [*planned, *rows])))}

    networks = places(place)
    settings = places(lambda row: (*place(row), row["setting"]))
    return sorted(
        rows,
        key=lambda row: (networks[place(row)], settings[(*place(row), row["setting"])]),
    )


def gains(rows: Iterable[Row], others: Iterable[Row]) -> list[float]:
    """Returns by how many points rows are ahead of others, of each seed of both."""
    first, second = (
        {row["seed"]: row[f"{row['way']}_accuracy"] for row in of_one}
        for of_one in (rows, others)
    )
    shared = sorted(first.keys() & second.keys())
    return [100 * (first[seed] - second[seed]) for seed in shared]


def mean(rows: Sequence[Row], name: str) -> float | None:
    """Returns the mean of what rows have under a name, or None if none has it."""
    values = [row[name] for row in rows if name in row]
    return float(np.mean(values)) if values else None
