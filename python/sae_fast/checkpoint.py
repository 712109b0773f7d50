# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of a run: from one, the run goes on and ends with the same bits as without a break.

A run is a row of trainings, each with a title of its own. What is kept of each is its model's
parameters, Adam's moments, its step and its history; initial draws, shuffles and codes follow from
the seed. So a resumed run repeats everything but steps, and those only where they were not taken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .arrays_file import read_arrays
from .callbacks import Callback, Training
from .errors import CheckpointError, DivergenceError
from .files import create_anew
from .results import History

FORMAT = 1
_MOST_STEPS = 2**53  # the core counts them in float64 too
NAME, PREVIOUS = "checkpoint.safetensors", "checkpoint-previous.safetensors"


class RunCheckpoint(Callback):
    """Writes a run's state every so many steps of each training, and takes it up again.

    Parameters
    ----------
    folder : Path
        Where the files are: the latest and the one before it.
    run : mapping
        What makes results what they are: settings and data. A checkpoint of another run is refused.
    every : int
        Steps between two files; 0: none is written.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], every: int) -> None:
        self.every = every or None
        self._folder = folder
        self._run = dict(run)
        self._lock = threading.Lock()  # trainings side by side share this callback
        self._trainings: dict[str, dict[str, Any]] = {}  # by title: step, history, ...
        self._arrays: dict[str, dict[str, Any]] = {}  # by title: parameters and moments

    def load(self) -> None:
        """Read the latest checkpoint, or the one before if that is damaged.

        Raises
        ------
        CheckpointError
            If there is none, none is whole, or it is of another run.
        """
        reasons = []
        for name in (NAME, PREVIOUS):
            try:
                self._read(self._folder / name)
            except FileNotFoundError:
                reasons.append(f"no {name}")
            except _DamagedError as error:
                reasons.append(f"{name} is damaged: {error}")
            else:
                return
        raise CheckpointError(
            f"resume: expected a checkpoint in {self._folder}, got {'; '.join(reasons)}"
        )

    def _read(self, path: Path) -> None:
        run, self._trainings, self._arrays = read_checkpoint(path.read_bytes(), str(path))
        _check_same(path, run, self._run)

    def on_start(self, training: Training) -> None:
        """Put the training where its checkpoint was taken, if there is one."""
        kept = self._trainings.get(training.title)
        if kept is None:
            return
        arrays = dict(self._arrays.get(training.title, {}))
        try:
            moments = arrays.pop("m"), arrays.pop("v")
            training.model.parameters = arrays
            training.model._moments.set_state(*moments, kept["steps_done"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"resume: expected the arrays of {training.title!r}, got {error}"
            ) from error
        if kept["step"] > training.n_steps:
            raise CheckpointError(
                f"resume: expected at most {training.n_steps} steps of {training.title!r}, "
                f"got {kept['step']}"
            )
        training.step = kept["step"]
        training.history = History(**kept["history"])

    def on_step(self, training: Training) -> None:
        """Write, if it is time to."""
        if self.every is not None:
            self._write(training)

    def on_stop(self, training: Training) -> None:
        """Write what is new, unless it diverged."""
        kept = self._trainings.get(training.title, {"step": 0})
        new = training.step != kept["step"]
        if self.every is not None and new and not isinstance(training.error, DivergenceError):
            self._write(training)

    def on_evaluation(self, training: Training) -> None:
        """Write the last evaluation, which comes after the last step."""
        if self.every is not None and training.step == training.n_steps:
            self._write(training)

    def _write(self, training: Training) -> None:
        from safetensors.numpy import save

        m, v, steps_done = training.model._moments.get_state()
        with self._lock:
            self._arrays[training.title] = {**training.model.parameters, "m": m, "v": v}
            self._trainings[training.title] = {
                "step": training.step,
                "steps_done": steps_done,
                "history": dataclasses.asdict(training.history),
            }
            arrays = {
                f"{title}/{key}": value
                for title, own in self._arrays.items()
                for key, value in own.items()
            }
            text = json.dumps({"format": FORMAT, "run": self._run, "trainings": self._trainings})
            header = {"checkpoint": text, "sha256": _digest(text, arrays)}
            self._replace(save(arrays, metadata={"sae_fast": json.dumps(header)}))

    def _replace(self, data: bytes) -> None:
        """Write the file by way of a temporary one, so that at no moment there is none whole."""
        latest = self._folder / NAME
        temporary = latest.with_suffix(".tmp")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            create_anew(temporary)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                latest.replace(self._folder / PREVIOUS)
            temporary.replace(latest)
            _sync_folder(self._folder)
        except OSError as error:
            raise CheckpointError(
                f"checkpoint: expected to write {latest}, got {error.strerror or error}"
            ) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


class _DamagedError(Exception):
    """A file is not what was written."""


def read_checkpoint(
    data: bytes, source: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Return the run of a file, and what it kept of each training by title: numbers, and arrays.

    The arrays are views of `data`. _DamagedError if it is not what was written, CheckpointError
    if it is of another release.
    """
    try:
        text, arrays = read_arrays(data)
        header = json.loads(text)
        if header["sha256"] != _digest(header["checkpoint"], arrays):
            raise _DamagedError("its checksum is another")
        checkpoint = json.loads(header["checkpoint"])
        if checkpoint["format"] != FORMAT:
            raise CheckpointError(
                f"{source}: expected a checkpoint of format {FORMAT}, got {checkpoint['format']}"
            )
        run, trainings = checkpoint["run"], checkpoint["trainings"]
        if not isinstance(run, dict):
            raise _DamagedError(f"a run described as {run}")
        for title, kept in trainings.items():
            _check_kept(title, kept)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _DamagedError(str(error)) from error
    by_title: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        title, _, key = name.rpartition("/")
        by_title.setdefault(title, {})[key] = array
    return run, trainings, by_title


def _check_kept(title: str, kept: dict[str, Any]) -> None:
    """Check that what is kept of a training can be taken up."""
    history = History(**kept["history"])
    lists = [history.steps, history.loss, history.accuracy]
    counts = [kept["step"], kept["steps_done"], *history.steps]
    figures = [history.seconds, *history.loss, *history.accuracy]
    if (
        any(type(values) is not list for values in lists)
        or any(type(count) is not int or not 0 <= count <= _MOST_STEPS for count in counts)
        or any(type(figure) not in (int, float) for figure in figures)
    ):
        raise _DamagedError(f"{title!r} described as {kept}")


def _digest(text: str, arrays: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


def _check_same(path: Path, kept: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Check that a checkpoint is of this run, or name what is another."""
    different = [
        f"{name} {run.get(name)!r} where it has {kept.get(name)!r}"
        for name in dict.fromkeys([*kept, *run])
        if json.loads(json.dumps(run.get(name))) != kept.get(name)
    ]
    if different:
        raise CheckpointError(
            f"resume: expected the settings and data of {path}, got {'; '.join(different)}"
        )


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
