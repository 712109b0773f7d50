# SPDX-License-Identifier: BSD-3-Clause
"""Work ahead of who needs it, on threads.

`concurrent.futures` is imported where there is such work: it takes as long as a model's import.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

_K = TypeVar("_K")
_T = TypeVar("_T")


def _threads(n: int) -> Executor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(n, thread_name_prefix="sae_fast")


class Ahead(abc.ABC, Generic[_K, _T]):
    """Makes things by their keys: the one that is asked for, and meanwhile the next.

    What `make` raises for the next is raised once that is asked for, or never.
    """

    def __init__(self) -> None:
        self._next: tuple[_K, Future[_T]] | None = None

    @abc.abstractmethod
    def make(self, key: _K) -> _T:
        """Return what belongs to a key."""

    @functools.cached_property
    def _thread(self) -> Executor:
        return _threads(1)

    @property
    def under_way(self) -> bool:
        """Whether the next is being made."""
        return self._next is not None and not self._next[1].done()

    def get(self, key: _K) -> _T:
        """Return what belongs to a key, and wait for it if it is under way."""
        ahead, self._next = self._next, None
        if ahead is not None and ahead[0] == key:
            return ahead[1].result()
        return self.make(key)

    def start(self, key: _K) -> None:
        """Begin to make the next; where there is no thread, it is made when it is asked for."""
        try:
            self._next = key, self._thread.submit(self.make, key)
        except RuntimeError:
            self._thread.shutdown(wait=False, cancel_futures=True)  # it has queued the key
            del self._thread


def each_ahead(
    make: Callable[[_K], _T], keys: Iterable[_K], n_threads: int, over: threading.Event
) -> Iterator[_T]:
    """Yield what belongs to each key, in their order, made on some threads.

    One more than these waits to be taken, at most. Where there is no thread, this one makes them.
    Sets `over` once nobody takes any more.
    """
    keys, threads = iter(keys), _threads(n_threads)
    under_way: collections.deque[tuple[_K, Future[_T] | None]] = collections.deque()
    try:
        while True:
            for key in keys:
                future = None
                with contextlib.suppress(RuntimeError):
                    future = threads.submit(make, key)
                under_way.append((key, future))
                if len(under_way) > n_threads:
                    break
            if not under_way:
                return
            key, future = under_way.popleft()
            yield make(key) if future is None else future.result()
    finally:
        over.set()
        threads.shutdown(cancel_futures=True)
