# SPDX-License-Identifier: BSD-3-Clause
"""The core's networks: how they are built, what they compute, how they are trained.

The rooms above call these functions and a network's own few methods, and know nothing else of the
core.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..base.npy import collect
from ..datasets.sources import SpilledSource
from ..errors import DataError
from .activations import Function, TopK
from .inputs import as_input, check_whole, core_class, taken
from .layers import Part
from .units import PLAIN, Units
from .windows import Windows, each_part

Network: TypeAlias = _core.Network_float32 | _core.Network_float64

#: What the core calls a loss, where that is not its name here: `article` is that of a recipe.
_LOSSES = {"article": "clipped_cross_entropy"}
_BLOCK = 2**20  # numbers of samples that are dense at a time


def _loss(name: str) -> _core.Loss:
    return _core.Loss[_LOSSES.get(name, name)]


def _dtype(network: Network) -> str:
    return type(network).__name__.rpartition("_")[2]


# Building


def new_network(
    dtype: str,
    widths: Sequence[int],
    activations: Sequence[Function],
    *,
    tied: bool = False,
    centers: bool = False,
) -> Network:
    """Return a network of layers `widths`, all parameters 0; MemoryError says its size.

    Where it is `tied` the upper half of its layers has the transposed weights of the lower one.
    With `centers` the columns of the last layer's weights are points, and its softmax is how what
    is below is assigned to them, by Student's t-distribution.
    """
    names = ["top_k" if isinstance(one, TopK) else one for one in activations]
    try:
        network: Network = core_class("Network", dtype)(
            widths,
            [_core.Activation[name] for name in names],
            kept=[one.k if isinstance(one, TopK) else 0 for one in activations],
            tied=tied,
            centers=centers,
        )
    except MemoryError:
        size = sum((n_in + 1) * n_out for n_in, n_out in itertools.pairwise(widths))
        size *= np.dtype(dtype).itemsize
        layers = "-".join(map(str, widths))
        raise MemoryError(f"a network {layers} takes {size / 1e9:,.1f} GB, not to be had") from None
    return network


def network_of(part: Part) -> Network:
    """Return a network with copies of the layers of a part; a network has no softmax of its own."""
    layers = part.layers
    network = new_network(
        layers[0].w.dtype.name,
        [len(layers[0].w), *(len(layer.b) for layer in layers)],
        [layer.activation for layer in layers],
    )
    for i, layer in enumerate(layers):
        network.set_parameters(i, layer.w, layer.b)
    return network


# Computing


def predict(
    network: Network,
    x: Any,
    n_threads: int,
    *,
    layers: tuple[int, int],
    softmax: bool = False,
    labels: bool = False,
    units: Units = PLAIN,
    out: Any = None,
) -> NDArray[Any]:
    """Return what the layers from `layers[0]` to before `layers[1]` make of an input.

    As `labels`, 1 for what is above a half, if asked for. It leaves in the samples' own `units`,
    and goes to where `out` says, as `collect` has it.
    """
    first, last = layers

    def of(part: Any, start: int, n_threads: int) -> NDArray[Any]:
        try:
            found: NDArray[Any] = network.predict(
                part, first_layer=first, last_layer=last, softmax=softmax, n_threads=n_threads
            )
        except ValueError as error:  # logits that overflow
            raise _in_row(error, start) from error
        return (found > 0.5).astype(np.int64) if labels else units.undo(found)

    return _over_parts(x, of, n_threads, out)


def _over_parts(
    x: Any, of: Callable[[Any, int, int], NDArray[Any]], n_threads: int, out: Any
) -> NDArray[Any]:
    """Return the rows that `of` gives for each part of an input, as `each_part` calls it."""
    if out is None and not isinstance(x, Windows):  # as soon as may be: of one row
        return of(x, 0, n_threads)
    return collect((rows for _, rows in each_part(x, of, n_threads)), x.n_samples, out)


def _in_row(error: ValueError, start: int) -> DataError:
    """Return an error of the core about samples from `start` on with their number among all."""
    found = re.sub(r"row (\d+)", lambda found: f"row {int(found[1]) + start}", str(error), count=1)
    return DataError(f"x: {found}")


def classify(network: Network, x: Any, n_threads: int, out: Any = None) -> NDArray[np.int64]:
    """Return the class with the largest output for each sample of an input."""

    def of(part: Any, start: int, n_threads: int) -> NDArray[np.int64]:
        try:
            return network.classify(part, n_threads=n_threads)
        except ValueError as error:
            raise _in_row(error, start) from error

    return _over_parts(x, of, n_threads, out)


def encode_input(network: Network, x: Any, n_layers: int, n_threads: int) -> Any:
    """Return what the first `n_layers` make of an input, as an input.

    Of samples in windows the codes go to a temporary file; OutputError if that cannot be written.
    To compute them anew for each window would take as long as that in every epoch.
    """
    if isinstance(x, Windows):
        dtype, n_out = _dtype(network), len(network.get_parameters(n_layers - 1)[1])
        codes = SpilledSource((x.n_samples, n_out), dtype, like=x.source)

        def of(part: Any, _: int, n_threads: int) -> NDArray[Any]:
            layers = {"first_layer": 0, "last_layer": n_layers}
            found: NDArray[Any] = network.predict(
                part, **layers, softmax=False, n_threads=n_threads
            )
            return found

        for _, rows in each_part(x, of, n_threads):
            codes.write(rows)
        return as_input("codes", codes, n_out, dtype, n_threads)
    try:
        return network.encode(x, first_layer=0, last_layer=n_layers, n_threads=n_threads)
    except ValueError as error:  # not finite
        raise DataError(f"codes: {error}") from error


def squared_errors(network: Network, x: Any, n_threads: int) -> NDArray[np.float64]:
    """Return the mean squared error per feature that a network leaves of each sample."""
    loss = _core.Loss.squared_error

    def of(part: Any, _: int, n_threads: int) -> NDArray[np.float64]:
        return _core.sample_losses(network, part, None, loss=loss, n_threads=n_threads)

    errors = _over_parts(x, of, n_threads, None)
    errors /= x.n_features
    return errors


def feature_errors(
    network: Network, x: Any, n_layers: int, n_threads: int, factor: float = 1.0, out: Any = None
) -> NDArray[np.float64]:
    """Return the squared error that all layers of a network leave of each feature of a sample.

    Times a `factor`, and where `out` says, as `collect` has it.
    """
    n_rows = max(1, _BLOCK // x.n_features)

    def of(part: Any, _: int, n_threads: int) -> NDArray[np.float64]:
        errors = np.empty((part.n_samples, x.n_features))
        for first in range(0, part.n_samples, n_rows):
            rows = part.rows(first, min(first + n_rows, part.n_samples))
            read = as_input("x", rows, x.n_features, _dtype(network), n_threads)
            own = errors[first : first + n_rows]
            np.subtract(rows, predict(network, read, n_threads, layers=(0, n_layers)), out=own)
            np.square(own, out=own)
        errors *= factor
        return errors

    return _over_parts(x, of, n_threads, out)


def count_dead_units(network: Network, x: Any, n_threads: int) -> list[int]:
    """Return how many units of each layer have a derivative of zero on all samples of an input."""

    def of(part: Any, _: int, n_threads: int) -> list[NDArray[np.bool_]]:
        return network.dead_units(part, n_threads=n_threads)

    dead: list[NDArray[np.bool_]] = []
    for _, own in each_part(x, of, n_threads):
        dead = [one & other for one, other in zip(dead, own, strict=True)] if dead else own
    return [int(units.sum()) for units in dead]


def _compared(y: Any) -> tuple[NDArray[np.int64] | None, Any]:
    """Return labels and targets as the core takes them, those that there are."""
    return (y, None) if y is None or isinstance(y, np.ndarray) else (None, y)


def evaluate(
    network: Network,
    x: Any,
    y: Any,
    n_threads: int,
    *,
    loss: str,
    weight: Any = None,
    weight_decay: float = 0.0,
    penalties: Mapping[str, float] | None = None,
) -> tuple[float, float]:
    """Return the loss summed over an input, and the share of labels that are right.

    y: classes (n_samples,), an input of targets, or None for `x` itself. NaN where there are no
    labels. `weight` (n_samples,) are factors of the samples' losses; None: all count once.
    """
    new_evaluator = functools.partial(
        core_class("Evaluator", _dtype(network)),
        network,
        loss=_loss(loss),
        weight_decay=weight_decay,
        penalties=penalties or {},
    )

    def of(part: Any, first: int, n_threads: int) -> Any:
        rows = None if part is x else slice(first, first + part.n_samples)
        labels, targets = _compared(taken(y, rows))
        evaluator = new_evaluator()
        evaluator.add(part, labels, taken(weight, rows), targets=targets, n_threads=n_threads)
        return evaluator

    check_whole(y)  # once, before several threads ask
    total = new_evaluator()
    for _, evaluator in each_part(x, of, n_threads):
        total.merge(evaluator)
    value, n_right = total.result()
    n_labels = count_labels(y, loss)
    return value, n_right / n_labels if n_labels else math.nan


def count_labels(y: Any, loss: str) -> int:
    """Return how many labels a loss judges: one per sample, several, or none."""
    if isinstance(y, np.ndarray):
        return len(y)
    labels = y is not None and loss == "binary_cross_entropy"
    return y.n_samples * y.n_features if labels else 0


# Training


def new_optimizer(rule: str, options: Mapping[str, float]) -> _core.Optimizer:
    """Return an optimizer of the core by the name of its update rule."""
    return _core.Optimizer(_core.Rule[rule], options)


def new_state(network: Network, optimizer: _core.Optimizer) -> Any:
    """Return the state of an optimizer before its first step.

    It has `steps_done`, `finite`, `get_state`, which returns copies of its arrays and its steps,
    and `set_state`, which takes them back; TypeError or ValueError if they are of another network.
    """
    return core_class("OptimizerState", _dtype(network))(network, optimizer)


def new_corruption(network: Network, name: str, options: Mapping[str, float], key: int) -> Any:
    """Return a corruption of the core by its name; `key` is Philox's, 64 bits."""
    return core_class("Corruption", _dtype(network))(_core.CorruptionName[name], options, key)


