# SPDX-License-Identifier: BSD-3-Clause
"""Layers as plain records: from such a list come networks, ONNX graphs and PyTorch modules."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .activations import Function


class Layer(NamedTuple):
    """One dense layer: the activation of ``x w + b``."""

    w: NDArray[Any]  # (n_in, n_out)
    b: NDArray[Any]  # (n_out,)
    activation: Function = "linear"


@dataclasses.dataclass(frozen=True)
class Part:
    """The layers from the samples to one output of a model, with or without a softmax on top."""

    name: str
    layers: Sequence[Layer]
    softmax: bool = False
