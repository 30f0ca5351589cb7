"""What every attack takes and gives.

An attack is a module with a frozen `Config` and a function

    run(published, knowledge, truth, config) -> Outcome

It works on the published images with what `knowledge` holds, and nothing else. `truth`
only serves to score what came out. A score is only worth something beside its controls:
what the same attack scores where it must succeed (`Control`), and where there is
nothing to find (`chance`).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Int, Int32, UInt8

from vim_jax.attacks.intervals import Estimate
from vim_jax.mixer import VisualMixer

Known = Literal[
    "plan",
    "algorithm",
    "auxiliary images",
    "labelled auxiliary images",
    "candidate originals",
    "model access",
    "known plaintext",
]
"""What an attacker may hold. The key is never part of it."""

Verdict = Literal["leaks", "partial", "at chance", "inconclusive"]

Images: TypeAlias = Sequence[UInt8[np.ndarray, "_ _ _"]] | UInt8[np.ndarray, "_ _ _ _"]
"""Images `h w c`, each of its own height and width; or one array `n h w c`."""

Plans: TypeAlias = Sequence[Int32[np.ndarray, "_ _"]] | Int32[np.ndarray, "_ _ _"]
"""The region size of each pixel, `h w` an image, in pixels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What the attacker holds; None is what it does not.

    Attributes:
      plans: int32 `h w` for each published image, its region sizes in pixels.
      mixer: the algorithm, with its settings.
      auxiliary: uint8 `m h w c`, images of the kind that was published, none of them
        published.
      auxiliary_labels: int `m`.
      candidates: images among which the originals are.
      known_originals: of the first published images, in their order; attacks with known
        plaintext take as few of them as they say.
    """

    plans: Plans | None = None
    mixer: VisualMixer | None = None
    auxiliary: UInt8[np.ndarray, "m _ _ _"] | None = None
    auxiliary_labels: Int[np.ndarray, " m"] | None = None
    candidates: Images | None = None
    known_originals: Images | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """What the attacker wants to find out.

    Attributes:
      originals: of the published images, in their order.
      labels: int `n`, of the published images; None if there are none.
    """

    originals: Images
    labels: Int[np.ndarray, " n"] | None = None


@dataclasses.dataclass(frozen=True)
class Control:
    """A case in which the attack must succeed, tried in the same run on the same data.

    Attributes:
      case: what was attacked instead.
      score: what the attack scored there.
      needed: what it must score there to count as working.
      low: lower end of the 95 % interval of `score`, where chance is that of the
        attack: it must be above; None if chance is another.
      reach: what the best attack of this kind scored there, where several are measured
        by one; None to measure by `score`.
    """

    case: str
    score: float
    needed: float
    low: float | None = None
    reach: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the attack works where it must."""
        return self.score >= self.needed


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """How well an attack did, by one metric. More is always worse for the owner.

    Attributes:
      name: of the attack.
      knowledge: what it used.
      metric: what `score` counts, with its unit.
      score: the estimate.
      low: lower end of its 95 % interval.
      high: upper end.
      chance: what an attacker scores who learns nothing from the images.
      control: see `Control`.
    """

    name: str
    knowledge: tuple[Known, ...]
    metric: str
    score: float
    low: float
    high: float
    chance: float
    control: Control

    @property
    def control_passed(self) -> bool:
        """Whether the attack works where it must, better than by luck."""
        control = self.control
        lowest = control.score if control.low is None else control.low
        return control.passed and lowest > self.chance

    @property
    def verdict(self) -> Verdict:
        """What the score says.

        "leaks" from half-way between chance and control, or what the best attack
        reached there, if the interval lies above chance; "partial" below half-way; "at
        chance" where the interval reaches down to chance, and not up to half-way.
        "inconclusive" where it reaches both, as of few images, or the control failed.
        """
        if not self.control_passed or not math.isfinite(self.low):
            return "inconclusive"
        reach = self.control.score if self.control.reach is None else self.control.reach
        half_way = (self.chance + reach) / 2
        if self.low > self.chance:
            return "leaks" if self.score >= half_way else "partial"
        return "at chance" if self.high < half_way else "inconclusive"

    def as_json(self) -> dict[str, Any]:
        """Returns the score as plain data; an end that is not known is None."""
        control = dataclasses.asdict(self.control) | {
            "low": _finite(self.control.low),
            "passed": self.control_passed,
        }
        return dataclasses.asdict(self) | {
            "knowledge": list(self.knowledge),
            "low": _finite(self.low),
            "high": _finite(self.high),
            "control": control,
            "verdict": self.verdict,
        }


def _finite(end: float | None) -> float | None:
    return end if end is not None and math.isfinite(end) else None


def score(
    estimate: Estimate,
    *,
    name: str,
    knowledge: tuple[Known, ...],
    metric: str,
    chance: float,
    control: Control,
) -> Score:
    """Returns an estimate as a score."""
    return Score(
        name=name,
        knowledge=knowledge,
        metric=metric,
        score=estimate.value,
        low=estimate.low,
        high=estimate.high,
        chance=chance,
        control=control,
    )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an attack brought.

    Attributes:
      scores: one or more.
      reconstructions: the attacker's idea of each original, in their order, or of the
        first ones; None if the attack does not reconstruct.
      note: what else is worth knowing, as a sentence.
    """

    scores: tuple[Score, ...]
    reconstructions: Images | None = None
    note: str | None = None
