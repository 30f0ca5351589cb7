"""What commands refuse, and tell, of the folders that they are given."""

import os
import pathlib
from collections.abc import Sequence

from vim_jax.cli.console import count, say, warn
from vim_jax.data.decode import SUFFIXES

_MOST_NAMES = 10  # Of files, shown.
# What telephones and cameras write, and `decode` does not read.
_UNREAD_PICTURES = (
    ".heic", ".heif", ".avif", ".gif", ".jfif", ".jxl", ".dng", ".cr2", ".cr3", ".nef",
    ".arw", ".rw2", ".orf", ".raf",
)  # fmt: skip


def lies_in(path: str | pathlib.Path, folder: str | pathlib.Path) -> bool:
    """Returns whether a path is a folder, or inside it, links followed."""
    # Not `Path.resolve`, which fails on links that lead round in a circle.
    inner, outer = (pathlib.Path(os.path.realpath(x)) for x in (path, folder))
    return inner == outer or outer in inner.parents


def refuse_nesting(
    src: str | pathlib.Path, dst: pathlib.Path, key: pathlib.Path | None
) -> None:
    """Raises ValueError if two of SRC, DST and the key file lie inside each other."""
    if os.path.isdir(src):
        if lies_in(dst, src):
            raise ValueError(
                f"DST {dst} lies inside SRC {src}: choose a folder outside it"
            )
        if lies_in(src, dst):
            raise ValueError(
                f"SRC {src} lies inside DST {dst}: choose a folder of its own for DST"
            )
    for name, folder in (("SRC", src), ("DST", dst)):
        if key is not None and lies_in(key, folder):
            raise ValueError(
                f"key file {key} lies inside {name}, where it could be published with "
                "the images: keep it elsewhere"
            )


def tell_left_out(names: Sequence[str]) -> None:
    """Says which files of a source were left out, loudly if they may be pictures."""
    if not names:
        return
    shown = ", ".join(names[:_MOST_NAMES]) + ", ..." * (len(names) > _MOST_NAMES)
    say(
        f"{count(len(names), 'file')} left out, dead links or not of the types "
        f"{', '.join(SUFFIXES)}: {shown}"
    )
    warn_of_unread(names)


def warn_of_unread(names: Sequence[str]) -> None:
    """Warns of the pictures among files that were left out of a source."""
    pictures = [x for x in names if x.lower().endswith(_UNREAD_PICTURES)]
    if pictures:
        warn(
            f"{count(len(pictures), 'picture')} left out, such as {pictures[0]}: "
            "convert them to PNG to have them, too."
        )


def tell_others(folder: pathlib.Path, own: Sequence[str]) -> None:
    """Warns of files in a folder that are not those of a set, hidden ones left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix() for path in files}
    shown = {x for x in names if not any(part[:1] == "." for part in x.split("/"))}
    others = sorted(shown.difference(own))
    if others:
        warn(
            f"{folder} also holds {count(len(others), 'other file')}, such as "
            f"{others[0]}: not from this set."
        )
