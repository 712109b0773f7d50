# SPDX-License-Identifier: BSD-3-Clause
"""What several test files need: data like digits, comparisons, processes, the core's classes."""

from __future__ import annotations

import contextlib
import doctest
import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sae_fast import _core
from sae_fast.callbacks import Callback
from sae_fast.training.optimizers import RULES

TIME_LIMIT = 60  # seconds that a child process may take before it counts as hanging

# GCC's address sanitizer takes no locks for a fork: one that another thread holds, such as one that
# is at its end, nobody opens in the child, which then waits in malloc for ever
FORKS = hasattr(os, "fork") and "libasan" not in os.environ.get("LD_PRELOAD", "")
needs_fork = pytest.mark.skipif(not FORKS, reason="no fork, or an allocator that is none for it")
ignore_fork_warning = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")


def draw_x(n_samples: int, n_features: int, *, zeros: float, seed: int = 0) -> np.ndarray:
    """Float32 samples in [0, 1], all different, with a share of `zeros`.

    Each is one of ten prototypes with noise, so that there is something to learn.
    """
    rng = np.random.default_rng([seed, n_samples, n_features])
    kind = np.arange(n_samples) % 10
    strength = rng.random((10, n_features))[kind] + 0.3 * rng.random((n_samples, n_features))
    threshold = np.quantile(strength, zeros)
    return np.clip(strength - threshold, 0, 1).astype(np.float32)


def draw_y(n_samples: int, n_classes: int) -> np.ndarray:
    """Labels that go with the prototypes of `draw_x`."""
    return np.arange(n_samples, dtype=np.int64) % 10 % n_classes


def draw_batches(n_steps: int, batch_size: int, n_samples: int, seed: int = 1) -> np.ndarray:
    """Sample numbers, some of them twice in a batch."""
    return np.random.default_rng(seed).integers(0, n_samples, (n_steps, batch_size))


def with_value(x: np.ndarray, value: float, row: int = 17, column: int = 5) -> np.ndarray:
    """Copy `x` with another value at one place."""
    x = x.copy()
    x[row, column] = value
    return x


def assert_close(
    got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> None:
    """Compare parameters, relative to the largest absolute value of each."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        difference = np.abs(got[name] - value).max()
        limit = tolerance * np.abs(value).max()
        assert difference <= limit, f"{name}: {difference:.3g} apart, at most {limit:.3g} expected"


def assert_identical(got: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Compare arrays by name, bit for bit."""
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        a, b = np.asarray(got[name]), np.asarray(value)
        assert a.dtype == b.dtype, name
        assert a.shape == b.shape, name
        assert a.tobytes() == b.tobytes(), f"{name}: {np.sum(a != b)} of {a.size} values differ"


def assert_examples_run(test: doctest.DocTest) -> None:
    """Run the examples of a docstring or a page, which have to print what stands below them."""
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


class Watch(Callback):
    """Calls a function after every so many steps, by default whenever native code returns."""

    def __init__(self, function: Callable[[Any], object], every: int | None = None) -> None:
        self.on_step, self.every = function, every


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
    )


def output_of(code: str, **environment: str) -> str:
    """Run code in a process of its own, which has to end well and without a warning."""
    done = run_python(code, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def mpiexec() -> tuple[str, dict[str, str]]:
    """Find MPI as its package brings it, or the system's; skip if there is none."""
    pytest.importorskip("mpi4py")
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        files = [Path(file.locate()) for file in importlib.metadata.files("mpich") or []]
        [command] = [str(file.resolve()) for file in files if file.name == "mpiexec"]
        libraries = [file for file in files if file.name.startswith("libmpi.")]
        library = max(libraries, key=lambda file: file.stat().st_size)  # links are of no size here
        return command, {"MPI4PY_LIBMPI": str(library.resolve())}
    found = shutil.which("mpiexec")
    if found is None:
        pytest.skip("no mpiexec on this machine")
    return found, {}


def call_in_fork(function: Callable[[], object]) -> None:
    """Call a function in a forked process, which has to return there, and in time."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    limit = threading.Timer(TIME_LIMIT, os.kill, (child, signal.SIGKILL))
    limit.start()
    try:
        assert os.waitpid(child, 0)[1] == 0
    finally:
        limit.cancel()


@contextlib.contextmanager
def frequent_switches() -> Iterator[None]:
    """Let Python's threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def peak_memory(function: Callable[[], object]) -> int:
    """Return the most bytes that a function had allocated at a time, its result among them."""
    tracemalloc.start()
    try:
        result = function()  # noqa: F841 - kept until all is measured
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def core(name: str, dtype: str) -> Any:
    """Give a class of the core ("Input", "Network", "Trainer") or its "kernels" for a precision."""
    return getattr(_core, f"{name}_{dtype}")


def core_input(x: np.ndarray, dtype: str, layout: str = "automatic", n_threads: int = 1) -> Any:
    """Give the core's input for `x` in the layout of this name."""
    return core("Input", dtype)(
        x, scale=1.0, layout=getattr(_core.Layout, layout), n_threads=n_threads
    )


def core_optimizer(rule: str = "adam", **options: float) -> Any:
    """Give the core's optimizer of this rule."""
    return _core.Optimizer(_core.Rule[rule], {**RULES[rule]()._options(), **options})


def core_trainer(
    network: Any,
    data: Any,
    labels: np.ndarray | None,
    *,
    dtype: str,
    loss: Any,
    batch_size: int,
    weight_decay: float = 0.0,
    penalties: Mapping[str, float] = {},
    optimizer: Any = None,
    corruption: Any = None,
    targets: Any = None,
    dropout: Sequence[tuple[float, int]] = (),
) -> Any:
    """Give the core's trainer of a network with a fresh state."""
    optimizer = optimizer or core_optimizer()
    return core("Trainer", dtype)(
        network,
        optimizer,
        core("OptimizerState", dtype)(network, optimizer),
        data,
        labels,
        None,
        targets=targets,
        corruption=corruption,
        dropout=dropout,
        loss=loss,
        weight_decay=weight_decay,
        penalties=penalties,
        batch_size=batch_size,
    )


def take_steps(
    trainer: Any, batches: np.ndarray, learning_rate: float = 1e-3, n_threads: int = 2
) -> None:
    """Take a step on each of the batches."""
    rates = np.full(len(batches), learning_rate)
    assert trainer.run(batches, rates, max_seconds=60, n_threads=n_threads) == len(batches)
