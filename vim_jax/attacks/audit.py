"""The audit: every attack that fits a case, each beside its controls.

Finished attacks are kept in a folder, so that an audit that was killed goes on where it
stopped.
"""

import dataclasses
import io
import json
import pathlib
import time
import types
import zipfile
import zlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np

from vim_jax.attacks import (
    as_published,
    gan_inversion,
    inversion,
    jigsaw,
    jigsaw_net,
    key_reuse,
    linkage,
    membership,
    multiset,
    recognition,
    region_placing,
    seed_search,
    thumbnail,
)
from vim_jax.attacks.cases import Case
from vim_jax.attacks.protocol import Control, Images, Outcome, Score, Truth
from vim_jax.data.writers import write_atomically

Budget = Literal["quick", "full"]

_SMALL = 64  # Pixels a side.
_KNOWN = (1, 4)  # Originals known to the attacker where a permutation is reused.
_DEFAULTS: Mapping[str, Any] = types.MappingProxyType({})
Progress = Callable[[int, int], None]


class Attack(NamedTuple):
    """An attack with its settings, ready to run.

    Attributes:
      name: of the module.
      config: its `Config`.
      run: called with a progress function.
    """

    name: str
    config: Any
    run: Callable[[Progress], Outcome]


@dataclasses.dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
      case: what was attacked.
      budget: how much was tried.
      outcomes: by attack.
      skipped: why attacks were not run, by attack.
      seconds: how long each took.
    """

    case: Case
    budget: Budget
    outcomes: Mapping[str, Outcome]
    skipped: Mapping[str, str]
    seconds: Mapping[str, float]

    @property
    def scores(self) -> list[Score]:
        """The scores of all attacks."""
        return [score for x in self.outcomes.values() for score in x.scores]


def attacks_on(
    case: Case, budget: Budget, configs: Mapping[str, Any] = _DEFAULTS
) -> tuple[list[Attack], dict[str, str]]:
    """Returns the attacks that fit a case, and why others do not.

    Args:
      case: what to attack.
      budget: "quick" trains no network.
      configs: by attack, in place of its usual `Config`; None leaves it out.
    """
    found: list[Attack] = []
    skipped: dict[str, str] = {}
    everything = (case.published, case.knowledge, case.truth)

    def add(module, config, *, images=everything, **more):
        name = _name(module)
        config = configs.get(name, config)
        if config is None:
            skipped[name] = "it was left out"
            return

        def run(progress):
            if "progress" in more:
                more["progress"] = progress
            return module.run(*images, config, **more)

        found.append(Attack(name, config, run))

    add(as_published, as_published.Config())
    add(thumbnail, thumbnail.Config())
    add(multiset, multiset.Config())
    add(linkage, linkage.Config())
    scrambled = case.mixer.scramble_regions
    is_puzzle = not scrambled or any(map(jigsaw.is_puzzle, case.plans))
    if not is_puzzle:
        why = "no image has two regions of one size side by side"
        skipped["jigsaw"] = skipped["jigsaw_net"] = why
    else:
        add(jigsaw, jigsaw.Config())
    whole = case.whole
    if len(whole.published):
        knowledge = dataclasses.replace(case.knowledge, plans=whole.plans)
        images = (whole.published, knowledge, Truth(originals=whole.originals))
        config, numbers = seed_search.Config(), whole.numbers
        add(seed_search, config, images=images, numbers=numbers, progress=None)
    else:
        skipped["seed_search"] = "the images are too large to try many keys"
    # Of the images, half are kept to score by.
    known = tuple(k for k in _KNOWN if k <= len(case.published) // 2)
    if case.cut and scrambled:
        skipped["key_reuse"] = "windows of scrambled images were mixed anew"
    elif case.one_shape and known:
        add(key_reuse, key_reuse.Config(known=known))
    else:
        skipped["key_reuse"] = "it takes several images of one size"
    why = _why_nothing_is_learnt(case, budget)
    if why is None:
        for module in (inversion, gan_inversion):
            other = _or_none(case.other)
            add(module, module.Config(), transfer=other, progress=None)
        one_plan = len({np.asarray(plan).tobytes() for plan in case.plans}) == 1
        if scrambled and is_puzzle and one_plan:
            add(region_placing, region_placing.Config(), progress=None)
        if is_puzzle:
            add(jigsaw_net, jigsaw_net.Config(), progress=None)
    else:
        learnt = ("inversion", "gan_inversion", "jigsaw_net")
        skipped |= dict.fromkeys(learnt, why)
    if why is None and (case.labels is None or case.auxiliary_labels is None):
        why = case.why_unlabelled
    if why is None:
        config = recognition.Config(flip=case.flips)
        add(recognition, config, attribute=case.attribute, progress=None)
    else:
        skipped["recognition"] = why
    if why is None and max(case.published[0].shape[:2]) > _SMALL:
        why = "it trains many networks, which images of this size are too large for"
    if why is None:
        add(membership, membership.Config(), progress=None)
    else:
        skipped["membership"] = why
    return found, skipped


def _name(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _why_nothing_is_learnt(case: Case, budget: Budget) -> str | None:
    """Returns why attacks that train networks are left out, or None."""
    if budget == "quick":
        return "it trains networks, which takes --full"
    if not case.one_shape:
        return "the images have different sizes"
    if case.auxiliary is None:
        return "it takes images like the published ones: use --auxiliary"
    return None


def _or_none(images: Images) -> Images | None:
    return images if len(images) else None


def audit(
    case: Case,
    budget: Budget,
    *,
    configs: Mapping[str, Any] = _DEFAULTS,
    kept: pathlib.Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Audit:
    """Attacks a case.

    Args:
      case: what to attack.
      budget: "quick" trains no network.
      configs: as in `attacks_on`.
      kept: a folder for finished attacks; an equal audit starts with what is there.
        What they made of the images lies there in folders that only the user can read.
      progress: called with an attack's name, the steps done and the steps to do.
    """
    attacks, skipped = attacks_on(case, budget, configs)
    outcomes, seconds = {}, {}
    for attack in attacks:

        def show(done, total, name=attack.name):
            if progress is not None:
                progress(name, done, total)

        path = None
        if kept is not None:
            path = kept / case.digest / f"{attack.name}.npz"
        loaded = None if path is None else _load(path, repr(attack.config))
        if loaded is None:
            show(0, 1)
            start = time.perf_counter()
            outcome = attack.run(show)
            took = time.perf_counter() - start
            if path is not None:
                _save(path, repr(attack.config), outcome, took)
        else:
            outcome, took = loaded
        show(1, 1)
        outcomes[attack.name], seconds[attack.name] = outcome, took
    return Audit(case, budget, outcomes, skipped, seconds)


def _save(path: pathlib.Path, config: str, outcome: Outcome, seconds: float) -> None:
    head = {
        "config": config,
        "seconds": seconds,
        "note": outcome.note,
        "scores": [dataclasses.asdict(score) for score in outcome.scores],
    }
    pictures = (
        None if outcome.reconstructions is None else list(outcome.reconstructions)
    )
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        head=np.frombuffer(json.dumps(head).encode(), np.uint8),
        **{f"picture_{i:06}": x for i, x in enumerate(pictures or ())},
    )
    path.parent.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)  # It was of no use, or this would not be written.
    write_atomically(path, buffer.getvalue())


def _load(path: pathlib.Path, config: str) -> tuple[Outcome, float] | None:
    """Returns a finished attack, or None if there is none with these settings."""
    try:
        with np.load(io.BytesIO(path.read_bytes())) as kept:
            head = json.loads(kept["head"].tobytes())
            names = sorted(name for name in kept.files if name.startswith("picture_"))
            pictures = [kept[name] for name in names]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
    if head["config"] != config:
        return None
    scores = tuple(
        Score(
            **{
                **score,
                "knowledge": tuple(score["knowledge"]),
                "control": Control(**score["control"]),
            }
        )
        for score in head["scores"]
    )
    return Outcome(scores, pictures or None, head["note"]), head["seconds"]
