# SPDX-License-Identifier: BSD-3-Clause
"""How files of ours come to be."""

from __future__ import annotations

from pathlib import Path


def create_anew(path: Path) -> None:
    """Make an empty file in place of what has its name: a leftover, or a link to another file."""
    path.unlink(missing_ok=True)
    path.touch(exist_ok=False)
