# SPDX-License-Identifier: BSD-3-Clause
"""Studies that are killed go on to the study that nobody broke off, and compute no run twice.

Forked processes are killed, whose imports are done; each writes a byte into a pipe for every run
that it has computed, whether or not it gets into a file.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import sae_fast
from sae_fast.experiment.studies import study

from .row import Row
from .runs import SETTINGS, fork, wait

SEEDS, THREADS = 4, 2
N_RUNS = SEEDS * len(SETTINGS["arms"])


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key != "seconds"}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _saved(folder: Path) -> Any:
    return _timeless(json.loads((folder / "study.json").read_text("utf-8")))


def _child(folder: Path, pipe: int) -> None:
    """Run the study into a folder, on from where it is."""
    sys.modules["matplotlib"] = None  # type: ignore[assignment]
    compute = study.compute_run

    def counted(context: Any, task: Any) -> dict[str, Any]:
        outcome = compute(context, task)
        os.write(pipe, b".")
        return outcome

    study.compute_run = counted  # type: ignore[assignment]
    resume = (folder / "settings.json").exists()
    sae_fast.run_study(**SETTINGS, seeds=SEEDS, threads=THREADS, output=folder, resume=resume)


def _start(folder: Path) -> tuple[int, int]:
    reading, writing = os.pipe()
    process = fork(lambda: _child(folder, writing))
    os.close(writing)
    return process, reading


def _count(pipe: int) -> int:
    """Return how many runs a process has computed, once it has ended."""
    with os.fdopen(pipe, "rb") as file:
        return len(file.read())


def check(short: bool) -> tuple[str, bool]:
    """Kill, resume, compare."""
    n_kills = 3 if short else 50
    choose = random.Random(0)
    n_same = n_hanging = n_lost = n_twice = 0
    with tempfile.TemporaryDirectory() as name:
        whole = Path(name, "whole")
        started = time.perf_counter()
        process, pipe = _start(whole)
        wait(process)
        seconds, expected = time.perf_counter() - started, _saved(whole)
        if _count(pipe) != N_RUNS:
            return "the study did not compute each run once", False
        for i in range(n_kills):
            folder = Path(name, str(i))
            process, pipe = _start(folder)
            time.sleep(choose.uniform(0, seconds))
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            computed, kept = _count(pipe), len(list(folder.glob("runs/*.json")))
            n_lost += computed - kept > 2 * THREADS  # under way, or on its way to a file
            process, pipe = _start(folder)
            n_hanging += wait(process) is None
            n_twice += _count(pipe) != N_RUNS - kept
            n_same += _saved(folder) == expected
    figure = (
        f"{n_same} of {n_kills} to the same study.json, {n_hanging} hanging, {n_lost} lost more "
        f"runs than were on their way, {n_twice} computed one again"
    )
    return figure, n_same == n_kills and not n_lost + n_twice


ROW = Row(
    "a study is killed by `kill -9` at random moments, then resumed",
    "50 of 50 end with the same `study.json`, times aside; no run in a file is computed again",
    check,
)
