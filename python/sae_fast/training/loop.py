# SPDX-License-Identifier: BSD-3-Clause
"""The loop around the core's trainer: takes steps, calls callbacks, evaluates, stops.

Between two evaluations all steps run in native code with the GIL released. A call returns early,
after `_RESPONSE_SECONDS` at most, with its state kept, so that Ctrl-C and the progress bar never
wait longer than that, and so that the team may change; where calls end has no influence on any
result.
"""

from __future__ import annotations

import math
import time
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..base.streams import Purpose, stream_key
from ..core.networks import evaluate, new_trainer, set_samples
from ..errors import DivergenceError
from .callbacks import Training, watched
from .feed import Feed
from .shared_steps import SharedSteps
from .sizes import Sizes
from .team import Team

_RESPONSE_SECONDS = 0.05
_LONGEST_STRETCH = 100_000  # samples of the batches that are drawn at once


def advice(training: Training) -> str:
    """Say what may help a training that diverged."""
    complaint = Sizes.of(training.samples.x).complaint(training.samples.units)
    if complaint is None:
        objective, rule = training.objective, training.optimizer.rule
        decay = max(objective.weight_decay, getattr(rule, "weight_decay", 0.0))
        rate = training.optimizer.learning_rate
        if rate is not None and rate.peak is not None and decay * rate.peak > 1:
            most = 1 / rate.peak
            return f"weight_decay {decay:g}: less than 1 / learning_rate, {most:.3g}, may help"
        return f"a smaller learning_rate{' or smaller penalties' * bool(objective.added)} may help"
    what = f"what layer {training.layer} reads" if training.samples.codes else "x"
    return f"{what} has {complaint}: scale it to values around 1 (StandardScaler)"


def _dropout(training: Training) -> list[tuple[float, int]]:
    """Return the share and the key of each hidden layer, numbered as in the stack."""
    first, purpose = training.layer or 1, Purpose.FINETUNE_DROPOUT
    if training.layer is not None:
        purpose = Purpose.PRETRAIN_DROPOUT
    return [
        (share, int(stream_key(training.model.seed, purpose, layer)[0]))
        for layer, share in enumerate(training.objective.dropout, start=first)
    ]


def train(training: Training) -> None:
    """Train to the end of the schedule, or until a callback stops it.

    The model is asked for its `n_threads` before every native call, so that trainings side by side
    can hand threads over. DivergenceError if the loss or a parameter is no longer finite when it is
    looked at; everything is then as it was when it last was. Of no steps nobody is told anything.
    """
    if training.schedule.steps == 0:
        training.started = True
        return
    model, samples, callbacks = training.model, training.samples, training.callbacks
    optimizer, schedule = training.optimizer, training.schedule
    network, noise = model._network, samples.corruption
    session = training.session
    size = schedule.batch_size
    options: dict[str, Any] = {
        "corruption": noise
        and noise.in_core(network, model.seed, training.layer or 0, samples.units),
        "dropout": _dropout(training),
        "loss": training.objective.loss,
        "weight_decay": training.objective.weight_decay,
        "penalties": training.objective.added,
        "batch_size": size if session is None else session.chunk_size(size),
    }
    started = time.perf_counter()
    stretch = schedule.eval_every or schedule.steps
    intervals = [stretch, *(callback.every for callback in callbacks if callback.every)]

    def ended() -> bool:
        """Say whether the training ends here; processes that share it are at the same step then."""
        if isinstance(steps, SharedSteps):
            training.stopped = steps.ended(training.stopped)
        return training.stopped or training.step == schedule.steps

    def diverged(what: str) -> NoReturn:
        """Go back to where all was finite, and raise."""
        error = DivergenceError(
            f"{training.title} diverged: {what} is not finite after step {training.step} of "
            f"{schedule.steps}; {advice(training)}",
            phase=training.phase,
            layer=training.layer,
            step=training.step,
        )
        with model._turns.queue, model._turns.lock:
            trainer.restore_state()
        raise error

    def check_finite() -> None:
        """Check what callbacks may save and a training may go back to."""
        if not network.finite():
            diverged("a parameter")
        if not model._state.finite():
            diverged("the optimizer's state")

    def call_due() -> None:
        """Call the callbacks that are due after the latest step."""
        step, last = training.step, training.step == schedule.steps
        due = [callback for callback in callbacks if last or step % (callback.every or 1) == 0]
        acting = any(callback.every for callback in due)
        if acting:
            check_finite()
        for callback in due:
            callback.on_step(training)
        if acting:
            training.commit()

    def look() -> None:
        """Evaluate, if there is something to evaluate on."""
        history, measured = training.history, training.measured
        loss, accuracy = 0.0, math.nan
        if measured is not None:
            objective, on = measured
            loss, accuracy = evaluate(
                network,
                on.x,
                on.y,
                model.n_threads,
                loss=objective.loss,
                weight=on.weight,
                weight_decay=objective.weight_decay,
                penalties=objective.added,
            )
            loss = objective.in_units(loss, on)
        if not math.isfinite(loss):
            diverged(f"the loss ({loss})")
        check_finite()
        trainer.save_state()
        history.seconds = time.perf_counter() - started
        if measured is not None:
            history.steps.append(training.step)
            history.loss.append(loss)
            if not math.isnan(accuracy):
                history.accuracy.append(accuracy)
            for callback in callbacks:
                callback.on_evaluation(training)
        training.commit()

    if session is not None:  # before callbacks, which may write
        session.check_same(training)
    feed = Feed(samples, schedule)
    team = Team()
    with watched(training):
        portion = feed.get(training.step)
        trainer = new_trainer(
            network, optimizer.in_core(), model._state, **portion.samples(), **options
        )
        portion = feed.go_on(portion)
        steps: Any = trainer
        if session is not None:  # callbacks may have put it elsewhere
            session.check_same(training)
            steps = SharedSteps(session, trainer, size)
        training.started = True
        started -= training.history.seconds  # of a training that is taken up again
        trainer.save_state()
        seen = (training.committed or training.commit()).step  # callbacks have been called after it
        batches: NDArray[np.int64] = np.empty(0, np.int64)
        try:
            while True:
                if seen != training.step:
                    seen = training.step
                    call_due()
                over = ended()
                due = training.step > 0 and (over or training.step % stretch == 0)
                if due and training.history.steps[-1:] != [training.step]:
                    look()
                    over = ended()
                if over:
                    break
                if not len(batches):
                    if training.step == portion.end:
                        portion = feed.get(training.step)
                        set_samples(trainer, **portion.samples())
                        portion = feed.go_on(portion)
                    ahead = [every - training.step % every for every in intervals]
                    most = max(1, _LONGEST_STRETCH // size)
                    n_steps = min(*ahead, portion.end - training.step, most)
                    batches = portion.batches(training.step, n_steps)
                    rates = optimizer.rates(schedule.steps_before + training.step, n_steps)
                with model._turns.queue:  # after those who wait
                    pass
                with model._turns.lock:
                    n_threads, seconds = model.n_threads, _RESPONSE_SECONDS
                    if session is None:  # where others wait for this process, it has its own
                        most = trainer.team_size(n_threads)
                        n_threads, seconds = team.next(most, seconds, feed.takes_thread)
                    began = time.perf_counter()
                    done = steps.run(batches, rates, max_seconds=seconds, n_threads=n_threads)
                    team.took(done, time.perf_counter() - began)
                batches, rates = batches[done:], rates[done:]
        finally:
            training.history.seconds = time.perf_counter() - started
