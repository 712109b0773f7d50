# SPDX-License-Identifier: BSD-3-Clause
"""Rows to codes and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from ..training.callbacks import CallbackOption
from ..training.corruptions import Corruption
from ..training.optimizers import Rule
from ..training.rates import RateOption
from .unsupervised import Incremental


class StackedAutoencoderTransformer(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    Incremental,
):
    """Codes and reconstruction errors from autoencoders trained one on top of the other.

    Features may be of any size: they are standardized first, see `standardize`.

    Parameters
    ----------
    units : int or sequence of int, default (100,)
        Units of each layer; the last is the width of the code.
    steps : int or sequence of int, optional
        Minibatches for all layers, or for each. None: 20 passes over the rows, at least 1000.
    epochs : int or sequence of int, optional
        In the place of `steps`: passes over the rows.
    learning_rate : float or object of :mod:`sae_fast.schedules`, or a sequence of them, optional
        For all layers, or for each. None: 0.001, or less where all rows have much in common
        (thousands of numbers above zero), as for :meth:`sae_fast.Autoencoder.fit`.
    tune_steps : int, default 0
        Minibatches of tuning all layers as one deep autoencoder after that, as
        :meth:`sae_fast.StackedAutoencoder.finetune_autoencoder` does; `steps` may then be 0.
    tune_epochs : int, optional
        In the place of `tune_steps`: passes over the rows.
    tune_learning_rate : float or schedule, optional
        Of that tuning. None: as for `learning_rate`.
    batch_size : int, default 100
        Rows of a minibatch; all rows if there are fewer.
    weight_decay : float, default 0
        L2 penalty on the weights, beside a loss that is a sum over the minibatch.
    loss : str or sequence of str, default "squared_error"
        Of what all layers restore, or each; tuning has that of the first. "huber" and
        "absolute_error" mind single large errors less. "binary_cross_entropy" is for rows from 0 to
        1 and ``output="sigmoid"``, "poisson" for counts and "softplus"; layers above restore codes,
        so that a sequence says "squared_error" for them, or `activation` is "sigmoid" too.
        `score_samples` is the mean squared error all the same.
    activation : str or sequence of str, default "relu"
        Of the hidden layers, or of each; one of :data:`sae_fast.activations.NAMES`.
    output : str or sequence of str, default "linear"
        The same of what restores the rows and, of further layers, their codes. Others than "linear"
        for the first layer need ``standardize=False`` or `scale`.
    optimizer : str or object of :mod:`sae_fast.optimizers`, default "adam"
    corruption : str or object of :mod:`sae_fast.corruptions`, optional
        Noise on what the layers read in training; without it they restore what they read. Where
        columns are standardized it is in these units: "masking" puts in a centred column's mean.
    dropout : float or sequence of float, default 0
        Share of the units of all layers, or of each, that a training step leaves out; tuning leaves
        it out of the layers on the way down likewise.
    init : {"data", "he", "glorot", "lecun", "normal"}, default "data"
        As for :class:`sae_fast.Autoencoder`; "normal" is the article's.
    standardize : bool, default True
        Bring each column to a size around 1 first: less its mean where most of its values are not
        0 and X is not sparse, over its spread there, else over the size of its values beside 0.
        What the estimator takes and gives, and `network_`, are in the columns' own units all the
        same; callbacks see a network that knows standardized rows. Not done with `scale`.
    scale : float, optional
        For X of uint8: the value of one step, such as 1/255.
    dtype : {"float32", "float64"}, default "float32"
        Precision to compute in, and of the codes.
    eval_every : int, optional
        Steps between two evaluations of the loss over X; 0: only at the end of each layer. None:
        after each pass over the rows, and 20 times at most.
    random_state : int, RandomState or None, default None
        None, or a RandomState: another draw each time; in a :func:`sae_fast.distributed.session`,
        that of its first process.
    n_threads : int or None, default None
        None: as many as the process may use, or ``OMP_NUM_THREADS`` if that is fewer, or
        what `threadpoolctl` allows the thread that calls.
        Results do not depend on it.
    callbacks : list of Callback or callable, optional
        See :mod:`sae_fast.callbacks`.
    verbose : bool, default False
        Show progress bars.

    Attributes
    ----------
    network_ : StackedAutoencoder
        For rows in their own units; a new copy each time, unless ``standardize=False``.
    histories_ : list of History
        One per layer, of standardized rows.
    history_ : History
        Of the tuning, if there was one.
    loss_curve_ : list of list of float
        For each layer, the loss per row at each evaluation.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        Where X had names for its columns.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> from sae_fast.sklearn import StackedAutoencoderTransformer
    >>> x, _ = load_digits(return_X_y=True)
    >>> encoder = StackedAutoencoderTransformer(units=(32, 8), steps=500, random_state=0)
    >>> make_pipeline(MinMaxScaler(), encoder).fit_transform(x).shape
    (1797, 8)
    """

    _part = "encoder"

    def __init__(
        self,
        units: int | Sequence[int] = (100,),
        *,
        steps: int | Sequence[int] | None = None,
        epochs: int | Sequence[int] | None = None,
        learning_rate: RateOption | Sequence[RateOption] | None = None,
        tune_steps: int = 0,
        tune_epochs: int | None = None,
        tune_learning_rate: RateOption | None = None,
        batch_size: int = 100,
        weight_decay: float = 0.0,
        loss: str | Sequence[str] = "squared_error",
        activation: str | Sequence[str] = "relu",
        output: str | Sequence[str] = "linear",
        optimizer: str | Rule = "adam",
        corruption: str | Corruption | None = None,
        dropout: float | Sequence[float] = 0.0,
        init: str = "data",
        standardize: bool = True,
        scale: float | None = None,
        dtype: str = "float32",
        eval_every: int | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        callbacks: Sequence[CallbackOption] | None = None,
        verbose: bool = False,
    ) -> None:
        self._keep(locals())

    def transform(self, X: Any) -> NDArray[Any]:
        """Return the codes of X, shape (n_samples, units[-1])."""
        net, X = self._fitted(X)
        return net.encode(X, scale=self.scale)

    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """Return what codes X, shape (n_samples, units[-1]), stand for: (n_samples, n_features)."""
        check_is_fitted(self)
        back = self._network.decode(check_array(X, dtype=[np.float32, np.float64]))
        return back if self._standard is None else self._standard.undo(back)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return the mean squared error per feature of each row's reconstruction, (n_samples,).

        The larger, the less a row is like those of `fit`: a measure of anomaly. In the units of X,
        so that a column of large numbers counts most: put a scaler before where that is not meant.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        if self._standard is None:
            return self._network.score_samples(X, scale=self.scale)
        return self._standard.errors_of(X, self.dtype, self._network.reconstruct)

    @property
    def _n_features_out(self) -> int:
        return self._network.n_hidden

    def __sklearn_tags__(self) -> Any:  # noqa: D105 (scikit-learn's own)
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags
