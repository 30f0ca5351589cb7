"""Membership inference: telling which images a network was trained on.

The attacker holds a candidate image and its label, may query the network, and trains
reference networks of its own, each on a random half of a pool. Many small networks are
trained at once, and each in turn is the target, attacked with all others as references:
so few networks give many cases.

Networks learn plain images; or mixed ones, where each network's owner mixes each image
once; or plain ones of which a part is mixed anew in each epoch. That is an
augmentation, and what mixing hides beyond it is not just the work of a regulariser.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from vim_jax.attacks.many_networks import Members, Phi, Views, ask, train
from vim_jax.attacks.membership_scores import area, found_at, lira, rmia
from vim_jax.attacks.mixing import mixed_by
from vim_jax.attacks.protocol import (
    Control,
    Images,
    Knowledge,
    Known,
    Outcome,
    Truth,
    score,
)
from vim_jax.mixer import VisualMixer

Progress = Callable[[int, int], None]

_FALSE_ALARMS = (0.01, 0.001)
_FEWEST = 40  # Images in the pool.
_PLAIN = ", plain"  # Networks that learnt plain images.
# Images of the pool stand for the candidates, networks trained here for the model.
_KNOWN: tuple[Known, ...] = (
    "algorithm",
    "labelled auxiliary images",
    "candidate originals",
    "model access",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """The networks, their training and the attacks.

    Attributes:
      models: networks a setting; each has the others as references.
      pool: images of which each network learns half, at most; an even number.
      others: images that no network learns, at most: RMIA's population, on which
        accuracy is measured, too.
      widths: channels of the layers, each of which halves the sides.
      epochs: how often each member is seen.
      batch_size: images a step and network.
      learning_rate: at its peak.
      queries: fresh mixings of a candidate that are asked about.
      shuffled_share: of the images in an epoch, how many the augmentation mixes.
      rmia: what the reference networks' probabilities are averaged over: all, or
        ("offline") those that did not learn the candidate.
      offline_slope: how probabilities of members follow those of others, see `rmia`.
      gamma: see `rmia`.
      seed: of everything.
      control_auc: what each attack must reach on networks that learnt plain images.
    """

    models: int = 17
    pool: int = 2000
    others: int = 1000
    widths: tuple[int, ...] = (16, 32, 64)
    epochs: int = 25
    batch_size: int = 64
    learning_rate: float = 2e-3
    queries: int = 8
    shuffled_share: float = 0.5
    rmia: Literal["online", "offline"] = "online"
    offline_slope: float = 0.3
    gamma: float = 1.0
    seed: int = 0
    control_auc: float = 0.55

    def __post_init__(self):
        for name, least in (
            ("models", 3),
            ("pool", _FEWEST),
            ("others", _FEWEST // 2),
            ("epochs", 1),
            ("batch_size", 1),
            ("queries", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is below {least}.")
        if self.pool % 2:
            raise ValueError(f"pool={self.pool} is odd: it is to be halved.")
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"widths={self.widths} is not one or more numbers from 1.")
        for name in ("learning_rate", "gamma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)} is not above 0.")
        for name in ("shuffled_share", "offline_slope", "control_auc"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is not in [0, 1].")
        if self.rmia not in ("online", "offline"):
            raise ValueError(f'rmia={self.rmia!r} is neither "online" nor "offline".')


class Setting(NamedTuple):
    """What networks trained in one way say.

    Attributes:
      phi: of the pool.
      population: phi of the other images.
      accuracy: share of the other images that networks get right, on average.
      fitted: the same of the images that each learnt.
    """

    phi: Phi
    population: Phi
    accuracy: float
    fitted: float


def run(
    published: Images,
    knowledge: Knowledge,
    truth: Truth,
    config: Config,
    *,
    progress: Progress | None = None,
) -> Outcome:
    """Attacks networks trained on such images as were published.

    Whether an image was published, `linkage` tells; this is about an image whose mixed
    form is not at hand, only a network that may have learnt it. So the published images
    and the truth are not looked at: pool and population are auxiliary images. The
    attacker asks about fresh mixings of a candidate under keys of its own, and takes
    the mean of phi; its references learnt mixings under other keys than the target.
    Networks with patch shuffle are asked about plain images, and are stopped in the
    epoch in which they are about as accurate as the mixed ones.

    The control of each score is the same attack on networks that learnt plain images,
    which is a score of its own, too. What leaks is measured by the best attack on them:
    beside a weak attack's own control, any little would seem much.

    Args:
      published: not looked at.
      knowledge: with mixer and labelled auxiliary images, small ones: networks work at
        full resolution.
      truth: not looked at.
      config: the networks, their training and the attacks.
      progress: called with the epochs done and the epochs to do.

    Raises:
      ValueError: if mixer or labelled auxiliary images are missing, or these are too
        few.
    """
    del published, truth
    mixer, images = knowledge.mixer, knowledge.auxiliary
    labels = knowledge.auxiliary_labels
    if mixer is None or images is None or labels is None:
        raise ValueError("knowledge lacks mixer or labelled auxiliary images")
    others = min(config.others, len(images) // 3)
    n = min(config.pool, (len(images) - others) // 2 * 2)
    if n < _FEWEST:
        raise ValueError(f"{len(images)} auxiliary images are too few: give more.")
    rng = np.random.default_rng([config.seed, 0])
    chosen = rng.permutation(len(images))[: n + others]
    images, labels = images[chosen], labels[chosen].astype(np.int32)
    members = rng.permuted(np.tile(np.arange(n) < n // 2, (config.models, 1)), axis=1)
    mixer = dataclasses.replace(mixer, clip=True)
    trained = _trained(images, labels, members, mixer, config, progress)
    metrics = [("AUC, mean over networks", area, 0.5, config.control_auc)] + [
        (
            f"share of members found at {rate:.1%} false alarms",
            functools.partial(found_at, rate=rate),
            rate,
            2 * rate,
        )
        for rate in _FALSE_ALARMS
    ]
    found = {
        (suffix, name, metric): estimate(values, members)
        for suffix, setting in (
            ("", trained.mixed),
            (_PLAIN, trained.plain),
            (", plain with patch shuffle", trained.stopped),
        )
        for name, values in attacks(setting, members, config).items()
        for metric, estimate, _, _ in metrics
    }

    def control(name: str, metric: str, needed: float) -> Control:
        own = found[_PLAIN, name, metric]
        return Control(
            "networks that learnt plain images",
            own.value,
            needed,
            low=own.low,
            reach=max(
                estimate.value
                for (suffix, _, other), estimate in found.items()
                if (suffix, other) == (_PLAIN, metric)
            ),
        )

    by_metric = {metric: (chance, needed) for metric, _, chance, needed in metrics}
    scores = tuple(
        score(
            estimate,
            name=f"membership, {name}{suffix}",
            knowledge=_KNOWN,
            metric=metric,
            chance=by_metric[metric][0],
            control=control(name, metric, by_metric[metric][1]),
        )
        for (suffix, name, metric), estimate in found.items()
    )
    return Outcome(scores, note=_note(trained, members, config))


def attacks(setting: Setting, members: Members, config: Config) -> Mapping[str, Phi]:
    """Returns the attacks' scores of all images for all targets, by attack."""
    slope = config.offline_slope if config.rmia == "offline" else None
    return {
        # As good as the loss: both put images in one order.
        "threshold": setting.phi,
        "LiRA": lira(setting.phi, members),
        f"RMIA {config.rmia}": rmia(
            setting.phi,
            members,
            setting.population,
            gamma=config.gamma,
            offline_slope=slope,
        ),
    }


