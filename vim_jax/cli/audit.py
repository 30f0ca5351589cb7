"""`vim-jax audit`: attack a published set, or a setting, and say what leaks."""

import json as json_format
import os
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import tyro
from rich import box
from rich.table import Table

from vim_jax._cache import cache_folder
from vim_jax.cli import options
from vim_jax.cli.console import count, err, out, printable, say, steps
from vim_jax.cli.folders import lies_in

if TYPE_CHECKING:  # Imported on demand: help should not wait for JAX.
    from vim_jax.attacks.audit import Audit
    from vim_jax.attacks.cases import Case

_STYLE = {
    "leaks": "bold red",
    "partial": "bold yellow",
    "at chance": "green",
    "inconclusive": "dim",
}


def audit(
    published: Annotated[
        tyro.conf.Positional[pathlib.Path | None],
        tyro.conf.arg(
            help="A folder that `vim-jax mix` wrote, with its manifest.",
            metavar="PUBLISHED",
        ),
    ] = None,
    /,
    *,
    originals: Annotated[
        str | None,
        tyro.conf.arg(help="What it was mixed from, to judge by.", metavar="SRC"),
    ] = None,
    split: Annotated[
        str | None,
        tyro.conf.arg(
            help="The split of --originals, if that is a TFDS data set.", metavar="NAME"
        ),
    ] = None,
    data: Annotated[
        str | None,
        tyro.conf.arg(
            help="Instead of PUBLISHED: a labelled set, to judge a setting by before "
            "anything is published.",
            metavar="SET",
        ),
    ] = None,
    auxiliary: Annotated[
        str | None,
        tyro.conf.arg(
            help="Images like the published ones, for the attackers to learn from.",
            metavar="SET",
        ),
    ] = None,
    auxiliary_split: Annotated[
        str | None,
        tyro.conf.arg(
            help="The split of --auxiliary, if that is a TFDS data set.", metavar="NAME"
        ),
    ] = None,
    level: options.Level = None,
    target_vfe: options.TargetVfe = None,
    region_size: options.Size = None,
    max_region: options.MaxRegion = None,
    channels: options.ChannelMode = "independent",
    scramble_regions: options.Scramble = False,
    data_dir: options.DataDir = None,
    quick: Annotated[
        bool, tyro.conf.arg(help="Attacks that train no network. The default.")
    ] = False,
    full: Annotated[
        bool, tyro.conf.arg(help="All attacks: 40 minutes on two cores, for CIFAR-10.")
    ] = False,
    images: Annotated[
        int, tyro.conf.arg(help="Images to attack, at most.", metavar="N")
    ] = 100,
    auxiliary_images: Annotated[
        int,
        tyro.conf.arg(help="Images the attackers learn from, at most.", metavar="N"),
    ] = 5_000,
    json: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(help="Write all numbers into this new file.", metavar="OUT.json"),
    ] = None,
    report: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(
            help="Write a page with pictures, the originals among them: only you can "
            "read it.",
            metavar="OUT.html",
        ),
    ] = None,
    keep: Annotated[
        pathlib.Path | None,
        tyro.conf.arg(
            help="Where finished attacks are kept, so that an interrupted audit goes "
            "on; by default in the user's cache folder. It holds pictures that the "
            "attacks made.",
            metavar="DIR",
        ),
    ] = None,
    max_pixels: options.MaxPixels = None,
) -> int:
    """Attack mixed images, and say what leaks.

    The attacker knows everything but the key. Each attack is also run where it must
    succeed; where it does not, its verdict is `inconclusive`. An audit needs no key.
    It cannot show that images are safe, only that these attacks did not break them.

    Examples:
      vim-jax audit published/ --originals photos/ --report audit.html
      vim-jax audit --data cifar10 --data-dir ~/tensorflow_datasets --level 0.6
      vim-jax audit --data embedded:digits --region-size 2 --full --json audit.json
    """
    if quick and full:
        raise ValueError("--quick and --full contradict: give one of them")
    options.check_at_least_one(images=images, auxiliary_images=auxiliary_images)
    for name, path in (("--json", json), ("--report", report)):
        if path is not None and os.path.lexists(path):
            raise ValueError(f"{name} {path} exists: choose another name or remove it")
    for name, path in (("--json", json), ("--report", report), ("--keep", keep)):
        if published and path and lies_in(path, published):
            raise ValueError(
                f"{name} {path} lies inside {published}, where it would be published: "
                "put it elsewhere"
            )
    setting = (level, target_vfe, region_size)
    has_setting = any(x is not None for x in setting) or max_region is not None
    if (published is None) == (data is None):
        raise ValueError(
            "give either PUBLISHED with --originals, or --data with a setting, such as "
            "--level 0.6"
        )
    if published is not None:
        if originals is None:
            raise ValueError(
                "--originals is missing: the attacks are scored against what PUBLISHED "
                "was mixed from"
            )
        if has_setting or scramble_regions or channels != "independent":
            raise ValueError(
                f"{published} was mixed with the settings in its manifest: leave those "
                "for --data out"
            )
    elif any(x is not None for x in (originals, split, auxiliary, auxiliary_split)):
        raise ValueError(
            "--originals, --split, --auxiliary and --auxiliary-split only go with "
            "PUBLISHED: with --data, the test images are attacked and the training "
            "images are the attacker's"
        )
    kept = cache_folder() / "audit" if keep is None else keep
    from vim_jax.attacks.audit import audit as attack
    from vim_jax.attacks.verdicts import summary
    from vim_jax.data.writers import write_atomically

    with steps() as show:

        def reading(done: int, total: int) -> None:
            show("reading images", done, total)

        if data is not None:
            from vim_jax.attacks.cases import from_data

            mixer = options.mixer_from(
                *setting, max_region, channels, scramble_regions, True
            )
            case = from_data(
                data,
                mixer,
                data_dir=data_dir,
                images=images,
                auxiliary=auxiliary_images,
                progress=reading,
            )
        else:
            assert published is not None
            assert originals is not None
            from vim_jax.attacks.published import from_published

            case = from_published(
                published,
                originals,
                split=split,
                auxiliary=auxiliary,
                auxiliary_split=auxiliary_split,
                data_dir=data_dir,
                images=images,
                windows=auxiliary_images,
                max_pixels=max_pixels,
                progress=reading,
            )
        found = attack(
            case,
            "full" if full else "quick",
            kept=kept,
            progress=show,
        )
    from vim_jax.report.provenance import provenance

    numbers = {**provenance(f"vim-jax {shlex.join(sys.argv[1:])}"), **summary(found)}
    # Files first: what is shown may go to a program that ends early, such as `head`.
    if json is not None:
        text = json_format.dumps(numbers, indent=2) + "\n"
        write_atomically(json, text.encode())
    if report is not None:
        from vim_jax.report.audit import render

        write_atomically(report, render(found, numbers).encode(), mode=0o600)
    _print(found, numbers)
    if json is not None:
        err.print(f"Wrote {printable(str(json))}.", soft_wrap=True)
    if report is not None:
        err.print(
            f"Wrote {printable(str(report))}: it shows originals, do not publish it.",
            soft_wrap=True,
        )
    say(f"What the attacks made of the images is kept in {kept}.")
    for note in numbers["notes"]:
        say(note)
    return 0


