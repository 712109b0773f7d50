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
from importlib.metadata import packages_distributions
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

# From the bottom up; a file includes only what is below it, or in its own room.
FLOORS = (
    "sae/base", "sae/kernels", "sae/data", "sae/layers", "sae/losses", "sae/optimizers",
    "sae/penalties", "sae/training", "sae/evaluation", "bindings", "fuzz",
)  # fmt: skip
KERNELS_MAY_INCLUDE = {
    "array",
    "cmath",
    "type_traits",
    "cstddef",
    "cstdint",
    "limits",
    "immintrin.h",
}


def room(name: str) -> str:
    """Give the room of a file: its folder."""
    return name.rpartition("/")[0]


def floor(name: str) -> int:
    assert room(name) in FLOORS, f"{name} has no room: give it one here and in CONTRIBUTING.md"
    return FLOORS.index(room(name))


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
    own = {"omp.h": "sae/base/parallel.cpp", "immintrin.h": "sae/kernels/body.inl"}
    for include in includes(name):
        assert own.get(include, name) == name, f"{name} includes {include}"
        if re.match(r"pybind11/|Python\.h|numpy/", include):
            assert room(name) == "bindings", f"{name} includes {include}"
        assert include not in ("iostream", "fstream", "cstdio", "stdio.h"), "no input or output"
    if name != "sae/base/parallel.cpp":
        assert "#pragma omp" not in code(name)
        assert "omp_" not in code(name)
    if name != "sae/base/blas.cpp":
        assert "cblas" not in code(name)


@pytest.mark.parametrize("name", [name for name in CPP_FILES if room(name) == "sae/kernels"])
def test_kernels_only_compute(name):
    own = {include for include in includes(name) if include.startswith("sae/")}
    assert {room(include) for include in own} <= {"sae/base", "sae/kernels"}
    assert set(includes(name)) - own <= KERNELS_MAY_INCLUDE
    found = re.search(r"\b(new|malloc|throw|std::vector|std::thread|gemm)\b", code(name))
    assert not found, f"{name} has {found[0]!r}"


def test_the_core_does_not_know_the_data_set():
    for name in CPP_FILES:
        assert "mnist" not in code(name).lower(), name


def test_includes_have_no_circle():
    assert_no_circle(
        {name: {i for i in includes(name) if (CPP / i).exists()} for name in CPP_FILES}
    )


@pytest.mark.parametrize("name", [name for name in CPP_FILES if name.endswith(".hpp")])
def test_headers_are_included_once(name):
    assert "#pragma once" in code(name)


def test_the_build_lists_every_file():
    build = (ROOT / "CMakeLists.txt").read_text("utf-8")
    for name in CPP_FILES:
        if name.endswith(".cpp"):
            assert f"cpp/{name}" in build, f"{name} is not compiled"


# Python

# From the bottom up; a module imports only what is below it, or another of its own room: at the
# top, inside functions or for types alone.
ROOMS = (
    ("errors",), ("base",), ("datasets",), ("core",), ("training",), ("exchange",), ("models",),
    ("plot",), ("experiment",),
    ("activations", "callbacks", "corruptions", "distributed", "optimizers", "penalties",
     "schedules", "sklearn", "cli"),
    ("__main__",),
    ("autoencoder", "stacked", "results"),  # names in pickles of 0.1.0
    ("__init__",),
)  # fmt: skip


def imports(name: str, package: Path = PACKAGE) -> Iterator[tuple[str, str]]:
    """Yield each module that a file imports, absolute, and when: "import", "call" or "typing"."""
    folders = [package.name, *Path(name).parent.parts]

    def walk(node: ast.AST, when: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, when) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = folders[: len(folders) - child.level + 1] if child.level else []
                source = ".".join([*base, *(child.module or "").split(".")]).strip(".")
                for alias in child.names:
                    inner = f"{source}.{alias.name}"
                    extension = inner == "sae_fast._core"
                    yield (inner if extension or file_of(inner, package) else source), when
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, "call" if when == "import" else when)
            elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                yield from walk(child, "typing")
            else:
                yield from walk(child, when)

    yield from walk(ast.parse((package / name).read_text("utf-8")), "import")


def file_of(module: str, package: Path = PACKAGE) -> str | None:
    """Give the file of one of our modules, relative to the package; None for anothers'."""
    top, *parts = module.split(".")
    path = Path(*parts)
    for file in (
        (path.with_suffix(".py"), path / "__init__.py") if parts else (Path("__init__.py"),)
    ):
        if top == package.name and (package / file).exists():
            return file.as_posix()
    return None


def room_of(name: str) -> int:
    """Give the floor of a module's room."""
    own = Path(name).parts[0].removesuffix(".py")
    found = [at for at, rooms in enumerate(ROOMS) if own in rooms]
    assert found, f"{name} has no room: give it one in ROOMS, and in CONTRIBUTING.md"
    return found[0]


def own_imports(name: str, package: Path = PACKAGE) -> set[str]:
    """Give the files of ours that a file imports, whenever that is."""
    found = {file_of(module, package) for module, _ in imports(name, package)}
    return {file for file in found if file} - {name}


