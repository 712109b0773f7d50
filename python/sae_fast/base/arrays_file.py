# SPDX-License-Identifier: BSD-3-Clause
"""Arrays and a text in one file, in the format of the package safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import DataError


def write_arrays(text: str, arrays: Mapping[str, Any]) -> bytes:
    """Return a file with `text` as the header's `sae_fast` entry."""
    from safetensors.numpy import save

    data: bytes = save(dict(arrays), metadata={"sae_fast": text})
    return data


def read_arrays(data: bytes) -> tuple[str, dict[str, Any]]:
    """Return the text and the arrays of a file, which take no more memory than the file.

    DataError if `data` is anything else.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        text = (json.loads(data[8 : 8 + length]).get("__metadata__") or {}).get("sae_fast")
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"no whole safetensors file, as `save` writes it: {error}") from error
    if not isinstance(text, str):
        raise DataError("no sae_fast entry in its header")
    return text, arrays
