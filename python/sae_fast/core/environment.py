# SPDX-License-Identifier: BSD-3-Clause
"""What a bug report needs: version, instruction set, BLAS, OpenMP, threads, and the data found."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

from .. import datasets
from ..base.threads import default_threads
from .build import build_config

_PACKAGES = ("numpy", "scipy", "matplotlib", "safetensors", "tqdm")


def _cpu() -> str:
    """Name the processor as the system does."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def info() -> dict[str, Any]:
    """Return what identifies this installation and machine, as plain JSON types.

    Returns
    -------
    dict
        ``version``, ``isa`` (in use), ``available_isas``, ``blas``, ``openmp``, ``compiler``,
        ``threads`` (used by default), ``cpu_count``, ``cpu``, ``python``, ``platform``,
        ``packages`` (name to version or None) and ``mnist`` (the folder it was found in, or None).

    Examples
    --------
    >>> import sae_fast
    >>> sae_fast.info()["isa"] in ("baseline", "avx2", "avx512")
    True
    """
    mnist = datasets.locate_mnist()
    return {
        **build_config(),
        "threads": default_threads(),
        "cpu_count": os.cpu_count(),
        "cpu": _cpu(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "executable": sys.executable,
        "packages": {name: _version(name) for name in _PACKAGES},
        "mnist": None if mnist is None else str(mnist),
    }
