# SPDX-License-Identifier: BSD-3-Clause
"""What may look on while a model trains, and stop it; `sae_fast.callbacks` says when and how."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import math
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_bool, check_choice, check_float, check_int, check_path
from ..base.progress import Progress
from ..base.text import number, shown
from ..base.threads import Turns
from ..core.networks import Network, count_labels
from ..errors import DataError
from .distributed import current
from .history import History
from .objective import Objective, Samples
from .optimizers import Optimizer
from .schedule import Schedule


class Trainable(Protocol):
    """What a model is to those who train it or look on."""

    n_threads: Any
    seed: int
    _state: Any  # of the optimizer, since the model's first training
    _values: dict[str, NDArray[Any]]  # parameters as the network has them
    _n_assigned: int  # how often parameters have been assigned
    _turns: Turns  # of who works on them

    @property
    def _network(self) -> Network: ...
    @property
    def parameters(self) -> dict[str, NDArray[Any]]: ...  # noqa: D102
    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None: ...
    def encode(self, x: Any, *, scale: float | None = None) -> NDArray[Any]: ...  # noqa: D102
    def reconstruct(self, x: Any, *, scale: float | None = None) -> NDArray[Any]: ...  # noqa: D102
    def save(self, path: str | Path) -> Path: ...  # noqa: D102
    def _describe(self) -> dict[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Where callbacks were when all had last been called that were due, parameters aside."""

    step: int  # after which they were called
    stopped: bool
    states: dict[Callback, dict[str, Any]]  # copies of `Training.state`, where `on_commit` is used
    n_assigned: int  # how often the model's parameters had been assigned
    _grown: History  # the training's own, which may have grown since
    _n_points: int
    _seconds: float

    @property
    def history(self) -> History:  # noqa: D102
        n, grown = self._n_points, self._grown
        return History(grown.steps[:n], grown.loss[:n], grown.accuracy[:n], self._seconds)


