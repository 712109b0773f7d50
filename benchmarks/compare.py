# SPDX-License-Identifier: BSD-3-Clause
"""Time the article's whole experiment in sae_fast and in its peers, turn about on one machine.

Each system is a subprocess that trains the same arms for the same steps, makes the same evaluations
and writes a ``result.json``; its own ``seconds`` is what counts (arrays in memory to finished arms,
compilation not counted). Systems take turns, so that a machine that warms up or is shared treats
all of them alike. Ratios of one such run can be quoted; absolute times belong to the machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PEERS_DIR = Path(__file__).resolve().parent / "peers"
OURS = "sae_fast"


@dataclasses.dataclass
class System:
    """One thing to time: the module it needs, and what to append to the Python it runs in."""

    name: str
    module: str
    command: list[str]  # {out} is a folder of its own for every run


@dataclasses.dataclass
class Run:
    """What one run of one system left."""

    seconds: float
    peak_memory_mb: float
    result: dict


def list_systems(args: argparse.Namespace) -> list[System]:
    """Ours, and every peer there is: a new peer is one more entry here and a file in ``peers/``."""
    common = [
        f"--data-dir={args.data_dir.resolve()}",
        f"--pretrain-steps={args.pretrain_steps}",
        f"--finetune-steps={args.finetune_steps}",
        f"--seed={args.seed}",
        f"--arms={args.arms}",
    ]
    ours = ["-m", "sae_fast", "run", "--offline", "--dataset=mnist", "--quiet", "--output={out}"]
    jax = [str(PEERS_DIR / "jax_article.py"), "--json={out}/result.json"]
    return [
        System(OURS, "sae_fast", [*ours, *common]),
        System("jax", "jax", [*jax, *common]),
        System("jax-side-by-side", "jax", [*jax, "--side-by-side", *common]),
    ]


def has_module(python: str, module: str) -> bool:
    probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    with tempfile.TemporaryDirectory() as elsewhere:
        return subprocess.run([python, "-c", probe], cwd=elsewhere, check=False).returncode == 0


def run_once(python: str, system: System) -> Run:
    """Run a system once in a fresh folder; its standard error is ours."""
    with tempfile.TemporaryDirectory() as out:
        command = [python, *(part.replace("{out}", out) for part in system.command)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=out)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{system.name} failed (exit status {process.returncode}): {command}")
        result = json.loads((Path(out) / "result.json").read_text())
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, KiB on Linux
    return Run(result["seconds"], usage.ru_maxrss / unit, result)


def summarize(runs: dict[str, list[Run]]) -> list[dict]:
    """One row per system; ratios are medians over rounds of (its seconds / ours, same round)."""
    rows = []
    for name, own in runs.items():
        seconds = [run.seconds for run in own]
        row = {
            "system": name,
            "median_seconds": statistics.median(seconds),
            "seconds": seconds,
            "peak_memory_mb": max(run.peak_memory_mb for run in own),
            "final_accuracy": {
                arm: statistics.median(run.result["arms"][arm]["final_accuracy"] for run in own)
                for arm in own[0].result["arms"]
            },
        }
        if OURS in runs:
            row["ratios"] = [s / run.seconds for s, run in zip(seconds, runs[OURS], strict=True)]
            row["median_ratio"] = statistics.median(row["ratios"])
        rows.append(row)
    return rows


def print_table(rows: list[dict], missing: list[System]) -> None:
    arms = list(rows[0]["final_accuracy"]) if rows else []
    heads = ["median s", "min", "max", "ratio", "min", "max", "peak MB", *arms]
    print(f"{'system':<18}" + "".join(f"{head:>12}" for head in heads))
    for row in rows:
        cells = [f"{f(row['seconds']):.2f}" for f in (statistics.median, min, max)]
        ratios = row.get("ratios")
        for f in (statistics.median, min, max):
            cells.append(f"{f(ratios):.2f}" if ratios else "-")
        cells.append(f"{row['peak_memory_mb']:.0f}")
        cells += [f"{100 * accuracy:.2f} %" for accuracy in row["final_accuracy"].values()]
        print(f"{row['system']:<18}" + "".join(f"{cell:>12}" for cell in cells))
    for system in missing:
        print(f"{system.name:<18}missing: its Python has no module {system.module!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of MNIST's IDX files")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pretrain-steps", type=int, default=3000)
    parser.add_argument("--finetune-steps", type=int, default=30000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--arms", default="pretrained,normal")
    parser.add_argument("--only", help="names of the systems to run, with commas between")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="MODULE=PATH",
        help="interpreter that has this module, where it is not the one running this",
    )
    parser.add_argument("--json", type=Path, help="where to write everything measured")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds has to be at least 1, not {args.rounds}")

    systems = list_systems(args)
    if args.only:
        wanted = args.only.split(",")
        unknown = set(wanted) - {system.name for system in systems}
        if unknown:
            parser.error(f"--only: no such system: {', '.join(sorted(unknown))}")
        systems = [system for system in systems if system.name in wanted]
    pythons = dict(entry.split("=", 1) for entry in args.python)

    def python_of(system: System) -> str:
        path = pythons.get(system.module)
        return str(Path(path).absolute()) if path else sys.executable

    missing = [system for system in systems if not has_module(python_of(system), system.module)]
    present = [system for system in systems if system not in missing]
    runs: dict[str, list[Run]] = {system.name: [] for system in present}
    loads = [os.getloadavg()[0]]
    for number in range(1, args.rounds + 1):
        for system in present:
            run = run_once(python_of(system), system)
            runs[system.name].append(run)
            print(f"round {number}: {system.name} {run.seconds:.2f} s", file=sys.stderr)
        loads.append(os.getloadavg()[0])

    rows = summarize(runs)
    print_table(rows, missing)
    if args.json:
        report = {
            "machine": platform.processor() or platform.machine(),
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "load_average": loads,
            "settings": {
                "pretrain_steps": args.pretrain_steps,
                "finetune_steps": args.finetune_steps,
                "arms": args.arms,
                "seed": args.seed,
                "rounds": args.rounds,
            },
            "systems": rows,
            "missing": [system.name for system in missing],
            "environments": {name: own[0].result["environment"] for name, own in runs.items()},
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
