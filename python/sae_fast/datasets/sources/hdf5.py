# SPDX-License-Identifier: BSD-3-Clause
"""Rows of a data set in an HDF5 file, by the package h5py."""

from __future__ import annotations

import math
import os
from typing import Any

from numpy.typing import NDArray

from ...base.checks import check_path
from ...errors import DataError
from .flat import FileStamp
from .packages import needed
from .source import DataSource


class Hdf5Source(DataSource):
    """Rows of a data set in an HDF5 file.

    Parameters
    ----------
    path : path-like
    key : str, optional
        Name of the data set, such as "train/x"; not needed if the file has one alone.
    **options
        As for :class:`DataSource`; blocks are whole chunks, where the file has these.

    Raises
    ------
    DataError
        If it is no such file, has no such data set, or holds no numbers.
    DatasetUnavailableError
        If it cannot be read.
    ImportError
        If the package h5py is not installed: ``pip install 'sae-fast[data]'``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import h5py, numpy as np
    >>> from sae_fast.datasets import Hdf5Source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.h5"
    ...     with h5py.File(path, "w") as file:
    ...         file["x"] = np.arange(6.0).reshape(3, 2)
    ...     Hdf5Source(path, "x").read(1, 3)
    array([[2., 3.],
           [4., 5.]])
    """

    def __init__(
        self, path: str | os.PathLike[str], key: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._path = check_path("path", path)
        self._stamp, self.files = FileStamp(self._path), (self._path,)
        h5py = needed("h5py", "HDF5 files")
        try:
            with h5py.File(self._path, "r") as file:
                self._key = _key(file, key, self._path, h5py.Dataset)
                array = file[self._key]
                if array.dtype.kind not in "biuf" or not array.shape:
                    raise DataError(
                        f"{self}: expected rows of numbers, got shape {array.shape} of "
                        f"{array.dtype}"
                    )
                self.shape = array.shape[0], math.prod(array.shape[1:])
                self.dtype = array.dtype.newbyteorder("=")
                self.chunk_size = array.chunks[0] if array.chunks else 1
        except OSError as error:
            raise DataError(f"{self._path}: expected an HDF5 file, got {error}") from error

    def read(self, first: int, last: int) -> NDArray[Any]:  # noqa: D102
        h5py = needed("h5py", "HDF5 files")
        self._stamp.check(f"row {first:,}")
        try:
            with h5py.File(self._path, "r") as file:
                rows: NDArray[Any] = file[self._key][first:last]
        except MemoryError:
            raise
        except Exception as error:  # of a file that is being written to, of any kind
            self._stamp.check(f"row {first:,}")
            raise DataError(f"{self}: cannot be read from row {first:,} on: {error}") from error
        self._stamp.check(f"row {first:,}")
        return rows.astype(self.dtype, copy=False).reshape(last - first, self.shape[1])

    def __str__(self) -> str:  # noqa: D105
        return f"{self._path}:{self._key}" if hasattr(self, "_key") else str(self._path)


def _key(group: Any, key: str | None, path: Any, kind: type) -> str:
    """Return the name of a data set, or that of the only one; DataError if there is none."""
    names: list[str] = []
    group.visititems(lambda name, one: names.append(name) if isinstance(one, kind) else None)
    if key is None and len(names) == 1:
        return names[0]
    if key is None or key.strip("/") not in names:
        raise DataError(f"key: expected one of {names} in {path}, got {key!r}")
    return key.strip("/")
