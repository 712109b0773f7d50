# SPDX-License-Identifier: BSD-3-Clause
"""From the arrays that users have to the core's inputs, without a copy where none is needed.

The core reads uint8, float32 and float64 of any strides (F-ordered, read-only and memory-mapped
arrays included) and CSR matrices, and decides from the data whether to work on the non-zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core
from .errors import DataError
from .validation import check_array, check_float

Input = _core.Input_float32 | _core.Input_float64

_STORED = (np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.float64))


def core_class(name: str, dtype: str) -> Any:
    """Return the core's class `name` ("Input", "Network" or "Trainer") for a precision."""
    return getattr(_core, f"{name}_{dtype}")


def _check_scale(name: str, dtype: np.dtype[Any], scale: float | None) -> float:
    if dtype == np.uint8:
        if scale is None:
            raise DataError(
                f"{name}: uint8 needs scale=, the value of one step of a pixel (1/255 for the "
                "range 0 to 1), got none"
            )
        return check_float("scale", scale, positive=True)
    if scale is not None:
        raise DataError(f"scale: expected None with {name} of dtype {dtype}, got {scale!r}")
    return 1.0


def as_input(
    name: str,
    x: Any,
    n_features: int,
    *,
    dtype: str,
    n_threads: int,
    scale: float | None = None,
) -> Any:
    """Return the core's input for `x`, shape (n_samples, n_features).

    Parameters
    ----------
    name : str
        The argument's name, for errors.
    x : array_like, SciPy sparse matrix or core input
        A core input is returned as it is, so that several trainings can share one.
    n_features : int
    dtype : {"float32", "float64"}
        Precision to compute in.
    n_threads : int
    scale : float or None
        Factor for uint8 values; None for all other types.

    Raises
    ------
    DataError
        If the shape, dtype or values do not fit.
    """
    input_class = core_class("Input", dtype)
    if isinstance(x, input_class):
        if x.n_features != n_features:
            raise DataError(f"{name}: expected {n_features} features, got {x.n_features}")
        return x
    sparse = hasattr(x, "tocsr")
    if not sparse:
        x = check_array(name, x)
    if x.ndim != 2:
        raise DataError(
            f"{name}: expected two dimensions (n_samples, n_features), got shape {x.shape}"
        )
    if x.shape[1] != n_features:
        raise DataError(f"{name}: expected {n_features} features, got shape {x.shape}")
    if x.shape[0] == 0:
        raise DataError(f"{name}: expected at least one sample, got shape {x.shape}")
    if x.dtype.newbyteorder("=") not in _STORED:
        raise DataError(
            f"{name}: expected float32, float64, or uint8 with scale=, got dtype {x.dtype}"
        )
    factor = _check_scale(name, x.dtype, scale)
    try:
        if sparse:
            return _from_sparse(input_class, x, factor)
        if not x.dtype.isnative or any(step % x.itemsize for step in x.strides):
            x = np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))
        return input_class(x, scale=factor, layout=_core.Layout.automatic, n_threads=n_threads)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _from_sparse(input_class: Any, x: Any, scale: float) -> Any:
    x = x.tocsr()
    if not x.has_canonical_format:
        x = x.copy()
        x.sum_duplicates()
    index = np.int64 if x.indices.dtype == np.int64 else np.int32
    return input_class.from_csr(
        np.ascontiguousarray(x.indptr, index),
        np.ascontiguousarray(x.indices, index),
        np.ascontiguousarray(x.data),
        x.shape[1],
        scale,
    )