def _print(found: "Audit", numbers: dict) -> None:
    case: Case = found.case
    out.print()
    mixer = case.mixer
    by = (
        f"region size {mixer.region_size}"
        if mixer.region_size is not None
        else f"level {mixer.level}"
        if mixer.level is not None
        else f"target VFE {mixer.target_vfe}"
    )
    say(f"{case.name}: {count(len(case.published), 'image')}, {by}")
    for question, answer in numbers["verdicts"].items():
        verdict = answer["verdict"]
        out.print(
            f"[bold]{question:9}[/] [{_STYLE[verdict]}]{verdict:12}[/] "
            f"{printable(answer['text'])}"
        )
    table = Table(box=box.SIMPLE, pad_edge=False)
    # What each attacker knows is in the report: here, it would leave no room.
    for column in ("attack", "metric"):
        table.add_column(column, overflow="fold")
    for column in ("score", "95 %", "chance", "control"):
        table.add_column(column, justify="right")
    table.add_column("verdict", min_width=len("inconclusive"))
    for row in numbers["attacks"]:
        known = row["low"] is not None
        interval = f"{row['low']:.3g} to {row['high']:.3g}" if known else "-"
        table.add_row(
            row["name"],
            row["metric"],
            f"{row['score']:.3g}",
            interval,
            f"{row['chance']:.3g}",
            f"{row['control']['score']:.3g}",
            f"[{_STYLE[row['verdict']]}]{row['verdict']}[/]",
        )
    out.print(table)
    for name, why in numbers["skipped"].items():
        say(f"{name} was not tried: {why}.")
    if numbers["suggested_by_vfe"] is not None:
        say(
            f"VFE alone would suggest {numbers['suggested_by_vfe']:.0%} of the way "
            "from plain to shuffled entirely."
        )
    for line in numbers["advice"]:
        say(f"- {line}")
