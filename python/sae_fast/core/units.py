# SPDX-License-Identifier: BSD-3-Clause
"""A zero of each feature and a unit of all: a network reads ``(x - zero) / unit``.

Networks learn from values around 1, and float32 holds small differences around 0 alone. Layers and
reconstructions leave a model in the samples' own units.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_float
from .layers import Layer


@dataclasses.dataclass(frozen=True)
class Units:
    """What samples are measured in."""

    zero: tuple[float, ...] = ()  # of each feature; empty: 0
    unit: float = 1.0  # a power of 2, which nothing is rounded by

    def __post_init__(self) -> None:
        """Check the numbers, which may come from a file."""
        zero = tuple(check_float("zero", abs(one), positive=False) for one in self.zero)
        object.__setattr__(self, "zero", tuple(map(math.copysign, zero, self.zero)))
        check_float("unit", self.unit, positive=True)

    def __bool__(self) -> bool:
        """Say whether they change anything."""
        return self != PLAIN

    @property
    def _zeros(self) -> Any:
        return np.array(self.zero) if self.zero else 0.0

    def undo(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return what a network gives back, in the samples' units."""
        return (x * self.unit + self._zeros).astype(x.dtype) if self else x

    def read(self, layer: Layer) -> Layer:
        """Return a network's first layer as one that reads samples as they are."""
        w = layer.w / self.unit
        moved = (np.reshape(self._zeros, (-1, 1)) * w.astype(np.float64)).sum(axis=0)
        return layer._replace(w=w.astype(layer.w.dtype), b=(layer.b - moved).astype(layer.b.dtype))

    def restore(self, layer: Layer) -> Layer:
        """Return a network's last, linear layer as one that gives samples back as they were."""
        return layer._replace(w=(layer.w * self.unit).astype(layer.w.dtype), b=self.undo(layer.b))


#: Samples as they are.
PLAIN = Units()
