# SPDX-License-Identifier: BSD-3-Clause
"""What a step costs that processes share, a model of it, and what that predicts for a cluster.

Measured here: gradients by the size of chunks and updates, messages between two processes on this
machine, and steps of one and of both, which the model has to meet. Predicted: more processes on a
network.
Run: python benchmarks/data_parallel.py [--page docs/distributed.md] [--mpiexec COMMAND]; --page
puts the tables between the page's markers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sae_fast
from machine import describe, facts
from sae_fast.core.networks import accumulate
from sae_fast.training import loop
from sae_fast.training.tree import nodes, shares

ARTICLE, FEW = "the article's", 100  # its batches
NETWORKS = {
    ARTICLE: [784, 100, 50, 25, 12, 5, 5, 10],
    "wide": [784, 1000, 1000, 1000, 10],
    "wider": [784, 4096, 4096, 10],
}
BATCHES, SHORT = [512, 1024, 2048], [256, 512]  # of what is measured
CHUNK_SIZES, CHUNKED = [16, 32, 64, 128, 256], 512  # that are compared, on such a batch;
SHORT_SIZES = [32, 128]
BATCH, CHUNK_SIZE = 131_072, 128  # of what is predicted: a chunk for each of 1,024 processes
PROCESSES = [1, 8, 16, 64, 100, 256, 1024]
BYTES_PER_SECOND, LATENCY = 12.5e9, 2e-6  # 100 Gb/s; of a message, taken from such networks' data
MARKS = "<!-- benchmarks/data_parallel.py -->\n", "<!-- end -->\n"


def size_of(widths: list[int]) -> int:
    return sum((n + 1) * m for n, m in itertools.pairwise(widths))


class Clock(sae_fast.callbacks.Callback):
    """Notes when each `every` steps are done."""

    def __init__(self, every: int) -> None:
        self.every, self.times = every, []

    def on_step(self, _: object) -> None:
        self.times.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """A step's, the fastest: what else the machine does is left out."""
        pairs = itertools.pairwise(self.times)
        return min(after - before for before, after in pairs) / self.every


class TimedTrainer:
    """A trainer of the core that notes how long its gradients and updates take."""

    def __init__(self, trainer: Any, found: dict[str, list[float]]) -> None:
        self._trainer, self._found = trainer, found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def _timed(self, name: str, *arguments: Any, **options: Any) -> None:
        started = time.perf_counter()
        getattr(self._trainer, name)(*arguments, **options)
        self._found.setdefault(name, []).append(time.perf_counter() - started)

    def gradient(self, *arguments: Any, **options: Any) -> None:
        self._timed("gradient", *arguments, **options)

    def update(self, *arguments: Any, **options: Any) -> None:
        self._timed("update", *arguments, **options)


def parts_seconds(widths: list[int], size: int, short: bool) -> dict[str, float]:
    """Give the seconds of a chunk's gradient and of an update, the fastest."""
    found: dict[str, list[float]] = {}
    original: Any = loop.new_trainer
    loop.new_trainer = lambda *args, **options: TimedTrainer(original(*args, **options), found)
    try:
        with sae_fast.distributed.session(chunk_size=size):
            step_seconds(widths, CHUNKED, short)
    finally:
        loop.new_trainer = original
    n_chunks = CHUNKED / size
    return {"chunk": min(found["gradient"]) / n_chunks, "update": min(found["update"])}


def step_seconds(widths: list[int], batch: int, short: bool) -> float:
    """Give the seconds of a step of classes with Adam, on one thread."""
    rng = np.random.default_rng(0)
    x, y = rng.random((batch, widths[0]), dtype=np.float32), np.arange(batch) % widths[-1]
    net = sae_fast.StackedAutoencoder(widths[:-1], widths[-1], init="he", n_threads=1)
    every = math.ceil(4e8 / size_of(widths) / batch)
    clock = Clock(every)
    steps = (3 if short else 8) * every
    options = {"learning_rate": 1e-6, "eval_every": 0, "callbacks": [clock]}
    net.finetune(x, y, steps=steps, batch_size=batch, **options)
    return clock.seconds


def timed(function: Callable[[], object], short: bool) -> float:
    """Give the seconds of a call, the fastest."""
    found = []
    for _ in range(5 if short else 25):
        started = time.perf_counter()
        function()
        found.append(time.perf_counter() - started)
    return min(found)


