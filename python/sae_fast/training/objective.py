# SPDX-License-Identifier: BSD-3-Clause
"""What a training minimizes, and over what: a loss with its penalties, and samples."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ..base.checks import check_float, nearest, per_layer, settle_float
from ..base.text import shown
from ..core.activations import ACTIVATIONS, Function, traits
from ..core.units import PLAIN, Units
from ..errors import DataError
from .corruptions import Corruption
from .penalties import Penalty

#: What the softmax, which the losses of labels hold, is called among the outputs.
SOFTMAX = "softmax"


class Loss(NamedTuple):
    """A loss: the outputs that it takes, and what it may compare them with."""

    name: str
    outputs: tuple[str, ...] = tuple(ACTIVATIONS)  # activations of the layer that it judges
    low: float = -math.inf  # of the targets
    high: float = math.inf
    degree: int | None = None  # the power of a unit that it has where samples are measured in that


#: The losses, each with what belongs together; what they compute stands in the core.
LOSSES = {
    row.name: row
    for row in (
        Loss("squared_error", degree=2),
        Loss("binary_cross_entropy", ("sigmoid",), low=0, high=1),
        Loss("huber"),
        Loss("absolute_error", degree=1),
        Loss("poisson", ("softplus", "sigmoid"), low=0),
        Loss("article", (SOFTMAX,)),
        Loss("cross_entropy", (SOFTMAX,)),
    )
}


#: What a layer of targets may apply; with "sigmoid" each target is a label, 0 or 1.
HEADS = ("linear", "softplus", "sigmoid")


def losses_of(output: str, *, head: bool = False) -> list[str]:
    """Return the losses that take an output, first the usual one; of labels, those of labels."""
    fitting = [row.name for row in LOSSES.values() if output in row.outputs]
    labels = head and output == "sigmoid"
    return [loss for loss in fitting if LOSSES[loss].high == 1] if labels else fitting


def check_loss(value: object, output: str, *, head: bool = False) -> str:
    """Return the name of a loss that takes an output, or raise DataError with those that do."""
    fitting = losses_of(output, head=head)
    if isinstance(value, str) and value in fitting:
        return value
    outputs = (*HEADS, SOFTMAX) if head else tuple(ACTIVATIONS)
    takes = {
        loss: [repr(one) for one in outputs if loss in losses_of(one, head=head)] for loss in LOSSES
    }
    near = nearest(value, fitting) or nearest(value, [loss for loss in LOSSES if takes[loss]])
    what, hint = "head" if head else "output", ""
    if near in fitting:
        hint = f"; did you mean {near!r}?"
    elif near is not None:
        of_classes = takes[near] == [repr(SOFTMAX)]
        needed = "n_classes" if of_classes else f"{what}={' or '.join(takes[near])}"
        hint = f"; {near!r} needs {needed}"
    raise DataError(
        f"loss: expected one of {', '.join(fitting)} with {what} {output!r}, got "
        f"{shown(value)}{hint}"
    )


def check_targets(name: str, target: Any, loss: str, n_threads: int, output: str) -> None:
    """Raise DataError if an input of the core has values that a loss has no meaning for.

    A loss that has bounds takes none beyond what the output gives either.
    """
    low, high = LOSSES[loss].low, LOSSES[loss].high
    if math.isinf(low) and math.isinf(high):
        return
    of_output = ""
    if ACTIVATIONS[output].high < high:
        high, of_output = ACTIVATIONS[output].high, f" with output {output!r}"
    found = target.find_outside(low, high, n_threads=n_threads)
    if found is not None:
        row, column, value = found
        raise DataError(
            f"{name}: expected {_span(low, high)} for loss {loss!r}{of_output}, got "
            f"{value:.9g} in row {row:,}, column {column:,}"
        )


def check_codes(loss: str, activation: Function, layer: int) -> None:
    """Raise DataError if a loss has no meaning for all that an activation may give it to restore.

    layer: whose autoencoder restores them, counted from 1.
    """
    row, codes = LOSSES[loss], traits(activation)
    if codes.low < row.low or codes.high > row.high:
        raise DataError(
            f"loss: expected codes {_span(row.low, row.high).removeprefix('values ')} for {loss!r} "
            f"at layer {layer}, got those of {activation!r} in layer {layer - 1}"
        )


def _span(low: float, high: float) -> str:
    return f"values of at least {low:g}" if math.isinf(high) else f"values from {low:g} to {high:g}"


@dataclasses.dataclass(frozen=True)
class L2:
    """Penalty ``weight_decay/2`` times the sum of the squared weights; biases carry none."""

    weight_decay: float

    def __post_init__(self) -> None:
        """Check the number, and make it Python's own."""
        settle_float(self, "weight_decay")


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss, summed over samples, what is added to it, and what is left out meanwhile."""

    loss: str
    penalties: tuple[L2 | Penalty, ...] = ()
    dropout: tuple[float, ...] = ()  # shares of the units of each hidden layer; empty: none

    def in_units(self, loss: float, samples: Samples) -> float:
        """Return a loss over samples that are read in some units as it is in their own."""
        degree = None if samples.y is not None else LOSSES[self.loss].degree
        return loss if degree is None else loss * samples.units.unit**degree

    @property
    def weight_decay(self) -> float:
        """The factor of all L2 penalties together."""
        return sum((one.weight_decay for one in self.penalties if isinstance(one, L2)), 0.0)

    @property
    def added(self) -> dict[str, float]:
        """All other penalties as the core takes them."""
        numbers: dict[str, float] = {}
        for one in self.penalties:
            if isinstance(one, Penalty):
                numbers |= one._options()
        return numbers

    def describe(self) -> dict[str, Any]:
        """Return what identifies it, in JSON's types."""
        others = [one.describe() for one in self.penalties if isinstance(one, Penalty)]
        return {"loss": self.loss, "weight_decay": self.weight_decay, "penalties": others}


def check_dropout(dropout: Any, n_hidden: int, n_decoding: int = 0) -> tuple[float, ...]:
    """Return shares of units to leave out, one for each hidden layer, or none if all are 0.

    n_decoding: how many of the hidden layers are those of decoders.
    """
    what = f"hidden layers, {n_decoding} of decoders among them" if n_decoding else "layers"
    shares = tuple(
        check_float("dropout", share, positive=False)
        for share in per_layer("dropout", dropout, n_hidden, what)
    )
    for share in shares:
        if share >= 1:
            raise DataError(f"dropout: expected less than 1, got {shown(share)}")
    return shares if any(shares) else ()


@dataclasses.dataclass
class Renewed:
    """Targets that a callback sets anew each `every` steps, before the step after these."""

    every: int
    current: Any = None  # the core's input, (n_samples, n_targets)


@dataclasses.dataclass(frozen=True)
class Samples:
    """What an objective is summed over, checked."""

    x: Any  # the core's input, (n_samples, n_features)
    y: Any = None  # labels (n_samples,), an input of targets, or Renewed; None: x is its own target
    weight: NDArray[Any] | None = None  # (n_samples,), of each sample's loss
    corruption: Corruption | None = None  # of x, at each step anew
    units: Units = PLAIN  # of x
    scale: float | None = None  # of x, where that was uint8
    codes: bool = False  # whether x is what a layer made
