# SPDX-License-Identifier: BSD-3-Clause
"""What a row of the table is, and what rows share."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class NotHereError(Exception):
    """A check needs something that this machine does not have; says what."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One promise: what is tried, what has to come out, and the function that tries it.

    `check` is told whether to take its short form, and returns the figure that it reached and
    whether that is enough. It raises NotHereError where it cannot run.
    """

    test: str
    target: str
    check: Callable[[bool], tuple[str, bool]]


def reported(module: str, *arguments: object, seconds: float) -> Any:
    """Run a module of this folder to its end, and return the JSON that it prints.

    Raises
    ------
    RuntimeError
        If it fails, or has not ended after so many seconds; it is killed then.
    """
    process = python(module, *arguments, stdout=subprocess.PIPE)
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{module} hung: no end after {seconds:.0f} s") from None
    finally:
        process.kill()
    if process.returncode:
        raise RuntimeError(f"{module} ended with status {process.returncode}")
    return json.loads(out)


def python(module: str, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
    """Start a module of this folder in a process of its own."""
    command = [sys.executable, "-m", f"reliability.{module}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, **options)
