# SPDX-License-Identifier: BSD-3-Clause
"""Models for other runtimes: ONNX files. The only module that imports the optional onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.activations import ACTIVATIONS, Function, TopK
from ..core.build import VERSION
from ..core.layers import Part
from ..errors import DataError

#: What the output of each part is called, but for that of a sigmoid of labels.
_OUTPUTS = {
    "encoder": "code",
    "reconstruction": "reconstruction",
    "classifier": "probabilities",
    "predictor": "targets",
}
_OPSET = 13  # the oldest whose Softmax is one over an axis: what most runtimes can read
_MOST_BYTES = 2**31 - 2**20  # of parameters; a protobuf message ends at 2 GiB


_Add: TypeAlias = Callable[..., str]
_Number: TypeAlias = Callable[[float], str]
_Settings: TypeAlias = Mapping[str, float]


def _leaky_relu(z: str, add: _Add, number: _Number, settings: _Settings) -> str:
    return add("Max", [z, add("Mul", [z, number(settings["alpha"])])])


def _elu(z: str, add: _Add, number: _Number, settings: _Settings) -> str:
    """``exp(z) - 1 = 2 t / (1 - t)`` with ``t = tanh(z / 2)``, which cancels nothing, below 0."""
    below = add("Min", [z, number(0.0)])
    t = add("Tanh", [add("Mul", [below, number(0.5)])])
    share = add("Div", [t, add("Sub", [number(1.0), t])])
    scaled = add("Mul", [share, number(2 * settings["alpha"])])
    return add("Add", [add("Max", [z, number(0.0)]), scaled])


def _selu(z: str, add: _Add, number: _Number, settings: _Settings) -> str:
    return add("Mul", [_elu(z, add, number, settings), number(settings["gamma"])])


def _softplus(z: str, add: _Add, number: _Number, settings: _Settings) -> str:
    """``max(z, 0) + log(1 + u)`` with ``u = exp(-|z|)``; the logarithm exact for small u too [1]_.

    .. [1] Goldberg, "What every computer scientist should know about floating-point arithmetic",
       ACM Computing Surveys 23, 1991, theorem 4.
    """
    u = add("Exp", [add("Neg", [add("Abs", [z])])])
    one = number(1.0)
    w = add("Add", [u, one])
    near = add("Div", [add("Mul", [u, add("Log", [w])]), add("Sub", [w, one])])
    log = add("Where", [add("Equal", [w, one]), u, near])
    return add("Add", [add("Max", [z, number(0.0)]), log])


#: What ONNX Runtime has in float32 alone; an attribute of a node is float32 besides.
_WRITTEN_OUT = {"leaky_relu": _leaky_relu, "elu": _elu, "selu": _selu, "softplus": _softplus}


def add_activation(
    activation: Function,
    z: str,
    add: Callable[..., str],
    constant: Callable[[NDArray[Any]], str],
    dtype: np.dtype[Any],
) -> str:
    """Return the name of what an activation makes of `z`.

    ``add(operator, inputs, **attributes)`` adds a node, also one of two outputs, and says what its
    (last) output is called; `constant` adds an array and says its name.
    """
    if isinstance(activation, TopK):
        k = constant(np.array([activation.k], np.int64))
        places = add("TopK", [z, k], n_outputs=2, axis=1)
        values = add("GatherElements", [z, places], axis=1)
        nothing = add("Mul", [z, constant(np.zeros(1, dtype))])
        return add("ScatterElements", [nothing, places, values], axis=1)
    row = ACTIVATIONS[activation]
    if dtype == np.float64 and activation in _WRITTEN_OUT:

        def number(value: float) -> str:
            return constant(np.array([value]))

        return _WRITTEN_OUT[activation](z, add, number, row.onnx_attributes)
    return z if row.onnx is None else add(row.onnx, [z], **row.onnx_attributes)


def to_onnx(source: Part, metadata: Mapping[str, str]) -> bytes:
    """Return a part of a model as an ONNX file; see :meth:`Model.export_onnx`."""
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

    nodes: list[Any] = []
    values: list[Any] = []

    def constant(array: NDArray[Any], name: str | None = None) -> str:
        name = name or f"c{len(values) + 1}"
        values.append(numpy_helper.from_array(array, name))
        return name

    def add(operator: str, inputs: list[str], n_outputs: int = 1, **attributes: Any) -> str:
        name = f"{operator.lower()}{len(nodes) + 1}"
        outputs = [*(f"{name}_{i}" for i in range(1, n_outputs)), name]
        nodes.append(helper.make_node(operator, inputs, outputs, name, **attributes))
        return name

    last = "x"
    for i, (w, b, activation) in enumerate(source.layers, start=1):
        z = add("Gemm", [last, constant(w, f"W{i}"), constant(b, f"b{i}")])
        last = add_activation(activation, z, add, constant, w.dtype)
    if source.softmax:
        nodes.append(helper.make_node("Softmax", [last], ["p"], "softmax", axis=1))
    labels = source.name == "predictor" and source.layers[-1].activation == "sigmoid"
    nodes[-1].output[0] = "probabilities" if labels else _OUTPUTS[source.name]

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
        producer_version=VERSION,
    )
    helper.set_model_props(file, {"version": VERSION, "part": source.name, **metadata})
    onnx.checker.check_model(file, full_check=True)
    return bytes(file.SerializeToString())
