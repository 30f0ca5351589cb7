"""The demo: mix photographs, train on mixed digits, report.

Everything it shows is computed when it runs, from images that come with scikit-image
and scikit-learn, and is written as JSON beside the report.
"""

import itertools
import json
import pathlib
import platform
import time
import webbrowser
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

import vim_jax
from vim_jax.data import (
    DataError,
    decode,
    embedded,
    folder,
    mix_array,
    train_test_arrays,
    write_atomically,
)
from vim_jax.data.publish import publish
from vim_jax.data.restore import restore
from vim_jax.report import figures, page
from vim_jax.report.pictures import data_uri, png, psnr, square, strip
from vim_jax.training import TrainConfig, train

SETTINGS = {
    "level 0.25": vim_jax.VisualMixer(level=0.25),
    "level 0.5": vim_jax.VisualMixer(level=0.5),
    "level 0.75": vim_jax.VisualMixer(level=0.75),
    "level 1": vim_jax.VisualMixer(level=1.0),
    "hierarchical": vim_jax.VisualMixer(region_size=8, scramble_regions=True),
}
_OUTPUTS = {"photographs", "restored", "demo.key"}
_OUTPUTS |= {"results.json", "report.html", "before_after.png"}
_SIDE = 160
_SHOWN = ("astronaut", "chelsea", "coffee", "camera")
_CURVES = ("astronaut", "chelsea", "coffee", "rocket")
_SEED = 0
_REGION_SIZE = 2  # Of the 8x8 digits.
_NETWORKS: dict[str, dict[str, Any]] = {
    "ViT": {
        "model": "vit_tiny_patch4",
        "model_options": {"patch_size": 2, "dim": 48, "depth": 2},
    },
    "ResNet": {"model": "resnet8"},
}
_OPTIMIZERS = {"ST-Adam": "st_adam", "Adam": "adam"}
_EPOCHS = 25
_LEARNING_RATE = 2e-3


def run(
    out: pathlib.Path, *, show: bool = False, say: Callable[[str], object] = print
) -> None:
    """Runs the demo.

    Args:
      out: the folder for images, results and report; new, or that of an earlier demo,
        whose files are replaced.
      show: whether to open the report in a browser.
      say: called with sentences on how far it is.

    Raises:
      DataError: if `out` holds something else.
    """
    start = time.perf_counter()
    out = page.claim(out, _OUTPUTS | {_slug(name) for name in SETTINGS})
    say("Mixing photographs ...")
    photographs = _photographs(out)
    published = _publish_all(out)
    say("Training on digits ...")
    training = _train_all(say)
    gallery = _gallery(out, photographs)
    findings = page.findings(published, training, gallery)
    results = {
        "command": "vim-jax demo",
        "photographs": published,
        "digits": training,
        "findings": findings,
        "seed": _SEED,
        "device": f"{jax.devices()[0].device_kind} ({platform.machine()})",
        "versions": {"vim_jax": vim_jax.__version__, "jax": jax.__version__},
        "seconds": round(time.perf_counter() - start, 1),
    }
    write_atomically(
        out / "results.json", (json.dumps(results, indent=2) + "\n").encode()
    )
    say("Drawing ...")
    html = page.render(
        results,
        gallery=gallery,
        plots=_plots(photographs, training),
        training_rows=_rows(training),
    )
    report = out / "report.html"
    write_atomically(report, html.encode())
    write_atomically(out / "before_after.png", _before_after(out, photographs))
    say(f"The report is {report.resolve()}")
    if show:
        webbrowser.open(report.resolve().as_uri())


def _photographs(out: pathlib.Path) -> dict[str, np.ndarray]:
    """Writes the bundled photographs, cut square and reduced; returns them."""
    photographs = {}
    for example in embedded("photographs"):
        image = square(example.image, _SIDE)
        photographs[example.id] = image
        write_atomically(out / "photographs" / f"{example.id}.png", png(image))
    return photographs


def _publish_all(out: pathlib.Path) -> dict[str, Any]:
    """Publishes the photographs at every setting; returns what the manifests say."""
    key = vim_jax.SecretKey.generate()
    key.save(out / "demo.key")
    source = folder(out / "photographs")
    published = {}
    for name, mixer in SETTINGS.items():
        start = time.perf_counter()
        target = out / _slug(name)
        report = publish(source, target, mixer, key)
        restored = restore(target, out / "restored" / _slug(name), key)
        for sentence in (*report.failures.values(), *restored.failures.values()):
            raise DataError(f"{name}: {sentence}")
        published[name] = {
            "images": {
                record["id"].removesuffix(".png"): {
                    k: v for k, v in record.items() if k not in ("id", "sealed")
                }
                for record in report.records
            },
            "restored_bit_for_bit": len(restored.names),
            "seconds": round(time.perf_counter() - start, 2),
        }
    return published


def _slug(name: str) -> str:
    return name.replace(" ", "-")


def _published(out: pathlib.Path, name: str, photograph: str) -> np.ndarray:
    return decode(out / _slug(name) / f"{photograph}.png").image


def _region_means(mixed: np.ndarray, original: np.ndarray, name: str) -> np.ndarray:
    """Returns the means of a published image's regions, as a viewer who knows them.

    The plan is that of the original: an attacker is assumed to know it.
    """
    means = vim_jax.thumbnail(mixed, SETTINGS[name].plan(original))
    return np.rint(np.asarray(means)).astype(np.uint8)


