# SPDX-License-Identifier: BSD-3-Clause
"""What the core was built as, and of which release."""

from __future__ import annotations

from .._core import build_config

__all__ = ["VERSION", "build_config"]

VERSION: str = build_config()["version"]
