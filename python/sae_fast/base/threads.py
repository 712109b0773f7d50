# SPDX-License-Identifier: BSD-3-Clause
"""How many threads this process may use: its affinity, and its container's CPU quota; their turns.

`os.cpu_count()` counts the machine's processors, of which a container or a batch job often owns
a few; more threads than that only wait for each other.
"""

from __future__ import annotations

import math
import os
import re
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from weakref import WeakSet

from .checks import check_int

#: More is a mistake, and would exhaust the process before it computes anything.
MOST_THREADS = 1024
#: How many a computation takes at most by default, where processes share those of a machine.
sharing = ContextVar("sharing", default=MOST_THREADS)


def _quota(folder: Path, kind: str) -> float:
    """CPUs that a folder of cgroup v1 or v2 allows; infinity if it sets no limit."""
    files = ("cpu.max",) if kind == "cgroup2" else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    try:
        quota, period = " ".join((folder / file).read_text() for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return math.inf


def _cgroup_quotas(proc: Path) -> Iterator[float]:
    """Yield what each control group over this process allows, from its own to the mounted root.

    A container often sees a part of the hierarchy alone, under the paths of its host: mountinfo
    says which part, and where.
    """
    groups = {}
    for line in (proc / "self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            groups["cgroup2"] = Path(path)
        elif "cpu" in controllers.split(","):
            groups["cgroup"] = Path(path)
    for line in (proc / "self/mountinfo").read_text().splitlines():
        mount, _, source = line.partition(" - ")
        kind, _, options = source.split(" ", 2)
        if kind not in groups or (kind == "cgroup" and "cpu" not in options.split(",")):
            continue
        # spaces and the like stand there as \040
        root, point = (
            Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field))
            for field in mount.split(" ")[3:5]
        )
        group = groups[kind]
        folder = point / group.relative_to(root) if group.is_relative_to(root) else point
        for level in (folder, *folder.parents):
            yield _quota(level, kind)
            if level == point:
                break


def _cgroup_quota(proc: Path = Path("/proc")) -> float:
    """CPUs that this process's control groups allow, the tightest of all levels."""
    try:
        return min(_cgroup_quotas(proc), default=math.inf)
    except (OSError, ValueError):
        return math.inf


def processors() -> set[int]:
    """Return the numbers of the processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def available_threads() -> int:
    """Return the number of threads that this process can run at once, at least 1."""
    allowed, quota = len(processors()), _cgroup_quota()
    return max(1, min(allowed, math.ceil(quota) if math.isfinite(quota) else allowed))


def default_threads() -> int:
    """Return how many threads one computation takes by default, at least 1.

    What the process may use, or less where ``OMP_NUM_THREADS`` asks for it: those who start several
    processes side by side, as joblib and Dask do, share the processors out that way. Processes that
    share a training share them too.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list: by nesting
    most = int(asked) if asked.isascii() and asked.isdigit() else 0
    return min(available_threads(), most or MOST_THREADS, sharing.get())


def resolve_threads(n_threads: int | None, name: str = "n_threads") -> int:
    """Return `n_threads`, checked, or the default if it is None."""
    if n_threads is None:
        return default_threads()
    return check_int(name, n_threads, 1, MOST_THREADS)


def resolve_workers(workers: int | None) -> int:
    """Return `workers`, checked, or as many as the process can run at once if it is None."""
    return resolve_threads(available_threads() if workers is None else workers, "workers")


def startable_threads(n_threads: int) -> int:
    """Return how many more threads, at most so many, the system lets Python start."""
    ended, started = threading.Event(), []
    try:
        for _ in range(n_threads):
            thread = threading.Thread(target=ended.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:
        pass
    finally:
        ended.set()
        for thread in started:
            thread.join()
    return len(started)


class Turns:
    """Two locks by which threads take turns with what one of them works on again and again.

    Who reads or writes it as a whole holds both: ``with turns.queue, turns.lock``. The one at work
    holds `lock` for each piece of work, and passes through `queue` between two of them: with one
    lock alone it would give it back and have it again before those who wait have woken up.
    """

    def __init__(self) -> None:
        self.renew()
        _all.add(self)

    def renew(self) -> None:
        """Make locks that nobody holds."""
        self.queue, self.lock = threading.RLock(), threading.RLock()


_all: WeakSet[Turns] = WeakSet()


def _renew() -> None:
    for turns in _all:
        turns.renew()


if hasattr(os, "register_at_fork"):  # what held a lock on another thread is not in the child
    os.register_at_fork(after_in_child=_renew)