def upward_imports(package: Path = PACKAGE) -> list[str]:
    """Give each import that does not go down, except to the import's own room."""
    return [
        f"{name} imports {file}"
        for name in names(package, ".py")
        for file in sorted(own_imports(name, package))
        if room_of(file) > room_of(name)
        or (room_of(file) == room_of(name) and Path(file).parts[0] != Path(name).parts[0])
    ]


def assert_no_circle(graph: dict[str, set[str]]) -> None:
    graph = dict(graph)
    while graph:
        free = [name for name, needs in graph.items() if not needs & graph.keys()]
        assert free, f"a circle among {sorted(graph)}"
        for name in free:
            del graph[name]


def test_imports_go_down():
    assert upward_imports() == []


def test_imports_have_no_circle():
    """Among modules; a package's own __init__ is not counted for what its modules import."""
    assert_no_circle({name: own_imports(name) for name in PYTHON_FILES})


@pytest.mark.parametrize(
    ("importing", "statement"),
    [
        ("base/checks.py", "from ..models import model"),
        ("base/checks.py", "def f():\n    from ..models.model import Model"),
        ("base/checks.py", "if TYPE_CHECKING:\n    from ..models.model import Model"),
        ("base/checks.py", "def f():\n    import PACKAGE.models.model"),
        ("cli.py", "from . import sklearn"),
    ],
)
def test_an_import_that_goes_up_is_seen(importing, statement, tmp_path):
    package = tmp_path / "house"
    for name in ("__init__", "cli", "sklearn", "base/checks", "base/text", "models/model"):
        file = package / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("import os\n")
    (package / "models/model.py").write_text("from ..base import checks\n")
    assert upward_imports(package) == []
    (package / importing).write_text(statement.replace("PACKAGE", "house") + "\n")
    [found] = upward_imports(package)
    assert found.startswith(f"{importing} imports ")


def test_a_circle_inside_functions_is_seen(tmp_path):
    package = tmp_path / "house"
    (package / "base").mkdir(parents=True)
    for name, other in (("checks", "text"), ("text", "checks")):
        statement = f"def f():\n    from .{other} import g\n"
        (package / f"base/{name}.py").write_text(statement)
    graph = {name: own_imports(name, package) for name in names(package, ".py")}
    with pytest.raises(AssertionError, match="a circle among"):
        assert_no_circle(graph)


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


@pytest.mark.parametrize("name", [n for n in PYTHON_FILES if room_of(n) < room_of("core")])
def test_what_is_below_the_core_stays_clear_of_the_extension(name):
    assert not {"sae_fast._core", "sae_fast"} & reachable(name)


@pytest.mark.parametrize("name", PYTHON_FILES)
def test_who_imports_what(name):
    strangers = {"tests", "benchmarks", "pytest", "conftest"}
    strangers |= {path.stem for path in (ROOT / "tests").glob("*.py")}
    own = Path(name).parts[0]
    for module, when in imports(name):
        top = module.partition(".")[0]
        assert top not in strangers, f"{name} imports {module}"
        if module == "sae_fast._core":
            assert own in ("core", "__init__.py"), f"{name} imports the extension"
        if top == "argparse":
            assert name == "cli.py"
        if top == "matplotlib":
            lazy = when == "call" or name == "plot/figures.py"
            assert when == "typing" or (lazy and own == "plot")
            assert module != "matplotlib.pyplot"
        if top in ("onnx", "skl2onnx", "torch"):
            assert when == "typing" or (when == "call" and name == f"exchange/{top}.py")
        if top == "distributed":
            assert (when, name) == ("call", "experiment/studies/pools.py")
        if top == "mpi4py":
            assert when == "call"
            assert name in ("experiment/studies/pools.py", "training/distributed.py")
        if top in ("socket", "urllib", "http", "ssl"):
            assert name == "datasets/download.py"
        if module == "sae_fast.cli":
            assert name == "__main__.py"
        if top == "sklearn":
            assert own == "sklearn" or (own == "plot" and when == "call")
        if top == "scipy":  # takes a second
            assert when == "call"
            assert name == "experiment/studies/statistics.py"
        if top == "pyarrow":
            assert when == "call"
            assert name == "experiment/studies/save.py"
        assert top != "pandas", "not among the dependencies"


@pytest.mark.parametrize("name", sorted({*PYTHON_FILES} - {"cli.py", "__main__.py"}))
def test_only_the_command_line_prints(name):
    for node in ast.walk(ast.parse((PACKAGE / name).read_text("utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "sys.stdout.write", "sys.stderr.write", "sys.exit")


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


@pytest.mark.parametrize("folder", ["benchmarks", "examples", "docs", "tests"])
def test_a_program_hides_no_module(folder):
    """What lies beside a program is imported in the place of a package of that name."""
    packages = {*packages_distributions(), *sys.stdlib_module_names}
    assert {path.stem for path in (ROOT / folder).glob("*.py")} & packages <= {"conf"}


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
