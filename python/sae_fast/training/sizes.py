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

_LARGE, _SMALL = 30.0, 1e-3  # beyond which the size of samples is in the way: pixels up to 255 are
_UNEQUAL = 1e3  # times the spread of the median feature: where another is all that is learned
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

        What is sparse keeps its zero.
        """
        if self._in_the_way() is None:
            return PLAIN
        zero, size = np.zeros_like(self.mean), self.size
        far = np.abs(self.mean) > _FAR * np.sqrt((self.spread**2).mean())
        if far.any() and not sparse:
            zero = np.where(far, self.mean, 0)
            left = np.hypot(self.mean - zero, self.spread)
            size = float(np.sqrt((left[left > 0] ** 2).mean())) if left.any() else 0.0
        unit = 2.0 ** round(math.log2(size)) if size > 0 else 1.0
        measured = Sizes((self.mean - zero) / unit, self.spread / unit, size / unit)
        if measured._in_the_way() is not None:
            return PLAIN
        return Units(tuple(zero.tolist()) if zero.any() else (), unit)

    def complaint(self, units: Units = PLAIN) -> str | None:
        """Say which feature is of a size that is in the way of training, or None.

        The sizes are those of samples in some units, the words of what they were.
        """
        at = self._in_the_way()
        varied = self.spread[self.spread > 0]
        if at is None and varied.size and varied.max() > _UNEQUAL * np.median(varied):
            at = int(np.argmax(self.spread))
        if at is None:
            return None
        if at < 0:
            return f"values around {self.size * units.unit:.1g}"
        mean = self.mean[at] * units.unit + (units.zero[at] if units.zero else 0)
        spread = self.spread[at] * units.unit
        return f"column {at} with values around {mean:.3g} ± {spread:.2g}"

    def _in_the_way(self) -> int | None:
        """Return a feature that is too large or too far from zero, -1 if all are tiny, or None."""
        far = np.hypot(self.mean, self.spread)
        at = int(np.argmax(far))
        spread = float(np.sqrt((self.spread**2).mean()))
        if far[at] > _LARGE or far[at] > _FAR * spread > 0:
            return at
        return -1 if 0 < self.size < _SMALL else None
