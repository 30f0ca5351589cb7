"""What an informed attacker gets out of CIFAR-10 at each setting.

    python -m experiments.audit_settings --preset cpu --data-dir DIR \
        --json experiments/results/audit_settings_cpu.json

Attacks the test images, with the training images as the attacker's own. The `cpu`
preset trains no network and takes about ten minutes on two cores. `full` trains
networks for all settings, which takes hours.
"""

import json
import pathlib
import time
from typing import Annotated, Any, Literal

import tyro

from vim_jax import VisualMixer
from vim_jax.attacks.audit import Audit, Budget, audit
from vim_jax.attacks.cases import from_data
from vim_jax.attacks.verdicts import summary
from vim_jax.cli.console import steps
from vim_jax.data.writers import write_atomically
from vim_jax.report.provenance import provenance

SETTINGS = {
    "size 2": VisualMixer(region_size=2),
    "size 4": VisualMixer(region_size=4),
    "size 8": VisualMixer(region_size=8),
    "size 16": VisualMixer(region_size=16),
    "level 0.6": VisualMixer(level=0.6),
    "size 4, scrambled": VisualMixer(region_size=4, scramble_regions=True),
    "size 8, scrambled": VisualMixer(region_size=8, scramble_regions=True),
}
COLUMNS = {
    "as published": ("as published", "SSIM"),
    "thumbnail": ("thumbnail", "SSIM"),
    "multiset": ("multiset assignment", "SSIM"),
    "learned inversion": ("learned inversion", "SSIM"),
    "linked, values": ("linkage by sorted values", "rank-1 (share)"),
    "linked, hash": ("linkage by perceptual hash", "rank-1 (share)"),
}

Preset = Literal["smoke", "cpu", "full"]


def run(
    preset: Preset, data_dir: str | None, keep: pathlib.Path | None
) -> dict[str, Any]:
    """Returns the audits of all settings as plain data.

    Args:
      preset: how much to try; "smoke" takes the bundled digits, and few of them.
      data_dir: where the TFDS data sets lie.
      keep: where finished attacks are kept.
    """
    smoke = preset == "smoke"
    rows = {}
    for name, mixer in SETTINGS.items():
        if smoke and mixer.region_size not in (2, 4):
            continue
        budget: Budget = "full" if preset == "full" else "quick"
        case = from_data(
            "embedded:digits" if smoke else "cifar10",
            mixer,
            data_dir=data_dir,
            images=20 if smoke else 200,
            auxiliary=100 if smoke else 5000,
        )
        with steps() as show:
            found: Audit = audit(case, budget, kept=keep, progress=show)
        rows[name] = summary(found)
    return rows


def table(rows: dict[str, Any]) -> str:
    """Returns a Markdown table of the scores that tell most.

    Args:
      rows: what `run` returned.
    """
    lines = [
        "| setting | VFE suggests | " + " | ".join(COLUMNS) + " |",
        "|" + "---|" * (len(COLUMNS) + 2),
    ]
    for name, row in rows.items():
        cells = [_cell(row["attacks"], *column) for column in COLUMNS.values()]
        suggested = f"{row['suggested_by_vfe']:.0%}"
        lines.append(f"| {name} | {suggested} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(attacks: list[dict[str, Any]], name: str, metric: str) -> str:
    for attack in attacks:
        if attack["name"] == name and attack["metric"] == metric:
            half = (attack["high"] - attack["low"]) / 2
            return f"{attack['score']:.2f} ± {half:.2f}, {attack['verdict']}"
    return "not tried"


def main(
    preset: Preset = "smoke",
    data_dir: str | None = None,
    json_out: Annotated[pathlib.Path | None, tyro.conf.arg(name="json")] = None,
    keep: pathlib.Path | None = None,
) -> None:
    """Audit settings.

    Args:
      preset: how much to try.
      data_dir: where the TFDS data sets lie.
      json_out: write the results here.
      keep: keep finished attacks here, so that an interrupted run goes on.
    """
    start = time.perf_counter()
    rows = run(preset, data_dir, keep)
    print(table(rows))
    if json_out is not None:
        command = f"python -m experiments.audit_settings --preset {preset}"
        seconds = round(time.perf_counter() - start, 1)
        record = {**provenance(command), "seconds": seconds, "rows": rows}
        json_out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(json_out, (json.dumps(record, indent=2) + "\n").encode())


if __name__ == "__main__":
    tyro.cli(main, prog="python -m experiments.audit_settings")
