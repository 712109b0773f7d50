# SPDX-License-Identifier: BSD-3-Clause
"""What tests of executors have computed: functions that a worker in another process can import."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from sae_fast import run_study
from sae_fast.datasets import Dataset, load_strokes
from sae_fast.experiment.arms import train_arm
from sae_fast.experiment.settings import RunSettings
from sae_fast.experiment.studies.executors import EndsWithStudy


@dataclasses.dataclass(frozen=True)
class Context:
    """What runs have in common."""

    settings: RunSettings
    data: Dataset
    folder: Path  # where runs leave marks


def tiny_context(folder: Path, steps: int = 20) -> Context:
    settings = RunSettings(
        dataset="strokes", hidden=(9, 6), pretrain_steps=steps, finetune_steps=steps, batch_size=20
    )
    return Context(settings, load_strokes(200, 50, dtype="uint8"), folder)


def study_of(executor: str, **options: Any) -> list:
    """Give what a study of 8 seeds finds through an executor, to the last bit."""
    found = run_study(
        dataset=load_strokes(200, 50, dtype="uint8"),
        arms=["pretrained"],
        seeds=8,
        hidden=[9, 6],
        pretrain_steps=20,
        finetune_steps=20,
        batch_size=20,
        eval_every=5,
        executor=executor,
        quiet=True,
        **options,
    )
    return [
        [run.seed, run.curve.test_loss, run.curve.test_accuracy, run.dead_units]
        for run in found.runs
    ]


def mark(folder: Path, name: str) -> bool:
    """Leave a mark; say whether it is the first of this name."""
    number = 1
    while True:
        try:
            os.close(os.open(folder / f"{name}.{number}", os.O_CREAT | os.O_EXCL))
            return number == 1
        except FileExistsError:
            number += 1


def marks(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}.*")))


def train(context: Context, task: tuple[str, int]) -> tuple[str, float]:
    """Train an arm with a seed; return a digest of its parameters, and its accuracy."""
    arm, seed = task
    settings = dataclasses.replace(context.settings, seed=seed)
    outcome = train_arm(arm, settings, context.data, threads=1, callbacks=[EndsWithStudy()])
    digest = hashlib.sha256()
    for name, value in outcome.model.parameters.items():
        digest.update(name.encode() + value.tobytes())
    mark(context.folder, f"trained-{arm}-{seed}")
    return digest.hexdigest(), outcome.arm.final_accuracy


def train_and_die_once(context: Context, task: tuple[str, int]) -> tuple[str, float]:
    """Do what `train` does, slowly, but where seed 0 is first tried, the worker dies."""
    time.sleep(0.1)
    if task[1] == 0 and mark(context.folder, "death"):
        os.kill(os.getpid(), signal.SIGKILL)
    return train(context, task)


def obey(context: Path, task: str) -> Any:
    """Do as a task says, and leave a mark of its name."""
    mark(context, task)
    if task == "die":
        os._exit(9)
    if task == "raise":
        raise ArithmeticError("a loss is NaN")
    time.sleep(0.01)
    return task.upper()


def train_for_ever(context: Context, task: tuple[str, int] | None) -> Any:
    """Begin what would take days; None: wait until another has."""
    if task is None:
        while not marks(context.folder, "begun"):
            time.sleep(0.01)
        return None
    mark(context.folder, "begun")
    try:
        return train(context, task)
    except CancelledError:
        mark(context.folder, "ended")
        raise
