# SPDX-License-Identifier: BSD-3-Clause
"""What the core was built as, and of which release."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from .._core import SOURCES, build_config, openmp_threads

__all__ = ["VERSION", "build_config", "fingerprint", "openmp_threads"]

VERSION: str = build_config()["version"]


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