def _gallery(
    out: pathlib.Path, photographs: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Returns each shown photograph beside its mixed forms and their thumbnails."""
    rows = []
    for photograph in _SHOWN:
        original = photographs[photograph]
        cells = []
        for name in SETTINGS:
            mixed = _published(out, name, photograph)
            means = _region_means(mixed, original, name)
            cells.append(
                {
                    "name": name,
                    "mixed": data_uri(png(mixed)),
                    "thumbnail": data_uri(png(means)),
                    "vfe": float(vim_jax.vfe(mixed)),
                    "mixed_psnr": psnr(mixed, original),
                    "thumbnail_psnr": psnr(means, original),
                }
            )
        rows.append(
            {
                "name": photograph,
                "original": data_uri(png(original)),
                "vfe": float(vim_jax.vfe(original)),
                "cells": cells,
            }
        )
    return rows


def _before_after(out: pathlib.Path, photographs: dict[str, np.ndarray]) -> bytes:
    """Returns the strip for the README: photographs, mixed, and their thumbnails."""
    name = "level 0.5"
    shown = ("astronaut", "chelsea", "coffee", "rocket")
    originals = [photographs[photograph] for photograph in shown]
    mixed = [_published(out, name, photograph) for photograph in shown]
    means = [
        _region_means(image, original, name)
        for image, original in zip(mixed, originals, strict=True)
    ]
    return png(strip([originals, mixed, means]))


def _plots(
    photographs: dict[str, np.ndarray], training: dict[str, Any]
) -> dict[str, str]:
    astronaut = photographs["astronaut"]
    maps = {
        name: SETTINGS[name].plan(astronaut)
        for name in ("level 0.25", "level 0.5", "level 0.75")
    }
    curves = {
        network: {
            f"{optimizer}, {data}": runs[data][optimizer]["losses"]
            for data in ("plain", "mixed")
            for optimizer in ("ST-Adam", "Adam")
        }
        for network, runs in training["networks"].items()
    }
    drawn = {
        "vfe": figures.vfe_against_region_size(
            {name: photographs[name] for name in _CURVES}, key=jax.random.key(_SEED)
        ),
        "regions": figures.region_map(astronaut, maps),
        "accuracy": figures.accuracies(_rows(training)),
        "loss": figures.loss_curves(curves),
    }
    return {
        name: data_uri(figures.svg(figure), "image/svg+xml")
        for name, figure in drawn.items()
    }


def _train_all(say: Callable[[str], object]) -> dict[str, Any]:
    """Trains the networks on plain, mixed and thumbnail digits."""
    sets = train_test_arrays("embedded:digits")
    key = jax.random.key(_SEED)
    mixer = vim_jax.VisualMixer(region_size=_REGION_SIZE)
    train_images = {
        "plain": sets.train.images,
        "mixed": mix_array(mixer, jax.random.fold_in(key, 0), sets.train.images),
        "thumbnails": _thumbnails(sets.train.images),
    }
    test_images = {
        "plain": sets.test.images,
        "mixed": mix_array(mixer, jax.random.fold_in(key, 1), sets.test.images),
        "thumbnail": _thumbnails(sets.test.images),
    }
    test_sets = {name: (x, sets.test.labels) for name, x in test_images.items()}
    networks: dict[str, Any] = {network: {} for network in _NETWORKS}
    for network, (data, images) in itertools.product(networks, train_images.items()):
        networks[network][data] = {
            name: _train(network, optimizer, (images, sets.train.labels), test_sets)
            for name, optimizer in _OPTIMIZERS.items()
            if data != "thumbnails" or optimizer == "st_adam"
        }
        accuracy = networks[network][data]["ST-Adam"]["plain_accuracy"]
        say(f"  {network} trained on {data} digits: {accuracy:.1%} on plain ones")
    return {
        "networks": networks,
        "epochs": _EPOCHS,
        "training_images": len(sets.train.labels),
        "test_images": len(sets.test.labels),
        "region_size": _REGION_SIZE,
        "learning_rate": _LEARNING_RATE,
    }


def _train(network: str, optimizer: Any, train_set, test_sets) -> dict[str, Any]:
    """Trains one network; returns its losses, accuracies and seconds."""
    config = TrainConfig(
        **_NETWORKS[network],
        optimizer=optimizer,
        epochs=_EPOCHS,
        learning_rate=_LEARNING_RATE,
        batch_size=64,
        seed=_SEED,
    )
    history = train(config, train_set, test_sets, progress=False)
    accuracies = (f"{name}_accuracy" for name in test_sets)
    return {
        "losses": [epoch["train_loss"] for epoch in history.epochs],
        **{name: history.final[name] for name in accuracies},
        "seconds": round(sum(epoch["seconds"] for epoch in history.epochs), 2),
    }


def _thumbnails(
    images: UInt8[np.ndarray, "n h w c"],
) -> UInt8[np.ndarray, "n h w c"]:
    means = jax.vmap(lambda image: vim_jax.thumbnail(image, _REGION_SIZE))(images)
    return np.rint(np.asarray(means)).astype(np.uint8)


def _rows(training: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns a row a network and training set, trained with ST-Adam."""
    return [
        {
            "name": f"{network}, trained on {data}",
            "network": network,
            "data": data,
            "plain": runs["ST-Adam"]["plain_accuracy"],
            "mixed": runs["ST-Adam"]["mixed_accuracy"],
            "thumbnail": runs["ST-Adam"]["thumbnail_accuracy"],
        }
        for network, by_data in training["networks"].items()
        for data, runs in by_data.items()
    ]
