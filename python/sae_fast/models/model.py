# SPDX-License-Identifier: BSD-3-Clause
"""What both models share beside how they learn: what they compute, and how they travel.

A part is the list of layers between the samples and one output of a model. The core's network, the
ONNX graph and the PyTorch module of a part are all built from that list.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from ..base.files import write_to
from ..base.npy import check_out, mapped_files
from ..base.text import Table
from ..core.activations import describe
from ..core.layers import Part
from ..core.networks import (
    Network,
    count_dead_units,
    evaluate,
    feature_errors,
    new_state,
    predict,
    squared_errors,
)
from ..core.units import Units
from ..datasets.sources import DataSource
from ..errors import ScaleWarning, UntrainedWarning, warn
from ..exchange.model_file import asked, from_bytes, to_bytes
from ..exchange.onnx import to_onnx
from ..exchange.torch import to_torch
from ..training.optimizers import RULES, Optimizer
from .claims import in_turn
from .learner import Learner

if TYPE_CHECKING:
    import torch

_FAR = 1e3  # units from zero, beyond which float32 loses digits that matter

_B = TypeVar("_B", bound=BinaryIO)


class Model(Learner):
    """Base of :class:`Autoencoder` and :class:`StackedAutoencoder`."""

    _told = False  # whether a user knows that nothing has been trained

    def _samples(
        self, x: Any, scale: float | None, units: Units | None = None, out: Any = None
    ) -> Any:
        """Return the core's input for `x` (n_samples, n_features), of a model that is trained.

        DataError or OSError, before anything is read, if what is computed cannot go to `out`.
        """
        check_out(out, x.files if isinstance(x, DataSource) else mapped_files(x))
        units = self._units if units is None else units
        return self._input("x", x, self.n_features, scale, self._scale, units)

    def _check_trained(self, models: Sequence[Model]) -> None:
        """Warn, once, if none of these has been trained: all computes from initial weights."""
        unknown = self._state is None and self._drawn and not self._told
        if unknown and all(model._state is None for model in models):
            self._told = True
            warn(
                f"{self._NAME}: this model has not been trained and computes from its initial "
                "weights",
                UntrainedWarning,
            )

    def _reconstructor(self, caller: str) -> tuple[Network, Units]:
        """Return all encoders and decoders as a network, and its units; errors name the caller."""
        self._check_trained([self])
        return self._network, self._units

    def encode(self, x: Any, *, scale: float | None = None, out: Any = None) -> NDArray[Any]:
        """Return the codes of `x` (n_samples, n_features), shape (n_samples, n_hidden).

        The bits of a row are the same for every number of threads. In float64, and on a processor
        without AVX2, BLAS computes layers of 256 inputs and units or more, and the last of them
        depend on the rows beside it too.

        Parameters
        ----------
        x : array_like, frame, SciPy sparse matrix or DataSource, shape (n_samples, n_features)
        scale : float, optional
            Of uint8 samples. None: that of the latest training.
        out : ndarray or path-like, optional
            Where to put the codes of a :class:`~sae_fast.datasets.DataSource`, or any others: an
            array of their shape, or a path that ends in .npy. Its file is returned mapped to
            memory; one that is there is replaced when all is written, and never one that `x` is
            read from.

        Raises
        ------
        DataError
            If `x` or `out` does not fit.
        OSError
            If the file cannot be written, or is no regular one.
        """
        self._check_trained(self._trained())
        data = self._samples(x, scale, out=out)
        return predict(self._network, data, self.n_threads, layers=(0, self._depth), out=out)

    def decode(self, code: Any) -> NDArray[Any]:
        """Return what `code` (n_samples, n_hidden) stands for, shape (n_samples, n_features).

        A stack does it by the decoders that `pretrain` left. ``decode(encode(x))`` is what
        `reconstruct` gives, but for the last bits where a :class:`~sae_fast.activations.TopK` gives
        the code of a layer of 256 inputs and units or more.

        Raises
        ------
        DataError
            If `code` does not fit, or a stack has not been pretrained.
        """
        network, units = self._reconstructor("decode")
        data = self._input("code", code, self._widths[self._depth])
        layers = self._depth, 2 * self._depth
        return predict(network, data, self.n_threads, layers=layers, units=units)

    def reconstruct(self, x: Any, *, scale: float | None = None, out: Any = None) -> NDArray[Any]:
        """Return `x` through all autoencoders and back, shape (n_samples, n_features).

        Arguments are as in :meth:`encode`: a .npy file that is named by `out` and is there is
        replaced when all is written. A stack takes encoders and decoders as `pretrain` left them:
        `finetune` moves the network's encoders away from their decoders.

        Raises
        ------
        DataError
            If `x` or `out` does not fit, or a stack has not been pretrained.
        OSError
            If the file cannot be written, or is no regular one.
        """
        network, units = self._reconstructor("reconstruct")
        data = self._samples(x, scale, units, out)
        layers = 0, 2 * self._depth
        return predict(network, data, self.n_threads, layers=layers, units=units, out=out)

    def reconstruction_error(self, x: Any, *, scale: float | None = None) -> float:
        """Return the mean squared error per feature that `reconstruct` leaves over all of `x`."""
        network, units = self._reconstructor("reconstruction_error")
        data = self._samples(x, scale, units)
        loss, _ = evaluate(network, data, None, self.n_threads, loss="squared_error")
        return loss * units.unit**2 / float(data.n_samples * data.n_features)

    def score_samples(self, x: Any, *, scale: float | None = None) -> NDArray[np.float64]:
        """Return the mean squared error per feature of each sample, shape (n_samples,).

        What `reconstruct` leaves: the larger, the less a sample is like what the autoencoders were
        trained on.
        """
        network, units = self._reconstructor("score_samples")
        errors = squared_errors(network, self._samples(x, scale, units), self.n_threads)
        return errors * units.unit**2 if units else errors

    def feature_errors(
        self, x: Any, *, scale: float | None = None, out: Any = None
    ) -> NDArray[np.float64]:
        """Return the squared error of each feature of each sample, shape (n_samples, n_features).

        ``(x - reconstruct(x))²``, in the samples' own units; means over the features are what
        `score_samples` returns. Of a sample that stands out it says where.

        Parameters
        ----------
        x : array_like, frame, SciPy sparse matrix or DataSource, shape (n_samples, n_features)
            Dense by parts: what is sparse takes no more memory than the result.
        scale, out
            As in :meth:`encode`: a .npy file that is there is replaced when all is written.

        Raises
        ------
        DataError
            If `x` or `out` does not fit, or a stack has not been pretrained.
        OSError
            If the file cannot be written, or is no regular one.

        Examples
        --------
        >>> import numpy as np, sae_fast
        >>> rng = np.random.default_rng(0)
        >>> x = rng.random((500, 1)) + 0.1 * rng.random((500, 6))  # six columns that say the same
        >>> ae = sae_fast.Autoencoder(6, 1, seed=0)
        >>> history = ae.fit(x, steps=500)
        >>> strange = x[:1].copy()
        >>> strange[0, 3] += 2
        >>> int(ae.feature_errors(strange).argmax())
        3
        """
        network, units = self._reconstructor("feature_errors")
        data = self._samples(x, scale, units, out)
        factor = units.unit**2
        return feature_errors(network, data, 2 * self._depth, self.n_threads, factor, out)

    def _warn_of_far_samples(self) -> None:
        """Warn if what leaves the model reads samples with fewer digits than the model does."""
        far = np.abs(self._units.zero).max(initial=0) / self._units.unit
        if self.dtype == "float32" and far > _FAR:
            warn(
                f"x lies {far:,.0f} of its units from zero, too far for float32: what is exported "
                "reads samples as they are and computes roughly; dtype='float64' is exact",
                ScaleWarning,
            )

    def _part(self, part: str | None) -> Part:
        """Return the part of this name, or the whole; DataError if the model has none."""
        raise NotImplementedError

    @overload
    def save(self, path: str | Path) -> Path: ...
    @overload
    def save(self, path: _B) -> _B: ...
    def save(self, path: str | Path | BinaryIO) -> Path | BinaryIO:
        """Write the model to a safetensors file; see :func:`sae_fast.load`.

        Parameters
        ----------
        path : path-like or binary file
            A file that is there already is replaced, at no moment half written; a link to one is
            followed. One that is open for writing bytes is written to where it is.

        Returns
        -------
        Path or binary file
            The one that was given.

        Raises
        ------
        OSError
            If the file cannot be written, or is a folder, a device or a pipe.
        DivergenceError
            If a parameter is NaN or infinite.
        """
        return write_to(path, self._bytes())  # type: ignore[no-any-return]

    @in_turn
    def _bytes(self) -> bytes:
        return to_bytes(self)

    def _describe(self) -> dict[str, Any]:
        """Say what the model is, beside its parameters, in JSON's types."""
        own = {name: describe(getattr(self, name)) for name in asked(self._NAME)}
        described = {"architecture": {"class": self._NAME, **own}, "scale": self.scale}
        units = {
            number: dataclasses.astuple(model._units)
            for number, model in self._stored()
            if model._units
        }
        described |= {"units": units} if units else {}
        return {**described, "drawn": True} if self._untouched else described

    def _become(self, description: Mapping[str, Any]) -> None:
        """Take up what `_describe` says beside the architecture."""
        self.scale = description["scale"]
        for model in self._trained():
            model._loaded = True

    def _stored(self) -> Sequence[tuple[str, Model]]:
        """Return the models whose parameters are in a file, with what is behind their names."""
        return [("", self)]

    @in_turn
    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle, or a deep copy, holds: what `save` writes, threads and states."""
        states = [
            model._state and (model._optimizer, *model._state.get_state(), model._n_seen)
            if model in self._resumed()
            else None
            for model in self._trained()
        ]
        return {"model": to_bytes(self), "n_threads": self._asked_threads, "states": states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the model of a pickle; `n_threads=None` means the threads of this process."""
        self.__dict__.update(vars(from_bytes(state["model"], "pickle")))
        self.n_threads = state["n_threads"]
        if "moments" in state:  # of release 0.1.0: m, v, steps_done
            states = [kept and ("adam", kept[:2], kept[2]) for kept in state["moments"]]
        else:
            states = state["states"]
        # older releases did not know the last of them
        for model, kept in itertools.zip_longest(self._trained(), states):
            model._loaded = False
            if kept is not None:
                model._optimizer, slots, steps_done, *drawn = kept
                model._n_seen = drawn[0] if drawn else None  # of older releases
                rule = RULES[model._optimizer]()
                model._state = new_state(model._network, Optimizer(rule, None).in_core())
                model._state.set_state(slots, steps_done)

    def _resumed(self) -> list[Model]:
        """Return those of which a pickle holds the optimizer's state."""
        return [model for _, model in self._stored()]

    @overload
    def export_onnx(self, path: str | Path, part: str | None = None) -> Path: ...
    @overload
    def export_onnx(self, path: _B, part: str | None = None) -> _B: ...
    def export_onnx(self, path: str | Path | BinaryIO, part: str | None = None) -> Path | BinaryIO:
        """Write a part of the model to an ONNX file, for any number of samples.

        Its input ``x`` (n_samples, n_features) is of the model's `dtype`: uint8 data times `scale`.
        Its output is ``code``, ``reconstruction``, ``probabilities`` (of classes, or of labels with
        ``head="sigmoid"``) or ``targets``. The metadata say ``part`` and ``version`` and, as JSON,
        ``scale`` and ``classes`` where the model has them.

        Parameters
        ----------
        path : path-like or binary file
            As for :meth:`save`.
        part : {"encoder", "reconstruction", "classifier", "predictor"}, optional
            What :meth:`encode`, :meth:`reconstruct` or ``predict_proba`` compute, or the targets of
            a network that has them. Default: the classifier or the predictor of a network that has
            one, else the reconstruction.

        Returns
        -------
        Path or binary file
            The one that was given.

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
        self._warn_of_far_samples()
        metadata = {
            name: json.dumps(value)
            for name in ("scale", "classes")
            if (value := getattr(self, name, None)) is not None
        }
        return write_to(path, to_onnx(self._part(part), metadata))  # type: ignore[no-any-return]

    def to_torch(self, part: str | None = None) -> torch.nn.Sequential:
        """Return a part of the model as a PyTorch module of its own copies of the parameters.

        Parameters
        ----------
        part : {"encoder", "reconstruction", "classifier", "predictor"}, optional
            As in :meth:`export_onnx`.

        Returns
        -------
        torch.nn.Sequential
            ``Linear`` and activations, and a ``Softmax`` on top of the classifier, on the CPU and
            of the model's `dtype`.

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
        self._warn_of_far_samples()
        return to_torch(self._part(part))

    def summary(self, x: Any = None, *, scale: float | None = None) -> str:
        """Sum the model up in plain text: its layers, their activations and parameters.

        Parameters
        ----------
        x : array_like or SciPy sparse matrix, shape (n_samples, n_features), optional
            Samples, to say how many units of each hidden layer are dead on them.
        scale : float, optional
            Of uint8 samples, as in every other method.

        Returns
        -------
        str

        Raises
        ------
        DataError
            If `x` does not fit.

        Examples
        --------
        >>> import sae_fast
        >>> print(sae_fast.StackedAutoencoder([784, 100, 5], n_classes=10).summary())
        StackedAutoencoder 784-100-5-10, relu and softmax, float32
        <BLANKLINE>
        Layers
          layer   inputs  units  activation  parameters
          W1, b1     784    100        relu      78,500
          W2, b2     100      5        relu         505
          W3, b3       5     10     softmax          60
        <BLANKLINE>
        79,065 parameters
        """
        if x is None:
            return super().summary()
        data = self._samples(x, scale)
        counts = count_dead_units(self._network, data, self.n_threads)
        return self._text(self._tables(counts[: self._depth]))

    def _functions(self) -> list[str]:
        """Return what each layer of the network does to its sums."""
        functions, head = [str(one) for one in self._activations], getattr(self, "head", None)
        return functions if head is None else [*functions[:-1], head]

    def _line(self) -> str:
        widths, functions = "-".join(map(str, self._widths)), dict.fromkeys(self._functions())
        return ", ".join(
            [
                f"{self._NAME} {widths}",
                " and ".join(functions),
                *(["tied"] if self.tied else []),
                self.dtype,
                *self._learned(),
            ]
        )

    def _learned(self) -> list[str]:
        """Say how far it was trained; a file keeps nothing of that."""
        return [f"trained for {self._state.steps_done:,} steps"] if self._state else []

    def _tables(self, dead_units: Sequence[int] = ()) -> list[Table]:
        names, widths = self._names(), itertools.pairwise(self._widths)
        sizes = {name: math.prod(shape) for name, shape in self._shapes().items()}
        rows = [
            {
                "layer": f"{w}, {b}",
                "inputs": str(n_in),
                "units": str(n_out),
                "activation": function,
                "parameters": f"{sizes.get(w, 0) + sizes[b]:,}",
            }
            for (w, b), (n_in, n_out), function in zip(
                names, widths, self._functions(), strict=True
            )
        ]
        # only hidden units can be dead: there is one layer above them, or none
        for row, dead in zip(rows, [*dead_units, "-"] if dead_units else (), strict=False):
            row["dead units"] = str(dead)
        return [Table("Layers", rows)]

    def _notes(self) -> list[str]:
        return [f"{sum(map(math.prod, self._shapes().values())):,} parameters"]
