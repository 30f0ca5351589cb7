"""`python -m benchmarks.render`: the README's section on speed.

It is made of the committed results, so that no number in it is typed.
"""

import json
import pathlib
from typing import Any

from benchmarks import mixer, shuffle, vfe

ROOT = pathlib.Path(__file__).parents[1]
PLOT = ROOT / "docs" / "images" / "speed.png"
CURVE = ROOT / "docs" / "images" / "publishing.png"
_BEGIN, _END = "<!-- speed: python -m benchmarks.render -->", "<!-- end of speed -->"


def results(name: str, preset: str = "cpu") -> dict[str, Any]:
    """Returns the committed results of a benchmark."""
    path = ROOT / "benchmarks" / "results" / f"{name}_{preset}.json"
    return json.loads(path.read_text())


def section() -> str:
    """Returns the README's section, in Markdown."""
    shuffled, mixed, measured = map(results, ("shuffle", "mixer", "vfe"))
    heads, cells = shuffle.table(shuffled)
    chosen = [heads.index(h) for h in heads[:5]]
    lines = [_row([heads[i] for i in chosen]), _row(["---"] * len(chosen))]
    lines += [_row([row[i] for i in chosen]) for row in cells]
    speeds = [row["mvalues_per_s"][shuffle.OURS] for row in shuffled["rows"]]
    ratios = [float(row[4]) for row in cells]
    joint, mixed_channels = ([float(row[i]) for row in cells] for i in (6, 7))
    keyed = [_with_secret_key(row) for row in shuffled["rows"]]
    derived = [row["mvalues_per_s"][shuffle.SECRET] for row in shuffled["rows"]]
    needed = [float(row[8].rstrip("x")) for row in cells]
    vfe_ratios = [float(row[3]) for row in vfe.table(measured)[1]]
    called = mixer.table(mixed)[1]
    small = [row for row in called if not row[4]][-1]
    fastest, *_, slowest = [row for row in called if row[4]]
    small_takes = small[6].rstrip("x")
    takes = [cell.rstrip("x") for cell in slowest[5:]]
    memory = shuffled["memory_mvalues_per_s"]
    on_gpu = results("shuffle", "gpu")
    without = "" if shuffled.get("torch") else ", PyTorch not among them"

    paragraph = f"""\
On {shuffled["cores"]} CPU cores, `shuffle` permutes {_span(speeds, 0)} million values a
second, {_span(ratios)} times the fastest other way to do the same job, measured in the
same run{without} (`x + 1` in memory: {memory:,.0f}), in {_span(needed)} times the
batch's memory. To draw an image's keystream from a secret key, `SecretKey.for_image`,
takes longer than to shuffle, at {_span(derived, 0)} million values a second: together
they are {_span(keyed)} times as fast as the fastest other way, which keeps no secrets.
`channels="joint"` is {_span(joint)} times as fast, `"mixed"` {_span(mixed_channels)}
times. A whole `VisualMixer` call, planning included, takes {small[2]} ms an image at
32x32x3. At 224x224x3 it takes {fastest[2]} ms with regions of up to {fastest[1]} pixels
and {slowest[2]} ms with regions of any size, {fastest[4]} and {slowest[4]} times faster
than the 2.1 s of the authors' code. Shuffling regions of any size takes {takes[0]}
times the batch's memory, planning them {takes[1]} times, and {small_takes} times at
32x32x3. `vfe` is {_span(vfe_ratios)} times as fast as NumPy."""
    return "\n".join(
        [
            _BEGIN,
            paragraph,
            "",
            f"![Times as fast as other ways]({PLOT.relative_to(ROOT)})",
            "",
            *lines,
            "",
            *_on_gpu(),
            "",
            *_publishing(),
            "",
            "Measured by `make bench` ([benchmarks/results](benchmarks/results), JAX "
            f"{shuffled['versions']['jax']}; commit of `shuffle` "
            f"`{shuffled['commit']}`, `VisualMixer` `{mixed['commit']}`, `vfe` "
            f"`{measured['commit']}`, publishing "
            f"`{results('publish')['commit']}`; GPU: JAX {on_gpu['versions']['jax']}, "
            f"commit `{on_gpu['commit']}`).",
            _END,
        ]
    )


def _with_secret_key(row: dict[str, Any]) -> float:
    """Returns the ratio to the fastest peer if keystreams are derived, too."""
    speeds = row["mvalues_per_s"]
    whole = 1 / (1 / speeds[shuffle.SECRET] + 1 / speeds[shuffle.IMAGE_KEYS])
    return whole / max(speeds[peer] for peer in row["peers"])


def _span(numbers, digits: int = 1) -> str:
    return f"{min(numbers):.{digits}f} to {max(numbers):.{digits}f}"


def _on_gpu() -> list[str]:
    """Returns what a GPU makes of batches, beside other ways, and of training."""
    shuffled, trained = results("shuffle", "gpu"), results("train", "gpu")
    heads = ["images", "region size", "Gvalues/s", "fastest other", "ratio"]
    lines = [_row([*heads, "temporary memory"]), _row(["---"] * 6)]
    for row in shuffled["rows"]:
        speeds = {name: x / 1000 for name, x in row["mvalues_per_s"].items()}
        fastest = max(row["peers"], key=speeds.__getitem__)
        cells = [
            "x".join(map(str, row["batch"])),
            row["plan"],
            f"{speeds[shuffle.OURS]:.0f}",
            f"{fastest} ({speeds[fastest]:.0f})",
            f"{speeds[shuffle.OURS] / speeds[fastest]:.1f}",
            f"{row['temporary_bytes_per_byte']:.0f}x",
        ]
        lines.append(_row(cells))
    costs = [
        f"{row['overhead_percent']['size 16']:.1f} % longer for `{row['model']}` "
        f"(mixing alone takes {row['mixing_alone_percent']['size 16']:.1f} % of it; "
        f"in planned regions, {row['overhead_percent']['adaptive']:.1f} % longer)"
        for row in trained["rows"]
    ]
    return [
        f"On one {shuffled['device'].partition(',')[0]} (`x + 1` in memory: "
        f"{shuffled['memory_mvalues_per_s'] / 1000:.0f} billion values a second):",
        "",
        *lines,
        "",
        "Mixing afresh inside a training step, at 224x224x3, bfloat16 and regions "
        f"of 16 pixels, makes it {' and '.join(costs)}.",
    ]


