# SPDX-License-Identifier: BSD-3-Clause
"""What both models share: the scale of their data, their parts, and the ways they travel.

A part is the list of layers between the samples and one output of a model. The core's network, the
ONNX graph and the PyTorch module of a part are all built from that list.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..base.checks import check_parameter, check_path, check_scale
from ..core.inputs import as_input, core_network
from ..errors import DataError
from ..training.loop import start_moments

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

_M = TypeVar("_M", bound="Model")
_P = ParamSpec("_P")
_R = TypeVar("_R")


class Layer(NamedTuple):
    """One dense layer: ``x w + b``, or ``relu(x w + b)``."""

    w: NDArray[Any]  # (n_in, n_out)
    b: NDArray[Any]  # (n_out,)
    relu: bool


@dataclasses.dataclass(frozen=True)
class Part:
    """The layers from the samples to one output of a model, with or without a softmax on top."""

    name: str
    layers: Sequence[Layer]
    softmax: bool = False

    def network(self, dtype: str) -> Any:
        """Return the layers as a network of the core, which knows no softmax."""
        network = core_network(
            dtype,
            [len(self.layers[0].w), *(len(layer.b) for layer in self.layers)],
            [
                _core.Activation.relu if layer.relu else _core.Activation.linear
                for layer in self.layers
            ],
        )
        for i, layer in enumerate(self.layers):
            network.set_parameters(i, layer.w, layer.b)
        return network


#: What is in training, and by whom; a forked child has none of its parent's threads that train.
_in_training: dict[Model, _Claim] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_training.clear)


class _Claim:
    """A method that trains, on its thread."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.over = False  # whatever an interrupt left of it in _in_training counts no more


