# SPDX-License-Identifier: BSD-3-Clause
"""How a model is trained: from a request to an objective, samples and a schedule, and to the end.

All is checked before anything changes; what a callback refuses is put back.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from ..base.checks import check_held, check_sample_weight
from ..base.streams import Purpose, SampleOrder
from ..base.text import shown
from ..core.inputs import check_whole, column_means, is_uint8, sample_blocks
from ..core.networks import count_dead_units, new_state, predict
from ..core.units import Units
from ..errors import DataError, DeadUnitWarning, SaeFastWarning, ScaleWarning, warn
from ..training.callbacks import Callback, Trainable, Training
from ..training.corruptions import check_corruption
from ..training.distributed import current
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
from ..training.optimizers import Optimizer
from ..training.penalties import check_penalties
from ..training.request import Request
from ..training.schedule import Schedule
from ..training.sizes import LEARNING_RATE, Sizes
from .parameters import Parametrized

_LEAST_SHARE = 1e-3  # of 1, what a sigmoid decoder starts from


class Learner(Parametrized):
    """Something that can be trained."""

    _decoder = "linear"  # activation of the layer that gives samples back, here or in a part
    _stream: tuple[Purpose, int]  # of the order of its samples
    _optimizer: str | None = None  # the name of that of the latest training
    _n_seen: int | None = None  # samples that it has been trained on, one after another
    _loaded = False  # from a file, which holds no state of an optimizer
    _most_rate = LEARNING_RATE  # if nobody says which
    _warns = True  # about what a training meets and leaves
    _title: str  # of its trainings, where nobody has given them one
    _number: int | None = None  # of an autoencoder, in a stack

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
                check_targets(name, x, objective.loss, self.n_threads, self._decoder)
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

    def _check_loss(self, loss: Any) -> str:
        """Return the name of a loss that takes what the last layer gives."""
        return check_loss(loss, self._decoder)

    def _check_target(self, name: str, y: Any, n_samples: int, loss: str) -> Any:
        """Return what outputs are compared with: labels, or an input of targets."""
        raise NotImplementedError

    def _objective(self, asked: Request) -> Objective:
        """Check what a training of this model is to minimize."""
        decay = L2(asked.weight_decay)
        check_held("weight_decay", asked.weight_decay, [decay.weight_decay], self.dtype)
        codes = [] if asked.targets else [self._activations[: self._depth]]
        n_hidden = len(self._activations) - 1
        penalties = check_penalties(asked.penalties, self.dtype, *codes)
        if (session := current()) is not None:
            session.check_parts(asked.corruption, penalties)
        return Objective(
            self._check_loss(asked.loss),
            (decay, *penalties),
            check_dropout(asked.dropout, n_hidden, n_hidden - self._depth),
        )

    def _schedule(self, asked: Request, n_samples: int) -> Schedule:
        """Check how long and in which order to train, and that a state can be continued."""
        optimizer, rate = asked.optimizer, asked.optimizer.learning_rate
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
        if (session := current()) is not None:
            session.check_batch(schedule.batch_size)
        if rate is not None:  # one that cannot begin is refused here
            rate.check(schedule.steps_before, schedule.steps)
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
            cast("Trainable", self),
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

    def _start_from(self, data: Any) -> None:
        """Let hidden units be on for half of the samples, and what restores these give the mean."""
        for layer in range(self._depth if self._restoring is None else self._restoring):
            rows = sample_blocks(data)
            if layer:  # all at once: where BLAS computes, a row's bits depend on those beside it
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

    def _warn_of_dead_units(self, training: Training) -> None:
        """Warn if half of a hidden layer is dead on all samples; most trainings show on a few."""
        if not self._warns or not training.step:
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
        what = f"features around 1 that are not constant, a third of the learning_rate{third}, or "
        what += "wider layers"
        if training.samples.x.n_samples == 1:
            what = "more samples than one, which there is nothing to tell from"
        warn(
            f"{training.title} has left {said} dead: the same on every sample. Try {what}",
            DeadUnitWarning,
        )
