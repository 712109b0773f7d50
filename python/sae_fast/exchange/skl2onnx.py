# SPDX-License-Identifier: BSD-3-Clause
"""Estimators in whole pipelines for ONNX: what the package skl2onnx asks of each of them.

It finds the converters as methods of the estimator, so that nothing has to be registered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.text import shown
from ..core.layers import Part
from ..errors import DataError
from .onnx import add_activation

_OPSET = 13


def set_shapes(operator: Any, width: int, classes: NDArray[Any] | None) -> None:
    """Say what an estimator gives: labels and probabilities, or (n_samples, width) numbers."""
    from skl2onnx.common import data_types

    *labels, numbers = operator.outputs
    numbers.type = data_types.guess_tensor_type(operator.inputs[0].type)
    numbers.type.shape = [None, width]
    if classes is not None:
        text = _labels(classes).dtype.kind == "U"
        kind = data_types.StringTensorType if text else data_types.Int64TensorType
        labels[0].type = kind([None])


def _labels(classes: NDArray[Any]) -> NDArray[Any]:
    """Return classes as skl2onnx has them: text, or int64 for all numbers, which are whole."""
    if classes.dtype.kind == "U":
        return classes
    if classes.dtype.kind in "biuf":
        with np.errstate(invalid="ignore"):
            whole = classes.astype(np.int64)
        if np.array_equal(whole, classes):
            return whole
    raise DataError(
        f"classes_: expected str or numbers that int64 holds for ONNX, got {classes.dtype}: "
        f"{shown(classes.tolist())}"
    )


def add_nodes(
    scope: Any, operator: Any, container: Any, part: Part, classes: NDArray[Any] | None
) -> None:
    """Add the layers of a part and, behind a classifier, its most probable label."""
    from skl2onnx.common.data_types import guess_proto_type
    from skl2onnx.proto import onnx_proto

    types = onnx_proto.TensorProto

    def add(
        operation: str,
        inputs: list[str],
        out: str | None = None,
        n_outputs: int = 1,
        **attributes: Any,
    ) -> str:
        names = [scope.get_unique_variable_name(operation.lower()) for _ in range(n_outputs)]
        name = names[-1] = out or names[-1]
        unique = scope.get_unique_operator_name(operation)
        container.add_node(operation, inputs, names, op_version=_OPSET, name=unique, **attributes)
        return name

    def constant(name: str, kind: int, values: NDArray[Any]) -> str:
        name = scope.get_unique_variable_name(name)
        container.add_initializer(name, kind, values.shape, values.ravel().tolist())
        return name

    def array(values: NDArray[Any]) -> str:
        own = types.INT64 if values.dtype == np.int64 else kind
        return constant("c", own, values)

    *labels, numbers = operator.outputs
    kind = types.FLOAT if part.layers[0].w.dtype == np.float32 else types.DOUBLE
    last = add("Cast", [operator.inputs[0].full_name], to=kind)
    for w, b, activation in part.layers:
        last = add("Gemm", [last, constant("w", kind, w), constant("b", kind, b)])
        last = add_activation(activation, last, add, array, w.dtype)
    if part.softmax:
        last = add("Softmax", [last], axis=1)
    add("Cast", [last], numbers.full_name, to=guess_proto_type(numbers.type))
    if classes is not None:
        best = add("ArgMax", [last], axis=1, keepdims=0)
        values = _labels(classes)
        kind = types.STRING if values.dtype.kind == "U" else types.INT64
        named = constant("classes", kind, values)
        add("Gather", [named, best], labels[0].full_name)
