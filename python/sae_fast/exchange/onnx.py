# SPDX-License-Identifier: BSD-3-Clause
"""Models for other runtimes: ONNX files. The only module that imports the optional onnx."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.activations import ACTIVATIONS
from ..core.build import VERSION
from ..core.layers import Part
from ..errors import DataError

#: What the output of each part is called.
_OUTPUTS = {
    "encoder": "code",
    "reconstruction": "reconstruction",
    "classifier": "probabilities",
    "predictor": "targets",
}
_OPSET = 13  # the oldest whose Softmax is one over an axis: what most runtimes can read
_MOST_BYTES = 2**31 - 2**20  # of parameters; a protobuf message ends at 2 GiB


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

    nodes, values, last = [], [], "x"
    for i, (w, b, activation) in enumerate(source.layers, start=1):
        values += [numpy_helper.from_array(w, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [last, f"W{i}", f"b{i}"], [f"z{i}"], f"dense{i}"))
        last = f"z{i}"
        row = ACTIVATIONS[activation]
        if row.onnx is not None:
            named = {"name": f"{activation}{i}", **row.onnx_attributes}
            nodes.append(helper.make_node(row.onnx, [last], [f"a{i}"], **named))
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
        producer_version=VERSION,
    )
    helper.set_model_props(file, {"version": VERSION, "part": source.name, **metadata})
    onnx.checker.check_model(file, full_check=True)
    return bytes(file.SerializeToString())
