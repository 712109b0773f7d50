# SPDX-License-Identifier: BSD-3-Clause
"""Rows to numbers: one target, or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_is_fitted

from ..errors import DataError
from ..models.stacked import StackedAutoencoder
from ..models.standard import Standard
from ..training.callbacks import CallbackOption
from ..training.corruptions import Corruption
from ..training.optimizers import Rule
from ..training.rates import RateOption
from .supervised import Supervised


class StackedAutoencoderRegressor(
    RegressorMixin,  # type: ignore[misc]
    Supervised,
):
    """A regression whose hidden layers are pretrained as autoencoders.

    Features and targets may be of any size: they are standardized first, see `standardize`.

    Parameters
    ----------
    units : int or sequence of int, default (100,)
        Units of each hidden layer.
    pretrain_steps, pretrain_epochs, steps, epochs, pretrain_learning_rate, learning_rate, \
    batch_size, activation, optimizer, corruption, dropout, init, scale, dtype, eval_every, \
    random_state, n_threads, callbacks, verbose
        As for :class:`StackedAutoencoderClassifier`.
    weight_decay : float, default 1
        L2 penalty on the weights, beside a loss that is a sum over the minibatch and the targets.
    loss : {"squared_error", "huber", "absolute_error", "poisson"}, default "squared_error"
        "huber" is the squared error up to one standard deviation of a target and absolute beyond,
        with ``standardize=False`` up to 1. "poisson" is for counts, of which it predicts the mean,
        above 0; in the place of standardizing them it divides them by their mean.
    standardize : bool, default True
        Bring each column to a size around 1 first, as :class:`StackedAutoencoderTransformer` does,
        and each target likewise. What the estimator takes and gives, and `network_`, are in their
        own units all the same; losses are of standardized targets. With `scale` columns are taken
        as they are.
    early_stopping, validation_fraction, patience
        As there, of all rows.

    Attributes
    ----------
    network_ : StackedAutoencoder
        For rows and targets in their own units, but for ``loss="poisson"``: that gives targets over
        `target_unit_`. A new copy each time.
    target_unit_ : ndarray of shape (n_targets,)
        What a standardized target is measured in.
    history_ : History
        Of fine-tuning: loss on the rows, or with early stopping on those that were set aside.
    histories_, loss_curve_, n_features_in_, feature_names_in_
        As there.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from sae_fast.sklearn import StackedAutoencoderRegressor
    >>> x, y = load_diabetes(return_X_y=True)
    >>> scores = cross_val_score(StackedAutoencoderRegressor(random_state=0), x, y, cv=5)
    >>> bool(scores.mean() > 0.4)  # R²
    True
    """

    _part = "predictor"
    _losses = ("squared_error", "huber", "absolute_error", "poisson")
    _targets: Standard  # what is done to y

    def __init__(
        self,
        units: int | Sequence[int] = (100,),
        *,
        pretrain_steps: int | Sequence[int] | None = None,
        pretrain_epochs: int | Sequence[int] | None = None,
        steps: int | None = None,
        epochs: int | None = None,
        pretrain_learning_rate: RateOption | Sequence[RateOption] | None = None,
        learning_rate: RateOption | None = None,
        batch_size: int = 100,
        weight_decay: float = 1.0,
        loss: str = "squared_error",
        activation: str | Sequence[str] = "relu",
        optimizer: str | Rule = "adam",
        corruption: str | Corruption | None = None,
        dropout: float | Sequence[float] = 0.0,
        init: str = "data",
        standardize: bool = True,
        scale: float | None = None,
        dtype: str = "float32",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 20,
        eval_every: int | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        callbacks: Sequence[CallbackOption] | None = None,
        verbose: bool = False,
    ) -> None:
        self._keep(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> StackedAutoencoderRegressor:
        """Pretrain on all rows, then fine-tune on their targets.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array_like, shape (n_samples,), optional
            Factor of each row's loss in fine-tuning, at least 0; rows of weight 0 are left out of
            everything.

        Raises
        ------
        DataError, DivergenceError
            As :meth:`sae_fast.StackedAutoencoder.finetune`; both scikit-learn's ValueErrors and
            DataError for X and y that do not fit.
        """
        with self._settled():
            X, y, sample_weight = self._read(X, y, sample_weight, reset=True)
            self._measure(y)
            net, X = self._begin(X, **self._top)
            tuning = self._tuning(net, X, self._targets_of(y), sample_weight)
            self._pretrain_first(net, X)
            self.history_ = tuning()
            self._take(net)
        return self

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> StackedAutoencoderRegressor:
        """Fine-tune for one pass over these rows, from where the network is.

        Without pretraining and early stopping, and whatever `steps` is. The first rows say how
        columns and targets are standardized; those that are constant there are centred alone.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : array_like, shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array_like, shape (n_samples,), optional
            Factor of each row's loss, at least 0.
        """
        first = not hasattr(self, "_network")
        with self._settled():
            X, y, sample_weight = self._read(X, y, sample_weight, reset=first)
            if first:
                self._measure(y, of_constants=1.0)
                self.histories_ = []
            elif y.shape[1:] != self._shape:
                raise DataError(
                    f"y: expected shape {('n_samples', *self._shape)} as before, got {y.shape}"
                )
            net, X = self._begin(X, continued=True, **self._top)
            tuning = self._tuning(net, X, self._targets_of(y), sample_weight, continued=True)
            self.history_ = tuning()
            self._take(net)
        return self

    def _read(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> tuple[Any, Any, Any]:
        """Check the arguments; return the rows that have a weight."""
        X, y = self._validated(X, y, reset=reset, multi_output=True, y_numeric=True)
        self._check_settings()
        if hasattr(y, "tocsr"):
            y = y.toarray()
        if y.dtype.kind not in "biuf":
            raise DataError(f"y: expected numbers, got dtype {y.dtype}")
        if self.loss == "poisson" and (y < 0).any():
            raise DataError(f"y: expected values of at least 0 for loss 'poisson', got {y.min():g}")
        return self._weighted(X, y, sample_weight)

    def _measure(self, y: NDArray[Any], of_constants: float = 0.0) -> None:
        """Find out what is to be done to targets."""
        self._shape = y.shape[1:]
        y = y.reshape(len(y), -1)
        if self.standardize and self.loss != "poisson":
            self._targets = Standard.of(y, of_constants, name="y")
            return
        zero, unit = np.zeros(y.shape[1]), np.ones(y.shape[1])
        if self.standardize:
            mean = y.mean(axis=0, dtype=np.float64)
            unit[mean > 0] = mean[mean > 0]
        self._targets = Standard(zero, unit)

    @property
    def _top(self) -> dict[str, Any]:
        """What is on top of the hidden layers."""
        head = "softplus" if self.loss == "poisson" else "linear"
        return {"n_targets": len(self._targets.unit), "head": head}

    def _targets_of(self, y: NDArray[Any]) -> Any:
        """Return targets as the network has them, shape (n_samples, n_targets)."""
        return self._targets.apply(y.reshape(len(y), -1), self.dtype)

    @property
    def target_unit_(self) -> NDArray[np.float64]:
        """What a standardized target is measured in, shape (n_targets,)."""
        check_is_fitted(self)
        unit: NDArray[np.float64] = self._targets.unit.copy()
        return unit

    def _folded(self) -> StackedAutoencoder:
        net = super()._folded()
        return net if net.head == "softplus" else self._targets.fold_targets_into(net)

    def _whole(self) -> StackedAutoencoder:
        net, unit = super()._whole(), self._targets.unit
        if net.head != "softplus" or (unit == 1).all():
            return net
        n = len(unit)  # another layer multiplies what softplus gives
        activation = [*net._activations[:-1], "softplus"]
        whole = StackedAutoencoder(
            [*net.sizes, n], n_targets=n, activation=activation, dtype=net.dtype, n_threads=1
        )
        top = len(whole.sizes)
        last = {f"W{top}": np.diag(unit), f"b{top}": np.zeros(n)}
        whole.scale, whole.parameters = net.scale, {**net.parameters, **last}
        return whole

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Return the targets of each row, of the shape that those of `fit` have."""
        net, X = self._fitted(X)
        y = self._targets.undo(net.predict(X, scale=self.scale).astype(np.float64))
        shaped: NDArray[np.float64] = y.reshape(len(y), *self._shape)
        return shaped

    def __sklearn_tags__(self) -> Any:  # noqa: D105 (scikit-learn's own)
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags
