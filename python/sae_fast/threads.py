# SPDX-License-Identifier: BSD-3-Clause
"""How many threads this process may use: its affinity, and its container's CPU quota.

`os.cpu_count()` counts the machine's processors, of which a container or a batch job often owns
a few; more threads than that only wait for each other.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

from .validation import check_int

#: More is a mistake, and would exhaust the process before it computes anything.
MOST_THREADS = 1024


def _quota_v2(folder: Path) -> float:
    """CPUs that a cgroup v2 folder allows; infinity if it sets no limit."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def _quota_v1(folder: Path) -> float:
    """CPUs that a cgroup v1 folder allows; infinity if it sets no limit."""
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 and period > 0 else math.inf
    except (OSError, ValueError):
        return math.inf


def _cgroup_quota(proc: Path = Path("/proc"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """CPUs that this process's control groups allow, the tightest of all levels."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return math.inf
    quota = math.inf
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base, read = (root / "cpu", _quota_v1) if controllers else (root, _quota_v2)
        # inside a container the path may be the host's, and only the base is there
        folder = base / path.lstrip("/")
        for level in (folder, *folder.parents):
            quota = min(quota, read(level))
            if level == base:
                break
    return quota


def available_threads() -> int:
    """Return the number of threads that this process can run at once, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(allowed, math.ceil(quota) if math.isfinite(quota) else allowed))


def resolve_threads(n_threads: int | None) -> int:
    """Return `n_threads`, checked, or what the process may use if it is None."""
    if n_threads is None:
        return available_threads()
    return check_int("n_threads", n_threads, 1, MOST_THREADS)
