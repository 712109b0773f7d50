# SPDX-License-Identifier: BSD-3-Clause
"""How long a training takes, and which samples each step gets."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_batches, check_int
from ..base.streams import SampleOrder
from ..core.windows import Windows
from ..errors import DataError
from .distributed import Session

#: Samples of a step, or all if there are fewer.
DEFAULT_BATCH_SIZE = 100


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long and in which order to train, checked."""

    steps: int
    batch_size: int
    eval_every: int  # 0: only at the end
    order: SampleOrder  # the shuffle,
    samples_before: int  # where it goes on after so many samples
    steps_before: int  # of the optimizer's state
    given: NDArray[np.int64] | None  # (steps, batch_size), instead of it
    # of each batch, those that this process takes
    rows: slice = dataclasses.field(default_factory=lambda: slice(None))

    @classmethod
    def check(
        cls,
        *,
        steps: int | None,
        epochs: int | None,
        default_steps: int,
        batch_size: int | None,
        eval_every: int,
        batches: Any,
        order: SampleOrder,
        steps_before: int,
        samples_before: int | None,
        least: int = 1,
    ) -> Schedule:
        """Check what a user asked for; `batches` replaces the shuffle and sets both sizes.

        Of `steps`, `epochs` and `batches` one at most says how long: `epochs` as many whole batches
        as hold each sample that often. `least` is the least that steps and epochs may be.

        `samples_before` is None if nobody knows: of batches of one size, then.
        """
        n_samples = order.n_samples
        eval_every = check_int("eval_every", eval_every, 0)
        if steps is not None:
            steps = check_int("steps", steps, least)
        if epochs is not None:
            epochs = check_int("epochs", epochs, least)
            for name, other in (("steps", steps), ("batches", batches)):
                if other is not None:
                    raise DataError(f"epochs: expected None beside {name}, got {epochs}")
        if batch_size is not None:
            batch_size = check_int("batch_size", batch_size, 1)
        if batches is not None:
            batches = check_batches("batches", batches, n_samples)
            sizes = batches.shape
            for name, value, size in zip(
                ("steps", "batch_size"), (steps, batch_size), sizes, strict=True
            ):
                if value not in (None, size):
                    raise DataError(
                        f"{name}: expected {size}, as batches of shape {sizes} say, got {value}"
                    )
            steps, batch_size = sizes
        batch_size = min(DEFAULT_BATCH_SIZE, n_samples) if batch_size is None else batch_size
        if epochs is not None:
            steps = -(-epochs * n_samples // batch_size)
        steps = default_steps if steps is None else steps
        if batches is None and batch_size > n_samples:
            raise DataError(
                f"batch_size: expected at most the {n_samples} samples of x, got {batch_size}"
            )
        if samples_before is None:
            samples_before = steps_before * batch_size
        return cls(steps, batch_size, eval_every, order, samples_before, steps_before, batches)

    def over(self, x: Any) -> Schedule:
        """Return the same in the order of samples that are read in windows, where these are."""
        if not isinstance(x, Windows):
            return self
        return dataclasses.replace(self, order=self.order.in_windows(x.block, x.window))

    def shared(self, session: Session | None) -> Schedule:
        """Return the same with this process's rows of each batch alone."""
        if session is None:
            return self
        return dataclasses.replace(self, rows=session.rows(self.batch_size))

    def window_end(self, step: int, window: int) -> int:
        """Return the step before which to change what is in memory, `window` samples at most.

        Samples that are left of one window, less than a batch, are in memory with the next.
        """
        size = self.batch_size
        if self.given is not None:
            return min(self.steps, step + max(1, window // size))
        start = self.samples_before + step * size
        end = self.order.window_end(start + size - 1)
        return min(self.steps, (end - self.samples_before) // size)

    def batches(self, first: int, n_steps: int) -> NDArray[np.int64]:
        """Return the sample numbers of steps ``first ...``, shape (n_steps, rows of a batch)."""
        if self.given is not None:
            batches = self.given[first : first + n_steps]
        else:
            batches = self.order.batches(first, n_steps, self.batch_size, self.samples_before)
        return batches[:, self.rows]
