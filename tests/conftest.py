"""Strict JAX settings for every test: silent promotion or broadcasting is a bug."""

import functools
import os
import pathlib

import hypothesis
import jax
import jaxtyping
import pytest
from jax.experimental.compilation_cache import compilation_cache

from vim_jax.attacks import seed_search

# What takes long in tests is to compile. So programs are compiled in a third of the
# time, and run slowly; the processes that tests start do the same. What users have is
# tried in `test_usual_compiler.py`.
jax.config.update("jax_disable_most_optimizations", True)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if jax.__version_info__ < (0, 11):  # A flag that XLA does not know is fatal.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")

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


@pytest.fixture(scope="module")
def compiled_well():
    """Compiles as usual, where what runs takes longer than what is compiled."""
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


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


@pytest.fixture(scope="session")
def programs_dir(tmp_path_factory) -> pathlib.Path:
    """A folder for compiled programs."""
    return tmp_path_factory.mktemp("programs")


@pytest.fixture(scope="module")
def kept_programs(programs_dir):
    """Keeps compiled programs for other modules, and for processes started here."""
    settings = {
        "jax_compilation_cache_dir": str(programs_dir),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            jax.config.update(name, value)
            patch.setenv(name.upper(), str(value))
        compilation_cache.reset_cache()
        yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def sets():
    """Digits to train on, and two test sets."""
    import training_runs

    return training_runs.digit_sets()


@pytest.fixture(scope="module")
def uninterrupted(kept_programs, sets, tmp_path_factory):
    """A training run, and its folder."""
    import training_runs

    out = tmp_path_factory.mktemp("runs") / "whole"
    return training_runs.run(training_runs.CONFIG, *sets, out=out), out


@pytest.fixture
def standard_promotion():
    """Lets dtypes be promoted, as optax, Flax and the attackers' networks do."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def usual_settings(kept_programs):
    """Those that a user has, who does not test the library."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
