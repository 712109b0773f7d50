# SPDX-License-Identifier: BSD-3-Clause
"""Synchronous data-parallel training: the processes of a session share each step.

Each sums the gradients of its chunks, as far as the tree over the whole batch has nodes that are
wholly its own; these go, a part of the parameters to each process, to where the tree is finished,
and the finished parts to all. So no sum depends on who took part.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .distributed import GRADIENT, SUM, Session
from .tree import nodes, summed

_LINE = 16  # parameters: parts of them are cut at whole cache lines


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
        self._seconds = self._own_seconds = math.inf  # of a step: of the first process, of this one
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
        """Take steps as the core's trainer does, on this process's rows of the batches.

        As many as take the first process that long, so that all take the same.
        """
        n_steps = max(1, min(len(batches), int(max_seconds / self._seconds)))
        first = self._session.rows(self._batch_size).start
        started = time.perf_counter()
        for samples, rate in zip(batches[:n_steps], learning_rates[:n_steps], strict=True):
            for rows, own in zip(self._rows, self._sums, strict=True):
                self._trainer.gradient(
                    samples[rows], first=first + rows.start, out=own, n_threads=n_threads
                )
            gradient = self._sums[0] if self._session.size == 1 else self._combine()
            self._trainer.update(gradient, learning_rate=rate, n_threads=n_threads)
        self._own_seconds = (time.perf_counter() - started) / n_steps
        return n_steps

    def ended(self, stopped: bool) -> bool:
        """Say whether some process has stopped; all are then at the same step."""
        stopped, self._seconds = self._session.agree(stopped, self._own_seconds)
        return stopped

    def _combine(self) -> NDArray[Any]:
        """Return the gradient of the whole batch, from the sums that all processes have."""
        session, parts, total = self._session, self._parts, self._total
        others, own = list(self._received), parts[session.rank]
        session.exchange(
            [(rank, one[parts[rank]]) for rank in others for one in self._sums],
            [(rank, one) for rank, ones in self._received.items() for one in ones],
            GRADIENT,
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
            SUM,
        )
        return total
