"""README and project files say what is true."""

import importlib
import pathlib
import re
import tomllib

import pytest

import vim_jax
from benchmarks import render
from experiments import page, privacy_page, results_page
from vim_jax.cli import COMMANDS

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_example_runs():
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})


def test_every_public_name_is_in_the_readme():
    missing = [
        name
        for name in vim_jax.__all__
        if f"`{name}`" not in README and not name.endswith("Error")
    ]
    assert not missing


def test_every_command_is_in_the_readme():
    assert [c for c in COMMANDS if f"vim-jax {c}" not in README] == []


def test_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_requirements_are_those_of_the_package():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert sorted(listed) == sorted(PROJECT["dependencies"])


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {vim_jax.__version__}\n" in citation


def test_entry_point():
    module, function = PROJECT["scripts"]["vim-jax"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench", "notebooks"])
def test_make_targets(target):
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()


def test_speeds_are_those_of_the_committed_results():
    assert render.section() in README


@pytest.mark.parametrize(
    ("path", "sections"),
    [
        (privacy_page.PAGE, privacy_page.SECTIONS),
        (results_page.PAGE, results_page.SECTIONS),
        (results_page.README, results_page.README_SECTIONS),
    ],
)
def test_pages_show_the_committed_results(path, sections):
    text = path.read_text()
    for name, section in sections.items():
        assert page.rendered(name, section) in text


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name
)
def test_links_between_pages_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / link).exists(), link
