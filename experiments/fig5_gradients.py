"""Gradients of networks that learn from plain and from mixed images.

    python -m experiments.fig5_gradients --preset cpu --data-dir DIR \
        --json experiments/results/fig5_gradients_cpu.json

The slides' Fig. 5, with numbers. While a network learns, the cosine between the
gradients of successive steps: the lower, the more they oscillate. And at a few moments,
the noise that shuffling alone adds to the gradient of one batch: the same images are
mixed anew sixteen times, and the variance of the gradient is divided by its mean square
(0: shuffling changes nothing; 1: the gradient is nothing but its noise). On plain
images, for comparison, the noise that any training has: that of sixteen batches of
other images.

"published once": each image is mixed before training; "fresh": anew at every step.
The file given by `--json` is written after each network: start the command again and
it goes on. `cpu` takes an hour and a quarter on one core. Expect cosines of
0.10 to 0.17, up to 0.02 lower on mixed images, and more noise from shuffling the larger
the regions, but less than from drawing other images.
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

from experiments.record import JsonOut, kept, made_by, write
from experiments.training_runs import SETTINGS, Run, images_of, mixed_part
from vim_jax import VisualMixer
from vim_jax.training import TrainConfig
from vim_jax.training.initial import initial_model
from vim_jax.training.optimizers import make_optimizer
from vim_jax.training.step import init_state, to_unit

_REPEATS = 16
_MOMENTS = 4  # At which noise is measured, evenly over the training.


class Trace(NamedTuple):
    """What `trace` returns.

    Attributes:
      cosines: between the gradients of successive steps.
      losses: of the steps.
      noise: of shuffling, in [0, 1], at a few moments; without anything to shuffle by,
        that of drawing other images.
    """

    cosines: list[float]
    losses: list[float]
    noise: list[float]


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
      noise_of: the mixing whose share in the gradient is measured; None measures that
        of the images' choice.
    """
    model = initial_model(config, images.shape[1:], int(labels.max()) + 1)
    optimizer = make_optimizer(config, steps)
    graphdef, start = init_state(model, optimizer)
    params, rest, opt_state = start.params, start.rest, start.opt_state

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
    def noise(params, rest, key, images, labels):
        def one(batch):
            key, images, labels = batch
            return gradient(params, rest, mixed(noise_of, key, images), labels)[-1]

        batches = jax.random.split(key, _REPEATS), images, labels
        return _noise_share(jax.lax.map(one, batches))

    key = jax.random.key(config.seed)
    order = np.random.default_rng(config.seed)
    others = np.random.default_rng((config.seed, 1))
    previous = jnp.zeros(sum(x.size for x in jax.tree.leaves(params)))
    cosines, losses, noises = [], [], []
    moments = set(np.linspace(0, steps, _MOMENTS + 1).astype(int)[1:])
    for i, chosen in enumerate(_batches(order, len(images), config.batch_size, steps)):
        batch, wanted = jnp.asarray(images[chosen]), jnp.asarray(labels[chosen])
        at = jax.random.fold_in(key, i)
        if i + 1 in moments:
            drawn = np.stack([
                others.choice(len(images), len(chosen), replace=False)
                if noise_of is None else chosen
                for _ in range(_REPEATS)
            ])  # fmt: skip
            many = jnp.asarray(images[drawn]), jnp.asarray(labels[drawn])
            noises.append(float(noise(params, rest, at, *many)))
        params, rest, opt_state, previous, loss, cosine = step(
            params, rest, opt_state, previous, at, batch, wanted
        )
        losses.append(loss)
        cosines.append(cosine)
    return Trace([float(x) for x in cosines[1:]], [float(x) for x in losses], noises)


def _noise_share(gradients: jax.Array) -> jax.Array:
    """Returns the variance of gradients (repeats, values) over their mean square."""
    count = len(gradients)
    mean = gradients.mean(0)
    spread = ((gradients - mean[None]) ** 2).sum() / (count - 1)
    # The mean of few has some of the noise, too.
    signal = jnp.maximum((mean**2).sum() - spread / count, 0)
    return spread / jnp.maximum(spread + signal, 1e-30)


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
    source = Run(data=chosen.data, images=chosen.images, test_images=1, model="")
    plain, labels = images_of(source, data_dir)["train"]
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
            if any(identity.items() <= row.items() for row in rows):
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
                    "noise": found.noise,
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
        noise = ", ".join(f"{x:.2f}" for x in row["noise"])
        source = "drawing images" if row["setting"] is None else "shuffling"
        print(
            f"{row['model']}, {row['setting'] or ''} {row['way']}: "
            f"cosine {row['cosine']:+.3f}, noise of {source} {noise}"
        )


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.fig5_gradients")
