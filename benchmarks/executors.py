# SPDX-License-Identifier: BSD-3-Clause
"""What a run costs beside its own time, through each executor of a study and through others' tools.

Two kinds of runs: one that waits for a known time, so that all else is overhead, and a training of
about that time, of which k at a time should be k times as fast as one.
Run: python benchmarks/executors.py --runs 10000 [--data-dir DIR] [--json FILE]; MPI's row comes
from mpiexec -n 3 python -m mpi4py.futures benchmarks/executors.py --only mpi
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import sae_fast
from machine import describe, facts
from sae_fast.experiment.arms import prepare_inputs, train_arm
from sae_fast.experiment.settings import RunSettings
from sae_fast.experiment.studies.executors import Failure, run_tasks

CALIBRATION = 200  # steps
MOST_RAY = 50  # trials of Ray Tune, which starts a process for each


@dataclasses.dataclass
class Context:
    """What all runs need."""

    seconds: float
    settings: RunSettings
    data: sae_fast.datasets.Dataset
    inputs: Any = None  # of this process

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "inputs": None}


def wait(context: Context, _: int) -> float:
    time.sleep(context.seconds)
    return context.seconds


def train(context: Context, seed: int) -> float:
    """Train the article's network without pretraining; return what was computed in ms."""
    started = time.perf_counter()
    if context.inputs is None:
        context.inputs = prepare_inputs(context.data, 1)
    settings = dataclasses.replace(context.settings, seed=seed)
    train_arm("he", settings, context.data, threads=1, inputs=context.inputs)
    return time.perf_counter() - started


WORK = {"wait": wait, "train": train}

# Ways to have `n` runs of a kind done by `k` workers


def through(executor: str) -> Callable[..., Iterator[float]]:
    def run(context: Context, kind: str, n: int, k: int) -> Iterator[float]:
        for _, outcome in run_tasks(range(n), WORK[kind], context, executor=executor, workers=k):
            if isinstance(outcome, Failure):
                raise RuntimeError(outcome.error)
            yield outcome

    return run


