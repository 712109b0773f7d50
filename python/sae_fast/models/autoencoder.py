# SPDX-License-Identifier: BSD-3-Clause
"""One autoencoder: n_features -> n_hidden (ReLU) -> n_features (linear), trained with Adam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..base.checks import (
    check_choice,
    check_float,
    check_int,
    check_seed,
    check_width,
)
from ..base.streams import Purpose, SampleOrder, generator
from ..base.threads import resolve_threads
from ..core.inputs import as_input, core_network
from ..errors import DataError
from ..training.callbacks import Callback, CallbackOption, Training, as_callbacks
from ..training.history import History
from ..training.loop import (
    Objective,
    Schedule,
    settings,
    squared_errors,
    start_moments,
    steps_done,
    train,
)
from .model import Layer, Model, Part, trains

if TYPE_CHECKING:
    import torch

#: Standard deviation of the article's initial weights.
STDDEV = 0.01


def draw_weights(
    seed: int, purpose: Purpose, layer: int, n_in: int, n_out: int, stddev: float
) -> NDArray[np.float64]:
    """Return initial weights N(0, stddev²), shape (n_in, n_out); the draws do not depend on it."""
    weights = generator(seed, purpose, layer).standard_normal((n_in, n_out))
    weights *= stddev
    return weights


class Autoencoder(Model):
    """An autoencoder with one hidden layer of ReLU units and a linear, untied decoder.

    ``code = relu(x W_enc + b_enc)``, ``reconstruction = code W_dec + b_dec``. The loss of a batch
    is ``sum((x - reconstruction)²) + weight_decay/2 (‖W_enc‖² + ‖W_dec‖²)``: a sum over the batch,
    not a mean; biases carry no decay. Weights start from N(0, 0.01²), biases from 0.

    Parameters
    ----------
    n_features, n_hidden : int
        Width of the input and of the code.
    weight_decay : float, default 0
        L2 penalty, part of the loss that Adam differentiates.
    seed : int, default 0
        For the initial weights and the order of the samples.
    dtype : {"float32", "float64"}, default "float32"
        Precision to compute in.
    n_threads : int or None
        None: as many as the process may use. The result is the same, bit for bit, for every value.
    layer : int, default 1
        Which layer of a stack this is: each draws from random streams of its own.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> x = np.random.default_rng(0).random((200, 16), dtype=np.float32)
    >>> ae = sae_fast.Autoencoder(16, 4, seed=0)
    >>> history = ae.fit(x, steps=50, batch_size=20, eval_every=25)
    >>> history.steps
    [25, 50]
    >>> ae.encode(x).shape
    (200, 4)

    References
    ----------
    .. [1] G. E. Hinton and R. R. Salakhutdinov, "Reducing the dimensionality of data with neural
       networks", Science 313, 2006.
    """

    def __init__(
        self,
        n_features: int,
        n_hidden: int,
        *,
        weight_decay: float = 0.0,
        seed: int = 0,
        dtype: str = "float32",
        n_threads: int | None = None,
        layer: int = 1,
    ) -> None:
        self._set_up(
            n_features=n_features,
            n_hidden=n_hidden,
            weight_decay=weight_decay,
            seed=seed,
            dtype=dtype,
            n_threads=n_threads,
            layer=layer,
        )
        self._draw()

    def _set_up(
        self,
        *,
        n_features: int,
        n_hidden: int,
        weight_decay: float = 0.0,
        seed: int,
        dtype: str,
        n_threads: int | None = None,
        layer: int,
    ) -> None:
        self.n_features, self.n_hidden = (
            check_width("n_features", n_features),
            check_width("n_hidden", n_hidden),
        )
        self.weight_decay = check_float("weight_decay", weight_decay, positive=False)
        self.seed = check_seed(seed)
        self.dtype = check_choice("dtype", dtype, ("float32", "float64"))
        self.n_threads = n_threads
        self.layer = check_int("layer", layer, 1)
        self._widths = (self.n_features, self.n_hidden, self.n_features)
        self._network = core_network(
            dtype, self._widths, [_core.Activation.relu, _core.Activation.linear]
        )
        self._moments: Any = None

    def _draw(self) -> None:
        """Draw the initial parameters of this layer and seed."""
        shape = (self.n_features, self.n_hidden)
        for name, purpose, (n_in, n_out) in (
            ("W_enc", Purpose.WEIGHTS, shape),
            ("W_dec", Purpose.DECODER, shape[::-1]),
        ):
            w = draw_weights(self.seed, purpose, self.layer, n_in, n_out, STDDEV)
            self.parameters = {name: w}

    def _names(self) -> list[tuple[str, str]]:
        return [("W_enc", "b_enc"), ("W_dec", "b_dec")]

    @property
    def parameters(self) -> dict[str, NDArray[Any]]:
        """Copies of ``W_enc`` (n_features, n_hidden), ``b_enc``, ``W_dec`` and ``b_dec``.

        Assignable with all or some of these names; DataError if a name, a shape or a value is
        wrong, and then nothing has changed.
        """
        return self._get_parameters()

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        self._set_parameters(values)

    @property
    def n_threads(self) -> int:
        """Most threads to compute on; assignable at any time, during a training as well."""
        return self._n_threads

    @n_threads.setter
    def n_threads(self, n_threads: int | None) -> None:
        self._n_threads = resolve_threads(n_threads)
        self._asked_threads = n_threads

    def _input(self, name: str, x: Any, n_features: int, scale: float | None = None) -> Any:
        return as_input(
            name, x, n_features, dtype=self.dtype, n_threads=self.n_threads, scale=scale
        )

    @trains
    def fit(
        self,
        x: Any,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        eval_every: int = 100,
        batches: Any = None,
        scale: float | None = None,
        adam: str = "tf1",
        continued: bool = False,
        callbacks: Sequence[CallbackOption] | None = None,
        progress: bool = False,
    ) -> History:
        """Train from the current parameters.

        Parameters
        ----------
        x : array_like or SciPy sparse matrix, shape (n_samples, n_features)
            float32, float64, or uint8 with `scale`.
        steps : int, default 1000 (or the length of `batches`)
        batch_size : int, default 100 (or the width of `batches`)
            At most n_samples.
        learning_rate : float
        eval_every : int
            Steps between two evaluations of the loss over all of `x`; 0: only at the end.
        batches : array_like of int, shape (n_steps, batch_size), optional
            Sample numbers of each step, instead of the shuffle.
        scale : float, optional
            Value of one step of uint8 data, such as 1/255. The model remembers it, and reads uint8
            with it when it computes.
        adam : {"tf1", "torch"}
            Where epsilon is added: to the uncorrected √v (TensorFlow 1) or the corrected (PyTorch).
        continued : bool
            Go on with Adam's moments, its step count and the shuffle as the latest training left
            them: two trainings are then the same as one of their length.
        callbacks : list of Callback or callable, optional
            See :mod:`sae_fast.callbacks`; functions are called after each evaluation.
        progress : bool
            Show a progress bar on stderr.

        Returns
        -------
        History
            Loss over all of `x`, weight decay included, at each evaluation.

        Raises
        ------
        DataError
            If an argument does not fit; nothing has changed then.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite. The model is then as it was at the
            last evaluation before.
        """
        objective = Objective("squared_error", adam, learning_rate, self.weight_decay)
        data = self._input("x", x, self.n_features, scale)
        order = SampleOrder(data.n_samples, self.seed, Purpose.PRETRAIN_ORDER, self.layer)
        schedule = Schedule.check(
            n_samples=data.n_samples,
            steps=steps,
            default_steps=1000,
            batch_size=batch_size,
            eval_every=eval_every,
            batches=batches,
            order=order,
            steps_done=steps_done(self, continued),
        )
        watching = as_callbacks(callbacks, progress)
        self.scale = scale
        return self._train(data, objective, schedule, watching, continued).history

    def _train(
        self,
        data: Any,
        objective: Objective,
        schedule: Schedule,
        callbacks: Sequence[Callback],
        continued: bool,
    ) -> Training:
        """Train on a core input; everything has been checked."""
        title = f"autoencoder {self.layer} ({self.n_features} → {self.n_hidden})"
        training = Training(
            self,
            title,
            self.layer,
            schedule.steps,
            evaluates=True,
            settings=settings(objective, schedule),
            data={"x": data, "batches": schedule.given},
            callbacks=callbacks,
            steps_before=steps_done(self, continued),
        )
        trainer = objective.trainer(
            self._network,
            start_moments(self, continued),
            data,
            None,
            None,
            batch_size=schedule.batch_size,
            dtype=self.dtype,
        )
        train(
            trainer,
            schedule,
            lambda: objective.evaluate(self._network, data, None, self.n_threads),
            self._network,
            training,
            n_threads=lambda: self.n_threads,
        )
        return training

    def _predict(self, data: Any, first_layer: int, last_layer: int) -> NDArray[Any]:
        out: NDArray[Any] = self._network.predict(
            data,
            first_layer=first_layer,
            last_layer=last_layer,
            softmax=False,
            n_threads=self.n_threads,
        )
        return out

    def encode(self, x: Any, *, scale: float | None = None) -> NDArray[Any]:
        """Return the codes of `x` (n_samples, n_features), shape (n_samples, n_hidden)."""
        return self._predict(self._samples(x, scale), 0, 1)

    def decode(self, code: Any) -> NDArray[Any]:
        """Return what `code` (n_samples, n_hidden) stands for, shape (n_samples, n_features)."""
        return self._predict(self._input("code", code, self.n_hidden), 1, 2)

    def reconstruct(self, x: Any, *, scale: float | None = None) -> NDArray[Any]:
        """Return ``decode(encode(x))``, shape (n_samples, n_features)."""
        return self._predict(self._samples(x, scale), 0, 2)

    def reconstruction_error(self, x: Any, *, scale: float | None = None) -> float:
        """Return the mean squared error per feature that `reconstruct` leaves over all of `x`."""
        data = self._samples(x, scale)
        objective = Objective("squared_error")
        loss, _ = objective.evaluate(self._network, data, None, self.n_threads)
        return loss / float(data.n_samples * data.n_features)

    def score_samples(self, x: Any, *, scale: float | None = None) -> NDArray[np.float64]:
        """Return the mean squared error per feature of each sample, shape (n_samples,).

        The larger, the less a sample is like what the autoencoder was trained on.
        """
        data = self._samples(x, scale)
        return squared_errors(self._network, data, self.n_threads)

    def count_dead_units(self, x: Any, *, scale: float | None = None) -> int:
        """Return how many hidden units are zero on every sample of `x`."""
        data = self._samples(x, scale)
        return int(self._network.count_dead_units(data, n_threads=self.n_threads)[0])

    def _part(self, part: str | None) -> Part:
        choices = ("encoder", "reconstruction")
        part = check_choice("part", choices[-1] if part is None else part, choices)
        p = self.parameters
        layers = [Layer(p["W_enc"], p["b_enc"], True), Layer(p["W_dec"], p["b_dec"], False)]
        return Part(part, layers[:1] if part == "encoder" else layers)

    @classmethod
    def from_torch(
        cls,
        module: torch.nn.Sequential,
        *,
        weight_decay: float = 0.0,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> Autoencoder:
        """Return an autoencoder with copies of the parameters of a PyTorch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            ``Linear``, ``ReLU``, ``Linear`` back to the width of the input, nested or not;
            float32 or float64.
        weight_decay, seed, n_threads
            As for the constructor.

        Raises
        ------
        DataError
            If the module is something else; the message names the layer.
        ImportError
            If the package torch is not installed.

        Examples
        --------
        >>> import sae_fast
        >>> from torch import nn
        >>> module = nn.Sequential(nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 8))
        >>> sae_fast.Autoencoder.from_torch(module).n_hidden
        3
        """
        from ..exchange.onnx_torch import from_torch

        source = from_torch(module)
        first, last = source.layers[0].w, source.layers[-1].w
        if (
            [layer.relu for layer in source.layers] != [True, False]
            or source.softmax
            or first.shape != last.T.shape
        ):
            raise DataError(
                f"module: expected Linear, ReLU, Linear back to the {len(first)} in_features of "
                f"the first, got {module}"
            )
        encoder, decoder = source.layers
        n_features, n_hidden = first.shape
        autoencoder = cls(
            n_features,
            n_hidden,
            weight_decay=weight_decay,
            seed=seed,
            dtype=encoder.w.dtype.name,
            n_threads=n_threads,
        )
        autoencoder.parameters = {
            "W_enc": encoder.w,
            "b_enc": encoder.b,
            "W_dec": decoder.w,
            "b_dec": decoder.b,
        }
        return autoencoder
