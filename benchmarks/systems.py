# SPDX-License-Identifier: BSD-3-Clause
"""The systems that are compared, and how one of their programs is run: in turn, each on its own.

A new peer is an entry in `SYSTEMS` and a module in ``peers/``. Every run is a fresh process of
``peers/run.py``, in the environment that has the system.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

from machine import describe

RUN = Path(__file__).resolve().parent / "peers" / "run.py"
MACHINE = RUN.parents[1] / "machine.py"
COLUMNS, LONGEST_LABEL = 80, 36  # of a table, and of its first column where it is too wide


@dataclasses.dataclass(frozen=True)
class System:
    """One way to use one framework."""

    name: str
    module: str  # what it imports; also the name of its program
    variant: str
    title: str
    arms: str = ""  # how it runs the experiment's arms, where it has a choice
    slow: bool = False  # compiles for long: not in a short run


OURS = System("sae_fast", "sae_fast", "default", "sae_fast")
SYSTEMS = [
    OURS,
    System("jax", "jax", "serial", "JAX", "one by one"),
    System("jax-side-by-side", "jax", "side-by-side", "JAX", "at once"),
    System("torch", "torch", "eager", "PyTorch, eager", "one by one"),
    System("torch-module", "torch", "module", "PyTorch, nn.Sequential"),
    System("torch-side-by-side", "torch", "eager-side-by-side", "PyTorch, eager", "at once"),
    System("torch-compile", "torch", "compile-side-by-side", "PyTorch, compiled", "at once", True),
    System("tensorflow-graph", "tensorflow", "graph", "TensorFlow, the article's program"),
    System("tensorflow-function", "tensorflow", "function", "TensorFlow, function and XLA"),
    System("sklearn", "sklearn", "default", "scikit-learn"),
]


class RunError(Exception):
    """A program that ended badly, with the last line it wrote to standard error."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands have."""
    parser.add_argument(
        "--data-dir",
        type=lambda text: Path(text).resolve(),
        default=os.environ.get("SAE_FAST_DATA_DIR") or None,
        help="folder of MNIST's IDX files, plain or gzipped (default: $SAE_FAST_DATA_DIR)",
    )
    parser.add_argument("--short", action="store_true", help="only try whether it runs")
    parser.add_argument("--only", type=names_of, help="systems to run, with commas between")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        type=module_and_path,
        metavar="MODULE=PATH",
        help="interpreter that has this module, where it is not the one running this",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=1800.0,
        metavar="SECONDS",
        help="after which a run counts as failed (default: %(default)g)",
    )
    parser.add_argument("--json", type=Path, help="where to write everything measured")
    parser.add_argument("--plot", type=Path, help="where to draw it (PNG, SVG or PDF)")


def names_of(text: str) -> list[str]:
    known = [system.name for system in SYSTEMS]
    names = text.split(",")
    if unknown := set(names) - set(known):
        raise argparse.ArgumentTypeError(
            f"no such system: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    return names


def module_and_path(text: str) -> tuple[str, str]:
    module, separator, path = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"expected MODULE=PATH, got {text!r}")
    return module, str(Path(path).absolute())


