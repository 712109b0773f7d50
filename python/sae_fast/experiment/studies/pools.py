# SPDX-License-Identifier: BSD-3-Clause
"""The kinds of executors: how each starts, ships data, says that a worker died, and stops.

What they have in common, the loop of `executors`, is written against `Pool`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import math
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...base.text import shown
from ...base.threads import available_threads, resolve_workers, startable_threads
from ...core.build import fingerprint
from ...datasets import Dataset
from ...errors import DataError, ExecutorError, SaeFastWarning, warn
from .worker import Loader, check_version

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class Pool:
    """Workers behind an executor of anybody's; each other kind says how it differs.

    `workers` is how many chunks it computes at a time, and each has `depth` of them, that it need
    not wait for the next. A chunk should take `chunk_seconds`, beside which handing it over is
    nothing.
    """

    depth = 1
    chunk_seconds = 1.0
    executor: Executor

    def __init__(self, workers: int | None, executor: Executor) -> None:
        self.executor = executor
        known = getattr(executor, "_max_workers", None) or getattr(executor, "num_workers", None)
        self._workers = known if workers is None else resolve_workers(workers)

    @property
    def workers(self) -> int:
        """How many chunks are computed at a time."""
        return self._workers or available_threads()

    def loader(self, data: Dataset) -> Loader | None:
        """Return how a worker may load a data set by itself."""
        return data.loader

    @staticmethod
    def abandoned() -> bool:
        """Say on a worker whether nobody waits any more for what this thread computes."""
        return False

    def ship(self, data: Dataset) -> Any:
        """Return what, as an argument of a task, is the data set on the worker."""
        return data

    def deaths(self, error: BaseException) -> int:
        """Say how many workers died of the run that this came of; 0: it was lost, no more.

        Raises what means that no run can be computed.
        """
        if isinstance(error, ExecutorError):
            raise error
        raise ExecutorError(f"executor: {type(error).__name__}: {error}") from error

    def renew(self, lost: Executor) -> None:
        """Make it work again, after a run was lost on this executor."""

    def close(self, *, soon: bool) -> None:
        """Give back what was opened; `soon`: not waiting for what is computed."""


class Threads(Pool):
    """Threads of this process: nothing is shipped, and the native code holds no lock."""

    depth = 2  # while files are written
    chunk_seconds = 0.0

    def __init__(self, workers: int | None, scheduler: str | None) -> None:
        _refuse("threads", scheduler)
        self._workers = startable_threads(resolve_workers(workers)) or 1
        self.executor = ThreadPoolExecutor(self._workers)

    def close(self, *, soon: bool) -> None:
        """Wait for what is under way: it ends soon, once the study is dismissed."""
        self.executor.shutdown(cancel_futures=soon)


class Processes(Pool):
    """Processes that were not forked. They map one copy of the data, on disk."""

    chunk_seconds = 0.2

    def __init__(self, workers: int | None, scheduler: str | None) -> None:
        _refuse("processes", scheduler)
        self._workers = resolve_workers(workers)
        self._folder = tempfile.TemporaryDirectory(prefix="sae_fast-", ignore_cleanup_errors=True)
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.executor = ProcessPoolExecutor(self._workers, context, _live_with_parent)

    def loader(self, data: Dataset) -> Loader:
        """Put a data set where workers can map it, whatever files it came from."""
        folder = Path(self._folder.name, data.sha256)
        folder.mkdir(exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(data, name))
        others = {
            field.name: getattr(data, field.name)
            for field in dataclasses.fields(data)
            if field.name not in _ARRAYS
        }
        return partial(_mapped, folder, others)

    def deaths(self, error: BaseException) -> int:
        """Count one, of a worker whose run may be any of those under way."""
        return 1 if isinstance(error, BrokenProcessPool) else super().deaths(error)

    def renew(self, lost: Executor) -> None:
        """Start new processes: where one dies, its executor ends the others."""
        if lost is self.executor:
            lost.shutdown()
            self._start()

    def close(self, *, soon: bool) -> None:
        """End the processes, or let them end."""
        if soon:
            for process in list((getattr(self.executor, "_processes", None) or {}).values()):
                process.kill()
        self.executor.shutdown(cancel_futures=True)
        self._folder.cleanup()


def _live_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _mapped(folder: Path, others: dict[str, Any]) -> Dataset:
    """Return the data set in a folder of `Processes`."""
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
    return Dataset(**arrays, **others)


class Dask(Pool):
    """A Dask cluster, whatever it runs on. It looks for other workers by itself where one dies."""

    depth = 2
    _least = 8  # chunks at a time, so that a cluster that grows with its work has a reason to
    _patience = 60.0  # seconds for a scheduler and a worker to come back

    def __init__(
        self, workers: int | None, scheduler: str | None, given: Executor | None = None
    ) -> None:
        distributed = _imported("distributed", "dask")
        self._most = math.inf if workers is None else resolve_workers(workers)
        self._found, self._counted, self._own = 0, -math.inf, scheduler is not None
        self._options = {**getattr(given, "_kwargs", {}), "pure": False}
        if scheduler is not None:
            self._client = self._connected(scheduler)
        elif given is not None:
            self._client = given._client  # type: ignore[attr-defined]
        else:
            try:
                self._client = distributed.default_client()
            except ValueError as error:
                raise DataError(
                    "scheduler: expected the address of a Dask scheduler, such as tcp://host:8786, "
                    "or a distributed.Client in this process, got none"
                ) from error
        self.executor = self._client.get_executor(**self._options)
        try:
            self._check_workers()
        except BaseException:
            self.close(soon=True)
            raise

    def _check_workers(self) -> None:
        """Raise unless all workers that are there have this version, and the scheduler has one."""
        found = self._client.run(partial(check_version, fingerprint()), on_error="return")
        for worker, fault in found.items():
            if fault is not None:
                raise ExecutorError(f"Dask worker {worker}: {fault}") from fault
        address = self._client.scheduler.address
        try:
            self._client.run_on_scheduler(fingerprint)
        except ImportError as error:
            raise ExecutorError(
                f"Dask scheduler {address}: {error}; it needs sae_fast, as its workers do"
            ) from error
        if not found:
            warn(
                f"scheduler: {address} has no worker yet; runs begin when one comes",
                SaeFastWarning,
            )

    def _connected(self, scheduler: str) -> Any:
        distributed: Any = importlib.import_module("distributed")
        try:
            return distributed.Client(scheduler, timeout=10, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ExecutorError(
                f"scheduler: expected a Dask scheduler at {shown(scheduler)}, got {error}"
            ) from error

    @property
    def workers(self) -> int:
        """How many threads the cluster has now."""
        if time.monotonic() > self._counted + 5:  # they come and go
            self._counted = time.monotonic()
            with contextlib.suppress(OSError):  # of a scheduler that has gone, as runs will tell
                self._found = sum(self._client.nthreads().values())
        return int(min(max(self._found, self._least), self._most))

    @staticmethod
    def abandoned() -> bool:
        """Say whether the task of this thread was cancelled, or its client has gone."""
        from distributed import get_worker
        from distributed.worker import thread_state

        task = get_worker().state.tasks.get(thread_state.key)
        return task is None or task.state == "cancelled"

    def ship(self, data: Dataset) -> Any:
        """Send a data set to one worker: the others have it from each other."""
        return self._client.scatter(data, hash=False)

    def deaths(self, error: BaseException) -> int:
        """Count those after which Dask gives up; none if the scheduler has forgotten the run."""
        from distributed import KilledWorker

        if isinstance(error, KilledWorker):
            return 1 + int(error.allowed_failures)
        return 0 if isinstance(error, CancelledError | OSError) else super().deaths(error)

    def renew(self, lost: Executor) -> None:
        """Wait until there is a scheduler, and a worker."""
        ends, address = time.monotonic() + self._patience, self._client.scheduler.address
        while time.monotonic() < ends:
            with contextlib.suppress(ExecutorError, OSError):
                if self._client.status == "closed":
                    self._client, self._own = self._connected(address), True
                if self._client.status == "running" and self._client.nthreads():
                    self.executor = self._client.get_executor(**self._options)
                    self._counted = -math.inf
                    return
            time.sleep(0.2)
        raise ExecutorError(
            f"scheduler: {address} has not come back within {self._patience:g} s with a worker"
        )

    def close(self, *, soon: bool) -> None:
        """Take back what the scheduler has; workers see it, and end their runs."""
        with contextlib.suppress(OSError, RuntimeError):  # it may have gone
            self.executor.shutdown(wait=False)
        if self._own:
            self._client.close()


class MPI(Pool):
    """The other processes of an ``mpiexec``. Where one of them dies, MPI ends them all."""

    depth = 2
    chunk_seconds = 0.2

    def __init__(self, workers: int | None, scheduler: str | None) -> None:
        _refuse("mpi", scheduler)
        command = (
            "mpiexec -n N python -m mpi4py.futures -m sae_fast study --executor mpi, with N of at "
            "least 2: one hands out the runs, the others compute them"
        )
        # Without it mpi4py would start processes of its own, which few systems let it.
        if "mpi4py.futures" not in sys.orig_argv:
            raise ExecutorError(f"executor: 'mpi' has to be started as {command}")
        futures = _imported("mpi4py.futures", "mpi")
        size = _imported("mpi4py.MPI", "mpi").COMM_WORLD.Get_size()
        if size < 2:
            raise ExecutorError(f"executor: got {size} process of MPI, expected {command}")
        super().__init__(size - 1 if workers is None else workers, futures.MPIPoolExecutor())

    def close(self, *, soon: bool) -> None:
        """Take back what no process has begun."""
        self.executor.shutdown(wait=not soon, cancel_futures=True)


#: By the name of an executor.
POOLS: dict[str, Callable[[int | None, str | None], Pool]] = {
    "threads": Threads,
    "processes": Processes,
    "dask": Dask,
    "mpi": MPI,
}


def open_pool(executor: object, workers: int | None, scheduler: str | None) -> Pool:
    """Return the pool of an executor, by name or as it is; DataError if it is neither."""
    if isinstance(executor, Pool):
        return executor
    if isinstance(executor, str) and executor in POOLS:
        return POOLS[executor](workers, scheduler)
    if not isinstance(executor, Executor):
        raise DataError(
            f"executor: expected {', '.join(POOLS)} or a concurrent.futures.Executor, got "
            f"{shown(executor)}"
        )
    _refuse(type(executor).__name__, scheduler)
    if type(executor).__module__.startswith("distributed."):  # of `Client.get_executor`
        return Dask(workers, None, executor)
    return Pool(workers, executor)


def _refuse(name: str, scheduler: str | None) -> None:
    if scheduler is not None:
        raise DataError(f"scheduler: expected none with executor {name!r}, got {shown(scheduler)}")


def _imported(module: str, extra: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ExecutorError(
            f"executor: {extra!r} cannot be used ({error}): pip install 'sae-fast[{extra}]'"
        ) from error
