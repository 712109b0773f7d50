# SPDX-License-Identifier: BSD-3-Clause
"""Columns brought to the same size around zero, and a network that takes them as they were.

What is sparse stays sparse: a column is centred only where most of its values are not 0, and its
unit is then the standard deviation, else the root mean square of its values beside 0. So a rare
word or a pixel at the border of images is not blown up. A constant column is left out.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.inputs import as_input, check_whole
from ..datasets import DataSource
from ..errors import DataError, ScaleWarning, warn
from .stacked import StackedAutoencoder

_BLOCK = 2**16  # numbers in float64 at a time
_FAR = 1e3  # units from zero, beyond which float32 loses digits that matter
_Column = NDArray[np.float64]  # (n_features,), a number for each
_Sums = tuple[_Column, _Column, _Column]


def _blocks(x: NDArray[Any]) -> Iterator[slice]:
    n_rows = max(1, _BLOCK // x.shape[1])
    return (slice(first, first + n_rows) for first in range(0, x.shape[0], n_rows))


def _dense(x: Any) -> NDArray[Any]:
    dense: NDArray[Any] = x.toarray() if hasattr(x, "tocsr") else x
    return dense


def _parts(x: Any) -> Iterator[Any]:
    """Yield the rows of a source a block at a time, those of anything else at once."""
    if not isinstance(x, DataSource):
        return iter([x])
    n_rows = x.blocks()[0]
    return (x.take(slice(first, first + n_rows)) for first in range(0, len(x), n_rows))


def _plus(a: _Sums, b: _Sums) -> _Sums:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _sums(x: Any) -> _Sums:
    """Return how many values of each column are not 0, their sum, and that of their squares."""
    if hasattr(x, "tocsr"):
        values = x.data.astype(np.float64)
        count, total, squares = (
            np.bincount(x.indices, each, x.shape[1]).astype(np.float64)
            for each in (values != 0, values, values**2)
        )
        return count, total, squares
    sums = np.zeros((3, x.shape[1]))
    for rows in _blocks(x):
        block = x[rows].astype(np.float64)
        sums += np.count_nonzero(block, axis=0), block.sum(axis=0), (block**2).sum(axis=0)
    return sums[0], sums[1], sums[2]


def _squares(x: Any, mean: _Column) -> _Column:
    """Return the sum of squares around the mean, of CSR over the values that are not 0."""
    if hasattr(x, "tocsr"):
        squares = (x.data - mean[x.indices]) ** 2 * (x.data != 0)
        return np.bincount(x.indices, squares, x.shape[1]).astype(np.float64)
    total = np.zeros(x.shape[1])
    for rows in _blocks(x):
        total += ((x[rows] - mean) ** 2).sum(axis=0)
    return total


@dataclasses.dataclass(frozen=True)
class Standard:
    """The zero and the unit of each column: ``(x - zero) / unit``, or 0 where the unit is 0."""

    zero: _Column
    unit: _Column

    @classmethod
    def of(cls, x: Any, of_constants: float = 0.0, name: str = "X") -> Standard:
        """Measure the columns of an array, a CSR matrix or a source, in the order of its rows.

        Columns that are constant have the unit `of_constants`.
        """
        n_samples, sparse = x.shape[0], hasattr(x, "tocsr") or getattr(x, "sparse", False)
        with np.errstate(over="ignore", invalid="ignore"):  # found below
            count, total, squares = functools.reduce(_plus, map(_sums, _parts(x)))
            mean, mean_square = total / n_samples, squares / np.maximum(count, 1)
            around = sum(_squares(part, mean) for part in _parts(x))
            if sparse:
                around = around + (n_samples - count) * mean**2
            variance = around / n_samples
        if not np.isfinite(mean_square).all():
            if isinstance(x, DataSource):
                check_whole(as_input(name, x, x.n_features, "float64", 1))  # names a row
            at = int(np.argmin(np.isfinite(mean_square)))
            raise DataError(
                f"{name}: expected values whose squares are finite, got more in column {at}"
            )
        constant = variance <= (1e-13 * mean) ** 2
        centred = constant | ((2 * count > n_samples) & (not sparse))
        unit = np.sqrt(np.where(centred, variance, mean_square))
        centred &= (not sparse) | (of_constants == 0)  # which are left out
        return cls(np.where(centred, mean, 0), np.where(constant, of_constants, unit))

    @property
    def _factor(self) -> _Column:
        return np.divide(1, self.unit, out=np.zeros_like(self.unit), where=self.unit > 0)

    def apply(self, x: Any, dtype: str) -> Any:
        """Return a copy of an array or a CSR matrix in these units, dense where zeros move.

        Of a source: one that gives such rows.
        """
        if isinstance(x, DataSource):
            return _StandardSource(x, self, dtype)
        factor = self._factor
        if hasattr(x, "tocsr") and not (self.zero * factor).any():
            x = x.astype(dtype, copy=True)
            x.data = (x.data * factor[x.indices]).astype(dtype)
            return x
        out = np.empty(x.shape, dtype)
        for rows in _blocks(x):
            centred = np.subtract(_dense(x[rows]), self.zero, dtype=np.float64)
            np.multiply(centred, factor, out=out[rows], casting="same_kind")
        return out

    def squared_errors(self, x: Any, back: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean squared error of each row, `back` being standardized, `x` not."""
        errors = np.empty(x.shape[0])
        for rows in _blocks(x):
            found = back[rows] * self.unit + self.zero
            errors[rows] = ((_dense(x[rows]) - found) ** 2).mean(axis=1)
        return errors

    def errors_of(
        self, x: Any, dtype: str, reconstruct: Callable[[Any], NDArray[Any]]
    ) -> NDArray[np.float64]:
        """Return the mean squared error of each row that `reconstruct` leaves in these units."""
        parts = _parts(x)
        return np.concatenate(
            [self.squared_errors(part, reconstruct(self.apply(part, dtype))) for part in parts]
        )

    def undo(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return rows (n_samples, n_features) in the columns' own units."""
        back: NDArray[Any] = (x * self.unit + self.zero).astype(x.dtype)
        return back

    def fold_into(self, net: StackedAutoencoder) -> StackedAutoencoder:
        """Return a copy of a network that takes and gives columns in their own units."""
        self._warn_if_far("column", net.dtype)
        net = copy.deepcopy(net)
        factor = self._factor[:, None]
        first = net.autoencoders[0]

        def folded(w: NDArray[Any], b: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
            w = w * factor
            return w, b - self.zero @ w

        own = net.parameters
        w, b = folded(own["W1"], own["b1"])
        net.parameters = {"W1": w, "b1": b}
        own = first.parameters
        w, b = folded(own["W_enc"], own["b_enc"])
        decoder = {"W_dec": own["W_dec"] * self.unit, "b_dec": own["b_dec"] * self.unit + self.zero}
        first.parameters = {"W_enc": w, "b_enc": b, **decoder}
        return net

    def fold_targets_into(self, net: StackedAutoencoder) -> StackedAutoencoder:
        """Return a copy of a network that gives targets, which it has in these units, in their own.

        Its layer on top is linear, unless these units change nothing.
        """
        self._warn_if_far("target", net.dtype)
        net = copy.deepcopy(net)
        own = net.parameters
        *_, w, b = own
        net.parameters = {w: own[w] * self.unit, b: own[b] * self.unit + self.zero}
        return net

    def _warn_if_far(self, what: str, dtype: str) -> None:
        far = np.abs(self.zero * self._factor)
        if dtype == "float32" and far.max() > _FAR:
            warn(
                f"{what} {int(far.argmax())} lies {far.max():.0f} of its units from zero, too far "
                "for float32: a network that has it as it is computes roughly; dtype='float64' "
                "is exact",
                ScaleWarning,
            )


class _StandardSource(DataSource):
    """Rows of a source in standard units."""

    def __init__(self, source: DataSource, standard: Standard, dtype: str) -> None:
        super().__init__(memory=source.memory, block_size=source.block_size, folder=source.folder)
        self._source, self._standard = source, standard
        self.shape, self.dtype = source.shape, np.dtype(dtype)
        self.chunk_size = source.chunk_size
        self.sparse = source.sparse and not (standard.zero * standard._factor).any()

    @property
    def row_bytes(self) -> float:
        """Bytes of a row, of a CSR matrix with its numbers in another type."""
        if not self.sparse:
            return super().row_bytes
        return self._source.row_bytes * max(1, self.dtype.itemsize / self._source.dtype.itemsize)

    def read(self, first: int, last: int) -> Any:
        """Return consecutive rows."""
        return self._standard.apply(self._source.read(first, last), self.dtype.name)

    def digest(self) -> str:
        """Return what tells these rows from others."""
        units = self._standard.zero.tobytes() + self._standard.unit.tobytes()
        return hashlib.sha256(self._source.digest().encode() + units).hexdigest()

    def __str__(self) -> str:
        return str(self._source)
