# SPDX-License-Identifier: BSD-3-Clause
"""What the estimators share that pretraining alone trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.utils.validation import check_is_fitted

from ..base.checks import per_layer
from ..models.stacked import StackedAutoencoder
from ..training.objective import check_dropout, check_loss
from .estimator import Estimator

if TYPE_CHECKING:
    from typing_extensions import Self


class Unsupervised(Estimator):
    """From rows to codes and back."""

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train one autoencoder per layer, and then, if `tune_steps` says so, all as one.

        A detector finds its threshold on these rows.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : ignored
        sample_weight : array_like, shape (n_samples,), optional
            Factor of each row's loss, at least 0; rows of weight 0 are left out of everything. A
            detector's threshold counts the others, whatever their weight.

        Raises
        ------
        DataError, DivergenceError
            As :meth:`sae_fast.StackedAutoencoder.pretrain`; both scikit-learn's ValueErrors and
            DataError for X that does not fit.
        """
        return self._learn(X, sample_weight)

    def _learn(self, X: Any, sample_weight: Any, *, continued: bool = False) -> Self:
        with self._settled():
            self._check_settings()
            X = self._validated(X, reset=not continued or not hasattr(self, "_network"))
            X, _, weight = self._weighted(X, None, sample_weight)
            n_samples = X.shape[0]
            (tune_steps,) = self._length("tune_", n_samples, minimum=0)
            how = {"minimum": 0 if tune_steps else 1, "passes": 20, "at_least": 1000}
            each = self._length("", n_samples, **how, layered=True)
            if continued:  # for one pass
                one_pass = self._steps_of(1, n_samples)
                each = [0 if tune_steps else one_pass] * len(each)
                tune_steps = one_pass if tune_steps else 0
            rates = self._rates("learning_rate", each, continued=continued)
            (tune_rate,) = self._rates(
                "tune_learning_rate", [tune_steps], continued=continued, whole=True
            )
            net, X = self._begin(X, continued=continued)
            losses = per_layer("loss", self.loss, len(each))
            dropout = per_layer("dropout", self.dropout, len(each))
            if tune_steps:
                check_loss(losses[0], net._decoder)
                check_dropout(dropout, len(each))
            shared = {"sample_weight": weight, "continued": continued}
            options = {"loss": losses, "dropout": dropout, **shared}
            self.histories_ = self._pretrain(net, X, each, rates, **options)
            self.__dict__.pop("history_", None)
            if tune_steps:
                self.history_ = net.finetune_autoencoder(
                    X,
                    steps=tune_steps,
                    learning_rate=tune_rate,
                    corruption=self.corruption,
                    loss=losses[0],
                    dropout=[*dropout, *dropout[-2::-1]],
                    **shared,
                    **self._options(X, tune_steps),
                )
            self._take(net)
            self._finish(net, X, weight)
        return self

    def _check_settings(self) -> None:
        """Check what an estimator has of its own before anything is trained."""

    def _finish(self, net: StackedAutoencoder, X: Any, weight: Any) -> None:
        """Find out what an estimator needs of its own once its network is trained on X."""

    @property
    def loss_curve_(self) -> list[list[float]]:
        """For each layer, and of tuning, the loss per row at each evaluation."""
        check_is_fitted(self)
        tuned = [self.history_] if hasattr(self, "history_") else []
        return [history.mean_loss for history in [*self.histories_, *tuned]]


class Incremental(Unsupervised):
    """One that some rows after others may train."""

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train each autoencoder, or all as one, for one pass over these rows, from where it is.

        The first rows say how columns are standardized; those that are constant there are centred
        alone. A detector's threshold is that of the latest rows.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : ignored
        sample_weight : array_like, shape (n_samples,), optional
            As of `fit`.
        """
        return self._learn(X, sample_weight, continued=True)
