# SPDX-License-Identifier: BSD-3-Clause
"""What a training minimizes, and over what: a loss with its penalties, and samples."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_choice, settle_float
from ..core.units import PLAIN, Units
from .corruptions import Corruption

#: The losses, each with its target: what it compares the network's output with.
LOSSES = {"squared_error": "input", "article": "labels", "cross_entropy": "labels"}
LABEL_LOSSES = [loss for loss, target in LOSSES.items() if target == "labels"]


@dataclasses.dataclass(frozen=True)
class L2:
    """Penalty ``weight_decay/2`` times the sum of the squared weights; biases carry none."""

    weight_decay: float

    def __post_init__(self) -> None:
        """Check the number, and make it Python's own."""
        settle_float(self, "weight_decay")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss, summed over samples, and what is added to it."""

    loss: str
    penalties: tuple[L2, ...] = ()

    def __post_init__(self) -> None:
        """Check the name."""
        check_choice("loss", self.loss, list(LOSSES))

    @property
    def target(self) -> str:
        """What the output is compared with: ``"input"`` or ``"labels"``."""
        return LOSSES[self.loss]

    def in_units(self, loss: float, units: Units) -> float:
        """Return a loss over samples in some units as it is in their own."""
        return loss * units.unit**2 if self.target == "input" else loss

    @property
    def weight_decay(self) -> float:
        """The factor of all L2 penalties together."""
        return sum((penalty.weight_decay for penalty in self.penalties), 0.0)


@dataclasses.dataclass(frozen=True)
class Samples:
    """What an objective is summed over, checked."""

    x: Any  # the core's input, (n_samples, n_features)
    y: NDArray[np.int64] | None = None  # (n_samples,)
    weight: NDArray[Any] | None = None  # (n_samples,), of each sample's loss
    corruption: Corruption | None = None  # of x, at each step anew
    units: Units = PLAIN  # of x
