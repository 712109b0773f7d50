# SPDX-License-Identifier: BSD-3-Clause
"""An arm of the experiment: a function of its settings and data, and arms side by side.

`train_arm` can be sent to another process. Within one, threads that an arm no longer needs go to
those that remain. What runs beside an arm has no influence on its result.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from ..base.threads import startable_threads
from ..core.inputs import as_input
from ..datasets import Dataset
from ..models.stacked import StackedAutoencoder
from ..training.callbacks import Callback, Training
from ..training.distributed import current
from ..training.history import History
from .results import ArmResult, LayerResult, TuningResult
from .settings import ARMS, DTYPE, RunSettings

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class ArmOutcome:
    """What an arm leaves: its fine-tuning, its network, and what came before if anything did."""

    arm: ArmResult
    model: StackedAutoencoder
    pretraining: list[LayerResult]
    tuning: TuningResult | None
    untuned: StackedAutoencoder | None  # a copy of the network before its tuning


def train_arm(
    arm: str,
    settings: RunSettings,
    data: Dataset,
    *,
    threads: int,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    inputs: tuple[Any, Any] | None = None,
) -> ArmOutcome:
    """Train one arm of the experiment, its pretraining included.

    `arm` is one of `ARMS`; whether `settings` has it does not matter. `threads` have no influence
    on the result. `inputs` are those of `prepare_inputs`, which several runs may share.
    """
    inputs = inputs or prepare_inputs(data, threads)
    training = ArmTraining(arm, settings, data, inputs, threads, callbacks, progress)
    training.pretrain()
    return training.finetune()


@dataclasses.dataclass
class ArmTraining:
    """An arm under way: its network, and what that learns from and how."""

    name: str
    settings: RunSettings
    data: Dataset
    inputs: tuple[Any, Any]  # of `prepare_inputs`
    threads: int
    callbacks: Sequence[Callback] = ()
    progress: bool = False

    def __post_init__(self) -> None:
        """Build the network."""
        self.pretraining: list[LayerResult] = []
        self.tuning: TuningResult | None = None
        self.untuned: StackedAutoencoder | None = None
        self.model = StackedAutoencoder(
            [self.data.x_train.shape[1], *self.settings.hidden],
            self.data.n_classes,
            seed=self.settings.seed,
            init=ARMS[self.name].init,
            activation=self.settings.activation,
            output=self.settings.decoder,
            n_threads=self.threads,
        )
        self.model.classes = self.data.classes
        for model in self.model._trained():
            model._warns = False  # the report says what there is to say

    def _options(self, *more: Callback) -> dict[str, Any]:
        return {
            **self.settings.shared(),
            "callbacks": [*self.callbacks, *more],
            "progress": self.progress,
            "scale": self.data.scale,
        }

    def pretrain(self) -> None:
        """Pretrain the hidden layers, if the arm says so, and tune them as one if settings do."""
        if not ARMS[self.name].pretrained:
            return
        net, x, settings = self.model, self.inputs[0], self.settings
        options = {**self._options(), **settings.restoring()}
        histories = net.pretrain(x, steps=settings.pretrain_steps, **options)
        self.pretraining = layer_results(net.sizes, histories, net.count_dead_units(x))
        if settings.tune_steps:
            self.untuned = copy.deepcopy(net)
            h = net.finetune_autoencoder(x, steps=settings.tune_steps, **options)
            self.tuning = TuningResult(h.steps, h.loss, net.count_dead_units(x), h.seconds)

    def finetune(self, *more: Callback) -> ArmOutcome:
        """Fine-tune the network, and say what came of the arm."""
        x, x_test = self.inputs
        h = self.model.finetune(
            x,
            self.data.y_train,
            steps=self.settings.finetune_steps,
            eval_set=(x_test, self.data.y_test),
            title=f"fine-tuning, {self.name}",
            **self._options(*more),
        )
        dead_units = self.model.count_dead_units(x_test)
        result = ArmResult(h.steps, h.loss, h.accuracy, dead_units, h.seconds)
        return ArmOutcome(result, self.model, self.pretraining, self.tuning, self.untuned)


def prepare_inputs(data: Dataset, threads: int) -> tuple[Any, Any]:
    """Make the core's inputs of the training and the test samples."""
    x, x_test = (
        as_input(name, x, x.shape[1], DTYPE, threads, data.scale)
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
    Where processes share trainings they have one at a time.
    """
    n_workers = 0 if current() is not None else startable_threads(min(len(arms), threads))
    if n_workers == 0:
        return {arm: train(arm, Share(threads)) for arm in arms}
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
