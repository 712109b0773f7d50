# SPDX-License-Identifier: BSD-3-Clause
"""A stack of autoencoders under a softmax layer: pretrained one by one, fine-tuned as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _core
from .autoencoder import STDDEV, Autoencoder, draw_weights, replaced_parameters
from .errors import DataError
from .inputs import as_input, core_network
from .progress import ProgressOption, start_progress
from .results import History
from .streams import Purpose, SampleOrder, generator
from .threads import resolve_threads
from .training import Objective, Schedule, train
from .validation import (
    check_array,
    check_choice,
    check_labels,
    check_seed,
    check_sizes,
    check_width,
)


class StackedAutoencoder:
    """A network of ReLU layers with a softmax on top, whose layers can be pretrained one by one.

    Parameters
    ----------
    sizes : sequence of int
        Features, then units of each hidden layer: ``[784, 100, 50, 25, 12, 5, 5]``.
    n_classes : int
        Classes of the softmax layer.
    seed : int, default 0
        For initial weights and the order of the samples. The draws for a layer do not depend on
        `init` nor on pretraining, so that networks of one seed can be compared in pairs.
    init : {"normal", "he"}, default "normal"
        Hidden weights from N(0, 0.01²) (the article's) or N(0, 2/n_in) [2]_; biases 0. The softmax
        layer starts from N(0, 0.01²) with biases from N(0, 1).
    dtype : {"float32", "float64"}, default "float32"
        Precision to compute in.
    n_threads : int or None
        None: as many as the process may use. The result is the same, bit for bit, for every value.

    Attributes
    ----------
    autoencoders : tuple of Autoencoder
        One per hidden layer; after `pretrain` each holds its decoder.

    Raises
    ------
    DataError
        If an argument is out of its range.

    Examples
    --------
    >>> import numpy as np, sae_fast
    >>> rng = np.random.default_rng(0)
    >>> y = rng.integers(0, 3, 300)
    >>> x = (rng.random((300, 12)) + np.eye(3, 12)[y] * 3).astype(np.float32)
    >>> net = sae_fast.StackedAutoencoder([12, 8, 4], n_classes=3, seed=0)
    >>> histories = net.pretrain(x, steps=100, batch_size=50)
    >>> history = net.finetune(x, y, steps=400, batch_size=50, eval_set=(x, y))
    >>> net.predict_proba(x).shape
    (300, 3)

    References
    ----------
    .. [1] Y. Bengio, P. Lamblin, D. Popovici and H. Larochelle, "Greedy layer-wise training of
       deep networks", NIPS 2006.
    .. [2] K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        n_classes: int,
        *,
        seed: int = 0,
        init: str = "normal",
        dtype: str = "float32",
        n_threads: int | None = None,
    ) -> None:
        self.sizes = check_sizes("sizes", sizes)
        if len(self.sizes) < 2:
            raise DataError(f"sizes: expected features and at least one hidden layer, got {sizes}")
        self.n_classes = check_width("n_classes", n_classes, 2)
        self.seed = check_seed(seed)
        self.init = check_choice("init", init, ("normal", "he"))
        self.dtype = check_choice("dtype", dtype, ("float32", "float64"))
        self.pretrained = False
        self.autoencoders = tuple(
            Autoencoder(n_in, n_out, seed=seed, dtype=dtype, layer=layer)
            for layer, (n_in, n_out) in enumerate(itertools.pairwise(self.sizes), start=1)
        )
        self.n_threads = n_threads
        widths = [*self.sizes, self.n_classes]
        self._network = core_network(
            dtype,
            widths,
            [_core.Activation.relu] * self.n_layers + [_core.Activation.identity],
        )
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(widths), start=1):
            top = layer == len(self.sizes)
            stddev = np.sqrt(2 / n_in) if init == "he" and not top else STDDEV
            w = draw_weights(self.seed, Purpose.WEIGHTS, layer, n_in, n_out, stddev)
            b = np.zeros(n_out)
            if top:
                b = generator(self.seed, Purpose.BIASES, layer).standard_normal(n_out)
            self._network.set_parameters(layer - 1, w.astype(dtype), b.astype(dtype))

    @property
    def n_threads(self) -> int:
        """Most threads to compute on, here and in `autoencoders`; assignable at any time."""
        return self._n_threads

    @n_threads.setter
    def n_threads(self, n_threads: int | None) -> None:
        self._n_threads = resolve_threads(n_threads)
        for autoencoder in self.autoencoders:
            autoencoder.n_threads = self._n_threads

    @property
    def n_layers(self) -> int:
        """Number of hidden layers."""
        return len(self.sizes) - 1

    @property
    def parameters(self) -> dict[str, NDArray[Any]]:
        """Copies of ``W1`` (n_features, n_hidden), ``b1``, ``W2``, ... up to the softmax layer's.

        Assignable with all or some of these names; DataError if a name, a shape or a value is
        wrong, and then nothing has changed.
        """
        values = {}
        for layer in range(self.n_layers + 1):
            values[f"W{layer + 1}"], values[f"b{layer + 1}"] = self._network.get_parameters(layer)
        return values

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        new = replaced_parameters(self.parameters, values)
        for layer in range(self.n_layers + 1):
            self._network.set_parameters(layer, new[f"W{layer + 1}"], new[f"b{layer + 1}"])

    def _input(self, name: str, x: Any, scale: float | None) -> Any:
        return as_input(
            name, x, self.sizes[0], dtype=self.dtype, n_threads=self.n_threads, scale=scale
        )

    def pretrain(
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
        progress: ProgressOption = False,
    ) -> list[History]:
        """Train the hidden layers one after another, each as an autoencoder on the codes below it.

        Each starts from the layer's current weights and leaves its encoder in the network; the
        layers below are frozen and encode the data once. Its decoder stays in `autoencoders`, for
        `reconstruct`.

        Parameters
        ----------
        x, batch_size, learning_rate, eval_every, scale, adam, progress
            As in :meth:`Autoencoder.fit`.
        steps : int, default 3000 (or the length of `batches`)
            For each layer.
        batches : array_like of int, shape (n_steps, batch_size), or a list of one for each layer
            Sample numbers of each step, instead of the shuffle.

        Returns
        -------
        list of History
            One per layer: the loss over all of `x`, or over its codes.

        Raises
        ------
        DataError
            If an argument does not fit; nothing has changed then.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite; the layers below it are kept.
        """
        objective = Objective("squared_error", adam, learning_rate)
        data = self._input("x", x, scale)
        listed = isinstance(batches, (list, tuple))
        if listed and any(check_array("batches", item).ndim == 2 for item in batches):
            per_layer = list(batches)
        else:
            per_layer = [batches] * self.n_layers
        if len(per_layer) != self.n_layers:
            raise DataError(
                f"batches: expected one array for each of {self.n_layers} layers, or one for all, "
                f"got {len(per_layer)}"
            )
        schedules = [
            Schedule.check(
                n_samples=data.n_samples,
                steps=steps,
                default_steps=3000,
                batch_size=batch_size,
                eval_every=eval_every,
                batches=layer_batches,
                order=SampleOrder(data.n_samples, self.seed, Purpose.PRETRAIN_ORDER, layer),
            )
            for layer, layer_batches in enumerate(per_layer, start=1)
        ]
        histories = []
        for layer, (autoencoder, schedule) in enumerate(
            zip(self.autoencoders, schedules, strict=True)
        ):
            w, b = self._network.get_parameters(layer)
            autoencoder.parameters = {"W_enc": w, "b_enc": b}
            histories.append(autoencoder._train(data, objective, schedule, progress=progress))
            trained = autoencoder.parameters
            self._network.set_parameters(layer, trained["W_enc"], trained["b_enc"])
            if layer + 1 < self.n_layers:
                data = as_input(
                    "codes",
                    autoencoder.encode(data),
                    autoencoder.n_hidden,
                    dtype=self.dtype,
                    n_threads=self.n_threads,
                )
        self.pretrained = True
        return histories

    def finetune(
        self,
        x: Any,
        y: Any,
        *,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        eval_every: int = 100,
        eval_set: tuple[Any, Any] | None = None,
        batches: Any = None,
        scale: float | None = None,
        loss: str = "article",
        adam: str = "tf1",
        progress: ProgressOption = False,
        title: str = "fine-tuning",
    ) -> History:
        """Train the whole network on labelled samples, from its current parameters.

        Parameters
        ----------
        x, batch_size, learning_rate, batches, scale, adam, progress
            As in :meth:`Autoencoder.fit`.
        y : array_like of int, shape (n_samples,)
            Classes from 0 to n_classes - 1.
        steps : int, default 30000 (or the length of `batches`)
        eval_every : int
            Steps between two evaluations on `eval_set`; 0: only at the end.
        eval_set : (x, y), optional
            What to measure loss and accuracy on; without it there is no curve.
        loss : {"article", "cross_entropy"}
            ``-log(clip(p, 1e-10, 1))``, whose gradient is zero below the clip, or the stable form.
        title : str
            What the progress bar and errors call this training.

        Returns
        -------
        History
            Loss (a sum) and accuracy on `eval_set` at each evaluation.

        Raises
        ------
        DataError
            If an argument does not fit; nothing has changed then.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite.
        """
        check_choice("loss", loss, ("article", "cross_entropy"))
        objective = Objective(loss, adam, learning_rate)
        if eval_set is not None and (not isinstance(eval_set, (tuple, list)) or len(eval_set) != 2):
            raise DataError(f"eval_set: expected a pair (x, y), got {type(eval_set).__name__}")
        eval_uint8 = eval_set is not None and getattr(eval_set[0], "dtype", None) == np.uint8
        only_eval = eval_uint8 and getattr(x, "dtype", None) != np.uint8
        data = self._input("x", x, None if only_eval else scale)
        labels = check_labels("y", y, data.n_samples, self.n_classes)
        evaluate = None
        if eval_set is not None:
            eval_x = self._input("eval_set[0]", eval_set[0], scale if eval_uint8 else None)
            eval_y = check_labels("eval_set[1]", eval_set[1], eval_x.n_samples, self.n_classes)

            def evaluate() -> tuple[float, float]:
                return objective.evaluate(self._network, eval_x, eval_y, self.n_threads)

        schedule = Schedule.check(
            n_samples=data.n_samples,
            steps=steps,
            default_steps=30000,
            batch_size=batch_size,
            eval_every=eval_every,
            batches=batches,
            order=SampleOrder(data.n_samples, self.seed, Purpose.FINETUNE_ORDER),
        )
        with start_progress(progress, title, schedule.steps) as bar:
            return train(
                objective.trainer(self._network, data, labels, schedule.batch_size, self.dtype),
                schedule,
                evaluate,
                self._network,
                phase=title,
                n_threads=lambda: self.n_threads,
                progress=bar,
            )

    def _predict(self, x: Any, scale: float | None, last_layer: int) -> NDArray[Any]:
        out: NDArray[Any] = self._network.predict(
            self._input("x", x, scale),
            first_layer=0,
            last_layer=last_layer,
            softmax=last_layer > self.n_layers,
            n_threads=self.n_threads,
        )
        return out

    def encode(self, x: Any, *, scale: float | None = None) -> NDArray[Any]:
        """Return the codes of the last hidden layer, shape (n_samples, sizes[-1])."""
        return self._predict(x, scale, self.n_layers)

    @property
    def n_hidden(self) -> int:
        """Width of the last hidden layer: of what `encode` returns."""
        return self.sizes[-1]

    def _reconstructor(self) -> Any:
        """Build the core's network that goes up all autoencoders and down again."""
        if not self.pretrained:
            raise DataError("reconstruct: expected a pretrained network; call pretrain() first")
        parameters = [autoencoder.parameters for autoencoder in self.autoencoders]
        layers = [(p["W_enc"], p["b_enc"]) for p in parameters]
        layers += [(p["W_dec"], p["b_dec"]) for p in reversed(parameters)]
        network = core_network(
            self.dtype,
            [*self.sizes, *reversed(self.sizes[:-1])],
            [_core.Activation.relu] * self.n_layers + [_core.Activation.identity] * self.n_layers,
        )
        for layer, (w, b) in enumerate(layers):
            network.set_parameters(layer, w, b)
        return network

    def reconstruct(self, x: Any, *, scale: float | None = None) -> NDArray[Any]:
        """Return `x` through all autoencoders and back, shape (n_samples, n_features).

        Takes encoders and decoders as `pretrain` left them: `finetune` moves the network's
        encoders away from their decoders.

        Raises
        ------
        DataError
            If `x` does not fit, or the network has not been pretrained.
        """
        network = self._reconstructor()
        out: NDArray[Any] = network.predict(
            self._input("x", x, scale),
            first_layer=0,
            last_layer=2 * self.n_layers,
            softmax=False,
            n_threads=self.n_threads,
        )
        return out

    def reconstruction_error(self, x: Any, *, scale: float | None = None) -> float:
        """Return the mean squared error per feature that `reconstruct` leaves over all of `x`."""
        data = self._input("x", x, scale)
        objective = Objective("squared_error")
        loss, _ = objective.evaluate(self._reconstructor(), data, None, self.n_threads)
        return loss / float(data.n_samples * data.n_features)

    def predict_proba(self, x: Any, *, scale: float | None = None) -> NDArray[Any]:
        """Return the probability of each class, shape (n_samples, n_classes)."""
        return self._predict(x, scale, self.n_layers + 1)

    def predict(self, x: Any, *, scale: float | None = None) -> NDArray[np.int64]:
        """Return the most probable class of each sample, shape (n_samples,)."""
        classes: NDArray[np.int64] = self._network.classify(
            self._input("x", x, scale), n_threads=self.n_threads
        )
        return classes

    def evaluate(
        self, x: Any, y: Any, *, scale: float | None = None, loss: str = "article"
    ) -> tuple[float, float]:
        """Return the loss summed over the samples, and the share that is classified right."""
        check_choice("loss", loss, ("article", "cross_entropy"))
        data = self._input("x", x, scale)
        labels = check_labels("y", y, data.n_samples, self.n_classes)
        return Objective(loss).evaluate(self._network, data, labels, self.n_threads)

    def count_dead_units(self, x: Any, *, scale: float | None = None) -> list[int]:
        """Return, for each hidden layer, how many units are zero on every sample of `x`."""
        data = self._input("x", x, scale)
        dead: list[int] = self._network.count_dead_units(data, n_threads=self.n_threads)
        return dead[: self.n_layers]

    def save(self, path: str | Path) -> Path:
        """Write the network to a safetensors file; see :func:`sae_fast.load`."""
        from .model_file import save

        return save(self, path)
