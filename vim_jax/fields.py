"""Fields of configs: in plain types, and checked by their annotations."""

import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np


def plain(value: Any) -> Any:
    """Returns tuples for lists, as JSON makes them, and Python's for NumPy's numbers.

    Configs are hashed, and written as JSON.
    """
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return value.item() if isinstance(value, np.generic) else value


def check_type(name: str, value: Any, kind: Any) -> None:
    """Raises ValueError unless a value is of a field's type.

    Args:
      name: Of the field.
      value: Its value.
      kind: Its annotation: a class, a choice of strings, a tuple, or a union of such.
    """
    if typing.get_origin(kind) is Literal:
        check_choice(name, value, typing.get_args(kind))
    elif not _is_of(value, kind):
        raise ValueError(f"{name} is {value!r}: use {_words_for(kind)}.")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        *some, last = (f'"{choice}"' for choice in choices)
        raise ValueError(f"{name} is {value!r}: use {', '.join(some)} or {last}.")


def _is_of(value: Any, kind: Any) -> bool:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_is_of(value, each) for each in args)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = args[:1] * len(value) if args[-1] is ... else args
        return len(value) == len(kinds) and all(map(_is_of, value, kinds))
    # True and False are instances of int.
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    return isinstance(value, (int, float) if kind is float else origin or kind)


def _words_for(kind: Any) -> str:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_words_for, args))
    if origin is not tuple:
        words = {
            int: "a whole number",
            float: "a number",
            bool: "True or False",
            types.NoneType: "None",
        }
        return words.get(kind) or f"a {(origin or kind).__name__}"
    if args[-1] is not ...:
        if set(args) == {int}:
            return f"{len(args)} whole numbers"
        return f"({', '.join(map(_words_for, args))})"
    if args[0] is int:
        return "whole numbers, as in (2, 3)"
    return f"rows of {_words_for(args[0])}"
