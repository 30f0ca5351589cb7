"""The tables of `docs/privacy.md` on the networks that are costly to train."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.page import Results, table
from experiments.privacy_scores import (
    MARKS,
    conclusive,
    control_of,
    score_of,
)

_SEAMS = "jigsaw, learned seams"
_LEARNT = ("", ", plain with patch shuffle", ", plain")


def pictures_table(results: Results) -> str:
    """Returns what an adversary and learned seams brought back of CIFAR-10."""
    heads = (
        "setting", "adversarial inversion, SSIM", "blind guess", "see",
        "other kind of image", "learned seams, in place", "chance",
        "neighbours joined", "chance", "ordinary puzzle, of what it takes",
    )  # fmt: skip
    cells = []
    for row in _rows(results, "cifar10"):
        painted = score_of(row, "adversarial inversion", "SSIM")
        other = score_of(row, "adversarial inversion, other kind of image", "SSIM")
        seams = _first(row, _SEAMS, ("regions in place", "pixels in place"))
        joined = score_of(row, _SEAMS, "neighbouring")
        assert painted is not None
        assert seams is not None
        assert joined is not None
        cells.append(
            (
                row["setting"],
                conclusive(painted),
                f"{painted['chance']:.2f}",
                MARKS[painted["verdict"]],
                conclusive(other),
                conclusive(seams, ".1%"),
                f"{seams['chance']:.1%}",
                conclusive(joined, ".1%"),
                f"{joined['chance']:.1%}",
                control_of(seams, ".1%"),
            )
        )
    return table(heads, cells)


def membership_table(results: Results) -> str:
    """Returns how well members were told from others, at each setting."""
    heads = (
        "setting", "LiRA, AUC: mixed", "plain with patch shuffle", "plain",
        "members found at 1 % false alarms: mixed", "plain with patch shuffle", "plain",
        "at 0.1 %: mixed", "plain with patch shuffle", "plain",
    )  # fmt: skip
    metrics = (
        ("AUC", ".2f"),
        ("share of members found at 1.0%", ".1%"),
        ("share of members found at 0.1%", ".1%"),
    )
    cells = []
    for row in _rows(results, "cifar10"):
        found = [
            conclusive(score_of(row, f"membership, LiRA{learnt}", metric), form)
            for metric, form in metrics
            for learnt in _LEARNT
        ]
        cells.append((row["setting"], *found))
    return table(heads, cells)


def accuracies_list(results: Results) -> str:
    """Returns what the networks asked for members get right, at each setting."""
    lines = []
    for row in _rows(results, "cifar10"):
        (note,) = (note for note in row["notes"] if "networks" in note)
        lines.append(f"* {row['setting']}: {note}")
    return "\n".join(lines)


def _rows(results: Results, data: str) -> list[Mapping[str, Any]]:
    return [row for row in results["rows"] if row["data"] == data]


def _first(
    row: Mapping[str, Any], name: str, metrics: Sequence[str]
) -> dict[str, Any] | None:
    found = (score_of(row, name, metric) for metric in metrics)
    return next((score for score in found if score is not None), None)
