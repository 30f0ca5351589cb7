"""Strict JAX settings for every test: silent promotion or broadcasting is a bug."""

import functools
import os
import pathlib

import hypothesis
import jax
import jaxtyping
import pytest

from vim_jax.attacks import seed_search

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# JAX compiles inside an example, so a time limit per example means nothing.
hypothesis.settings.register_profile("jax", deadline=None, max_examples=25)
hypothesis.settings.load_profile("jax")


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Frees compiled programs: thousands of them use up a process's memory maps."""
    yield
    jax.clear_caches()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns the tests' type checks off, to see the errors that users see."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def tfds_dir() -> pathlib.Path:
    """A TFDS data dir with real MNIST and CIFAR-10, where there is one."""
    here = pathlib.Path(__file__).resolve().parents[1]
    folder = pathlib.Path(os.environ.get("VIM_JAX_TFDS", here.parent / "shared/tfds"))
    if not (folder / "cifar10").is_dir():
        pytest.skip(f"no TFDS data at {folder}: set VIM_JAX_TFDS to a data dir")
    return folder


@pytest.fixture(scope="module")
def few_seeds():
    """A search of few seeds takes as long to write down, and less to run."""
    few = functools.partial(seed_search.Config, seed_bits=6, batch=64, finalists=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed_search, "Config", few)
        yield
