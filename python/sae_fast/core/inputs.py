# SPDX-License-Identifier: BSD-3-Clause
"""From the arrays that users have to the core's inputs, without a copy where none is needed.

The core reads uint8, float32 and float64 of any strides (F-ordered, read-only and memory-mapped
arrays included) and CSR matrices, and decides from the data whether to work on the non-zeros. All
other numbers are copied into the model's precision, once; bool is read as uint8, where it lies.
"""

from __future__ import annotations

import functools
import numbers
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..base.checks import check_array, check_scale
from ..base.text import shown
from ..datasets.sources import DataSource
from ..errors import DataError
from .units import Units
from .windows import Windows, sampled

_LAYOUT = {None: _core.Layout.automatic, True: _core.Layout.sparse, False: _core.Layout.dense}
_AUTOMATIC = _LAYOUT[None]  # looked up once: single rows are read in 3 µs
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_BLOCK = 2**18  # numbers at once
_STORED = (np.dtype(np.uint8), _FLOAT32, _FLOAT64)
_NUMBERS = "biuf"  # kinds of types


@functools.cache
def core_class(name: str, dtype: str) -> Any:
    """Return the core's class `name`, such as "Input", for a precision."""
    return getattr(_core, f"{name}_{dtype}")


def _factor(
    name: str, stored: np.dtype[Any], scale: float | None, default: float | None, dtype: str
) -> float:
    if stored == np.uint8:
        scale = default if scale is None else scale
        if scale is None:
            raise DataError(
                f"{name}: uint8 needs scale=, the value of one step of a pixel (1/255 for the "
                "range 0 to 1), got none"
            )
        return check_scale(scale, dtype)
    if scale is not None:
        raise DataError(f"scale: expected None with {name} of dtype {stored}, got {shown(scale)}")
    return 1.0


def as_input(
    name: str,
    x: Any,
    n_features: int,
    dtype: str,
    n_threads: int,
    scale: float | None = None,
    default_scale: float | None = None,
    units: Units | None = None,
    sparse: bool | None = None,
) -> Any:
    """Return the core's input for `x`, shape (n_samples, n_features); DataError names the argument.

    `x` is an array, a SciPy sparse matrix, a source, which becomes `Windows` if it is larger than
    one, or any of these inputs, which is returned as it is, so that several trainings can share
    one. `scale` is the factor for uint8 values, None for all other types; `default_scale` stands in
    where it is None, and has no influence on other types. What is read in `units`, by default as it
    is, is dense if these have a zero. Else a dense array is kept as its non-zeros if it is
    `sparse`, by default if it is mostly zeros.
    """
    input_class = core_class("Input", dtype)
    if type(x) is not np.ndarray and isinstance(x, DataSource):
        how = name, n_features, dtype, n_threads, scale, default_scale, units
        return _from_source(x, *how)
    if isinstance(x, (input_class, Windows)):
        if x.n_features != n_features:
            raise DataError(f"{name}: expected {n_features:,} features, got {x.n_features:,}")
        return x
    columns = getattr(x, "columns", ())
    if scale is None and _is_plain(x, n_features):
        factor, csr = 1.0, False
    else:
        x, factor, csr = _checked(name, x, n_features, scale, default_scale, dtype)
    zero = None
    if units:
        zero = np.array(units.zero) / factor if units.zero else None
        factor /= units.unit
    try:
        if csr and zero is None:
            return _from_sparse(input_class, x, factor, n_threads)
        if csr:
            x = _as_csr(x).toarray()
        layout = _AUTOMATIC if sparse is None else _LAYOUT[sparse]
        return input_class(x, scale=factor, layout=layout, n_threads=n_threads, zero=zero)
    except ValueError as error:
        raise DataError(f"{name}: {_with_names(str(error), columns)}") from error


def _from_source(
    source: DataSource,
    name: str,
    n_features: int,
    dtype: str,
    n_threads: int,
    scale: float | None,
    default_scale: float | None,
    units: Units | None,
) -> Any:
    if len(source.shape) != 2 or source.shape[1] != n_features:
        raise DataError(
            f"{name}: expected {n_features:,} features, got shape {source.shape} of {source}"
        )
    if len(source) == 0:
        raise DataError(f"{name}: expected at least one sample, got {source!r}")

    def read(rows: Any, sparse: bool | None, n_threads: int = 1) -> Any:
        how = n_features, dtype, n_threads, scale, default_scale, units
        return as_input(name, rows, *how, sparse)

    # a scale that does not fit is refused before anything is read
    _factor(name, source.dtype, scale, default_scale, dtype)
    key = f"{dtype} {scale or default_scale} {units}"
    windows = Windows(name, source, dtype, read, key, n_threads)
    if len(source) > windows.window:
        return windows
    return windows.of(slice(0, len(source)))


