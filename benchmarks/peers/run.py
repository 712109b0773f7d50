# SPDX-License-Identifier: BSD-3-Clause
"""Run one task on one system and write what it measured as JSON.

    python benchmarks/peers/run.py jax experiment --data-dir DIR --json out.json
    python benchmarks/peers/run.py torch step --point 784-1000-1000-1000-10,batch=512

The side-by-side programs start this. The number of threads is put where every framework looks for
it before one is imported.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

SYSTEMS = ("sae_fast", "jax", "torch", "tensorflow", "sklearn")
TASKS = ("experiment", "finetune", "step", "predict", "pair", "sgemm")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "NPROC",  # XLA's
)


def available_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--variant", help="one of the system's ways (default: its first)")
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=os.environ.get("SAE_FAST_DATA_DIR") or None,
        help="folder of MNIST's IDX files (default: $SAE_FAST_DATA_DIR)",
    )
    parser.add_argument("--pretrain-steps", type=int, default=3000, help="of each autoencoder")
    parser.add_argument("--finetune-steps", type=int, default=30000, help="of each arm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=available_cpus())
    parser.add_argument(
        "--point",
        action="append",
        default=[],
        help="network and batch for step and predict, repeatable: "
        "784-100-10,batch=100,density=0.2,data=random (or data=mnist)",
    )
    parser.add_argument("--steps", type=int, help="of a stretch (default: by the point's size)")
    parser.add_argument("--stretches", type=int, default=5, help="timed; the median counts")
    parser.add_argument("--json", type=Path, help="where to write the result (default: print it)")
    parser.add_argument("--short", action="store_true", help="only try whether it runs")
    options = parser.parse_args()
    if options.short:
        vars(options).update(pretrain_steps=100, finetune_steps=100, steps=10, stretches=1)
    for name in ("pretrain_steps", "finetune_steps"):
        if getattr(options, name) < 100 or getattr(options, name) % 100:
            parser.error(
                f"--{name.replace('_', '-')}: a multiple of 100, the steps between evaluations"
            )
    if options.task in ("experiment", "finetune", "pair") and options.data_dir is None:
        parser.error(f"{options.task} needs --data-dir")
    if options.task in ("step", "predict") and not options.point:
        parser.error(f"{options.task} needs at least one --point")
    return options


def main() -> None:
    options = parse()
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(options.threads)
    variants = importlib.import_module(f"{options.system}_peer").VARIANTS
    variant = options.variant or next(iter(variants))
    if variant not in variants:
        sys.exit(f"{options.system} has the variants {', '.join(variants)}, not {variant!r}")
    peer = variants[variant](options.threads)
    try:
        result = getattr(peer, options.task)(options)
    except NotImplementedError:
        sys.exit(f"{options.system} has no task {options.task!r}")
    result |= {
        "system": options.system,
        "variant": variant,
        "version": peer.version,
        "threads": options.threads,
        "python": platform.python_version(),
    }
    text = json.dumps(result, indent=1)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
