# SPDX-License-Identifier: BSD-3-Clause
"""The rule of rooms (CONTRIBUTING.md): who includes whom, who imports whom.

Read from the sources beside this folder, so that it holds whatever package is installed.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sae_fast

ROOT = Path(__file__).resolve().parents[1]
CPP, PACKAGE = ROOT / "cpp", ROOT / "python" / "sae_fast"


def names(folder: Path, *endings: str) -> list[str]:
    """Paths of all sources below a folder, relative to it."""
    files = (path for path in folder.rglob("*") if path.suffix in endings)
    return sorted(
        path.relative_to(folder).as_posix() for path in files if "__pycache__" not in path.parts
    )


CPP_FILES = names(CPP, ".cpp", ".hpp", ".inl")
PYTHON_FILES = names(PACKAGE, ".py")


def test_there_are_sources():
    assert len(CPP_FILES) > 20
    assert len(PYTHON_FILES) > 20


# C++

# From the bottom up; a file includes only what is below it, and its own header.
FLOORS = (
    ("sae/view", "sae/float_mode"),
    ("sae/buffer", "sae/isa"),
    ("sae/kernels", "sae/blas", "sae/parallel"),
    ("sae/dense", "sae/loss"),
    ("sae/input",),
    ("sae/sparse_batch",),
    ("sae/network",),
    ("sae/trainer", "sae/evaluation"),
    ("bindings", "fuzz"),
)
KERNELS_MAY_INCLUDE = {
    "cmath", "type_traits", "cstddef", "cstdint", "immintrin.h",
    "sae/view.hpp", "sae/isa.hpp", "sae/kernels/kernels.hpp", "sae/kernels/body.inl",
}  # fmt: skip


def room(name: str) -> str:
    """Give the room of a file: its folder, or in cpp/sae its stem."""
    folder, _, file = name.rpartition("/")
    return f"sae/{file.partition('.')[0]}" if folder == "sae" else folder


def floor(name: str) -> int:
    found = [at for at, rooms in enumerate(FLOORS) if room(name) in rooms]
    assert found, f"{name} has no room: give it one in FLOORS, and in CONTRIBUTING.md"
    return found[0]


def includes(name: str) -> list[str]:
    """Give what a file includes, as written; in the bindings relative to cpp/."""
    found = re.findall(r'^\s*#\s*include\s*[<"](.*?)[>"]', (CPP / name).read_text("utf-8"), re.M)
    beside = CPP / Path(name).parent
    return [
        (beside / include).relative_to(CPP).as_posix() if (beside / include).exists() else include
        for include in found
    ]


def code(name: str) -> str:
    """Give a C++ file without its comments."""
    return re.sub(r"//.*|/\*.*?\*/", "", (CPP / name).read_text("utf-8"))


@pytest.mark.parametrize("name", CPP_FILES)
def test_includes_go_down(name):
    for include in includes(name):
        if (CPP / include).exists() and room(include) != room(name):
            assert floor(include) < floor(name), f"{name} includes {include}"


@pytest.mark.parametrize("name", CPP_FILES)
def test_only_one_room_touches_each_library(name):
    own = {"omp.h": "sae/parallel.cpp", "immintrin.h": "sae/kernels/body.inl"}
    for include in includes(name):
        assert own.get(include, name) == name, f"{name} includes {include}"
        if re.match(r"pybind11/|Python\.h|numpy/", include):
            assert room(name) == "bindings", f"{name} includes {include}"
        assert include not in ("iostream", "fstream", "cstdio", "stdio.h"), "no input or output"
    if name != "sae/parallel.cpp":
        assert "#pragma omp" not in code(name)
        assert "omp_" not in code(name)
    if name != "sae/blas.cpp":
        assert "cblas" not in code(name)


@pytest.mark.parametrize("name", [name for name in CPP_FILES if room(name) == "sae/kernels"])
def test_kernels_only_compute(name):
    assert set(includes(name)) <= KERNELS_MAY_INCLUDE
    found = re.search(r"\b(new|malloc|throw|std::vector|std::thread|gemm)\b", code(name))
    assert not found, f"{name} has {found[0]!r}"


def test_the_core_does_not_know_the_data_set():
    for name in CPP_FILES:
        assert "mnist" not in code(name).lower(), name


@pytest.mark.parametrize("name", [name for name in CPP_FILES if name.endswith(".hpp")])
def test_headers_are_included_once(name):
    assert "#pragma once" in code(name)


def test_the_build_lists_every_file():
    build = (ROOT / "CMakeLists.txt").read_text("utf-8")
    for name in CPP_FILES:
        if name.endswith(".cpp"):
            assert f"cpp/{name}" in build, f"{name} is not compiled"


# Python


def imports(name: str) -> Iterator[tuple[str, str]]:
    """Yield each module that a file imports, absolute, and when: "import", "call" or "typing"."""
    package = ["sae_fast", *Path(name).parent.parts]

    def walk(node: ast.AST, when: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, when) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                source = ".".join([*base, *(child.module or "").split(".")]).strip(".")
                for alias in child.names:
                    inner = f"{source}.{alias.name}"
                    yield (inner if is_module(inner) else source), when
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, "call" if when == "import" else when)
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                yield from walk(child, "typing")
            else:
                yield from walk(child, when)

    yield from walk(ast.parse((PACKAGE / name).read_text("utf-8")), "import")


def is_module(name: str) -> bool:
    path = PACKAGE.parent.joinpath(*name.split("."))
    return name == "sae_fast._core" or path.with_suffix(".py").exists() or path.is_dir()


def file_of(module: str) -> str | None:
    """Give the file of one of our modules; None for the package itself and for anothers'."""
    parts = module.split(".")
    if parts[0] != "sae_fast" or len(parts) == 1 or module == "sae_fast._core":
        return None
    path = Path(*parts[1:])
    return path.with_suffix(".py").as_posix() if (PACKAGE / path.with_suffix(".py")).exists() \
        else (path / "__init__.py").as_posix()  # fmt: skip