def _publishing() -> list[str]:
    """Returns what publishing takes, beside decoding and encoding alone."""
    measured = results("publish")
    lines = [
        "`vim-jax mix` on a folder of photographs, beside decoding and encoding the "
        "same files on as many cores. Shuffled pixels are packed for runs of equal "
        "bytes only, in half the time or less, as that is all that can be packed. "
        "Packed so, photographs make larger files, so nobody would; the last two "
        "columns compare with that all the same, the same encoder for both:",
        "",
        _row(
            [
                "setting",
                "photographs",
                "images/s",
                "plain",
                "ratio",
                "plain, packed for runs",
                "ratio",
            ]
        ),
        _row(["---"] * 7),
    ]
    for row in measured["speed"]:
        speeds = row["images_per_s"]
        cells = [
            row["setting"],
            f"{row['photographs']:,} ({row['megapixels']:.0f} megapixels)",
            f"{speeds['vim-jax mix']:.1f}",
            f"{speeds['plain']:.1f}",
            f"{row['ratio']:.2f}",
            f"{speeds['plain, packed for runs']:.1f}",
            f"{row['ratio_packed_alike']:.2f}",
        ]
        lines.append(_row(cells))
    *_, start, end, large = measured["memory"]
    growth = end["peak_mib"] / start["peak_mib"] - 1
    curve = measured["curve"]
    speeds = [row["megapixels_per_s"] for row in curve]
    width, height = large["size"].split("x")
    (compiling,) = measured["compiling"]
    seconds = compiling["first_run_s"] - compiling["second_run_s"]
    lines += [
        "",
        f"A machine's first run takes {seconds:.0f} s longer, to compile, whatever the "
        "sizes of the images; the result is kept in the user's cache folder, or where "
        "`NUMBA_CACHE_DIR` says. Where images are small, or cores are many, a process "
        "a core takes over after some seconds, and takes more memory. At level 0.6, "
        "where they did so at once, they peaked at "
        f"{start['peak_mib']:,.0f} MiB together, of "
        f"{start['photographs']:,} photographs, and {end['peak_mib']:,.0f} MiB of "
        f"{end['photographs']:,} ({growth:+.0%}). One photograph of "
        f"{int(width):,}x{int(height):,} pixels takes "
        f"{large['peak_mib'] / 1024:.2f} GiB. "
        f"Speed per pixel depends on the size, from {min(speeds):.1f} to "
        f"{max(speeds):.1f} megapixels a second between {curve[0]['side']}x"
        f"{curve[0]['side']} and {curve[-1]['side']}x{curve[-1]['side']}:",
        "",
        f"![Megapixels a second by image side]({CURVE.relative_to(ROOT)})",
    ]
    return lines


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def plot() -> None:
    """Draws the ratios to the peers, and the speed of publishing."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    curve = results("publish")["curve"]
    figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
    sides = [row["side"] for row in curve]
    for name, label in (("", "vim-jax mix, level 0.6"), ("plain_", "decode + encode")):
        speeds = [row[f"{name}megapixels_per_s"] for row in curve]
        axis.loglog(sides, speeds, marker="o", label=label)
    axis.set_xticks(sides, [str(side) for side in sides])
    axis.minorticks_off()
    axis.set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    axis.set_xlabel("side of square photographs, pixels")
    axis.set_ylabel("megapixels a second")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(CURVE, dpi=110)

    rows = results("shuffle")["rows"]
    peers = sorted({peer for row in rows for peer in row["peers"]})
    figure, axes = plt.subplots(
        1, 2, figsize=(9, 3.2), sharey=True, layout="constrained"
    )
    batches = sorted({tuple(row["batch"]) for row in rows}, key=lambda b: b[1])
    for axis, batch in zip(axes, batches, strict=True):
        chosen = [row for row in rows if tuple(row["batch"]) == batch]
        for peer in peers:
            points = [
                (row["plan"], row["mvalues_per_s"][shuffle.OURS] / speed)
                for row in chosen
                if (speed := row["mvalues_per_s"].get(peer))
            ]
            axis.plot(*zip(*points, strict=True), marker="o", label=peer)
        axis.axhline(1, color="black", linewidth=0.8)
        axis.set_yscale("log")
        axis.set_title("x".join(map(str, batch)), fontsize=10)
        axis.set_xlabel("region size, pixels")
        axis.grid(axis="y", which="both", alpha=0.3)
    axes[0].set_yticks([1, 2, 3, 5, 10, 20, 50], ["1", "2", "3", "5", "10", "20", "50"])
    axes[0].set_ylabel("times as fast as ...")
    axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(PLOT, dpi=110)


def main() -> None:
    """Writes the plot, and the section into the README."""
    plot()
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, rest = text.split(_BEGIN, 1)
    after = rest.split(_END, 1)[1]
    readme.write_text(before + section() + after)


if __name__ == "__main__":
    main()
