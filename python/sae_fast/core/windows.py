# SPDX-License-Identifier: BSD-3-Clause
"""Samples that memory does not hold, as the core takes them: an input of some of them at a time.

`as_input` makes one of these of a source that is larger than a window, and the core's own input of
any other. Both have what the functions of this room need: `n_samples`, `n_features`, `sparse`,
`rows`, `find_outside`, and `each_part` goes over either.
"""

from __future__ import annotations

import functools
import hashlib
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..base.ahead import each_ahead
from ..datasets.sources import DataSource
from ..errors import DataError

#: What is read at a time in passes over all samples: at most this share of a window, and what
#: stays in a processor's cache from where it is read to where it is computed with.
_PARTS_OF_WINDOW, _PART_BYTES = 4, 2**22
_MOST_PARTS = 8  # whose memory is kept

#: Memory of dense rows, by their number, that a source (its identity) has had: new memory is slow.
_FREE: dict[int, dict[int, list[NDArray[Any]]]] = {}

_T = TypeVar("_T")


def _free_of(source: DataSource) -> dict[int, list[NDArray[Any]]]:
    key = id(source)
    if key not in _FREE:
        _FREE[key] = {}
        weakref.finalize(source, _FREE.pop, key)
    return _FREE[key]


class Windows:
    """A source, read a window at a time.

    Parameters
    ----------
    source : DataSource
    read : callable
        Makes the core's input of rows, by their layout: None leaves it to the core.
    key : str
        Says all else that the values depend on.
    n_threads : int
        Of passes over all samples that nobody gives a number for.
    """

    def __init__(
        self,
        name: str,
        source: DataSource,
        dtype: str,
        read: Callable[[Any, bool | None], Any],
        key: str,
        n_threads: int,
    ) -> None:
        self._name, self.source, self.dtype, self._key = name, source, dtype, key
        self._read, self._n_threads = read, n_threads
        self._reading = threading.Lock()  # a source is read by one thread at a time
        self.n_samples, self.n_features = source.shape
        self.block, self.window = source.blocks()

    def of(
        self,
        rows: NDArray[np.int64] | slice,
        sparse: bool | None = None,
        over: threading.Event | None = None,
    ) -> Any:
        """Return the core's input of some rows, in ascending order, unless it is `over` by then.

        DataError names the row, as the source counts it, and the source.
        """
        try:
            return self._read(self._taken(rows, over), sparse)
        except DataError as error:
            raise self._placed(error, rows) from error

    def _taken(self, rows: NDArray[np.int64] | slice, over: threading.Event | None) -> Any:
        """Return rows of the source, in memory that earlier ones have had if they are usual."""
        source = self.source
        n = len(range(*rows.indices(self.n_samples))) if isinstance(rows, slice) else len(rows)
        part, window = self._part_size, self.window + self._part_size  # and of the next, the rest
        with self._reading:
            if over is not None and over.is_set():
                raise InterruptedError("nobody waits for these rows")
            if source.sparse or source.dtype == np.bool_ or n > window:  # bool is read by a view
                return source.take(rows)
            size, most = (part, _MOST_PARTS) if n <= part else (window, 2)
            free = _free_of(source).setdefault(size, [])
            memory = free.pop() if free else np.empty((size, self.n_features), source.dtype)
            taken = source.take(rows, memory[:n])

        def give_back() -> None:
            if len(free) < most:
                free.append(memory)

        weakref.finalize(taken, give_back)
        return taken

    @property
    def _part_size(self) -> int:
        """Rows of a part, in whole blocks."""
        size = min(self.window // _PARTS_OF_WINDOW, int(_PART_BYTES / self.source.row_bytes))
        return max(1, size // self.block) * self.block

    def _placed(self, error: DataError, rows: NDArray[np.int64] | slice) -> DataError:
        """Return an error about some rows with their numbers among all."""
        numbers = np.arange(*rows.indices(self.n_samples)) if isinstance(rows, slice) else rows

        def number(found: re.Match[str]) -> str:
            at = int(found[1].replace(",", ""))
            return f"row {int(numbers[at]) if at < len(numbers) else at}"

        text = str(error)
        if not text.startswith(f"{self._name}: "):  # of the source itself
            return DataError(f"{self._name}: {text}")
        text = re.sub(r"row (\d[\d,]*\d|\d)", number, text, count=1)
        return DataError(f"{text} of {self.source}")

    def each(self, of: Callable[[Any, int, int], _T], n_threads: int) -> Iterator[tuple[int, _T]]:
        """Yield where each part of the samples begins, and what `of` makes of it.

        of: takes a part, where it begins, and how many threads it may use.

        Parts are of consecutive samples, all of them in order, and small enough to stay in a
        processor's cache. `of` is called on so many threads, each of which has read its part
        before; beside a single one there is another that reads ahead.
        """
        size, computing, over = self._part_size, threading.Semaphore(n_threads), threading.Event()
        n_held = max(2, min(n_threads, self.window // size))
        share = max(1, n_threads // n_held)

        def one(first: int) -> tuple[int, _T]:
            part = self.of(slice(first, min(first + size, self.n_samples)), over=over)
            with computing:
                return first, of(part, first, share)

        yield from each_ahead(one, range(0, self.n_samples, size), n_held, over)

    @functools.cached_property
    def _surveyed(self) -> tuple[bool, NDArray[Any]]:
        """Read all samples once: whether most are mostly zeros, and some of them, evenly spaced."""
        wanted = sampled(self)

        def of(part: Any, first: int, _: int) -> tuple[int, NDArray[Any]]:
            own = wanted[(wanted >= first) & (wanted < first + part.n_samples)] - first
            return part.n_samples if part.sparse else 0, part.take(own)

        each = self.each(of, self._n_threads)
        n_sparse, found = zip(*(made for _, made in each), strict=True)
        return 2 * sum(n_sparse) > self.n_samples, np.concatenate(found)

    def check(self) -> None:
        """Read all samples, once; DataError names the first that cannot be trained on."""
        self._surveyed  # noqa: B018

    @property
    def sparse(self) -> bool:
        """Whether they are kept as their non-zeros."""
        return self._surveyed[0]

    @property
    def sample(self) -> NDArray[Any]:
        """Those samples that `sampled` names, as the core has them."""
        return self._surveyed[1]

    def rows(self, first: int, last: int) -> NDArray[Any]:
        """Return consecutive samples as the core has them, dense."""
        found: NDArray[Any] = self.of(slice(first, last)).rows(0, last - first)
        return found

    def find_outside(
        self, low: float, high: float, *, n_threads: int
    ) -> tuple[int, int, float] | None:
        """Return row, column and value of the first that is below `low` or above `high`."""

        def of(part: Any, _: int, n_threads: int) -> tuple[int, int, float] | None:
            found: tuple[int, int, float] | None = part.find_outside(low, high, n_threads=n_threads)
            return found

        for first, found in self.each(of, n_threads):
            if found is not None:
                return first + found[0], found[1], found[2]
        return None

    def digest(self) -> str:
        """Return what tells these samples from others."""
        return hashlib.sha256(f"{self.source.digest()} {self._key}".encode()).hexdigest()


def each_part(
    x: Any, of: Callable[[Any, int, int], _T], n_threads: int
) -> Iterator[tuple[int, _T]]:
    """Yield what `of` makes of each part of an input, one after the other, and where that begins.

    of: takes a part, where it begins, and how many threads it may use.
    """
    if isinstance(x, Windows):
        yield from x.each(of, n_threads)
    else:
        yield 0, of(x, 0, n_threads)


_MOST_SAMPLED = 2**24  # numbers in all


def sampled(x: Any) -> NDArray[np.int64]:
    """Return the numbers of some samples of an input, evenly spaced, all if they are few."""
    n = min(x.n_samples, 512, max(1, _MOST_SAMPLED // x.n_features))
    chosen: NDArray[np.int64] = np.arange(n) * x.n_samples // n
    return chosen
