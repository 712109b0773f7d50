# SPDX-License-Identifier: BSD-3-Clause
"""Who computes the runs of a study: they are handed out, collected, and handed out again if lost.

Runs go in chunks, whose size follows the time that a run has been seen to take. A chunk that a
worker dies of is begun again run by run; a run that was about twice when a worker died is tried a
last time with nothing beside it, so that no other is blamed.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any, TypeVar

from ...base.checks import check_int
from ...core.build import fingerprint
from ...datasets import Dataset
from ...errors import ExecutorError
from .pools import Pool, open_pool
from .worker import EndsWithStudy, Failure, Job, Key, Reply, compute, dismiss, host, pack

__all__ = ["EndsWithStudy", "Failure", "run_tasks"]

C = TypeVar("C")
T = TypeVar("T")
O = TypeVar("O")  # noqa: E741

_MOST_ATTEMPTS = 3  # of a run that workers die of
_MOST_LOSSES = 10  # in a row, without a reply


def run_tasks(
    tasks: Sequence[T],
    work: Callable[[C, T], O],
    context: C,
    *,
    executor: str | Executor | Pool = "threads",
    workers: int | None = None,
    scheduler: str | None = None,
    chunk: int | None = None,
) -> Generator[tuple[int, O | Failure], None, None]:
    """Yield the index of each task and what ``work(context, task)`` returned, as they are done.

    Parameters
    ----------
    tasks : sequence
        Small objects that can be pickled, as their outcomes.
    work : callable
        A function of a module; it should use one thread, and `EndsWithStudy` among the callbacks of
        a training. What it raises is its run's `Failure`, and nothing else's.
    context : object
        What all runs share. Each worker has it once, data sets by their digest: from a file of its
        own, from one that it maps, or sent.
    executor : {"threads", "processes", "dask", "mpi"}, Executor or Pool
        A pool is open already, and closed here.
    workers : int, optional
        How many runs at a time. Default: as many as the process may use; with Dask, MPI and
        executors of others, as many as these have.
    scheduler : str, optional
        Address of Dask's; default: that of the process's current client.
    chunk : int, optional
        Runs that are handed out at once. Default: by the time that they take.

    Returns
    -------
    generator of (int, object)
        To be closed by those who leave early (`contextlib.closing`): it ends what is under way.

    Raises
    ------
    DataError
        From the generator, as all errors: if an argument does not fit.
    ExecutorError
        If there are no workers, or they have another version of the library, or none.
    """
    size = None if chunk is None else check_int("chunk", chunk, 1)
    pool = open_pool(executor, workers, scheduler)
    study, ended = uuid.uuid4().hex, False
    try:
        host(study, context)
        packed, data = pack(context, pool.loader)
        job = Job(study, work, packed, fingerprint(), pool.abandoned)
        yield from _Runs(pool, job, tasks, data, size).outcomes()
        ended = True
    finally:
        dismiss(study)
        pool.close(soon=not ended)


@dataclasses.dataclass(frozen=True)
class _Chunk:
    """Runs that are handed out together; none: a roll call."""

    indices: Sequence[int] = ()
    deaths: int = 0  # of workers, while one of these runs was about
    keys: Sequence[Key] = ()  # of data sets that are sent with it


class _Runs:
    """The runs of a study on their way through a pool."""

    def __init__(
        self,
        pool: Pool,
        job: Job,
        tasks: Sequence[Any],
        data: dict[Key, Dataset],
        size: int | None,
    ) -> None:
        self.pool, self.job, self.tasks, self.data, self.size = pool, job, tasks, data, size
        self.ready = deque([_Chunk()] * pool.workers)  # to go at once: first, the roll is called
        self.fresh = deque(range(len(tasks)))
        self.again: deque[_Chunk] = deque()  # single runs that were about when a worker died
        self.suspects: deque[_Chunk] = deque()  # and those that were twice
        self.running: dict[Future[Reply], tuple[_Chunk, Executor]] = {}
        self.shipped: dict[Key, Any] = {}  # what `pool.ship` made of data sets
        self.done, self.seconds, self.losses = 0, 0.0, 0

    def outcomes(self) -> Iterator[tuple[int, Any]]:
        """Yield index and outcome of each run; the next are handed out before."""
        try:
            while self._hand_out():
                found: list[tuple[int, Any]] = []
                for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                    found += self._settle(future)
                self._hand_out()
                yield from found
        finally:
            for future in self.running:
                future.cancel()

    def _hand_out(self) -> bool:
        """Keep all workers busy; say whether anything is under way."""
        while len(self.running) < self.pool.workers * self.pool.depth:
            chunk = self._next()
            if chunk is None:
                break
            self._submit(chunk)
        return bool(self.running)

    def _next(self) -> _Chunk | None:
        if self.ready:
            return self.ready.popleft()
        if any(not chunk.indices for chunk, _ in self.running.values()):
            return None  # a clear error comes before any run
        if self.fresh:
            return _Chunk([self.fresh.popleft() for _ in range(self._wanted())])
        if self.again:
            return self.again.popleft()
        if self.suspects and not self.running:
            return self.suspects.popleft()
        return None

    def _wanted(self) -> int:
        """Return how many runs to hand out together: towards the end fewer, for all to end then."""
        left = len(self.fresh)
        if self.size:
            return min(self.size, left)
        if not self.done:
            return 1
        enough = self.pool.chunk_seconds * self.done / max(self.seconds, 1e-9)
        return int(max(1, min(enough, left / (2 * self.pool.workers))))

    def _submit(self, chunk: _Chunk) -> None:
        executor = self.pool.executor
        try:
            for key in chunk.keys:
                if key not in self.shipped:
                    self.shipped[key] = self.pool.ship(self.data[key])
            tasks = [self.tasks[index] for index in chunk.indices]
            sent = [self.shipped[key] for key in chunk.keys]
            future = executor.submit(compute, self.job, tasks, chunk.keys, *sent)
        except Exception as error:
            self.pool.deaths(error)  # or it is raised: none of them was this chunk's doing
            self._recover(executor, error)
            self.ready.append(dataclasses.replace(chunk, keys=()))
        else:
            self.running[future] = chunk, executor

    def _settle(self, future: Future[Reply]) -> list[tuple[int, Any]]:
        """Take a reply, or the error in its place; return the outcomes that are final."""
        chunk, executor = self.running.pop(future)
        try:
            reply = future.result()
        except Exception as error:
            return self._lost(chunk, executor, error)
        self.losses = 0
        if reply.missing:
            self.ready.append(dataclasses.replace(chunk, keys=reply.missing))
            return []
        self.done += len(chunk.indices)
        self.seconds += reply.seconds
        return [
            (index, dataclasses.replace(outcome, attempts=1 + chunk.deaths))
            if isinstance(outcome, Failure)
            else (index, outcome)
            for index, outcome in zip(chunk.indices, reply.outcomes, strict=True)
        ]

    def _lost(self, chunk: _Chunk, executor: Executor, error: Exception) -> list[tuple[int, Any]]:
        """Have a chunk computed again, run by run if workers died, but not for ever."""
        deaths = self.pool.deaths(error)
        if deaths and not chunk.indices:
            raise ExecutorError(
                f"executor: workers die as they start ({error}); in a script, what starts them has "
                'to stand under `if __name__ == "__main__":`'
            ) from error
        self._recover(executor, error)
        if not deaths:
            self.ready.append(dataclasses.replace(chunk, keys=()))
            return []
        total = chunk.deaths + (1 if len(chunk.indices) > 1 else deaths)
        if total >= _MOST_ATTEMPTS:
            return [(index, Failure(f"its worker died: {error}", total)) for index in chunk.indices]
        queue = self.suspects if total == _MOST_ATTEMPTS - 1 else self.again
        queue.extend(_Chunk([index], total) for index in chunk.indices)
        return []

    def _recover(self, executor: Executor, error: Exception) -> None:
        """Have the pool in order again; what it was sent may be gone."""
        self.losses += 1
        if self.losses > _MOST_LOSSES:
            raise ExecutorError(f"executor: work is lost again and again: {error}") from error
        self.shipped.clear()
        self.pool.renew(executor)
