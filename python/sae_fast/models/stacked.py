# SPDX-License-Identifier: BSD-3-Clause
"""A stack of autoencoders under a layer of classes or targets, and its two trainings."""

from __future__ import annotations

import functools
import itertools
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..base.checks import check_bool, check_choice, check_float, check_int, check_sizes, per_layer
from ..base.streams import Purpose, generator
from ..core.activations import Function, check_activation, check_output
from ..core.layers import Layer, Part
from ..core.networks import Network, count_dead_units, network_of, new_network
from ..core.units import Units
from ..errors import DataError
from ..exchange.model_file import register
from ..exchange.torch import from_torch
from ..training.callbacks import CallbackOption, Training
from ..training.corruptions import Corruption
from ..training.history import History
from ..training.objective import HEADS, SOFTMAX, check_codes
from ..training.optimizers import Rule
from ..training.penalties import Penalty
from ..training.rates import RateOption
from ..training.request import Request
from .autoencoder import INITS, STDDEV, Autoencoder, draw_weights, initial_stddev
from .claims import in_turn, trains
from .follow import Follow
from .headed import Headed
from .model import Model
from .parameters import ReadOnly
from .unrolled import Unrolled

if TYPE_CHECKING:
    import torch


@register
class StackedAutoencoder(Headed):
    """A network for classes or targets, whose hidden layers can be pretrained one by one.

    Parameters
    ----------
    sizes : sequence of int
        Features, then units of each hidden layer: ``[784, 100, 50, 25, 12, 5, 5]``.
    n_classes : int or None
        Classes of the softmax layer on top. With neither classes nor targets a network can only be
        pretrained.
    n_targets : int or None
        Numbers that the layer on top gives for each sample, in the place of classes.
    head : str, optional
        What the layer on top applies: for classes "softmax"; for targets "linear" (the default) or
        "softplus" (above 0) in a regression, "sigmoid" where each target is a label of its own, 0
        or 1, several of which may be 1.
    seed : int, default 0
        For initial weights and the order of the samples. The draws for a layer do not depend on
        `init` nor on pretraining, so that networks of one seed can be compared in pairs.
    init : {"data", "he", "glorot", "lecun", "normal"}, default "data"
        Hidden weights, as in :class:`Autoencoder`; biases 0, but for "data", whose first training
        starts from what it sees, as there. The layer on top starts from N(0, 0.01²) with biases
        from N(0, 1).
    activation, output : str or sequence of str, default "relu" and "linear"
        Of the hidden layers, and of their decoders; a name of :data:`sae_fast.activations.NAMES`,
        or a :class:`~sae_fast.activations.TopK` of a hidden layer, for all, or one for each.
        ``["sigmoid"] * 3 + ["linear"]`` and "sigmoid" make the deep autoencoder of [2]_.
    tied : bool, default False
        Whether each of `autoencoders` is tied, in `pretrain` and in `finetune_autoencoder`.
    dtype : {"float32", "float64"}, default "float32"
        Precision to compute in.
    n_threads : int or None
        None: as many as the process may use, or ``OMP_NUM_THREADS`` if that is fewer, or
        what `threadpoolctl` allows the thread that calls.
        The result is the same, bit for bit, for every value.

    Attributes
    ----------
    autoencoders : tuple of Autoencoder
        One per hidden layer; after `pretrain` each holds its decoder.
    parameters : dict of ndarray
        Copies of ``W1`` (n_features, n_hidden), ``b1``, ``W2``, ... up to the top layer's;
        assignable, as `classes`, `scale` and `n_threads` are. What the constructor takes is there
        too, and read-only.
    pretrained : bool
        Whether all of `autoencoders` have been.

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
    .. [1] Bengio, Lamblin, Popovici and Larochelle, "Greedy layer-wise training of
       deep networks", NIPS 2006.
    .. [2] Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural
       networks", Science 313, 2006.
    """

    _NAME = "StackedAutoencoder"
    _stream = Purpose.FINETUNE_ORDER, 0
    _in_pretraining: Autoencoder | None = None  # holds its layer of the network meanwhile

    sizes = ReadOnly[tuple[int, ...]]()
    init = ReadOnly[str]()
    activation = ReadOnly["Function | tuple[Function, ...]"]()
    output = ReadOnly["str | tuple[str, ...]"]()
    pretrained = ReadOnly[bool]()
    autoencoders = ReadOnly[tuple[Autoencoder, ...]]()

    def __init__(
        self,
        sizes: Sequence[int],
        n_classes: int | None = None,
        *,
        n_targets: int | None = None,
        head: str | None = None,
        seed: int = 0,
        init: str = "data",
        activation: Function | Sequence[Function] = "relu",
        output: str | Sequence[str] = "linear",
        tied: bool = False,
        dtype: str = "float32",
        n_threads: int | None = None,
    ) -> None:
        self.sizes = check_sizes("sizes", sizes)
        if len(self.sizes) < 2:
            raise DataError(f"sizes: expected features and at least one hidden layer, got {sizes}")
        self.n_features, self._depth = self.sizes[0], len(self.sizes) - 1
        self._set_head(n_classes, n_targets, head)
        self.seed = check_int("seed", seed, 0)
        self.init = check_choice("init", init, INITS)
        activations = [
            check_activation("activation", one, self.sizes[layer], layer)
            for layer, one in enumerate(per_layer("activation", activation, self._depth), start=1)
        ]
        outputs = [check_output("output", one) for one in per_layer("output", output, self._depth)]
        one = isinstance(activation, Function)
        self.activation = activations[0] if one else tuple(activations)
        self.output = outputs[0] if isinstance(output, str) else tuple(outputs)
        self.tied = check_bool("tied", tied)
        self.dtype = check_choice("dtype", dtype, ("float32", "float64"))
        self.pretrained = False
        self.autoencoders = tuple(
            Autoencoder._blank(
                n_features=n_in,
                n_hidden=n_out,
                activation=activations[layer - 1],
                output=outputs[layer - 1],
                tied=self.tied,
                init=init,
                seed=seed,
                dtype=dtype,
                layer=layer,
                n_threads=1,  # until all have the stack's, below: counting takes a while
            )
            for layer, (n_in, n_out) in enumerate(itertools.pairwise(self.sizes), start=1)
        )
        for autoencoder in self.autoencoders:
            autoencoder._turns = self._turns
        self._decoder = outputs[0]
        self._unrolled = Unrolled(self, self.sizes, [*activations, *reversed(outputs)])
        self.n_threads = n_threads
        n_top = self.n_classes or self.n_targets
        self._widths = (*self.sizes, n_top) if n_top else self.sizes
        top = "linear" if self.head == SOFTMAX else self.head
        self._activations = [*activations, *([top] if top else [])]
        self._network = new_network(dtype, self._widths, self._activations)
        if self._draws:
            self._draw()

    def _draw(self) -> None:
        for layer, (n_in, n_out) in enumerate(itertools.pairwise(self._widths), start=1):
            top = layer == len(self.sizes)
            activation = self._activations[layer - 1]
            stddev = STDDEV if top else initial_stddev(self.init, activation, n_in, n_out)
            drawn = {
                f"W{layer}": draw_weights(self.seed, Purpose.WEIGHTS, layer, n_in, n_out, stddev)
            }
            if top:
                biases = generator(self.seed, Purpose.BIASES, layer)
                drawn[f"b{layer}"] = biases.standard_normal(n_out)
            self.parameters = drawn
        for autoencoder in self.autoencoders:
            autoencoder._draw()
        self._drawn = True

    @classmethod
    def _widths_of(cls, architecture: Mapping[str, Any]) -> Sequence[Any]:
        tops = architecture["n_classes"], architecture.get("n_targets")
        sizes = check_sizes("sizes", architecture["sizes"])
        return *sizes, *(n for n in tops if n is not None)

    def _describe(self) -> dict[str, Any]:
        return {
            **super()._describe(),
            "pretrained": self.pretrained,
            "classes": self.classes,
            "weight_decay": [autoencoder.weight_decay for autoencoder in self.autoencoders],
        }

    def _become(self, description: Mapping[str, Any]) -> None:
        super()._become(description)
        self._set(pretrained=description["pretrained"] is True)
        self.classes = description["classes"]
        weight_decay = description.get("weight_decay", [0.0] * self._depth)
        for autoencoder, value in zip(self.autoencoders, weight_decay, strict=True):
            autoencoder._set(weight_decay=check_float("weight_decay", value, positive=False))
            if not self.pretrained:  # it is as it was before any training
                autoencoder._draw()

    def _stored(self) -> Sequence[tuple[str, Model]]:
        pretrained = self.autoencoders if self.pretrained else ()
        own = [(str(autoencoder.layer), autoencoder) for autoencoder in pretrained]
        return [("", self), *own]

    def _trained(self) -> list[Model]:
        return [self, *self.autoencoders, self._unrolled]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the stack of a pickle, which what it unrolls belongs to."""
        super().__setstate__(state)
        self._unrolled._stack = weakref.ref(self)

    def _resumed(self) -> list[Model]:
        return [*super()._resumed(), *([self._unrolled] if self.pretrained else [])]

    def _place(self, layer: int) -> tuple[Network, int]:
        trained = self._in_pretraining
        if trained is not None and layer == trained.layer - 1:
            return trained._network, 0
        return self._network, layer

    def _settle(self) -> None:
        """Take over the layer that has been pretrained, however that ended."""
        if self._in_pretraining is not None:
            self._take_over(self._in_pretraining)
        self._in_pretraining = None

    def _take_over(self, autoencoder: Autoencoder) -> None:
        """Copy the encoder of an autoencoder."""
        self._network.copy_layer(autoencoder.layer - 1, autoencoder._network, 0)

    def _unroll(self) -> None:
        """Copy all encoders of the network, and all decoders, to the deep autoencoder."""
        deep = self._unrolled
        if self._units != self.autoencoders[0]._units:  # one has been assigned
            self.parameters, self.autoencoders[0].parameters = {}, {}
        deep._units, deep._drawn = self._units, self._untouched
        for layer, autoencoder in enumerate(self.autoencoders):
            deep._network.copy_layer(layer, self._network, layer)
            deep._network.copy_layer(deep._restoring - layer, autoencoder._network, 1)

    def _roll_up(self) -> None:
        """Copy them back."""
        deep = self._unrolled
        self.scale = deep.scale
        self._units = self.autoencoders[0]._units = deep._units
        self._set(pretrained=True)
        for layer, autoencoder in enumerate(self.autoencoders):
            autoencoder._network.copy_layer(0, deep._network, layer)
            autoencoder._network.copy_layer(1, deep._network, deep._restoring - layer)
            self._take_over(autoencoder)

    def _names(self) -> list[tuple[str, str]]:
        return [(f"W{layer}", f"b{layer}") for layer in range(1, len(self._widths))]

    @property
    def scale(self) -> float | None:
        """As of any model, here and in the first of `autoencoders`."""
        return self._scale

    @scale.setter
    def scale(self, scale: float | None) -> None:
        self.autoencoders[0].scale = scale
        self._scale = self.autoencoders[0].scale

    @property
    def n_layers(self) -> int:
        """Number of hidden layers."""
        return self._depth

    @trains
    def pretrain(
        self,
        x: Any,
        *,
        steps: int | Sequence[int] | None = None,
        epochs: int | Sequence[int] | None = None,
        batch_size: int | None = None,
        learning_rate: RateOption | Sequence[RateOption | None] | None = None,
        weight_decay: float = 0.0,
        sample_weight: Any = None,
        eval_every: int = 100,
        eval_set: Any = None,
        batches: Any = None,
        scale: float | None = None,
        continued: bool = False,
        callbacks: Sequence[CallbackOption] | None = None,
        progress: bool = False,
        loss: str | Sequence[str] = "squared_error",
        optimizer: str | Rule = "adam",
        adam: str = "tf1",
        corruption: str | Corruption | None = None,
        dropout: float | Sequence[float] = 0.0,
        penalties: Sequence[Penalty] = (),
    ) -> list[History]:
        """Train the hidden layers one after another, each as an autoencoder on the codes below it.

        Each starts from the layer's current weights and leaves its encoder in the network; the
        layers below are frozen and encode the data once. Its decoder stays in `autoencoders`, for
        `reconstruct`.

        Parameters
        ----------
        x, batch_size, sample_weight, eval_every, eval_set, scale, continued, callbacks, \
        progress, optimizer, adam, corruption, penalties
            As in :meth:`Autoencoder.fit`.
        steps, epochs : int or sequence of int, default 3000 steps (or the length of `batches`)
            For all layers, or for each; one or the other, as in :meth:`Autoencoder.fit`. A layer of
            0 steps keeps the weights that it has, and the layers above learn from the codes that
            these give.
        learning_rate : float, schedule, callable or sequence of them, optional
            For all layers, or for each. None: for each as in :meth:`Autoencoder.fit`.
        weight_decay : float
            L2 penalty on the weights of each autoencoder.
        loss : str or sequence of str, default "squared_error"
            For all layers, or for each, as in :meth:`Autoencoder.fit`. Layers restore codes, so
            that "binary_cross_entropy" needs "sigmoid" in the layer below, "poisson" an activation
            that gives nothing below 0.
        dropout : float or sequence of float
            For all layers, or for each, as in :meth:`Autoencoder.fit`.
        batches : array_like of int, shape (n_steps, batch_size), or a list of one for each layer
            Sample numbers of each step, instead of the shuffle.

        Returns
        -------
        list of History
            One per layer: the loss over all of `x`, or over its codes, or those of `eval_set`;
            empty of a layer of 0 steps.

        Raises
        ------
        DataError
            If an argument does not fit; nothing has changed then.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite. The network is then as it was
            when all was last finite.
        """
        layers = Request.of_layers(locals(), self._depth, default_steps=3000)
        models = self.autoencoders
        objectives = [model._objective(own) for model, own in zip(models, layers, strict=True)]
        for below, above, objective in zip(models, models[1:], objectives[1:], strict=False):
            check_codes(objective.loss, below.activation, above.layer)
        sets = self._sets(layers[0], objectives[0])
        schedules = [
            model._schedule(own, sets[0].x.n_samples)
            for model, own in zip(models, layers, strict=True)
        ]
        self._settle()
        histories = []
        for model, asked, objective, schedule in zip(
            models, layers, objectives, schedules, strict=True
        ):
            follow = Follow(functools.partial(self._take_over, model), asked.callbacks)
            training = model._training(asked, objective, schedule, sets, follow)
            histories.append(self._pretrain_layer(model, training))
            for callback in training.callbacks if schedule.steps else ():
                callback.on_layer_end(training)
            if model.layer < self._depth:
                sets = [model._encoded(one) for one in sets]
        with self._turns.queue, self._turns.lock:
            self._set(pretrained=True)
        return histories

    def _pretrain_layer(self, autoencoder: Autoencoder, training: Training) -> History:
        """Train an autoencoder from the weights of its layer, which it holds meanwhile."""
        layer = autoencoder.layer - 1
        before = self._scale, self._units, self.pretrained, autoencoder.weight_decay
        drawn = autoencoder._drawn
        w, b, _ = autoencoder._layer(0)
        try:
            with self._turns.queue, self._turns.lock:
                self._set(pretrained=False)
                autoencoder._drawn &= self._drawn and self._state is None
                autoencoder._network.copy_layer(0, self._network, layer)
                self._in_pretraining = autoencoder
                autoencoder._set(weight_decay=training.objective.weight_decay)
                if layer == 0:
                    self.scale, self._units = training.samples.scale, training.samples.units
            return autoencoder._train(training)
        finally:  # what an error or Ctrl-C ended is kept
            with self._turns.queue, self._turns.lock:
                if not training.started:  # refused by a callback
                    self._in_pretraining = None
                    self.scale, self._units, pretrained, weight_decay = before
                    self._set(pretrained=pretrained)
                    autoencoder._set(weight_decay=weight_decay)
                    autoencoder._drawn = drawn
                    autoencoder._network.set_parameters(0, w, b)
                self._settle()

    @trains
    def finetune_autoencoder(
        self,
        x: Any,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: RateOption | None = None,
        weight_decay: float = 0.0,
        sample_weight: Any = None,
        eval_every: int = 100,
        eval_set: Any = None,
        batches: Any = None,
        scale: float | None = None,
        continued: bool = False,
        callbacks: Sequence[CallbackOption] | None = None,
        progress: bool = False,
        loss: str = "squared_error",
        optimizer: str | Rule = "adam",
        adam: str = "tf1",
        corruption: str | Corruption | None = None,
        dropout: float | Sequence[float] = 0.0,
        penalties: Sequence[Penalty] = (),
    ) -> History:
        """Train all autoencoders as one, without labels: the unrolled stack on what it restores.

        Samples go up through all encoders and down through all decoders, and the loss of what comes
        out trains them all at once [1]_. Everything that follows uses the layers that it tuned:
        `encode`, `reconstruct`, `decode`, `score_samples`, and a later `finetune`. It starts from
        the network's layers and the decoders as they are: after `pretrain`, or without.

        Parameters
        ----------
        x, epochs, batch_size, learning_rate, sample_weight, eval_every, eval_set, batches, scale, \
        continued, callbacks, progress, loss, optimizer, adam, corruption, penalties
            As in :meth:`Autoencoder.fit`.
        steps : int, default 3000 (or the length of `batches`)
        weight_decay : float
            L2 penalty on all weights.
        dropout : float or sequence of float
            Of all hidden layers, those of the decoders too, or of each, on the way up and down.

        Returns
        -------
        History
            Loss at each evaluation, over all of `x` or over `eval_set`.

        Raises
        ------
        DataError
            If an argument does not fit; nothing has changed then.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite. The model is then as it was at the
            last evaluation before.

        Examples
        --------
        >>> import numpy as np, sae_fast
        >>> x = np.random.default_rng(0).random((200, 12), dtype=np.float32)
        >>> net = sae_fast.StackedAutoencoder([12, 8, 4])
        >>> histories = net.pretrain(x, steps=200)
        >>> before = net.reconstruction_error(x)
        >>> history = net.finetune_autoencoder(x, steps=500)
        >>> net.reconstruction_error(x) < before
        True

        References
        ----------
        .. [1] Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural
           networks", Science 313, 2006.
        """
        asked, deep = Request.of(locals(), default_steps=3000), self._unrolled
        objective = deep._objective(asked)
        sets = self._sets(asked, objective)
        schedule = deep._schedule(asked, sets[0].x.n_samples)
        follow = Follow(self._roll_up, asked.callbacks)
        training = deep._training(asked, objective, schedule, sets, follow)
        self._settle()
        self._unroll()
        try:
            return deep._train(training)
        finally:  # what an error or Ctrl-C ended is kept
            if training.started:
                with self._turns.queue, self._turns.lock:
                    self._roll_up()

    @property
    def n_hidden(self) -> int:
        """Width of the last hidden layer: of what `encode` returns."""
        return self.sizes[-1]

    @in_turn
    def _part(self, part: str | None) -> Part:
        top = "classifier" if self.n_targets is None else "predictor"
        whole = "reconstruction" if self.head is None else top
        choices = ("encoder", "reconstruction", top)
        part = check_choice("part", whole if part is None else part, choices)
        if part == "reconstruction":
            return self._reconstruction("part 'reconstruction'", Model._own_layer)
        if part == top:
            self._check_head()
        layers = [self._own_layer(at) for at in range(self._depth + (part == top))]
        return Part(part, layers, softmax=part == "classifier")

    def _reconstruction(self, caller: str, layer_of: Callable[[Model, int], Layer]) -> Part:
        """Go up all autoencoders and down again."""
        if not self.pretrained:
            raise DataError(f"{caller}: expected a pretrained network; call pretrain() first")
        encoders = [layer_of(autoencoder, 0) for autoencoder in self.autoencoders]
        decoders = [layer_of(autoencoder, 1) for autoencoder in reversed(self.autoencoders)]
        return Part("reconstruction", [*encoders, *decoders])

    @in_turn
    def _reconstructor(self, caller: str) -> tuple[Network, Units]:
        network = network_of(self._reconstruction(caller, Model._layer))
        return network, self.autoencoders[0]._units

    def _learned(self) -> list[str]:
        return [*(["pretrained"] if self.pretrained else []), *super()._learned()]

    def count_dead_units(self, x: Any, *, scale: float | None = None) -> list[int]:
        """Return, for each hidden layer, how many units are dead on `x`.

        :meth:`Autoencoder.count_dead_units` says what counts as dead.
        """
        data = self._samples(x, scale)
        return count_dead_units(self._network, data, self.n_threads)[: self._depth]

    @classmethod
    def from_torch(
        cls,
        module: torch.nn.Sequential,
        *,
        head: str = SOFTMAX,
        seed: int = 0,
        n_threads: int | None = None,
    ) -> StackedAutoencoder:
        """Return a network with copies of the parameters of a PyTorch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            ``Linear``, each with an activation or none, float32 or float64, nested or not. A
            ``Linear`` without one at the end, with or without ``Softmax`` or ``LogSoftmax``, is the
            softmax layer; where there is none, the network has no classes.
        head : str, default "softmax"
            "linear", "softplus" or "sigmoid" if the last ``Linear`` gives targets, through this.
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
        source = from_torch(module)
        layers, activations = source.layers, [layer.activation for layer in source.layers]
        check_choice("head", head, (SOFTMAX, *HEADS))
        if head != SOFTMAX and (head != activations[-1] or source.softmax):
            raise DataError(f"head: expected what the module ends with, got {head!r} with {module}")
        has_top = head != SOFTMAX or activations[-1] == "linear"
        sizes = [len(layers[0].w), *(len(layer.b) for layer in layers)]
        top = None
        if has_top:
            activations.pop()
            top = sizes.pop()
        net = cls(
            sizes,
            top if head == SOFTMAX else None,
            n_targets=None if head == SOFTMAX else top,
            head=head if has_top else None,
            seed=seed,
            activation=activations[0] if len(set(activations)) == 1 else activations,
            dtype=layers[0].w.dtype.name,
            n_threads=n_threads,
        )
        return net._adopt(layers)
