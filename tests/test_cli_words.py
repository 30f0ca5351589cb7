"""What the command line says of itself: help, commands, options, how to go on."""

import functools

import pytest
from folders import run_command

from vim_jax import cli
from vim_jax.cli.console import as_options


@pytest.fixture
def call(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return functools.partial(run_command, capsys)


def test_arguments_of_the_library_become_options():
    for sentence, shown in {
        "a: level=0.3 is out of reach with max_region=4: so": (
            "a: --level 0.3 is out of reach with --max-region 4: so"
        ),
        "use clip=True to come near.": "use --clip to come near.",
        "pass max_pixels=300 or more": "pass --max-pixels 300 or more",
        "cannot hold: choose fmt='png'": "cannot hold: choose --format png",
        "check its name and data_dir": "check its name and --data-dir",
        "level=0.5/a.png is empty": "level=0.5/a.png is empty",
        "limit is 0: give at least 1": "--limit 0: give at least 1",
        "sea_level=3 is no option": "sea_level=3 is no option",
    }.items():
        assert as_options(sentence) == shown


def test_help_shows_every_command_and_examples(call):
    code, out, _ = call("--help")
    assert code == 0
    for name in (*cli.COMMANDS, "Exit codes"):
        assert name in out
    code, out, _ = call("mix", "--help")
    assert code == 0
    assert "vim-jax mix photos published --level 0.6 --key my.key" in out
    for option in ("--level", "--discard-key", "--rename", "--format", "--clip"):
        assert option in out


@pytest.mark.parametrize("arguments", [[], ["blend"], ["--level"]])
def test_no_and_unknown_commands(call, arguments):
    code, _, err = call(*arguments)
    assert code == 2
    assert f"use one of {', '.join(cli.COMMANDS)}, or --help" in err


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [
        (["mix", "a", "b"], True),
        (["mix", "a", "b", "--format", "tfds"], False),
        (["mix", "a", "b", "--runner=beam"], False),
        (["vfe", "a"], False),
    ],
)
def test_only_what_goes_on_says_so(arguments, goes_on, capsys, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_command", interrupted)
    with pytest.raises(SystemExit) as exit_info:
        cli.main(arguments)
    assert exit_info.value.code == 130
    ending = ": run the same command again to go on" if goes_on else ""
    assert capsys.readouterr().err == f"vim-jax: interrupted{ending}\n"
