# SPDX-License-Identifier: BSD-3-Clause
"""The activations of layers: one row for each says what it is called here and elsewhere.

Options, model files, ONNX and PyTorch go by this table; what it computes stands in the core.
"""

from __future__ import annotations

from typing import NamedTuple


class Activation(NamedTuple):
    """An activation, elementwise; where it does nothing there is no operator for it."""

    name: str
    onnx: str | None  # operator
    torch: str | None  # class in torch.nn


ACTIVATIONS = {
    row.name: row
    for row in (
        Activation("linear", None, None),
        Activation("relu", "Relu", "ReLU"),
        Activation("sigmoid", "Sigmoid", "Sigmoid"),
        Activation("tanh", "Tanh", "Tanh"),
    )
}
