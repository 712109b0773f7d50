# SPDX-License-Identifier: BSD-3-Clause
"""Checks of what users pass in, each with an error that names the argument and what was expected.

Arguments are checked here, before anything is computed; the core trusts what it gets.
"""

from __future__ import annotations

import math
import numbers
import operator
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .text import shown

#: Widest layer: BLAS counts in 32 bits, and two such layers are a matrix of 2**48 numbers.
MOST_UNITS = 2**24
#: What other libraries call what has another name here, or one of several.
_ELSEWHERE = {
    "mse": "squared_error",
    "mean_squared_error": "squared_error",
    "mae": "absolute_error",
    "mean_absolute_error": "absolute_error",
    "bce": "binary_cross_entropy",
    "categorical_crossentropy": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "log_loss": "cross_entropy binary_cross_entropy",
    "smooth_l1": "huber",
    "logistic": "sigmoid",
    "identity": "linear",
    "xavier": "glorot",
    "kaiming": "he",
    "momentum": "sgd",
    "nesterov": "sgd",
}
#: Deepest network: far more layers than can be trained, and a bound for what a model file may ask.
MOST_LAYERS = 1000


def check_array(name: str, value: Any) -> NDArray[Any]:
    """Return `value` as an array, or raise DataError if it is none (ragged lists, for example)."""
    check_unmasked(name, value)
    try:
        array: NDArray[Any] = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name}: expected an array, got {error}") from error
    if array.ndim == 0 and array.dtype.kind in "OSU" and not isinstance(value, numbers.Number):
        raise DataError(f"{name}: expected an array, got {type(value).__name__}")
    return array


def check_unmasked(name: str, value: Any) -> None:
    """Raise DataError for masked values: what stands behind a mask would be taken for data."""
    if isinstance(value, np.ma.MaskedArray) and np.any(value.mask):
        raise DataError(
            f"{name}: expected an array without masked values, got {np.sum(value.mask):,} of "
            f"{value.size:,}; leave their rows out"
        )


def check_bool(name: str, value: object) -> bool:
    """Return True or False (or 1 or 0, or NumPy's), or raise DataError for anything else."""
    if not isinstance(value, int | np.bool_) or value not in (0, 1):
        raise DataError(f"{name}: expected True or False, got {shown(value)}")
    return bool(value)


