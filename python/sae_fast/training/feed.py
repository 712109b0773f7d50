# SPDX-License-Identifier: BSD-3-Clause
"""What a trainer steps on: all samples, or those of one window after the other, read ahead.

Which samples a step gets is the schedule's; here they are brought to memory, and their numbers
become those that they have there.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.ahead import Ahead
from ..core.inputs import taken
from ..core.windows import Windows
from .objective import Renewed, Samples
from .schedule import Schedule


@dataclasses.dataclass(frozen=True)
class Portion:
    """The samples of some consecutive steps, which a trainer takes over, and their numbers."""

    x: Any  # the core's input
    y: Any  # labels, or an input of targets, or None
    weights: NDArray[Any] | None
    first: int  # the step that it begins with
    end: int  # the step behind its last
    given: NDArray[np.int64] | None  # (end - first, rows of a batch): its samples at each step
    schedule: Schedule

    def samples(self) -> dict[str, Any]:
        """Return what a trainer is made with, or goes on with."""
        return {"x": self.x, "y": self.y, "weights": self.weights}

    def batches(self, step: int, n_steps: int) -> NDArray[np.int64]:
        """Return the sample numbers of steps ``step ...``, shape (n_steps, rows of a batch)."""
        if self.given is None:
            return self.schedule.batches(step, n_steps)
        return self.given[step - self.first : step - self.first + n_steps]


def read(samples: Samples, schedule: Schedule, step: int) -> Portion:
    """Return the portion that begins with a step."""
    x, y, weight, end = samples.x, samples.y, samples.weight, schedule.steps
    if isinstance(y, Renewed):
        y, end = y.current, min(end, step - step % y.every + y.every)
    if not isinstance(x, Windows):
        return Portion(x, taken(y, None), weight, step, end, None, schedule)
    end = min(end, schedule.window_end(step, x.window))
    batches = schedule.batches(step, end - step)
    rows, given = np.unique(batches, return_inverse=True)
    own = x.of(rows, x.sparse), taken(y, rows), taken(weight, rows)
    return Portion(*own, step, end, given.reshape(batches.shape), schedule)


class Feed(Ahead[int, Portion]):
    """Gives the portion that begins with a step by `get`, and reads the one behind it meanwhile."""

    def __init__(self, samples: Samples, schedule: Schedule) -> None:
        super().__init__()
        self._samples, self._schedule = samples, schedule
        self._working = True

    def make(self, step: int) -> Portion:
        """Read the portion that begins with a step."""
        began = time.thread_time(), time.perf_counter()
        portion = read(self._samples, self._schedule, step)
        worked, took = time.thread_time() - began[0], time.perf_counter() - began[1]
        self._working = worked > took / 2
        return portion

    @property
    def takes_thread(self) -> bool:
        """Whether something is being read by work more than by waiting, as the last one was."""
        return self.under_way and self._working

    def go_on(self, portion: Portion) -> Portion:
        """Read the next, now that a trainer has this one and not the last one any more.

        Only where its targets are known by now. Return it without what that trainer keeps alone, so
        that it goes when the next one comes.
        """
        known = not isinstance(self._samples.y, Renewed)
        if portion.end < self._schedule.steps and known:
            self.start(portion.end)
        return dataclasses.replace(portion, x=None, y=None, weights=None)
