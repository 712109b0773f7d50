# SPDX-License-Identifier: BSD-3-Clause
"""The loop around the core's trainer: which batches come next, when to evaluate, when to stop.

Between two evaluations all steps run in native code with the GIL released. A call returns early
when `_RESPONSE_SECONDS` have passed, with its state kept, so that Ctrl-C and the progress bar never
wait longer than that; where calls end has no influence on any result.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..base.checks import check_batches, check_choice, check_float, check_int
from ..base.streams import SampleOrder
from ..core.inputs import core_class
from ..errors import DataError, DivergenceError
from .callbacks import Training, watched

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8

_RESPONSE_SECONDS = 0.05
_LONGEST_STRETCH = 1000  # steps whose batches are drawn at once


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and in which order to train, checked."""

    steps: int
    batch_size: int
    eval_every: int  # 0: only at the end
    batches: Callable[[int, int], NDArray[np.int64]]  # first step, number of steps
    given: NDArray[np.int64] | None = None  # instead of the shuffle

    @classmethod
    def check(
        cls,
        *,
        n_samples: int,
        steps: int | None,
        default_steps: int,
        batch_size: int | None,
        eval_every: int,
        batches: Any,
        order: SampleOrder,
        steps_done: int = 0,
    ) -> Schedule:
        """Check what a user asked for; `batches` replaces the shuffle and sets both sizes.

        The shuffle goes on where it was after `steps_done` steps.
        """
        eval_every = check_int("eval_every", eval_every, 0)
        if steps is not None:
            steps = check_int("steps", steps, 1)
        if batch_size is not None:
            batch_size = check_int("batch_size", batch_size, 1)
        if batches is not None:
            given = check_batches("batches", batches, n_samples)
            for name, value, length in (
                ("steps", steps, given.shape[0]),
                ("batch_size", batch_size, given.shape[1]),
            ):
                if value is not None and value != length:
                    raise DataError(
                        f"{name}: expected {length}, as batches of shape {given.shape} say, "
                        f"got {value}"
                    )
            given_steps, given_size = given.shape
            return cls(
                given_steps,
                given_size,
                eval_every,
                lambda first, n: given[first : first + n],
                given,
            )
        batch_size = 100 if batch_size is None else batch_size
        if batch_size > n_samples:
            raise DataError(
                f"batch_size: expected at most the {n_samples} samples of x, got {batch_size}"
            )
        return cls(
            default_steps if steps is None else steps,
            batch_size,
            eval_every,
            lambda first, n: order.batches(steps_done + first, n, batch_size),
        )


@dataclasses.dataclass(frozen=True)
class Objective:
    """What Adam minimizes and how, checked; the options of the core's trainer."""

    loss: str
    adam: str = "tf1"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers, and make them Python's own."""
        check_choice("adam", self.adam, ("tf1", "torch"))
        for name, positive in (("learning_rate", True), ("weight_decay", False)):
            value = check_float(name, getattr(self, name), positive=positive)
            object.__setattr__(self, name, value)

    def trainer(
        self,
        network: Any,
        moments: Any,
        x: Any,
        y: NDArray[np.int64] | None,
        weights: NDArray[Any] | None,
        *,
        batch_size: int,
        dtype: str,
    ) -> Any:
        """Return a trainer of the core, which works on the network and the moments."""
        return core_class("Trainer", dtype)(
            network,
            optimizer(self.adam),
            moments,
            x,
            y,
            weights,
            corruption=None,
            loss=core_loss(self.loss),
            batch_size=batch_size,
            weight_decay=self.weight_decay,
        )

    def evaluate(
        self, network: Any, x: Any, y: NDArray[np.int64] | None, n_threads: int
    ) -> tuple[float, float]:
        """Return the loss summed over a set, and the share of right classes (NaN without y)."""
        loss, n_correct = _core.evaluate(
            network,
            x,
            y,
            loss=core_loss(self.loss),
            weight_decay=self.weight_decay,
            n_threads=n_threads,
        )
        return loss, math.nan if y is None else n_correct / len(y)


def settings(objective: Objective, schedule: Schedule) -> dict[str, Any]:
    """Return what callbacks are told of how a model is trained."""
    return {
        **dataclasses.asdict(objective),
        "batch_size": schedule.batch_size,
        "eval_every": schedule.eval_every,
    }


