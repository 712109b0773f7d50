# SPDX-License-Identifier: BSD-3-Clause
"""What both models share: parameters, the scale of their data, training, and how they travel.

A part is the list of layers between the samples and one output of a model. The core's network, the
ONNX graph and the PyTorch module of a part are all built from that list.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    TypeVar,
    overload,
)

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_parameter, check_sample_weight, check_scale
from ..base.files import write_to
from ..base.streams import Purpose, SampleOrder
from ..base.text import Described, Table, shown
from ..base.threads import Turns, resolve_threads
from ..core.activations import Function, describe
from ..core.inputs import as_input, check_whole, column_means, is_uint8, sample_blocks
from ..core.layers import Layer, Part
from ..core.networks import (
    Network,
    count_dead_units,
    evaluate,
    feature_errors,
    new_state,
    predict,
    squared_errors,
)
from ..core.units import PLAIN, Units
from ..errors import (
    DataError,
    DeadUnitWarning,
    SaeFastWarning,
    ScaleWarning,
    UntrainedWarning,
    warn,
)
from ..exchange.model_file import asked, from_bytes, to_bytes
from ..exchange.onnx import to_onnx
from ..exchange.torch import to_torch
from ..training.callbacks import Callback, Training
from ..training.corruptions import check_corruption
from ..training.history import History
from ..training.loop import train
from ..training.objective import (
    L2,
    LOSSES,
    Objective,
    Samples,
    check_dropout,
    check_loss,
    check_targets,
)
from ..training.optimizers import RULES, Optimizer
from ..training.penalties import check_penalties
from ..training.request import Request
from ..training.schedule import Schedule
from ..training.sizes import LEARNING_RATE, Sizes

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

_LEAST_SHARE = 1e-3  # of 1, what a sigmoid decoder starts from

_FAR = 1e3  # units from zero, beyond which float32 loses digits that matter
#: Steps of which a schedule's rates are checked before a training starts.
_MOST_ASKED = 1_000_000

_M = TypeVar("_M", bound="Model")
_B = TypeVar("_B", bound=BinaryIO)
_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


class _Claim:
    """A method that trains: on its thread, in its process, until it is over."""

    def __init__(self) -> None:
        self.thread, self.process = threading.get_ident(), os.getpid()
        self.over = False

    def take(self, model: Model) -> _Claim:
        """Claim a model; return the claim that holds it, which is this one or was there before.

        Each step is one operation under the GIL. A claim that is over, however it ended, is
        followed by the first that asks, so that all who come find the same one at the end. A forked
        child has none of its parent's threads that train.
        """
        claim = vars(model).setdefault("_claim", self)
        while claim is not self and (claim.over or claim.process != os.getpid()):
            claim = vars(claim).setdefault("next", self)
        if claim is self:
            vars(model)["_claim"] = self
        return claim  # type: ignore[no-any-return]

    @staticmethod
    def of(model: Model) -> _Claim | None:
        """Return the claim that holds a model, if one does."""
        claim: _Claim | None = vars(model).get("_claim")
        while claim is not None and (claim.over or claim.process != os.getpid()):
            claim = vars(claim).get("next")
        return claim


class ReadOnly(Generic[_T]):
    """A public attribute that says what a model is: its constructor sets it, and nobody else.

    Native code works with the same numbers, which an assignment would not change. What a training
    changes of them, `Model._set` does.
    """

    def __set_name__(self, _: type, name: str) -> None:  # noqa: D105
        self._name = name

    if TYPE_CHECKING:  # without it Python reads the model's own dictionary, and fast

        def __get__(self, model: Model | None, _: type) -> _T: ...  # noqa: D105

    def __set__(self, model: Model, value: _T) -> None:  # noqa: D105
        if self._name in vars(model):
            raise AttributeError(
                f"{self._name}: read-only, expected another {type(model).__name__} for another "
                "value"
            )
        model._set(**{self._name: value})


def trains(method: Callable[Concatenate[_M, _P], _R]) -> Callable[Concatenate[_M, _P], _R]:
    """Let a method refuse to run while its model, or a part of it, is in training already."""

    @functools.wraps(method)
    def alone(self: _M, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        mine = _Claim()
        try:
            for model in self._trained():
                claim = mine.take(model)
                if claim is not mine:
                    where = "on another thread"
                    if claim.thread == mine.thread:
                        where = "already, by what called this"
                    raise DataError(
                        f"{method.__name__}: expected a model that is not in training, got one "
                        f"that is being trained {where}"
                    )
            return method(self, *args, **kwargs)
        finally:
            mine.over = True

    return alone


def in_turn(method: Callable[Concatenate[_M, _P], _R]) -> Callable[Concatenate[_M, _P], _R]:
    """Let a method see or change its model as a whole, between two native calls of a training."""

    @functools.wraps(method)
    def wait(self: _M, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._turns.queue, self._turns.lock:
            return method(self, *args, **kwargs)

    return wait


class Model(Described):
    """Base of :class:`Autoencoder` and :class:`StackedAutoencoder`."""

    _NAME: ClassVar[str]  # of the class, in files

    n_features = ReadOnly[int]()
    dtype = ReadOnly[str]()
    seed = ReadOnly[int]()
    init = ReadOnly[str]()
    tied = ReadOnly[bool]()
    _scale: float | None = None
    _units = PLAIN  # of the samples that its network reads
    _restoring: int | None = None  # the layer that gives samples back, if one does
    _decoder = "linear"  # activation of the layer that gives samples back, here or in a part
    _asked_threads: int | None = None
    _n_threads: int
    _network: Network
    _widths: Sequence[int]  # of the samples, and of each layer of the network
    _activations: Sequence[Function]  # of each layer of the network
    _depth: int  # hidden layers: what is above them is no code
    _state: Any = None  # of the optimizer of the latest training
    _optimizer: str | None = None  # its name
    _n_seen: int | None = None  # samples that it has been trained on, one after another
    _loaded = False  # from a file, which holds no state
    _turns: Turns  # of who trains it and who sees or changes it as a whole
    _n_assigned: int = 0  # how often parameters have been assigned
    _stream: tuple[Purpose, int]  # of the order of its samples
    _draws = True  # whether the constructor draws initial parameters
    _drawn = False  # whether it did, and none has been assigned since
    _told = False  # whether a user knows that nothing has been trained
    _most_rate = LEARNING_RATE  # if nobody says which
    _warns = True  # about what a training meets and leaves
    _title: str  # of its trainings, where nobody has given them one
    _number: int | None = None  # of an autoencoder, in a stack

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Return an object that has locks before anything else."""
        model = super().__new__(cls)
        model._turns = Turns()
        return model

    def _set(self, **values: Any) -> None:
        """Set attributes that are read-only."""
        vars(self).update(values)

    @classmethod
    def _blank(cls, **arguments: Any) -> Self:
        """Return what the constructor would, without initial parameters: all are 0."""
        model = cls.__new__(cls)
        model._draws = False
        model.__init__(**arguments)  # type: ignore[misc]
        return model

    @classmethod
    def _widths_of(cls, architecture: Mapping[str, Any]) -> Sequence[Any]:
        """Return `_widths`, unchecked, of what a file says of an architecture."""
        raise NotImplementedError

    def _names(self) -> list[tuple[str, str]]:
        """Return what the weights and the biases of each layer of the network are called."""
        raise NotImplementedError

    def _place(self, layer: int) -> tuple[Network, int]:
        """Return the network that holds a layer, and where in it."""
        return self._network, layer

    def _copied(self) -> dict[str, str]:
        """Return the names of weights that are the transposes of others, with theirs."""
        if self._restoring is None or not self.tied:
            return {}
        weights = [w for w, _ in self._names()]
        return dict(zip(weights[self._depth :], weights[self._depth - 1 :: -1], strict=True))

    def _shapes(self, *, copied: bool = False) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter by its name, of those that are `copied` if asked."""
        shapes: dict[str, tuple[int, ...]] = {}
        widths = itertools.pairwise(self._widths)
        for (w, b), (n_in, n_out) in zip(self._names(), widths, strict=True):
            shapes |= {w: (n_in, n_out), b: (n_out,)}
        left_out = () if copied else self._copied()
        return {name: shape for name, shape in shapes.items() if name not in left_out}

    def _layer(self, layer: int) -> Layer:
        """Return a layer as the network has it, its parameters copied."""
        network, at = self._place(layer)
        w, b = network.get_parameters(at)
        return Layer(w, b, self._activations[layer])

    def _own_layer(self, layer: int) -> Layer:
        """Return a layer that reads samples, or gives them back, in their own units."""
        found = self._layer(layer)
        if self._units and layer == 0:
            found = self._units.read(found)
        if self._units and layer == self._restoring:
            found = self._units.restore(found)
        return found

    def _adopt(self, layers: Sequence[Layer]) -> Self:
        """Take over the parameters of as many layers."""
        self.parameters = {
            name: value
            for names, layer in zip(self._names(), layers, strict=True)
            for name, value in zip(names, layer[:2], strict=True)
        }
        return self

    @property
    @in_turn
    def parameters(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters by their names, all of one moment.

        Assignable with all or some of these names; DataError if a name, a shape or a value is
        wrong, or another thread trains the model, and then nothing has changed.
        """
        return self._named(self._own_layer)

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        self._assign(self._checked(values), self._units)

    @property
    @in_turn
    def _values(self) -> dict[str, NDArray[Any]]:
        """The parameters as the network has them, each once; assignable like `parameters`."""
        named = self._named(self._layer)
        return {name: named[name] for name in self._shapes()}

    @_values.setter
    def _values(self, values: Mapping[str, Any]) -> None:
        self._assign(self._checked(values))

    def _named(self, layer_of: Callable[[int], Layer]) -> dict[str, NDArray[Any]]:
        return {
            name: value
            for layer, names in enumerate(self._names())
            for name, value in zip(names, layer_of(layer)[:2], strict=True)
        }

    def _checked(self, values: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        if not isinstance(values, Mapping):
            raise DataError(f"parameters: expected a mapping, got {type(values).__name__}")
        shapes = self._shapes(copied=True)
        unknown = [name for name in values if name not in shapes]
        if unknown:
            raise DataError(f"parameters: expected names of {list(shapes)}, got {unknown}")
        dtype = np.dtype(self.dtype)
        return {
            name: check_parameter(name, value, shapes[name], dtype)
            for name, value in values.items()
        }

    @in_turn
    def _assign(self, new: dict[str, NDArray[Any]], units: Units | None = None) -> None:
        """Take over some parameters, which have been checked and may end the use of units."""
        for model in self._trained():
            claim = _Claim.of(model)
            if claim is not None and claim.thread != threading.get_ident():
                raise DataError(
                    "parameters: expected a model that is not in training, got one that is being "
                    "trained on another thread"
                )
        for name, source in self._copied().items():
            w = new[source] if source in new else self._named(self._layer)[source]
            if name in new and not np.array_equal(new[name], w.T):
                raise DataError(
                    f"parameters[{name!r}]: expected the transpose of {source}, to which it is "
                    "tied, got another matrix"
                )
        if units:
            new, self._units = {**self._named(self._own_layer), **new}, PLAIN
        for model in self._trained():
            model._n_assigned += 1
            model._drawn = False
        for layer, names in enumerate(self._names()):
            if not new.keys() >= set(names):
                new = {**dict(zip(names, self._layer(layer)[:2], strict=True)), **new}
            network, at = self._place(layer)
            network.set_parameters(at, *(new.pop(name) for name in names))

    @property
    def n_threads(self) -> int:
        """Most threads to compute on, in a stack's `autoencoders` too.

        Assignable at any time, during a training as well.
        """
        return self._n_threads

    @n_threads.setter
    def n_threads(self, n_threads: int | None) -> None:
        resolved = resolve_threads(n_threads)
        for model in self._trained():
            model._n_threads, model._asked_threads = resolved, n_threads

    @property
    def scale(self) -> float | None:
        """The `scale` of the latest training: how uint8 samples are read where none is given.

        None if that was a training without uint8. Assignable; it travels with the model.
        """
        return self._scale

    @scale.setter
    def scale(self, scale: float | None) -> None:
        self._scale = None if scale is None else check_scale(scale, self.dtype)

    def _input(self, name: str, x: Any, n_features: int, *more: Any) -> Any:
        """Return the core's input for an argument, shape (n_samples, n_features)."""
        return as_input(name, x, n_features, self.dtype, self.n_threads, *more)

    def _inputs(self, asked: Request, objective: Objective) -> tuple[Units, list[Any]]:
        """Return the core's inputs for what a training reads; `scale` is for uint8, or for all.

        They come with the units that they are read in: those of the model or, if it has not been
        trained and may fit them, what the samples need. Penalties are of weights, and of codes,
        that read samples as they are; other losses than those that have a degree, too.
        """
        loss, sets = objective.loss, asked.sets
        scalable = bool(asked.targets) or LOSSES[loss].degree is not None
        if self._units and not scalable:
            raise DataError(
                "loss: expected squared_error or absolute_error for a model that measures samples "
                f"in units of its own, got {loss!r}; assigning its parameters ends those"
            )
        penalized = [one for one in objective.penalties if one != L2(0.0)]
        if self._units and any(type(one) is not L2 for one in penalized):
            raise DataError(
                "penalties: expected none for a model that measures samples in units of its own, "
                f"got {shown(penalized)}; assigning its parameters ends those"
            )
        uint8 = [is_uint8(x) for x in sets.values()]

        def read(units: Units) -> list[Any]:
            inputs: dict[int, Any] = {}  # an argument may be there twice
            for own, (name, x) in zip(uint8, sets.items(), strict=True):
                if id(x) not in inputs:
                    one = asked.scale if own or not any(uint8) else None
                    inputs[id(x)] = self._input(name, x, self.n_features, one, None, units)
            return [inputs[id(x)] for x in sets.values()]

        units = self._units
        inputs = read(units)
        fit = scalable and asked.batches is None and not penalized
        fit = fit and self._decoder == "linear" and not self.tied
        if fit and self.init == "data" and self._untouched:
            units = Sizes.of(inputs[0]).units(sparse=inputs[0].sparse)
            inputs = read(units) if units else inputs
        for one in inputs:
            check_whole(one)
        return units, inputs

    def _sets(self, asked: Request, objective: Objective) -> list[Samples]:
        """Return the samples to train on and, if there are any, those to measure on."""
        noise = check_corruption(asked.corruption, self.dtype)
        units, inputs = self._inputs(asked, objective)
        for name, x in zip(asked.sets, inputs, strict=True):
            if not asked.targets:
                check_targets(name, x, objective.loss, self.n_threads)
        targets = [
            self._check_target(name, y, x.n_samples, objective.loss)
            for (name, y), x in zip(asked.targets.items(), inputs, strict=False)
        ]
        sets = [
            Samples(x, y, units=units, scale=asked.scale)
            for x, y in itertools.zip_longest(inputs, targets)
        ]
        weight = check_sample_weight(
            "sample_weight", asked.sample_weight, inputs[0].n_samples, self.dtype
        )
        sets[0] = dataclasses.replace(sets[0], weight=weight, corruption=noise)
        return sets

    def _samples(self, x: Any, scale: float | None, units: Units | None = None) -> Any:
        """Return the core's input for `x` (n_samples, n_features), of a model that is trained."""
        units = self._units if units is None else units
        return self._input("x", x, self.n_features, scale, self._scale, units)

    def _check_loss(self, loss: Any) -> str:
        """Return the name of a loss that takes what the last layer gives."""
        return check_loss(loss, self._decoder)

    def _check_target(self, name: str, y: Any, n_samples: int, loss: str) -> Any:
        """Return what outputs are compared with: labels, or an input of targets."""
        raise NotImplementedError

    def _objective(self, asked: Request) -> Objective:
        """Check what a training of this model is to minimize."""
        codes = [] if asked.targets else [self._activations[: self._depth]]
        return Objective(
            self._check_loss(asked.loss),
            (L2(asked.weight_decay), *check_penalties(asked.penalties, *codes)),
            check_dropout(asked.dropout, len(self._activations) - 1),
        )

    def _schedule(self, asked: Request, n_samples: int) -> Schedule:
        """Check how long and in which order to train, and that a state can be continued."""
        optimizer = asked.optimizer
        before: dict[str, Any] = {"steps_before": 0, "samples_before": 0}
        if asked.continued and self._state is not None:
            if self._optimizer != optimizer.rule.name:
                raise DataError(
                    f"optimizer: expected {self._optimizer}, whose state continued=True goes on "
                    f"from, got {optimizer.rule.name}"
                )
            before = {"steps_before": self._state.steps_done, "samples_before": self._n_seen}
        elif asked.continued and self._loaded:
            warn(
                "continued: expected a model that has the state of its optimizer, got one from a "
                "file, which holds none: it starts anew, as after continued=False (a pickle of the "
                "model holds its state)",
                SaeFastWarning,
            )
        order = SampleOrder(n_samples, self.seed, *self._stream)
        schedule = Schedule.check(order=order, **before, **asked.length)
        if optimizer.learning_rate is not None:  # one that cannot begin is refused here
            first = schedule.steps_before
            optimizer.until(first + schedule.steps).rates(first, min(schedule.steps, _MOST_ASKED))
        return schedule

    def _fitting(self, optimizer: Optimizer, schedule: Schedule, samples: Samples) -> Optimizer:
        """Return an optimizer with a rate that fits the samples if it has none; warn of these."""
        optimizer = optimizer.until(schedule.steps_before + schedule.steps)
        warns = self._warns and not samples.codes and schedule.steps_before == 0
        if not warns and optimizer.learning_rate is not None:
            return optimizer
        sizes = Sizes.of(samples.x)
        complaint = sizes.complaint(samples.units)
        if complaint is not None and warns:
            warn(
                f"x: expected values around 1, got {complaint}: training will make "
                "little progress; scale them (StandardScaler), or use sae_fast.sklearn, which does",
                ScaleWarning,
            )
        if optimizer.learning_rate is None:
            replayed = schedule.given is not None
            of_values = samples.y is not None and not isinstance(samples.y, np.ndarray)
            targets = Sizes.of(samples.y) if of_values else None
            sized = sizes, targets, self._most_rate, schedule.batch_size
            rate = LEARNING_RATE if replayed else optimizer.rule.fitting_rate(*sized)
            return optimizer.with_rate(rate)
        return optimizer

    def _training(
        self,
        asked: Request,
        objective: Objective,
        schedule: Schedule,
        sets: Sequence[Samples],
        *first: Callback,
    ) -> Training:
        """Return a training by what has been checked, on `sets`; some callbacks come `first`."""
        samples, *measured = sets
        return Training(
            self,
            self._title if asked.title is None else asked.title,
            self._number,
            objective,
            self._fitting(asked.optimizer, schedule, samples),
            schedule,
            samples,
            measured[0] if measured else None,
            [*first, *asked.callbacks],
        )

    def _settle(self) -> None:
        """Bring to its end what an interrupt has left of an earlier training."""

    def _train_on(self, asked: Request) -> History:
        """Train the model itself on what it is asked to read."""
        objective = self._objective(asked)
        sets = self._sets(asked, objective)
        schedule = self._schedule(asked, sets[0].x.n_samples)
        self._settle()
        return self._train(self._training(asked, objective, schedule, sets))

    def _train(self, training: Training) -> History:
        """Train; everything but what callbacks check has been checked."""
        schedule, optimizer, samples = training.schedule, training.optimizer, training.samples
        before = self._scale, self._units, self._state, self._optimizer
        values, drawn = self._values, self._drawn
        try:
            state = new_state(self._network, optimizer.in_core())
            if schedule.steps_before > 0:
                state.set_state(*self._state.get_state())
            with self._turns.queue, self._turns.lock:
                if self.init == "data" and self._untouched and schedule.given is None:
                    self._start_from(samples.x)
                self.scale, self._units = samples.scale, samples.units
                self._state, self._optimizer = state, optimizer.rule.name
            train(training)
        finally:
            with self._turns.queue, self._turns.lock:
                if training.started:
                    self._n_seen = schedule.samples_before + training.step * schedule.batch_size
                else:  # refused by a callback
                    self.scale, self._units, self._state, self._optimizer = before
                    self._values = values
                    self._drew(drawn)
        self._warn_of_dead_units(training)
        return training.history

    @property
    def _untouched(self) -> bool:
        """Whether all parameters are as they were drawn."""
        return self._drawn and all(model._state is None for model in self._trained())

    def _start_from(self, data: Any) -> None:
        """Let hidden units be on for half of the samples, and what restores these give the mean."""
        for layer in range(self._depth if self._restoring is None else self._restoring):
            rows = sample_blocks(data)
            if layer:  # all at once: of wide layers, a row's bits depend on the rows beside it
                x = self._input("x", np.concatenate(list(rows)), self.n_features)
                rows = iter([predict(self._network, x, self.n_threads, layers=(0, layer))])
            mean = column_means(rows)
            w: Any = self._network.get_parameters(layer)[0]
            # without BLAS, whose bits depend on its threads
            moved: Any = (mean[:, None] * w).sum(axis=0)
            self._network.set_parameters(layer, w, (-moved).astype(self.dtype))
        decoder = None if self._restoring is None else self._activations[self._restoring]
        if self._restoring is not None and decoder in ("linear", "sigmoid"):
            w = self._network.get_parameters(self._restoring)[0]
            bias = column_means(sample_blocks(data))
            if decoder == "sigmoid":
                share = bias.clip(_LEAST_SHARE, 1 - _LEAST_SHARE)
                bias = np.log(share / (1 - share))
            self._network.set_parameters(self._restoring, w, bias.astype(self.dtype))

    def _warn_of_far_samples(self) -> None:
        """Warn if what leaves the model reads samples with fewer digits than the model does."""
        far = np.abs(self._units.zero).max(initial=0) / self._units.unit
        if self.dtype == "float32" and far > _FAR:
            warn(
                f"x lies {far:,.0f} of its units from zero, too far for float32: what is exported "
                "reads samples as they are and computes roughly; dtype='float64' is exact",
                ScaleWarning,
            )

    def _warn_of_dead_units(self, training: Training) -> None:
        """Warn if half of a hidden layer is dead on all samples; most trainings show on a few."""
        if not self._warns:
            return
        few = self._input("x", next(sample_blocks(training.samples.x)), self.n_features)
        for x in (few, training.samples.x):
            dead = count_dead_units(self._network, x, self.n_threads)[: self._depth]
            widths = self._widths[1:]
            found = [at for at, n in enumerate(dead) if 2 * n >= widths[at]]
            if not found:
                return
        where = [f" in hidden layer {at + 1}" if self._depth > 1 else "" for at in found]
        said = ", ".join(
            f"{dead[at]} of {widths[at]} units{layer}"
            for at, layer in zip(found, where, strict=True)
        )
        rate = training.optimizer.learning_rate
        third = f" ({rate.peak / 3:.1g})" if rate and rate.peak else ""
        warn(
            f"{training.title} has left {said} dead: the same on every sample. Try features around "
            f"1 that are not constant, a third of the learning_rate{third}, or wider layers",
            DeadUnitWarning,
        )

    def _check_trained(self, models: Sequence[Model]) -> None:
        """Warn, once, if none of these has been trained: all computes from initial weights."""
        unknown = self._state is None and self._drawn and not self._told
        if unknown and all(model._state is None for model in models):
            self._told = True
            warn(
                f"{self._NAME}: this model has not been trained and computes from its initial "
                "weights",
                UntrainedWarning,
            )

    def _reconstructor(self, caller: str) -> tuple[Network, Units]:
        """Return all encoders and decoders as a network, and its units; errors name the caller."""
        self._check_trained([self])
        return self._network, self._units

    def encode(self, x: Any, *, scale: float | None = None, out: Any = None) -> NDArray[Any]:
        """Return the codes of `x` (n_samples, n_features), shape (n_samples, n_hidden).

        The bits of a row are the same for every number of threads. Where a layer has 256 inputs and
        units or more, which BLAS computes, the last of them depend on the rows beside it too.

        Parameters
        ----------
        x : array_like, frame, SciPy sparse matrix or DataSource, shape (n_samples, n_features)
        scale : float, optional
            Of uint8 samples. None: that of the latest training.
        out : ndarray or path-like, optional
            Where to put the codes of a :class:`~sae_fast.datasets.DataSource`, or any others: an
            array of their shape, or a .npy file, which is whole once it is there under its name,
            and is returned mapped to memory.

        Raises
        ------
        DataError
            If `x` or `out` does not fit.
        OSError
            If the file cannot be written.
        """
        self._check_trained(self._trained())
        data = self._samples(x, scale)
        return predict(self._network, data, self.n_threads, layers=(0, self._depth), out=out)

    def decode(self, code: Any) -> NDArray[Any]:
        """Return what `code` (n_samples, n_hidden) stands for, shape (n_samples, n_features).

        A stack does it by the decoders that `pretrain` left.

        Raises
        ------
        DataError
            If `code` does not fit, or a stack has not been pretrained.
        """
        network, units = self._reconstructor("decode")
        data = self._input("code", code, self._widths[self._depth])
        layers = self._depth, 2 * self._depth
        return predict(network, data, self.n_threads, layers=layers, units=units)

    def reconstruct(self, x: Any, *, scale: float | None = None, out: Any = None) -> NDArray[Any]:
        """Return `x` through all autoencoders and back, shape (n_samples, n_features).

        Arguments are as in :meth:`encode`. A stack takes encoders and decoders as `pretrain` left
        them: `finetune` moves the network's encoders away from their decoders.

        Raises
        ------
        DataError
            If `x` does not fit, or a stack has not been pretrained.
        """
        network, units = self._reconstructor("reconstruct")
        data = self._samples(x, scale, units)
        layers = 0, 2 * self._depth
        return predict(network, data, self.n_threads, layers=layers, units=units, out=out)

    def reconstruction_error(self, x: Any, *, scale: float | None = None) -> float:
        """Return the mean squared error per feature that `reconstruct` leaves over all of `x`."""
        network, units = self._reconstructor("reconstruction_error")
        data = self._samples(x, scale, units)
        loss, _ = evaluate(network, data, None, self.n_threads, loss="squared_error")
        return loss * units.unit**2 / float(data.n_samples * data.n_features)

    def score_samples(self, x: Any, *, scale: float | None = None) -> NDArray[np.float64]:
        """Return the mean squared error per feature of each sample, shape (n_samples,).

        What `reconstruct` leaves: the larger, the less a sample is like what the autoencoders were
        trained on.
        """
        network, units = self._reconstructor("score_samples")
        errors = squared_errors(network, self._samples(x, scale, units), self.n_threads)
        return errors * units.unit**2 if units else errors

    def feature_errors(
        self, x: Any, *, scale: float | None = None, out: Any = None
    ) -> NDArray[np.float64]:
        """Return the squared error of each feature of each sample, shape (n_samples, n_features).

        ``(x - reconstruct(x))²``, in the samples' own units; means over the features are what
        `score_samples` returns. Of a sample that stands out it says where.

        Parameters
        ----------
        x : array_like, frame, SciPy sparse matrix or DataSource, shape (n_samples, n_features)
            Dense by parts: what is sparse takes no more memory than the result.
        scale, out
            As in :meth:`encode`.

        Raises
        ------
        DataError
            If `x` does not fit, or a stack has not been pretrained.

        Examples
        --------
        >>> import numpy as np, sae_fast
        >>> rng = np.random.default_rng(0)
        >>> x = rng.random((500, 1)) + 0.1 * rng.random((500, 6))  # six columns that say the same
        >>> ae = sae_fast.Autoencoder(6, 1, seed=0)
        >>> history = ae.fit(x, steps=500)
        >>> strange = x[:1].copy()
        >>> strange[0, 3] += 2
        >>> int(ae.feature_errors(strange).argmax())
        3
        """
        network, units = self._reconstructor("feature_errors")
        data = self._samples(x, scale, units)
        factor = units.unit**2
        return feature_errors(network, data, 2 * self._depth, self.n_threads, factor, out)

    def _part(self, part: str | None) -> Part:
        """Return the part of this name, or the whole; DataError if the model has none."""
        raise NotImplementedError

    @overload
    def save(self, path: str | Path) -> Path: ...
    @overload
    def save(self, path: _B) -> _B: ...
    def save(self, path: str | Path | BinaryIO) -> Path | BinaryIO:
        """Write the model to a safetensors file; see :func:`sae_fast.load`.

        Parameters
        ----------
        path : path-like or binary file
            A file that is there already is replaced, at no moment half written; a link to one is
            followed. One that is open for writing bytes is written to where it is.

        Returns
        -------
        Path or binary file
            The one that was given.

        Raises
        ------
        OSError
            If the file cannot be written, or is a folder, a device or a pipe.
        DivergenceError
            If a parameter is NaN or infinite.
        """
        return write_to(path, self._bytes())  # type: ignore[no-any-return]

    @in_turn
    def _bytes(self) -> bytes:
        return to_bytes(self)

    def _describe(self) -> dict[str, Any]:
        """Say what the model is, beside its parameters, in JSON's types."""
        own = {name: describe(getattr(self, name)) for name in asked(self._NAME)}
        described = {"architecture": {"class": self._NAME, **own}, "scale": self.scale}
        units = {
            number: dataclasses.astuple(model._units)
            for number, model in self._stored()
            if model._units
        }
        described |= {"units": units} if units else {}
        return {**described, "drawn": True} if self._untouched else described

    def _become(self, description: Mapping[str, Any]) -> None:
        """Take up what `_describe` says beside the architecture."""
        self.scale = description["scale"]
        for model in self._trained():
            model._loaded = True

    def _drew(self, drawn: bool) -> None:
        """Say whether the parameters are as they were drawn, after they have been assigned."""
        for model in self._trained():
            model._drawn = drawn

    def _stored(self) -> Sequence[tuple[str, Model]]:
        """Return the models whose parameters are in a file, with what is behind their names."""
        return [("", self)]

    @in_turn
    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle, or a deep copy, holds: what `save` writes, threads and states."""
        states = [
            model._state and (model._optimizer, *model._state.get_state(), model._n_seen)
            if model in self._resumed()
            else None
            for model in self._trained()
        ]
        return {"model": to_bytes(self), "n_threads": self._asked_threads, "states": states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the model of a pickle; `n_threads=None` means the threads of this process."""
        self.__dict__.update(vars(from_bytes(state["model"], "pickle")))
        self.n_threads = state["n_threads"]
        if "moments" in state:  # of release 0.1.0: m, v, steps_done
            states = [kept and ("adam", kept[:2], kept[2]) for kept in state["moments"]]
        else:
            states = state["states"]
        # older releases did not know the last of them
        for model, kept in itertools.zip_longest(self._trained(), states):
            model._loaded = False
            if kept is not None:
                model._optimizer, slots, steps_done, *drawn = kept
                model._n_seen = drawn[0] if drawn else None  # of older releases
                rule = RULES[model._optimizer]()
                model._state = new_state(model._network, Optimizer(rule, None).in_core())
                model._state.set_state(slots, steps_done)

    def _resumed(self) -> list[Model]:
        """Return those of which a pickle holds the optimizer's state."""
        return [model for _, model in self._stored()]

    def _trained(self) -> list[Model]:
        """Return all that has an optimizer's state of its own: the model and those in it."""
        return [self]

    @overload
    def export_onnx(self, path: str | Path, part: str | None = None) -> Path: ...
    @overload
    def export_onnx(self, path: _B, part: str | None = None) -> _B: ...
    def export_onnx(self, path: str | Path | BinaryIO, part: str | None = None) -> Path | BinaryIO:
        """Write a part of the model to an ONNX file, for any number of samples.

        Its input ``x`` (n_samples, n_features) is of the model's `dtype`: uint8 data times `scale`.
        Its output is ``code``, ``reconstruction``, ``probabilities`` or ``targets``. The metadata
        say ``part`` and ``version`` and, as JSON, ``scale`` and ``classes`` where the model has
        them. Of the activations ONNX Runtime has leaky_relu, elu, selu and softplus in float32
        alone.

        Parameters
        ----------
        path : path-like or binary file
            As for :meth:`save`.
        part : {"encoder", "reconstruction", "classifier", "predictor"}, optional
            What :meth:`encode`, :meth:`reconstruct` or ``predict_proba`` compute, or the targets of
            a network that has them. Default: the classifier or the predictor of a network that has
            one, else the reconstruction.

        Returns
        -------
        Path or binary file
            The one that was given.

        Raises
        ------
        DataError
            If the model has no such part (no classes, or not pretrained), or if it is larger than
            the 2 GB of an ONNX file.
        ImportError
            If the package onnx is not installed: ``pip install 'sae-fast[onnx]'``.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import numpy as np, onnxruntime, sae_fast
        >>> net = sae_fast.StackedAutoencoder([6, 4, 3], n_classes=2)
        >>> x = np.random.default_rng(0).random((5, 6), dtype=np.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = net.export_onnx(pathlib.Path(folder) / "net.onnx")
        ...     session = onnxruntime.InferenceSession(path)
        >>> (probabilities,) = session.run(["probabilities"], {"x": x})
        >>> bool(np.abs(probabilities - net.predict_proba(x)).max() < 1e-5)
        True
        """
        self._warn_of_far_samples()
        metadata = {
            name: json.dumps(value)
            for name in ("scale", "classes")
            if (value := getattr(self, name, None)) is not None
        }
        return write_to(path, to_onnx(self._part(part), metadata))  # type: ignore[no-any-return]

    def to_torch(self, part: str | None = None) -> torch.nn.Sequential:
        """Return a part of the model as a PyTorch module of its own copies of the parameters.

        Parameters
        ----------
        part : {"encoder", "reconstruction", "classifier", "predictor"}, optional
            As in :meth:`export_onnx`.

        Returns
        -------
        torch.nn.Sequential
            ``Linear`` and activations, and a ``Softmax`` on top of the classifier, on the CPU and
            of the model's `dtype`.

        Raises
        ------
        DataError
            If the model has no such part (no classes, or not pretrained).
        ImportError
            If the package torch is not installed.

        Examples
        --------
        >>> import sae_fast
        >>> sae_fast.Autoencoder(6, 3).to_torch()
        Sequential(
          (0): Linear(in_features=6, out_features=3, bias=True)
          (1): ReLU()
          (2): Linear(in_features=3, out_features=6, bias=True)
        )
        """
        self._warn_of_far_samples()
        return to_torch(self._part(part))

    def summary(self, x: Any = None, *, scale: float | None = None) -> str:
        """Sum the model up in plain text: its layers, their activations and parameters.

        Parameters
        ----------
        x : array_like or SciPy sparse matrix, shape (n_samples, n_features), optional
            Samples, to say how many units of each hidden layer are dead on them.
        scale : float, optional
            Of uint8 samples, as in every other method.

        Returns
        -------
        str

        Raises
        ------
        DataError
            If `x` does not fit.

        Examples
        --------
        >>> import sae_fast
        >>> print(sae_fast.StackedAutoencoder([784, 100, 5], n_classes=10).summary())
        StackedAutoencoder 784-100-5-10, relu and softmax, float32
        <BLANKLINE>
        Layers
          layer   inputs  units  activation  parameters
          W1, b1     784    100        relu      78,500
          W2, b2     100      5        relu         505
          W3, b3       5     10     softmax          60
        <BLANKLINE>
        79,065 parameters
        """
        if x is None:
            return super().summary()
        data = self._samples(x, scale)
        counts = count_dead_units(self._network, data, self.n_threads)
        return self._text(self._tables(counts[: self._depth]))

    def _functions(self) -> list[str]:
        """Return what each layer of the network does to its sums."""
        functions, head = [str(one) for one in self._activations], getattr(self, "head", None)
        return functions if head is None else [*functions[:-1], head]

    def _line(self) -> str:
        widths, functions = "-".join(map(str, self._widths)), dict.fromkeys(self._functions())
        return ", ".join(
            [
                f"{self._NAME} {widths}",
                " and ".join(functions),
                *(["tied"] if self.tied else []),
                self.dtype,
                *self._learned(),
            ]
        )

    def _learned(self) -> list[str]:
        """Say how far it was trained; a file keeps nothing of that."""
        return [f"trained for {self._state.steps_done:,} steps"] if self._state else []

    def _tables(self, dead_units: Sequence[int] = ()) -> list[Table]:
        names, widths = self._names(), itertools.pairwise(self._widths)
        sizes = {name: math.prod(shape) for name, shape in self._shapes().items()}
        rows = [
            {
                "layer": f"{w}, {b}",
                "inputs": str(n_in),
                "units": str(n_out),
                "activation": function,
                "parameters": f"{sizes.get(w, 0) + sizes[b]:,}",
            }
            for (w, b), (n_in, n_out), function in zip(
                names, widths, self._functions(), strict=True
            )
        ]
        # only hidden units can be dead: there is one layer above them, or none
        for row, dead in zip(rows, [*dead_units, "-"] if dead_units else (), strict=False):
            row["dead units"] = str(dead)
        return [Table("Layers", rows)]

    def _notes(self) -> list[str]:
        return [f"{sum(map(math.prod, self._shapes().values())):,} parameters"]
