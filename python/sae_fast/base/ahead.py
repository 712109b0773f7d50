# SPDX-License-Identifier: BSD-3-Clause
"""One piece of work ahead of who needs it, on a thread.

Plain threads, not `concurrent.futures`, whose import takes as long as a model's.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

_K = TypeVar("_K")
_T = TypeVar("_T")


class _Task(Generic[_K, _T]):
    """Makes one thing on a thread; RuntimeError if none is to be had."""

    def __init__(self, make: Callable[[_K], _T], key: _K) -> None:
        self.key = key
        self._made: list[_T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(make,), name="sae_fast read-ahead")
        self._thread.start()

    def _run(self, make: Callable[[_K], _T]) -> None:
        try:
            self._made.append(make(self.key))
        except BaseException as error:
            self._error = error

    def result(self) -> _T:
        """Wait for it, once, and return it, or raise what came instead."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._made.pop()


class Ahead(Generic[_K, _T]):
    """Makes things by their keys: the one that is asked for, and meanwhile the next.

    What `make` raises for the next is raised once that is asked for, or never.
    """

    def __init__(self, make: Callable[[_K], _T]) -> None:
        self._make = make
        self._next: _Task[_K, _T] | None = None

    def get(self, key: _K) -> _T:
        """Return what belongs to a key, and wait for it if it is under way."""
        ahead, self._next = self._next, None
        if ahead is not None and ahead.key == key:
            return ahead.result()
        return self._make(key)

    def start(self, key: _K) -> None:
        """Begin to make the next; where there is no thread, it is made when it is asked for."""
        with contextlib.suppress(RuntimeError):
            self._next = _Task(self._make, key)


def each_ahead(make: Callable[[_K], _T], keys: Iterable[_K]) -> Iterator[tuple[_K, _T]]:
    """Yield what belongs to each key, while the next is made."""
    keys, ahead = list(keys), Ahead(make)
    for at, key in enumerate(keys):
        found: Any = ahead.get(key)
        if at + 1 < len(keys):
            ahead.start(keys[at + 1])
        yield key, found
        del found  # before the next is waited for
