# SPDX-License-Identifier: BSD-3-Clause
"""An arm of the experiment: a function of its settings and data, and arms side by side.

`train_arm` can be sent to another process. Within one, threads that an arm no longer needs go to
those that remain. What runs beside an arm has no influence on its result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from ..core.inputs import as_input
from ..datasets import Dataset
from ..models.stacked import StackedAutoencoder
from ..training.callbacks import Callback, Training
from ..training.history import History
from .results import ArmResult, LayerResult
from .settings import ARMS, DTYPE, RunSettings

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class ArmOutcome:
    """What an arm leaves: its fine-tuning, its pretraining if it has one, and its network."""

    arm: ArmResult
    pretraining: list[LayerResult]
    model: StackedAutoencoder


def train_arm(
    arm: str,
    settings: RunSettings,
    data: Dataset,
    *,
    threads: int,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> ArmOutcome:
    """Train one arm of the experiment, its pretraining included.

    Parameters
    ----------
    arm : str
        One of `ARMS`; whether `settings` has it does not matter.
    settings : RunSettings
    data : Dataset
    threads : int
        No influence on the result.
    callbacks : sequence of Callback
    progress : bool
        Whether to show bars on stderr.
    """
    x, x_test = prepare_inputs(data, threads)
    options = training_options(settings, data, callbacks, progress)
    net, pretraining = begin_arm(arm, settings, data, x, threads, options)
    return finish_arm(arm, settings, data, net, pretraining, x, x_test, options)


def training_options(
    settings: RunSettings, data: Dataset, callbacks: Sequence[Callback], progress: bool
) -> dict[str, Any]:
    """Return what pretraining and fine-tuning are both told."""
    return {
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "eval_every": settings.eval_every,
        "callbacks": [*callbacks],
        "progress": progress,
        "scale": data.scale,
    }


def begin_arm(
    arm: str, settings: RunSettings, data: Dataset, x: Any, threads: int, options: Mapping[str, Any]
) -> tuple[StackedAutoencoder, list[LayerResult]]:
    """Build the network of an arm, and pretrain it on the core's input `x` if the arm says so."""
    net = StackedAutoencoder(
        [data.x_train.shape[1], *settings.hidden],
        data.n_classes,
        seed=settings.seed,
        init=ARMS[arm].init,
        n_threads=threads,
    )
    if not ARMS[arm].pretrained:
        return net, []
    histories = net.pretrain(x, steps=settings.pretrain_steps, **options)
    return net, layer_results(net.sizes, histories, net.count_dead_units(x))


def finish_arm(
    arm: str,
    settings: RunSettings,
    data: Dataset,
    net: StackedAutoencoder,
    pretraining: list[LayerResult],
    x: Any,
    x_test: Any,
    options: Mapping[str, Any],
) -> ArmOutcome:
    """Fine-tune what `begin_arm` has left, and say what came of the arm."""
    history = net.finetune(
        x,
        data.y_train,
        steps=settings.finetune_steps,
        eval_set=(x_test, data.y_test),
        title=f"fine-tuning, {arm}",
        **options,
    )
    dead_units = net.count_dead_units(x_test)
    result = ArmResult(history.steps, history.loss, history.accuracy, dead_units, history.seconds)
    return ArmOutcome(result, pretraining, net)


def prepare_inputs(data: Dataset, threads: int) -> tuple[Any, Any]:
    """Make the core's inputs of the training and the test samples."""
    x, x_test = (
        as_input(name, x, x.shape[1], dtype=DTYPE, n_threads=threads, scale=data.scale)
        for name, x in (("x_train", data.x_train), ("x_test", data.x_test))
    )
    return x, x_test


def layer_results(
    sizes: Sequence[int], histories: Sequence[History], dead_units: Sequence[int]
) -> list[LayerResult]:
    """Put what is known of each pretrained layer together."""
    return [
        LayerResult(layer + 1, sizes[layer], sizes[layer + 1], h.steps, h.loss, dead, h.seconds)
        for layer, (h, dead) in enumerate(zip(histories, dead_units, strict=True))
    ]


class Share(Callback):
    """Gives a training its share of the threads, and ends it once it is cancelled."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.cancelled = False

    def on_start(self, training: Training) -> None:
        """Hand the threads over."""
        if training.model.n_threads != self.threads:
            training.model.n_threads = self.threads

    def on_step(self, training: Training) -> None:
        """Hand the threads over, or raise."""
        if self.cancelled:
            raise CancelledError
        self.on_start(training)


def train_side_by_side(
    train: Callable[[str, Share], _T], arms: Sequence[str], threads: int
) -> dict[str, _T]:
    """Train arms side by side, as many as there are threads; who remains gets what is free.

    A small network makes better use of two cores by two trainings than by two threads of one.
    An error or Ctrl-C, which reaches the main thread alone, ends every arm at its next step.
    """
    n_workers = min(len(arms), threads)
    share = Share(threads // n_workers)
    with ThreadPoolExecutor(n_workers) as pool:
        try:
            futures = {arm: pool.submit(train, arm, share) for arm in arms}
            waiting = set(futures.values())
            while waiting:
                share.threads = threads // min(n_workers, len(waiting))
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        except BaseException:
            share.cancelled = True
            pool.shutdown(cancel_futures=True)
            raise
    return {arm: future.result() for arm, future in futures.items()}
