# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C at any moment of a run ends it at once, and the run goes on from there.

The command line runs in forked processes, whose imports are done, on a small set of its own.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sae_fast import __main__, datasets

from .row import Row
from .runs import SETTINGS, fork, wait

ARGUMENTS = [
    *("run", "--dataset=strokes", "--arms=pretrained,normal,he", "--pretrain-steps=300"),
    *("--finetune-steps=1500", "--eval-every=50", "--checkpoint-every=100", "--quiet"),
]


def _command(folder: Path, *more: str) -> int:
    """Start the command line in a process of its own, with stderr in a file beside its folder."""

    def child() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.modules["matplotlib"] = None  # type: ignore[assignment]
        datasets.load = lambda *_, **__: SETTINGS["dataset"]
        sys.argv[1:] = [*ARGUMENTS, f"--output={folder}", *more]
        with folder.with_suffix(".stderr").open("w") as sys.stderr:
            status = __main__.main()
        os._exit(status)

    return fork(child)


def _found(folder: Path) -> Any:
    """Return all that a run has written, except times."""
    result = json.loads((folder / "result.json").read_text("utf-8"))
    for arm in result["arms"].values():
        del arm["seconds"]
    return result["arms"], [path.read_bytes() for path in sorted(folder.glob("model*"))]


def _interrupt(folder: Path, seconds: float) -> tuple[float, int | None]:
    """Send Ctrl-C after so many seconds; return how long it took to end, and its status."""
    process = _command(folder)
    while not folder.with_suffix(".stderr").exists():  # the command line has not begun
        time.sleep(0.001)
    time.sleep(seconds)
    sent = time.perf_counter()
    os.kill(process, signal.SIGINT)
    status = wait(process)
    return time.perf_counter() - sent, status


def check(short: bool) -> tuple[str, bool]:
    """Interrupt, resume, compare."""
    n_moments = 12 if short else 500
    choose = random.Random(0)
    latencies: list[float] = []
    n_same = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "whole")
        started = time.perf_counter()
        wait(_command(folder))
        seconds = time.perf_counter() - started
        expected = _found(folder)
        for number in itertools.count():
            if len(latencies) == n_moments:
                break
            folder = Path(name, str(number))
            latency, status = _interrupt(folder, choose.uniform(0, seconds))
            if status == 0 and latency < 0.1:
                continue  # it was done before, and did not go on as if nothing had come
            written = folder.with_suffix(".stderr").read_text()
            if status != 130 or not re.fullmatch("sae-fast: interrupted(; .*)?\n", written):
                return f"status {status}: {written}", False
            latencies.append(latency)
            resume = ["--resume"] if any(folder.glob("checkpoint*")) else []
            n_same += wait(_command(folder, *resume)) == 0 and _found(folder) == expected
    median, late = (
        statistics.median(latencies),
        statistics.quantiles(latencies, n=100, method="inclusive")[98],
    )
    figure = (
        f"99th percentile {1000 * late:.0f} ms (median {1000 * median:.0f}, longest "
        f"{1000 * max(latencies):.0f}); {n_same} of {n_moments} resumed to the same bits"
    )
    return figure, n_same == n_moments and (
        median if short else late
    ) < 0.1  # of a few: their median


ROW = Row("Ctrl-C at 500 random moments", "99th percentile < 100 ms, resumable each time", check)