def measure(what: str, short: bool) -> dict[str, Any]:
    """Measure in this process, together with the others that there are."""
    found: dict[str, Any] = {}
    networks = {name: widths for name, widths in NETWORKS.items() if not short or name != "wider"}
    batches = SHORT if short else BATCHES
    if what == "steps":
        for name, widths in networks.items():
            own = [*batches, FEW] if name == ARTICLE else batches
            found[name] = {f"alone {n}": step_seconds(widths, n, short) for n in own}
            for size in SHORT_SIZES if short else CHUNK_SIZES:
                parts = parts_seconds(widths, size, short)
                found[name] |= {f"{part} {size}": seconds for part, seconds in parts.items()}
        to, more = np.zeros(2**22, np.float32), np.ones(2**22, np.float32)
        found["add"] = timed(lambda: accumulate(to, more), short) / len(to)
    with sae_fast.distributed.session() as session:
        if what == "messages":
            other = 1 - session.rank
            for count, size in [
                (1, 4),
                (64, 4),
                *((1, 4**k) for k in range(6, 11 if short else 14)),
            ]:
                sent = [(other, np.zeros(size, np.uint8)) for _ in range(count)]
                received = [(other, np.zeros(size, np.uint8)) for _ in range(count)]
                seconds = timed(lambda s=sent, r=received: session.exchange(s, r, 0), short)
                found[f"{count} {size}"] = seconds
        else:
            for name, widths in networks.items():
                shared = {f"shared {n}": step_seconds(widths, n, short) for n in batches}
                found[name] = found.get(name, {}) | shared
            if what == "pairs":
                found[ARTICLE][f"few {FEW}"] = step_seconds(NETWORKS[ARTICLE], FEW, short)
            found["chunk sizes"] = {str(n): session.chunk_size(n) for n in batches}
    return found if session.rank == 0 else {}


class Model:
    """Seconds of a step: of its chunks, of its update, of messages by number and by bytes."""

    def __init__(self, steps: dict[str, Any], messages: dict[str, float]) -> None:
        self.steps = steps
        self.sizes = [size for size in CHUNK_SIZES if f"chunk {size}" in steps[ARTICLE]]
        self.add = steps["add"]
        self.message = (messages["64 4"] - messages["1 4"]) / 63
        self.exchange = max(0.0, messages["1 4"] - self.message)
        sizes = {int(key[2:]): seconds for key, seconds in messages.items() if key[:2] == "1 "}
        most = max(sizes)
        self.rate = most / (sizes[most] - messages["1 4"])

    def update(self, name: str) -> float:
        """Give the seconds of an update, the fastest of all."""
        return min(self.steps[name][f"update {size}"] for size in self.sizes)

    def seconds(
        self, name: str, batch: int, size: int, n: int, rate: float, latency: float
    ) -> tuple[float, float]:
        """Give those of chunks, the update and sums, and those of messages."""
        n_chunks, n_parameters = -(-batch // size), size_of(NETWORKS[name])
        own = shares(n_chunks, n)
        branches = [len(list(nodes(one.start, one.stop, n_chunks))) for one in own]
        sums = n_parameters * (sum(branches) - 1) / n * self.add
        chunks = max(map(len, own)) * self.steps[name][f"chunk {size}"]
        compute = chunks + self.update(name) + sums
        if n == 1:
            return compute, 0.0
        n_messages = (max(branches) + 1) * (n - 1)
        n_bytes = 4 * n_parameters * n_messages / n
        waits = 2 * self.exchange + n_messages * (self.message + latency)
        return compute, waits + n_bytes / rate


def ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.3g}" if seconds < 0.9995 else f"{1e3 * seconds:,.0f}"


def table(head: str, rows: list[list[str]]) -> str:
    cells = [head.split("|"), ["---"] * (head.count("|") + 1), *rows]
    return "".join(f"| {' | '.join(map(str.strip, row))} |\n" for row in cells)


