# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of a run: from one, the run goes on and ends with the same bits as without a break.

A run is a row of trainings. What is kept of each is where its model is (parameters, the optimizer's
state, the step) and where its callbacks are: the latest snapshot that the loop committed. Initial
draws, shuffles and codes follow from the seed. So a resumed run repeats everything but steps, and
those only where they were not taken.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import re
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import Any, NoReturn, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

import numpy as np
from numpy.typing import NDArray

from ..base.arrays_file import read_arrays, write_arrays
from ..base.checks import check_bool, check_int, check_path
from ..base.files import leftovers, read_file, write_file
from ..base.text import shown
from ..core.build import build_config
from ..core.windows import Windows
from ..errors import CheckpointError, DataError
from .callbacks import Callback, Training
from .distributed import leads
from .history import History
from .objective import SOFTMAX
from .optimizers import Adam, Optimizer
from .rates import Constant

FORMAT = 2
_MOST_STEPS = 2**53  # the core counts them in float64 too
NAME, PREVIOUS = "checkpoint.safetensors", "checkpoint-previous.safetensors"

_CHUNK_BYTES = 1 << 24  # of samples, for their digest

_all: WeakSet[RunCheckpoint] = WeakSet()


def _renew_locks() -> None:
    for checkpoint in _all:
        checkpoint._lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # what held a lock on another thread is not in the child
    os.register_at_fork(after_in_child=_renew_locks)

_Arrays: TypeAlias = dict[tuple[str, ...], Any]  # by path: ("parameters", "W1"), ("m",), ...


