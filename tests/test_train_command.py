"""`vim-jax train`, on bundled and on real images."""

import json

import pytest

from vim_jax.cli import main


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(["train", *map(str, arguments)])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


@pytest.mark.slow
def test_trains_on_mixed_digits_and_tests_on_both(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["--data", "embedded:digits", "--out", out, "--region-size", 2]
    assert _run(*arguments, "--epochs", 2, "--limit", 400, "--batch-size", 40) == 0
    result = json.loads((out / "result.json").read_text())
    assert result["mixed_accuracy"] > 0.3
    assert "plain_accuracy" in result
    assert (out / "checkpoints").is_dir()
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    assert "mixed" in capsys.readouterr().out


@pytest.mark.slow
def test_trains_on_real_images_at_a_level(tmp_path, tfds_dir):
    out = tmp_path / "run"
    arguments = ["--data", "cifar10", "--data-dir", tfds_dir, "--out", out]
    arguments += ["--model", "vit_tiny_patch4", "--patch-encoder", "sorted"]
    arguments += ["--level", 0.5, "--epochs", 1, "--limit", 256, "--batch-size", 32]
    assert _run(*arguments) == 0
    result = json.loads((out / "result.json").read_text())
    assert {"plain_accuracy", "mixed_accuracy"} <= set(result)


def test_another_run_in_the_folder_is_refused(tmp_path, capsys):
    out = tmp_path / "run"
    arguments = ["--data", "embedded:digits", "--out", out, "--limit", 100]
    arguments += ["--batch-size", 40]
    assert _run(*arguments, "--epochs", 1) == 0
    before = (out / "metrics.jsonl").read_bytes()
    assert _run(*arguments, "--epochs", 2) == 2
    assert (out / "metrics.jsonl").read_bytes() == before
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--data", "embedded:cats", "--out", "run"], "cats"),
        (["--data", "embedded:digits", "--out", "run", "--epochs", "0"], "epochs"),
        (["--data", "embedded:digits", "--out", "run", "--level", "2"], "level"),
        (
            [
                "--data",
                "embedded:digits",
                "--out",
                "run",
                "--level",
                "0.5",
                "--region-size",
                "2",
            ],
            "region-size",
        ),
        (["--out", "run"], "data"),
    ],
)
def test_usage_errors_name_the_option(arguments, named, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _run(*arguments) == 2
    assert named in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
