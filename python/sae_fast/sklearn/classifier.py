# SPDX-License-Identifier: BSD-3-Clause
"""Rows to classes: labels of any kind, and rows without one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets

from ..base.checks import check_float, check_int
from ..base.text import shown
from ..errors import DataError, UnlabelledWarning, warn
from ..models.stacked import StackedAutoencoder
from ..training.callbacks import CallbackOption
from ..training.corruptions import Corruption
from ..training.history import History
from ..training.optimizers import Rule
from ..training.rates import RateOption
from .estimator import rows_of
from .supervised import Supervised


class StackedAutoencoderClassifier(
    ClassifierMixin,  # type: ignore[misc]
    Supervised,
):
    """A softmax classifier whose hidden layers are pretrained as autoencoders.

    Rows with ``y == -1`` are unlabelled: they take part in pretraining alone. Features may be of
    any size: they are standardized first, see `standardize`.

    Parameters
    ----------
    units : int or sequence of int, default (100,)
        Units of each hidden layer.
    pretrain_steps : int or sequence of int, optional
        Minibatches of pretraining for all layers, or for each; 0: none. None: 4 passes over the
        rows, at least 50.
    pretrain_epochs : int or sequence of int, optional
        In the place of `pretrain_steps`: passes over the rows.
    steps : int, optional
        Minibatches of fine-tuning. None: 20 passes over the labelled rows, at least 300, or with
        early stopping at most 100 passes or 1500.
    epochs : int, optional
        In the place of `steps`: passes over the labelled rows.
    pretrain_learning_rate : float or schedule, or a sequence of them, optional
        Of pretraining, for all layers or for each. None: 0.001, or less where all rows have
        much in common (thousands of numbers above zero), as for :meth:`sae_fast.Autoencoder.fit`.
    learning_rate : float or object of :mod:`sae_fast.schedules`, optional
        Of fine-tuning. None: 0.003, or less likewise.
    batch_size : int, default 100
        Rows of a minibatch; all rows if there are fewer.
    weight_decay : float, default 0.3
        L2 penalty on the weights, beside a loss that is a sum over the minibatch.
    loss : {"cross_entropy", "article"}, default "cross_entropy"
        The stable form, or the article's with a clipped logarithm.
    class_weight : dict or "balanced", optional
        Factor of each class's loss in fine-tuning, beside `sample_weight`; 1 for classes that the
        dict lacks. "balanced": classes count alike, however many rows each has. Losses that are
        measured, of early stopping too, are without it.
    unlabelled : int, None or "warn", default "warn"
        What marks rows of y without a label; None: nothing, so that -1 is a class like any other.
        "warn": -1, and a warning says how many rows were taken for rows without a label.
    early_stopping : bool, default False
        Set a share of the labelled rows aside, stop when the loss on them no longer falls, and
        keep the weights with which it was lowest.
    validation_fraction : float, default 0.1
        That share.
    patience : int, default 20
        Evaluations without a lower loss after which to stop. Of wide tables of few rows the loss
        may first rise for ten.
    eval_every : int, optional
        Steps between two evaluations. None: after each pass over the rows, and 20 times at most
        or, with early stopping, no more often than every 15 steps.
    corruption : str or object of :mod:`sae_fast.corruptions`, optional
        As for :class:`StackedAutoencoderTransformer`, in pretraining alone.
    dropout : float or sequence of float, default 0
        Share of the units of all hidden layers, or of each, that a step of fine-tuning leaves out.
    activation, optimizer, init, standardize, scale, dtype, random_state, n_threads, callbacks, \
    verbose
        As there.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    network_ : StackedAutoencoder
        Predicts positions in `classes_`, whose names are its `classes`, from rows in their own
        units; a new copy each time, unless ``standardize=False``.
    histories_ : list of History
        Of pretraining, one per layer.
    history_ : History
        Of fine-tuning: loss and accuracy on the labelled rows, or with early stopping on those that
        were set aside.
    loss_curve_ : list of float
        Its loss per row at each evaluation.
    n_features_in_, feature_names_in_
        As there.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import MinMaxScaler
    >>> from sae_fast.sklearn import StackedAutoencoderClassifier
    >>> x, y = load_digits(return_X_y=True)
    >>> classifier = make_pipeline(MinMaxScaler(), StackedAutoencoderClassifier(random_state=0))
    >>> bool(cross_val_score(classifier, x, y, cv=3).mean() > 0.9)
    True
    """

    _part = "classifier"
    _losses = ("article", "cross_entropy")

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
        weight_decay: float = 0.3,
        loss: str = "cross_entropy",
        class_weight: str | dict[Any, float] | None = None,
        activation: str | Sequence[str] = "relu",
        optimizer: str | Rule = "adam",
        corruption: str | Corruption | None = None,
        dropout: float | Sequence[float] = 0.0,
        init: str = "data",
        standardize: bool = True,
        scale: float | None = None,
        dtype: str = "float32",
        unlabelled: int | str | None = "warn",
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

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> StackedAutoencoderClassifier:
        """Pretrain on all rows, then fine-tune on the labelled ones.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : array_like, shape (n_samples,)
            Labels of any kind; -1 where a row has none, beside strings in an array of dtype object.
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
            X, y = self._validated(X, y, reset=True)
            self._check_settings()
            classes = self._classes_of("y", y)
            X, y, sample_weight = self._weigh(X, y, classes, sample_weight)
            net, X = self._begin(X, n_classes=len(classes))
            tuning = self._classifying(net, classes, X, y, sample_weight)
            self._pretrain_first(net, X)
            self.history_ = tuning()
            self.classes_ = classes
            self._take(net)
        return self

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> StackedAutoencoderClassifier:
        """Fine-tune for one pass over these rows, from where the network is.

        Without pretraining and early stopping, and whatever `steps` is. The first rows say how
        columns are standardized; those that are constant there are centred alone.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : array_like, shape (n_samples,)
            Labels; rows of -1 are left out.
        classes : array_like, shape (n_classes,)
            All labels there will be; needed by the first call alone.
        sample_weight : array_like, shape (n_samples,), optional
            Factor of each row's loss, at least 0.
        """
        first = not hasattr(self, "_network")
        with self._settled():
            X, y = self._validated(X, y, reset=first)
            self._check_settings()
            known = None if first else self.classes_
            classes = known if classes is None else self._classes_of("classes", np.asarray(classes))
            if classes is None:
                raise DataError("classes: expected all labels there will be, got none")
            if known is not None and not np.array_equal(classes, known):
                raise DataError(
                    f"classes: expected {known.tolist()} as before, got {classes.tolist()}"
                )
            if self.class_weight == "balanced":
                raise DataError(
                    "class_weight: expected None or a dict for partial_fit, which sees some rows "
                    "alone, got 'balanced'"
                )
            X, y, sample_weight = self._weigh(X, y, classes, sample_weight)
            net, X = self._begin(X, continued=True, n_classes=len(classes))
            if first:
                self.histories_ = []
            self.history_ = self._classifying(net, classes, X, y, sample_weight, continued=True)()
            self.classes_ = classes
            self._take(net)
        return self

    def _check_settings(self) -> None:
        super()._check_settings()
        if self._mark is not None:
            check_int("unlabelled", self._mark, -(2**63))
        if not (self.class_weight in (None, "balanced") or isinstance(self.class_weight, dict)):
            raise DataError(
                "class_weight: expected None, 'balanced' or a dict of weights, "
                f"got {shown(self.class_weight)}"
            )

    def _weigh(
        self, X: Any, y: NDArray[Any], classes: NDArray[Any], sample_weight: Any
    ) -> tuple[Any, Any, Any]:
        """Return the rows that have a weight, their class's included."""
        X, y, weight = self._weighted(X, y, sample_weight)
        if self.class_weight is None:
            return X, y, weight
        labelled = ~self._without_label(y)
        weight = np.ones(len(y)) if weight is None else weight.astype(np.float64)
        labels, position = np.unique(_plain(y[labelled]), return_inverse=True)
        if self.class_weight == "balanced":
            total = np.bincount(position, weight[labelled])
            factor = total.sum() / (len(total) * total)
        else:
            unknown = [label for label in self.class_weight if label not in classes.tolist()]
            if unknown:
                raise DataError(
                    f"class_weight: expected labels of {classes.tolist()}, got {unknown}"
                )
            given = [self.class_weight.get(label, 1) for label in labels.tolist()]
            factor = np.array([check_float("class_weight", one, positive=False) for one in given])
        weight[labelled] *= factor[position]
        return self._weighted(X, y, weight)

    def _classifying(
        self,
        net: StackedAutoencoder,
        classes: NDArray[Any],
        X: Any,
        y: NDArray[Any],
        sample_weight: NDArray[Any] | None,
        *,
        continued: bool = False,
    ) -> Callable[[], History]:
        """Return what fine-tunes on the labelled rows; it has been checked."""
        labelled = ~self._without_label(y)
        if not labelled.all():
            if self.unlabelled == "warn":
                warn(
                    f"y: {(~labelled).sum()} of {len(y)} rows are -1 and taken for rows without a "
                    "label (unlabelled=-1 says that they are, unlabelled=None that -1 is a class)",
                    UnlabelledWarning,
                )
            X, y, sample_weight = rows_of(labelled, X, y, sample_weight)
        if X.shape[0] == 0:
            raise DataError("y: expected some labelled rows with a weight above zero, got none")
        number = {label: i for i, label in enumerate(classes.tolist())}
        labels, position = np.unique(_plain(y), return_inverse=True)
        unknown = [label for label in labels.tolist() if label not in number]
        if unknown:
            raise DataError(f"y: expected labels of {list(number)}, got {unknown}")
        codes = np.array([number[label] for label in labels.tolist()])[position]
        names = classes.tolist()
        net.classes = names if type(names[0]) in (int, str) else [str(name) for name in names]
        return self._tuning(net, X, codes, sample_weight, classes=True, continued=continued)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Return the probability of each class, in the order of `classes_`."""
        net, X = self._fitted(X)
        p = net.predict_proba(X, scale=self.scale).astype(np.float64)
        p /= p.sum(axis=1, keepdims=True)  # to the last bits of float64, as scikit-learn expects
        return p

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each row."""
        net, X = self._fitted(X)
        labels: NDArray[Any] = self.classes_[net.predict(X, scale=self.scale)]
        return labels

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the share of labelled rows that are predicted right.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : array_like, shape (n_samples,)
            Labels; rows that have none, as `unlabelled` says, do not count.
        sample_weight : array_like, shape (n_samples,), optional
        """
        y = np.asarray(y)
        labelled = ~self._without_label(y)
        if y.dtype.kind in "UO" and self._mark is not None:  # beside strings it becomes one
            labelled &= np.asarray(y != str(self._mark), bool)
        if not labelled.any():
            raise DataError("y: expected some labelled rows, got none")
        predicted = self.predict(X)
        if sample_weight is not None:
            sample_weight = np.asarray(sample_weight)[labelled]
        return float(
            accuracy_score(_plain(y[labelled]), predicted[labelled], sample_weight=sample_weight)
        )

    @property
    def _mark(self) -> Any:
        """What stands in y where a row has no label, None if nothing does."""
        return -1 if self.unlabelled == "warn" else self.unlabelled

    def _classes_of(self, name: str, y: NDArray[Any]) -> NDArray[Any]:
        """Return the sorted labels, of which there have to be two."""
        labels = y[~self._without_label(y)]
        if labels.dtype == object:
            kinds = sorted({type(label).__name__ for label in labels.tolist()})
            if len(kinds) > 1:
                raise DataError(f"{name}: expected labels of one type, got {', '.join(kinds)}")
            labels = _plain(labels)
        check_classification_targets(labels)
        classes: NDArray[Any] = np.unique(labels)
        if classes.dtype.kind == "U" and str(self._mark) in classes:
            raise DataError(
                f"{name}: expected rows without a label as the number {self._mark} in an "
                f"array of dtype object, got the string {str(self._mark)!r}"
            )
        if len(classes) < 2:
            beside = ""
            if self._mark is not None:
                beside = (
                    f" beside {self._mark}, which marks rows without a label "
                    "(unlabelled=None: it is a class)"
                )
            raise DataError(
                f"{name}: expected at least two classes{beside}, "
                f"got {len(classes)} class{'es' * (len(classes) != 1)}: {classes.tolist()}"
            )
        return classes

    def _without_label(self, y: NDArray[Any]) -> NDArray[np.bool_]:
        """Say which rows have no label."""
        if self._mark is None or y.dtype.kind not in "iufO":
            return np.zeros(y.shape, bool)
        return np.asarray(y == self._mark, bool)


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels out of an array of objects as one of their own type."""
    return np.array(labels.tolist()) if labels.dtype == object else labels
