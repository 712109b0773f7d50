# SPDX-License-Identifier: BSD-3-Clause
"""The activations of layers: one row for each says what it is called here and elsewhere.

Options, model files, ONNX and PyTorch go by this table; what it computes stands in the core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple


class Activation(NamedTuple):
    """An activation, elementwise; where it does nothing there is no operator for it."""

    name: str
    onnx: str | None  # operator
    torch: str | None  # class in torch.nn
    init: str = "he"  # the initialization that fits it
    onnx_attributes: Mapping[str, float] = {}
    torch_options: Mapping[str, float] = {}
    low: float = -math.inf  # what it gives is not below
    high: float = math.inf  # nor above


ACTIVATIONS = {
    row.name: row
    for row in (
        Activation("linear", None, None),
        Activation("relu", "Relu", "ReLU", low=0),
        Activation(
            "leaky_relu", "LeakyRelu", "LeakyReLU", "he", {"alpha": 0.01}, {"negative_slope": 0.01}
        ),
        Activation("elu", "Elu", "ELU", "he", {"alpha": 1.0}, {"alpha": 1.0}),
        Activation(
            "selu",
            "Selu",
            "SELU",
            "lecun",
            {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805},
        ),
        Activation("sigmoid", "Sigmoid", "Sigmoid", "glorot", low=0, high=1),
        Activation("tanh", "Tanh", "Tanh", "glorot"),
        Activation("softplus", "Softplus", "Softplus", torch_options={"beta": 1.0}, low=0),
    )
}
