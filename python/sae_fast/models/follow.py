# SPDX-License-Identifier: BSD-3-Clause
"""How a stack looks like what is trained in its place: a layer's autoencoder, or the deep one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..training.callbacks import Callback, ProgressBar, Training

if TYPE_CHECKING:
    pass


_SECONDS_BEHIND = 0.5  # that a network may be behind what is trained apart from it


class Follow(Callback):
    """Keeps a network up with what is trained apart from it, for who looks at it meanwhile."""

    def __init__(self, copy: Callable[[], None], others: Sequence[Callback]) -> None:
        self._copy, self._copied = copy, 0.0
        looking = (Callback.on_step, ProgressBar.on_step)
        self._often = any(type(other).on_step not in looking for other in others)

    def on_step(self, training: Training) -> None:
        """Copy the layers before other callbacks look, else now and then for other threads."""
        if self._often or time.monotonic() - self._copied > _SECONDS_BEHIND:
            self._follow(training)

    def on_evaluation(self, training: Training) -> None:
        """Copy the layers before other callbacks look."""
        self._follow(training)

    def _follow(self, training: Training) -> None:
        with training.model._turns.queue, training.model._turns.lock:
            self._copy()
        self._copied = time.monotonic()
