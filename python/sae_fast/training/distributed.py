# SPDX-License-Identifier: BSD-3-Clause
"""A session: the processes of an MPI that share trainings, their chunks of a batch, their messages.

``shared_steps`` takes the steps of a training with it.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from ..base.checks import check_float, check_int
from ..base.text import shown
from ..base.threads import available_threads, processors, sharing
from ..core.build import fingerprint
from ..errors import DataError, DistributedError
from .tree import shares

_CHUNKS = 16  # of a batch, where that leaves chunks from the first to the second of these sizes:
_SMALLEST, _LARGEST = 32, 128  # benchmarks/data_parallel.py; smaller ones are slow in wide layers
#: Seconds that a process waits for the others.
TIMEOUT = 600.0

_BUSY_SECONDS = 1e-3  # after which a process that waits sleeps in between,
_PAUSE, _LONG_PAUSE = 1e-4, 1e-2  # so long; after a second,
_HEAD_START = 1.0  # which is also that of process 0
_MOST_PROCESSORS = 1024  # of a machine, that are told apart

# What messages are, so that none is taken for another.
GRADIENT, SUM, _WORD, _LEFT, _EXITED = range(5)

_NEW = "that has not been entered yet"
_current: ContextVar[Session | None] = ContextVar("session", default=None)
_latest: Session | None = None


def current() -> Session | None:
    """Return the session that is open on this thread, or None."""
    return _current.get()


def latest() -> Session | None:
    """Return the session of this process that was opened last."""
    return _latest


def leads(session: Session | None = None) -> bool:
    """Say whether this process writes files and shows progress: alone, or as the first of all.

    That of a session, by default the one that is open on this thread.
    """
    session = session or current()
    return session is None or session.rank == 0


class Session:
    """Processes that share trainings; :func:`sae_fast.distributed.session` makes it.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        How many there are.
    """

    def __init__(
        self, comm: Any = None, timeout: float = TIMEOUT, chunk_size: int | None = None
    ) -> None:
        self.timeout = check_float("timeout", timeout, positive=True)
        self._chunk_size = None if chunk_size is None else check_int("chunk_size", chunk_size, 1)
        self._mpi = mpi = _imported()
        comm = mpi.COMM_WORLD if comm is None else comm
        if not isinstance(comm, mpi.Intracomm):
            raise DataError(f"comm: expected an mpi4py.MPI.Intracomm or None, got {shown(comm)}")
        self._comm = comm  # a copy of it, from the beginning of the block
        self._closed = _NEW  # why it is not open, in words
        self.rank: int = comm.Get_rank()
        self.size: int = comm.Get_size()

    def __repr__(self) -> str:
        """Say which process this is."""
        return f"process {self.rank} of {self.size}"

    def __enter__(self) -> Session:
        """Share the trainings of this thread from here on, once all processes do."""
        global _latest
        if current() is not None:
            raise DataError("session: expected none that is open on this thread, got one")
        if self._closed != _NEW:
            raise DataError(f"session: expected one {_NEW}, got one {self._closed}")
        self._closed = ""
        _latest = self
        try:
            self._comm, copied = self._comm.Idup()
            self._wait([copied], lambda: f"all {self.size} to enter a session, got fewer")
            most = max(1, int(available_threads() * self._processors()))
        except BaseException as error:
            self._end_all(error)
            raise
        self._token, self._sharing = _current.set(self), sharing.set(most)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> Literal[False]:
        """Leave when all do; an error ends the other processes as this one ends."""
        _current.reset(self._token)
        sharing.reset(self._sharing)
        if error is not None and not isinstance(error, SystemExit):
            self._end_all(error)
            return False
        if error is not None:  # where all exit, they do so at once
            self.timeout = min(self.timeout, _HEAD_START)
        try:
            self._tell(b"-", _LEFT if error is None else _EXITED)
        except BaseException as broken:
            self._end_all(error or broken)
            if error is None:
                raise
            return False
        self._closed = "that has ended"
        self._comm.Free()
        return False

    def _end_all(self, error: BaseException) -> None:
        """Let the other processes end when this one does, which an error brings about."""
        self._closed = self._closed or "that has ended"
        if self.size == 1:
            return
        from mpi4py.run import set_abort_status

        if hasattr(error, "add_note"):
            error.add_note(f"in {self}")
        if isinstance(error, SystemExit):
            set_abort_status(error.code or 1)
            return
        if self.rank > 0:  # where all have failed in the same way the first says it for all
            time.sleep(_HEAD_START)
        set_abort_status(error if isinstance(error, KeyboardInterrupt) else 1)

    def _processors(self) -> Fraction:
        """Return which part of the processors that it may use this process has beside others."""
        own = processors()
        name = hashlib.sha256(self._mpi.Get_processor_name().encode()).digest()
        mask = sum({1 << at % _MOST_PROCESSORS for at in own})
        words = self._tell(name + mask.to_bytes(_MOST_PROCESSORS // 8, "little"))
        masks = [int.from_bytes(word[32:], "little") for word in words if word[:32] == name]
        among = [sum(mask >> at % _MOST_PROCESSORS & 1 for mask in masks) for at in own]
        return sum((Fraction(1, n) for n in among), Fraction(0)) / len(own)

    # What a process has of a batch

    def chunk_size(self, batch_size: int) -> int:
        """Return the samples of a chunk, whose gradients are summed before others are added."""
        found = min(max(_SMALLEST, batch_size // _CHUNKS), _LARGEST)
        return min(batch_size, self._chunk_size or found)

    def n_chunks(self, batch_size: int) -> int:
        """Return how many chunks a batch has."""
        return -(-batch_size // self.chunk_size(batch_size))

    def chunks(self, rank: int, batch_size: int) -> range:
        """Return the chunks of a process."""
        return shares(self.n_chunks(batch_size), self.size)[rank]

    def rows(self, batch_size: int) -> slice:
        """Return the rows of a batch that are this process's."""
        own, size = self.chunks(self.rank, batch_size), self.chunk_size(batch_size)
        return slice(own.start * size, min(own.stop * size, batch_size))

    def check_batch(self, batch_size: int) -> None:
        """Raise DataError if a batch has not a chunk for each process."""
        n_chunks, size = self.n_chunks(batch_size), self.chunk_size(batch_size)
        if n_chunks < self.size:
            raise DataError(
                f"batch_size: expected a chunk of {size} samples for each of {self.size} "
                f"processes, got {batch_size:,} samples, which are {n_chunks}"
            )

    def check_parts(self, corruption: Any, penalties: Sequence[Any]) -> None:
        """Raise DataError for what is not the sum of what chunks of a batch give."""
        for name, values in (("corruption", [corruption]), ("penalties", penalties)):
            for value in values:
                if getattr(value, "whole_batch", False):
                    raise DataError(
                        f"{name}: expected none that needs a whole batch at once, which no process "
                        f"of a distributed training has, got {shown(value)}"
                    )

    # Messages

    def check_same(self, training: Any) -> None:
        """Raise DataError unless all processes are about to take the same steps of a training."""
        model, samples = training.model, training.samples
        slots, steps_done = model._state.get_state()
        facts = {
            "version and code": fingerprint(),
            "title": training.title,
            "seed": model.seed,
            "steps": training.n_steps,
            "settings": training.settings,
            "callbacks with an `every`": sorted({one.every or 0 for one in training.callbacks}),
            "samples": [samples.x.n_samples, samples.x.n_features],
            **{name: _digest([training.data[name]]) for name in ("y", "sample_weight", "batches")},
            "parameters": _digest(model._values.values()),
            "steps done": training.step,
            "state of the optimizer": [_digest(slots), steps_done],
        }
        digests = b"".join(
            hashlib.sha256(json.dumps(fact, default=str).encode()).digest()
            for fact in facts.values()
        )
        for rank, others in enumerate(self._tell(digests)):
            differing = [
                name
                for at, name in enumerate(facts)
                if others[32 * at : 32 * at + 32] != digests[32 * at : 32 * at + 32]
            ]
            if differing:
                raise DataError(
                    f"{training.title}: expected the same {', '.join(differing)} in all processes, "
                    f"got others in process {rank} than in process {self.rank}"
                )

    def agree(self, stopped: bool, seconds: float) -> tuple[bool, float]:
        """Say whether some process has stopped, and what the first has measured."""
        words = self._tell(bytes([stopped]) + np.float64(seconds).tobytes())
        return any(word[0] for word in words), float(np.frombuffer(words[0], offset=1)[0])

    def of_first(self, number: int) -> int:
        """Return the number that the first process has, below 2^63."""
        return int.from_bytes(self._tell(number.to_bytes(8, "little"))[0], "little")

    def _tell(self, word: bytes, tag: int = _WORD) -> list[bytes]:
        """Return what each process says, in as many bytes."""
        words = [bytearray(len(word)) for _ in range(self.size)]
        words[self.rank][:] = word
        others = [rank for rank in range(self.size) if rank != self.rank]
        self.exchange(
            [(rank, words[self.rank]) for rank in others],
            [(rank, words[rank]) for rank in others],
            tag,
        )
        return [bytes(one) for one in words]

    def exchange(
        self, sent: Sequence[tuple[int, Any]], received: Sequence[tuple[int, Any]], tag: int
    ) -> None:
        """Send buffers to other processes and fill others from them, in the order of each pair.

        DistributedError if a process lets this one wait for longer than `timeout`, or has done so.
        """
        if self._closed:
            raise DistributedError(f"session: expected one that is open, got one {self._closed}")
        arriving = [(rank, self._comm.Irecv(buffer, rank, tag)) for rank, buffer in received]
        leaving = [(rank, self._comm.Isend(buffer, rank, tag)) for rank, buffer in sent]

        def missing() -> str:
            for requests in (arriving, leaving):
                if ranks := {rank for rank, request in requests if not request.Test()}:
                    break
            return f"word of process {', '.join(map(str, sorted(ranks)))}, got none"

        try:
            self._wait([request for _, request in arriving + leaving], missing)
        except BaseException as error:  # messages of this are still under way
            self._closed = f"that has ended: {str(error) or type(error).__name__}"
            raise

    def _tested(self, requests: list[Any]) -> list[int] | None:
        """Return which have ended, or None once all have."""
        try:
            ended: list[int] | None = self._mpi.Request.Testsome(requests)
        except self._mpi.Exception as error:
            raise DistributedError(
                f"session: {self} has lost another one: {error}; the last checkpoint goes on with "
                "any number of processes"
            ) from error
        return ended

    def _wait(self, requests: list[Any], expected: Callable[[], str]) -> None:
        """Wait for MPI, or raise DistributedError once nothing has come for `timeout`."""
        moved = time.monotonic()
        while (done := self._tested(requests)) is not None:  # as long as there is any
            now = time.monotonic()
            waited = now - moved
            if done:
                moved = now
            elif waited > self.timeout:
                raise DistributedError(
                    f"timeout: {self} has waited for {self.timeout:g} s, expected {expected()}"
                )
            elif waited < _BUSY_SECONDS:
                time.sleep(0)
            else:
                time.sleep(_PAUSE if waited < _HEAD_START else _LONG_PAUSE)


def _digest(arrays: Iterable[Any]) -> str:
    """Return the SHA-256 of arrays; of others, such as targets as the core has them, none."""
    digest = hashlib.sha256()
    for array in arrays:
        if isinstance(array, np.ndarray):
            digest.update(f"{array.dtype} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _imported() -> Any:
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise DistributedError(
            f"distributed: expected mpi4py, got {error}: pip install 'sae-fast[mpi]'"
        ) from error
    except RuntimeError as error:
        reason, *_ = str(error).splitlines()
        raise DistributedError(
            "distributed: expected an MPI, a cluster's or that of pip install mpich, whose library "
            f"MPI4PY_LIBMPI may name, got {reason}"
        ) from error
    return MPI