def reachable(name: str) -> set[str]:
    """All modules that a file imports, directly or through others of ours, types left out."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        for module, when in imports(todo.pop()):
            if when != "typing" and module not in seen:
                seen.add(module)
                if file := file_of(module):
                    todo.append(file)
    return seen


WITHOUT_CORE = [
    name
    for name in PYTHON_FILES
    if name.startswith("datasets/")
    or name in {
        "errors.py", "validation.py", "results.py", "streams.py", "threads.py", "callbacks.py",
        "pca.py", "plot.py", "pictures.py", "report.py",
    }
]  # fmt: skip


def test_the_walk_sees_imports():
    assert ("sae_fast._core", "import") in set(imports("autoencoder.py"))
    assert ("sae_fast.model_file", "call") in set(imports("model.py"))
    assert ("sae_fast.errors", "import") in set(imports("datasets/idx.py"))
    assert ("matplotlib.axes", "typing") in set(imports("plot.py"))
    assert "sae_fast._core" in reachable("experiment.py")


@pytest.mark.parametrize("name", WITHOUT_CORE)
def test_configuration_and_data_stay_clear_of_the_extension(name):
    assert "sae_fast._core" not in reachable(name)


@pytest.mark.parametrize("name", PYTHON_FILES)
def test_who_imports_what(name):
    strangers = {"tests", "benchmarks", "pytest", "conftest"}
    strangers |= {path.stem for path in (ROOT / "tests").glob("*.py")}
    for module, when in imports(name):
        top = module.partition(".")[0]
        assert top not in strangers, f"{name} imports {module}"
        if top == "argparse":
            assert name == "cli.py"
        if top == "matplotlib":
            assert when == "typing" or (when == "call" and name == "plot.py")
            assert module != "matplotlib.pyplot"
        if top in ("onnx", "torch"):
            assert when == "typing" or (when == "call" and name == "exchange.py")
        if top in ("socket", "urllib", "http", "ssl"):
            assert name == "datasets/download.py"
        if module == "sae_fast.cli":
            assert name == "__main__.py"
        if top == "sklearn":
            assert name == "sklearn.py" or (name == "plot.py" and when == "call")
        assert top not in ("scipy", "pandas"), "not among the dependencies"


@pytest.mark.parametrize("name", sorted({*PYTHON_FILES} - {"cli.py", "__main__.py"}))
def test_only_the_command_line_prints(name):
    for node in ast.walk(ast.parse((PACKAGE / name).read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "sys.stdout.write", "sys.stderr.write", "sys.exit")


def test_imports_have_no_cycle():
    graph = {
        name: {
            file for module, when in imports(name) if when == "import" and (file := file_of(module))
        }
        for name in PYTHON_FILES
    }
    while graph:
        free = [name for name, needs in graph.items() if not needs & graph.keys()]
        assert free, f"a cycle among {sorted(graph)}"
        for name in free:
            del graph[name]


# The project


def test_version():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    [version] = re.findall(r'^version = "(.*)"$', text, re.M)
    assert sae_fast.__version__ == version
    assert sae_fast.info()["version"] == version
    assert version in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_importing_loads_the_core_alone():
    """What is not used costs nothing: NumPy comes with the first name that needs it."""
    code = (
        "import sys, sae_fast\n"
        "print(*(name for name in ('numpy', 'tqdm', 'matplotlib', 'sklearn', 'safetensors', 'onnx',"
        " 'torch')"
        " if name in sys.modules))\n"
        "ours = [name for name in sys.modules if name.startswith('sae_fast')]\n"
        "print(*sorted(name for name in ours if not name.startswith('sae_fast._core.')))\n"
        "sae_fast.Autoencoder, sae_fast.datasets, sae_fast.info()\n"
        "print('matplotlib' in sys.modules, 'sklearn' in sys.modules, callable(sae_fast.info))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "sae_fast sae_fast._core", "False False True"]


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match=r"'sae_fast' has no attribute 'Autoencoders'"):
        sae_fast.Autoencoders  # noqa: B018


def test_public_names():
    assert set(sae_fast.__all__) <= set(dir(sae_fast))
    assert sorted(sae_fast.__all__) == sorted(set(sae_fast.__all__))
    for name in sae_fast.__all__:
        assert hasattr(sae_fast, name)
    for name in sae_fast.datasets.__all__:
        assert hasattr(sae_fast.datasets, name)


SOURCES = [
    "CMakeLists.txt",
    *(
        f"{folder}/{name}"
        for folder in ("cpp", "python", "tests", "benchmarks", "cmake", ".ci", ".github")
        for name in names(
            ROOT / folder, ".py", ".pyi", ".cpp", ".hpp", ".inl", ".cmake", ".sh", ".ipynb", ".yml"
        )
        if (ROOT / folder / name).stat().st_size
    ),
    *(path.relative_to(ROOT).as_posix() for path in (ROOT / ".ci").glob("*") if path.is_file()),
]


@pytest.mark.parametrize("name", SOURCES)
def test_licence_line(name):
    first_lines = (ROOT / name).read_text("utf-8").splitlines()[:2]
    assert any("SPDX-License-Identifier: BSD-3-Clause" in line for line in first_lines)