@dataclasses.dataclass
class Training:
    """One training of one model, as its callbacks see it.

    Attributes
    ----------
    model : Autoencoder or StackedAutoencoder
        What is being trained: in pretraining the autoencoder of the layer.
    title : str
        What is being trained, in words.
    layer : int or None
        Of the autoencoder, counted from 1; None when a whole network is fine-tuned.
    objective, optimizer, schedule
        What is minimized and how: the checked settings.
    samples, eval_set : Samples
        On what, and what to measure on; None for the latter if there is none.
    callbacks : sequence of Callback
        All that look on.
    n_steps : int
        Steps that have been asked for.
    evaluates : bool
        Whether there is anything to evaluate on.
    settings : dict
        The objective, the optimizer and the schedule as numbers and words.
    data : dict
        The core's inputs and arrays, by the name of the argument that they came as.
    step : int
        Steps done.
    history : History
        What evaluations found so far.
    stopped : bool
        Whether `stop` has been called.
    started : bool
        Whether all callbacks have let it start.
    error : BaseException or None
        What ended the training before its time, for `on_stop`.
    committed : Snapshot or None
        Where callbacks were at the latest `Callback.on_commit`; None before the training starts.
    state : dict
        Where a callback that takes part in several trainings at once keeps what belongs to this
        one, under itself. A dict of numbers, and of dicts of arrays, is kept in checkpoints.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> def stop_when_flat(training):
    ...     loss = training.history.loss
    ...     if len(loss) > 1 and loss[-1] > 0.99 * loss[-2]:
    ...         training.stop()
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> ae = sae_fast.Autoencoder(8, 3)
    >>> history = ae.fit(x, steps=100_000, eval_every=10, callbacks=[stop_when_flat])
    >>> history.steps[-1] < 100_000
    True
    """

    model: Trainable
    title: str
    layer: int | None
    objective: Objective
    optimizer: Optimizer
    schedule: Schedule
    samples: Samples
    eval_set: Samples | None = None
    callbacks: Sequence[Callback] = ()
    history: History = dataclasses.field(default_factory=History)
    stopped: bool = False
    started: bool = False
    error: BaseException | None = None
    committed: Snapshot | None = None
    state: dict[Callback, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Let the history know of how many samples its losses are sums."""
        self.session = session = current()
        self.schedule = self.schedule.over(self.samples.x).shared(session)
        if session is not None and session.rank > 0:
            self.callbacks = [one if one.everywhere else _absent(one) for one in self.callbacks]
        if self.measured is not None:
            self.history.n_samples = self.measured[1].x.n_samples

    @property
    def n_steps(self) -> int:  # noqa: D102
        return self.schedule.steps

    @property
    def step(self) -> int:
        """Steps done: always those that are in the parameters, wherever an interrupt came."""
        state = self.model._state
        return 0 if state is None else state.steps_done - self.schedule.steps_before

    @property
    def phase(self) -> str:
        """``"pretraining"`` of an autoencoder, or ``"fine-tuning"``."""
        return "fine-tuning" if self.layer is None else "pretraining"

    @property
    def measured(self) -> tuple[Objective, Samples] | None:
        """What evaluations measure: on an `eval_set`, the loss without penalties."""
        if self.eval_set is not None:
            return Objective(self.objective.loss), self.eval_set
        return (self.objective, self.samples) if self.samples.y is None else None

    @property
    def evaluates(self) -> bool:  # noqa: D102
        return self.measured is not None

    @property
    def counts(self) -> bool:
        """Whether evaluations find an accuracy too."""
        measured = self.measured
        return measured is not None and count_labels(measured[1].y, measured[0].loss) > 0

    @property
    def settings(self) -> dict[str, Any]:  # noqa: D102
        session, size = self.session, self.schedule.batch_size
        return {
            **self.objective.describe(),
            **self.optimizer.describe(),
            "corruption": self.samples.corruption and self.samples.corruption.describe(),
            "dropout": list(self.objective.dropout),
            "batch_size": self.schedule.batch_size,
            "eval_every": self.schedule.eval_every,
            **self.schedule.order.describe(),
            **({} if session is None else {"chunk_size": session.chunk_size(size)}),
        }

    @property
    def data(self) -> dict[str, Any]:  # noqa: D102
        eval_set = self.eval_set or Samples(None)
        return {
            "x": self.samples.x,
            "y": self.samples.y,
            "sample_weight": self.samples.weight,
            "batches": self.schedule.given,
            "eval_set[0]": eval_set.x,
            "eval_set[1]": eval_set.y,
        }

    def stop(self) -> None:
        """End this training after a last evaluation; pretraining goes on with the next layer.

        In `on_start` it means that no step is taken, and nothing evaluated.
        """
        self.stopped = True

    def snapshot(self, step: int) -> Snapshot:
        """Return where callbacks are that have been called after `step`."""
        wanted = any(type(one).on_commit is not Callback.on_commit for one in self.callbacks)
        states = self.state if wanted else {}
        return Snapshot(
            step,
            self.stopped,
            {key: _copied(kept) for key, kept in states.items() if isinstance(kept, dict)},
            self.model._n_assigned,
            self.history,
            len(self.history.steps),
            self.history.seconds,
        )

    def commit(self) -> Snapshot:
        """Take a snapshot: all callbacks have been called that were due, and none is at work."""
        self.committed = committed = self.snapshot(self.step)
        for callback in self.callbacks:
            callback.on_commit(self)
        return committed


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of what a callback keeps, and of the arrays in it."""
    return {
        name: _copied(value)
        if isinstance(value, dict)
        else (value.copy() if isinstance(value, np.ndarray) else value)
        for name, value in state.items()
    }


class Callback:
    """Base of all callbacks; each method does nothing unless it is overridden.

    Attributes
    ----------
    every : int or None
        Steps between two calls of `on_step`. None: whenever native code returns, which is at
        least every 0.05 s and where evaluations are; that costs nothing.
    everywhere : bool
        Whether each process of a :func:`sae_fast.distributed.session` calls it. False, of what
        writes files or shows something: only the first.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> class Steps(sae_fast.callbacks.Callback):
    ...     every = 20
    ...
    ...     def on_step(self, training):
    ...         print(training.title, training.step)
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, callbacks=[Steps()])
    autoencoder 1 (8 → 3) 20
    autoencoder 1 (8 → 3) 40
    autoencoder 1 (8 → 3) 50
    """

    every: int | None = None
    everywhere = True

    def __repr__(self) -> str:
        """Return the call that makes it, for estimators, searches and tables that show it."""
        names = [name for name in inspect.signature(type(self)).parameters if hasattr(self, name)]
        given = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({given})"

    def on_start(self, training: Training) -> None:
        """Before the first step of each training."""

    def on_step(self, training: Training) -> None:
        """After every `every` steps, and after the last one."""

    def on_evaluation(self, training: Training) -> None:
        """After an evaluation, the last of ``training.history``."""

    def on_commit(self, training: Training) -> None:
        """After all `on_start`, `on_evaluation`, or `on_step` with one that has an `every`.

        ``training.committed`` then says where all callbacks are.
        """

    def on_layer_end(self, training: Training) -> None:
        """After `on_stop`, when a layer has been pretrained and its encoder is in the network."""

    def on_stop(self, training: Training) -> None:
        """After the last step, or the error, of each training that `on_start` has seen."""


def _absent(callback: Callback) -> Callback:
    """Return what takes the place of a callback that another process has: as often, and idle."""
    absent = Callback()
    absent.every = callback.every
    return absent


#: A callback, or a function that is called with the training after each evaluation.
CallbackOption: TypeAlias = Callback | Callable[[Training], object]


class _Function(Callback):
    """A user's function, called after each evaluation."""

    def __init__(self, function: Callable[[Training], object]) -> None:
        self.on_evaluation = function  # type: ignore[method-assign, assignment]


class ProgressBar(Callback):
    """A bar on stderr, or in a notebook, with the latest loss or accuracy in it.

    What ``progress=True`` adds to the other callbacks. Where stderr is a file, there is a line
    every ten seconds and at the end; where it cannot be written, nothing.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> bar = sae_fast.callbacks.ProgressBar()
    >>> history = sae_fast.Autoencoder(8, 3).fit(x, steps=50, callbacks=[bar])
    """

    everywhere = False

    def on_start(self, training: Training) -> None:
        """Show the bar."""
        progress = Progress(self._title(training), training.n_steps, done=training.step)
        training.state[self] = progress
        self._note(training)

    def _title(self, training: Training) -> str:
        return training.title

    def _note(self, training: Training) -> None:
        history = training.history
        if history.accuracy:
            training.state[self].note(f"accuracy {history.accuracy[-1]:.2%}")
        elif history.loss:
            training.state[self].note(f"loss {number(history.mean_loss[-1])} per sample")

    def on_step(self, training: Training) -> None:
        """Move it."""
        progress = training.state[self]
        progress.advance(training.step - progress.done)

    def on_evaluation(self, training: Training) -> None:
        """Show the figure."""
        self._note(training)

    def on_stop(self, training: Training) -> None:
        """Leave it as it stands."""
        training.state[self].close()


class EarlyStopping(Callback):
    """Stops a training whose evaluations no longer get better, and goes back to the best one.

    Parameters
    ----------
    monitor : {"loss", "accuracy"}
        Which figure of the evaluations.
    patience : int
        Evaluations in a row without a better one after which to stop.
    min_delta : float
        By how much an evaluation has to be better to count.
    restore_best : bool
        Give the model the parameters of its best evaluation at the end, however it ends.

    Attributes
    ----------
    best, best_step : float, int
        The best figure of the training that ended last, and the step it was measured after.

    Raises
    ------
    DataError
        If an argument is out of its range; at the start of a training, if it does not measure what
        `monitor` names.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> stopping = sae_fast.callbacks.EarlyStopping(patience=3)
    >>> ae = sae_fast.Autoencoder(8, 3)
    >>> history = ae.fit(x, steps=100_000, eval_every=10, callbacks=[stopping])
    >>> history.steps[-1] - stopping.best_step
    30
    """

    def __init__(
        self,
        monitor: str = "loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self.monitor = check_choice("monitor", monitor, ("loss", "accuracy"))
        self.patience = check_int("patience", patience, 1)
        self.min_delta = check_float("min_delta", min_delta, positive=False)
        self.restore_best = check_bool("restore_best", restore_best)

    def on_start(self, training: Training) -> None:
        """Check that there is something to monitor."""
        if not training.evaluates:
            raise DataError(f"EarlyStopping: expected an eval_set for {training.title}, got none")
        if self.monitor == "accuracy" and not training.counts:
            raise DataError(
                f"EarlyStopping: expected monitor='loss' for {training.title}, got 'accuracy'"
            )
        training.state.setdefault(self, {"waited": 0})  # evaluations since the best

    def on_evaluation(self, training: Training) -> None:
        """Compare with the best so far."""
        best = training.state[self]
        figure = getattr(training.history, self.monitor)[-1]
        gain = math.inf
        if "figure" in best:
            gain = best["figure"] - figure if self.monitor == "loss" else figure - best["figure"]
        if gain > self.min_delta:
            best.update(figure=figure, step=training.step, waited=0)
            if self.restore_best:
                best["parameters"] = training.model._values
        else:
            best["waited"] += 1
        if best["waited"] >= self.patience:
            training.stop()

    def on_stop(self, training: Training) -> None:
        """Give the best parameters back."""
        best = training.state[self]
        worst = math.inf if self.monitor == "loss" else -math.inf
        self.best, self.best_step = best.get("figure", worst), best.get("step", 0)
        if "parameters" in best:
            training.model._values = best["parameters"]


class JsonLinesLog(Callback):
    """Appends a line of JSON to a file at every start, evaluation, layer end and stop.

    Each has ``event``, ``title``, ``layer``, ``step`` and ``n_steps``; evaluations have ``loss``
    and, where there is one, ``accuracy``; stops have ``seconds``, ``stopped`` (whether a callback
    asked for it) and ``error``. Lines are written at once, so that the file can be followed.

    Parameters
    ----------
    path : path-like

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "log.jsonl"
    ...     log = sae_fast.callbacks.JsonLinesLog(path)
    ...     history = sae_fast.Autoencoder(8, 3).fit(x, steps=200, callbacks=[log])
    ...     lines = path.read_text(encoding="utf-8").splitlines()
    >>> [json.loads(line)["event"] for line in lines]
    ['start', 'evaluation', 'evaluation', 'stop']
    """

    everywhere = False

    def __init__(self, path: str | Path) -> None:
        self.path = check_path("path", path)

    def _write(self, event: str, training: Training, **more: object) -> None:
        shown = {name: getattr(training, name) for name in ("title", "layer", "step", "n_steps")}
        line = {"event": event, **shown, **more}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def on_start(self, training: Training) -> None:
        """Write a line."""
        self._write("start", training)

    def on_evaluation(self, training: Training) -> None:
        """Write a line with the figures."""
        self._write("evaluation", training, **figures(training))

    def on_layer_end(self, training: Training) -> None:
        """Write a line."""
        self._write("layer_end", training)

    def on_stop(self, training: Training) -> None:
        """Write a line that says how it ended."""
        error = None if training.error is None else repr(training.error)
        seconds = round(training.history.seconds, 6)
        self._write("stop", training, seconds=seconds, stopped=training.stopped, error=error)


class Checkpoint(Callback):
    """Saves the model being trained to a file, again and again.

    Parameters
    ----------
    path : path-like
        ``{layer}`` (0 for a whole network) and ``{step}`` in it become numbers; without them, the
        file is replaced each time, at no moment half written.
    every : int or None
        Steps between two files; None: at each evaluation.

    Raises
    ------
    DataError
        If an argument does not fit.
    OSError
        If there is no such folder when a training starts; if a file cannot be written, which ends
        the training.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "ae-{step}.safetensors"
    ...     checkpoint = sae_fast.callbacks.Checkpoint(path, every=100)
    ...     history = sae_fast.Autoencoder(8, 3).fit(x, steps=200, callbacks=[checkpoint])
    ...     sorted(file.name for file in path.parent.iterdir())
    ['ae-100.safetensors', 'ae-200.safetensors']
    """

    everywhere = False

    def __init__(self, path: str | Path, *, every: int | None = None) -> None:
        self.path = check_path("path", path)
        self.every = None if every is None else check_int("every", every, 1)
        self._name(0, 0)

    def _name(self, layer: int, step: int) -> Path:
        path = str(self.path)
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(path)}
            if not fields <= {None, "layer", "step"}:  # no attributes or items of them either
                raise ValueError(f"fields {fields}")
            return Path(path.format(layer=layer, step=step))
        except (LookupError, ValueError) as error:
            raise DataError(
                f"path: expected no fields but {{layer}} and {{step}}, got {path!r}"
            ) from error

    def on_start(self, training: Training) -> None:
        """Check that there is a folder to save to, before anything is trained."""
        folder = self._name(training.layer or 0, 0).parent
        if not folder.is_dir():
            raise FileNotFoundError(
                f"path: expected a file in a folder that is there, got {self.path}"
            )

    def _save(self, training: Training) -> None:
        training.model.save(self._name(training.layer or 0, training.step))

    def on_step(self, training: Training) -> None:
        """Save, if it is for steps."""
        if self.every is not None:
            self._save(training)

    def on_evaluation(self, training: Training) -> None:
        """Save, if it is for evaluations."""
        if self.every is None:
            self._save(training)


class TensorBoard(Callback):
    """Writes loss and accuracy for TensorBoard, with the package ``tensorboard``.

    Parameters
    ----------
    log_dir : path-like
        Each training gets a folder in it, named after its title.

    Raises
    ------
    ImportError
        If ``tensorboard`` is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 8))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     board = sae_fast.callbacks.TensorBoard(folder)
    ...     history = sae_fast.Autoencoder(8, 3).fit(x, steps=200, callbacks=[board])
    ...     [path.name for path in pathlib.Path(folder).iterdir()]
    ['autoencoder-1--8---3']
    """

    everywhere = False

    def __init__(self, log_dir: str | Path) -> None:
        self.log_dir = check_path("log_dir", log_dir)
        _event_writer()

    def on_start(self, training: Training) -> None:
        """Open the file."""
        folder = "".join(c if c.isalnum() else "-" for c in training.title).strip("-")
        training.state[self] = _event_writer()(str(self.log_dir / folder))

    def on_evaluation(self, training: Training) -> None:
        """Write the figures."""
        for name, value in figures(training).items():
            training.state[self].add_scalar(name, value, training.step)

    def on_stop(self, training: Training) -> None:
        """Close the file."""
        training.state[self].close()


def _event_writer() -> Any:
    try:
        from tensorboard.summary import Writer
    except ImportError as error:
        raise ImportError(
            f"TensorBoard: expected the package tensorboard (pip install tensorboard), got {error}"
        ) from error
    return Writer


def figures(training: Training) -> dict[str, float]:
    """Return what the latest evaluation measured."""
    history = training.history
    found = {"loss": history.loss[-1]}
    if history.accuracy:
        found["accuracy"] = history.accuracy[-1]
    return found


def as_callbacks(callbacks: Iterable[CallbackOption] | None, progress: bool) -> list[Callback]:
    """Return what a user passed as callbacks, checked, and a bar behind them if it is wanted."""
    if callbacks is None:
        callbacks = ()
    if not isinstance(callbacks, (list, tuple)):
        raise DataError(f"callbacks: expected a list, got {type(callbacks).__name__}")
    found = []
    for i, callback in enumerate(callbacks):
        if isinstance(callback, Callback):
            if callback.every is not None:
                check_int(f"callbacks[{i}].every", callback.every, 1)
            found.append(callback)
        elif callable(callback) and not isinstance(callback, type):
            found.append(_Function(callback))
        else:
            raise DataError(
                f"callbacks[{i}]: expected a Callback or a function, got {shown(callback)}"
            )
    return [*found, ProgressBar()] if check_bool("progress", progress) else found


@contextlib.contextmanager
def watched(training: Training) -> Iterator[None]:
    """Call `on_start` of each callback, and `on_stop` of those started, whatever happens within."""
    with contextlib.ExitStack() as stack:

        def stop(callback: Callback, error: BaseException | None) -> None:
            training.error = error
            callback.on_stop(training)

        for callback in training.callbacks:
            callback.on_start(training)
            stack.push(lambda _, error, __, callback=callback: stop(callback, error))
        yield
