"""What the training config and the data are refused for."""

import dataclasses
import inspect
import json
import re
from typing import Any

import numpy as np
import pytest
from training_runs import CONFIG, run

import vim_jax
from vim_jax.training import TrainConfig


def _vit(**options):
    return {"model": "vit_tiny_patch4", "model_options": options}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(model="lenet"), "model is 'lenet': use one of mobilenet_v2,"),
        (dict(optimizer="adagrad"), 'optimizer is \'adagrad\': use "st_adam", "adam",'),
        (dict(epochs=0), "epochs is 0: use at least 1"),
        (dict(epochs=2.5), "epochs is 2.5: use a whole number"),
        (dict(crop=True), "crop is True: use a whole number"),
        (dict(seed=1.5), "seed is 1.5: use a whole number"),
        (dict(epochs=None), "epochs is None: use a whole number"),
        (dict(learning_rate="fast"), "learning_rate is 'fast': use a number"),
        (dict(ema=True), "ema is True: use a number"),
        (dict(flip=1), "flip is 1: use True or False"),
        (dict(fresh=4), "fresh is 4: use a VisualMixer or None"),
        (
            dict(model_options=[("depth", 1)]),
            "use a dict",
        ),
        (dict(model_options={"image_size": 9}), "no option 'image_size': its options"),
        (dict(model_options={"rngs": 0}), "no option 'rngs': its options are"),
        (_vit(dim="abc"), "dim is 'abc': use a whole number"),
        (dict(clip_norm="no"), "clip_norm is 'no': use a number or None"),
        (_vit(pool="max"), 'pool is \'max\': use "mean" or "token"'),
        (_vit(depth=1.5), "depth is 1.5: use a whole number"),
        (
            _vit(position_embedding="no"),
            "position_embedding is 'no': use True or False",
        ),
        (dict(batch_size=-1), "batch_size is -1: use at least 1"),
        (dict(checkpoint_every=0), "checkpoint_every is 0: use at least 1"),
        (dict(learning_rate=0.0), "learning_rate is 0.0: use a positive"),
        (dict(learning_rate=float("nan")), "learning_rate is nan: use a positive"),
        (dict(weight_decay=-0.1), "weight_decay is -0.1: use zero or"),
        (dict(warmup_fraction=1.0), "warmup_fraction is 1.0: use at least 0 and below"),
        (dict(label_smoothing=-0.5), "label_smoothing is -0.5: use at least 0"),
        (dict(num_classes=1), "num_classes is 1: use at least 2"),
        (dict(seed=-1), "seed is -1: use 0 to 4294967295"),
        (dict(seed=2**32), "seed is 4294967296: use 0 to"),
        (dict(ema=1.0), "ema is 1.0: use at least 0 and below"),
        (dict(ema=0.99999999), "ema is 0.99999999: use at most 0.99999"),
        (dict(clip_norm=0.0), "clip_norm is 0.0: use a positive number"),
        (dict(crop=-1), "crop is -1: use at least 0"),
        (dict(crop=3, crop_multiple=2), "crop is 3 with crop_multiple 2: use a multip"),
        (dict(crop_multiple=0), "crop_multiple is 0: use at least 1"),
        (dict(checkpoint_every_steps=0), "checkpoint_every_steps is 0: use at least 1"),
        (
            dict(optimizer="adam", weight_decay=0.1),
            'with optimizer "adam": use "adamw"',
        ),
    ],
)
def test_config_messages_name_argument_value_and_remedy(fields, message, unchecked):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainConfig(**fields)


def test_numbers_become_pythons(unchecked):
    given: dict[str, Any] = {
        "epochs": np.int64(3),
        "seed": np.uint32(5),
        "learning_rate": np.float32(0.5),
        "weight_decay": 1,
    }
    config = TrainConfig(**given)
    numbers = config.epochs, config.seed, config.learning_rate, config.weight_decay
    assert json.dumps(numbers) == "[3, 5, 0.5, 1.0]"


def test_options_are_the_configs_own_and_plain(unchecked):
    widths = [np.int64(4), 8]
    config = TrainConfig(model="resnet8", model_options={"widths": widths})
    widths.append(16)
    assert json.dumps(config.model_options) == '{"widths": [4, 8]}'


def test_every_field_is_frozen_and_explained():
    config = TrainConfig(fresh=vim_jax.VisualMixer(region_size=2))
    for field in dataclasses.fields(config):
        assert f"\n  {field.name}: " in inspect.cleandoc(TrainConfig.__doc__ or "")
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, field.name, getattr(config, field.name))


def test_data_messages_name_argument_value_and_remedy(sets):
    (images, labels), tests = sets
    wide = np.zeros((5, 8, 9, 1), np.uint8)
    for train_set, test_sets, message in [
        (
            (images / 255, labels),
            tests,
            "images of train_set are float64 .*: pass uint8",
        ),
        ((images, labels[1:]), tests, r"labels of train_set are int64 \(511,\): pass"),
        ((images[:0], labels[:0]), tests, "train_set has no images"),
        ((images[:9], labels[:9]), {}, "batch_size is 64 but .* only 9 images: use"),
        ((images, labels), {"w": (wide, labels[:5])}, r"of w are \(8, 9, 1\) but"),
        ((images, labels), {"train": tests["plain"]}, 'called "train": use another'),
        ((images, labels[:, None]), {"train_set": tests["plain"]}, "labels of train_"),
        ((images, labels % 5), tests, "labels of plain run from 0 to 9: number them"),
    ]:
        with pytest.raises(ValueError, match=message):
            run(CONFIG, train_set, test_sets)
