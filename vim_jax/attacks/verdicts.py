"""What an audit means, in sentences a data owner understands."""

import collections
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from vim_jax.attacks.audit import Audit
from vim_jax.attacks.exposure import (
    WEAK_BITS,
    Thumbnails,
    clear_shares,
    suggested_by_vfe,
    thumbnail_sides,
    weak_share,
)
from vim_jax.attacks.protocol import Score, Verdict
from vim_jax.attacks.published import WINDOW

Question = Literal["see", "recognise", "link", "unlock"]

_LARGE_THUMBNAIL = 16  # Pixels a side: people know scenes and faces from 32.
_WORST_FIRST: tuple[Verdict, ...] = ("leaks", "partial", "at chance", "inconclusive")
_SOME = 0.005  # A share of pixels worth a sentence.
_TOO_FEW = "1 image is too few for an interval: give ten or more."
_UNLOCKING = {
    "seed_search": "a seed of 16 bits that makes the keys",
    "key_reuse": "a permutation that several images share",
}
_DECIDING = ("name", "metric", "score", "low", "high", "chance")


class Answer(NamedTuple):
    """One of the four verdicts.

    Attributes:
      question: what an attacker would like to do.
      verdict: of the attack that came farthest; "inconclusive" where none was run.
      text: for the data owner.
      scores: what it rests on.
      numbers: those that decide: of the score that came farthest, and of what else
        counts.
    """

    question: Question
    verdict: Verdict
    text: str
    scores: tuple[Score, ...]
    numbers: dict[str, Any]


def answers(found: Audit) -> tuple[Answer, ...]:
    """Returns the four verdicts."""
    return _see(found), _recognise(found), _link(found), _unlock(found)


def _farthest(scores: Sequence[Score]) -> Score:
    """Returns the score of the attack that came farthest.

    Attacks whose controls failed do not count beside others that worked.
    """
    return min(scores, key=lambda x: (_WORST_FIRST.index(x.verdict), -x.score))


def _numbers(score: Score) -> dict[str, Any]:
    plain = score.as_json()
    return {name: plain[name] for name in _DECIDING}


def _not_tried(question: Question, why: str) -> Answer:
    text = f"Not tried: {why}. So nothing is known about this."
    return Answer(question, "inconclusive", text, (), {})


def _of(found: Audit, *names: str) -> tuple[Score, ...]:
    outcomes = [found.outcomes[name] for name in names if name in found.outcomes]
    return tuple(score for outcome in outcomes for score in outcome.scores)


def _see(found: Audit) -> Answer:
    tried = _of(
        found,
        "as_published",
        "thumbnail",
        "multiset",
        "jigsaw",
        "jigsaw_net",
        "inversion",
        "gan_inversion",
        "region_placing",
    )
    scores = tuple(
        score
        for score in tried
        if score.metric == "SSIM" and "other kind" not in score.name
    )
    if not scores:
        return _not_tried("see", found.skipped["as_published"])
    best = _farthest(scores)
    sides = thumbnail_sides(found.case.plans)
    clear = clear_shares(found.case)
    in_place = not found.case.mixer.scramble_regions
    verdict = best.verdict
    if verdict == "at chance" and not _all_decided(scores):
        verdict = "inconclusive"
    if verdict == "inconclusive":
        text = "How near the attacks came to the originals is not known."
    elif verdict == "at chance":
        trained = ", which trained no network" if found.budget == "quick" else ""
        text = (
            "No attack came nearer to the originals than a blind guess, of these at "
            f"this budget{trained}."
        )
    else:
        text = (
            f"The best attack, {best.name}, comes to SSIM {best.score:.2f} (a blind "
            f"guess: {best.chance:.2f}; the attack where it must succeed: "
            f"{best.control.score:.2f})."
        )
    known = {x.name for x in tried if x.verdict != "inconclusive"}
    unknown = dict.fromkeys(x.name for x in tried if x.name not in known)
    if unknown:
        text = f"{text} Inconclusive: {', '.join(unknown)}."
    if in_place:
        text = f"{_seen(sides, found.case.cut)} {text}"
    if max(clear) >= _SOME:
        moved = f"{np.mean(clear):.0%} of the pixels were not moved"
        if round(max(clear), 2) > round(float(np.mean(clear)), 2):
            moved += f", and {max(clear):.0%} of the image with most of them"
        text = f"{moved}: they are published as they were. {text}"
    # What similarity over whole images does not see.
    visible = in_place and max(sides.largest) > _LARGE_THUMBNAIL
    if verdict in ("at chance", "inconclusive") and (max(clear) >= _SOME or visible):
        verdict = "partial"
    numbers = _numbers(best) | {
        "thumbnail": list(sides.median),
        "largest_thumbnail": list(sides.largest),
        "in_clear": float(np.mean(clear)),
        "most_in_clear": max(clear),
    }
    return Answer("see", verdict, text, scores, numbers)


