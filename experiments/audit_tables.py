"""The tables of `docs/privacy.md` that show one full audit, attack by attack."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.page import Results, table
from experiments.privacy_scores import MARKS, conclusive, control_of

_HEADS = ("attack", "metric", "score", "chance", "control, of what it takes", "verdict")
# What networks learnt, by what it adds to the name of an attack.
_LEARNT = {
    "plain": ", plain",
    "mixed": "",
    "plain with patch shuffle": ", plain with patch shuffle",
}
_MEMBERSHIP = "membership, "
_OF_PICTURES = ("SSIM", "PSNR", "values put", "pixels in", "neighbouring", "largest")


def pictures_table(results: Results) -> str:
    """Returns what came back of the images, by every metric of every attack."""
    found = [
        attack
        for attack in results["attacks"]
        if attack["metric"].startswith(_OF_PICTURES)
    ]
    mixed = results["command"].partition("DIR ")[2].removesuffix(" --full")
    words = f"{results['images']} test images, mixed with `{mixed}`."
    return f"{words}\n\n{scores_table(found)}"


def keys_table(results: Results) -> str:
    """Returns what attacks on the key came to."""
    found = [
        attack
        for attack in results["attacks"]
        if attack["name"].startswith(("seed search", "key reuse"))
    ]
    return "\n\n".join([scores_table(found), *_notes(results, "seeds")])


def scores_table(attacks: Sequence[Mapping[str, Any]]) -> str:
    """Returns scores beside their chance and their control.

    No score of an attack that failed its control is shown.
    """
    cells = []
    for attack in attacks:
        form = _form(attack["metric"])
        cells.append(
            (
                attack["name"],
                attack["metric"],
                conclusive(attack, form),
                f"{attack['chance']:{form}}",
                control_of(attack, form),
                MARKS[attack["verdict"]],
            )
        )
    return table(_HEADS, cells)


def _form(metric: str) -> str:
    if "share" in metric:
        return ".1%"
    return ".1f" if "dB" in metric else ".2f"


def membership_table(results: Results) -> str:
    """Returns how well members were told from others, by what networks learnt."""
    found = {
        (name, attack["metric"]): attack
        for attack in results["attacks"]
        if (name := attack["name"].removeprefix(_MEMBERSHIP)) != attack["name"]
    }
    others = tuple(suffix for suffix in _LEARNT.values() if suffix)
    places = [place for place in found if not place[0].endswith(others)]
    cells = []
    for name, metric in places:
        form = ".2f" if "AUC" in metric else ".1%"
        line = [name, metric, f"{found[name, metric]['chance']:{form}}"]
        line += [_marked(found[name + x, metric], form) for x in _LEARNT.values()]
        cells.append(line)
    heads = ("attack", "metric", "chance", *_LEARNT)
    return "\n\n".join([*_notes(results, "networks"), table(heads, cells)])


def _marked(attack: Mapping[str, Any], form: str) -> str:
    words = conclusive(attack, form)
    return f"{words}, at chance" if attack["verdict"] == "at chance" else words


def _notes(results: Results, word: str) -> list[str]:
    return [note for note in results["notes"] if word in note]
