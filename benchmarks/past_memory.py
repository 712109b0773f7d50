# SPDX-License-Identifier: BSD-3-Clause
"""Time of a step on a set that memory does not hold, beside the same set in memory.

    python benchmarks/past_memory.py --limit 1GB --memory 512MB --folder /somewhere/with/space

writes a set of four times the limit, and trains, tunes and predicts in child processes, in turn:
one that may take all of it, and one whose address space is limited (RLIMIT_AS) to what it has after
its imports and so many bytes. Each round gives ratios of the time of a step, of all time (the
reading before the first step, the codes of layers below) and of the processor's time, which counts
what is read ahead as well; the table has their medians.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import sae_fast
from machine import describe, facts
from sae_fast.base.checks import check_bytes
from sae_fast.base.npy import NpyWriter
from sae_fast.datasets import DataSource, open_source

CLASSES = 10
# a limit on addresses counts what is only reserved: by glibc 64 MB for each thread that allocates,
# and a stack of 8 MB for each thread
FEW_RESERVES = {**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_STACKSIZE": "1M"}
STACK_BYTES = 2**20


def write_set(folder: Path, n_bytes: int, n_features: int, dtype: str, zeros: float) -> None:
    """Write samples around ten prototypes, and their labels, a part at a time."""
    rng = np.random.default_rng(0)
    kind = np.dtype(dtype)
    n = n_bytes // (n_features * kind.itemsize)
    prototypes = rng.random((CLASSES, n_features), dtype=np.float32)
    y = rng.integers(0, CLASSES, n)
    np.save(folder / "y.npy", y)
    with NpyWriter(folder / "x.npy", (n, n_features), kind) as file:
        for first in range(0, n, 8192):
            own = y[first : first + 8192]
            rows = (prototypes[own] + rng.random((len(own), n_features), dtype=np.float32)) / 2
            rows[rows < np.quantile(rows[:100], zeros)] = 0
            file.write((rows * 255).astype(kind) if kind == np.uint8 else rows)


def measure(folder: Path, memory: str | None, limit: int | None, options: argparse.Namespace):
    """Train in this process, on an array or, with `memory`, on a source; return what it took."""
    sizes = [int(n) for n in options.sizes.split("-")]
    net = sae_fast.StackedAutoencoder(sizes, CLASSES, seed=0, n_threads=options.threads)
    y = np.load(folder / "y.npy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sae_fast.UntrainedWarning)
        net.predict(np.zeros((1, sizes[0]), np.float32))  # starts threads
    threading.stack_size(STACK_BYTES)
    if limit is not None:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
    x: np.ndarray | DataSource
    if memory is None:
        x = np.load(folder / "x.npy")
    else:
        x = open_source(folder / "x.npy", memory=memory, folder=folder)
    scale = {"scale": 1 / 255} if x.dtype == np.uint8 else {}
    size = {"batch_size": options.batch_size, "eval_every": 0}
    found = {}
    last = time.perf_counter(), time.process_time()

    def took(name: str, steps: int, seconds: float) -> None:
        nonlocal last
        now = time.perf_counter(), time.process_time()
        found[name] = {
            "steps": steps,
            "step": seconds / steps,
            "wall": (now[0] - last[0]) / steps,
            "cpu": (now[1] - last[1]) / steps,
        }
        last = now

    histories = net.pretrain(x, epochs=options.epochs, **size, **scale)
    seconds = [history.seconds for history in histories]
    steps = -(-options.epochs * len(y) // options.batch_size)
    took("pretrain", steps * len(histories), sum(seconds))
    history = net.finetune(x, y, epochs=options.epochs, **size, **scale)
    took("finetune", steps, history.seconds)
    started = time.perf_counter()
    net.predict(x, out=folder / "predicted.npy")
    took("predict", -(-len(y) // options.batch_size), time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"phases": found, "peak": peak, "n": len(y)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", default="64MB", help="what the process may take past its start")
    parser.add_argument("--memory", default="24MB", help="of the source")
    parser.add_argument("--times", type=float, default=4, help="the set's size, in limits")
    parser.add_argument("--sizes", default="784-100-50")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64", "uint8"))
    parser.add_argument("--zeros", type=float, default=0.0, help="share of zeros")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="all of it on as little as it can")
    parser.add_argument("--folder", default=None, help="where the set is written")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.short:
        options.epochs, options.rounds, options.times = 1, 1, 1.0
    if options.child:
        folder, kind = options.child
        limit = check_bytes("limit", options.limit)
        how = (options.memory, limit) if kind == "source" else (None, None)
        measure(Path(folder), *how, options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        n_bytes = int(options.times * check_bytes("limit", options.limit))
        n_features = int(options.sizes.split("-")[0])
        write_set(Path(folder), n_bytes, n_features, options.dtype, options.zeros)
        rounds = []
        for _ in range(options.rounds):
            own = {}
            for kind in ("memory", "source"):
                arguments = [sys.executable, __file__, *sys.argv[1:], "--child", folder, kind]
                done = subprocess.run(
                    arguments, check=True, stdout=subprocess.PIPE, text=True, env=FEW_RESERVES
                )
                own[kind] = json.loads(done.stdout.splitlines()[-1])
            rounds.append(own)
    print(describe(facts()))
    n, peaks = rounds[0]["source"]["n"], [one["source"]["peak"] for one in rounds]
    print(
        f"{n:,} x {n_features} {options.dtype}, {n_bytes / 1e6:,.0f} MB; limit {options.limit}, "
        f"memory={options.memory!r}; peak {max(peaks) / 1e6:,.0f} MB resident"
    )
    print(f"{'':10} {'in memory':>12} {'source':>12}  ratio: {'a step':>7} {'all':>6} {'cpu':>6}")
    for phase in ("pretrain", "finetune", "predict"):
        each = {
            kind: [one[kind]["phases"][phase] for one in rounds] for kind in ("memory", "source")
        }
        ratios = [
            statistics.median(
                source[key] / memory[key]
                for memory, source in zip(each["memory"], each["source"], strict=True)
            )
            for key in ("step", "wall", "cpu")
        ]
        times = [statistics.median(one["step"] for one in each[kind]) * 1e6 for kind in each]
        print(
            f"{phase:10} {times[0]:9.1f} µs {times[1]:9.1f} µs         {ratios[0]:7.2f} "
            f"{ratios[1]:6.2f} {ratios[2]:6.2f}"
        )


if __name__ == "__main__":
    main()
