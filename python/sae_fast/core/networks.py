# SPDX-License-Identifier: BSD-3-Clause
"""The core's networks: how they are built, what they compute, how they are trained.

The rooms above call these functions and a network's own few methods, and know nothing else of the
core.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import _core
from .inputs import as_input, core_class
from .layers import Part

#: With the methods `get_parameters`, `set_parameters`, `finite` and `uses_blas`.
Network: TypeAlias = _core.Network_float32 | _core.Network_float64

_ACTIVATIONS = {"linear": _core.Activation.identity, "relu": _core.Activation.relu}


def _dtype(network: Network) -> str:
    return type(network).__name__.rpartition("_")[2]


# Building


def new_network(dtype: str, widths: Sequence[int], activations: Sequence[str]) -> Network:
    """Return a network of layers `widths`, all parameters 0; MemoryError says its size."""
    try:
        network: Network = core_class("Network", dtype)(
            widths, [_ACTIVATIONS[activation] for activation in activations]
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
    network: Network, x: Any, n_threads: int, *, layers: tuple[int, int], softmax: bool = False
) -> NDArray[Any]:
    """Return what the layers from `layers[0]` to before `layers[1]` make of an input."""
    first, last = layers
    out: NDArray[Any] = network.predict(
        x, first_layer=first, last_layer=last, softmax=softmax, n_threads=n_threads
    )
    return out


def encode_input(network: Network, x: Any, n_layers: int, n_threads: int) -> Any:
    """Return what the first `n_layers` make of an input, as an input."""
    codes = predict(network, x, n_threads, layers=(0, n_layers))
    return as_input("codes", codes, codes.shape[1], dtype=_dtype(network), n_threads=n_threads)


def classify(network: Network, x: Any, n_threads: int) -> NDArray[np.int64]:
    """Return the number of the largest output for each sample, shape (n_samples,)."""
    classes: NDArray[np.int64] = network.classify(x, n_threads=n_threads)
    return classes


def count_dead_units(network: Network, x: Any, n_threads: int) -> list[int]:
    """Return, for each layer, how many units are zero on every sample of an input."""
    dead: list[int] = network.count_dead_units(x, n_threads=n_threads)
    return dead


def squared_errors(network: Network, x: Any, n_threads: int) -> NDArray[np.float64]:
    """Return the mean squared error per feature that a network leaves of each sample."""
    errors = _core.squared_errors(network, x, n_threads=n_threads)
    errors /= x.n_features
    return errors


def evaluate(
    network: Network,
    x: Any,
    y: NDArray[np.int64] | None,
    n_threads: int,
    *,
    loss: str,
    weight_decay: float = 0.0,
) -> tuple[float, float]:
    """Return the loss summed over an input, and the share of right classes (NaN without y)."""
    value, n_correct = _core.evaluate(
        network,
        x,
        y,
        loss=getattr(_core.Loss, loss),
        weight_decay=weight_decay,
        n_threads=n_threads,
    )
    return value, math.nan if y is None else n_correct / len(y)


# Training


def new_state(network: Network, n_slots: int) -> Any:
    """Return the state of an optimizer before its first step.

    It has `steps_done`, and `n_slots` arrays of as many numbers as the network has parameters.
    """
    if n_slots != 2:
        raise ValueError(f"an optimizer's state has 2 arrays, got {n_slots}")
    return core_class("Moments", _dtype(network))(network)


def get_state(state: Any) -> tuple[list[NDArray[Any]], int]:
    """Return copies of the arrays of a state, and its steps."""
    *slots, steps_done = state.get_state()
    return slots, steps_done


def set_state(state: Any, slots: Sequence[NDArray[Any]], steps_done: int) -> None:
    """Replace a state; ValueError or TypeError if it is of another network."""
    state.set_state(*slots, steps_done)


def new_trainer(
    network: Network,
    state: Any,
    x: Any,
    y: NDArray[np.int64] | None,
    sample_weight: NDArray[Any] | None,
    *,
    loss: str,
    weight_decay: float,
    optimizer: str,
    settings: Mapping[str, Any],
    learning_rate: float,
    batch_size: int,
) -> Any:
    """Return a trainer, which works on the network and the state.

    Its ``run(batches, max_seconds=, n_threads=)`` takes steps and says how many; `save_state` and
    `restore_state` keep and bring back parameters and state. `settings` are the optimizer's own.
    """
    if optimizer != "adam":
        raise ValueError(f"expected the optimizer adam, got {optimizer}")
    settings = {**settings, "adam": getattr(_core.AdamForm, settings["form"])}
    del settings["form"]
    return core_class("Trainer", _dtype(network))(
        network,
        state,
        x,
        y,
        sample_weight,
        loss=getattr(_core.Loss, loss),
        weight_decay=weight_decay,
        learning_rate=learning_rate,
        batch_size=batch_size,
        **settings,
    )
