# SPDX-License-Identifier: BSD-3-Clause
"""Coverage-guided fuzzing: atheris on loaders and on changing arguments, libFuzzer on the core.

Each runs in a process and a folder of its own, `build/fuzzing/NAME`, with what it prints in `log`
and an input that was one too many in `crash-...`. Figures are taken from libFuzzer's own lines.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from .row import ROOT, NotHereError, Row, python

LONG_RUNS, SHORT_RUNS = 10_000_000, 20_000
TRAINING_SHARE = 10  # a training takes as long as so many loads
FOLDER = ROOT / "build" / "fuzzing"

#: What either prints of an input that it does not survive.
_REPORT = re.compile(r"Sanitizer: |runtime error: |Uncaught Python exception|ERROR: libFuzzer")


def build_core(runs: int) -> Path:
    """Return the core's fuzzer, built by the preset `fuzz`; NotHereError without its tools.

    A first build takes minutes, which the short form does not have.
    """
    built = ROOT / "build" / "fuzz" / "fuzz_arrays"
    if runs == SHORT_RUNS and not built.exists():
        raise NotHereError("not built yet, which the long form does")
    for tool in ("clang++", "cmake", "ninja"):
        if not shutil.which(tool):
            raise NotHereError(f"no {tool}")
    if not importlib.util.find_spec("pybind11"):
        raise NotHereError("no pybind11")
    import pybind11

    configure = [
        *("cmake", "--preset", "fuzz", f"-DPython_EXECUTABLE={sys.executable}"),
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
    ]
    for command in (configure, ["cmake", "--build", "build/fuzz", "--target", "fuzz_arrays"]):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise NotHereError(f"{' '.join(command[:3])}: {done.stderr.strip()[-300:]}")
    return built


def start(name: str, runs: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the fuzzer of a loader, of the arguments of trainings, or of the arrays."""
    folder = FOLDER / name
    options = [f"-runs={runs}", "-print_final_stats=1", "-rss_limit_mb=0", "-timeout=10"]
    options.append("-len_control=0")  # files of their full length from the beginning
    if name != "arrays":
        return python("fuzz_targets", name, folder, *options, stdout=log, stderr=log)
    corpus = folder / "corpus"
    corpus.mkdir()
    own = [corpus, f"-artifact_prefix={folder}/", "-max_len=600", "-malloc_limit_mb=64"]
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1"}
    command = [build_core(runs), *own, *options]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)


def fuzz(name: str, runs: int) -> tuple[str, bool]:
    """Run a fuzzer to its end; return what it tried and found, and whether that is enough."""
    runs //= TRAINING_SHARE if name == "arguments" else 1
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = folder / "log"
    with log.open("wb") as file:
        status = start(name, runs, file).wait()
    text = log.read_text("utf-8", "replace")
    tried = int((re.findall(r"number_of_executed_units: (\d+)", text) or ["0"])[-1])
    edges = (re.findall(r"cov: (\d+)", text) or ["0"])[-1]
    reports = len(_REPORT.findall(text))
    figure = f"{name} {tried:,} inputs, {edges} edges, {reports} reports"
    if status:
        figure += f", ended with {status}: {log.relative_to(ROOT)}"
    return figure, status == 0 and reports == 0 and tried >= runs


def check(short: bool) -> tuple[str, bool]:
    """Run all fuzzers, as many at once as there are cores to run on."""
    if not importlib.util.find_spec("atheris"):
        raise NotHereError("no package atheris (pip install 'sae-fast[reliability]')")
    runs = SHORT_RUNS if short else LONG_RUNS
    names = ["arrays", "arguments", "checkpoint", "model_file", "idx"]  # the slowest first
    figures, reached = [], True
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, running in [(name, pool.submit(fuzz, name, runs)) for name in names]:
            try:
                figure, enough = running.result()
            except NotHereError as error:
                figure, enough = f"{name} not run: {error}", short
            figures.append(figure)
            reached = reached and enough
    return "; ".join(figures), reached


ROW = Row(
    test="fuzzing",
    target="≥ 10⁷ inputs per loader, 10⁶ trainings, 0 crashes, 0 sanitizer reports",
    check=check,
)