def dask(context: Context, kind: str, n: int, k: int) -> Iterator[float]:
    """Through k worker processes, and a scheduler in this one."""
    import distributed

    options = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.ERROR}
    with (
        distributed.LocalCluster(n_workers=k, **options) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.wait_for_workers(k)
        yield from through("dask")(context, kind, n, k)


def joblib(backend: str) -> Callable[..., Iterable[float]]:
    def run(context: Context, kind: str, n: int, k: int) -> Iterable[float]:
        from joblib import Parallel, delayed

        return Parallel(k, backend=backend, return_as="generator_unordered")(
            delayed(WORK[kind])(context, index) for index in range(n)
        )

    return run


def ray(context: Context, kind: str, n: int, k: int) -> Iterator[float]:
    from ray import init, shutdown, tune

    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    init(num_cpus=k, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    try:
        work = tune.with_parameters(
            lambda config, context: {"found": WORK[kind](context, config["index"])},
            context=context,
        )
        space = {"index": tune.grid_search(list(range(min(n, MOST_RAY))))}
        quiet = tune.RunConfig(verbose=0)
        for result in tune.Tuner(work, param_space=space, run_config=quiet).fit():
            yield result.metrics["found"]
    finally:
        shutdown()


@dataclasses.dataclass(frozen=True)
class Way:
    """An executor of ours, or a tool of others, and what it needs."""

    run: Callable[[Context, str, int, int], Iterable[float]]
    needs: str = "sae_fast"
    by_default: bool = True


WAYS = {
    "threads": Way(through("threads")),
    "processes": Way(through("processes")),
    "dask": Way(dask, "distributed"),
    "mpi": Way(through("mpi"), "mpi4py", by_default=False),
    "joblib, threads": Way(joblib("threading"), "joblib"),
    "joblib, processes": Way(joblib("loky"), "joblib"),
    "Ray Tune": Way(ray, "ray", by_default=False),  # minutes
}


def calibrated(context: Context) -> Context:
    """Choose the steps with which a training takes about `seconds`."""

    def took(steps: int) -> float:
        changed = dataclasses.replace(
            context, settings=dataclasses.replace(context.settings, finetune_steps=steps)
        )
        return min(train(changed, seed) for seed in range(3))

    none, many = took(1), took(CALIBRATION)
    steps = max(1, round((context.seconds - none) / ((many - none) / CALIBRATION)))
    settings = dataclasses.replace(context.settings, finetune_steps=steps)
    return dataclasses.replace(context, settings=settings)


def measure(way: Way, context: Context, kind: str, n: int, k: int) -> dict[str, float]:
    """Give runs done, seconds until the first outcome and until the last, and of runs alone."""
    started = time.perf_counter()
    first, found = None, []
    for outcome in way.run(context, kind, n, k):
        first = first or time.perf_counter() - started
        found.append(outcome)
    seconds = time.perf_counter() - started
    assert first is not None
    return {"runs": len(found), "first": first, "seconds": seconds, "work": sum(found)}


def row(name: str, waited: dict, trained: dict, alone: dict, k: int) -> str:
    """Write a line of the table."""
    n, own = waited["runs"], waited["work"] / waited["runs"]
    whole = k * waited["seconds"] / n - own
    later = n - k  # runs that begin once the first have ended
    steady = k * (waited["seconds"] - waited["first"]) / later - own
    rate, one = (found["runs"] / found["seconds"] for found in (trained, alone))
    cells = [
        name,
        f"{n:,}",
        f"{1000 * whole:.2f}",
        f"{1000 * steady:.2f}" if waited["first"] < waited["seconds"] / 2 else "",
        f"{waited['first'] - own:.2f}",
        f"{rate:.2f}",
        f"{rate / one / k:.3f}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = """| executor | runs | ms beside a run's own | once started | s until the first \
| trainings a second | of k times one at a time |
|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000, help="default: %(default)s")
    parser.add_argument("--trainings", type=int, default=400, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.1, help="of a run; default: %(default)s")
    parser.add_argument("--workers", type=int, default=sae_fast.info()["threads"])
    parser.add_argument("--only", help="of: " + ", ".join(WAYS) + "; separated by semicolons")
    parser.add_argument("--dataset", choices=["mnist", "strokes"], default="strokes")
    parser.add_argument("--data-dir", help="folder of MNIST's files")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--short", action="store_true", help="only try whether it runs")
    options = parser.parse_args()
    if options.short:
        options.runs, options.trainings, options.seconds = 20, 8, 0.02
    if options.dataset == "mnist":
        data = sae_fast.datasets.load("mnist", options.data_dir, offline=True)
    else:
        n_train, n_test = (2000, 500) if options.short else (55_000, 10_000)
        data = sae_fast.datasets.load_strokes(n_train, n_test, dtype="uint8")
    settings = RunSettings(dataset=options.dataset, threads=1, eval_every=0)
    context = calibrated(Context(options.seconds, settings, data))
    k = options.workers
    print(describe(facts()))
    print(f"{k} workers; a training has {context.settings.finetune_steps} steps\n\n{HEAD}")
    found = {}
    alone = measure(WAYS["threads"], context, "train", max(4, options.trainings // k), 1)
    asked = (
        options.only.split(";") if options.only else [n for n, w in WAYS.items() if w.by_default]
    )
    for name in asked:
        way = WAYS[name.strip()]
        if importlib.util.find_spec(way.needs) is None:
            print(f"left out: {name} ({way.needs} is not installed)", file=sys.stderr)
            continue
        waited = measure(way, context, "wait", options.runs, k)
        trained = measure(way, context, "train", options.trainings, k)
        found[name] = {"waited": waited, "trained": trained}
        print(row(name, waited, trained, alone, k), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"workers": k, "alone": alone, "found": found}))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
