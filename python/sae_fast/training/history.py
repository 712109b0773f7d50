# SPDX-License-Identifier: BSD-3-Clause
"""What a training found out on its way."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class History:
    """Curve of one training phase, a point per evaluation.

    Attributes
    ----------
    steps : list of int
        Step after which each point was measured, counted from 1.
    loss : list of float
        Sum over the evaluated set (weight decay included where there is any).
    accuracy : list of float
        Share of right classes in ``[0, 1]``; empty for an autoencoder.
    seconds : float
        Wall time of the phase.
    n_samples : int
        Samples of the evaluated set.
    mean_loss : list of float
        `loss` per sample: of an autoencoder the squared error summed over the features.
    """

    steps: list[int] = dataclasses.field(default_factory=list)
    loss: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    n_samples: int = 1

    @property
    def mean_loss(self) -> list[float]:  # noqa: D102
        return [loss / self.n_samples for loss in self.loss]
