# SPDX-License-Identifier: BSD-3-Clause
"""One piece of work ahead of who needs it, on a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

_K = TypeVar("_K")
_T = TypeVar("_T")


class Ahead(Generic[_K, _T]):
    """Makes things by their keys: the one that is asked for, and meanwhile the next.

    What `make` raises for the next is raised once that is asked for, or never.
    """

    def __init__(self, make: Callable[[_K], _T]) -> None:
        self._make = make
        self._thread: ThreadPoolExecutor | None = None
        self._next: tuple[_K, Future[_T]] | None = None

    def get(self, key: _K) -> _T:
        """Return what belongs to a key, and wait for it if it is under way."""
        ahead, self._next = self._next, None
        if ahead is not None and ahead[0] == key:
            return ahead[1].result()
        if ahead is not None:
            ahead[1].cancel()
        return self._make(key)

    def start(self, key: _K) -> None:
        """Begin to make the next."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="sae_fast read-ahead")
        with contextlib.suppress(RuntimeError):  # no thread to be had: it is made when asked for
            self._next = key, self._thread.submit(self._make, key)

    def __enter__(self) -> Self:  # noqa: D105
        return self

    def __exit__(  # noqa: D105
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._next = None
        if self._thread is not None:  # what is being read is dropped once it is there
            self._thread.shutdown(wait=False, cancel_futures=True)


def each_ahead(make: Callable[[_K], _T], keys: Iterable[_K]) -> Iterator[tuple[_K, _T]]:
    """Yield what belongs to each key, while the next is made."""
    keys = list(keys)
    with Ahead(make) as ahead:
        for at, key in enumerate(keys):
            found: Any = ahead.get(key)
            if at + 1 < len(keys):
                ahead.start(keys[at + 1])
            yield key, found
            del found  # before the next is waited for