def trains(method: Callable[Concatenate[_M, _P], _R]) -> Callable[Concatenate[_M, _P], _R]:
    """Let a method refuse to run while its model, or a part of it, is in training already."""

    @functools.wraps(method)
    def alone(self: _M, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        mine, claimed = _Claim(), []
        try:
            for trained in self._trained():
                claim = _in_training.setdefault(trained, mine)  # in one step, as the GIL has it
                if claim.over:
                    claim = _in_training[trained] = mine
                if claim is not mine:
                    where = "on another thread"
                    if claim.thread == mine.thread:
                        where = "already, by what called this"
                    raise DataError(
                        f"{method.__name__}: expected a model that is not in training, got one "
                        f"that is being trained {where}"
                    )
                claimed.append(trained)
            return method(self, *args, **kwargs)
        finally:
            mine.over = True
            for trained in claimed:
                _in_training.pop(trained, None)

    return alone


class Model:
    """Base of :class:`Autoencoder` and :class:`StackedAutoencoder`."""

    n_features: int
    n_threads: Any
    dtype: str
    _scale: float | None = None
    _asked_threads: int | None = None
    _network: Any
    _widths: Sequence[int]  # of the samples, and of each layer of the network

    @classmethod
    def _blank(cls, **arguments: Any) -> Self:
        """Return what the constructor would, without initial parameters: all are 0."""
        model = cls.__new__(cls)
        model._set_up(**arguments)
        return model

    def _set_up(self, *args: Any, **arguments: Any) -> None:
        """Check the constructor's arguments, and become a model of which all parameters are 0."""
        raise NotImplementedError

    def _names(self) -> list[tuple[str, str]]:
        """Return what the weights and the biases of each layer of the network are called."""
        raise NotImplementedError

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter by its name."""
        shapes: dict[str, tuple[int, ...]] = {}
        widths = itertools.pairwise(self._widths)
        for (w, b), (n_in, n_out) in zip(self._names(), widths, strict=True):
            shapes |= {w: (n_in, n_out), b: (n_out,)}
        return shapes

    def _get_parameters(self) -> dict[str, NDArray[Any]]:
        """Return copies of all parameters by their names."""
        return {
            name: value
            for layer, names in enumerate(self._names())
            for name, value in zip(names, self._network.get_parameters(layer), strict=True)
        }

    def _set_parameters(self, values: Mapping[str, Any]) -> None:
        """Replace some or all parameters; DataError, and nothing has changed, if one is wrong."""
        if not isinstance(values, Mapping):
            raise DataError(f"parameters: expected a mapping, got {type(values).__name__}")
        shapes = self._shapes()
        unknown = [name for name in values if name not in shapes]
        if unknown:
            raise DataError(f"parameters: expected names of {list(shapes)}, got {unknown}")
        dtype = np.dtype(self.dtype)
        new = {
            name: check_parameter(name, value, shapes[name], dtype)
            for name, value in values.items()
        }
        for layer, names in enumerate(self._names()):
            if not new.keys() >= set(names):
                current = zip(names, self._network.get_parameters(layer), strict=True)
                new = {**dict(current), **new}
            self._network.set_parameters(layer, *(new.pop(name) for name in names))

    @property
    def scale(self) -> float | None:
        """The `scale` of the latest training: how uint8 samples are read where none is given.

        None if that was a training without uint8. Assignable; it travels with the model.
        """
        return self._scale

    @scale.setter
    def scale(self, scale: float | None) -> None:
        self._scale = None if scale is None else check_scale(scale, self.dtype)

    def _samples(self, x: Any, scale: float | None) -> Any:
        """Return the core's input for `x` (n_samples, n_features), of a model that is trained."""
        return as_input(
            "x",
            x,
            self.n_features,
            dtype=self.dtype,
            n_threads=self.n_threads,
            scale=scale,
            default_scale=self._scale,
        )

    def _part(self, part: str | None) -> Part:
        """Return the part of this name, or the whole; DataError if the model has none."""
        raise NotImplementedError

    def save(self, path: str | Path) -> Path:
        """Write the model to a safetensors file; see :func:`sae_fast.load`.

        Parameters
        ----------
        path : path-like
            A file that is there already is replaced, at no moment half written.

        Returns
        -------
        Path

        Raises
        ------
        OSError
            If the file cannot be written.
        DivergenceError
            If a parameter is NaN or infinite.
        """
        from ..base.files import write_file
        from ..exchange.model_file import to_bytes

        return write_file(check_path("path", path), to_bytes(self))

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle, or a deep copy, holds: what `save` writes, threads and moments."""
        from ..exchange.model_file import to_bytes

        moments = [trained._moments and trained._moments.get_state() for trained in self._trained()]
        return {"model": to_bytes(self), "n_threads": self._asked_threads, "moments": moments}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the model of a pickle; `n_threads=None` means the threads of this process."""
        from ..exchange.model_file import from_bytes

        self.__dict__.update(vars(from_bytes(state["model"], "pickle")))
        self.n_threads = state["n_threads"]
        for trained, moments in zip(self._trained(), state["moments"], strict=True):
            if moments is not None:
                start_moments(trained, continued=False).set_state(*moments)

    def _trained(self) -> list[Any]:
        """Return all that has moments of its own: the model and the autoencoders in it."""
        return [self, *getattr(self, "autoencoders", ())]

    def export_onnx(self, path: str | Path, part: str | None = None) -> Path:
        """Write a part of the model to an ONNX file, for any number of samples.

        Its input ``x`` (n_samples, n_features) is of the model's `dtype`: uint8 data times `scale`.
        Its output is ``code``, ``reconstruction`` or ``probabilities``. The metadata say ``part``
        and ``version`` and, as JSON, ``scale`` and ``classes`` where the model has them.

        Parameters
        ----------
        path : path-like
            A file that is there already is replaced, at no moment half written.
        part : {"encoder", "reconstruction", "classifier"}, optional
            What :meth:`encode`, :meth:`reconstruct` or ``predict_proba`` compute. Default: the
            classifier of a network that has classes, else the reconstruction.

        Returns
        -------
        Path

        Raises
        ------
        DataError
            If the model has no such part (no classes, or not pretrained), or if it is larger than
            the 2 GB of an ONNX file.
        ImportError
            If the package onnx is not installed: ``pip install 'sae-fast[onnx]'``.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> import pathlib, tempfile
        >>> import numpy as np, onnxruntime, sae_fast
        >>> net = sae_fast.StackedAutoencoder([6, 4, 3], n_classes=2)
        >>> x = np.random.default_rng(0).random((5, 6), dtype=np.float32)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = net.export_onnx(pathlib.Path(folder) / "net.onnx")
        ...     session = onnxruntime.InferenceSession(path)
        >>> (probabilities,) = session.run(["probabilities"], {"x": x})
        >>> bool(np.abs(probabilities - net.predict_proba(x)).max() < 1e-5)
        True
        """
        from ..exchange.onnx_torch import export_onnx

        return export_onnx(self, path, part)

    def to_torch(self, part: str | None = None) -> torch.nn.Sequential:
        """Return a part of the model as a PyTorch module of its own copies of the parameters.

        Parameters
        ----------
        part : {"encoder", "reconstruction", "classifier"}, optional
            As in :meth:`export_onnx`.

        Returns
        -------
        torch.nn.Sequential
            ``Linear`` and ``ReLU``, and a ``Softmax`` on top of the classifier, on the CPU and of
            the model's `dtype`.

        Raises
        ------
        DataError
            If the model has no such part (no classes, or not pretrained).
        ImportError
            If the package torch is not installed.

        Examples
        --------
        >>> import sae_fast
        >>> sae_fast.Autoencoder(6, 3).to_torch()
        Sequential(
          (0): Linear(in_features=6, out_features=3, bias=True)
          (1): ReLU()
          (2): Linear(in_features=3, out_features=6, bias=True)
        )
        """
        from ..exchange.onnx_torch import to_torch

        return to_torch(self, part)
