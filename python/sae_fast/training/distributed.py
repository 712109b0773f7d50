# SPDX-License-Identifier: BSD-3-Clause
"""Synchronous data-parallel training: the processes of an MPI share each step of a training.

A batch is cut into chunks of a fixed number of samples, whatever the number of processes, and the
chunks' gradients are summed as the leaves of one binary tree. Each process has consecutive chunks
and sums the subtrees that are wholly its own; these go, a part of the parameters to each process,
to where the tree is finished, and the finished parts to all. So no sum depends on who took part.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_float, check_int
from ..base.text import shown
from ..core.networks import accumulate
from ..errors import DataError, DistributedError

_CHUNKS = 16  # of a batch, where that leaves chunks from the first to the second of these sizes:
_SMALLEST, _LARGEST = 32, 128  # benchmarks/distributed.py; smaller ones are slow in wide layers
#: Seconds that a process waits for the others.
TIMEOUT = 600.0

_LINE = 16  # parameters: parts of them are cut at whole cache lines
_BUSY_SECONDS = 1e-3  # after which a process that waits sleeps in between,
_PAUSE, _LONG_PAUSE = 1e-4, 1e-2  # so long; at the end
_HEAD_START = 1.0  # of process 0, seconds

# What messages are, so that none is taken for another.
_GRADIENT, _SUM, _WORD = range(3)

_current: ContextVar[Session | None] = ContextVar("session", default=None)
_latest: Session | None = None


def current() -> Session | None:
    """Return the session that is open on this thread, or None."""
    return _current.get()


def latest() -> Session | None:
    """Return the session of this process that was opened last."""
    return _latest


def leads() -> bool:
    """Say whether this process writes files and shows progress: alone, or as the first of all."""
    session = current()
    return session is None or session.rank == 0


class Node(NamedTuple):
    """The chunks from `first` to before `end`, which are one node of the tree, or all it has."""

    first: int
    end: int
    size: int  # of such a node

    @property
    def place(self) -> int:
        """Its number among the nodes of its size."""
        return self.first // self.size


def nodes(first: int, end: int, n_chunks: int) -> Iterator[Node]:
    """Yield the largest nodes of a tree over so many chunks that make up a range of these."""
    while first < end:
        size = first & -first or 1 << (n_chunks - 1).bit_length()
        while end < min(first + size, n_chunks):
            size //= 2
        yield Node(first, min(first + size, n_chunks), size)
        first += size


def summed(parts: Sequence[tuple[Node, NDArray[Any]]]) -> NDArray[Any]:
    """Return the sum at the root of what is at nodes, in their order, in one of the arrays."""
    waiting: list[NDArray[Any]] = []

    def add_two() -> None:
        last = waiting.pop()
        accumulate(waiting[-1], last)

    for node, part in parts:
        waiting.append(part)
        place = node.place
        while place % 2:  # its neighbour has come before
            add_two()
            place //= 2
    while len(waiting) > 1:
        add_two()
    return waiting[0]


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
        if current() is not None:
            raise DataError("session: expected none that is open on this thread, got one")
        self._comm = comm.Dup()
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()

    def __repr__(self) -> str:
        """Say which process this is."""
        return f"process {self.rank} of {self.size}"

    def __enter__(self) -> Session:
        """Share the trainings of this thread from here on."""
        global _latest
        self._token = _current.set(self)
        _latest = self
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> Literal[False]:
        """Leave when all do; an error ends the other processes as this one ends."""
        _current.reset(self._token)
        if error is None:
            last = self._comm.Ibarrier()  # MPI's own end would keep a processor busy
            while not last.Test():
                time.sleep(_LONG_PAUSE)
            self._comm.Free()
        elif self.size > 1:
            from mpi4py.run import set_abort_status

            if hasattr(error, "add_note"):
                error.add_note(f"in {self}")
            if self.rank > 0:  # where all have failed in the same way the first says it for all
                time.sleep(_HEAD_START)
            set_abort_status(error if isinstance(error, KeyboardInterrupt | SystemExit) else 1)
        return False

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
        n = self.n_chunks(batch_size)
        return range(n * rank // self.size, n * (rank + 1) // self.size)

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
        parameters = hashlib.sha256()
        for array in training.model._values.values():
            parameters.update(np.ascontiguousarray(array).data)
        facts = {
            "title": training.title,
            "steps": training.n_steps,
            "settings": training.settings,
            "samples": [training.samples.x.n_samples, training.samples.x.n_features],
            "parameters": parameters.hexdigest(),
            "steps done": training.step,
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

    def any(self, said: bool) -> bool:
        """Say whether it is true in some process."""
        return any(map(any, self._tell(bytes([said]))))

    def _tell(self, word: bytes) -> list[bytes]:
        """Return what each process says, in as many bytes."""
        words = [bytearray(len(word)) for _ in range(self.size)]
        words[self.rank][:] = word
        others = [rank for rank in range(self.size) if rank != self.rank]
        self.exchange(
            [(rank, words[self.rank]) for rank in others],
            [(rank, words[rank]) for rank in others],
            _WORD,
        )
        return [bytes(one) for one in words]

    def exchange(
        self, sent: Sequence[tuple[int, Any]], received: Sequence[tuple[int, Any]], tag: int
    ) -> None:
        """Send buffers to other processes and fill others from them, in the order of each pair.

        DistributedError if a process lets this one wait for longer than `timeout`.
        """
        comm, mpi = self._comm, self._mpi
        arriving = [(rank, comm.Irecv(buffer, rank, tag)) for rank, buffer in received]
        leaving = [(rank, comm.Isend(buffer, rank, tag)) for rank, buffer in sent]
        requests = [request for _, request in arriving + leaving]
        moved = time.monotonic()
        while (done := mpi.Request.Testsome(requests)) is not None:  # as long as there are any
            now = time.monotonic()
            if done:
                moved = now
            elif now - moved > self.timeout:
                missing = {rank for rank, request in arriving if not request.Test()}
                missing = missing or {rank for rank, request in leaving if not request.Test()}
                raise DistributedError(
                    f"timeout: {self} has waited for {self.timeout:g} s, expected word of process "
                    f"{', '.join(map(str, sorted(missing)))}, got none"
                )
            else:
                time.sleep(0 if now - moved < _BUSY_SECONDS else _PAUSE)


class SharedSteps:
    """Takes the steps of a trainer of the core together with the other processes.

    The trainer is one of batches as large as a chunk; `batch_size` is that of a step.
    """

    def __init__(self, session: Session, trainer: Any, batch_size: int) -> None:
        self._session, self._trainer, self._batch_size = session, trainer, batch_size
        chunk, n_chunks = session.chunk_size(batch_size), session.n_chunks(batch_size)
        own = session.chunks(session.rank, batch_size)
        self._nodes = [
            list(nodes(chunks.start, chunks.stop, n_chunks))
            for chunks in (session.chunks(rank, batch_size) for rank in range(session.size))
        ]
        self._rows = [
            slice((node.first - own.start) * chunk, (node.end - own.start) * chunk)
            for node in self._nodes[session.rank]
        ]
        self._sums = [trainer.new_gradient() for _ in self._rows]
        if session.size == 1:
            return
        self._total: NDArray[Any] = trainer.new_gradient()
        n = len(self._total)
        cuts = [n * rank // session.size // _LINE * _LINE for rank in range(session.size)]
        self._parts = [slice(*ends) for ends in zip(cuts, [*cuts[1:], n], strict=True)]
        part = self._parts[session.rank]
        self._received = {
            rank: [np.empty_like(self._total[part]) for _ in own]
            for rank, own in enumerate(self._nodes)
            if rank != session.rank
        }

    def run(
        self,
        batches: NDArray[np.int64],
        learning_rates: NDArray[np.float64],
        *,
        max_seconds: float,
        n_threads: int,
    ) -> int:
        """Take steps as the core's trainer does, on this process's rows of the batches."""
        ends = time.perf_counter() + max_seconds
        first = self._session.rows(self._batch_size).start
        done = 0
        for samples, rate in zip(batches, learning_rates, strict=True):
            for rows, own in zip(self._rows, self._sums, strict=True):
                self._trainer.gradient(
                    samples[rows], first=first + rows.start, out=own, n_threads=n_threads
                )
            gradient = self._sums[0] if self._session.size == 1 else self._combine()
            self._trainer.update(gradient, learning_rate=rate, n_threads=n_threads)
            done += 1
            if time.perf_counter() > ends:
                break
        return done

    def _combine(self) -> NDArray[Any]:
        """Return the gradient of the whole batch, from the sums that all processes have."""
        session, parts, total = self._session, self._parts, self._total
        others, own = list(self._received), parts[session.rank]
        session.exchange(
            [(rank, one[parts[rank]]) for rank in others for one in self._sums],
            [(rank, one) for rank, ones in self._received.items() for one in ones],
            _GRADIENT,
        )
        mine = [one[own] for one in self._sums]
        total[own] = summed(
            [
                pair
                for rank, of_rank in enumerate(self._nodes)
                for pair in zip(of_rank, self._received.get(rank, mine), strict=True)
            ]
        )
        session.exchange(
            [(rank, total[own]) for rank in others],
            [(rank, total[parts[rank]]) for rank in others],
            _SUM,
        )
        return total


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
            f"distributed: expected an MPI, a cluster's or that of pip install mpich, got {reason}"
        ) from error
    return MPI
