# SPDX-License-Identifier: BSD-3-Clause
"""Runs that are killed go on from their checkpoint as if nothing had happened.

Forked processes are killed, whose imports are done. A mark in a pipe tells whether one was inside
a save.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from sae_fast.base import files
from sae_fast.training import checkpoint

from .row import Row
from .runs import fork, run_into, wait

EVERY = 20  # steps between checkpoints


def _mark_saves(pipe: int) -> None:
    """Let this process write a byte into the pipe before and after each save."""

    def marked(*arguments: Any, **options: Any) -> Path:
        os.write(pipe, b"(")
        path = files.write_file(*arguments, **options)
        os.write(pipe, b")")
        return path

    checkpoint.write_file = marked


def _child(folder: Path, pipe: int) -> None:
    _mark_saves(pipe)
    os.write(pipe, run_into(folder, checkpoint_every=EVERY).encode())


def _run(folder: Path) -> tuple[int, int]:
    """Start the run in a process of its own; return its number and the pipe to read from."""
    reading, writing = os.pipe()
    process = fork(lambda: _child(folder, writing))
    os.close(writing)
    return process, reading


def _read(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as file:
        return file.read()


def _kill(folder: Path, choose: random.Random, seconds: float, inside: bool) -> bool:
    """Kill a run at a random moment of its life or, if `inside`, of a save; say where it was."""
    process, pipe = _run(folder)
    seen = b""
    if inside:
        for _ in range(choose.randint(1, 60)):
            while os.read(pipe, 1) not in (b"(", b""):
                pass
        seen = b"("
        end = time.perf_counter() + choose.expovariate(1 / 0.002)
        while time.perf_counter() < end:
            pass
    else:
        time.sleep(choose.uniform(0, seconds))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return (seen + _read(pipe)).endswith(b"(")


def check(short: bool) -> tuple[str, bool]:
    """Kill, resume, compare."""
    n_kills = 12 if short else 500
    choose = random.Random(0)
    n_same = n_inside = n_hanging = 0
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        process, pipe = _run(Path(name, "whole"))
        expected = _read(pipe).strip(b"()")
        wait(process)
        seconds = time.perf_counter() - started
        for i in range(n_kills):
            folder = Path(name, str(i))
            n_inside += _kill(folder, choose, seconds, inside=i % 2 == 0)
            process, pipe = _run(folder)
            n_hanging += wait(process) is None
            same = _read(pipe).strip(b"()") == expected
            n_same += same and not list(folder.glob(".checkpoint*"))  # nor is anything left over
    figure = (
        f"{n_same} of {n_kills} bit-identical, {n_hanging} hanging; "
        f"{n_inside} were killed inside a save"
    )
    return figure, n_same == n_kills and len(expected) == 64 and n_inside >= n_kills // 5


ROW = Row(
    "`kill -9` at random moments (at least 100 of them inside a save), then resume",
    "500 of 500 bit-identical to the uninterrupted run",
    check,
)
