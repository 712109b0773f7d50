# SPDX-License-Identifier: BSD-3-Clause
"""From a path to the source that reads what is there; and several files as one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ...base.checks import check_array, check_path
from ...errors import DataError, DatasetUnavailableError, SaeFastError
from .arrow import ArrowSource
from .flat import CsrSource, FlatSource
from .hdf5 import Hdf5Source
from .source import DataSource, stacked
from .zarr import ZarrSource

_Path: TypeAlias = str | os.PathLike[str]

_MAGIC = {
    b"\x93NUMPY": FlatSource,
    b"\0\0": FlatSource,
    b"\x1f\x8b": FlatSource,  # which says that it is packed
    b"\x89HDF": Hdf5Source,
    b"PK": CsrSource,
    b"PAR1": ArrowSource,
    b"ARROW1": ArrowSource,
}


class ConcatenatedSource(DataSource):
    """The rows of several sources, one after the other.

    Parameters
    ----------
    sources : sequence of DataSource
        Of the same features and type.
    **options
        As for :class:`DataSource`; those of the sources do not count.

    Raises
    ------
    DataError
        If they do not fit together.
    """

    def __init__(self, sources: Sequence[DataSource], **options: Any) -> None:
        super().__init__(**options)
        self._sources = list(sources)
        if not self._sources:
            raise DataError("sources: expected at least one, got none")
        first = self._sources[0]
        for one in self._sources[1:]:
            if one.shape[1] != first.shape[1] or one.dtype != first.dtype:
                raise DataError(
                    f"{one}: expected {first.shape[1]:,} features of {first.dtype} as in {first}, "
                    f"got {one.shape[1]:,} of {one.dtype}"
                )
        self._ends = np.cumsum([0, *map(len, self._sources)])
        self.shape, self.dtype = (int(self._ends[-1]), first.shape[1]), first.dtype
        self.chunk_size = max(one.chunk_size for one in self._sources)
        self.sparse = first.sparse
        self.files = tuple(path for one in self._sources for path in one.files)

    @property
    def row_bytes(self) -> float:  # noqa: D102
        return sum(one.row_bytes * len(one) for one in self._sources) / max(1, len(self))

    def read(self, first: int, last: int) -> Any:  # noqa: D102
        parts = []
        for start, one in zip(self._ends[:-1].tolist(), self._sources, strict=True):
            begin, end = max(first, start), min(last, start + len(one))
            if begin < end:
                parts.append(one.read(begin - start, end - start))
        return stacked(parts) if parts else self._sources[0].read(0, 0)

    def __str__(self) -> str:  # noqa: D105
        others = len(self._sources) - 1
        return f"{self._sources[0]} and {others} more" if others else str(self._sources[0])


class SubsetSource(DataSource):
    """Some rows of a source, in their order there.

    Parameters
    ----------
    source : DataSource
        Whose options are these, too.
    rows : array of bool, shape (n_samples,), or of int
        Which.

    Raises
    ------
    DataError
        If there are no such rows.

    Examples
    --------
    >>> import numpy as np
    >>> from sae_fast.datasets import ArraySource, SubsetSource
    >>> source = ArraySource(np.arange(8.0).reshape(4, 2))
    >>> SubsetSource(source, [3, 0]).take(slice(None))
    array([[0., 1.],
           [6., 7.]])
    """

    def __init__(self, source: DataSource, rows: Any) -> None:
        super().__init__(memory=source.memory, block_size=source.block_size, folder=source.folder)
        chosen = check_array("rows", rows)
        if chosen.shape == (len(source),) and chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise DataError(
                f"rows: expected {len(source):,} of bool, or numbers of rows, got shape "
                f"{chosen.shape} of {chosen.dtype}"
            )
        self._source, self._rows = source, np.sort(chosen.astype(np.int64))
        if chosen.size and not 0 <= self._rows[0] <= self._rows[-1] < len(source):
            raise DataError(
                f"rows: expected numbers from 0 to {len(source) - 1:,}, got {self._rows[0]:,} to "
                f"{self._rows[-1]:,}"
            )
        self.shape, self.dtype = (len(chosen), source.shape[1]), source.dtype
        self.sparse, self.chunk_size = source.sparse, source.chunk_size
        self.files = source.files

    @property
    def row_bytes(self) -> float:  # noqa: D102
        return self._source.row_bytes

    def read(self, first: int, last: int) -> Any:  # noqa: D102
        return self._source.take(self._rows[first:last])

    def __str__(self) -> str:  # noqa: D105
        return f"{len(self):,} rows of {self._source}"


def open_source(
    path: _Path | Sequence[_Path],
    *,
    key: str | None = None,
    columns: Sequence[str] | None = None,
    **options: Any,
) -> DataSource:
    """Open samples in a file, told by its content, to be read as they are needed.

    Parameters
    ----------
    path : path-like or sequence of them
        A .npy file, a plain IDX file, an HDF5 file, a Zarr store, a Parquet or Arrow file, a CSR
        matrix of ``scipy.sparse.save_npz(..., compressed=False)``; or several files, whose rows
        follow each other.
    key : str, optional
        Of the array in an HDF5 file or a Zarr store.
    columns : sequence of str, optional
        Of a Parquet or Arrow file.
    memory, block_size, folder
        As for :class:`DataSource`.

    Returns
    -------
    DataSource

    Raises
    ------
    DataError
        If an argument does not fit, `memory` does not hold four blocks, or the file is not whole or
        holds no rows of numbers.
    DatasetUnavailableError
        If it cannot be read.
    ImportError
        If the package that reads it is not installed: ``pip install 'sae-fast[data]'``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, sae_fast
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.npy"
    ...     np.save(path, np.random.default_rng(0).random((2000, 16), dtype=np.float32))
    ...     x = sae_fast.datasets.open_source(path, memory="100KB")
    ...     ae = sae_fast.Autoencoder(16, 4)
    ...     history = ae.fit(x, epochs=20, eval_every=0)
    ...     codes = ae.encode(x, out=pathlib.Path(folder) / "codes.npy")
    ...     codes.shape
    (2000, 4)
    """
    if not isinstance(path, (str, bytes, os.PathLike)) and isinstance(path, Sequence):
        each = [open_source(one, key=key, columns=columns, **options) for one in path]
        together = ConcatenatedSource(each, **options)
        together.blocks()
        return together
    found = check_path("path", path)
    if found.is_dir():
        kind: Any = ZarrSource
    else:
        try:
            with found.open("rb") as file:
                start = file.read(6)
        except OSError as error:
            raise DatasetUnavailableError(
                f"{found}: cannot be read: {error.strerror or error}"
            ) from error
        kind = next((one for magic, one in _MAGIC.items() if start.startswith(magic)), None)
    if kind is None:
        raise DataError(
            f"{found}: expected a .npy, IDX, HDF5, Parquet or Arrow file, a CSR matrix in .npz, or "
            f"a Zarr store, got a file that begins with {start!r}; read CSV and other text with "
            "pandas.read_csv, and pass the frame or save it by to_parquet or numpy.save"
        )
    given = {"key": key, "columns": columns}
    taken = {Hdf5Source: "key", ZarrSource: "key", ArrowSource: "columns"}.get(kind)
    for name, value in given.items():
        if value is not None and name != taken:
            raise DataError(f"{name}: expected None for {found}, got {value!r}")
    if taken is not None:
        options[taken] = given[taken]
    try:
        opened: DataSource = kind(found, **options)
    except (SaeFastError, ImportError, MemoryError, TypeError):  # the last of an unknown option
        raise
    except Exception as error:  # of a damaged file each package raises what it likes
        raise DataError(f"{found}: cannot be opened: {error}") from error
    opened.blocks()  # which memory has to hold
    return opened
