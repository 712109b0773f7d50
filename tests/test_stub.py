# SPDX-License-Identifier: BSD-3-Clause
"""The stub of the core says what the core has: names, and the arguments of every function.

mypy's stubtest (`.ci/run`) compares the kinds of things and the enumerations; it cannot see the
arguments of a compiled function, which pybind11 writes into its docstring.
"""

from __future__ import annotations

import ast
import re
from importlib import resources

import pytest
import sae_fast
from sae_fast import _core

STUB = ast.parse(resources.files(sae_fast).joinpath("_core.pyi").read_text("utf-8"))
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}


def body(owner):
    """Give what stands in a class, and in the bases that the stub alone has (``_Network[T]``)."""
    bases = [getattr(base, "value", base) for base in owner.bases]
    inherited = [CLASSES[base.id] for base in bases if getattr(base, "id", None) in CLASSES]
    return [*owner.body, *(item for base in inherited for item in body(base))]


def stub_functions():
    """Yield the dotted name and the arguments of each function and method, properties left out."""
    for node in STUB.body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("_"):
            continue
        owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for item in body(node) if owner else [node]:
            if isinstance(item, ast.FunctionDef) and "property" not in map(
                ast.unparse, item.decorator_list
            ):
                yield owner + item.name, arguments(item)


def arguments(function):
    """Give the names of a function's positional and keyword-only arguments, and its stars."""
    of = function.args
    return (
        [arg.arg for arg in of.posonlyargs + of.args],
        [arg.arg for arg in of.kwonlyargs],
        [star.arg for star in (of.vararg, of.kwarg) if star],
    )


def documented(name):
    """Give the same of each overload that pybind11 describes in the function's docstring."""
    value = _core
    for part in name.split("."):
        value = getattr(value, part)
    found = re.findall(rf"^(?:\d+\. )?{name.split('.')[-1]}(\(.*\) -> .*)$", value.__doc__, re.M)
    functions = [ast.parse(f"def f{signature}: ...").body[0] for signature in found]
    overloads = [function for function in functions if not function.args.vararg]
    assert overloads, value.__doc__
    return [arguments(function) for function in overloads]


FUNCTIONS = dict(stub_functions())


def public(names):
    return {name for name in names if not name.startswith("_")}


def test_names():
    in_stub = {node.name for node in STUB.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    in_stub |= {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}
    assert public(dir(_core)) == public(in_stub)


@pytest.mark.parametrize("name", [name for name in CLASSES if not name.startswith("_")])
def test_methods(name):
    """Every method that the core has is there, and is compared below."""
    methods = {key for key, value in vars(getattr(_core, name)).items() if callable(value)}
    in_stub = {key.split(".")[1] for key in FUNCTIONS if key.startswith(f"{name}.")}
    assert public(methods) == public(in_stub)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments(name):
    for overload in documented(name):
        assert overload == FUNCTIONS[name]


def test_the_package_says_that_it_is_typed():
    assert resources.files(sae_fast).joinpath("py.typed").is_file()
