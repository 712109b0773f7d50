# SPDX-License-Identifier: BSD-3-Clause
"""Rows that are unlike the others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from ..base.checks import check_float
from ..base.text import shown
from ..errors import DataError
from ..models.stacked import StackedAutoencoder
from ..training.callbacks import CallbackOption
from ..training.corruptions import Corruption
from ..training.optimizers import Rule
from ..training.rates import RateOption
from .unsupervised import Incremental


class StackedAutoencoderOutlierDetector(
    OutlierMixin,  # type: ignore[misc]
    Incremental,
):
    """Outliers are the rows that autoencoders, trained on all, reconstruct worst [1]_.

    Of a row, ``feature_errors`` says where it is wrong and by how much, squared;
    ``score_samples`` is *minus* the mean of these, as scikit-learn has it: **lower is more
    abnormal**, the other way round than `score_samples` of
    :class:`StackedAutoencoderTransformer` and of the models, which is the error itself;
    ``decision_function`` that score less `offset_`, negative for outliers; ``predict`` -1 for
    outliers and 1 for others.

    Parameters
    ----------
    units : int or sequence of int, optional
        Units of each layer; the last is the width of the code, which decides what is reconstructed.
        None: one layer, as wide as the square root of the number of features.
    contamination : float, default 0.1
        Share of the rows of `fit` that are to be outliers, above 0 and at most 0.5.
    steps, epochs, learning_rate, tune_steps, tune_epochs, tune_learning_rate, batch_size, \
    weight_decay, loss, activation, output, optimizer, corruption, dropout, init, standardize, \
    scale, dtype, eval_every, random_state, n_threads, callbacks, verbose
        As of :class:`StackedAutoencoderTransformer`. Errors are those of standardized columns, so
        that each counts alike; a column that is constant in `fit` is in its own units.

    Attributes
    ----------
    offset_ : float
        The score below which a row is an outlier.
    threshold_ : float
        The same as an error: ``-offset_``, the mean of `feature_errors` above which a row is one.
    network_ : StackedAutoencoder
        For rows in their own units, as its errors are; a new copy each time, unless
        ``standardize=False``.
    histories_, history_, loss_curve_, n_features_in_, feature_names_in_
        As of :class:`StackedAutoencoderTransformer`.

    Examples
    --------
    >>> import numpy as np
    >>> from sae_fast.sklearn import StackedAutoencoderOutlierDetector
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(500, 2)) @ rng.normal(size=(2, 8))  # on a plane
    >>> x[:5] += 5 * rng.normal(size=(5, 8))  # but for five rows
    >>> detector = StackedAutoencoderOutlierDetector(contamination=0.01, random_state=0)
    >>> np.flatnonzero(detector.fit_predict(x) == -1).tolist()
    [0, 1, 2, 3, 4]

    References
    ----------
    .. [1] Sakurada and Yairi, "Anomaly detection using autoencoders with nonlinear dimensionality
       reduction", MLSDA 2014.
    """

    _part = "reconstruction"
    _unit_of_constants = 1.0  # what has never varied and then does is abnormal

    def __init__(
        self,
        units: int | Sequence[int] | None = None,
        *,
        contamination: float = 0.1,
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

    def _units(self) -> tuple[int, ...]:
        if self.units is None:
            return (math.ceil(math.sqrt(self.n_features_in_)),)
        return super()._units()

    def _check_settings(self) -> None:
        if check_float("contamination", self.contamination, positive=True) > 0.5:
            raise DataError(f"contamination: expected at most 0.5, got {shown(self.contamination)}")

    def _finish(self, net: StackedAutoencoder, X: Any, weight: Any) -> None:
        scores = -net.score_samples(X, scale=self.scale)
        self.offset_ = float(np.percentile(scores, 100 * self.contamination))

    @property
    def threshold_(self) -> float:
        """The mean squared error per feature above which a row is an outlier."""
        check_is_fitted(self)
        return -self.offset_

    def onnx_converter(self) -> NoReturn:
        """Refuse what the package skl2onnx asks for: there is no converter of scores."""
        raise DataError(
            "onnx_converter: expected a transformer, a classifier or a regressor, got a detector; "
            "its export_onnx gives the reconstruction, whose errors say the rest"
        )

    def feature_errors(self, X: Any) -> NDArray[np.float64]:
        """Return the squared error of each standardized feature, shape (n_samples, n_features).

        Where a row is unlike the others: the column with the largest is what to look at first.
        """
        net, X = self._fitted(X)
        return net.feature_errors(X, scale=self.scale)

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Return minus the mean of `feature_errors` of each row: lower is more abnormal."""
        net, X = self._fitted(X)
        return -net.score_samples(X, scale=self.scale)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return `score_samples` less `offset_`: negative for outliers."""
        check_is_fitted(self)
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Return -1 for each row that is an outlier, 1 for others."""
        return np.where(self.decision_function(X) < 0, -1, 1)
