# SPDX-License-Identifier: BSD-3-Clause
"""A stack of autoencoders under a softmax layer: pretrained one by one, fine-tuned as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..base.checks import (
    check_array,
    check_choice,
    check_classes,
    check_labels,
    check_sample_weight,
    check_seed,
    check_sizes,
    check_width,
    per_layer,
)
from ..base.streams import Purpose, SampleOrder, generator
from ..base.threads import resolve_threads
from ..core.inputs import as_input, core_network
from ..errors import DataError
from ..training.callbacks import CallbackOption, Training, as_callbacks
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
from .autoencoder import STDDEV, Autoencoder, draw_weights
from .model import Layer, Model, Part, trains

if TYPE_CHECKING:
    import torch


class StackedAutoencoder(Model):
    """A network of ReLU layers with a softmax on top, whose layers can be pretrained one by one.

    Parameters
    ----------
    sizes : sequence of int
        Features, then units of each hidden layer: ``[784, 100, 50, 25, 12, 5, 5]``.
    n_classes : int or None
        Classes of the softmax layer; None: a network without one, that can be pretrained only.
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
        n_classes: int | None = None,
        *,
        seed: int = 0,
        init: str = "normal",
        dtype: str = "float32",
        n_threads: int | None = None,
    ) -> None:
        self._set_up(
            sizes=sizes, n_classes=n_classes, seed=seed, init=init, dtype=dtype, n_threads=n_threads
        )
        for autoencoder in self.autoencoders:
            autoencoder._draw()
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(self._widths), start=1):
            top = layer == len(self.sizes)
            stddev = np.sqrt(2 / n_in) if init == "he" and not top else STDDEV
            w = draw_weights(self.seed, Purpose.WEIGHTS, layer, n_in, n_out, stddev)
            drawn = {f"W{layer}": w}
            if top:
                drawn[f"b{layer}"] = generator(self.seed, Purpose.BIASES, layer).standard_normal(
                    n_out
                )
            self.parameters = drawn

    def _set_up(
        self,
        *,
        sizes: Sequence[int],
        n_classes: int | None,
        seed: int,
        init: str,
        dtype: str,
        n_threads: int | None = None,
    ) -> None:
        self.sizes = check_sizes("sizes", sizes)
        if len(self.sizes) < 2:
            raise DataError(f"sizes: expected features and at least one hidden layer, got {sizes}")
        self.n_features = self.sizes[0]
        self.n_classes = None if n_classes is None else check_width("n_classes", n_classes, 2)
        self.seed = check_seed(seed)
        self.init = check_choice("init", init, ("normal", "he"))
        self.dtype = check_choice("dtype", dtype, ("float32", "float64"))
        self.pretrained = False
        self._classes: list[int] | list[str] | None = None
        self.autoencoders = tuple(
            Autoencoder._blank(n_features=n_in, n_hidden=n_out, seed=seed, dtype=dtype, layer=layer)
            for layer, (n_in, n_out) in enumerate(itertools.pairwise(self.sizes), start=1)
        )
        self.n_threads = n_threads
        self._widths = (*self.sizes, *(() if self.n_classes is None else (self.n_classes,)))
        activations = [_core.Activation.relu] * self.n_layers + [_core.Activation.linear]
        self._network = core_network(dtype, self._widths, activations[: self._n_weights])
        self._moments: Any = None

    def _names(self) -> list[tuple[str, str]]:
        return [(f"W{layer}", f"b{layer}") for layer in range(1, self._n_weights + 1)]

    @property
    def n_threads(self) -> int:
        """Most threads to compute on, here and in `autoencoders`; assignable at any time."""
        return self._n_threads

    @n_threads.setter
    def n_threads(self, n_threads: int | None) -> None:
        self._n_threads = resolve_threads(n_threads)
        self._asked_threads = n_threads
        for autoencoder in self.autoencoders:
            autoencoder.n_threads = n_threads

    @property
    def scale(self) -> float | None:
        """As of any model, here and in the first of `autoencoders`."""
        return self._scale

    @scale.setter
    def scale(self, scale: float | None) -> None:
        self.autoencoders[0].scale = scale
        self._scale = self.autoencoders[0].scale

    @property
    def classes(self) -> list[int] | list[str] | None:
        """What the classes are called, one name each; None if nobody has said.

        Assignable with `n_classes` different int or str; DataError if it is something else. It
        travels with the network; `predict` returns numbers all the same.
        """
        return None if self._classes is None else self._classes.copy()

    @classes.setter
    def classes(self, classes: Sequence[int] | Sequence[str] | None) -> None:
        if classes is not None:
            classes = check_classes("classes", classes, self._check_classes())
        self._classes = classes

    @property
    def n_layers(self) -> int:
        """Number of hidden layers."""
        return len(self.sizes) - 1

    @property
    def _n_weights(self) -> int:
        """Layers with weights: the hidden ones, and the softmax layer if there is one."""
        return self.n_layers + (self.n_classes is not None)

    def _check_classes(self) -> int:
        """Return the number of classes, or raise DataError if there is no softmax layer."""
        if self.n_classes is None:
            raise DataError("n_classes: expected a network with classes, got n_classes=None")
        return self.n_classes

    @property
    def parameters(self) -> dict[str, NDArray[Any]]:
        """Copies of ``W1`` (n_features, n_hidden), ``b1``, ``W2``, ... up to the softmax layer's.

        Assignable with all or some of these names; DataError if a name, a shape or a value is
        wrong, and then nothing has changed.
        """
        return self._get_parameters()

    @parameters.setter
    def parameters(self, values: Mapping[str, Any]) -> None:
        self._set_parameters(values)

    def _input(self, name: str, x: Any, scale: float | None) -> Any:
        return as_input(
            name, x, self.sizes[0], dtype=self.dtype, n_threads=self.n_threads, scale=scale
        )

    @trains
    def pretrain(
        self,
        x: Any,
        *,
        steps: int | Sequence[int] | None = None,
        batch_size: int | None = None,
        learning_rate: float | Sequence[float] = 1e-3,
        weight_decay: float = 0.0,
        eval_every: int = 100,
        batches: Any = None,
        scale: float | None = None,
        adam: str = "tf1",
        continued: bool = False,
        callbacks: Sequence[CallbackOption] | None = None,
        progress: bool = False,
    ) -> list[History]:
        """Train the hidden layers one after another, each as an autoencoder on the codes below it.

        Each starts from the layer's current weights and leaves its encoder in the network; the
        layers below are frozen and encode the data once. Its decoder stays in `autoencoders`, for
        `reconstruct`.

        Parameters
        ----------
        x, batch_size, eval_every, scale, adam, continued, callbacks, progress
            As in :meth:`Autoencoder.fit`.
        steps : int or sequence of int, default 3000 (or the length of `batches`)
            For all layers, or for each.
        learning_rate : float or sequence of float
            For all layers, or for each.
        weight_decay : float
            L2 penalty on the weights of each autoencoder.
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
            If the loss or a parameter becomes NaN or infinite. The network has then what it was
            trained to when it last was finite.
        """
        objectives = [
            Objective("squared_error", adam, rate, weight_decay)
            for rate in per_layer("learning_rate", learning_rate, self.n_layers)
        ]
        watching = as_callbacks(callbacks, progress)
        data = self._input("x", x, scale)
        listed = isinstance(batches, (list, tuple))
        if listed and any(check_array("batches", item).ndim == 2 for item in batches):
            layer_batches = per_layer("batches", list(batches), self.n_layers)
        else:
            layer_batches = [batches] * self.n_layers
        schedules = [
            Schedule.check(
                n_samples=data.n_samples,
                steps=layer_steps,
                default_steps=3000,
                batch_size=batch_size,
                eval_every=eval_every,
                batches=own_batches,
                order=SampleOrder(
                    data.n_samples, self.seed, Purpose.PRETRAIN_ORDER, autoencoder.layer
                ),
                steps_done=steps_done(autoencoder, continued),
            )
            for autoencoder, layer_steps, own_batches in zip(
                self.autoencoders,
                per_layer("steps", steps, self.n_layers),
                layer_batches,
                strict=True,
            )
        ]
        self.scale = scale
        self.pretrained = False
        histories = []
        for layer, (autoencoder, objective, schedule) in enumerate(
            zip(self.autoencoders, objectives, schedules, strict=True)
        ):
            w, b = self._network.get_parameters(layer)
            autoencoder.parameters = {"W_enc": w, "b_enc": b}
            try:
                training = autoencoder._train(data, objective, schedule, watching, continued)
            finally:  # what an error or Ctrl-C ended is kept
                trained = autoencoder.parameters
                self._network.set_parameters(layer, trained["W_enc"], trained["b_enc"])
            histories.append(training.history)
            for callback in watching:
                callback.on_layer_end(training)
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

    @trains
    def finetune(
        self,
        x: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        eval_every: int = 100,
        eval_set: tuple[Any, Any] | None = None,
        batches: Any = None,
        scale: float | None = None,
        loss: str = "article",
        adam: str = "tf1",
        continued: bool = False,
        callbacks: Sequence[CallbackOption] | None = None,
        progress: bool = False,
        title: str = "fine-tuning",
    ) -> History:
        """Train the whole network on labelled samples, from its current parameters.

        Parameters
        ----------
        x, batch_size, learning_rate, batches, scale, adam, continued, callbacks, progress
            As in :meth:`Autoencoder.fit`.
        weight_decay : float
            L2 penalty on all weights; not part of the loss that is measured on `eval_set`.
        sample_weight : array_like, shape (n_samples,), optional
            Factor of each sample's loss, at least 0; not used on `eval_set`.
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
            If the loss or a parameter becomes NaN or infinite. The model is then as it was at the
            last evaluation before.
        """
        check_choice("loss", loss, ("article", "cross_entropy"))
        n_classes = self._check_classes()
        objective = Objective(loss, adam, learning_rate, weight_decay)
        watching = as_callbacks(callbacks, progress)
        if eval_set is not None and (not isinstance(eval_set, (tuple, list)) or len(eval_set) != 2):
            raise DataError(f"eval_set: expected a pair (x, y), got {type(eval_set).__name__}")
        eval_uint8 = eval_set is not None and getattr(eval_set[0], "dtype", None) == np.uint8
        only_eval = eval_uint8 and getattr(x, "dtype", None) != np.uint8
        data = self._input("x", x, None if only_eval else scale)
        labels = check_labels("y", y, data.n_samples, n_classes)
        if sample_weight is not None:
            sample_weight = check_sample_weight(
                "sample_weight", sample_weight, data.n_samples, self.dtype
            )
        evaluate = None
        if eval_set is not None:
            eval_x = self._input("eval_set[0]", eval_set[0], scale if eval_uint8 else None)
            eval_y = check_labels("eval_set[1]", eval_set[1], eval_x.n_samples, n_classes)
            measured = Objective(loss)  # without weight decay

            def evaluate() -> tuple[float, float]:
                return measured.evaluate(self._network, eval_x, eval_y, self.n_threads)

        schedule = Schedule.check(
            n_samples=data.n_samples,
            steps=steps,
            default_steps=30000,
            batch_size=batch_size,
            eval_every=eval_every,
            batches=batches,
            order=SampleOrder(data.n_samples, self.seed, Purpose.FINETUNE_ORDER),
            steps_done=steps_done(self, continued),
        )
        self.scale = scale
        used = {"x": data, "y": labels, "sample_weight": sample_weight, "batches": schedule.given}
        if eval_set is not None:
            used |= {"eval_set[0]": eval_x, "eval_set[1]": eval_y}
        training = Training(
            self,
            title,
            None,
            schedule.steps,
            evaluates=evaluate is not None,
            settings=settings(objective, schedule),
            data=used,
            callbacks=watching,
            steps_before=steps_done(self, continued),
        )
        trainer = objective.trainer(
            self._network,
            start_moments(self, continued),
            data,
            labels,
            sample_weight,
            batch_size=schedule.batch_size,
            dtype=self.dtype,
        )
        train(
            trainer,
            schedule,
            evaluate,
            self._network,
            training,
            n_threads=lambda: self.n_threads,
        )
        return training.history

    def _predict(self, x: Any, scale: float | None, last_layer: int) -> NDArray[Any]:
        out: NDArray[Any] = self._network.predict(
            self._samples(x, scale),
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

    def _part(self, part: str | None) -> Part:
        whole = "reconstruction" if self.n_classes is None else "classifier"
        choices = ("encoder", "reconstruction", "classifier")
        part = check_choice("part", whole if part is None else part, choices)
        if part == "reconstruction":
            return self._reconstruction("part 'reconstruction'")
        n_layers = self.n_layers
        if part == "classifier":
            self._check_classes()
            n_layers += 1
        layers = [
            Layer(w, b, layer < self.n_layers)
            for layer, (w, b) in enumerate(map(self._network.get_parameters, range(n_layers)))
        ]
        return Part(part, layers, softmax=part == "classifier")

    def _reconstruction(self, caller: str) -> Part:
        """Go up all autoencoders and down again."""
        if not self.pretrained:
            raise DataError(f"{caller}: expected a pretrained network; call pretrain() first")
        parameters = [autoencoder.parameters for autoencoder in self.autoencoders]
        layers = [Layer(p["W_enc"], p["b_enc"], True) for p in parameters]
        layers += [Layer(p["W_dec"], p["b_dec"], False) for p in reversed(parameters)]
        return Part("reconstruction", layers)

    def _reconstructor(self, caller: str) -> Any:
        return self._reconstruction(caller).network(self.dtype)

    def reconstruct(self, x: Any, *, scale: float | None = None) -> NDArray[Any]:
        """Return `x` through all autoencoders and back, shape (n_samples, n_features).

        Takes encoders and decoders as `pretrain` left them: `finetune` moves the network's
        encoders away from their decoders.

        Raises
        ------
        DataError
            If `x` does not fit, or the network has not been pretrained.
        """
        network = self._reconstructor("reconstruct")
        out: NDArray[Any] = network.predict(
            self._samples(x, scale),
            first_layer=0,
            last_layer=2 * self.n_layers,
            softmax=False,
            n_threads=self.n_threads,
        )
        return out

    def reconstruction_error(self, x: Any, *, scale: float | None = None) -> float:
        """Return the mean squared error per feature that `reconstruct` leaves over all of `x`."""
        data = self._samples(x, scale)
        objective = Objective("squared_error")
        network = self._reconstructor("reconstruction_error")
        loss, _ = objective.evaluate(network, data, None, self.n_threads)
        return loss / float(data.n_samples * data.n_features)

    def decode(self, code: Any) -> NDArray[Any]:
        """Return what `code` (n_samples, sizes[-1]) stands for, shape (n_samples, n_features).

        By the decoders that `pretrain` left.

        Raises
        ------
        DataError
            If `code` does not fit, or the network has not been pretrained.
        """
        network = self._reconstructor("decode")
        data = as_input("code", code, self.n_hidden, dtype=self.dtype, n_threads=self.n_threads)
        out: NDArray[Any] = network.predict(
            data,
            first_layer=self.n_layers,
            last_layer=2 * self.n_layers,
            softmax=False,
            n_threads=self.n_threads,
        )
        return out

    def score_samples(self, x: Any, *, scale: float | None = None) -> NDArray[np.float64]:
        """Return the mean squared error per feature of each sample, shape (n_samples,).

        What `reconstruct` leaves: the larger, the less a sample is like those of `pretrain`.
        """
        data = self._samples(x, scale)
        return squared_errors(self._reconstructor("score_samples"), data, self.n_threads)

    def predict_proba(self, x: Any, *, scale: float | None = None) -> NDArray[Any]:
        """Return the probability of each class, shape (n_samples, n_classes)."""
        self._check_classes()
        return self._predict(x, scale, self.n_layers + 1)

    def predict(self, x: Any, *, scale: float | None = None) -> NDArray[np.int64]:
        """Return the most probable class of each sample, shape (n_samples,)."""
        self._check_classes()
        classes: NDArray[np.int64] = self._network.classify(
            self._samples(x, scale), n_threads=self.n_threads
        )
        return classes

    def evaluate(
        self, x: Any, y: Any, *, scale: float | None = None, loss: str = "article"
    ) -> tuple[float, float]:
        """Return the loss summed over the samples, and the share that is classified right."""
        check_choice("loss", loss, ("article", "cross_entropy"))
        data = self._samples(x, scale)
        labels = check_labels("y", y, data.n_samples, self._check_classes())
        return Objective(loss).evaluate(self._network, data, labels, self.n_threads)

    def count_dead_units(self, x: Any, *, scale: float | None = None) -> list[int]:
        """Return, for each hidden layer, how many units are zero on every sample of `x`."""
        data = self._samples(x, scale)
        dead: list[int] = self._network.count_dead_units(data, n_threads=self.n_threads)
        return dead[: self.n_layers]

    @classmethod
    def from_torch(
        cls, module: torch.nn.Sequential, *, seed: int = 0, n_threads: int | None = None
    ) -> StackedAutoencoder:
        """Return a network with copies of the parameters of a PyTorch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            ``Linear`` and ``ReLU`` in turn, float32 or float64, nested or not. A ``Linear`` without
            ReLU at the end, with or without ``Softmax`` or ``LogSoftmax``, is the softmax layer;
            without one, the network has no classes.
        seed, n_threads
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
        >>> module = nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
        >>> net = sae_fast.StackedAutoencoder.from_torch(module)
        >>> net.sizes, net.n_classes
        ((8, 5), 3)
        """
        from ..exchange.onnx_torch import from_torch

        layers = from_torch(module).layers
        for number, layer in enumerate(layers[:-1], start=1):
            if not layer.relu:
                raise DataError(
                    f"module: expected a ReLU after each Linear but the last, got none after "
                    f"number {number} of {len(layers)}"
                )
        sizes = [len(layers[0].w), *(len(layer.b) for layer in layers)]
        n_classes = None if layers[-1].relu else sizes.pop()
        net = cls(sizes, n_classes, seed=seed, dtype=layers[0].w.dtype.name, n_threads=n_threads)
        values: dict[str, Any] = {}
        for number, layer in enumerate(layers, start=1):
            values[f"W{number}"], values[f"b{number}"] = layer.w, layer.b
        net.parameters = values
        return net
