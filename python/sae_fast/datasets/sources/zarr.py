# SPDX-License-Identifier: BSD-3-Clause
"""Rows of an array in a Zarr store, by the package zarr."""

from __future__ import annotations

import math
import os
from typing import Any

from numpy.typing import NDArray

from ...base.checks import check_path
from ...errors import DataError, DatasetUnavailableError
from .packages import needed
from .source import DataSource

_METADATA = ("zarr.json", ".zarray", ".zgroup")  # of formats 3, 2, and 2


class ZarrSource(DataSource):
    """Rows of an array in a Zarr store, a folder of chunks.

    Chunks that are missing hold the array's fill value, as Zarr has it; of an array that others
    write to meanwhile nothing tells that they do but its shape.

    Parameters
    ----------
    path : path-like
        Of the store.
    key : str, optional
        Path of the array in it, where it is a group.
    **options
        As for :class:`DataSource`; blocks are whole chunks.

    Raises
    ------
    DataError
        If there is no such array, or one without numbers.
    DatasetUnavailableError
        If there is nothing of this path.
    ImportError
        If the package zarr is not installed: ``pip install 'sae-fast[data]'``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, zarr
    >>> from sae_fast.datasets import ZarrSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "x.zarr"
    ...     _ = zarr.save_array(path, np.arange(6.0).reshape(3, 2))
    ...     ZarrSource(path).read(1, 3)
    array([[2., 3.],
           [4., 5.]])
    """

    def __init__(
        self, path: str | os.PathLike[str], key: str | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._path, self._key = check_path("path", path), key
        self.files = (self._path,)
        if not self._path.exists():
            raise DatasetUnavailableError(f"{path}: cannot be read: there is none")
        array = self._open()
        if array.dtype.kind not in "biuf" or not array.shape:
            raise DataError(
                f"{self}: expected rows of numbers, got shape {array.shape} of {array.dtype}"
            )
        self._whole_shape = array.shape
        self.shape = array.shape[0], math.prod(array.shape[1:])
        self.dtype = array.dtype.newbyteorder("=")
        self.chunk_size = (getattr(array, "shards", None) or array.chunks)[0]

    def _open(self) -> Any:
        zarr = needed("zarr", "Zarr stores")
        try:
            return zarr.open_array(str(self._path), path=self._key, mode="r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            folder = self._path / (self._key or "").strip("/")
            if folder.is_dir() and not any((folder / name).is_file() for name in _METADATA):
                raise DataError(
                    f"{self}: expected a file or a Zarr store, got a folder without "
                    f"{' or '.join(_METADATA)}"
                ) from error
            raise DataError(f"{self}: cannot be opened as an array of Zarr: {error}") from error

    def read(self, first: int, last: int) -> NDArray[Any]:  # noqa: D102
        array = self._open()
        if array.shape != self._whole_shape:
            raise DataError(
                f"{self}: changed while it was in use, noticed at row {first:,}: got shape "
                f"{array.shape} where it had {self._whole_shape}"
            )
        try:
            rows: NDArray[Any] = array[first:last]
        except Exception as error:  # each codec has its own kinds
            raise DataError(f"{self}: cannot be read from row {first:,} on: {error}") from error
        return rows.astype(self.dtype, copy=False).reshape(last - first, self.shape[1])

    def __str__(self) -> str:  # noqa: D105
        return str(self._path) if self._key is None else f"{self._path}:{self._key}"
