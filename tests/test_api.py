"""The rules that every public name follows, and what importing the library costs."""

import ast
import inspect
import pathlib
import subprocess
import sys

import pytest

import vim_jax

# The optimizers follow optax: their hyper-parameters are positional.
OPTIMIZERS = {"scale_by_st_adam", "st_adam"}


PUBLIC = {name: getattr(vim_jax, name) for name in vim_jax.__all__}
FUNCTIONS = {
    name: value
    for name, value in PUBLIC.items()
    if callable(value) and not inspect.isclass(value) and name not in OPTIMIZERS
}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
METHODS = {
    f"{name}.{attribute}": value
    for name, owner in CLASSES.items()
    for attribute, value in vars(owner).items()
    if not attribute.startswith("_") or attribute == "__call__"
    if callable(value) or isinstance(value, property | classmethod | staticmethod)
}


def parameters(function) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def test_there_are_functions_to_check():
    assert {"vfe", "shuffle", "plan_regions", "expected_vfe"} <= FUNCTIONS.keys()


def test_all_names_what_is_exported_and_nothing_else():
    source = pathlib.Path(str(vim_jax.__file__)).read_text()
    exported = [
        alias.asname or alias.name
        for node in ast.parse(source).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(exported) == sorted(vim_jax.__all__)
    assert len(set(vim_jax.__all__)) == len(vim_jax.__all__)


def test_all_is_sorted():
    assert vim_jax.__all__ == sorted(vim_jax.__all__)


def test_everything_promised_is_there():
    promised = """vfe vfe_map expected_vfe max_vfe gearys_c RegionPlan uniform_plan
    plan_regions shuffle unshuffle SecretKey VisualMixer scale_by_st_adam st_adam"""
    assert set(promised.split()) <= set(vim_jax.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_with_a_default_are_keyword_only(name):
    for parameter in parameters(FUNCTIONS[name]):
        keyword_only = parameter.kind is parameter.KEYWORD_ONLY
        has_default = parameter.default is not parameter.empty
        assert keyword_only == has_default, parameter


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_key_comes_first_and_arrays_follow(name):
    names = [p.name for p in parameters(FUNCTIONS[name])]
    if "key" in names:
        assert names.pop(0) == "key"
    if "image" in names:
        assert names[0] == "image"


@pytest.mark.parametrize("name", FUNCTIONS | METHODS)
def test_no_parameter_is_called_rng(name):
    function = (FUNCTIONS | METHODS)[name]
    if isinstance(function, property):
        function = function.fget
    if isinstance(function, classmethod | staticmethod):
        function = function.__func__
    assert "rng" not in inspect.signature(function).parameters  # pyright: ignore


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_order_of_shared_parameters_is_the_same_everywhere(name):
    shared = ["key", "image", "plan_or_size", "channels", "scramble_regions"]
    names = [p.name for p in parameters(FUNCTIONS[name]) if p.name in shared]
    assert names == [n for n in shared if n in names]


@pytest.mark.parametrize("name", PUBLIC | METHODS)
def test_everything_public_has_a_docstring(name):
    assert inspect.getdoc((PUBLIC | METHODS)[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_docstrings_start_with_one_line_and_name_every_parameter(name):
    text = inspect.getdoc(FUNCTIONS[name]) or ""
    lines = text.splitlines()
    assert lines[0].endswith(".")
    assert len(lines) == 1 or not lines[1]
    missing = [p.name for p in parameters(FUNCTIONS[name]) if f"{p.name}:" not in text]
    assert not missing


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_parameter_and_result_is_annotated(name):
    signature = inspect.signature(FUNCTIONS[name])
    assert signature.return_annotation is not signature.empty
    bare = [p for p in parameters(FUNCTIONS[name]) if p.annotation is p.empty]
    assert not bare


def test_the_version_is_a_string():
    assert vim_jax.__version__.count(".") == 2


IMPORT = """
import sys, time
import jax, jax.numpy
start = time.perf_counter()
import vim_jax
print(time.perf_counter() - start)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_importing_is_quick_and_brings_no_data_model_or_plot_library():
    result = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True
    )
    seconds, modules = result.stdout.splitlines()
    heavy = {"matplotlib", "tensorflow_datasets", "tensorflow", "flax", "skimage"}
    heavy |= {"sklearn", "grain", "orbax", "rich", "tyro", "PIL"}
    assert not heavy & set(modules.split())
    # Below one second on an idle machine; this one may be busy.
    assert float(seconds) < 3


def test_importing_does_not_touch_jax_devices_or_settings():
    code = """
import jax
before = dict(jax.config.values)
import vim_jax
assert jax.config.values == before
assert not jax._src.xla_bridge._backends
"""
    subprocess.run([sys.executable, "-c", code], check=True)
