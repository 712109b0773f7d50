# SPDX-License-Identifier: BSD-3-Clause
"""Arrays and a text in one file, in the format of safetensors, read without a copy.

The package of that name writes it. Its own reader copies every array, and accepts types that no
file of ours has; this one trusts nothing either, and takes no memory but for the header.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_MOST_HEADER_BYTES = 100_000_000  # as the package has it
_ENTRIES = {"dtype", "shape", "data_offsets"}


def read_arrays(data: bytes) -> tuple[str, dict[str, NDArray[Any]]]:
    """Read a file: 8 bytes of header length, a JSON header, and what that says is in the rest.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    text : str
        The header's `sae_fast` entry.
    arrays : dict of str to ndarray
        Read-only views of `data`, which need not be aligned.

    Raises
    ------
    DataError
        If `data` is anything else. The arrays have to fill it, without a gap or an overlap.
    """
    body_start = 8 + int.from_bytes(data[:8], "little")
    if not 10 <= body_start <= min(len(data), 8 + _MOST_HEADER_BYTES):
        raise DataError(f"{len(data)} bytes without a whole header")
    try:
        header = json.loads(str(memoryview(data)[8:body_start], "utf-8"), object_pairs_hook=_unique)
        text = (header.pop("__metadata__", None) or {}).get("sae_fast")
        if not isinstance(text, str):
            raise DataError("no sae_fast entry in its header")
        arrays, at = {}, body_start
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            arrays[name] = _view(data, name, entry, body_start, at)
            at += arrays[name].nbytes
    except DataError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"a damaged header ({type(error).__name__}: {error})") from error
    if at != len(data):
        raise DataError(f"{len(data)} bytes, of which the header describes {at}")
    return text, arrays


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, unless it could be read in two ways."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DataError("a name twice in its header")
    return found


def _view(data: bytes, name: str, entry: Any, body_start: int, at: int) -> NDArray[Any]:
    """Return the array of a header's entry, which has to start at byte `at` of the file."""
    start, end = entry["data_offsets"]
    shape, dtype = entry["shape"], _DTYPES[entry["dtype"]]
    numbers = [start, end, *shape]
    if (
        {type(number) for number in numbers} != {int}
        or min(numbers) < 0
        or entry.keys() != _ENTRIES
    ):
        raise DataError(f"{name} described as {entry}")
    if start != at - body_start or end - start != math.prod(shape) * dtype.itemsize:
        raise DataError(f"{name} of shape {shape} at bytes {start} to {end}")
    view: NDArray[Any] = np.ndarray(shape, dtype, data, at)
    return view