def check_int(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    """Return `value` as an int from `minimum` to `maximum`, or raise DataError."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise DataError(f"{name}: expected an integer, got {shown(value)}") from None
    if isinstance(value, (bool, np.bool_)) or number < minimum:
        raise DataError(f"{name}: expected an integer of at least {minimum}, got {shown(value)}")
    if maximum is not None and number > maximum:
        raise DataError(f"{name}: expected at most {maximum:,}, got {shown(value)}")
    return number


def check_width(name: str, value: object, minimum: int = 1) -> int:
    """Return the width of a layer, or raise DataError."""
    return check_int(name, value, minimum, MOST_UNITS)


def check_float(name: str, value: object, *, positive: bool) -> float:
    """Return `value` as a finite float, positive or at least not negative, or raise DataError."""
    kind = "a positive number" if positive else "a number of at least 0"
    number = check_number(name, value, kind)
    if number < 0 or (positive and number == 0):
        raise DataError(f"{name}: expected {kind}, got {shown(value)}")
    return number


def check_number(name: str, value: object, kind: str = "a finite number") -> float:
    """Return `value` as a finite float, or raise DataError; `kind` says what is expected."""
    try:
        array = check_array(name, value)
        if array.ndim or array.dtype.kind not in "iufO":  # nor bool, complex, text
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name}: expected a number, got {shown(value)}") from None
    if not math.isfinite(number):
        raise DataError(f"{name}: expected {kind}, got {shown(value)}")
    return number


def settle_float(record: object, name: str, *, positive: bool = False, share: bool = False) -> None:
    """Check a number of a frozen record, less than 1 if it is a share, and make it a float."""
    value = check_float(name, getattr(record, name), positive=positive)
    if share and value >= 1:
        raise DataError(f"{name}: expected less than 1, got {shown(value)}")
    object.__setattr__(record, name, value)


def check_held(name: str, value: Any, numbers: Iterable[float], dtype: str) -> None:
    """Raise DataError if one of the `numbers` of a value is infinity, or 0 in vain, in `dtype`."""
    for number in numbers:
        with np.errstate(over="ignore"):
            held = float(np.dtype(dtype).type(number))
        if not math.isfinite(held) or (held == 0 and number != 0):
            raise DataError(f"{name}: expected numbers that {dtype} holds, got {shown(value)}")


def check_scale(scale: object, dtype: str) -> float:
    """Return the value of one step of uint8 data as a float that `dtype` can hold, or raise."""
    factor = check_float("scale", scale, positive=True)
    limits = np.finfo(dtype)
    if factor < float(limits.tiny) or 255 * factor > float(limits.max):
        raise DataError(f"scale: expected a factor that {dtype} can hold, got {shown(scale)}")
    return factor


def check_bytes(name: str, value: object) -> int:
    """Return a number of bytes, from one or from a text such as "256MB", or raise DataError."""
    if not isinstance(value, str):
        return check_int(name, value, 1)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", value, re.IGNORECASE)
    if found is None or not float(found[1]):
        raise DataError(f"{name}: expected bytes, or a text such as '256MB', got {shown(value)}")
    number, prefix, binary = found.groups()
    power = "kmgt".find(prefix.lower()) + 1 if prefix else 0
    return int(float(number) * (1024 if binary else 1000) ** power)


def check_path(name: str, value: object) -> Path:
    """Return `value` as a path, or raise DataError if it is none."""
    try:
        path = os.fsdecode(value)  # type: ignore[arg-type]
    except TypeError:
        raise DataError(f"{name}: expected a path, got {shown(value)}") from None
    if not path or "\0" in path:
        raise DataError(f"{name}: expected a path, got {shown(value)}")
    return Path(path)


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`, or raise DataError."""
    if not isinstance(value, str) or value not in choices:
        raise unknown_name(name, value, choices)
    return value


def unknown_name(name: str, value: object, choices: Sequence[str], more: str = "") -> DataError:
    """Return the error for what is none of `choices`, with the nearest of them if one is near."""
    near = nearest(value, choices)
    hint = f"; did you mean {near!r}?" if near else ""
    known = f"{', '.join(choices)}{more}"
    return DataError(f"{name}: expected one of {known}, got {shown(value)}{hint}")


def nearest(value: object, choices: Sequence[str]) -> str | None:
    """Return the choice that is meant by a name, here or elsewhere; None if there is none such."""
    if not isinstance(value, str):
        return None
    meant = [name for name in _ELSEWHERE.get(value.lower(), "").split() if name in choices]
    return next(iter(meant or get_close_matches(value[:100].lower(), choices, 1)), None)


def check_sizes(name: str, value: object) -> tuple[int, ...]:
    """Return layer widths, or a single one, as a tuple of positive int, or raise DataError."""
    if isinstance(value, (int, np.integer)):  # (1000) is no tuple in Python
        value = [value]
    if isinstance(value, (str, bytes)) or not isinstance(value, (Sequence, np.ndarray)):
        raise DataError(f"{name}: expected a sequence of positive integers, got {shown(value)}")
    if isinstance(value, np.ndarray) and value.ndim != 1:
        raise DataError(f"{name}: expected one dimension, got shape {value.shape}")
    if len(value) == 0:
        raise DataError(f"{name}: expected at least one layer, got none")
    if len(value) > MOST_LAYERS:
        raise DataError(f"{name}: expected at most {MOST_LAYERS:,} layers, got {len(value):,}")
    return tuple(check_width(f"{name}[{i}]", n) for i, n in enumerate(value))


def per_layer(name: str, value: Any, n_layers: int, what: str = "layers") -> list[Any]:
    """Return a value for each layer from one for all, or from a sequence of just as many."""
    listed = isinstance(value, (list, tuple)) or hasattr(value, "tolist")
    if not listed or getattr(value, "ndim", 1) == 0:  # a sparse matrix is one wrong value
        return [value] * n_layers
    if len(value) != n_layers:
        raise DataError(
            f"{name}: expected one value, or one for each of {n_layers} {what}, got {len(value)}"
        )
    return list(value)


def check_labels(name: str, y: Any, n_samples: int, n_classes: int) -> NDArray[np.int64]:
    """Return labels `y`, shape (n_samples,), as int64 in ``0 ... n_classes-1``, or raise."""
    y = check_array(name, y)
    if y.ndim != 1:
        hint = f"; of one-hot rows {name}.argmax(axis=1)" if y.ndim == 2 else ""
        raise DataError(f"{name}: expected one dimension (n_samples,), got shape {y.shape}{hint}")
    if y.dtype.kind not in "iub":
        raise DataError(
            f"{name}: expected integer classes, got dtype {y.dtype}; "
            f"np.unique({name}, return_inverse=True) numbers them"
        )
    if len(y) != n_samples:
        raise DataError(f"{name}: expected {n_samples:,} labels, one per sample, got {len(y):,}")
    wrong = (y < 0) | (y >= n_classes)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"{name}: expected classes from 0 to {n_classes - 1:,}, got {y[at]} at position {at:,}"
        )
    return _own(y, np.int64)


