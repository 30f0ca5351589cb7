"""`vim-jax train`: train a network on plain or mixed images."""

import pathlib
from typing import Annotated, Literal

import tyro
from rich.table import Table

from vim_jax.cli import options
from vim_jax.cli.console import out as console
from vim_jax.cli.console import progress, say


def train(
    *,
    data: Annotated[
        str,
        tyro.conf.arg(
            help="A folder with class sub-folders, a TFDS name, embedded:digits or "
            "embedded:faces."
        ),
    ],
    out: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(
            help="Folder for checkpoints and metrics; by default runs/DATA-MODEL.",
            metavar="DIR",
        ),
    ] = None,
    model: Annotated[
        Literal["vit_tiny_patch4", "resnet8", "resnet20_cifar"],
        tyro.conf.arg(help="Architecture."),
    ] = "resnet8",
    patch_size: Annotated[
        int | None,
        tyro.conf.arg(help="Patch size of a ViT, in pixels.", metavar="N"),
    ] = None,
    patch_encoder: Annotated[
        Literal["linear", "sorted"] | None,
        tyro.conf.arg(
            help="How a ViT reads a patch: in order, or sorted, so that shuffling "
            "inside it changes nothing."
        ),
    ] = None,
    level: options.Level = None,
    target_vfe: options.TargetVfe = None,
    region_size: options.Size = None,
    max_region: options.MaxRegion = None,
    channels: options.ChannelMode = "independent",
    scramble_regions: options.Scramble = False,
    optimizer: Annotated[
        Literal["st_adam", "adam", "sgd"], tyro.conf.arg(help="Optimizer.")
    ] = "st_adam",
    learning_rate: Annotated[float, tyro.conf.arg(help="Peak learning rate.")] = 1e-3,
    epochs: Annotated[int, tyro.conf.arg(help="Passes over the data.")] = 10,
    batch_size: Annotated[int, tyro.conf.arg(help="Images a step.")] = 128,
    seed: Annotated[
        int, tyro.conf.arg(help="Of the mixing, the parameters and the order.")
    ] = 0,
    limit: Annotated[
        int | None,
        tyro.conf.arg(help="Use the first N images of each part.", metavar="N"),
    ] = None,
    data_dir: options.DataDir = None,
) -> int:
    """Train a network on plain or mixed images, and test it on both.

    With --level, --target-vfe or --region-size, the training images are mixed, each
    once, as if they had been published; the network is then tested on plain test
    images and on mixed ones. Without, it trains on plain images. An image whose target
    is out of reach comes as near as it can. Images that are mixed already need
    no option: give the folder that `vim-jax mix` wrote.

    Run again with the same arguments, an interrupted training goes on.

    Examples:
      vim-jax train --data embedded:digits --model resnet8 --region-size 2
      vim-jax train --data cifar10 --data-dir ~/tensorflow_datasets --out runs/cifar \
--model vit_tiny_patch4 --patch-encoder sorted --region-size 4 --epochs 20
    """
    import jax

    from vim_jax import training
    from vim_jax.data.arrays import train_test_arrays
    from vim_jax.data.batches import mix_array

    if out is None:
        name = pathlib.Path(data).name.replace(":", "-")
        out = pathlib.Path("runs", f"{name}-{model}")
    patch = {"patch_size": patch_size, "patch_encoder": patch_encoder}
    config = training.TrainConfig(
        model=model,
        model_options={k: v for k, v in patch.items() if v is not None},
        optimizer=optimizer,
        learning_rate=learning_rate,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
    )
    targets = (level, target_vfe, region_size)
    mixer = None
    if any(target is not None for target in targets):
        mixer = options.mixer_from(
            *targets, max_region, channels, scramble_regions, region_size is None
        )
    with progress("reading") as show:
        sets = train_test_arrays(data, data_dir=data_dir, limit=limit, progress=show)
    train_set = sets.train.images, sets.train.labels
    test_sets = {"plain": (sets.test.images, sets.test.labels)}
    if mixer is not None:
        key = jax.random.key(seed)
        with progress("mixing") as show:
            images, labels = sets.train
            mixed = mix_array(mixer, jax.random.fold_in(key, 0), images, progress=show)
            train_set = mixed, labels
            images, labels = sets.test
            mixed = mix_array(mixer, jax.random.fold_in(key, 1), images, progress=show)
            test_sets["mixed"] = mixed, labels
    history = training.train(config, train_set, test_sets, out=out)
    table = Table("test images", "accuracy")
    for name in test_sets:
        table.add_row(name, f"{history.final[f'{name}_accuracy']:.1%}")
    console.print(table)
    say(f"Checkpoints and metrics are in {out}.")
    return 0
