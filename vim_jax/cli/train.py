"""`vim-jax train`: train a network on plain or mixed images."""

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.table import Table

from vim_jax.cli import options, published, trained_on, training_sets
from vim_jax.cli.console import out as console
from vim_jax.cli.console import progress, say, warn
from vim_jax.cli.folders import warn_of_unread
from vim_jax.mixer import VisualMixer

if TYPE_CHECKING:
    from flax import nnx

    from vim_jax.data.arrays import TrainTest
    from vim_jax.training import TrainConfig


def train(
    *,
    data: Annotated[
        str,
        tyro.conf.arg(
            help="A folder with class sub-folders, a TFDS name, embedded:digits or "
            "embedded:faces."
        ),
    ],
    test_data: Annotated[
        str | None,
        tyro.conf.arg(
            help="Another such set to test on; by default the test split of --data, or "
            "a fifth of each class.",
            metavar="SET",
        ),
    ] = None,
    out: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(
            help="Folder for checkpoints and metrics; by default runs/DATA-MODEL.",
            metavar="DIR",
        ),
    ] = None,
    model: Annotated[
        str,
        tyro.conf.arg(
            help="Architecture: resnet8, vit_tiny_patch4, resnet20_cifar, ...; a wrong "
            "name shows all.",
            metavar="NAME",
        ),
    ] = "resnet8",
    model_option: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]],
        tyro.conf.arg(
            help="Option of the architecture, such as dtype=bfloat16; can be repeated.",
            metavar="NAME=VALUE",
        ),
    ] = (),
    patch_size: Annotated[
        int | None,
        tyro.conf.arg(help="Patch size of a ViT, in pixels.", metavar="N"),
    ] = None,
    patch_encoder: Annotated[
        str | None,
        tyro.conf.arg(
            help="How a ViT reads a patch: linear, in order; or sorted, so that "
            "shuffling inside it changes nothing.",
            metavar="NAME",
        ),
    ] = None,
    weights: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(
            help="Start from a safetensors file with the state dict of torchvision's "
            "model of this name; the last layer starts anew, and a ViT's position "
            "embedding is resized to the images.",
            metavar="FILE",
        ),
    ] = None,
    level: options.Level = None,
    target_vfe: options.TargetVfe = None,
    region_size: options.Size = None,
    max_region: options.MaxRegion = None,
    channels: options.ChannelMode = "independent",
    scramble_regions: options.Scramble = False,
    fresh: Annotated[
        bool,
        tyro.conf.arg(help="Mix training images anew in each step, instead of once."),
    ] = False,
    mixed_already: Annotated[
        bool,
        tyro.conf.arg(
            help="The images of --data are mixed already: in regions of --region-size, "
            "if it is given. Folders that `vim-jax mix` wrote say so themselves."
        ),
    ] = False,
    remix: Annotated[
        bool,
        tyro.conf.arg(
            help="Shuffle mixed training images again in each step, as anyone can who "
            "knows the regions: those of --region-size, or of the folder's manifest."
        ),
    ] = False,
    eval_remixes: Annotated[
        int,
        tyro.conf.arg(
            help="Test also on the mean of N further shuffles of each mixed image, in "
            "its regions.",
            metavar="N",
        ),
    ] = 0,
    flip: Annotated[
        bool, tyro.conf.arg(help="Mirror training images at random.")
    ] = False,
    crop: Annotated[
        int,
        tyro.conf.arg(help="Shift training images by up to N pixels.", metavar="N"),
    ] = 0,
    crop_multiple: Annotated[
        int | None,
        tyro.conf.arg(
            help="Shift by multiples of N pixels; by default the region size, if the "
            "images are mixed before, or else 1.",
            metavar="N",
        ),
    ] = None,
    optimizer: Annotated[
        Literal["st_adam", "adam", "adam_no_bias_correction", "adamw", "sgd"],
        tyro.conf.arg(help="Optimizer."),
    ] = "st_adam",
    learning_rate: Annotated[float, tyro.conf.arg(help="Peak learning rate.")] = 1e-3,
    weight_decay: Annotated[
        float, tyro.conf.arg(help="Strength of weight decay.")
    ] = 0.0,
    warmup_fraction: Annotated[
        float, tyro.conf.arg(help="Share of steps in which the learning rate rises.")
    ] = 0.1,
    clip_norm: Annotated[
        float | None,
        tyro.conf.arg(help="Largest norm of a gradient.", metavar="NORM"),
    ] = None,
    label_smoothing: Annotated[
        float, tyro.conf.arg(help="Share of the target spread over all classes.")
    ] = 0.0,
    ema: Annotated[
        float,
        tyro.conf.arg(
            help="Decay rate of the parameters' moving average, which is then tested, "
            "such as 0.999."
        ),
    ] = 0.0,
    epochs: Annotated[int, tyro.conf.arg(help="Passes over the data.")] = 10,
    batch_size: Annotated[int, tyro.conf.arg(help="Images a step.")] = 128,
    seed: Annotated[
        int, tyro.conf.arg(help="Of the mixing, the parameters and the order.")
    ] = 0,
    checkpoint_every_steps: Annotated[
        int | None,
        tyro.conf.arg(
            help="Save every N steps, besides after every epoch.", metavar="N"
        ),
    ] = None,
    tensorboard: Annotated[
        bool, tyro.conf.arg(help="Write metrics for TensorBoard, too.")
    ] = False,
    limit: Annotated[
        int | None,
        tyro.conf.arg(help="Use the first N images of each part.", metavar="N"),
    ] = None,
    side: Annotated[
        int | None,
        tyro.conf.arg(
            help="Crop images to the square in their middle, and resize it to N x N "
            "pixels, before they are mixed.",
            metavar="N",
        ),
    ] = None,
    data_dir: options.DataDir = None,
    max_pixels: options.MaxPixels = None,
) -> int:
    """Train a network on plain or mixed images, and test it on both.

    With --level, --target-vfe or --region-size, the training images are mixed, each
    once, as if they had been published, or anew in each step (--fresh); the network is
    then tested on plain test images, on mixed ones and on their thumbnails. Without, it
    trains on the images as they are: plain, or mixed by `vim-jax mix`, and then
    shuffled again if asked to (--remix). An image whose target is out of reach comes as
    near as it can.

    Run again with the same arguments, an interrupted training goes on. After SIGTERM it
    saves and ends with exit code 143. Several processes train together if
    JAX_COORDINATOR_ADDRESS (HOST:PORT of the first), JAX_NUM_PROCESSES and
    JAX_PROCESS_ID are set for each; under Slurm and Open MPI the first one is enough.

    Examples:
      vim-jax train --data embedded:digits --model resnet8 --region-size 2
      vim-jax train --data cifar10 --data-dir ~/tensorflow_datasets --out runs/cifar \
--model vit_tiny_patch4 --patch-encoder sorted --region-size 4 --remix --crop 4 --flip
    """
    from vim_jax import training
    from vim_jax.data.arrays import native_sides, train_test_arrays
    from vim_jax.data.sources import open_source, splits_of
    from vim_jax.training import parallel, records

    parallel.initialize()
    targets = (level, target_vfe, region_size)
    how = (max_region, channels, scramble_regions)
    mixer = None
    if any(target is not None for target in targets):
        mixer = options.mixer_from(*targets, *how, region_size is None)
    elif how != (None, "independent", False):
        raise ValueError(
            "--max-region, --channels and --scramble-regions say how to mix, but not "
            "how much: give --level, --target-vfe or --region-size, too"
        )
    elif remix or eval_remixes:
        mixer = published.mixer_of(data)
    train_mixed, test_mixed = training_sets.mixed_sets(
        data, test_data, mixed_already, side, mixer
    )
    _check(fresh, train_mixed, test_mixed, remix, eval_remixes, mixer)
    regions = training_sets.regions_of(data, mixer, fresh)
    if crop_multiple is None:
        crop_multiple = training_sets.crop_multiple(crop, regions)
    patch = {"patch_size": patch_size, "patch_encoder": patch_encoder}
    # What torchvision's weights expect of images.
    usual = {} if weights is None else {"normalize": "imagenet"}
    config = training.TrainConfig(
        model=model,
        model_options=usual
        | {k: v for k, v in patch.items() if v is not None}
        | dict(map(_model_option, model_option)),
        optimizer=optimizer,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_fraction=warmup_fraction,
        clip_norm=clip_norm,
        label_smoothing=label_smoothing,
        ema=ema,
        flip=flip,
        crop=crop,
        crop_multiple=crop_multiple,
        fresh=mixer if fresh or remix else None,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        checkpoint_every_steps=checkpoint_every_steps,
    )
    if out is None:
        name = pathlib.Path(data).resolve().name.replace(":", "-")
        out = pathlib.Path("runs", f"{name}-{model}")
    for name in filter(None, (data, test_data)):
        training_sets.check_out(out, name)
    parallel.in_all(lambda: records.check_settings(out, config))
    with progress("reading") as show:
        sets = train_test_arrays(
            data,
            test_spec=test_data,
            data_dir=data_dir,
            max_pixels=max_pixels,
            limit=limit,
            side=side,
            progress=show,
        )
    highest = int(sets.test.labels.max())
    if highest > sets.train.labels.max():
        # Few training images may lack classes that test images have.
        config = dataclasses.replace(config, num_classes=highest + 1)
    initial = _initial_model(config, sets, weights)
    if isinstance(regions, int):
        # Shifts that are no multiples of the regions cut them up anyway, as asked for.
        shifts = crop > 0 and crop_multiple % regions == 0
        shape = sets.train.images.shape[1:]
        training_sets.check_moves(regions, shape, flip=flip, crop=shifts)
    if (flip or crop) and regions == "planned" and parallel.is_main():
        warn(
            "--flip and --crop move regions, which have many sizes here, to where "
            "those of other images are not"
        )
    if parallel.is_main():
        say(training_sets.summary(sets))
        for name in filter(None, (data, test_data)):
            if not splits_of(name, data_dir=data_dir):
                warn_of_unread(open_source(name).skipped)
        if side and mixer is not None and mixer.region_size != "entire":
            native = min(native_sides(data, data_dir=data_dir, max_pixels=max_pixels))
            if native < side:
                warn(training_sets.enlarged(side, native, mixer))
    train_set, test_sets = training_sets.prepared(
        sets, mixer, seed, train_mixed=fresh or train_mixed, test_mixed=test_mixed
    )
    history = training.train(
        config,
        train_set,
        test_sets,
        out=out,
        write_tensorboard=tensorboard,
        model=initial,
        label_names=sets.label_names,
    )
    if parallel.is_main():
        told = trained_on.described(data, mixer, train_mixed, fresh=fresh, remix=remix)
        records.add_to_result(out, {"trained_on": told})
    accuracies = {name: history.final[f"{name}_accuracy"] for name in test_sets}
    if eval_remixes:
        accuracy = training.evaluate(
            history.model, *test_sets["mixed"], remixed=mixer, times=eval_remixes
        )
        accuracies[f"mixed, mean of {eval_remixes} shuffles"] = accuracy
        if parallel.is_main():
            found = {"eval_remixes": eval_remixes, "remixed_accuracy": accuracy}
            records.add_to_result(out, found)
    if parallel.is_main():
        _report(accuracies, out)
    return 0