class RunCheckpoint(Callback):
    """Writes a run's state every so many steps of each training, and resumes from it.

    Put one such object last into `callbacks` of every training of a program. If the program is
    killed, run it again, with a new object: trainings that had ended take no steps, the one that
    was under way goes on where its checkpoint was taken, and everything ends with the bits of a run
    without a break. More steps than a training had, ended or not, extend it.

    Trainings are told apart by their titles and, among those of one title, by their order; of two
    that run at once the titles have to differ. One that a callback stopped has ended. A file holds
    all trainings so far, so that in a loop of thousands each takes longer than the one before.

    Ctrl-C leaves a checkpoint too. Callbacks whose `Training.state` is a dict, such as
    `EarlyStopping`, go on as well, and are compared by what they were made with. Of the step that
    an error came at, all are called again, from what they kept before it; if one had assigned
    parameters by then, the run goes on from the file before.

    Parameters
    ----------
    folder : path-like
        Where the files are: ``checkpoint.safetensors`` and the one before it,
        ``checkpoint-previous.safetensors``. Made if need be. One process at a time may write there.
    every : int
        Steps between two files, beside one at the end of each training; 0: none is written.
    resume : bool
        Go on from the checkpoint in `folder`. If there is none, the run starts anew.
    run : mapping, optional
        What else makes results what they are, in JSON's types and finite; a checkpoint of another
        run is refused.

    Raises
    ------
    DataError
        If an argument does not fit.
    CheckpointError
        If a file cannot be written or read, or is of another run: at the start of a training, if
        its settings, its data or the model's parameters were others; names which.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> def program(folder, steps):
    ...     checkpoint = sae_fast.RunCheckpoint(folder, every=100)
    ...     ae = sae_fast.Autoencoder(8, 3)
    ...     return ae.fit(x, steps=steps, callbacks=[*interruptions, checkpoint])
    >>> def interrupt(training):
    ...     if training.step == 200:
    ...         raise KeyboardInterrupt
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     interruptions = [interrupt]
    ...     try:
    ...         program(folder, 300)
    ...     except KeyboardInterrupt:
    ...         interruptions.clear()
    ...     history = program(folder, 300)  # takes steps 201 to 300
    >>> history.steps
    [100, 200, 300]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: int = 1000,
        *,
        resume: bool = True,
        run: Mapping[str, Any] | None = None,
    ) -> None:
        self.every = check_int("every", every, 0) or None
        self._folder = check_path("folder", folder)
        try:
            self._run: dict[str, Any] = json.loads(json.dumps(dict(run or {}), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise DataError(f"run: expected a mapping of JSON's types, got {shown(run)}") from error
        self._lock = threading.Lock()  # trainings side by side share this callback
        _all.add(self)
        self._latest_is_whole: bool | None = None  # if so, it is kept beside the next; None: unread
        self._digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()  # of samples
        self._seen: Counter[str] = Counter()  # trainings by title
        self._trainings: dict[str, dict[str, Any]] = {}  # by key: step, history, ...
        self._arrays: dict[str, _Arrays] = {}  # by key
        existing = self._existing()
        if self._writes:
            for leftover in leftovers(self._folder / NAME):
                with contextlib.suppress(OSError):
                    leftover.unlink()
        if check_bool("resume", resume) and existing:
            self.load()

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: what another process writes would replace the files of this one."""
        raise TypeError(
            "callbacks: expected none that belongs to one process where a model or an estimator is "
            f"pickled or sent to another, got a RunCheckpoint of {self._folder}"
        )

    def __deepcopy__(self, _: object) -> RunCheckpoint:
        """Return the object itself: a copy would write the same files (scikit-learn's clone)."""
        return self

    def load(
        self, *, free: Collection[str] = (), defaults: Mapping[str, Any] | None = None
    ) -> None:
        """Read the latest checkpoint, or the one before if that is damaged.

        Parameters
        ----------
        free : collection of str
            Names of what may be another in its `run`.
        defaults : mapping, optional
            What stands for names that its `run` lacks, having been written before there were any.

        Raises
        ------
        CheckpointError
            If there is none, none is whole, or it is of another run.
        """
        name, kept = read_latest(self._folder)
        run, self._trainings, self._arrays = kept
        expected = f"the settings and data of {self._folder / name}"
        compared = [
            {name: value for name, value in one.items() if name not in free}
            for one in ({**(defaults or {}), **run}, self._run)
        ]
        _check_same("resume", expected, *compared)
        self._latest_is_whole = name == NAME

    def replace(self) -> None:
        """Remove what a run has left that has ended; CheckpointError of one that could go on.

        It has ended if all those trainings have that its `run` counts as ``trainings``.
        """
        existing = self._existing()
        if not existing:
            return
        with contextlib.suppress(CheckpointError, KeyError):
            run, trainings, _ = read_latest(self._folder)[1]
            ended = [
                kept["stopped"] or kept["step"] == kept["identity"]["n_steps"]
                for kept in trainings.values()
            ]
            if all(ended) and len(ended) == run.get("trainings"):
                for name in existing:
                    (self._folder / name).unlink(missing_ok=True)
                return
        raise CheckpointError(
            "output: expected a folder without a checkpoint that a run could go on from, got "
            f"{self._folder / existing[0]}; resume=True goes on from it, or remove it"
        )

    @property
    def _writes(self) -> bool:
        """Whether there are files to be written, and this process writes them."""
        return self.every is not None and leads()

    def _existing(self) -> list[str]:
        try:
            return [name for name in (NAME, PREVIOUS) if (self._folder / name).exists()]
        except OSError as error:
            raise CheckpointError(
                f"folder: expected one that can be read, got {self._folder}: "
                f"{error.strerror or error}"
            ) from error

    def on_start(self, training: Training) -> None:
        """Put the training where its checkpoint was taken, if there is one."""
        with self._lock:
            self._seen[training.title] += 1
            number = self._seen[training.title]
        key = json.dumps([training.title, number], ensure_ascii=False)
        if self._writes:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise _not_written(self._folder, error) from error
        identity = self._identity(training)
        training.state[self] = key, identity
        kept = self._trainings.get(key)
        if kept is None:
            return
        try:
            had = kept["identity"]
            expected = f"{training.title} as in its checkpoint"
            _check_same("resume", expected, had, {**identity, "n_steps": had["n_steps"]})
            _restore(training, kept, self._arrays[key])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"resume: expected a checkpoint of {training.title}, got one that does not fit: "
                f"{error}"
            ) from error

    def on_commit(self, training: Training) -> None:
        """Write, unless it is not time, or the training ends here: `on_stop` then does."""
        step = training.step
        if not self._writes or step % (self.every or 1) or not 0 < step < training.n_steps:
            return
        key, _ = training.state[self]
        if self._trainings.get(key, {}).get("step") != step:
            self._write(training)

    def on_stop(self, training: Training) -> None:
        """Write what is new, with callbacks as they were when all had last been called.

        Not if one has assigned parameters since, which it would do again, nor if the model has gone
        back to before that: the file that is there is then the one to go on from.
        """
        committed = training.committed
        if not self._writes or committed is None or training.step < committed.step:
            return
        key, _ = training.state[self]
        kept = self._trainings.get(key)
        new = kept is None or _progress(kept) != _progress(_now(training))
        assigned = training.error is not None and training.model._n_assigned != committed.n_assigned
        model = training.model
        if new and not assigned and model._network.finite() and model._state.finite():
            self._write(training)

    def _write(self, training: Training) -> None:
        key, identity = training.state[self]
        kept, own = _state(training)
        with self._lock:
            trainings = {**self._trainings, key: {"identity": identity, **kept}}
            all_arrays = {**self._arrays, key: own}
            arrays = {
                json.dumps([key, *path], ensure_ascii=False): array
                for key, own in all_arrays.items()
                for path, array in own.items()
            }
            text = json.dumps({"format": FORMAT, "run": self._run, "trainings": trainings})
            header = {"checkpoint": text, "sha256": _digest(text, arrays)}
            data = write_arrays(json.dumps(header), arrays)
            latest = self._folder / NAME
            if self._latest_is_whole is None:
                self._latest_is_whole = _is_whole(latest)
            try:
                keep = self._folder / PREVIOUS if self._latest_is_whole else None
                write_file(latest, data, keep=keep)
            except OSError as error:
                raise _not_written(latest, error) from error
            self._latest_is_whole = True
            self._trainings, self._arrays = trainings, all_arrays

    def _identity(self, training: Training) -> dict[str, Any]:
        """Say what makes a training's result what it is: settings, start, data, arithmetic."""
        model, slots = training.model, training.optimizer.rule.slots
        state, steps_done = model._state.get_state()
        config = build_config()
        arithmetic = [platform.machine(), "baseline" if config["isa"] == "baseline" else "fused"]
        if model._network.uses_blas():  # whose kernels differ by processor and release
            arithmetic.append(config["blas"])
        described = {
            name: _settings(callback)
            for name, callback in _named(training)
            if isinstance(training.state.get(callback), dict)
        }
        architecture = model._describe()["architecture"]
        architecture.pop("init")  # the digest of the parameters says where it starts
        return {
            **architecture,
            **described,
            "n_steps": training.n_steps,
            **training.settings,
            "steps_done": steps_done,
            "parameters": _digest("", {**model._values, **dict(zip(slots, state, strict=True))}),
            **{name: self._data_digest(value) for name, value in training.data.items()},
            "arithmetic": ", ".join(arithmetic),
        }

    def _data_digest(self, data: Any) -> str | None:
        """Return the SHA-256 of an array, or of the samples of a core input in any layout."""
        if data is None:
            return None
        if isinstance(data, np.ndarray):
            return _digest("", {"": data})
        if isinstance(data, Windows):
            return data.digest()
        if data not in self._digests:
            digest = hashlib.sha256(f"{data.n_samples} {data.n_features}".encode())
            n_rows = max(1, _CHUNK_BYTES // (8 * data.n_features))
            for first in range(0, data.n_samples, n_rows):
                digest.update(data.rows(first, min(first + n_rows, data.n_samples)).data)
            self._digests[data] = digest.hexdigest()
        return self._digests[data]


def _not_written(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"checkpoint: expected to write {path}, got {error.strerror or error}")


class _DamagedError(Exception):
    """A file is not what was written."""


def read_checkpoint(
    data: bytes, source: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, _Arrays]]:
    """Return the run of a file, and what it keeps of each training by its key.

    _DamagedError if it is not what was written, CheckpointError if it is of another release.
    """
    try:
        text, arrays = read_arrays(data)
        header = json.loads(text)
        if header["sha256"] != _digest(header["checkpoint"], arrays):
            raise _DamagedError("its checksum is another")
        checkpoint = json.loads(header["checkpoint"])
        if checkpoint["format"] not in (1, FORMAT):
            raise CheckpointError(
                f"{source}: expected a checkpoint of format 1 or {FORMAT}, "
                f"got {checkpoint['format']}"
            )
        run, trainings = checkpoint["run"], checkpoint["trainings"]
        if type(run) is not dict:
            raise _DamagedError(f"a run described as {run}")
        for key, kept in trainings.items():
            if checkpoint["format"] == 1:
                _translate(kept)
            _check_kept(key, kept)
        names = {name: json.loads(name) for name in arrays}
        if not all(type(part) is str for path in names.values() for part in path):
            raise _DamagedError(f"arrays {list(names)}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _DamagedError(f"{type(error).__name__}: {error}") from error
    by_key: dict[str, _Arrays] = {}
    for name, array in arrays.items():
        by_key.setdefault(names[name][0], {})[tuple(names[name][1:])] = array
    return run, trainings, by_key


def read_latest(
    folder: Path,
) -> tuple[str, tuple[dict[str, Any], dict[str, dict[str, Any]], dict[str, _Arrays]]]:
    """Return the latest checkpoint, or the one before if that is damaged: its name, what is in it.

    CheckpointError if there is none, or none is whole.
    """
    reasons = []
    for name in (NAME, PREVIOUS):
        try:
            return name, read_checkpoint(read_file(folder / name), str(folder / name))
        except CheckpointError:  # of another release: no reason to look further
            raise
        except FileNotFoundError:
            reasons.append(f"no {name}")
        except OSError as error:
            reasons.append(f"{name} cannot be read: {error.strerror or error}")
        except _DamagedError as error:
            reasons.append(f"{name} is damaged: {error}")
    raise CheckpointError(f"resume: expected a checkpoint in {folder}, got {'; '.join(reasons)}")


def _is_whole(path: Path) -> bool:
    try:
        read_checkpoint(read_file(path), str(path))
    except CheckpointError:  # of another release
        return True
    except (OSError, _DamagedError):
        return False
    return True


def _translate(kept: dict[str, Any]) -> None:
    """Bring what release 0.1.0 kept of a training into the form of this one."""
    identity = kept["identity"]
    rate = identity["learning_rate"]
    identity.pop("init", None)
    optimizer = Optimizer(Adam(identity.pop("adam")), Constant(rate)).describe()
    head = SOFTMAX if identity.get("n_classes") else None
    own: dict[str, Any] = {"activation": "relu", "output": "linear", "head": head}
    own |= {"tied": False, "corruption": None, "dropout": [], "penalties": []}
    kept["identity"] = {**identity, **own, **optimizer}
    kept["committed"] = kept["step"]


def _check_kept(key: str, kept: dict[str, Any]) -> None:
    """Check that what is kept of a training can be taken up."""
    history = History(**kept["history"])
    lists = [history.steps, history.loss, history.accuracy]
    counts = [kept["committed"], kept["step"], *history.steps]
    figures = [history.seconds, *history.loss, *history.accuracy]
    if (
        any(type(values) is not list for values in lists)
        or any(type(count) is not int or not 0 <= count <= _MOST_STEPS for count in counts)
        or any(type(figure) not in (int, float) for figure in figures)
        or kept["committed"] > kept["step"]
        or type(kept["stopped"]) is not bool
        or type(kept["identity"]) is not dict
        or any(type(state) is not dict for state in kept["callbacks"].values())
    ):
        raise _DamagedError(f"{key!r} described as {kept}")


def _named(training: Training) -> Iterator[tuple[str, Callback]]:
    """Yield the callbacks of a training with names that tell them apart."""
    seen: Counter[str] = Counter()
    for callback in training.callbacks:
        name = type(callback).__name__
        seen[name] += 1
        yield f"{name} {seen[name]}", callback


def _settings(callback: Callback) -> dict[str, Any]:
    """Return the numbers and words that a callback was made with, where it has them still."""
    found = {name: getattr(callback, name, None) for name in signature(type(callback)).parameters}
    return {name: value for name, value in found.items() if type(value) in (bool, int, float, str)}


def _state(training: Training) -> tuple[dict[str, Any], _Arrays]:
    """Return where a training is: what goes into JSON, and arrays by their paths."""
    assert training.committed is not None
    state, _ = training.model._state.get_state()
    arrays: _Arrays = {
        (slot,): array for slot, array in zip(training.optimizer.rule.slots, state, strict=True)
    }
    arrays |= {("parameters", name): array for name, array in training.model._values.items()}
    callbacks: dict[str, dict[str, Any]] = {}
    for name, callback in _named(training):
        if callback in training.committed.states:
            callbacks[name] = {}
            for entry, value in training.committed.states[callback].items():
                if isinstance(value, dict):
                    for own, array in value.items():
                        arrays[name, entry, own] = _plain_array(name, entry, own, array)
                else:
                    callbacks[name][entry] = _plain(name, entry, value)
    return {**_now(training), "callbacks": callbacks}, arrays


def _plain(callback: str, entry: str, value: Any) -> Any:
    """Return what JSON can hold of a number that a callback keeps."""
    value = value.item() if isinstance(value, np.generic) else value
    if type(entry) is not str or not isinstance(value, (int, float, str, type(None))):
        raise DataError(
            f"checkpoint: expected numbers, or dicts of arrays, by names in what {callback} keeps, "
            f"got {type(value).__name__} as {entry!r}"
        )
    return value


def _plain_array(callback: str, entry: str, name: Any, value: Any) -> NDArray[Any]:
    """Return what a file can hold of an array that a callback keeps."""
    array = np.asarray(value)
    if type(name) is not str or array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DataError(
            f"checkpoint: expected arrays of numbers of at most 8 bytes, by names, in what "
            f"{callback} keeps, got dtype {array.dtype} as {entry!r}, {name!r}"
        )
    return np.array(array, dtype=array.dtype.newbyteorder("="), order="C")


def _kept(history: History) -> dict[str, Any]:
    """Return what a file keeps of a history; the samples it was measured on say how many."""
    kept = dataclasses.asdict(history)
    del kept["n_samples"]
    return kept


def _now(training: Training) -> dict[str, Any]:
    assert training.committed is not None
    return {
        "step": training.step,
        "committed": training.committed.step,
        "stopped": training.committed.stopped,
        "history": _kept(training.committed.history),
    }


def _progress(kept: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells two states of one training apart."""
    return kept["step"], kept["committed"], kept["stopped"], kept["history"]["steps"]


def _restore(training: Training, kept: Mapping[str, Any], arrays: _Arrays) -> None:
    """Put a training where `_state` found it."""
    model = training.model
    if kept["step"] > training.n_steps:
        raise CheckpointError(
            f"resume: expected at least the {kept['step']} steps that {training.title} has in its "
            f"checkpoint, got {training.n_steps}"
        )
    model._values = {name: arrays["parameters", name] for name in model._values}
    slots = [arrays[slot,] for slot in training.optimizer.rule.slots]
    model._state.set_state(slots, training.schedule.steps_before + kept["step"])
    training.stopped = kept["stopped"]
    n_samples = training.history.n_samples
    training.history = history = History(**kept["history"], n_samples=n_samples)
    end, every = kept["identity"]["n_steps"], training.schedule.eval_every
    if end != training.n_steps and history.steps[-1:] == [end] and (not every or end % every):
        for figures in (history.steps, history.loss, history.accuracy):  # an end that is none now
            del figures[-1:]
    for name, callback in _named(training):
        if name in kept["callbacks"]:
            state = dict(kept["callbacks"][name])
            for path, array in arrays.items():
                if path[0] == name and len(path) == 3:
                    state.setdefault(path[1], {})[path[2]] = array
            training.state[callback] = state
    training.committed = training.snapshot(kept["committed"])


def _digest(text: str, arrays: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.data.cast("B") if array.size else b"")
    return digest.hexdigest()


def _check_same(
    argument: str, expected: str, kept: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """Check that what was kept is what is there now, or name what is another."""
    different = []
    for name in dict.fromkeys([*kept, *now]):
        had, has = kept.get(name), json.loads(json.dumps(now.get(name)))
        if all(re.fullmatch("[0-9a-f]{64}", str(value)) for value in (had, has)) and had != has:
            different.append(f"other {name}")
        elif had != has:
            different.append(f"{name} {now.get(name)!r} where it has {had!r}")
    if different:
        raise CheckpointError(f"{argument}: expected {expected}, got {'; '.join(different)}")
