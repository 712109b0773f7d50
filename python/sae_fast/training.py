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

from . import _core
from .errors import DataError, DivergenceError
from .inputs import core_class
from .progress import Progress
from .results import History
from .streams import SampleOrder
from .validation import check_batches, check_choice, check_float, check_int

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
    ) -> Schedule:
        """Check what a user asked for; `batches` replaces the shuffle and sets both sizes."""
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
                given_steps, given_size, eval_every, lambda first, n: given[first : first + n]
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
            lambda first, n: order.batches(first, n, batch_size),
        )


@dataclasses.dataclass(frozen=True)
class Objective:
    """What Adam minimizes and how, checked; the options of the core's trainer."""

    loss: str
    adam: str = "tf1"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_choice("adam", self.adam, ("tf1", "torch"))
        check_float("learning_rate", self.learning_rate, positive=True)
        check_float("weight_decay", self.weight_decay, positive=False)

    def trainer(
        self, network: Any, x: Any, y: NDArray[np.int64] | None, batch_size: int, dtype: str
    ) -> Any:
        """Return a trainer of the core with fresh moments."""
        return core_class("Trainer", dtype)(
            network,
            x,
            y,
            loss=getattr(_core.Loss, self.loss),
            batch_size=batch_size,
            adam=getattr(_core.AdamForm, self.adam),
            learning_rate=float(self.learning_rate),
            beta1=BETA1,
            beta2=BETA2,
            epsilon=EPSILON,
            weight_decay=float(self.weight_decay),
        )

    def evaluate(
        self, network: Any, x: Any, y: NDArray[np.int64] | None, n_threads: int
    ) -> tuple[float, float]:
        """Return the loss summed over a set, and the share of right classes (NaN without y)."""
        loss, n_correct = _core.evaluate(
            network,
            x,
            y,
            loss=getattr(_core.Loss, self.loss),
            weight_decay=self.weight_decay,
            n_threads=n_threads,
        )
        return loss, math.nan if y is None else n_correct / len(y)


def train(
    trainer: Any,
    schedule: Schedule,
    evaluate: Callable[[], tuple[float, float]] | None,
    network: Any,
    *,
    phase: str,
    n_threads: Callable[[], int],
    progress: Progress,
) -> History:
    """Train to the end of the schedule.

    Parameters
    ----------
    trainer, network
        The core's; the trainer works on the network's parameters.
    schedule : Schedule
    evaluate : callable or None
        Returns (loss, accuracy); called every `eval_every` steps and after the last one.
    phase : str
        What is being trained, for errors.
    n_threads : callable
        Asked before every native call, so that trainings side by side can hand threads over.
    progress : Progress

    Raises
    ------
    DivergenceError
        If the loss or a parameter is no longer finite when it is looked at.
    """
    started = time.perf_counter()
    history = History()
    stretch = schedule.eval_every or schedule.steps
    step = 0
    while step < schedule.steps:
        next_evaluation = min((step // stretch + 1) * stretch, schedule.steps)
        batches = schedule.batches(step, min(next_evaluation - step, _LONGEST_STRETCH))
        while len(batches):
            done = trainer.run(batches, max_seconds=_RESPONSE_SECONDS, n_threads=n_threads())
            progress.advance(done)
            step += done
            batches = batches[done:]
        if step == next_evaluation:
            loss, accuracy = (0.0, math.nan) if evaluate is None else evaluate()
            if not math.isfinite(loss) or not network.finite():
                what = "a parameter" if math.isfinite(loss) else f"the loss ({loss})"
                raise DivergenceError(
                    f"{phase} diverged: {what} is not finite after step {step} of "
                    f"{schedule.steps}; a smaller learning_rate may help"
                )
            if evaluate is not None:
                history.steps.append(step)
                history.loss.append(loss)
                if math.isnan(accuracy):
                    progress.show(f"loss {loss:,.0f}")
                else:
                    history.accuracy.append(accuracy)
                    progress.show(f"accuracy {accuracy:.2%}")
    history.seconds = time.perf_counter() - started
    return history
