"""Functions of people's own modules, which a specification names as ``package.module:function``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from churn_assets.spec.base import nearest


def load_function(reference: str) -> Callable[..., Any]:
    """The function that ``reference`` names; its module is imported.

    Raises:
        ValueError: there is no such module or function, or it isn't written in Python.

    >>> load_function("textwrap:dedent")("  a")
    'a'
    """
    module_name, _, name = reference.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), name]):
        raise ValueError(f"expected package.module:function, found {reference!r}.")
    try:
        module = import_module(module_name)
    except Exception as error:
        raise ValueError(
            f"expected a module {module_name} that can be imported, found {type(error).__name__}: {error}. Install it, "
            "or put its folder on PYTHONPATH."
        ) from error
    found = getattr(module, name, None)
    if not callable(found) or not inspect.isfunction(inspect.unwrap(found)):
        known = [n for n, _ in inspect.getmembers(module, inspect.isfunction)]
        raise ValueError(f"expected a function {name!r} in {module_name}, found none. {nearest(name, known)}")
    function: Callable[..., Any] = found
    return function


def source_of(reference: str) -> Path:
    """The file that the function stands in.

    >>> source_of("textwrap:dedent").name
    'textwrap.py'
    """
    return Path(inspect.unwrap(load_function(reference)).__code__.co_filename).resolve()
