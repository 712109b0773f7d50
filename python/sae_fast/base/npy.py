# SPDX-License-Identifier: BSD-3-Clause
"""Arrays on disk that need not fit in memory: NumPy's .npy, read and written some rows at a time.

By reading and writing, not by mapping: a mapped file counts as memory of the process where that is
limited, and a file that is cut off while it is mapped ends the process instead of raising an error.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..errors import DataError
from .checks import check_array, check_path
from .files import check_replaceable, open_beside


def read_header(file: IO[bytes], path: object) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the array that a .npy file holds; the file is then where it begins.

    DataError if it is none, or does not have its rows one after another.
    """
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
    except ValueError as error:
        raise DataError(f"{path}: expected a .npy file, got {error}") from error
    if dtype.hasobject or dtype.names is not None:
        raise DataError(f"{path}: expected numbers, got dtype {dtype}")
    if fortran and sum(n > 1 for n in shape) > 1:
        raise DataError(
            f"{path}: expected rows one after another (C order), got an array in Fortran order; "
            "np.ascontiguousarray makes one"
        )
    return shape, dtype


class NpyWriter:
    """Writes an array row by row; its file is there once all are, whole and under its own name.

    OSError, which names the path, if that fails; what was there before is then as it was.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._path, self._shape, self._dtype = path, shape, dtype

    def __enter__(self) -> NpyWriter:  # noqa: D105
        with self._named():
            self._file, self._target, _ = open_beside(self._path)
            self._temporary = Path(self._file.name)
            header = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False}
            npy.write_array_header_1_0(self._file, {**header, "shape": self._shape})
        return self

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows."""
        with self._named():
            self._file.write(np.ascontiguousarray(rows, self._dtype).data.cast("B"))

    def __exit__(  # noqa: D105
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with self._named():
                if error is None:
                    self._file.flush()
                    os.fsync(self._file.fileno())
                self._file.close()
                if error is None:
                    self._temporary.replace(self._target)
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror or str(error), str(self._path)) from error


def mapped_files(x: object) -> tuple[Path, ...]:
    """Return the file that an array is mapped to, if there is one."""
    while isinstance(x, np.ndarray):
        if isinstance(x, np.memmap) and x.filename is not None:
            return (Path(os.fsdecode(x.filename)),)
        x = x.base
    return ()


def check_out(out: Any, sources: Iterable[Path]) -> None:
    """Raise if what a user names by `out` cannot hold what is computed from some files.

    DataError if it is one of them, by whatever name, or a path that is not of a .npy file; OSError
    if there is no regular file.
    """
    if isinstance(out, (str, bytes, os.PathLike)):
        path = check_path("out", out)
        if Path(os.path.realpath(path)).suffix.lower() != ".npy":
            raise DataError(
                f"out: expected a path that ends in .npy, which is what is written, got {path}"
            )
        check_replaceable(path)
        paths: tuple[Path, ...] = (path,)
    else:
        paths = mapped_files(out)
    for path, source in itertools.product(paths, sources):
        with contextlib.suppress(OSError):  # one is not there
            if path.samefile(source):
                raise DataError(
                    f"out: expected another file than x is read from, got {path}, which is {source}"
                )


def collect(parts: Iterator[NDArray[Any]], n_rows: int, out: Any = None) -> NDArray[Any]:
    """Return all rows of an array that comes in parts, in the place that a user names by `out`.

    `out` is an array of that shape to write to, the path of a .npy file, which is returned mapped
    to memory, or None. DataError, and nothing is written, if it is nothing of the kind.
    """
    first = next(parts)
    if out is None and len(first) == n_rows:
        return first
    shape, dtype = (n_rows, *first.shape[1:]), first.dtype
    parts = itertools.chain([first], parts)
    if out is None:
        out = np.empty(shape, dtype)
    if isinstance(out, np.ndarray):
        if out.shape != shape or not np.can_cast(dtype, out.dtype, "same_kind"):
            raise DataError(
                f"out: expected an array of {dtype} with shape {shape}, got {out.dtype} with "
                f"shape {out.shape}"
            )
        if not out.flags.writeable:
            raise DataError("out: expected an array that can be written to, got a read-only one")
        at = 0
        for rows in parts:
            out[at : at + len(rows)] = rows
            at += len(rows)
        return out
    if not isinstance(out, (str, bytes, os.PathLike)):
        check_array("out", out)
        raise DataError(f"out: expected an array or a path, got {type(out).__name__}")
    path = check_path("out", out)
    with NpyWriter(path, shape, dtype) as file:
        for rows in parts:
            file.write(rows)
    mapped: NDArray[Any] = np.load(path, mmap_mode="r")
    return mapped