def _own(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Return a copy that nobody writes to: native code goes by it again and again."""
    own: NDArray[Any] = np.array(array, dtype, order="C")
    own.flags.writeable = False
    return own


def check_classes(name: str, classes: Any, n_classes: int) -> list[int] | list[str]:
    """Return names of classes as a list of n_classes different int or str, or raise DataError."""
    if isinstance(classes, np.ndarray):
        classes = classes.tolist()
    if isinstance(classes, (str, bytes)) or not isinstance(classes, Sequence):
        raise DataError(f"{name}: expected a sequence of int or str, got {shown(classes)}")
    if len(classes) != n_classes:
        raise DataError(f"{name}: expected {n_classes} of them, n_classes, got {len(classes)}")
    found = [label.item() if isinstance(label, np.generic) else label for label in classes]
    if {type(label) for label in found} not in ({int}, {str}):
        raise DataError(f"{name}: expected all int or all str, got {shown(classes)}")
    if len(set(found)) != len(found):
        raise DataError(f"{name}: expected all different, got {shown(classes)}")
    return found


def check_sample_weight(name: str, weights: Any, n_samples: int, dtype: str) -> NDArray[Any] | None:
    """Return weights, shape (n_samples,), as finite numbers of at least 0, or raise DataError.

    None stays None: every sample then counts once.
    """
    if weights is None:
        return None
    weights = check_array(name, weights)
    if weights.shape != (n_samples,):
        raise DataError(f"{name}: expected shape ({n_samples},), got {weights.shape}")
    if weights.dtype.kind not in "iufb":
        raise DataError(f"{name}: expected numbers, got dtype {weights.dtype}")
    with np.errstate(over="ignore"):  # found below
        found = _own(weights, dtype)
    wrong = ~(np.isfinite(found) & (found >= 0))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(
            f"{name}: expected finite numbers of at least 0, got {weights[at]} at position {at:,}"
        )
    if not found.any():
        raise DataError(f"{name}: expected some weight above zero, got none")
    return found


def check_batches(name: str, batches: Any, n_samples: int) -> NDArray[np.int64]:
    """Return sample numbers, shape (n_steps, batch_size), as int64 below n_samples, or raise."""
    batches = check_array(name, batches)
    if batches.ndim != 2 or 0 in batches.shape:
        raise DataError(f"{name}: expected shape (n_steps, batch_size), got {batches.shape}")
    if not np.issubdtype(batches.dtype, np.integer):
        raise DataError(f"{name}: expected integer sample numbers, got dtype {batches.dtype}")
    low, high = int(batches.min()), int(batches.max())
    if low < 0 or high >= n_samples:
        raise DataError(
            f"{name}: expected sample numbers from 0 to {n_samples - 1:,}, got {low:,} to {high:,}"
        )
    return _own(batches, np.int64)


def check_parameter(
    name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return one parameter as a finite C-contiguous array of `shape` and `dtype`, or raise."""
    value = check_array(f"parameters[{name!r}]", value)
    if value.shape != shape:
        raise DataError(f"parameters[{name!r}]: expected shape {shape}, got {value.shape}")
    if not (np.issubdtype(value.dtype, np.floating) or np.issubdtype(value.dtype, np.integer)):
        raise DataError(f"parameters[{name!r}]: expected numbers, got dtype {value.dtype}")
    with np.errstate(over="ignore"):  # found below
        array: NDArray[Any] = np.require(value, dtype, ("C", "A"))
    if not np.isfinite(array).all():
        raise DataError(f"parameters[{name!r}]: expected finite values, got NaN or infinity")
    return array
