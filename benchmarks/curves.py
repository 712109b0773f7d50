# SPDX-License-Identifier: BSD-3-Clause
"""Draw how a training step's time grows with width, batch, input density and threads.

Ours beside PyTorch and JAX, each with the machine's roofline: no step takes less than its
operations at the measured arithmetic rate, or its bytes at the measured memory bandwidth. One
process per system and curve trains at all of the curve's points; systems take turns within a curve.
Run: python benchmarks/curves.py --data-dir DIR --json curves.json --plot curves.png
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from peers.run import available_cpus
from peers.shared import BATCH, SIZES, Point, seconds_of
from sae_fast import _core
from systems import OURS, Runner, add_arguments, print_table, run_command

COMPARED = (OURS.name, "jax", "torch")  # the compiled PyTorch takes 10 s for each new shape
COLOURS = {OURS.name: "#0072B2", "jax": "#E69F00", "torch": "#009E73"}  # Okabe and Ito's
MARKERS = {OURS.name: "o", "jax": "s", "torch": "^"}

ADAM_FLOPS = 10  # for a weight: two moments, root, quotient, difference
ARTICLE = Point(SIZES, data="mnist")
WIDE = Point((784, 1000, 1000, 1000, 10))


@dataclasses.dataclass(frozen=True)
class Curve:
    """A series of points along one axis."""

    panel: str
    label: str
    values: Sequence[float]
    points: Sequence[Point]
    threads: Sequence[int]  # of each point

    @classmethod
    def of(cls, panel: str, label: str, values: Sequence, point: Callable, threads: int) -> Curve:
        return cls(panel, label, values, [point(v) for v in values], [threads] * len(values))

    @classmethod
    def of_threads(cls, label: str, point: Point, n: int) -> Curve:
        counts = range(1, n + 1)
        return cls("threads", label, list(counts), [point] * n, list(counts))


def list_curves(n_points: int | None, n_threads: int) -> list[Curve]:
    """Return the curves, each with its first `n_points` (all by default)."""

    def powers_of_2(first: int, last: int) -> list[int]:
        return [2**e for e in range(first, last + 1)][:n_points]

    return [
        Curve.of(
            "width",
            "784-W-W-10, dense input, batch 100",
            powers_of_2(4, 12),
            lambda width: Point((784, width, width, 10)),
            n_threads,
        ),
        Curve.of(
            "batch",
            "the article's network, MNIST",
            powers_of_2(0, 12),
            lambda batch: dataclasses.replace(ARTICLE, batch=batch),
            n_threads,
        ),
        Curve.of(
            "density of the input",
            f"the article's network, batch {BATCH}",
            [0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0][:n_points],
            lambda density: Point(SIZES, density=density),
            n_threads,
        ),
        Curve.of_threads("the article's network, MNIST", ARTICLE, n_threads),
        Curve.of_threads("784-1000-1000-1000-10, dense", WIDE, n_threads),
    ]


# The machine


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a number of threads can do at best."""

    gflops: float
    gbytes: float  # a second
    cache_bytes: float  # of the last level

    def roofline(self, point: Point, density: float = 1.0) -> float:
        """Return the least microseconds of a step that reads this share of its input.

        Parameters and both moments come and go as far as the cache cannot hold them; of the input
        a batch is read once, of a sparse one value and index of the non-zeros.
        """
        flops = point.flops(density) + ADAM_FLOPS * point.n_weights
        state = 12 * point.n_weights
        input_bytes = point.batch * point.sizes[0] * (4 if density == 1 else 8 * density)
        moved = input_bytes + 2 * max(0, state - self.cache_bytes)
        return max(flops / self.gflops, moved / self.gbytes) / 1e3


def measure_machine(threads: int) -> Machine:
    return Machine(arithmetic_rate(threads), memory_bandwidth(threads), last_cache_bytes())


def arithmetic_rate(threads: int) -> float:
    """GFLOP/s of multiply-adds in registers, on each thread at once."""
    kernels, isa = _core.kernels_float32, _core.build_config()["isa"]
    rounds = 1 << 23
    with ThreadPoolExecutor(threads) as pool:

        def run() -> int:
            return sum(pool.map(kernels.multiply_adds, [isa] * threads, [rounds] * threads))

        return run() / min(seconds_of(run) for _ in range(10)) / 1e9


def memory_bandwidth(threads: int) -> float:
    """GB/s of c = a + b in slices far larger than a cache, c read before it is written."""
    n = 1 << 24
    slices = [[np.ones(n, np.float32) for _ in range(3)] for _ in range(threads)]

    def add(arrays: list[np.ndarray]) -> None:
        np.add(arrays[0], arrays[1], out=arrays[2])

    with ThreadPoolExecutor(threads) as pool:
        seconds = min(seconds_of(lambda: list(pool.map(add, slices))) for _ in range(10))
    return threads * 16 * n / seconds / 1e9


