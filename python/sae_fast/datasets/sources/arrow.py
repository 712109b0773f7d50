# SPDX-License-Identifier: BSD-3-Clause
"""Rows of Parquet and Arrow files, by the package pyarrow: columns of numbers side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...base.checks import check_path
from ...base.text import shown
from ...errors import DataError
from .flat import FileStamp
from .packages import needed
from .source import DataSource


class ArrowSource(DataSource):
    """Rows of a Parquet file, or of an Arrow (Feather) file, told apart by content.

    Its groups of rows (record batches) are read as a whole: blocks are so large, and `memory` has
    to hold four of them.

    Parameters
    ----------
    path : path-like
    columns : sequence of str, optional
        Names of columns of numbers, in this order. None: all.
    **options
        As for :class:`DataSource`.

    Raises
    ------
    DataError
        If it is no such file, has no such column, or one that holds no numbers.
    DatasetUnavailableError
        If it cannot be read.
    ImportError
        If the package pyarrow is not installed: ``pip install 'sae-fast[data]'``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import pyarrow, pyarrow.parquet
    >>> from sae_fast.datasets import ArrowSource
    >>> table = pyarrow.table({"a": [1.0, 2.0], "b": [3.0, 4.0], "label": [0, 1]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.parquet"
    ...     pyarrow.parquet.write_table(table, path)
    ...     ArrowSource(path, columns=["a", "b"]).read(0, 2)
    array([[1., 3.],
           [2., 4.]])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._path = check_path("path", path)
        self._stamp, self.files = FileStamp(self._path), (self._path,)
        pyarrow = needed("pyarrow", "Parquet and Arrow files")
        try:
            with self._path.open("rb") as file:
                self._parquet = file.read(4) == b"PAR1"
            with self._file() as opened:
                schema = opened.schema_arrow if self._parquet else opened.schema
                sizes = self._sizes(opened)
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise DataError(f"{path}: expected a Parquet or Arrow file, got {error}") from error
        if isinstance(columns, str):
            columns = [columns]
        self._columns = schema.names if columns is None else list(columns)
        if not self._columns:
            raise DataError(f"columns: expected at least one of {schema.names}, got none")
        for name in self._columns:
            if name not in schema.names:
                raise DataError(f"columns: expected names of {schema.names}, got {shown(name)}")
        kinds = [schema.field(name).type for name in self._columns]
        for name, kind in zip(self._columns, kinds, strict=True):
            types = pyarrow.types
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
                raise DataError(f"{path}: expected columns of numbers, got {kind} in {shown(name)}")
        found = {np.dtype(kind.to_pandas_dtype()) for kind in kinds}
        self.dtype = found.pop() if len(found) == 1 else np.result_type(np.float32, *found)
        self._ends = np.cumsum([0, *sizes])
        self.shape = int(self._ends[-1]), len(self._columns)
        self.chunk_size = max(sizes, default=1)
        self._latest: tuple[int, NDArray[Any]] | None = None  # a group and its rows

    def _file(self) -> Any:
        if self._parquet:
            return needed("pyarrow.parquet", "Parquet files").ParquetFile(self._path)
        return needed("pyarrow.ipc", "Arrow files").open_file(str(self._path))

    def _sizes(self, opened: Any) -> list[int]:
        if self._parquet:
            groups = range(opened.num_row_groups)
            return [opened.metadata.row_group(i).num_rows for i in groups]
        return [opened.get_batch(i).num_rows for i in range(opened.num_record_batches)]

    def _group(self, group: int) -> NDArray[Any]:
        """Return the rows of a group."""
        latest = self._latest
        if latest is not None and latest[0] == group:
            return latest[1]
        with self._file() as opened:
            if self._parquet:
                table = opened.read_row_group(group, columns=self._columns)
            else:
                table = opened.get_batch(group)
            rows = np.empty((table.num_rows, len(self._columns)), self.dtype)
            for at, name in enumerate(self._columns):
                column = table.column(name)
                if column.null_count and self.dtype.kind != "f":
                    missing = column.is_null().to_numpy(zero_copy_only=False).argmax()
                    raise DataError(
                        f"{self}: expected numbers, got a missing value in row "
                        f"{self._ends[group] + missing:,}, column {shown(name)}"
                    )
                options = {} if self._parquet else {"zero_copy_only": False}
                rows[:, at] = column.to_numpy(**options)
        self._latest = group, rows
        return rows

    def read(self, first: int, last: int) -> NDArray[Any]:  # noqa: D102
        self._stamp.check(f"row {first:,}")
        groups = range(
            int(np.searchsorted(self._ends, first, "right")) - 1,
            int(np.searchsorted(self._ends, max(first + 1, last), "left")),
        )
        parts = []
        try:
            for group in groups:
                start = int(self._ends[group])
                rows = self._group(group)
                parts.append(rows[max(0, first - start) : last - start])
        except (DataError, MemoryError):
            raise
        except Exception as error:  # of a file that is being written to, of any kind
            self._stamp.check(f"row {first:,}")
            raise DataError(f"{self}: cannot be read from row {first:,} on: {error}") from error
        self._stamp.check(f"row {first:,}")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def __getstate__(self) -> dict[str, object]:  # noqa: D105
        return {**self.__dict__, "_latest": None}

    def __str__(self) -> str:  # noqa: D105
        return str(self._path)
