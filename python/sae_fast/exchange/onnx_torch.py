# SPDX-License-Identifier: BSD-3-Clause
"""Models for other libraries: ONNX files, and PyTorch modules there and back.

The only module that imports onnx and torch, both of them optional.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.checks import check_path
from ..base.files import write_file
from ..errors import DataError
from ..models.model import Layer, Model, Part

if TYPE_CHECKING:
    import torch

#: What the output of each part is called.
_OUTPUTS = {
    "encoder": "code",
    "reconstruction": "reconstruction",
    "classifier": "probabilities",
}
_OPSET = 13  # the oldest whose Softmax is one over an axis: what most runtimes can read
_MOST_BYTES = 2**31 - 2**20  # of parameters; a protobuf message ends at 2 GiB


def export_onnx(model: Model, path: str | Path, part: str | None) -> Path:
    """Write a part of a model to an ONNX file; see :meth:`Model.export_onnx`."""
    from .. import __version__

    path = check_path("path", path)
    source = model._part(part)
    n_bytes = sum(layer.w.nbytes + layer.b.nbytes for layer in source.layers)
    if n_bytes > _MOST_BYTES:
        raise DataError(
            f"part: expected at most {_MOST_BYTES / 1e9:.1f} GB, what an ONNX file can hold, got "
            f"{n_bytes / 1e9:.1f} GB in {source.name!r}"
        )
    try:
        import onnx
    except ImportError as error:
        raise ImportError(
            f"export_onnx: expected the package onnx (pip install 'sae-fast[onnx]'), got {error}"
        ) from error
    from onnx import helper, numpy_helper

    nodes, values, last = [], [], "x"
    for i, (w, b, relu) in enumerate(source.layers, start=1):
        values += [numpy_helper.from_array(w, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [last, f"W{i}", f"b{i}"], [f"z{i}"], f"dense{i}"))
        last = f"z{i}"
        if relu:
            nodes.append(helper.make_node("Relu", [last], [f"a{i}"], f"relu{i}"))
            last = f"a{i}"
    if source.softmax:
        nodes.append(helper.make_node("Softmax", [last], ["p"], "softmax", axis=1))
    nodes[-1].output[0] = _OUTPUTS[source.name]

    number = helper.np_dtype_to_tensor_dtype(source.layers[0].w.dtype)
    ends = (("x", len(source.layers[0].w)), (nodes[-1].output[0], len(source.layers[-1].b)))
    inputs, outputs = (
        [helper.make_tensor_value_info(name, number, ["n_samples", width])] for name, width in ends
    )
    opset = [helper.make_opsetid("", _OPSET)]
    file = helper.make_model(
        helper.make_graph(nodes, source.name, inputs, outputs, values),
        opset_imports=opset,
        ir_version=helper.find_min_ir_version_for(opset),
        producer_name="sae_fast",
        producer_version=__version__,
    )
    metadata = {"version": __version__, "part": source.name}
    for name in ("scale", "classes"):
        if getattr(model, name, None) is not None:
            metadata[name] = json.dumps(getattr(model, name))
    helper.set_model_props(file, metadata)
    onnx.checker.check_model(file, full_check=True)
    return write_file(check_path("path", path), file.SerializeToString())


def _torch(caller: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"{caller}: expected the package torch (pip install torch), got {error}"
        ) from error
    return torch


def to_torch(model: Model, part: str | None) -> torch.nn.Sequential:
    """Return a part of a model as a PyTorch module; see :meth:`Model.to_torch`."""
    source = model._part(part)
    torch = _torch("to_torch")
    nn = torch.nn
    modules = []
    for w, b, relu in source.layers:
        # without PyTorch's own initial weights, which would move its random stream
        linear = nn.utils.skip_init(nn.Linear, *w.shape, dtype=getattr(torch, model.dtype))
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(w.T))
            linear.bias.copy_(torch.from_numpy(b))
        modules += [linear, nn.ReLU()] if relu else [linear]
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

    Raises
    ------
    DataError
        If it is no Sequential of Linear and ReLU with at most a softmax on top, each layer as wide
        as the next one takes.
    ImportError
        If the package torch is not installed.
    """
    import numpy as np

    torch = _torch("from_torch")
    nn = torch.nn
    if not isinstance(module, nn.Sequential):
        raise DataError(f"module: expected a torch.nn.Sequential, got {type(module).__name__}")
    found = list(_flat("module", module, nn))
    layers: list[Layer] = []
    dtype = None
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
            layers.append(Layer(w, b, False))
        elif isinstance(child, nn.ReLU) and after_linear:
            layers[-1] = layers[-1]._replace(relu=True)
        elif not (
            isinstance(child, (nn.Softmax, nn.LogSoftmax))
            and child.dim in (1, -1)
            and after_linear
            and at == len(found) - 1
        ):
            raise DataError(
                f"{name}: expected Linear, a ReLU after one, or at the end Softmax or LogSoftmax "
                f"of dim 1 after one, got {child}"
            )
    if not layers:
        raise DataError("module: expected at least one Linear, got none")
    return Part("module", layers, softmax=not isinstance(found[-1][1], (nn.Linear, nn.ReLU)))
