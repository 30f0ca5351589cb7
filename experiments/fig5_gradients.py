"""Gradients of networks that learn from plain and from mixed images.

    python -m experiments.fig5_gradients --preset cpu --data-dir DIR \
        --json experiments/results/fig5_gradients_cpu.json

The slides' Fig. 5, with numbers. While a network learns, the cosine between the
gradients of successive steps: the lower, the more they oscillate. And at a few moments,
how noisy the gradient of a batch is: its variance over many batches of other images,
each mixed anew, and over many shuffles of the same images alone. Either, beside the
square of the mean gradient, makes a noise scale [1].

"published once": each image is mixed before training; "fresh": anew at every step.
Learning rates rise first and fall to zero in the end, as in all training here.
The file given by `--json` is written after each network: start the command again and
it goes on. `cpu` takes half an hour on one core. Expect cosines of 0.10 to 0.17, and
more noise from shuffling in regions of 4 and 8 pixels than of 2, but far less than from
drawing other images.

[1] McCandlish et al, "An Empirical Model of Large-Batch Training"
    (https://arxiv.org/abs/1812.06162), appendix A.1: the simple noise scale.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import nnx
from rich.progress import track

from experiments.images import check, images_of
from experiments.record import JsonOut, is_there, kept, made_by, write
from experiments.training_runs import SETTINGS, mixed_part
from vim_jax import VisualMixer
from vim_jax.training import TrainConfig
from vim_jax.training.initial import initial_model
from vim_jax.training.optimizers import make_optimizer
from vim_jax.training.step import init_state, to_unit

_BATCHES = 32  # Of other images, whose gradients are compared.
_SHUFFLES = 16  # Of the same images.
_MOMENTS = 3  # At which noise is measured, evenly over the training.


class Noise(NamedTuple):
    """How noisy the gradient of a batch is, at one moment.

    Attributes:
      square: of the mean gradient, without the noise that a mean of so many batches
        has: 0 or less where there is nothing but noise.
      variance: of the gradients of batches of other images, each mixed anew.
      shuffling: of one batch that is mixed anew each time; 0 on plain images.
    """

    square: float
    variance: float
    shuffling: float


class Trace(NamedTuple):
    """What `trace` returns.

    Attributes:
      cosines: between the gradients of successive steps.
      losses: of the steps.
      noise: at a few moments.
    """

    cosines: list[float]
    losses: list[float]
    noise: list[Noise]


def trace(
    config: TrainConfig,
    images: np.ndarray,
    labels: np.ndarray,
    steps: int,
    *,
    shown_as: VisualMixer | None = None,
    noise_of: VisualMixer | None = None,
) -> Trace:
    """Trains a network, and looks at its gradients.

    Args:
      config: of which model, options, optimizer, rates and batch size count.
      images: uint8.
      labels: integers.
      steps: how many to take.
      shown_as: mixes each batch anew, before the network sees it.
      noise_of: the mixing whose noise is measured, of images that may be mixed by it
        already; None for plain images.
    """
    model = initial_model(config, images.shape[1:], int(labels.max()) + 1)
    optimizer = make_optimizer(config, steps)
    graphdef, start = init_state(model, optimizer)
    params, rest, opt_state = start.params, start.rest, start.opt_state
    step, gradient = _compiled(graphdef, optimizer, shown_as, noise_of)

    def batch(chosen):
        return jnp.asarray(images[chosen]), jnp.asarray(labels[chosen])

    def spread(params, rest, key, batches):
        found = [
            gradient(params, rest, jax.random.fold_in(key, i), *batch(chosen))
            for i, chosen in enumerate(batches)
        ]
        return _square_and_variance(jnp.stack(found))

    def noise(params, rest, key, chosen):
        drawn = [
            others.choice(len(images), len(chosen), replace=False)
            for _ in range(_BATCHES)
        ]
        square, variance = spread(params, rest, key, drawn)
        if noise_of is None:
            return Noise(square, variance, 0.0)
        _, of_shuffles = spread(params, rest, key, [chosen] * _SHUFFLES)
        return Noise(square, variance, of_shuffles)

    key = jax.random.key(config.seed)
    order = np.random.default_rng(config.seed)
    others = np.random.default_rng((config.seed, 1))
    previous = jnp.zeros(sum(x.size for x in jax.tree.leaves(params)))
    cosines, losses, noises = [], [], []
    moments = set(np.linspace(0, steps, _MOMENTS + 1).astype(int)[1:])
    for i, chosen in enumerate(_batches(order, len(images), config.batch_size, steps)):
        at = jax.random.fold_in(key, i)
        if i + 1 in moments:
            noises.append(noise(params, rest, at, chosen))
        params, rest, opt_state, previous, loss, cosine = step(
            params, rest, opt_state, previous, at, *batch(chosen)
        )
        losses.append(loss)
        cosines.append(cosine)
    return Trace([float(x) for x in cosines[1:]], [float(x) for x in losses], noises)


def _compiled(graphdef, optimizer, shown_as, noise_of):
    """Returns a step of the training, and the gradient on a batch as one vector."""

    def loss_of(params, rest, images, labels):
        model: Any = nnx.merge(graphdef, params, rest)
        logits = model(to_unit(images), train=True)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        _, _, rest = nnx.split(model, nnx.Param, ...)
        return losses.mean(), nnx.to_pure_dict(rest)

    def gradient(params, rest, images, labels):
        (loss, rest), found = jax.value_and_grad(loss_of, has_aux=True)(
            params, rest, images, labels
        )
        flat = jnp.concatenate([x.reshape(-1) for x in jax.tree.leaves(found)])
        return loss, rest, found, flat

    def mixed(mixer, key, images):
        return images if mixer is None else mixer(key, images)[0]

    @jax.jit
    def step(params, rest, opt_state, previous, key, images, labels):
        images = mixed(shown_as, key, images)
        loss, rest, gradients, flat = gradient(params, rest, images, labels)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        params = optax.apply_updates(params, updates)
        scale = jnp.linalg.norm(flat) * jnp.linalg.norm(previous)
        cosine = flat @ previous / jnp.maximum(scale, 1e-30)
        return params, rest, opt_state, flat, loss, cosine

    @jax.jit
    def flat_gradient(params, rest, key, images, labels):
        return gradient(params, rest, mixed(noise_of, key, images), labels)[-1]

    return step, flat_gradient


def _square_and_variance(gradients: jax.Array) -> tuple[float, float]:
    """Returns the square of gradients' mean, and their variance, both unbiased.

    Args:
      gradients: (repeats, values).
    """
    count = len(gradients)
    mean = gradients.mean(0)
    variance = ((gradients - mean[None]) ** 2).sum() / (count - 1)
    return float((mean**2).sum() - variance / count), float(variance)


def _batches(
    order: np.random.Generator, count: int, size: int, steps: int
) -> Iterator[np.ndarray]:
    left = np.empty(0, int)
    for _ in range(steps):
        if len(left) < size:
            left = order.permutation(count)
        yield left[:size]
        left = left[size:]


@dataclasses.dataclass(frozen=True)
class Preset:
    """What to train.

    Attributes:
      data: the data set.
      images: how many training images.
      models: names and options.
      settings: of mixing, besides plain images.
      steps: of each training.
      batch_size: images a step.
    """

    data: str
    images: int
    models: Mapping[str, Mapping[str, Any]]
    settings: tuple[str, ...]
    steps: int
    batch_size: int


Name = Literal["smoke", "cpu", "gpu", "paper"]
_MODELS: Mapping[str, Mapping[str, Any]] = {"resnet8": {}, "vit_tiny_patch4": {}}
_SETTINGS = ("size 2", "size 4", "size 8")
PRESETS: Mapping[Name, Preset] = {
    "smoke": Preset(
        "embedded:digits", 100, {"resnet8": {"widths": (4, 8)}}, ("size 2",), 8, 20
    ),
    "cpu": Preset("cifar10", 10_000, _MODELS, _SETTINGS, 300, 64),
    "gpu": Preset(
        "cifar10",
        50_000,
        {"resnet20_cifar": {}, "vit_ti4_cifar": {}},
        _SETTINGS,
        10_000,
        128,
    ),
    "paper": Preset("cifar10", 50_000, {"resnet18_cifar": {}}, _SETTINGS, 20_000, 128),
}


def run(
    preset: Name, data_dir: str | None, path: pathlib.Path | None = None
) -> list[dict[str, Any]]:
    """Returns cosines, losses and noise of each network and way, as plain data.

    Args:
      preset: see `PRESETS`.
      data_dir: where the TFDS data sets lie.
      path: of the results file; None keeps no results.
    """
    chosen = PRESETS[preset]
    check([chosen.data], data_dir)
    parts = images_of(chosen.data, images=chosen.images, data_dir=data_dir)
    plain, labels = parts["train"]
    ways = [(None, "plain")] + [
        (setting, way)
        for setting in chosen.settings
        for way in ("published once", "fresh")
    ]
    command = f"experiments.fig5_gradients --preset {preset}"
    rows = kept(path, command)
    for model, options in chosen.models.items():
        config = TrainConfig(
            model=model,
            model_options=dict(options),
            optimizer="adam",
            batch_size=chosen.batch_size,
        )
        for setting, way in track(ways, description=model):
            identity = {
                "data": chosen.data,
                "images": len(plain),
                "model": model,
                "options": json.loads(json.dumps(options)),
                "setting": setting,
                "way": way,
                "steps": chosen.steps,
                "batch_size": chosen.batch_size,
            }
            if is_there(rows, identity):
                continue
            start = time.perf_counter()
            images = plain
            mixer = None if setting is None else SETTINGS[setting]
            if mixer is not None and way == "published once":
                images = mixed_part(images, mixer, jax.random.key(0)).images
            found = trace(
                config,
                images,
                labels,
                chosen.steps,
                shown_as=mixer if way == "fresh" else None,
                noise_of=mixer,
            )
            rows.append(
                {
                    **identity,
                    "cosine": float(np.mean(found.cosines)),
                    "cosine_deviation": float(np.std(found.cosines)),
                    "cosines": _smoothed(found.cosines),
                    "losses": _smoothed(found.losses),
                    "noise": [moment._asdict() for moment in found.noise],
                    "seconds": round(time.perf_counter() - start, 1),
                    **made_by(),
                }
            )
            write(path, command, rows)
    return rows


def _smoothed(values: list[float], points: int = 30) -> list[float]:
    """Returns means of so many parts, for a plot."""
    parts = np.array_split(np.asarray(values), min(points, len(values)))
    return [round(float(part.mean()), 4) for part in parts]


def main(
    preset: Name = "smoke",
    data_dir: str | None = None,
    json_out: JsonOut = None,
) -> None:
    """Compare gradients on plain and on mixed images.

    Args:
      preset: what to train.
      data_dir: where the TFDS data sets lie.
      json_out: the results; those that it holds already are not measured again.
    """
    for row in run(preset, data_dir, json_out):
        shares = [x["shuffling"] / x["variance"] for x in row["noise"]]
        told = ", ".join(f"{share:.1%}" for share in shares)
        print(
            f"{row['model']}, {row['setting'] or ''} {row['way']}: "
            f"cosine {row['cosine']:+.3f}, of the noise by shuffling {told}"
        )


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.fig5_gradients")