def check_whole(x: Any) -> None:
    """Read all samples of an input that are read in windows, before any is trained on."""
    if isinstance(x, Windows):
        x.check()


def labels_of(y: Any) -> Any:
    """Return labels as an array (n_samples,), those of a source of one column too."""
    if not isinstance(y, DataSource):
        return y
    labels = y.take(slice(None))
    return labels[:, 0] if labels.shape[1] == 1 else labels


def as_targets(
    name: str, y: Any, n_samples: int, n_targets: int, dtype: str, n_threads: int
) -> Any:
    """Return the core's input for targets (n_samples, n_targets), 1-D of one each: a copy."""
    if isinstance(y, DataSource):
        if y.shape != (n_samples, n_targets):
            raise DataError(
                f"{name}: expected shape (n_samples, n_targets), ({n_samples:,}, {n_targets:,}), "
                f"got {y.shape}"
            )
        return as_input(name, y, n_targets, dtype, n_threads, 1.0 if is_uint8(y) else None)
    if not is_frame(y) and not hasattr(y, "tocsr"):
        y = check_array(name, y)
    shape = (*y.shape, 1) if n_targets == 1 and len(y.shape) == 1 else y.shape
    if shape != (n_samples, n_targets):
        raise DataError(
            f"{name}: expected shape (n_samples, n_targets), ({n_samples:,}, {n_targets:,}), got "
            f"{tuple(y.shape)}"
        )
    if is_frame(y):
        y = from_frame(name, y, dtype)
    if y.dtype == np.uint8:
        y = y.astype(dtype)  # numbers as they are: there is no scale
    elif isinstance(y, np.ndarray):
        y = np.array(y, order="C")
    return as_input(name, y.reshape(shape), n_targets, dtype, n_threads)


def taken(values: Any, rows: slice | NDArray[np.int64] | None) -> Any:
    """Return those of some samples of what there is one of for each, in ascending order.

    values: an array, an input of the core, or None; rows: None for all.
    """
    if isinstance(values, Windows):
        return values.of(slice(None) if rows is None else rows, values.sparse)
    if values is None or rows is None or isinstance(values, np.ndarray):
        return values if values is None or rows is None else values[rows]
    index = np.arange(*rows.indices(values.n_samples)) if isinstance(rows, slice) else rows
    dtype = type(values).__name__.rpartition("_")[2]
    return as_input("y", values.take(index), values.n_features, dtype, 1, sparse=values.sparse)


def _with_names(message: str, columns: Any) -> str:
    """Give the number of a column, in what the core says, its name where a frame has one."""
    found = re.search(r"column ([\d,]+)$", message)
    named = columns[int(found[1].replace(",", ""))] if found and len(columns) else None
    return f"{message} ({shown(named)})" if isinstance(named, str) else message


def is_uint8(x: Any) -> bool:
    """Say whether samples are read with a scale: an array, a matrix or a frame of uint8."""
    found = set(x.dtypes) if is_frame(x) else {getattr(x, "dtype", None)}
    return found == {np.dtype(np.uint8)}


def sample_blocks(x: Any) -> Iterator[NDArray[Any]]:
    """Yield some rows of an input, evenly spaced, all if they are few, a block at a time."""
    wanted = sampled(x)
    size = max(1, _BLOCK // x.n_features)
    for at in range(0, len(wanted), size):
        block = slice(at, at + size)
        yield x.sample[block] if isinstance(x, Windows) else x.take(wanted[block])


def column_means(blocks: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """Return the mean of each column of rows, the same to the bit however they are cut."""
    n, total = 0, np.empty((0, 0))
    for rows in blocks:
        rows = rows.astype(np.float64, copy=False)
        total = (np.concatenate([total, rows]) if n else rows).sum(axis=0, keepdims=True)
        n += len(rows)
    means: NDArray[np.float64] = total[0] / n
    return means


def is_frame(x: Any) -> bool:
    """Say whether an argument has columns with names and types, as pandas' frames have."""
    return hasattr(x, "dtypes") and hasattr(x, "columns")


def _is_plain(x: Any, n_features: int) -> bool:
    """Say whether the core can read `x` as it is: what a service brings, one row after another."""
    return (
        type(x) is np.ndarray
        and (x.dtype is _FLOAT32 or x.dtype is _FLOAT64)
        and x.ndim == 2
        and x.shape[1] == n_features
        and x.shape[0] > 0
        and x.flags.c_contiguous
        and x.flags.aligned
    )


def _checked(
    name: str, x: Any, n_features: int, scale: float | None, default_scale: float | None, dtype: str
) -> tuple[Any, float, bool]:
    """Return `x` as the core can read it, the factor for its values, and whether it is sparse."""
    sparse = hasattr(x, "tocsr")
    if is_frame(x):
        with np.errstate(over="ignore"):  # the core finds what is infinite
            x = from_frame(name, x, dtype)
    elif not sparse:
        x = check_array(name, x)
    if x.ndim != 2:
        hint = f"; of images {name}.reshape(len({name}), -1)" if x.ndim > 2 else ""
        raise DataError(
            f"{name}: expected two dimensions (n_samples, n_features), got shape {x.shape}{hint}"
        )
    if x.shape[1] != n_features:
        raise DataError(f"{name}: expected {n_features:,} features, got shape {x.shape}")
    if x.shape[0] == 0:
        raise DataError(f"{name}: expected at least one sample, got shape {x.shape}")
    factor = _factor(name, x.dtype, scale, default_scale, dtype)
    if x.dtype.newbyteorder("=") not in _STORED:
        x = _as_stored(name, x, dtype)
    if not sparse:
        if not x.dtype.isnative or any(step % x.itemsize for step in x.strides):
            x = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))
        x = np.require(x, requirements="A")
    return x, factor, sparse


