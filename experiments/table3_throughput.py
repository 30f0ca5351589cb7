"""Images a second of training: plain, published once, and mixed anew at every step.

    python -m experiments.table3_throughput --preset cpu \
        --json experiments/results/table3_throughput_cpu.json

The slides' Table III. Steps of one network, on plain images, on images that were mixed
beforehand, and with mixing inside the step, take turns; medians over repeats, of the
overhead with its 95 % interval, each step beside the plain one of its round. Mixing
beforehand costs nothing at the step, and is reported as images a second of its own. All
steps take one batch of noise that is on the device: reading and moving images is left
out, which makes the share of mixing look larger, not smaller.
The file given by `--json` is written after each network: start the command again and
it goes on. `cpu` takes about ten minutes on two cores. Expect "published once" to be as
fast as plain, whatever the noise says, and mixing alone to take a fifth of a per cent
of a small network's step, or less; on a GPU, with its short steps, up to some per cent.
"""

import dataclasses
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
import tyro
from flax import nnx
from rich.progress import track

from benchmarks.timing import rounds
from experiments.record import JsonOut, kept, made_by, write
from experiments.training_runs import SETTINGS
from vim_jax.models import create_model
from vim_jax.training import TrainConfig
from vim_jax.training.optimizers import make_optimizer
from vim_jax.training.step import init_state, make_train_step

PLAIN, ONCE, FRESH, MIXING = "plain", "published once", "fresh", "mixing alone"
_CLASSES = 100


@dataclasses.dataclass(frozen=True)
class Preset:
    """What to time.

    Attributes:
      models: names and options.
      batch_size: images a step.
      side: of the images, in pixels.
      setting: one of `SETTINGS`.
      steps: in a row.
      repeats: of which the median is taken.
    """

    models: Mapping[str, Mapping[str, Any]]
    batch_size: int
    side: int
    setting: str
    steps: int
    repeats: int


Name = Literal["smoke", "cpu", "gpu", "paper"]
_SMALL = (
    "resnet20_cifar", "vit_ti4_cifar", "swin_t_cifar", "shufflenet_v2_x1_0_cifar",
    "mobilenet_v2_cifar", "vgg11_bn_cifar",
)  # fmt: skip
_LARGE = (
    "shufflenet_v2_x1_0", "vgg16_bn", "resnet50", "mobilenet_v2", "vit_b16", "swin_t",
)  # fmt: skip
PRESETS: Mapping[Name, Preset] = {
    "smoke": Preset({"resnet8": {"widths": (4, 8)}}, 4, 16, "size 4", 1, 6),
    "cpu": Preset({name: {} for name in _SMALL}, 64, 32, "size 4", 1, 15),
    "gpu": Preset(
        {name: {"dtype": "bfloat16"} for name in _LARGE}, 256, 224, "size 14", 10, 20
    ),
    "paper": Preset({name: {} for name in _LARGE}, 64, 224, "size 14", 10, 20),
}


def run(preset: Name, path: pathlib.Path | None = None) -> list[dict[str, Any]]:
    """Returns the speed of each network, as plain data.

    Args:
      preset: see `PRESETS`.
      path: of the results file, written after each network; those that it holds
        already are not timed again, unless the preset has changed since.
    """
    chosen = PRESETS[preset]
    shape = (chosen.batch_size, chosen.side, chosen.side, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    told = _as_json(dataclasses.asdict(chosen))
    del told["models"]
    command = f"experiments.table3_throughput --preset {preset}"
    rows = [row for row in kept(path, command) if told.items() <= row.items()]
    for model, options in track(chosen.models.items(), description="models"):
        network = _as_json({"model": model, "options": options})
        if any(network.items() <= row.items() for row in rows):
            continue
        start = time.perf_counter()
        taken = rounds(_ways(model, options, images, chosen), chosen.repeats)
        per_way = chosen.batch_size * chosen.steps
        rows.append(
            {
                **network,
                **told,
                "images_per_s": {
                    way: per_way / float(np.median(x)) for way, x in taken.items()
                },
                "overhead_percent": {
                    way: _overhead(taken[way], taken[PLAIN]) for way in (ONCE, FRESH)
                },
                "seconds": round(time.perf_counter() - start, 1),
                **made_by(),
            }
        )
        write(path, command, rows)
    return rows


def _as_json(told: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a results file gives back."""
    return json.loads(json.dumps(told))


def _overhead(taken: Sequence[float], plain: Sequence[float]) -> dict[str, float]:
    """Returns the median overhead in percent, and the limits of its 95 % interval."""
    percent = 100 * (np.divide(taken, plain) - 1)
    test = scipy.stats.quantile_test(percent, p=0.5)
    low, high = test.confidence_interval(0.95)
    found = {"median": np.median(percent), "low": low, "high": high}
    return {name: float(value) for name, value in found.items()}


def _ways(
    model: str, options: Mapping[str, Any], images: np.ndarray, preset: Preset
) -> dict[str, Callable[[], Any]]:
    """Returns ways to take some steps, all on one network in turns."""
    mixer = SETTINGS[preset.setting]
    plain = TrainConfig(model=model, model_options=dict(options), learning_rate=1e-4)
    fresh = dataclasses.replace(plain, fresh=mixer)
    network = create_model(
        model,
        num_classes=_CLASSES,
        image_size=preset.side,
        rngs=nnx.Rngs(0),
        **options,
    )
    optimizer = make_optimizer(plain, 1000)
    graphdef, state = init_state(network, optimizer)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    # Placed as the step returns it, or its second call would compile again.
    state = jax.device_put(state, device)
    indices = jnp.arange(len(images), dtype=jnp.int32)
    labels = indices % _CLASSES
    key = jax.random.key(0)
    mix = jax.jit(lambda key, images: mixer(key, images)[0])

    def train(config: TrainConfig, batch: jax.Array) -> Callable[[], Any]:
        step = make_train_step(graphdef, optimizer, config, replicated=device)

        def run():
            nonlocal state
            metrics = None
            for _ in range(preset.steps):
                state, metrics = step(state, batch, labels, indices)
            return metrics

        return run

    batch = jnp.asarray(images)
    return {
        PLAIN: train(plain, batch),
        ONCE: train(plain, mix(key, batch)),
        FRESH: train(fresh, batch),
        MIXING: lambda: [mix(key, batch) for _ in range(preset.steps)],
    }


def main(
    preset: Name = "smoke",
    json_out: JsonOut = None,
) -> None:
    """Time training on plain and on mixed images.

    Args:
      preset: what to time.
      json_out: write the results here.
    """
    for row in run(preset, json_out):
        parts = [f"{row['images_per_s'][PLAIN]:,.0f} images/s"]
        for way, more in row["overhead_percent"].items():
            parts.append(f"{way} {more['median']:+.1f} % longer")
        print(f"{row['model']}: {', '.join(parts)}")


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.table3_throughput")
