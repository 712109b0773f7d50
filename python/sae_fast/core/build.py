# SPDX-License-Identifier: BSD-3-Clause
"""What the core was built as, and of which release."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from .._core import SOURCES, build_config, openmp_threads
from ..base.threads import MOST_THREADS

__all__ = ["VERSION", "build_config", "fingerprint", "openmp_limit"]

VERSION: str = build_config()["version"]
_AT_FIRST = openmp_threads()  # by OMP_NUM_THREADS and the processors, as these were then


@functools.cache
def fingerprint() -> str:
    """Return the version, and a digest of the code that runs: Python's files and C++'s sources.

    Not of the extension itself, which differs between systems.
    """
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(SOURCES.encode())
    for file in sorted(package.rglob("*.py"), key=lambda file: file.relative_to(package).parts):
        digest.update(file.relative_to(package).as_posix().encode() + file.read_bytes())
    return f"{VERSION} ({digest.hexdigest()[:12]})"


def openmp_limit() -> int:
    """Return the most threads that the program has since allowed OpenMP on this thread."""
    limit = openmp_threads()
    return limit if limit < _AT_FIRST else MOST_THREADS
