# SPDX-License-Identifier: BSD-3-Clause
"""One run of a study: how it is computed, what it leaves, and the file that keeps it.

A run is a document of plain types wherever it is: in a worker, on its way, in its file. A file is
known by all that its run depends on, data included, so that nothing is computed twice and nothing
is taken for what it is not.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import re
import time
from pathlib import Path
from typing import Any

from ...base.checks import check_float, check_int
from ...base.files import read_file, write_file
from ...base.text import shown
from ...core.environment import info
from ...datasets import Dataset
from ...errors import DataError, DivergenceError
from ..arms import prepare_inputs, train_arm
from ..results import SCHEMA, ArmResult, chance_of, how_collapsed, plain
from ..settings import NetworkSettings, RunSettings, options, written
from .executors import EndsWithStudy
from .grid import Task

FOLDER = "runs"
_COMMAND = "study run"
_MOST_NAMED = 80  # characters of a file's name that say what differs from the defaults
_ABOUT = ("version", "isa", "blas", "python", "platform", "cpu")  # of a run's environment


@dataclasses.dataclass(frozen=True)
class Run:
    """What came of one run.

    Attributes
    ----------
    arm : str
    seed : int
    settings : dict
        What the grid gave it.
    curve : ArmResult or None
        Its fine-tuning; None if it diverged.
    collapse : str or None
        How it collapsed.
    divergence : str or None
        How it diverged: there is no network then.
    chance : float
        Accuracy of naming the most frequent class of the test set every time.
    seconds : float
        Of all its trainings, on one thread.
    version : str
        Of sae_fast.
    """

    arm: str
    seed: int
    settings: dict[str, Any]
    curve: ArmResult | None
    collapse: str | None
    divergence: str | None
    chance: float
    seconds: float
    version: str

    @property
    def accuracy(self) -> float:
        """Final accuracy on the test set; a run that diverged is as good as a guess."""
        return self.curve.final_accuracy if self.curve else self.chance

    @property
    def steps_to_90(self) -> float:
        """First step with an accuracy of 0.9; infinite if there is none."""
        at = self.curve.first_step_at_90 if self.curve else None
        return math.inf if at is None else at

    @property
    def collapsed(self) -> bool:
        """Whether the run came to nothing, by collapsing or diverging."""
        return bool(self.collapse or self.divergence)

    @property
    def dead_units(self) -> list[int]:
        """Per hidden layer: units that are dead on the test set; none of a run that diverged."""
        return self.curve.dead_units if self.curve else []

    def to_dict(self) -> dict[str, Any]:
        """Return what ``study.json`` says of it."""
        return {
            "arm": self.arm,
            "seed": self.seed,
            "settings": self.settings,
            "final_accuracy": self.curve.final_accuracy if self.curve else None,
            "steps_to_90": self.curve.first_step_at_90 if self.curve else None,
            "collapsed": self.collapsed,
            "how": self.collapse or self.divergence,
            "diverged": self.divergence is not None,
            "dead_units": self.dead_units,
            "seconds": self.seconds,
        }


@dataclasses.dataclass
class Context:
    """What every run needs: the data, in memory once for all runs of a process."""

    data: Dataset

    @functools.cached_property
    def inputs(self) -> tuple[Any, Any]:
        """The samples as the core reads them."""
        return prepare_inputs(self.data, 1)

    @functools.cached_property
    def chance(self) -> float:
        """Accuracy of naming the most frequent class of the test set every time."""
        return chance_of(self.data.y_test)

    def __getstate__(self) -> dict[str, Any]:
        """Travel without what each process makes itself."""
        return {"data": self.data}


@functools.cache
def environment() -> dict[str, Any]:
    """Return what a run's file says of where it was computed."""
    facts = info()
    return {name: facts[name] for name in _ABOUT}


def compute_run(context: Context, task: Task) -> dict[str, Any]:
    """Compute a run, on one thread, and return its document."""
    [arm], data = task.settings.arms, context.data
    found: dict[str, Any] = {"result": None, "pretraining": [], "tuning": None, "divergence": None}
    how, started = None, time.perf_counter()
    try:
        outcome = train_arm(
            arm, task.settings, data, threads=1, inputs=context.inputs, callbacks=[EndsWithStudy()]
        )
    except DivergenceError as error:
        found["divergence"] = " ".join(str(error).split())
    else:
        how = how_collapsed(outcome.arm, task.settings.hidden, context.chance)
        found["result"] = vars(outcome.arm)
        found["pretraining"] = [vars(layer) for layer in outcome.pretraining]
        found["tuning"] = vars(outcome.tuning) if outcome.tuning else None
    document: dict[str, Any] = plain(
        {
            "schema": SCHEMA,
            "command": _COMMAND,
            "arm": arm,
            "seed": task.seed,
            "config": task.identity,
            "data": data.sha256,
            **found,
            "collapse": how,
            "chance": context.chance,
            "seconds": time.perf_counter() - started,
            "environment": environment(),
        }
    )
    return document