class _Trained(NamedTuple):
    """The settings; and the epoch in which networks with patch shuffle were stopped."""

    plain: Setting
    mixed: Setting
    stopped: Setting
    finished: Setting
    epoch: int


def _trained(
    images: UInt8[np.ndarray, "all h w c"],
    labels: Int32[np.ndarray, " all"],
    members: Members,
    mixer: VisualMixer,
    config: Config,
    progress: Progress | None,
) -> _Trained:
    """Trains networks in each way.

    Args:
      images: the pool, and after it the other images.
      labels: of the images.
      members: which network learns which image of the pool.
      mixer: how to mix.
      config: the networks and their training.
      progress: see `run`.
    """
    models, n = members.shape
    pool = images[:n]
    seeds = np.random.SeedSequence([config.seed, 1]).generate_state(
        models + config.queries + config.epochs
    )
    done = 0

    def mix(some: np.ndarray, number: int) -> np.ndarray:
        return np.stack(mixed_by(mixer, some, int(seeds[number]))[0])

    def step(_: Any) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, 3 * config.epochs)

    def fitted(views: Views, after: Callable[[Any], None]) -> Any:
        return train(
            views,
            labels[:n],
            members,
            shape=images.shape[1:],
            classes=int(labels.max()) + 1,
            widths=config.widths,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            seed=config.seed,
            after=after,
        )

    def asked(params: Any, queries: list[np.ndarray]) -> Setting:
        answers = [ask(params, query, labels) for query in queries]
        phi = np.mean([phi for phi, _ in answers], axis=0)
        right: Bool[np.ndarray, "m all"] = answers[0][1]
        return Setting(
            phi[:, :n],
            phi[:, n:],
            float(right[:, n:].mean()),
            float(right[:, :n][members].mean()),
        )

    same = np.zeros(members.shape, np.int32)
    plain = asked(fitted(lambda _: (pool[None], same), step), [images])
    published = np.stack([mix(pool, i) for i in range(models)])
    own = same + np.arange(models, dtype=np.int32)[:, None]
    params = fitted(lambda _: (published, own), step)
    del published
    queries = [mix(images, models + i) for i in range(config.queries)]
    mixed = asked(params, queries)
    rng = np.random.default_rng([config.seed, 2])
    nearest, gap, epoch = params, np.inf, 0

    def shuffled(epoch: int):
        forms = np.stack([pool, mix(pool, models + config.queries + epoch)])
        return forms, (rng.random(members.shape) < config.shuffled_share).astype(int)

    def look(params: Any) -> None:
        nonlocal nearest, gap, epoch
        _, right = ask(params, images[n:], labels[n:])
        away = abs(float(right.mean()) - mixed.accuracy)
        if away < gap:
            nearest, gap, epoch = params, away, done - 2 * config.epochs + 1
        step(params)

    last = fitted(shuffled, look)
    stopped, finished = asked(nearest, [images]), asked(last, [images])
    return _Trained(plain, mixed, stopped, finished, epoch)


def _note(trained: _Trained, members: Members, config: Config) -> str:
    """Returns what else is worth knowing."""
    late = area(attacks(trained.finished, members, config)["LiRA"], members)
    parts = [
        f"{len(members)} networks, each of which learnt half of {members.shape[1]} "
        "images. Share of other images they get right (of those they learnt): plain "
        f"{_accuracies(trained.plain)}; mixed, asked about fresh mixings, "
        f"{_accuracies(trained.mixed)}; plain with patch shuffle, stopped after "
        f"{trained.epoch} of {config.epochs} epochs, {_accuracies(trained.stopped)}, "
        f"and after all {_accuracies(trained.finished)}, where LiRA's AUC is "
        f"{late.value:.3f}."
    ]
    outside = int((~members).sum())
    parts += [
        f"{outside} non-members are too few to bound the share of members found at "
        f"{rate:.1%} false alarms."
        for rate in _FALSE_ALARMS
        if not np.isfinite(found_at(members.astype(float), members, rate).low)
    ]
    return " ".join(parts)


def _accuracies(setting: Setting) -> str:
    return f"{setting.accuracy:.1%} ({setting.fitted:.1%})"