def new_trainer(
    network: Network,
    optimizer: _core.Optimizer,
    state: Any,
    x: Any,
    y: Any,
    weights: NDArray[Any] | None,
    *,
    loss: str,
    **options: Any,
) -> Any:
    """Return a trainer, which works on the network and the optimizer's state; see `_core.pyi`.

    Its ``run(batches, learning_rates, max_seconds=, n_threads=)`` takes steps and says how many, on
    ``team_size(n_threads)`` threads: as many as a step keeps busy. `save_state` and `restore_state`
    keep and bring back parameters and state. Of a step that is shared ``gradient(samples, first=,
    out=, n_threads=)`` is a part of a batch's, in an array of `new_gradient`, and
    ``update(gradient, learning_rate=, n_threads=)`` the rest.
    """
    trainer = core_class("Trainer", _dtype(network))
    labels, targets = _compared(y)
    options |= {"targets": targets, "loss": _loss(loss)}
    return trainer(network, optimizer, state, x, labels, weights, **options)


def accumulate(to: NDArray[Any], more: NDArray[Any]) -> None:
    """Add one array to another, both contiguous, as the core rounds: with no subnormal numbers."""
    _core.accumulate(to, more)


def set_samples(trainer: Any, x: Any, y: Any, weights: NDArray[Any] | None) -> None:
    """Let a trainer go on with other samples, of the same kind."""
    labels, targets = _compared(y)
    trainer.set_samples(x, labels, weights, targets=targets)
