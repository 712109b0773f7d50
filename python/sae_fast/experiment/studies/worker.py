# SPDX-License-Identifier: BSD-3-Clause
"""What a worker does with a chunk of runs, in whatever process or machine it finds itself.

Settings come with every chunk, data sets do not: each stands there by its digest, and with how to
load it. A worker that has it nowhere says so, and is sent it, once.
"""

from __future__ import annotations

import dataclasses
import io
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from ...core.build import fingerprint
from ...datasets import Dataset
from ...errors import ExecutorError
from ...training.callbacks import Callback, Training

Key: TypeAlias = Hashable  # of a data set: whatever distinguishes it from others
Loader: TypeAlias = Callable[[], Dataset]

_MOST_CONTEXTS = 2  # that a worker keeps: of two studies that take turns

_hosted: dict[str, Any] = {}  # contexts of the studies that this process itself runs
_contexts: dict[str, Any] = {}  # of others, the latest last
_data: WeakValueDictionary[Key, Dataset] = WeakValueDictionary()
_loading = threading.Lock()
_run = threading.local()


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run without an outcome.

    Attributes
    ----------
    error : str
        What it raised, or what became of its workers.
    attempts : int
        How often it was begun.
    """

    error: str
    attempts: int


@dataclasses.dataclass(frozen=True)
class Job:
    """What all chunks of a study have in common."""

    study: str  # a name that no other study has
    work: Callable[[Any, Any], Any]
    context: bytes  # of `pack`
    version: str  # of the library that wants it done, as `fingerprint` has it
    abandoned: Callable[[], bool]  # asked on the worker: whether nobody waits for it


@dataclasses.dataclass(frozen=True)
class Reply:
    """What became of a chunk: all its outcomes, or the data sets that are missing for them."""

    outcomes: Sequence[Any] = ()
    seconds: float = 0.0
    missing: Sequence[Key] = ()


class _MissingError(Exception):
    """A data set is not here."""


class _Packer(pickle.Pickler):
    """Pickles, but for data sets: `found` has these."""

    def __init__(self, file: io.BytesIO, loader: Callable[[Dataset], Loader | None]) -> None:
        super().__init__(file, protocol=5)
        self.found: dict[Key, Dataset] = {}
        self._loader = loader

    def persistent_id(self, value: object) -> tuple[Key, Loader | None] | None:
        if not isinstance(value, Dataset):
            return None
        self.found[key := key_of(value)] = value
        return key, self._loader(value)


class _Unpacker(pickle.Unpickler):
    def persistent_load(self, pid: tuple[Key, Loader | None]) -> Dataset:
        key, loader = pid
        data = _data.get(key)
        if data is None and loader is not None:
            data = _loaded(key, loader)
        if data is None:
            raise _MissingError(key)
        _data[key] = data
        return data


def key_of(data: Dataset) -> Key:
    """Return what tells a data set from any other."""
    return data.sha256, data.name, data.scale, data.image_shape, data.classes


def pack(
    context: object, loader: Callable[[Dataset], Loader | None]
) -> tuple[bytes, dict[Key, Dataset]]:
    """Pickle a context, and return the data sets left out; `loader` says how to load one."""
    file = io.BytesIO()
    packer = _Packer(file, loader)
    packer.dump(context)
    return file.getvalue(), packer.found


def _loaded(key: Key, loader: Loader) -> Dataset | None:
    """Load a data set; None if it is not to be had, or the files here hold another one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # who wants the study done has seen them
            data = loader()
        return data if key_of(data) == key else None
    except (OSError, ValueError):
        return None


def host(study: str, context: object) -> None:
    """Let workers in this process use the very `context`, until `dismiss`."""
    _hosted[study] = context


def dismiss(study: str) -> None:
    """Forget a study; its runs in this process end at their next step."""
    _hosted.pop(study, None)


def compute(job: Job, tasks: Sequence[Any], keys: Sequence[Key] = (), *data: Dataset) -> Reply:
    """Compute a chunk of runs, with the `data` that were missing here, or elsewhere.

    What `work` raises is its run's failure and nothing else's.
    """
    check_version(job.version)
    try:
        context, abandoned = _context_of(job, dict(zip(keys, data, strict=True)))
    except _MissingError as missing:
        return Reply(missing=missing.args)
    started = time.perf_counter()
    _run.abandoned = abandoned
    try:
        outcomes = [_outcome(job.work, context, task) for task in tasks]
    finally:
        del _run.abandoned
    return Reply(outcomes, time.perf_counter() - started)


def check_version(expected: str) -> None:
    """Raise unless the library here is the one that a study was started with."""
    if expected != (own := fingerprint()):
        raise ExecutorError(
            f"a worker has sae_fast {own}, expected {expected}, as where the study was started: "
            "install the same release on both"
        )


def _context_of(job: Job, data: dict[Key, Dataset]) -> tuple[Any, Callable[[], bool]]:
    """Return the context of a study, and what tells whether the study was given up."""
    if job.study in _hosted:
        return _hosted[job.study], lambda: job.study not in _hosted
    with _loading:
        _data.update(data)
        context = _contexts.pop(job.study, None)
        if context is None:
            context = _Unpacker(io.BytesIO(job.context)).load()
        _contexts[job.study] = context
        while len(_contexts) > _MOST_CONTEXTS:
            del _contexts[next(iter(_contexts))]
    return context, job.abandoned


def _outcome(work: Callable[[Any, Any], Any], context: Any, task: Any) -> Any:
    if abandoned():
        raise CancelledError
    try:
        return work(context, task)
    except CancelledError:
        raise
    except Exception as error:
        return Failure(f"{type(error).__name__}: {error}", 1)


def abandoned() -> bool:
    """Say whether nobody waits any more for the run that this thread computes."""
    asked: Callable[[], bool] | None = getattr(_run, "abandoned", None)
    return asked is not None and asked()


class EndsWithStudy(Callback):
    """Ends a training once nobody waits for it, between two steps."""

    def on_step(self, training: Training) -> None:
        """Raise CancelledError if the study was given up."""
        if abandoned():
            raise CancelledError
