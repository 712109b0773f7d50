# SPDX-License-Identifier: BSD-3-Clause
"""The activations of layers: one row for each says what it is called here and elsewhere.

Options, model files, ONNX and PyTorch go by this table; what it computes stands in the core.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeAlias

from ..base.checks import check_choice, check_int, unknown_name
from ..base.text import shown
from ..errors import DataError


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


@dataclasses.dataclass(frozen=True)
class TopK:
    """The `k` largest sums of each sample as they are, all others zero: k-sparse codes [1]_.

    ``a = z`` for the `k` largest ``z = x W + b`` of a row, the first of equals, ``a = 0`` for the
    others, in training and afterwards. Gradients pass through those that stay, unchanged; through
    none that is exactly zero.

    Parameters
    ----------
    k : int
        At most the units of the hidden layer, whose `activation` it is; no decoder has it.

    Raises
    ------
    DataError
        If it is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((100, 16), dtype=np.float32)
    >>> ae = sae_fast.Autoencoder(16, 12, activation=sae_fast.activations.TopK(3))
    >>> history = ae.fit(x, steps=50)
    >>> int((ae.encode(x) != 0).sum(axis=1).max())
    3

    References
    ----------
    .. [1] Makhzani and Frey, "k-Sparse autoencoders", ICLR 2014 (arXiv 1312.5663, 2013).
    """

    k: int

    init: ClassVar[str] = "he"  # it and its bounds: as of linear
    low: ClassVar[float] = -math.inf
    high: ClassVar[float] = math.inf

    def __post_init__(self) -> None:
        """Check the number, and make it Python's own."""
        object.__setattr__(self, "k", check_int("k", self.k, 1))

    def __str__(self) -> str:
        """Say it as a name."""
        return f"top_k({self.k})"


#: What a layer has: a name of the table, or an object where there are numbers beside it.
Function: TypeAlias = str | TopK

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


def check_output(name: str, value: object) -> str:
    """Return the activation of a decoder; DataError if it is none."""
    if isinstance(value, TopK):
        raise DataError(
            f"{name}: expected one of {', '.join(ACTIVATIONS)}, got {shown(value)}, which is for "
            "hidden layers"
        )
    return check_choice(name, value, list(ACTIVATIONS))


def check_activation(name: str, value: object, n_units: int, layer: int) -> Function:
    """Return the activation of a hidden layer; DataError if it is none, or does not fit."""
    if not isinstance(value, TopK):
        if isinstance(value, str) and value in ACTIVATIONS:
            return value
        more = ", or sae_fast.activations.TopK(k)"
        raise unknown_name(name, value, list(ACTIVATIONS), more)
    if value.k > n_units:
        raise DataError(
            f"{name}: expected TopK of at most the {n_units:,} units of layer {layer}, got "
            f"{shown(value)}"
        )
    return value


def traits(activation: Function) -> Activation | TopK:
    """Return what says how an activation is bounded and initialized."""
    return ACTIVATIONS[activation] if isinstance(activation, str) else activation


def describe(value: Any) -> Any:
    """Return an activation, or those in a list, in JSON's types; all else as it is."""
    if isinstance(value, (tuple, list)):
        return [describe(one) for one in value]
    if isinstance(value, TopK):
        return {"name": "top_k", **dataclasses.asdict(value)}
    return value


def from_description(value: Any) -> Any:
    """Undo `describe`; what is none is left to the model's checks."""
    if isinstance(value, list):
        return [from_description(one) for one in value]
    if isinstance(value, dict) and value.get("name") == "top_k" and value.keys() == {"name", "k"}:
        return TopK(value["k"])
    return value
