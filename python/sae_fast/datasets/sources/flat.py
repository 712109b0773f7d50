# SPDX-License-Identifier: BSD-3-Clause
"""Files that hold rows one after another behind a header: .npy and IDX; and CSR matrices of them.

They are read, not mapped; `sae_fast.base.npy` says why. Each reading looks whether the file is
still the one that was opened.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...base.checks import check_int, check_path
from ...base.npy import read_header
from ...errors import DataError, DatasetUnavailableError, OutputError
from ..idx import read_idx_header
from .packages import needed
from .source import DataSource


class FileStamp:
    """Which file it was: one that is another by now, or has been written to, is a DataError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._was = self._now()

    def _now(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise DatasetUnavailableError(
                f"{self.path}: cannot be read: {error.strerror or error}"
            ) from error
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def check(self, what: str) -> None:
        """Raise if the file has changed; `what` says what had been read."""
        if self._now() != self._was:
            raise DataError(
                f"{self.path}: changed while it was in use, noticed at {what}; expected a file "
                "that nothing writes to"
            )


class Flat:
    """Numbers of a file from some byte on, shape (n_rows, ...), read a slice at a time."""

    def __init__(self, path: Path, offset: int, shape: tuple[int, ...], dtype: Any) -> None:
        self.path, self._offset = path, offset
        self.shape, self.stored = shape, np.dtype(dtype)
        self.dtype = self.stored.newbyteorder("=")
        self._stamp = FileStamp(path)
        self._row_bytes = math.prod(shape[1:]) * self.stored.itemsize
        size = path.stat().st_size
        if size < offset + shape[0] * self._row_bytes:
            rows = max(0, size - offset) // max(1, self._row_bytes)
            raise DataError(
                f"{path}: got {size:,} bytes, the last in row {rows:,}, expected "
                f"{offset + shape[0] * self._row_bytes:,} for shape {shape} of {self.stored}"
            )

    @classmethod
    def open(cls, path: Path) -> Flat:
        """Read the header of a .npy or an IDX file, told apart by content."""
        try:
            with path.open("rb") as file:
                magic = file.read(6)
                file.seek(0)
                if magic[:2] == b"\x1f\x8b":
                    raise DataError(f"{path}: expected a file that is not packed, got gzip")
                if magic[:2] == b"\0\0":
                    shape, dtype = read_idx_header(file, path)
                else:
                    shape, dtype = read_header(file, path)
                offset = file.tell()
        except OSError as error:
            if isinstance(error, DatasetUnavailableError):
                raise
            raise DatasetUnavailableError(
                f"{path}: cannot be read: {error.strerror or error}"
            ) from error
        if not shape:
            raise DataError(f"{path}: expected rows, got a single number")
        return cls(path, offset, shape, dtype)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return consecutive rows."""
        found = np.empty((rows.stop - rows.start, *self.shape[1:]), self.stored)
        self.fill(rows.start, found)
        return found.astype(self.dtype, copy=False)

    def fill(self, first: int, out: NDArray[Any]) -> None:
        """Put the rows from `first` on into an array of what is stored."""
        what = f"row {first:,}"
        self._stamp.check(what)
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self._offset + first * self._row_bytes)
                n_read = read_into(file, out)
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be read from {what} on: {error.strerror or error}"
            ) from error
        if n_read < out.nbytes:
            at = first + n_read // self._row_bytes
            raise DataError(f"{self.path}: is cut off in row {at:,} of {self.shape[0]:,}")
        self._stamp.check(what)


def read_into(file: IO[bytes], array: NDArray[Any]) -> int:
    """Fill an array from a file that is not buffered; return the bytes that there were."""
    view = array.reshape(-1).view(np.uint8).data
    at = 0
    while at < len(view):
        n = file.readinto(view[at:])  # type: ignore[attr-defined]
        if not n:
            break
        at += n
    return at


class FlatSource(DataSource):
    """Rows of a .npy file or a plain IDX file, read as they are asked for.

    Parameters
    ----------
    path : path-like
        Of an array of one dimension or more: all but the first are the features of a row. In C
        order. IDX not as gzip.
    **options
        As for :class:`DataSource`.

    Raises
    ------
    DataError
        If it is no such file, or is cut off.
    DatasetUnavailableError
        If it cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from sae_fast.datasets import FlatSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.npy"
    ...     np.save(path, np.arange(12).reshape(3, 2, 2))
    ...     FlatSource(path).read(1, 3)
    array([[ 4,  5,  6,  7],
           [ 8,  9, 10, 11]])
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        super().__init__(**options)
        self._flat = flat = Flat.open(check_path("path", path))
        self.shape, self.dtype = (flat.shape[0], math.prod(flat.shape[1:])), flat.dtype
        self.files = (flat.path,)

    def read(self, first: int, last: int) -> NDArray[Any]:  # noqa: D102
        return self._flat[first:last].reshape(last - first, self.shape[1])

    def read_into(self, first: int, out: NDArray[Any]) -> None:  # noqa: D102
        if self._flat.stored == out.dtype and out.flags.c_contiguous:
            self._flat.fill(first, out)
        else:
            super().read_into(first, out)

    def __str__(self) -> str:  # noqa: D105
        return str(self._flat.path)


class SpilledSource(DataSource):
    """Rows that are written one after another to a temporary file, which ends with this object.

    Parameters
    ----------
    shape, dtype
        Of all rows.
    like : DataSource
        Whose `memory` and `folder` are these, too.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """

    def __init__(self, shape: tuple[int, int], dtype: Any, like: DataSource) -> None:
        super().__init__(memory=like.memory, folder=like.folder)
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._lock = threading.Lock()
        try:
            self._file = tempfile.TemporaryFile(dir=self.folder, buffering=0)  # noqa: SIM115
            weakref.finalize(self, self._file.close)
        except OSError as error:
            raise self._not_written(error) from error

    def _not_written(self, error: OSError) -> OutputError:
        where = self.folder or tempfile.gettempdir()
        return OutputError(
            f"folder: expected to write {self.shape[0]:,} codes of {self.shape[1]:,} numbers to a "
            f"temporary file in {where}, got {error.strerror or error}"
        )

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows."""
        view = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8).data
        try:
            while len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            self._file.close()
            raise self._not_written(error) from error

    def read(self, first: int, last: int) -> NDArray[Any]:  # noqa: D102
        rows = np.empty((last - first, self.shape[1]), self.dtype)
        self.read_into(first, rows)
        return rows

    def read_into(self, first: int, out: NDArray[Any]) -> None:  # noqa: D102
        with self._lock:
            self._file.seek(first * self.shape[1] * self.dtype.itemsize)
            read_into(self._file, out)

    def __str__(self) -> str:  # noqa: D105
        return "the codes in a temporary file"


class CsrSource(DataSource):
    """Rows of a CSR matrix in files: one of `scipy.sparse.save_npz`, or three .npy.

    Parameters
    ----------
    path : path-like or sequence of three
        A .npz file written with ``compressed=False``; or the .npy files of `data`, `indices` and
        `indptr`, which may be as large as they like.
    n_features : int, optional
        Columns, needed with three files, which do not say it.
    **options
        As for :class:`DataSource`.

    Raises
    ------
    DataError
        If they are no such files, or do not fit together.
    DatasetUnavailableError
        If one cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import scipy.sparse
    >>> from sae_fast.datasets import CsrSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.npz"
    ...     scipy.sparse.save_npz(path, scipy.sparse.eye(5, format="csr"), compressed=False)
    ...     CsrSource(path).read(3, 5).toarray()
    array([[0., 0., 0., 1., 0.],
           [0., 0., 0., 0., 1.]])
    """

    sparse = True

    def __init__(
        self,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        n_features: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if isinstance(path, (str, os.PathLike)):
            self._path = check_path("path", path)
            members = _members(self._path)
            shape = np.load(self._path)["shape"].tolist()
            n_rows, n_features = shape[0], shape[1]
        else:
            if len(path) != 3:
                raise DataError(
                    f"path: expected the files of data, indices and indptr, got {len(path)}"
                )
            each = [Flat.open(check_path("path", one)) for one in path]
            self._path = each[0].path.parent
            members = dict(zip(("data", "indices", "indptr"), each, strict=True))
            if n_features is None:
                raise DataError("n_features: expected a number with three files, got None")
            n_features, n_rows = check_int("n_features", n_features, 1), each[2].shape[0] - 1
        self._data, self._indices = members["data"], members["indices"]
        self._ends = members["indptr"]
        for name, one in members.items():
            if len(one.shape) != 1 or (name != "data" and one.dtype.kind not in "iu"):
                raise DataError(
                    f"{one.path}: expected {name} of a CSR matrix, got shape {one.shape} of "
                    f"{one.dtype}"
                )
        n_values = self._data.shape[0]
        if self._indices.shape[0] != n_values or self._ends.shape[0] != n_rows + 1:
            raise DataError(
                f"{self}: expected as many indices as data and an indptr for {n_rows:,} rows, got "
                f"{self._indices.shape[0]:,} for {n_values:,} and {self._ends.shape[0]:,}"
            )
        self.shape, self.dtype = (n_rows, n_features), self._data.dtype
        self.files = tuple(one.path for one in members.values())

    @property
    def row_bytes(self) -> float:  # noqa: D102
        entry = self.dtype.itemsize + self._indices.dtype.itemsize
        n_values, ends = self._data.shape[0], self._ends.dtype.itemsize
        return float(entry * n_values / max(1, len(self)) + ends)

    def read(self, first: int, last: int) -> Any:  # noqa: D102
        csr_matrix = needed("scipy.sparse", "CSR matrices").csr_matrix
        ends = self._ends[first : last + 1].astype(np.int64)
        begin, end = int(ends[0]), int(ends[-1])
        if begin < 0 or end > self._data.shape[0] or (np.diff(ends) < 0).any():
            at = first + int(np.argmax(np.diff(ends) < 0))
            raise DataError(
                f"{self}: expected an indptr that rises to at most {self._data.shape[0]:,}, got "
                f"another in row {at:,}"
            )
        rows = csr_matrix((last - first, self.shape[1]), dtype=self.dtype)
        rows.data, rows.indices = self._data[begin:end], self._indices[begin:end]
        rows.indptr = (ends - begin).astype(self._indices.dtype)
        return rows

    def __str__(self) -> str:  # noqa: D105
        return str(self._path)


def _members(path: Path) -> dict[str, Flat]:
    """Return the arrays of a CSR matrix in a .npz file, where they lie in it."""
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            if not {"data", "indices", "indptr", "shape", "format"} <= entries.keys():
                raise DataError(
                    f"{path}: expected a CSR matrix of scipy.sparse.save_npz, got arrays "
                    f"{', '.join(entries) or '(none)'}"
                )
            with archive.open(entries["format"]) as member:
                kind = np.load(member).item()
            if kind not in (b"csr", "csr"):
                raise DataError(f"{path}: expected a CSR matrix, got {kind!r}")
            members = {}
            for name in ("data", "indices", "indptr"):
                entry = entries[name]
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise DataError(
                        f"{path}: expected a file that is not packed (save_npz(..., "
                        "compressed=False)), which alone can be read in parts, got a packed one"
                    )
                file.seek(entry.header_offset + 26)
                lengths = file.read(4)
                skipped = int.from_bytes(lengths[:2], "little")
                skipped += int.from_bytes(lengths[2:], "little")
                file.seek(entry.header_offset + 30 + skipped)
                shape, dtype = read_header(file, path)
                members[name] = Flat(path, file.tell(), shape, dtype)
            return members
    except DataError:
        raise
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetUnavailableError(f"{path}: cannot be read: {error}") from error
