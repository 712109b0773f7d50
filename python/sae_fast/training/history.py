# SPDX-License-Identifier: BSD-3-Clause
"""What a training found out on its way."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..base.text import Described, Table, number, percent

#: Evaluations in a summary at most.
N_ROWS = 10


@dataclasses.dataclass(repr=False)
class History(Described):
    """Curve of one training phase, a point per evaluation.

    Attributes
    ----------
    steps : list of int
        Step after which each point was measured, counted from 1.
    loss : list of float
        Sum over the evaluated set (weight decay and penalties included where there are any).
    accuracy : list of float
        Share of right classes in ``[0, 1]``; empty for an autoencoder.
    seconds : float
        Wall time of the phase.
    n_samples : int
        Samples of the evaluated set.
    mean_loss : list of float
        `loss` per sample: of an autoencoder summed over the features.
    """

    steps: list[int] = dataclasses.field(default_factory=list)
    loss: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    n_samples: int = 1

    @property
    def mean_loss(self) -> list[float]:  # noqa: D102
        return [loss / self.n_samples for loss in self.loss]

    def _line(self) -> str:
        known = (
            f"of {self.steps[-1]:,} steps" if self.steps else "without evaluations (no eval_set)"
        )
        per_sample = " per sample" if self.n_samples > 1 else ""
        loss = [f"loss {number(self.mean_loss[-1])}{per_sample}"] if self.loss else []
        accuracy = [f"accuracy {percent(self.accuracy[-1])}"] if self.accuracy else []
        return ", ".join([f"History {known}", *loss, *accuracy, f"{self.seconds:.1f} s"])

    def _tables(self) -> list[Table]:
        n = len(self.steps)
        shown = np.linspace(0, n - 1, min(n, N_ROWS)).astype(int).tolist()  # first and last too
        rows = [
            {"step": f"{self.steps[at]:,}", "loss": number(self.loss[at])}
            | ({"per sample": number(self.mean_loss[at])} if self.n_samples > 1 else {})
            | ({"accuracy": percent(self.accuracy[at])} if self.accuracy else {})
            for at in shown
        ]
        return [Table("Evaluations", rows)] if rows else []