def _all_decided(scores: Sequence[Score]) -> bool:
    """Returns whether attacks tell that they came nowhere, those that worked at all.

    The published images themselves are no attack.
    """
    attacks = [x for x in scores if x.name != "as published" and x.control_passed]
    return bool(attacks) and all(x.verdict != "inconclusive" for x in attacks)


def _seen(sides: Thumbnails, cut: bool) -> str:
    """Returns what region means show, of whole images or of their middles."""
    whose = f"the middle {WINDOW} pixels of " if cut else ""
    seen = f"a {_by(sides.median)} picture of {whose}each image"
    if sides.median != sides.largest:
        seen = (
            f"a {_by(sides.median)} picture of {whose}an image, the median, and a "
            f"{_by(sides.largest)} picture of {whose}the one that shows most"
        )
    return f"Anyone can see about {seen}, by taking the mean of every region."


def _by(side: tuple[int, int]) -> str:
    return f"{side[0]}x{side[1]}"


def _recognise(found: Audit) -> Answer:
    scores = _of(found, "recognition")
    if not scores:
        return _not_tried("recognise", found.skipped["recognition"])
    adapted = [score for score in scores if score.name == "recognition, adapted"]
    task, *second = adapted
    use = (
        f"A classifier adapted to the mixing gets {task.score:.0%} of the labels "
        f"right (chance {task.chance:.0%}, on plain images {task.control.score:.0%}): "
        "that is the images' use."
    )
    if not second:
        text = (
            f"{use} It also bounds what is hidden: what a network can learn from "
            "labels, an attacker with other labels can learn, too. No second attribute "
            "is known for these images."
        )
        return Answer("recognise", task.verdict, text, scores, _numbers(task))
    other = second[0]
    text = (
        f"{use} It tells {other.metric.partition(' (')[0]}, which nobody meant to "
        f"release, for {other.score:.0%} (chance {other.chance:.0%}, on plain images "
        f"{other.control.score:.0%})."
    )
    return Answer("recognise", other.verdict, text, scores, _numbers(other))


def _link(found: Audit) -> Answer:
    scores = _of(found, "linkage")
    if not scores:
        return _not_tried("link", found.skipped["linkage"])
    exact, hashed = scores[0], scores[-2]
    best = _farthest([score for score in scores if score.metric == exact.metric])
    of_shape = collections.Counter(image.shape for image in found.case.candidates)
    rivals = [of_shape[image.shape] for image in found.case.originals]
    several = [number for number in rivals if number > 1]
    alone = rivals.count(1)
    told = ""
    if alone and len(found.case.candidates) > 1:
        told = (
            f" Images told by their size alone, which no other candidate has: {alone}."
        )
    if not several:
        text = f"Not tried: a single candidate is no choice. Give more images.{told}"
        return Answer("link", "inconclusive", text, scores, _numbers(best))
    text = (
        f"Whoever holds candidate originals finds the right one for {exact.score:.0%} "
        f"of the images, among {np.mean(several):,.0f}: a permutation keeps every"
        " region's values, whatever the key. That is inherent in mixing. Reverse "
        "image search, by a perceptual hash and without the plan, finds "
        f"{hashed.score:.0%}.{told}"
    )
    verdict = _farthest(scores).verdict
    return Answer("link", verdict, text, scores, _numbers(best))


