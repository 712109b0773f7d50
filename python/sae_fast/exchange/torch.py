# SPDX-License-Identifier: BSD-3-Clause
"""Models as PyTorch modules, there and back. The only module that imports the optional torch."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.activations import ACTIVATIONS, Function, TopK
from ..core.layers import Layer, Part
from ..errors import DataError

if TYPE_CHECKING:
    import torch


def _torch(caller: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{caller}: expected the package torch (pip install torch), got {error}"
        ) from error
    return torch


@functools.cache
def _top_k() -> Any:
    """Return the module of `TopK`, a class that can be once torch is there."""
    base: Any = _torch("TopK").nn.Module

    class Module(base):  # type: ignore[misc]
        """The k largest of each row, the others 0; which of equal ones stays, topk decides."""

        def __init__(self, k: int) -> None:
            super().__init__()
            self.k = k

        def forward(self, z: Any) -> Any:
            values, places = z.topk(self.k, dim=-1)
            return z.new_zeros(z.shape).scatter(-1, places, values)

        def extra_repr(self) -> str:
            return f"k={self.k}"

    Module.__name__ = Module.__qualname__ = "TopKModule"
    return Module


def __getattr__(name: str) -> Any:
    """Find the module of `TopK` where a pickle names it."""
    if name == "TopKModule":
        return _top_k()
    raise AttributeError(name)


def _module_of(activation: Function, nn: Any) -> Any | None:
    """Return the module of an activation, None if it does nothing."""
    if isinstance(activation, TopK):
        return _top_k()(activation.k)
    row = ACTIVATIONS[activation]
    return None if row.torch is None else getattr(nn, row.torch)(**row.torch_options)


def to_torch(source: Part) -> torch.nn.Sequential:
    """Return a part of a model as a PyTorch module; see :meth:`Model.to_torch`."""
    torch = _torch("to_torch")
    nn = torch.nn
    modules = []
    for w, b, activation in source.layers:
        # without PyTorch's own initial weights, which would move its random stream
        linear = nn.utils.skip_init(nn.Linear, *w.shape, dtype=getattr(torch, w.dtype.name))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T))
            linear.bias.copy_(torch.from_numpy(b))
        modules.append(linear)
        function = _module_of(activation, nn)
        if function is not None:
            modules.append(function)
    if source.softmax:
        modules.append(nn.Softmax(dim=1))
    return nn.Sequential(*modules)


def _flat(name: str, module: Any, nn: Any) -> Iterator[tuple[str, Any]]:
    """Yield each layer of nested Sequentials with the expression that leads to it."""
    if not isinstance(module, nn.Sequential):
        yield name, module
        return
    for i, child in enumerate(module):
        yield from _flat(f"{name}[{i}]", child, nn)


def from_torch(module: Any) -> Part:
    """Return the layers of a PyTorch module.

    DataError if it is no Sequential of Linear and activations with at most a softmax on top, each
    layer as wide as the next one takes; ImportError if the package torch is not installed.
    """
    torch = _torch("from_torch")
    nn = torch.nn
    if not isinstance(module, nn.Sequential):
        raise DataError(f"module: expected a torch.nn.Sequential, got {type(module).__name__}")
    kinds = {getattr(nn, row.torch): row for row in ACTIVATIONS.values() if row.torch}
    found = list(_flat("module", module, nn))
    layers: list[Layer] = []
    dtype, softmax = None, False
    for at, (name, child) in enumerate(found):
        after_linear = bool(at) and isinstance(found[at - 1][1], nn.Linear)
        if isinstance(child, nn.Linear):
            weight = child.weight.detach().cpu()
            dtype = dtype or weight.dtype
            if dtype not in (torch.float32, torch.float64):
                raise DataError(f"{name}: expected torch.float32 or torch.float64, got {dtype}")
            if weight.dtype != dtype:
                raise DataError(f"{name}: expected {dtype}, as before it, got {weight.dtype}")
            if layers and len(layers[-1].b) != child.in_features:
                raise DataError(
                    f"{name}: expected {len(layers[-1].b)} in_features, what comes before it "
                    f"returns, got {child.in_features}"
                )
            w = weight.numpy().T
            b = np.zeros(w.shape[1]) if child.bias is None else child.bias.detach().cpu().numpy()
            layers.append(Layer(w, b))
        elif isinstance(child, tuple(kinds)) and after_linear:
            row = next(row for kind, row in kinds.items() if isinstance(child, kind))
            for option, value in row.torch_options.items():
                if getattr(child, option) != value:
                    raise DataError(f"{name}: expected {option}={value}, got {child}")
            layers[-1] = layers[-1]._replace(activation=row.name)
        elif isinstance(child, _top_k()) and after_linear:
            layers[-1] = layers[-1]._replace(activation=TopK(child.k))
        elif (
            isinstance(child, (nn.Softmax, nn.LogSoftmax))
            and child.dim in (1, -1)
            and after_linear
            and at == len(found) - 1
        ):
            softmax = True
        else:
            known = " or ".join(kind.__name__ for kind in kinds)
            raise DataError(
                f"{name}: expected Linear, a {known} after one, or at the end Softmax or "
                f"LogSoftmax of dim 1 after one, got {child}"
            )
    if not layers:
        raise DataError("module: expected at least one Linear, got none")
    return Part("module", layers, softmax)