def from_frame(name: str, frame: Any, dtype: str) -> NDArray[Any]:
    """Return the numbers of a frame (n_samples, n_features), of columns of one type as they are."""
    dtypes = list(frame.dtypes)
    if not all(hasattr(own, "kind") for own in dtypes):  # not pandas'
        return check_array(name, frame)
    for column, own in zip(frame.columns, dtypes, strict=True):
        if own.kind not in _NUMBERS:
            raise DataError(
                f"{name}: expected columns of numbers, got dtype {own} in column {shown(column)}"
            )
    if len(set(dtypes)) == 1:
        array = check_array(name, frame)
        if array.dtype.kind in _NUMBERS:
            return array
    found = np.empty(frame.shape, dtype)
    for at, (column, values) in enumerate(frame.items()):
        try:
            found[:, at] = values
        except (TypeError, ValueError, OverflowError) as error:  # a missing value
            raise DataError(
                f"{name}: expected numbers, got {error} in column {shown(column)}"
            ) from error
    return found


def _as_stored(name: str, x: Any, dtype: str) -> Any:
    """Return numbers of any other type as the core can read them: a copy, unless they are bool."""
    if x.dtype == bool and isinstance(x, np.ndarray):
        return x.view(np.uint8)
    if x.dtype.kind == "O":
        for place, value in np.ndenumerate(x):
            if not isinstance(value, (numbers.Real, np.bool_)):
                raise DataError(f"{name}: expected numbers, got {shown(value)} at {place}")
    elif x.dtype.kind not in _NUMBERS:
        raise DataError(f"{name}: expected numbers, got dtype {x.dtype}")
    try:
        with np.errstate(over="ignore"):  # the core finds what is infinite
            return x.astype(dtype)
    except OverflowError as error:  # of Python's integers, which have no end
        raise DataError(f"{name}: expected numbers that {dtype} can hold, got {error}") from error


def _as_csr(x: Any) -> Any:
    """Return a sparse matrix by rows, once SciPy's native code can rely on its structure."""
    if x.format != "csr":
        if hasattr(x, "check_format"):
            x.check_format()
        if x.format == "coo":  # which SciPy has checked when it was made, and no more
            for what, found, n in zip(("row", "column"), (x.row, x.col), x.shape, strict=True):
                if found.size and not 0 <= found.min() <= found.max() < n:
                    raise ValueError(
                        f"expected entries of {what}s from 0 to {n - 1:,}, got {found.min():,} to "
                        f"{found.max():,}"
                    )
        x = x.tocsr()
    ends, n_values = x.indptr, min(len(x.indices), len(x.data))
    if (
        ends.shape != (x.shape[0] + 1,)
        or ends[0] != 0
        or ends[-1] > n_values
        or (ends[1:] < ends[:-1]).any()
    ):
        raise ValueError(
            f"expected the indptr of {x.shape[0]:,} rows, rising from 0 to at most {n_values:,}, "
            f"the number of values, got {len(ends):,} from {ends.min():,} to {ends.max():,}"
        )
    return x


def _from_sparse(input_class: Any, x: Any, scale: float, n_threads: int) -> Any:
    x = _as_csr(x)
    native = x.dtype.newbyteorder("=")
    if not x.has_canonical_format:
        # a copy, and one in which sums of uint8 do not wrap
        x = x.astype(np.float32 if native == np.uint8 else native, copy=True)
        x.sum_duplicates()
    index = np.int64 if x.indices.dtype == np.int64 else np.int32
    return input_class.from_csr(
        np.require(x.indptr, index, ("C", "A")),
        np.require(x.indices, index, ("C", "A")),
        np.require(x.data, x.dtype.newbyteorder("="), ("C", "A")),
        x.shape[1],
        scale=scale,
        n_threads=n_threads,
    )