class Runner:
    """Runs tasks of systems, and remembers which are missing, left out or failed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.pythons = dict(options.python)
        self.data_dir = options.data_dir
        self.short = options.short
        if self.short:
            print("--short: that all of this runs is all that it says; its figures are none")
        self.only = options.only
        self.patience = options.patience
        self.loads: list[float] = []  # the machine's load average before each run
        self.machine = self.facts()
        self.failed: dict[str, str] = {}  # "task of system" -> why
        self.left_out: dict[str, str] = {}  # system or task -> why
        if self.short:
            slow = [system.name for system in SYSTEMS if system.slow]
            self.left_out = dict.fromkeys(slow, "takes too long for --short")
        self.missing = [
            system.name for system in self.chosen(s.name for s in SYSTEMS) if not self.has(system)
        ]

    def python_of(self, module: str) -> str:
        return self.pythons.get(module, sys.executable)

    def facts(self) -> dict[str, object]:
        """Return what there is to say of the machine, by the sae_fast that is measured."""
        done = run_python(self.python_of(OURS.module), str(MACHINE))
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def has(self, system: System) -> bool:
        probe = f"import importlib.util as u, sys; sys.exit(u.find_spec({system.module!r}) is None)"
        return run_python(self.python_of(system.module), "-c", probe).returncode == 0

    def chosen(self, names: Iterable[str]) -> list[System]:
        """Systems among `names` that are wanted, in the order of `SYSTEMS`."""
        names = set(names) - self.left_out.keys()
        if self.only is not None:
            names &= set(self.only)
        return [system for system in SYSTEMS if system.name in names]

    def run(self, system: System, task: str, arguments: Sequence[str]) -> dict:
        """Run one task once; its result, with the process's peak memory."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "result.json", Path(folder) / "stderr"
            command = [self.python_of(system.module), str(RUN), system.module, task]
            command += [f"--variant={system.variant}", f"--json={out}"]
            command += [f"--data-dir={self.data_dir}"] if self.data_dir else []
            if self.short:  # on a busy machine, threads that wait for each other take a minute
                command += ["--short", "--threads=1"]
            command += arguments
            with err.open("w") as stderr:
                process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=stderr, cwd=folder
                )
                watchdog = threading.Timer(self.patience, process.kill)
                watchdog.start()
                try:
                    _, status, usage = os.wait4(process.pid, 0)
                except BaseException:  # interrupted
                    process.kill()
                    process.wait()
                    raise
                finally:
                    in_time = watchdog.is_alive()
                    watchdog.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            if not in_time:
                raise RunError(f"no result after {self.patience:g} s")
            if process.returncode:
                raise RunError(last_line(err.read_text()) or f"exit status {process.returncode}")
            result = json.loads(out.read_text())
        unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
        return result | {"peak_memory_mb": usage.ru_maxrss * unit / 1e6}

    def take_turns(
        self,
        task: str,
        names: Iterable[str],
        rounds: int,
        arguments: Callable[[int], Sequence[str]],
        describe: Callable[[dict], str],
    ) -> dict[str, list[dict]]:
        """Run `task` on the systems, A B C A B C; results by system, a list of rounds.

        A system that fails is out of this task: it has no entry, and `failed` says why.
        """
        results = {s.name: [] for s in self.chosen(names) if s.name not in self.missing}
        for number in range(rounds):
            for system in self.chosen(results):
                self.loads.append(os.getloadavg()[0])
                try:
                    result = self.run(system, task, arguments(number))
                except RunError as error:
                    self.failed[f"{task}, {system.name}"] = str(error)
                    del results[system.name]
                    outcome = f"failed: {error}"
                else:
                    results[system.name].append(result)
                    outcome = describe(result)
                print(f"{task}, round {number + 1}: {system.name} {outcome}", file=sys.stderr)
        return results

    def import_seconds(self, module: str, statement: str, repeats: int) -> float:
        """Median time of a fresh interpreter that runs `statement` and nothing else."""
        return statistics.median(
            time_python(self.python_of(module), statement) for _ in range(repeats)
        )

    def print_absences(self) -> None:
        """Say what is not there and why, and what machine it was before and after."""
        print(f"\nbefore: {describe(self.machine)}\nafter:  {describe(self.facts())}")
        for name in self.missing:
            print(f"missing: {name} (no such module where it is looked for)")
        for what, why in self.left_out.items():
            print(f"left out: {what} ({why})")
        if not self.data_dir:
            print("no --data-dir: random samples, as dense as MNIST's, stand in for its images")
        for what, why in self.failed.items():
            print(f"failed: {what}: {why}")


def run_python(python: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run a Python in a folder where it finds nothing but what is installed."""
    with tempfile.TemporaryDirectory() as elsewhere:
        return subprocess.run(
            [python, *arguments], cwd=elsewhere, check=False, capture_output=True, text=True
        )


def time_python(python: str, statement: str) -> float:
    started = time.perf_counter()
    done = run_python(python, "-c", statement)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RunError(last_line(done.stderr))
    return seconds


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Run a command until it ends or is asked to, when it leaves nothing behind."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    """Print a table; the first column flush left.

    Where it is wider than 80 columns, the rest of them follows below, and long first cells go on in
    the next line.
    """
    if not rows:
        return
    kept = [at for at in range(len(head)) if at == 0 or any(row[at] for row in rows)]
    head, *rows = ([row[at] for at in kept] for row in (head, *rows))
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    if sum(widths) + 2 * len(widths) - 2 > COLUMNS:
        widths[0] = min(widths[0], LONGEST_LABEL)
    print(f"\n{title}")
    at = 1
    while at < len(head):
        end, width = at + 1, widths[0] + 2 + widths[at]
        while end < len(head) and width + 2 + widths[end] <= COLUMNS:
            width += 2 + widths[end]
            end += 1
        columns = [0, *range(at, end)]
        for row in [head, ["-" * width for width in widths], *rows]:
            label, *more = textwrap.wrap(row[0], widths[0]) or [""]
            cells = [label.ljust(widths[0]), *(row[c].rjust(widths[c]) for c in columns[1:])]
            print("  ".join(cells).rstrip(), *(f"  {line}" for line in more), sep="\n")
        at = end
        if at < len(head):
            print()
