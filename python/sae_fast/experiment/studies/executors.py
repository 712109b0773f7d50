# SPDX-License-Identifier: BSD-3-Clause
"""Who computes the runs of a study."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from typing import TypeVar

from ...base.threads import available_threads

C = TypeVar("C")
T = TypeVar("T")
O = TypeVar("O")  # noqa: E741


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run without an outcome, and why."""

    error: str
    attempts: int


def run_tasks(
    tasks: Sequence[T],
    work: Callable[[C, T], O],
    context: C,
    *,
    executor: str | Executor = "threads",
    workers: int | None = None,
    scheduler: str | None = None,
    chunk: int | None = None,
) -> Iterator[tuple[int, O | Failure]]:
    """Yield the index of each task and what `work(context, task)` returned, as they are done.

    Where the caller leaves early, threads are not waited for: they end with their task, or as
    soon as something in `context` tells them to.
    """
    with contextlib.ExitStack() as held:
        pool = ThreadPoolExecutor(workers or available_threads())
        held.callback(pool.shutdown, wait=False, cancel_futures=True)
        futures = {pool.submit(work, context, task): index for index, task in enumerate(tasks)}
        for future in as_completed(futures):
            error = future.exception()
            index = futures.pop(future)
            yield index, Failure(f"{type(error).__name__}: {error}", 1) if error else future.result()