def last_cache_bytes() -> float:
    """Size of the last-level cache as Linux gives it, else 32 MiB."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    kib = [int(path.read_text().strip().removesuffix("K")) for path in sizes]
    return 1024 * max(kib, default=32 * 1024)


# Measuring


def measure_curve(runner: Runner, curve: Curve) -> dict[str, list[float]]:
    """Time of a step in µs by system, at each point of the curve."""
    times: dict[str, list[float]] = {}
    for threads in sorted(set(curve.threads)):
        points = [p for p, t in zip(curve.points, curve.threads, strict=True) if t == threads]
        arguments = [f"--threads={threads}", *(f"--point={point}" for point in points)]
        results = runner.take_turns(
            "step",
            COMPARED,
            1,
            lambda number, arguments=arguments: arguments,
            lambda result, curve=curve: f"{curve.panel}: {len(result['points'])} points",
        )
        for name, [run] in results.items():
            times.setdefault(name, []).extend(entry["us"] for entry in run["points"])
    return {name: own for name, own in times.items() if len(own) == len(curve.points)}


def rooflines(curve: Curve, machines: dict[int, Machine]) -> dict[str, list[float]]:
    """Return the machine's limits along a curve, computed densely and from the non-zeros alone."""
    pairs = [(machines[t], p) for p, t in zip(curve.points, curve.threads, strict=True)]
    lines = {"roofline, dense": [machine.roofline(point) for machine, point in pairs]}
    if any(point.share_of_nonzeros < 1 for point in curve.points):
        lines["roofline, non-zeros"] = [m.roofline(p, p.share_of_nonzeros) for m, p in pairs]
    return lines


# Report


def print_curve(curve: Curve, times: dict[str, list[float]], roofs: dict[str, list[float]]) -> None:
    """Print a curve's times, and who is fastest where it is not us."""
    columns = {**times, **roofs}
    rows = []
    for index, value in enumerate(curve.values):
        measured = {name: own[index] for name, own in times.items()}
        first = min(measured, key=measured.get) if measured else ""
        ahead = (
            f"{first}, {measured[OURS.name] / measured[first]:.2f} x"
            if (OURS.name in measured and first != OURS.name)
            else ""
        )
        rows.append([f"{value:g}", *(f"{own[index]:.1f}" for own in columns.values()), ahead])
    head = [curve.panel, *columns, "peer ahead"]
    print_table(f"A training step in µs: {curve.label}", head, rows)


def draw(curves: Sequence[Curve], times: list[dict], roofs: list[dict], path: Path) -> None:
    """Draw a panel for each axis; where two curves share one, the second is broken."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve.panel for curve in curves))
    figure = Figure(figsize=(11, 8), layout="constrained")
    axes = dict(zip(panels, figure.subplots(2, 2).flat, strict=True))
    for curve, own_times, own_roofs in zip(curves, times, roofs, strict=True):
        ax = axes[curve.panel]
        draw_curve(ax, curve, own_times, own_roofs, second=bool(ax.lines))
    for panel, ax in axes.items():
        labels = [curve.label for curve in curves if curve.panel == panel]
        styles = ["", " (broken lines)"]
        title = "\n".join(map("".join, zip(labels, styles, strict=False)))
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_xlabel(panel)
        ax.set_ylabel("a training step, µs")
        ax.set_yscale("log")
        ax.grid(alpha=0.3, which="both", linewidth=0.5)
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes["batch"].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(path, dpi=150)


def draw_curve(ax, curve: Curve, times: dict, roofs: dict, second: bool) -> None:
    for name, own in times.items():
        ax.plot(
            curve.values,
            own,
            color=COLOURS[name],
            marker=MARKERS[name],
            markersize=4,
            linestyle="--" if second else "-",
            label=name,
        )
    for (name, own), shade in zip(roofs.items(), ("0.25", "0.6"), strict=False):
        ax.plot(curve.values, own, color=shade, linestyle=":", linewidth=1.5, label=name)
    if curve.panel == "threads":
        ax.set_xticks(curve.values)
    else:
        ax.set_xscale("log", base=10 if "density" in curve.panel else 2)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--threads", type=int, default=available_cpus(), help="most to use")
    return parser.parse_args()


def main() -> None:
    options = parse()
    runner = Runner(options)
    curves = list_curves(2 if options.short else None, options.threads)
    counts = sorted({threads for curve in curves for threads in curve.threads})
    machines = {threads: measure_machine(threads) for threads in counts}
    times = [measure_curve(runner, curve) for curve in curves]
    roofs = [rooflines(curve, machines) for curve in curves]
    for threads, machine in machines.items():
        print(f"{threads} threads: {machine.gflops:.0f} GFLOP/s, {machine.gbytes:.0f} GB/s")
    for curve, own_times, own_roofs in zip(curves, times, roofs, strict=True):
        print_curve(curve, own_times, own_roofs)
    runner.print_absences()
    if options.json:
        report = {
            "machine": runner.machine,
            "rates": {t: dataclasses.asdict(machine) for t, machine in machines.items()},
            "curves": [
                {
                    "axis": curve.panel,
                    "label": curve.label,
                    "values": list(curve.values),
                    "points": list(map(str, curve.points)),
                    "us": own_times,
                    "rooflines_us": own_roofs,
                }
                for curve, own_times, own_roofs in zip(curves, times, roofs, strict=True)
            ],
            "missing": runner.missing,
            "left_out": runner.left_out,
            "failed": runner.failed,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.plot:
        draw(curves, times, roofs, options.plot)


if __name__ == "__main__":
    run_command(main)