def run_of(task: Task, document: Any, data: Dataset) -> Run:
    """Read a run's document; DataError if it is not that of this task and these data."""
    expected = {
        "schema": SCHEMA,
        "command": _COMMAND,
        "config": plain(task.identity),
        "data": data.sha256,
    }
    try:
        others = [name for name, value in expected.items() if document[name] != value]
        run = None if others else _checked(task, document, data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"damaged ({type(error).__name__}: {error})") from error
    if run is None:
        raise DataError(f"of a run with other {others[0]}")
    return run


def _checked(task: Task, document: dict[str, Any], data: Dataset) -> Run:
    """Return the run of a document of this task; an error if it says what cannot be."""
    result, divergence = document["result"], document["divergence"]
    curve = None if result is None else _curve_of(result, task.settings)
    if not (divergence is None if curve else isinstance(divergence, str)):
        raise DataError(f"divergence: got {shown(divergence)}, expected it or else a result")
    chance = chance_of(data.y_test)
    collapse = how_collapsed(curve, task.settings.hidden, chance) if curve else None
    for name, derived in {"chance": chance, "collapse": collapse}.items():
        if document[name] != derived or isinstance(document[name], bool):
            raise DataError(f"{name}: expected {derived!r}, got {shown(document[name])}")
    return Run(
        task.variant.arm,
        task.seed,
        plain(dict(task.variant.settings)),
        curve,
        collapse,
        divergence,
        chance,
        _number("seconds", document["seconds"]),
        str(document["environment"]["version"]),
    )


def _curve_of(result: dict[str, Any], settings: RunSettings) -> ArmResult:
    """Return a fine-tuning as a document has it; an error if it is not one with these settings.

    A loss is NaN where JSON had nothing.
    """
    curve, last = ArmResult(**result), settings.finetune_steps
    steps = [check_int("steps", step, 1, last) for step in curve.steps]
    losses = [math.nan if one is None else _number("test_loss", one) for one in curve.test_loss]
    accuracies = [_number("test_accuracy", one, 1) for one in curve.test_accuracy]
    if steps != sorted(set(steps)) or steps[-1:] != [last]:
        raise DataError(f"steps: expected one after another up to {last:,}, got {shown(steps)}")
    if not len(steps) == len(losses) == len(accuracies):
        raise DataError(
            f"steps: expected a loss and an accuracy for each of {len(steps):,}, got "
            f"{len(losses):,} and {len(accuracies):,}"
        )
    units = settings.hidden
    if len(curve.dead_units) != len(units):
        raise DataError(
            f"dead_units: expected a number for each of {len(units)} hidden layers, got "
            f"{shown(curve.dead_units)}"
        )
    dead = [check_int("dead_units", n, 0, m) for n, m in zip(curve.dead_units, units, strict=True)]
    return ArmResult(steps, losses, accuracies, dead, _number("seconds", curve.seconds))


def _number(name: str, value: object, most: float = math.inf) -> float:
    """Return a finite number from 0 to `most`, which JSON's other values are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{name}: expected a number, got {shown(value)}")
    number = check_float(name, value, positive=False)
    if number > most:
        raise DataError(f"{name}: expected at most {most:g}, got {shown(value)}")
    return number


def file_of(folder: Path, task: Task, data: Dataset) -> Path:
    """Name the file of a run: arm, seed, what differs from the defaults, and a digest of all."""
    identity = json.dumps([task.identity, data.sha256], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    defaults = _defaults()
    changed = (
        f"{name}={written(value)}"
        for name, value in task.identity.items()
        if name in defaults and value != defaults[name]
    )
    words = re.sub(
        r"[^\w=.,+-]", "_", "-".join([f"{task.variant.arm}-seed{task.seed:04}", *changed])
    )
    return folder / FOLDER / f"{words[:_MOST_NAMED]}-{digest}.json"


@functools.cache
def _defaults() -> dict[str, Any]:
    """Return what a file's name leaves out: the defaults of settings that a grid may have."""
    named = {option.name for option in options(NetworkSettings)} - {"arms", "seed"}
    found = NetworkSettings(threads=1).config()
    return {name: value for name, value in found.items() if name in named} | {"batch_size": 100}


def read_run(path: Path, task: Task, data: Dataset) -> Run | None:
    """Read a run from its file; None if there is none, DataError if it is not what it should be."""
    try:
        text = read_file(path)
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"damaged ({type(error).__name__}: {error})") from error
    return run_of(task, document, data)


def write_run(path: Path, document: dict[str, Any]) -> None:
    """Write a run's file, whole or not at all."""
    write_file(path, (json.dumps(document, allow_nan=False) + "\n").encode())


def clear_leftovers(folder: Path) -> None:
    """Remove what processes that were killed have left of writing runs, once all are there."""
    for path in (folder / FOLDER).glob(".*.tmp"):
        path.unlink(missing_ok=True)
