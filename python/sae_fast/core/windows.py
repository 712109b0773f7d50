# SPDX-License-Identifier: BSD-3-Clause
"""Samples that memory does not hold, as the core takes them: an input of some of them at a time.

`as_input` makes one of these of a source that is larger than a window, and the core's own input of
any other. Both have what the functions of this room need: `n_samples`, `n_features`, `sparse`,
`rows`, `find_outside`, and `parts_of` goes over either.
"""

from __future__ import annotations

import functools
import hashlib
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.ahead import each_ahead
from ..datasets.sources import DataSource
from ..errors import DataError

#: Of a window: what is read in passes over all samples, two at a time.
_PARTS_OF_WINDOW = 4


class Windows:
    """A source, read a window at a time.

    Parameters
    ----------
    source : DataSource
    read : callable
        Makes the core's input of rows, by their layout: None leaves it to the core.
    key : str
        Says all else that the values depend on.
    """

    def __init__(
        self,
        name: str,
        source: DataSource,
        dtype: str,
        read: Callable[[Any, bool | None], Any],
        key: str,
    ) -> None:
        self._name, self.source, self.dtype, self._key = name, source, dtype, key
        self._read = read
        self.n_samples, self.n_features = source.shape
        self.block, self.window = source.blocks()
        self._free: dict[int, list[NDArray[Any]]] = {}  # memory of dense rows, by their number

    def of(self, rows: NDArray[np.int64] | slice, sparse: bool | None = None) -> Any:
        """Return the core's input of some rows, in ascending order.

        DataError names the row, as the source counts it, and the source.
        """
        try:
            return self._read(self._taken(rows), sparse)
        except DataError as error:
            raise self._placed(error, rows) from error

    def _taken(self, rows: NDArray[np.int64] | slice) -> Any:
        """Return rows of the source, in memory that earlier ones have had: new memory is slow."""
        source = self.source
        if source.sparse:
            return source.take(rows)
        n = len(range(*rows.indices(self.n_samples))) if isinstance(rows, slice) else len(rows)
        part = self._part_size
        size = part if n <= part else max(n, self.window)
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else np.empty((size, self.n_features), source.dtype)
        taken = source.take(rows, memory[:n])
        weakref.finalize(taken, free.append, memory)
        return taken

    @property
    def _part_size(self) -> int:
        """Rows of a part, in whole blocks."""
        return max(1, self.window // _PARTS_OF_WINDOW // self.block) * self.block

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

    def parts(self) -> Iterator[tuple[int, Any]]:
        """Yield inputs of consecutive samples, all of them in order, and where each begins."""
        size = self._part_size
        slices = [
            slice(at, min(at + size, self.n_samples)) for at in range(0, self.n_samples, size)
        ]
        for rows, part in each_ahead(self.of, slices):
            yield rows.start, part

    @functools.cached_property
    def _surveyed(self) -> tuple[bool, NDArray[Any]]:
        """Read all samples once: whether most are mostly zeros, and some of them, evenly spaced."""
        wanted = sampled(self)
        found, n_sparse = [], 0
        for first, part in self.parts():
            n_sparse += part.n_samples if part.sparse else 0
            own = wanted[(wanted >= first) & (wanted < first + part.n_samples)] - first
            found.append(part.take(own))
        return 2 * n_sparse > self.n_samples, np.concatenate(found)

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
        for first, part in self.parts():
            found = part.find_outside(low, high, n_threads=n_threads)
            if found is not None:
                return first + found[0], found[1], found[2]
        return None

    def digest(self) -> str:
        """Return what tells these samples from others."""
        return hashlib.sha256(f"{self.source.digest()} {self._key}".encode()).hexdigest()


def parts_of(x: Any) -> Iterator[tuple[int, Any]]:
    """Yield the core's inputs of consecutive samples of an input, and where each begins."""
    return x.parts() if isinstance(x, Windows) else iter([(0, x)])


_MOST_SAMPLED = 2**24  # numbers in all


def sampled(x: Any) -> NDArray[np.int64]:
    """Return the numbers of some samples of an input, evenly spaced, all if they are few."""
    n = min(x.n_samples, 512, max(1, _MOST_SAMPLED // x.n_features))
    chosen: NDArray[np.int64] = np.arange(n) * x.n_samples // n
    return chosen
