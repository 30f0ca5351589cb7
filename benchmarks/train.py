"""Training steps on plain batches, and on batches mixed afresh inside the step.

The overhead is how much longer than the plain step one takes. The plans of "adaptive"
steps were made beforehand. Mixing alone, a compiled program of its own, tells what
overhead to expect with less noise.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

import vim_jax
from benchmarks.images import photographs
from benchmarks.timing import Ways, seconds
from vim_jax.models import create_model
from vim_jax.training import TrainConfig
from vim_jax.training.step import init_state, make_train_step

PLAIN, ADAPTIVE = "plain", "adaptive"
PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "models": {"resnet8": {"widths": (4, 8)}},
        "batch": (4, 16),
        "region_size": 4,
        "steps": 1,
        "repeats": 1,
    },
    "cpu": {
        "models": {"resnet20_cifar": {}, "vit_tiny_patch4": {}},
        "batch": (128, 32),
        "region_size": 16,
        "steps": 1,
        "repeats": 9,
    },
    "gpu": {
        "models": {
            "resnet50": {"dtype": "bfloat16"},
            "vit_b16": {"dtype": "bfloat16"},
        },
        "batch": (256, 224),
        "region_size": 16,
        # So many in a row, or the wait for each would count as well.
        "steps": 10,
        "repeats": 7,
    },
}
_CLASSES = 1000


def run(preset: str) -> dict[str, Any]:
    """Returns images a second and percents of the plain step: a row a model."""
    settings = PRESETS[preset]
    images = jnp.asarray(photographs(*settings["batch"]))
    size = settings["region_size"]
    mixer = vim_jax.VisualMixer(level=0.5, max_region=size, clip=True)
    plans = jax.jit(jax.vmap(mixer.plan))(images)
    mixings = {
        f"size {size}": lambda key, image, plan: vim_jax.shuffle(key, image, size),
        ADAPTIVE: vim_jax.shuffle,
    }
    rows = []
    for name, options in settings["models"].items():
        ways = _steps(name, options, images, plans, mixings, settings["steps"])
        alone = _mixing_alone(images, plans, mixings, settings["steps"])
        taken = seconds({**ways, **alone}, settings["repeats"])
        plain = taken[PLAIN]
        values = len(images) * settings["steps"]
        rows.append(
            {
                "model": name,
                "options": options,
                "batch": list(images.shape),
                "images_per_s": {k: _rounded(values / taken[k]) for k in ways},
                "overhead_percent": {
                    k: _rounded(100 * (taken[k] / plain - 1)) for k in mixings
                },
                "mixing_alone_percent": {
                    k: _rounded(100 * taken[_alone(k)] / plain) for k in mixings
                },
            }
        )
    return {"rows": rows, "steps_per_repeat": settings["steps"]}


def _steps(model, options, images, plans, mixings, steps) -> dict[str, Callable]:
    """Returns ways to train for some steps, all of them on one model in turns."""
    network = create_model(
        model,
        num_classes=_CLASSES,
        image_size=images.shape[1:3],
        rngs=nnx.Rngs(0),
        **options,
    )
    optimizer = vim_jax.st_adam(1e-4)
    graphdef, state = init_state(network, optimizer)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    # Placed as the step returns it, or its second call would compile again.
    state = jax.device_put(state, device)
    train_step = make_train_step(graphdef, optimizer, TrainConfig(), replicated=device)
    indices = jnp.arange(len(images), dtype=jnp.int32)
    labels = indices % _CLASSES

    @functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
    def step(mixing, state, images, labels, plans):
        if mixing is not None:
            images = _mix(mixing, state.step, images, plans)
        return train_step(state, images, labels, indices)

    def train(mixing):
        nonlocal state
        metrics = None
        for _ in range(steps):
            state, metrics = step(mixing, state, images, labels, plans)
        return metrics

    return {
        name: functools.partial(train, mixing)
        for name, mixing in {PLAIN: None, **mixings}.items()
    }


def _mixing_alone(images, plans, mixings, steps) -> Ways:
    mix = jax.jit(_mix, static_argnums=0)

    def run(mixing):
        return [mix(mixing, jnp.int32(i), images, plans) for i in range(steps)]

    return {_alone(name): functools.partial(run, mixings[name]) for name in mixings}


def _alone(name: str) -> str:
    return f"{name}, mixing alone"


def _mix(mixing, number, images, plans) -> jax.Array:
    """Returns the images mixed by a function of key, image and plan."""
    key = jax.random.fold_in(jax.random.key(0), number)
    return jax.vmap(mixing)(jax.random.split(key, len(images)), images, plans)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def table(results: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns the heads and cells of a table."""
    heads = ["model", "batch", "images", "images/s", "overhead", "mixing alone"]
    cells = []
    for row in results["rows"]:
        start = [row["model"], "x".join(map(str, row["batch"]))]
        for name, speed in row["images_per_s"].items():
            shares = ["", ""]
            if name != PLAIN:
                shares = [
                    f"{row[kind][name]:.2f} %"
                    for kind in ("overhead_percent", "mixing_alone_percent")
                ]
            cells.append([*start, name, f"{speed:,.0f}", *shares])
    return heads, cells
