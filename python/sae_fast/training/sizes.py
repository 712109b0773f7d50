# SPDX-License-Identifier: BSD-3-Clause
"""How large samples are, and what follows from that: a learning rate, and advice.

A step of Adam moves each weight by about the learning rate, whatever the gradient. Where all
samples have something in common, such as many numbers above zero, all weights of a unit move the
same way and its pre-activation with them, on all samples at once: that is how units die.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.inputs import column_means, sample_blocks
from ..core.units import PLAIN, Units

#: Learning rate of a model's trainings where samples allow it.
LEARNING_RATE = 1e-3
#: A step of the rate 0.001 may move the mean of a pre-activation by 0.13 of its spread over the
#: samples.
_SHARE = 130.0  # benchmarks/defaults.py

_LARGE, _SMALL = 1e3, 1e-3  # beyond which the size of samples is in the way
_FAR = 30.0  # times the spread: as far from zero


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Mean and spread of each feature, and how large the values beside zero are."""

    mean: NDArray[np.float64]  # (n_features,)
    spread: NDArray[np.float64]  # (n_features,), the standard deviation
    size: float  # root mean square of the values that are not 0

    @classmethod
    def of(cls, x: Any) -> Sizes:
        """Measure some rows of an input of the core."""
        mean = column_means(sample_blocks(x))
        variance = column_means((rows - mean) ** 2 for rows in sample_blocks(x))
        n_samples = n_nonzero = 0
        for rows in sample_blocks(x):
            n_samples += len(rows)
            n_nonzero += int(np.count_nonzero(rows))
        squares = n_samples * float((variance + mean**2).sum())
        return cls(mean, np.sqrt(variance), math.sqrt(squares / max(1, n_nonzero)))

    def learning_rate(self, most: float) -> float:
        """Return a rate at which units stay alive, at most `most`.

        The spread is that of pre-activations by weights from N(0, 2/n_features), as He draws them.
        """
        far = np.hypot(self.mean, self.spread)
        shared = np.divide(self.mean**2, far, out=np.zeros_like(far), where=far > 0)
        moved = 1 + float(shared.sum())  # by the bias, and by all weights as far as they agree
        spread = float(np.sqrt(2 * (self.spread**2).mean()))
        return most * min(1.0, _SHARE * spread / moved) if spread else most

    def units(self, *, sparse: bool) -> Units:
        """Return units in which samples are around 1: as they are, unless that is in the way.

        What is sparse keeps its zero. A column that is apart from the others is left to complain.
        """
        if self.complaint() is None:
            return PLAIN
        zero, size = float(self.mean.mean()), self.size
        spread = float(np.sqrt((self.spread**2).mean() + self.mean.var()))
        if sparse or abs(zero) <= _FAR * spread:
            zero = 0.0
        else:
            size = spread
        unit = 2.0 ** round(math.log2(size)) if size > 0 else 1.0
        measured = Sizes((self.mean - zero) / unit, self.spread / unit, size / unit)
        return Units(zero, unit) if measured.complaint() is None else PLAIN

    def complaint(self) -> str | None:
        """Say which feature is of a size that is in the way of training, or None."""
        far = np.hypot(self.mean, self.spread)
        at = int(np.argmax(far))
        spread = float(np.sqrt((self.spread**2).mean()))
        if far[at] > _LARGE or far[at] > _FAR * spread > 0:
            return f"column {at} with values around {self.mean[at]:.3g} ± {self.spread[at]:.2g}"
        if 0 < self.size < _SMALL:
            return f"values around {self.size:.1g}"
        return None