def squared_errors(network: Any, x: Any, n_threads: int) -> NDArray[np.float64]:
    """Return the mean squared error per feature that the network leaves of each sample."""
    errors: NDArray[np.float64] = _core.sample_losses(
        network, x, None, loss=_core.Loss.squared_error, n_threads=n_threads
    )
    errors /= x.n_features
    return errors


def steps_done(model: Any, continued: bool) -> int:
    """Return how many steps the model's latest training took, if it is to be continued."""
    return model._moments.steps_done if continued and model._moments is not None else 0


def start_moments(model: Any, continued: bool) -> Any:
    """Return Adam's moments as the model's latest training left them, or fresh ones."""
    if not continued or model._moments is None:
        model._moments = core_class("OptimizerState", model.dtype)(model._network, optimizer("tf1"))
    return model._moments


def train(
    trainer: Any,
    schedule: Schedule,
    evaluate: Callable[[], tuple[float, float]] | None,
    network: Any,
    training: Training,
    *,
    n_threads: Callable[[], int],
) -> None:
    """Train to the end of the schedule, or until a callback stops it.

    Parameters
    ----------
    trainer, network
        The core's; the trainer works on the network's parameters.
    schedule : Schedule
    evaluate : callable or None
        Returns (loss, accuracy); called every `eval_every` steps and after the last one.
    training : Training
        What callbacks see; its title is for errors.
    n_threads : callable
        Asked before every native call, so that trainings side by side can hand threads over.

    Raises
    ------
    DivergenceError
        If the loss or a parameter is no longer finite when it is looked at; everything is then as
        it was when it last was.
    """
    callbacks = training.callbacks
    started = time.perf_counter()
    stretch = schedule.eval_every or schedule.steps
    marks = [stretch, *(callback.every for callback in callbacks if callback.every)]

    def run(n_steps: int) -> None:
        """Take so many steps, with a look around whenever native code returns."""
        batches = schedule.batches(training.step, n_steps)
        while len(batches) and not training.stopped:
            done = trainer.run(
                batches,
                np.full(len(batches), training.settings["learning_rate"]),
                max_seconds=_RESPONSE_SECONDS,
                n_threads=n_threads(),
            )
            batches = batches[done:]
            due = [callback for callback in callbacks if training.is_due(callback)]
            if any(callback.every for callback in due):
                check_finite()  # before one saves it
            for callback in due:
                callback.on_step(training)
            training.told = training.step

    def check_finite(loss: float = 0.0) -> None:
        """Go back to where all was finite, and raise, if it no longer is."""
        if not math.isfinite(loss) or not network.finite():
            what = "a parameter" if math.isfinite(loss) else f"the loss ({loss})"
            error = DivergenceError(
                f"{training.title} diverged: {what} is not finite after step {training.step} of "
                f"{schedule.steps}; a smaller learning_rate may help",
                phase=training.phase,
                layer=training.layer,
                step=training.step,
            )
            trainer.restore_state()
            raise error

    def look() -> None:
        """Evaluate."""
        loss, accuracy = (0.0, math.nan) if evaluate is None else evaluate()
        check_finite(loss)
        trainer.save_state()
        history = training.history
        history.seconds = time.perf_counter() - started
        if evaluate is not None:
            training.evaluating = True
            history.loss.append(loss)
            if not math.isnan(accuracy):
                history.accuracy.append(accuracy)
            history.steps.append(training.step)  # the last: what it does not count was interrupted
            for callback in callbacks:
                callback.on_evaluation(training)
            training.evaluating = False

    with watched(training):
        started -= training.history.seconds  # of a training that is taken up again
        trainer.save_state()
        try:
            while True:
                at_end = training.stopped or training.step == schedule.steps
                due = training.step > 0 and (at_end or training.step % stretch == 0)
                if due and training.history.steps[-1:] != [training.step]:
                    look()
                if training.stopped or training.step == schedule.steps:
                    break
                ahead = [mark - training.step % mark for mark in marks]
                run(min(*ahead, schedule.steps - training.step, _LONGEST_STRETCH))
        finally:
            history = training.history
            history.seconds = time.perf_counter() - started
            del history.loss[len(history.steps) :], history.accuracy[len(history.steps) :]


def core_loss(name):
    return getattr(_core.Loss, "clipped_cross_entropy" if name == "article" else name)


def optimizer(form):
    return _core.Optimizer(
        _core.Rule.adam,
        {
            "beta1": BETA1,
            "beta2": BETA2,
            "epsilon": EPSILON,
            "corrected_epsilon": float(form == "torch"),
        },
    )