def report(steps: dict[str, Any], messages: dict[str, float], pairs: dict[str, Any]) -> str:
    """Write the tables."""
    sizes = {int(n): size for n, size in pairs.pop("chunk sizes").items()}
    names, batches = list(pairs), sorted(sizes)
    model = Model(steps, messages)
    widths = {name: "-".join(map(str, NETWORKS[name])) for name in names}
    measured, far = [], []
    for name in names:
        for n in batches:
            two = pairs[name][f"shared {n}"]
            expected = sum(model.seconds(name, n, sizes[n], 2, model.rate, 0))
            far.append(expected / two - 1)
            row = [widths[name], f"{size_of(NETWORKS[name]):,}", f"{n:,}", str(sizes[n])]
            row += [ms(steps[name][f"{how} {n}"]) for how in ("alone", "shared")]
            measured.append([*row, ms(two), ms(expected), f"{far[-1]:+.0%}"])
    chunked = []
    for name in names:
        seconds = [steps[name][f"chunk {size}"] * CHUNKED / size for size in model.sizes]
        chunked.append([widths[name], *map(ms, seconds)])
    costs = [[f"the update, {widths[name]}", f"{ms(model.update(name))} ms"] for name in names]
    costs += [
        ["to add two sums of a parameter", f"{1e9 * model.add:.2f} ns"],
        ["an exchange", f"{1e6 * model.exchange:.1f} µs"],
        ["a message to a process and one from it", f"{1e6 * model.message:.1f} µs"],
        ["bytes between two processes", f"{model.rate / 1e9:.2f} GB/s"],
    ]
    predicted = []
    for name in names:
        alone = steps[name][f"alone {batches[-1]}"] / batches[-1] * BATCH
        for n in PROCESSES:
            how = BATCH, CHUNK_SIZE, n, BYTES_PER_SECOND, LATENCY
            compute, transfer = model.seconds(name, *how)
            gain = alone / (compute + transfer)
            row = [f"{n:,}", ms(compute), ms(transfer), f"{gain:,.1f}", f"{gain / n:.0%}"]
            predicted.append([widths[name], *row])
    few = [ms(steps[ARTICLE][f"alone {FEW}"]), ms(pairs[ARTICLE][f"few {FEW}"])]
    most = max(int(key.split()[1]) for key in messages)
    return "\n".join(
        [
            "Measured: milliseconds a step, one thread a process, and what the model says of two.",
            "",
            table(
                "network | parameters | batch | chunk | no session | 1 process | 2 processes "
                "| the model | off by",
                measured,
            ),
            f"The model is off by {min(far):+.0%} to {max(far):+.0%}. Its constants are the "
            "fastest of what was measured alone, those of",
            f"messages with 4 bytes to {most / 2**20:g} MiB between two processes of this machine:",
            "",
            table("what | cost", costs),
            f"The gradient of {CHUNKED} samples in chunks of so many, milliseconds:",
            "",
            table(" | ".join(["network", *map(str, model.sizes)]), chunked),
            f"Predicted: milliseconds a step, batches of {BATCH:,}, a network of "
            f"{BYTES_PER_SECOND / 1e9:g} GB/s that",
            f"takes {1e6 * LATENCY:g} µs more for each message than one machine, which is assumed.",
            "",
            table(
                "network | processes | compute | messages | times as fast | efficiency", predicted
            ),
            f"Times as fast as one process without a session. A step of {widths[ARTICLE]}, the",
            f"article's network, on {FEW} samples takes {few[0]} ms without a session,",
            f"and {few[1]} ms in two processes of this machine, one thread each.",
            "",
        ]
    )


def main() -> None:
    """Measure in processes that mpiexec starts, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", choices=["steps", "messages", "pairs"], help="in this process")
    parser.add_argument("--mpiexec", default="mpiexec", help="the command that starts processes")
    parser.add_argument("--page", type=Path, help="where the tables go, between markers")
    parser.add_argument("--short", action="store_true", help="a few steps, as CI does")
    options = parser.parse_args()
    if options.measure:
        if found := measure(options.measure, options.short):
            print(json.dumps(found))
        return

    print(describe(facts()), file=sys.stderr)

    def run(n: int, what: str) -> dict[str, Any]:
        command = [*shlex.split(options.mpiexec), "-n", str(n), sys.executable, __file__]
        command += ["--measure", what, *(["--short"] if options.short else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    text = report(run(1, "steps"), run(2, "messages"), run(2, "pairs"))
    print(text)
    if options.page:
        page = options.page.read_text("utf-8")
        before, rest = page.split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        options.page.write_text(f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}", "utf-8")


if __name__ == "__main__":
    main()
