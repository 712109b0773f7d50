# SPDX-License-Identifier: BSD-3-Clause
"""One autoencoder: n_features -> n_hidden -> n_features, each layer with its activation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.checks import (
    check_bool,
    check_choice,
    check_float,
    check_int,
    check_width,
)
from ..base.streams import Purpose, generator
from ..core.activations import Function, check_activation, check_output, traits
from ..core.layers import Part
from ..core.networks import count_dead_units, encode_input, new_network
from ..core.units import PLAIN
from ..errors import DataError
from ..exchange.model_file import register
from ..exchange.torch import from_torch
from ..training.callbacks import CallbackOption
from ..training.corruptions import Corruption
from ..training.history import History
from ..training.objective import Samples
from ..training.optimizers import Rule
from ..training.penalties import Penalty
from ..training.rates import RateOption
from ..training.request import Request
from .claims import in_turn, trains
from .model import Model
from .parameters import ReadOnly

if TYPE_CHECKING:
    import torch

STDDEV = 0.01  # of the article's initial weights
_VARIANCES: dict[str, Callable[[int, int], float]] = {
    "normal": lambda *_: STDDEV**2,
    "he": lambda n_in, _: 2 / n_in,
    "glorot": lambda n_in, n_out: 2 / (n_in + n_out),
    "lecun": lambda n_in, _: 1 / n_in,
}
#: What `init` may be; "data" goes by the activation.
INITS = (*_VARIANCES, "data")


def initial_stddev(init: str, activation: Function, n_in: int, n_out: int) -> float:
    """Return the standard deviation of the initial weights of a hidden layer."""
    if init == "data":
        init = traits(activation).init
    return math.sqrt(_VARIANCES[init](n_in, n_out))


def draw_weights(
    seed: int, purpose: Purpose, layer: int, n_in: int, n_out: int, stddev: float
) -> NDArray[np.float64]:
    """Return initial weights N(0, stddev²), shape (n_in, n_out); the draws do not depend on it."""
    weights = generator(seed, purpose, layer).standard_normal((n_in, n_out))
    weights *= stddev
    return weights


@register
class Autoencoder(Model):
    """An autoencoder with one hidden layer.

    ``code = relu(x W_enc + b_enc)``, ``reconstruction = code W_dec + b_dec``, or with other
    activations. The loss of a batch is
    ``sum((x - reconstruction)²) + weight_decay/2 (‖W_enc‖² + ‖W_dec‖²)``: a sum over the batch,
    not a mean; biases carry no decay.

    Parameters
    ----------
    n_features, n_hidden : int
        Width of the input and of the code.
    weight_decay : float, default 0
        L2 penalty, part of the loss that the optimizer differentiates.
    activation, output : str, default "relu" and "linear"
        Of the hidden layer, and of the decoder; one of :data:`sae_fast.activations.NAMES`. The
        hidden layer's may be a :class:`~sae_fast.activations.TopK` too.
    tied : bool, default False
        Whether ``W_dec`` is the transpose of ``W_enc`` [5]_: one matrix, whose gradient is the sum
        of both uses, ``xᵀ delta + delta_decᵀ code``, with one state of the optimizer. Penalties on
        weights count it once.
    init : {"data", "he", "glorot", "lecun", "normal"}, default "data"
        Initial ``W_enc``: "he" from N(0, 2/n_features) [2]_, "glorot" from N(0, 2/(n_features +
        n_hidden)) [3]_, "lecun" from N(0, 1/n_features) [4]_, "normal" from N(0, 0.01²), as
        ``W_dec`` always (the article's). "data" is "lecun" for selu, "glorot" for sigmoid and tanh,
        else "he", and the first training starts from biases with which the sums of each unit have
        the mean 0, and a linear or sigmoid decoder gives the mean of the samples. Samples that are
        all tiny, huge or far from zero it measures in units of their own from then on, if `output`
        is linear and nothing `tied`; results, parameters and losses stay in those of the samples.
    seed : int, default 0
        For the initial weights and the order of the samples.
    dtype : {"float32", "float64"}, default "float32"
        Precision to compute in.
    n_threads : int or None
        None: as many as the process may use, or ``OMP_NUM_THREADS`` if that is fewer, or
        what `threadpoolctl` allows the thread that calls.
        The result is the same, bit for bit, for every value.
    layer : int, default 1
        Which layer of a stack this is: each draws from random streams of its own.

    Attributes
    ----------
    parameters : dict of ndarray
        Copies of ``W_enc`` (n_features, n_hidden), ``b_enc``, ``W_dec`` and ``b_dec``; assignable,
        as `scale` and `n_threads` are; a tied ``W_dec`` follows ``W_enc``, and nothing else may be
        assigned to it. What the constructor takes is there too, and read-only.

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
    .. [1] Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural
       networks", Science 313, 2006.
    .. [2] He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV 2015.
    .. [3] Glorot and Bengio, "Understanding the difficulty of training deep feedforward
       neural networks", AISTATS 2010.
    .. [4] LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998.
    .. [5] Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked denoising
       autoencoders", JMLR 11, 2010.
    """

    _NAME = "Autoencoder"
    _depth = _restoring = 1

    n_hidden = ReadOnly[int]()
    weight_decay = ReadOnly[float]()
    activation = ReadOnly[Function]()
    output = ReadOnly[str]()
    layer = ReadOnly[int]()

    def __init__(
        self,
        n_features: int,
        n_hidden: int,
        *,
        weight_decay: float = 0.0,
        activation: Function = "relu",
        output: str = "linear",
        tied: bool = False,
        init: str = "data",
        seed: int = 0,
        dtype: str = "float32",
        n_threads: int | None = None,
        layer: int = 1,
    ) -> None:
        self.n_features = check_width("n_features", n_features)
        self.n_hidden = check_width("n_hidden", n_hidden)
        self.weight_decay = check_float("weight_decay", weight_decay, positive=False)
        layer = check_int("layer", layer, 1)
        self.activation = check_activation("activation", activation, self.n_hidden, layer)
        self.output = check_output("output", output)
        self.tied = check_bool("tied", tied)
        self.init = check_choice("init", init, INITS)
        self.seed = check_int("seed", seed, 0)
        self.dtype = check_choice("dtype", dtype, ("float32", "float64"))
        self.n_threads = n_threads
        self.layer = self._number = layer
        self._title = f"autoencoder {layer} ({n_features} → {n_hidden})"
        self._stream = Purpose.PRETRAIN_ORDER, layer
        self._widths = (self.n_features, self.n_hidden, self.n_features)
        self._activations, self._decoder = (self.activation, self.output), self.output
        self._network = new_network(dtype, self._widths, self._activations, tied=self.tied)
        if self._draws:
            self._draw()

    def _draw(self) -> None:
        """Draw the initial parameters of this layer and seed."""
        shape = (self.n_features, self.n_hidden)
        stddev = initial_stddev(self.init, self.activation, *shape)
        drawn = [("W_enc", Purpose.WEIGHTS, shape, stddev)]
        if not self.tied:
            drawn.append(("W_dec", Purpose.DECODER, shape[::-1], STDDEV))
        for name, purpose, (n_in, n_out), spread in drawn:
            w = draw_weights(self.seed, purpose, self.layer, n_in, n_out, spread)
            self.parameters = {name: w}
        self._drawn = True

    def _names(self) -> list[tuple[str, str]]:
        return [("W_enc", "b_enc"), ("W_dec", "b_dec")]

    @classmethod
    def _widths_of(cls, architecture: Mapping[str, Any]) -> Sequence[Any]:
        widths = architecture["n_features"], architecture["n_hidden"]
        return widths if architecture.get("tied") else (*widths, widths[0])

    @trains
    def fit(
        self,
        x: Any,
        *,
        steps: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: RateOption | None = None,
        weight_decay: float | None = None,
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
        """Train from the current parameters.

        Parameters
        ----------
        x : array_like, frame, SciPy sparse matrix or DataSource, shape (n_samples, n_features)
            Numbers: float32, float64, bool, and uint8 with `scale`, are read where they lie; all
            others, and columns of several types, are copied into the model's `dtype`. A
            :class:`~sae_fast.datasets.DataSource` is read and checked once before the first step,
            and then as its `memory` allows.
        steps : int, default 1000 (or the length of `batches`)
        epochs : int, optional
            Passes over the samples, in the place of `steps`: as many whole batches as hold each
            sample that often, ``ceil(epochs * n_samples / batch_size)`` steps. A batch that an
            epoch cannot fill goes on into the next one.
        batch_size : int, default 100, or all samples if there are fewer (or the width of `batches`)
            At most n_samples.
        learning_rate : float, object of :mod:`sae_fast.schedules`, or callable, optional
            A function is called once for each step, with how many have been taken before, 0 at the
            first; the first 100,000 calls come before the training. None: 0.001, or less where all
            samples have much in common, such as thousands of numbers above zero, so that no step
            moves all sums of a unit far at once; :class:`~sae_fast.optimizers.SGD` has a rule of
            its own. With `batches`: 0.001.
        weight_decay : float, optional
            L2 penalty of this training; None: the model's own.
        sample_weight : array_like, shape (n_samples,), optional
            Factor of each sample's loss, at least 0; not used on `eval_set`.
        eval_every : int
            Steps between two evaluations of the loss; 0: only at the end.
        eval_set : array_like, SciPy sparse matrix or DataSource, shape (n, n_features), optional
            What to measure the loss on, without penalties; None: all of `x`, with weight decay,
            `penalties` and `sample_weight`.
        batches : array_like of int, shape (n_steps, batch_size), optional
            Sample numbers of each step, instead of the shuffle. For a training that is repeated
            elsewhere: it starts from `parameters` as they are, whatever `init` is.
        scale : float, optional
            Value of one step of uint8 data, such as 1/255. The model remembers it, and reads uint8
            with it when it computes.
        continued : bool
            Go on with the optimizer's state, its step count and the shuffle as the latest training
            left them: two trainings are then the same as one of their length, and with another
            `batch_size` no sample is left out. The state is what the latest training by this method
            left, wherever the layers have been moved since, by others or by an assignment, so that
            trainings of several kinds can take turns; False starts it anew. A model without such a
            state starts anew, one from a file, which does not hold it, with a warning.
        callbacks : list of Callback or callable, optional
            See :mod:`sae_fast.callbacks`; functions are called after each evaluation.
        progress : bool
            Show a progress bar on stderr.
        loss : str, default "squared_error"
            What is summed over the samples of a batch and their features; t is a feature, a what
            the decoder makes of it:

            - "squared_error": ``(a - t)²``
            - "binary_cross_entropy": ``-t log a - (1 - t) log(1 - a)`` for t from 0 to 1 and
              ``output="sigmoid"``, computed from the decoder's sums, so that no a is too near 0 or
              1 [1]_
            - "huber": ``(a - t)²/2`` up to a distance of 1, ``|a - t| - 1/2`` from there on [2]_
            - "absolute_error": ``|a - t|``
            - "poisson": ``a - t log a`` for counts or rates t of at least 0 and ``output=``
              "softplus" or "sigmoid"; the likelihood of a Poisson distribution but for what t alone
              decides
        optimizer : str or object of :mod:`sae_fast.optimizers`
        adam : {"tf1", "torch"}
            The form of ``optimizer="adam"``. Where epsilon is added: to the uncorrected √v
            (TensorFlow 1) or the corrected (PyTorch).
        corruption : str or object of :mod:`sae_fast.corruptions`, optional
            Noise on the samples of each step; the loss, and evaluations, go by the clean ones.
        dropout : float
            Share of the hidden units that is left out of each sample at each step, less than 1;
            the others count ``1 / (1 - dropout)`` times [3]_. Evaluations and all that is computed
            later take all units as they are. Which are left out is a function of the model's seed,
            its layer, the step, the row of the batch and the unit.
        penalties : list of objects of :mod:`sae_fast.penalties`
            What is added to the loss, beside weight decay; one of a kind.

        Returns
        -------
        History
            Loss at each evaluation; `History.mean_loss` has it per sample.

        Raises
        ------
        DataError
            If an argument does not fit; nothing has changed then.
        DivergenceError
            If the loss or a parameter becomes NaN or infinite. The model is then as it was at the
            last evaluation before.

        References
        ----------
        .. [1] Vincent, Larochelle, Lajoie, Bengio and Manzagol, "Stacked denoising
           autoencoders", JMLR 11, 2010.
        .. [2] Huber, "Robust estimation of a location parameter", Annals of Mathematical
           Statistics 35, 1964.
        .. [3] Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: a simple way
           to prevent neural networks from overfitting", JMLR 15, 2014.
        """
        weight_decay = self.weight_decay if weight_decay is None else weight_decay
        return self._train_on(Request.of(locals(), default_steps=1000))

    def _encoded(self, samples: Samples) -> Samples:
        """Return the codes of samples, as the next layer of a stack reads them."""
        codes = encode_input(self._network, samples.x, 1, self.n_threads)
        return dataclasses.replace(samples, x=codes, units=PLAIN, scale=None, codes=True)

    def count_dead_units(self, x: Any, *, scale: float | None = None) -> int:
        """Return how many hidden units are dead on `x`: the same on every sample.

        Counted are units whose activation has a derivative of zero, or less than the last digit of
        1 in `dtype`, on all samples: a relu that is never on, a saturated sigmoid. No gradient
        moves them any more. A linear or leaky_relu unit is never dead.
        """
        data = self._samples(x, scale)
        return count_dead_units(self._network, data, self.n_threads)[0]

    @in_turn
    def _part(self, part: str | None) -> Part:
        choices = ("encoder", "reconstruction")
        part = check_choice("part", choices[-1] if part is None else part, choices)
        return Part(part, [self._own_layer(at) for at in range(1 if part == "encoder" else 2)])

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
            ``Linear``, an activation or none, ``Linear`` back to the width of the input, an
            activation or none, nested or not; float32 or float64.
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
        source = from_torch(module)
        encoder, decoder = source.layers[0], source.layers[-1]
        n_features, n_hidden = encoder.w.shape
        if len(source.layers) != 2 or source.softmax or decoder.w.shape != encoder.w.T.shape:
            raise DataError(
                f"module: expected Linear, an activation or none, Linear back to the {n_features} "
                f"in_features of the first, got {module}"
            )
        autoencoder = cls._blank(
            n_features=n_features,
            n_hidden=n_hidden,
            weight_decay=weight_decay,
            activation=encoder.activation,
            output=check_output("module", decoder.activation),
            seed=seed,
            dtype=encoder.w.dtype.name,
            n_threads=n_threads,
        )
        return autoencoder._adopt(source.layers)
