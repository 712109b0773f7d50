# SPDX-License-Identifier: BSD-3-Clause
"""Measure a training step beside 0, 1, 2 and 4 busy processes: ours, JAX's and PyTorch's.

A laptop, a shared server or a container has other work to do. Each barrier of a step then waits
for a thread that may not be running; ours, on as many threads as there are processors, should
never take longer than on one. Programs take turns within a round, and every ratio is the median
over rounds of ratios within a round.
Run: python benchmarks/busy.py --data-dir DIR --json busy.json --plot busy.png
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

from peers.run import available_cpus
from peers.shared import SIZES, Point
from systems import OURS, SYSTEMS, RunError, Runner, add_arguments, print_table, run_command

POINTS = {
    "the article's network, MNIST": Point(SIZES, data="mnist"),
    "784-500-250-100-10, dense": Point((784, 500, 250, 100, 10)),
}
BUSY = (0, 1, 2, 4)
ONE_THREAD = "sae_fast, one thread"
COLOURS = {OURS.name: "#0072B2", ONE_THREAD: "#56B4E9", "jax": "#E69F00", "torch": "#009E73"}


# Ends by itself where this program has been killed.
_BUSY = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


@contextlib.contextmanager
def busy_processes(n: int) -> Iterator[None]:
    """Keep n processes busy meanwhile."""
    with contextlib.ExitStack() as stack:
        for _ in range(n):
            process = subprocess.Popen([sys.executable, "-c", _BUSY])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


Found: TypeAlias = dict[str, dict[int, list[list[float]]]]  # by program and busy processes, rounds


def measure(runner: Runner, options: argparse.Namespace) -> Found:
    """Time a step at each point, in microseconds."""
    systems = {system.name: system for system in SYSTEMS}
    programs = {name: (systems[name], options.threads) for name in (OURS.name, "jax", "torch")}
    programs[ONE_THREAD] = OURS, 1
    left = {
        name: program
        for name, program in programs.items()
        if program[0].name not in runner.missing and program[0] in runner.chosen(systems)
    }
    found: Found = {}
    more = [f"--stretches={options.stretches}"]
    more += [f"--point={point}" for point in POINTS.values()]
    for number in range(options.rounds):
        for n in options.busy:
            for name, (system, threads) in left.items():
                runner.loads.append(os.getloadavg()[0])
                with busy_processes(n):
                    try:
                        run = runner.run(system, "step", [f"--threads={threads}", *more])
                    except RunError as error:
                        runner.failed[name] = str(error)
                        continue
                us = [entry["us"] for entry in run["points"]]
                found.setdefault(name, {}).setdefault(n, []).append(us)
                shown = ", ".join(f"{one:.0f}" for one in us)
                print(f"round {number + 1}, {n} busy: {name} {shown} µs", file=sys.stderr)
    return found


def ratios(found: Found, name: str, over: str, n: int, at: int) -> list[float]:
    """Divide the times of one program by those of another, round by round."""
    pairs = zip(found.get(name, {}).get(n, []), found.get(over, {}).get(n, []), strict=False)
    return [mine[at] / others[at] for mine, others in pairs]


def spread(values: list[float]) -> str:
    if not values:
        return ""
    median = f"{statistics.median(values):.2f}"
    return median if len(values) == 1 else f"{median} ({min(values):.2f} to {max(values):.2f})"


def print_report(found: dict, options: argparse.Namespace) -> None:
    for at, label in enumerate(POINTS):
        rows = []
        for n in options.busy:
            times = [
                f"{statistics.median(us[at] for us in own[n]):.0f}" if n in own else ""
                for own in found.values()
            ]
            others = [spread(ratios(found, name, OURS.name, n, at)) for name in ("jax", "torch")]
            rows.append(
                [str(n), *times, spread(ratios(found, OURS.name, ONE_THREAD, n, at)), *others]
            )
        head = ["busy", *(f"{name}, µs" for name in found)]
        head += [f"{options.threads} threads over one", "jax over ours", "torch over ours"]
        print_table(f"A training step beside busy processes: {label}", head, rows)


def draw(found: dict, options: argparse.Namespace, path: Path) -> None:
    """Draw the time of a step against the number of busy processes, a panel for each network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    for at, (label, ax) in enumerate(zip(POINTS, figure.subplots(1, len(POINTS)), strict=True)):
        for name, own in found.items():
            medians = [statistics.median(us[at] for us in own[n]) for n in own]
            ax.plot(list(own), medians, marker="o", markersize=4, color=COLOURS[name], label=name)
        ax.set_title(label, fontsize=10, loc="left")
        ax.set_xlabel("busy processes beside it")
        ax.set_ylabel("a training step, µs")
        ax.set_xticks(options.busy)
        ax.set_yscale("log")
        ax.grid(alpha=0.3, which="both", linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=120)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--threads", type=int, default=available_cpus(), help="most to use")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--stretches", type=int, default=15, help="of a run; the median counts")
    options = parser.parse_args()
    options.busy = BUSY[:2] if options.short else BUSY
    if options.short:
        options.rounds, options.stretches = 1, 1
    return options


def main() -> None:
    options = parse()
    runner = Runner(options)
    found = measure(runner, options)
    print_report(found, options)
    runner.print_absences()
    if options.json:
        points = {name: str(point) for name, point in POINTS.items()}
        report = {"machine": runner.machine, "points": points, "us": found}
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.plot and found:
        draw(found, options, options.plot)


if __name__ == "__main__":
    run_command(main)
