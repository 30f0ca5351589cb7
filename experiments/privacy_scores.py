"""Scores of attacks, found in committed results and put into words."""

from collections.abc import Mapping
from typing import Any

MARKS = {
    "leaks": "**leaks**",
    "at chance": "at chance",
    "partial": "partial",
    "inconclusive": "inconclusive",
}
NOT_TRIED = "not tried"


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


def score_of(
    row: Mapping[str, Any], name: str, metric: str = ""
) -> dict[str, Any] | None:
    """Returns the first score of an attack by a metric that begins so, or None."""
    for attack in row["attacks"]:
        if attack["name"] == name and attack["metric"].startswith(metric):
            return attack
    return None


def with_interval(attack: Mapping[str, Any] | None, form: str = ".2f") -> str:
    """Returns a score with its interval; of an attack that was not made, that."""
    if attack is None:
        return NOT_TRIED
    numbers = [attack[name] for name in ("score", "low", "high")]
    value, low, high = (f"{x:{form}}" for x in numbers)
    return f"{value} ({low.rstrip('%')} to {high})"


def conclusive(attack: Mapping[str, Any] | None, form: str = ".2f") -> str:
    """Returns a score with its interval, or that it says nothing."""
    if attack is not None and attack["verdict"] == "inconclusive":
        return MARKS["inconclusive"]
    return with_interval(attack, form)


def control_of(attack: Mapping[str, Any], form: str = ".2f") -> str:
    """Returns what the attack scored where it must succeed, and what it had to."""
    control = attack["control"]
    return f"{control['score']:{form}} of {control['needed']:{form}}"