def _report(accuracies: dict[str, float], out: pathlib.Path) -> None:
    table = Table("test images", "accuracy")
    for name, accuracy in accuracies.items():
        table.add_row(name, f"{accuracy:.1%}")
    console.print(table)
    say(f"Checkpoints and metrics are in {out}.")


def _check(
    fresh: bool,
    train_mixed: bool,
    test_mixed: bool,
    remix: bool,
    eval_remixes: int,
    mixer: VisualMixer | None,
) -> None:
    """Raises ValueError on options that contradict each other or the images."""
    if eval_remixes < 0:
        raise ValueError(f"--eval-remixes {eval_remixes} makes no sense: use 0 or more")
    if fresh and (remix or train_mixed):
        raise ValueError(
            "--fresh mixes plain images anew, --remix is for images that are mixed "
            "once, by this command or already: leave one out"
        )
    if fresh and mixer is None:
        raise ValueError("--fresh needs to know how to mix: give --region-size")
    for name, given in {"--remix": remix, "--eval-remixes": eval_remixes}.items():
        if given and (mixer is None or mixer.region_size is None):
            raise ValueError(f"{name} needs to know the regions: give --region-size")
    planned = mixer is not None and mixer.region_size is None
    if planned and (train_mixed or test_mixed):
        raise ValueError(
            "--level and --target-vfe plan regions from the originals, and these "
            "images are mixed already: give neither, or a --region-size"
        )