def _unlock(found: Audit) -> Answer:
    scores = _of(found, "seed_search", "key_reuse")
    share = weak_share(found.case)
    weak = (
        f" {share:.0%} of the pixels lie in regions with fewer than {WEAK_BITS} bits "
        "of arrangement: no attack here tries all of these, but no key keeps others "
        "from it."
        if share >= _SOME
        else ""
    )
    if not scores:
        text = f"Not tried: {found.skipped['seed_search']}.{weak}"
        return Answer("unlock", "inconclusive", text, (), {"few_bits": share})
    worst = _farthest(scores)
    verdict = worst.verdict
    # One that was not tried, or tells nothing, is no sign that a key holds.
    open_questions = [
        words
        for name, words in _UNLOCKING.items()
        if all(x.verdict == "inconclusive" for x in _of(found, name))
    ]
    if verdict == "at chance" and open_questions:
        verdict = "inconclusive"
    if verdict == "leaks":
        text = f"The key falls: {worst.name} succeeds.{weak}"
    elif verdict == "partial":
        text = (
            f"{worst.name.capitalize()} does better than chance: {worst.score:.3f} "
            f"against {worst.chance:.3f}, {worst.metric}.{weak}"
        )
    else:
        asked = [x for x in _UNLOCKING.values() if x not in open_questions]
        text = f"At this budget, no attack found {' or '.join(asked)}." if asked else ""
        if open_questions:
            text += f" Not known: {' and '.join(open_questions)}."
        text = f"{text.strip()}{weak}"
    if share >= _SOME and verdict == "at chance":
        verdict = "partial"
    numbers = _numbers(worst) | {"few_bits": share}
    return Answer("unlock", verdict, text, scores, numbers)


def advice(found: Audit) -> list[str]:
    """Returns what to change, most urgent first."""
    by_question = {answer.question: answer for answer in answers(found)}
    lines = []
    keys = [score.verdict for score in by_question["unlock"].scores]
    if "leaks" in keys or "partial" in keys:
        lines.append(
            "Mix with `vim-jax mix`, which uses a fresh 256-bit key and another "
            "permutation for each image; never with jax.random.key(seed)."
        )
    if weak_share(found.case) >= _SOME:
        lines.append(
            f"Use larger regions where they have fewer than {WEAK_BITS} bits of "
            "arrangement: a longer key adds nothing there."
        )
    largest = thumbnail_sides(found.case.plans).largest
    in_place = not found.case.mixer.scramble_regions
    if max(clear_shares(found.case)) >= _SOME:
        lines.append(
            "Give one --region-size instead of a level: a level leaves smooth parts of "
            "an image as they are, since moving them would not raise its VFE."
        )
    if in_place and max(largest) > _LARGE_THUMBNAIL:
        lines.append(
            f"Use larger regions: as it is, anyone sees a {_by(largest)} picture of "
            f"some image. For {_LARGE_THUMBNAIL}x{_LARGE_THUMBNAIL}, its regions must "
            f"be {max(largest) / _LARGE_THUMBNAIL:.1f} times as wide. Or add "
            "--scramble-regions."
        )
    elif in_place and by_question["see"].verdict == "leaks":
        lines.append("Use larger regions, or add --scramble-regions.")
    if by_question["recognise"].verdict == "leaks":
        lines.append(
            "Networks see what they are trained to see. If an attribute must stay "
            "hidden, do not publish images that show it: mixing does not select."
        )
    lines.append(
        "Publish no image whose original is public, or may become so: linking it is "
        "certain."
    )
    return lines


def summary(found: Audit) -> dict[str, Any]:
    """Returns verdicts and scores as plain data."""
    sides = thumbnail_sides(found.case.plans)
    return {
        "set": found.case.name,
        "budget": found.budget,
        "images": len(found.case.published),
        "verdicts": {
            answer.question: {
                "verdict": answer.verdict,
                "text": answer.text,
                "numbers": answer.numbers,
            }
            for answer in answers(found)
        },
        "attacks": [score.as_json() for score in found.scores],
        "skipped": dict(found.skipped),
        "suggested_by_vfe": suggested_by_vfe(found.case),
        "thumbnail": list(sides.median),
        "largest_thumbnail": list(sides.largest),
        "advice": advice(found),
        "notes": [
            *found.case.notes,
            *([_TOO_FEW] if len(found.case.published) == 1 else []),
            *(x.note for x in found.outcomes.values() if x.note is not None),
        ],
        "seconds": {name: round(s, 1) for name, s in found.seconds.items()},
    }
