# SPDX-License-Identifier: BSD-3-Clause
"""What a source of samples is: rows that are read from where they lie, some at a time.

Whoever reads them decides how many and in which order; a source only says how many there are and
gives those that it is asked for.
"""

from __future__ import annotations

import abc
import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.checks import check_array, check_bytes, check_int, check_path
from ...base.npy import mapped_files
from ...base.text import shown
from ...errors import DataError
from .packages import needed

#: Of a block, if nobody says how many rows it has.
_BLOCK_BYTES = 2**20
#: A window has at least so many blocks, where rows that lie together need not be read together.
_FEWEST_BLOCKS = 16
#: Of the memory for a source: one window is in use, the next one is read, and both are copied.
_SHARE_OF_WINDOW = 4
_GAP_BYTES, _SPAN_BYTES = 2**15, 2**22  # read for nothing; read at once
_ROW_BYTES = 40  # a row's numbers in the order of samples, its label and its weight


class DataSource(abc.ABC):
    """Samples that are read from where they lie: what a model takes in the place of an array.

    All that takes samples takes a source: trainings, `eval_set`, predictions, errors, the
    estimators. A set of at most a quarter of `memory`, a *window*, is read at once, and everything
    is then as with an array, to the bit. A larger one is read a window at a time, the next one on a
    thread beside what is computed.

    A subclass says `shape` and `dtype` and gives consecutive rows by `read`; it may give any rows
    by `take`, say which rows it can only read together by `chunk_size`, and know a cheaper
    `digest`. :func:`open_source` has those for files.

    Parameters
    ----------
    memory : int or str, default "1GB"
        Bytes, or "256MB", that rows may take at once, in the core and here; what a model and
        results take comes on top. It is kept, for the next training, as long as the source is.
    block_size : int, optional
        Consecutive rows that stay together, in one window, when samples are shuffled. None: what
        1 MiB holds, at most a 16th of a window, in whole chunks.
    folder : path-like, optional
        Where pretraining keeps the codes of layers below in a temporary file, if these are larger
        than a window. None: the system's folder for such files.

    Attributes
    ----------
    shape : tuple of int
        (n_samples, n_features).
    dtype : numpy.dtype
        Of the rows: uint8, which is read with a `scale`, float32 or float64; any other numbers are
        copied into the model's own precision.
    chunk_size : int
        Rows that are read together whoever asks for some of them; 1 where each can be read alone.
    sparse : bool
        Whether `read` gives CSR matrices.
    files : tuple of path-like
        Those that rows are read from, in which no result is put; empty if there are none.
    n_samples, n_features : int

    Raises
    ------
    DataError
        If an argument does not fit.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> from sae_fast.datasets import DataSource
    >>> class Waves(DataSource):
    ...     shape, dtype = (5000, 16), np.dtype(np.float32)
    ...
    ...     def read(self, first, last):
    ...         phase = np.arange(first, last)[:, None] + np.arange(16) / 4
    ...         return np.sin(phase, dtype=self.dtype)
    >>> waves = Waves(memory="64KB")  # windows of 153 rows
    >>> ae = sae_fast.Autoencoder(16, 4)
    >>> history = ae.fit(waves, steps=400, eval_every=0)
    >>> ae.encode(waves).shape
    (5000, 4)
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    memory: int | str = "1GB"
    block_size: int | None = None
    folder: Path | None = None
    chunk_size: int = 1
    sparse: bool = False
    files: tuple[Path, ...] = ()

    def __init__(
        self,
        *,
        memory: int | str = "1GB",
        block_size: int | None = None,
        folder: str | os.PathLike[str] | None = None,
    ) -> None:
        check_bytes("memory", memory)
        self.memory = memory
        self.block_size = None if block_size is None else check_int("block_size", block_size, 1)
        self.folder = None if folder is None else check_path("folder", folder)

    @abc.abstractmethod
    def read(self, first: int, last: int) -> Any:
        """Return the rows from `first` to before `last`, an array or a CSR matrix of SciPy.

        It is called on threads, one at a time for each training or prediction.

        Raises
        ------
        DataError
            If there is something else than was there when the source was made.
        """

    def _checked(self, first: int, last: int) -> Any:
        """Return what `read` gives, which somebody may have written who has read no further."""
        rows = self.read(first, last)
        expected = (last - first, self.shape[1])
        matrix = "a CSR matrix" if self.sparse else "an array"
        if getattr(rows, "shape", None) != expected or hasattr(rows, "tocsr") != self.sparse:
            raise DataError(
                f"{self}: expected {matrix} of shape {expected} for rows {first:,} to {last:,}, "
                f"got {type(rows).__name__} of shape {getattr(rows, 'shape', None)}"
            )
        return rows

    def read_into(self, first: int, out: NDArray[Any]) -> None:
        """Put the rows from `first` on into an array (n, n_features) of the source's type.

        For dense rows, which need no array of their own where a subclass knows how.
        """
        out[:] = self._checked(first, first + len(out))

    def take(self, rows: slice | NDArray[np.int64], out: NDArray[Any] | None = None) -> Any:
        """Return some rows, an array or a CSR matrix of SciPy.

        Parameters
        ----------
        rows : slice, or array of int, shape (n,)
            Consecutive ones, or any from 0 on, in any order.
        out : ndarray, shape (n, n_features), optional
            Where to put dense rows, of the source's type and in C order.

        Raises
        ------
        DataError
            If there are no such rows, or as from `read`.
        """
        rows = self._numbers(rows)
        steps = np.diff(rows)
        if (steps <= 0).any():
            ascending, back = np.unique(rows, return_inverse=True)
            found = self.take(ascending)[back.reshape(-1)]
            if out is not None:
                out[:] = found
            return found if out is None else out
        if not len(rows):
            return self.read(0, 0)
        spans = list(self._spans(rows, steps))
        if self.sparse:
            return stacked(
                [self._checked(start, end)[rows[at] - start] for at, start, end in spans]
            )
        if out is None:
            out = np.empty((len(rows), self.shape[1]), self.dtype)
        for at, start, end in spans:
            if end - start == at.stop - at.start:
                self.read_into(start, out[at])
            else:
                out[at] = self._checked(start, end)[rows[at] - start]
        return out

    def _numbers(self, rows: Any) -> NDArray[np.int64]:
        """Return the numbers of rows that somebody asks for; DataError if there are none such."""
        if isinstance(rows, slice):
            return np.arange(*rows.indices(len(self)))
        numbers = check_array("rows", rows)
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise DataError(f"rows: expected numbers of rows, got {shown(rows)}")
        low, high = (numbers.min(), numbers.max()) if numbers.size else (0, 0)
        if numbers.size and not 0 <= low <= high < len(self):
            raise DataError(
                f"rows: expected numbers from 0 to {len(self) - 1:,}, got {low:,} to {high:,}"
            )
        return numbers

    def _spans(
        self, rows: NDArray[np.int64], steps: NDArray[np.int64]
    ) -> Iterator[tuple[slice, int, int]]:
        """Yield which of some ascending rows are read at once, and what is read for them.

        Rows between two of them are read too, where that is sooner than to skip them: if they are
        few, and so are those on one side of them, or they come in one chunk.
        """
        size = max(1.0, self.row_bytes)
        whole = max(1, int(_SPAN_BYTES / size / self.chunk_size)) * self.chunk_size
        apart = (steps > 1 + _GAP_BYTES / size) | (np.diff(rows // whole) > 0)
        if self.chunk_size == 1:
            gaps = np.flatnonzero(steps > 1)
            runs = np.diff(gaps, prepend=-1, append=len(rows) - 1)
            apart[gaps[np.minimum(runs[:-1], runs[1:]) * size >= _GAP_BYTES]] = True
        ends = [0, *(np.flatnonzero(apart) + 1).tolist(), len(rows)]
        for first, last in itertools.pairwise(ends):
            yield slice(first, last), int(rows[first]), int(rows[last - 1]) + 1

    def digest(self) -> str:
        """Return what tells this source's content from any other: SHA-256, in hexadecimals.

        Checkpoints ask for it. It is of all rows, read a block at a time.
        """
        digest = hashlib.sha256(f"{self.dtype.newbyteorder('<').str}{self.shape}".encode())
        size = max(1.0, self.row_bytes)  # cut the same way whatever the memory
        n_rows = max(1, int(_SPAN_BYTES / size / self.chunk_size)) * self.chunk_size
        for first in range(0, len(self), n_rows):
            rows = self._checked(first, min(first + n_rows, len(self)))
            parts = (rows.indptr, rows.indices, rows.data) if hasattr(rows, "tocsr") else (rows,)
            for part in parts:
                little = part.dtype.newbyteorder("<")
                digest.update(np.ascontiguousarray(part, little).data.cast("B"))
        return digest.hexdigest()

    @property
    def row_bytes(self) -> float:
        """Bytes of a row as `read` gives it, on the average."""
        return self.shape[1] * self.dtype.itemsize

    def blocks(self) -> tuple[int, int]:
        """Return the rows of a block, and of a window: so many whole blocks.

        Raises
        ------
        DataError
            If `memory` does not hold four blocks.
        """
        row_bytes = self.row_bytes + _ROW_BYTES
        memory = check_bytes("memory", self.memory)
        window = int(memory / _SHARE_OF_WINDOW / row_bytes)
        if self.block_size is None:
            chunk = self.chunk_size
            wanted = min(_BLOCK_BYTES / row_bytes, window / _FEWEST_BLOCKS)
            block = max(1, int(wanted / chunk)) * chunk
        else:
            block = self.block_size
        block = min(block, max(1, len(self)))
        if window < block:
            need = int(_SHARE_OF_WINDOW * block * row_bytes) + 1
            hint = ""
            if self.block_size is None and self.chunk_size > 1:
                hint = (
                    "; these are read together: give more memory, or write the file anew with fewer"
                    " in a group (Parquet: row_group_size=1000) or a chunk (HDF5, Zarr: chunks=)"
                )
            raise DataError(
                f"memory: expected at least {need:,} bytes, four times a block of "
                f"{block:,} row{'s' * (block > 1)} of {self}, got {self.memory}{hint}"
            )
        return block, window // block * block

    def small(self) -> bool:
        """Say whether a window holds all rows."""
        return len(self) <= self.blocks()[1]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.shape[0]

    @property
    def n_samples(self) -> int:  # noqa: D102
        return self.shape[0]

    @property
    def n_features(self) -> int:  # noqa: D102
        return self.shape[1]

    @property
    def ndim(self) -> int:  # noqa: D102
        return 2

    def __str__(self) -> str:
        """Return what errors call it: of a file, its path."""
        return type(self).__name__

    def __repr__(self) -> str:
        """Say what it is, its shape and type."""
        return f"{type(self).__name__}({str(self)!r}, shape={self.shape}, dtype={self.dtype})"


def stacked(parts: list[Any]) -> Any:
    """Return rows one below the other, of arrays or of CSR matrices."""
    if len(parts) == 1:
        return parts[0]
    if hasattr(parts[0], "tocsr"):
        return needed("scipy.sparse", "CSR matrices").vstack(parts, format="csr")
    return np.concatenate(parts)


class ArraySource(DataSource):
    """Rows of an array, one that is mapped to a file perhaps, or of a CSR matrix.

    Parameters
    ----------
    x : ndarray or SciPy sparse matrix, shape (n_samples, n_features)
    **options
        As for :class:`DataSource`.

    Examples
    --------
    >>> import numpy as np
    >>> from sae_fast.datasets import ArraySource
    >>> source = ArraySource(np.arange(12.0).reshape(4, 3), memory="1MB")
    >>> source.take(np.array([2, 0]))
    array([[6., 7., 8.],
           [0., 1., 2.]])
    """

    def __init__(self, x: Any, **options: Any) -> None:
        super().__init__(**options)
        self._x: Any = x.tocsr() if hasattr(x, "tocsr") else np.asarray(x)
        if self._x.ndim == 1:
            self._x = self._x[:, None]
        if self._x.ndim != 2:
            raise DataError(
                f"x: expected two dimensions (n_samples, n_features), got shape {self._x.shape}"
            )
        self.shape, self.sparse = self._x.shape, hasattr(x, "tocsr")
        self.dtype = np.dtype(self._x.dtype)
        self.files = mapped_files(self._x)

    @property
    def row_bytes(self) -> float:  # noqa: D102
        if not hasattr(self._x, "tocsr"):
            return super().row_bytes
        entry = self.dtype.itemsize + self._x.indices.dtype.itemsize
        ends = self._x.indptr.dtype.itemsize
        return float(entry * len(self._x.data) / max(1, len(self)) + ends)

    def read(self, first: int, last: int) -> Any:  # noqa: D102
        return self._x[first:last]

    def take(  # noqa: D102
        self, rows: slice | NDArray[np.int64], out: NDArray[Any] | None = None
    ) -> Any:
        found = self._x[rows if isinstance(rows, slice) else self._numbers(rows)]
        if out is None or self.sparse:
            return found
        out[:] = found
        return out