def _initial_model(
    config: "TrainConfig", sets: "TrainTest", weights: pathlib.Path | None
) -> "nnx.Module | None":
    """Returns the model to start from, or None to start from fresh parameters.

    Raises:
      ValueError: if the model, the weights, the batch size or the crop do not fit,
        before hours of mixing.
    """
    from vim_jax.training.augment import check_crop
    from vim_jax.training.image_sets import resolve_num_classes, steps_in_epoch
    from vim_jax.training.initial import initial_model, model_config_of

    steps_in_epoch(sets.train, config.batch_size)
    shape = sets.train.images.shape[1:]
    check_crop(config.crop, shape)
    classes = resolve_num_classes(config.num_classes, sets.train, {"test": sets.test})
    if weights is not None:
        if shape[2] != 3 and config.model_options["normalize"] == "imagenet":
            raise ValueError(
                f"--weights {weights}: torchvision's are of networks for three "
                f"channels, and these images have {shape[2]}; for weights of another "
                "network give --model-option normalize=fixed"
            )
        return initial_model(config, shape, classes, weights)
    model_config_of(config, shape, classes)
    return None


def _model_option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise ValueError(f"--model-option {text} is not NAME=VALUE, as in dim=64")
    try:
        parsed = json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        parsed = value
    return name, parsed
