# SPDX-License-Identifier: BSD-3-Clause
"""Children forked from a process that has trained, two in three while other threads of it train."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import warnings

from .row import NotHereError, Row, reported
from .workload import TRAININGS, blas_training, sparse_training

LIMIT = 10  # seconds that a child may take
GIVE_UP = 60  # seconds after which it hangs


def wait(child: int, started: float) -> tuple[float, bool]:
    """Return how long a child took, and whether it ended well; one that hangs is killed."""
    while time.monotonic() - started < GIVE_UP:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return time.monotonic() - started, status == 0
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return float("inf"), False


def child(number: int, expected: list[str]) -> bool:
    """Train, and say whether the results are the parent's; some fork a child of their own first."""
    if number % 10 == 0:
        started = time.monotonic()
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(not child(number + 1, expected))
        _, well = wait(grandchild, started)
        if not well:
            return False
    which = number % len(TRAININGS)
    return TRAININGS[which](n_threads=2) == expected[which]


def fork_children(n_children: int) -> dict[str, float]:
    """Fork so many children, one after another, and count what became of them."""
    expected = [train(n_threads=2) for train in TRAININGS]
    stop = threading.Event()

    def keep_training(train):
        while not stop.is_set():
            train(n_threads=2)

    busy = [
        threading.Thread(target=keep_training, args=(train,))
        for train in (blas_training, blas_training, sparse_training)
    ]
    seconds, n_wrong = [], 0
    for number in range(n_children):
        if number == n_children // 3:
            for thread in busy:
                thread.start()
        started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                status = not child(number, expected)
            finally:
                os._exit(status)
        taken, well = wait(pid, started)
        seconds.append(taken)
        n_wrong += taken < GIVE_UP and not well
    stop.set()
    for thread in busy:
        thread.join()
    again = [train(n_threads=2) for train in TRAININGS]
    return {
        "children": n_children,
        "hangs": sum(taken > GIVE_UP for taken in seconds),
        "wrong": n_wrong + (again != expected),
        "slowest": max(taken for taken in [0, *seconds] if taken < GIVE_UP),
        "median": sorted(seconds)[n_children // 2],
    }


def check(short: bool) -> tuple[str, bool]:
    """Fork 1,000 children, or 60."""
    if not hasattr(os, "fork"):
        raise NotHereError("this system has no fork")
    found = reported("fork", 60 if short else 1000, seconds=1200)
    reached = not found["hangs"] and not found["wrong"] and found["slowest"] < LIMIT
    return (
        f"{found['children']} children, {found['hangs']} hangs, {found['wrong']} with other bits "
        f"than the parent, the slowest {found['slowest']:.2f} s (median {found['median']:.2f} s)"
    ), reached


ROW = Row(
    test="1,000 forked children that train, after the parent trained",
    target="0 hangs, none over 10 s",
    check=check,
)

if __name__ == "__main__":
    warnings.filterwarnings("ignore", ".*use of fork", DeprecationWarning)
    json.dump(fork_children(int(sys.argv[1])), sys.stdout)
