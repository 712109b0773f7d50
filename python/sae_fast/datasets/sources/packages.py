# SPDX-License-Identifier: BSD-3-Clause
"""Packages that read files, imported once they are needed."""

from __future__ import annotations

import importlib
from typing import Any


def needed(package: str, what: str) -> Any:
    """Return a package; ImportError says how to get it and what it is for."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise ImportError(
            f"{what} need the package {name} (pip install 'sae-fast[data]'), got {error}"
        ) from error
