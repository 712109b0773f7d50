# SPDX-License-Identifier: BSD-3-Clause
"""Stacked autoencoders as scikit-learn estimators: a transformer, and a semi-supervised classifier.

They translate scikit-learn's conventions (labels of any kind, random_state, tags) to those of
:class:`sae_fast.StackedAutoencoder`, which does the work and is there as `network_`.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from .base.checks import (
    check_choice,
    check_float,
    check_int,
    check_sample_weight,
    check_sizes,
    check_unmasked,
    per_layer,
)
from .core.inputs import from_frame, is_frame
from .errors import DataError, UnlabelledWarning, warn
from .exchange import skl2onnx
from .models.stacked import StackedAutoencoder
from .models.standard import Standard
from .training.callbacks import CallbackOption, EarlyStopping
from .training.history import History
from .training.rates import RateOption, check_rate

try:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        TransformerMixin,
    )
    from sklearn.metrics import accuracy_score
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_array, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"sae_fast.sklearn: expected scikit-learn 1.6 or newer (pip install 'sae-fast[sklearn]'), "
        f"got {error}"
    ) from error

__all__ = ["StackedAutoencoderClassifier", "StackedAutoencoderTransformer"]

_LEARNING_RATE = 3e-3  # of fine-tuning where the rows allow it: it is short
_LEAST_STEPS = 300  # of fine-tuning, if nobody has said how many
_POINTS = 20  # of a curve, at most, if nobody has said how many


class _StackedAutoencoderEstimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share: from their parameters and X to a network and its input."""

    _network: StackedAutoencoder
    _standard: Standard | None  # what is done to X before the network

    def _keep(self, arguments: dict[str, Any]) -> None:
        """Hold the constructor's arguments as they are, unchecked, as scikit-learn wants it."""
        self.__dict__.update((name, value) for name, value in arguments.items() if name != "self")

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """Leave the estimator as it was if what is done within fails."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

    def _take(self, net: StackedAutoencoder) -> None:
        """Have a network that has been trained, and no copy of an older one."""
        self._network = net
        self.__dict__.pop("network_", None)

    @functools.cached_property
    def network_(self) -> StackedAutoencoder:
        """The network, which takes rows as `fit` does: a copy, where these are standardized."""
        check_is_fitted(self)
        return self._standard.fold_into(self._network) if self._standard else self._network

    @overload
    def export_onnx(self, path: str | Path, part: str | None = None) -> Path: ...
    @overload
    def export_onnx(self, path: BinaryIO, part: str | None = None) -> BinaryIO: ...
    def export_onnx(self, path: str | Path | BinaryIO, part: str | None = None) -> Path | BinaryIO:
        """Write what the estimator computes to an ONNX file.

        Parameters
        ----------
        path, part
            As :meth:`sae_fast.StackedAutoencoder.export_onnx`, which says what can go wrong too. A
            transformer's `part` is by default the encoder, what `transform` computes.
        """
        if part is None and not hasattr(self, "classes_"):
            part = "encoder"
        return self.network_.export_onnx(path, part)

    def onnx_shape_calculator(self) -> Callable[[Any], None]:
        """Return what the package skl2onnx asks for when it converts a pipeline."""
        classes: NDArray[Any] | None = getattr(self, "classes_", None)
        width = self._network.n_hidden if classes is None else len(classes)
        return functools.partial(skl2onnx.set_shapes, width=width, classes=classes)

    def onnx_converter(self) -> Callable[[Any, Any, Any], None]:
        """Return what the package skl2onnx asks for when it converts a pipeline."""
        classes: NDArray[Any] | None = getattr(self, "classes_", None)
        part = self.network_._part("encoder" if classes is None else "classifier")
        return functools.partial(skl2onnx.add_nodes, part=part, classes=classes)

    def _standardized(self, X: Any) -> Any:
        return X if self._standard is None else self._standard.apply(X, self.dtype)

    def _units(self) -> tuple[int, ...]:
        units = self.units
        return check_sizes("units", units if np.ndim(units) else [units])

    def _build(
        self, X: Any, classes: NDArray[Any] | None, *, more_rows: bool = False
    ) -> StackedAutoencoder:
        """Return an untrained network; find out what is to be done to X, or more rows, before."""
        standardize = self.standardize
        if not isinstance(standardize, (bool, np.bool_)):
            raise DataError(f"standardize: expected True or False, got {standardize!r}")
        self._standard = None
        if standardize and self.scale is None:
            self._standard = Standard.of(X, of_constants=float(more_rows))
        if isinstance(self.random_state, (int, np.integer)):
            seed = check_int("random_state", self.random_state, 0)
        else:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
        net = StackedAutoencoder(
            [self.n_features_in_, *self._units()],
            None if classes is None else len(classes),
            seed=seed,
            init=self.init,
            dtype=self.dtype,
            n_threads=self.n_threads,
        )
        if classes is not None:
            names = classes.tolist()
            net.classes = names if type(names[0]) in (int, str) else [str(name) for name in names]
        return net

    def _begin(
        self, X: Any, classes: NDArray[Any] | None, *, continued: bool
    ) -> tuple[StackedAutoencoder, Any]:
        """Return the network to train, a new one unless it goes on, and X as it reads it."""
        if continued and hasattr(self, "_network"):
            net = self._network
            self._check_same(net)
        else:
            net = self._build(X, classes, more_rows=continued)
        return net, self._standardized(X)

    def _fitted(self, X: Any) -> tuple[StackedAutoencoder, Any]:
        """Return the network that has been trained, and X as it reads it."""
        check_is_fitted(self)
        return self._network, self._standardized(self._validated(X, reset=False))

    def _validated(self, X: Any, *args: Any, reset: bool) -> Any:
        """Check X, or X and y, as scikit-learn does, without a copy of what the core can read."""
        for name, values in zip("Xy", (X, *args), strict=False):
            check_unmasked(name, values)  # which scikit-learn would take for data
        dtype = [np.float32, np.float64] if self.scale is None else None
        try:
            found = validate_data(self, X, *args, accept_sparse="csr", dtype=dtype, reset=reset)
        except (TypeError, ValueError):
            if is_frame(X):
                from_frame("X", X, self.dtype)  # which names a column that holds no numbers
            raise
        stored = (found[0] if args else found).dtype
        if self.scale is not None and stored != np.uint8:
            raise DataError(f"X: expected uint8 with scale={self.scale!r}, got {stored}")
        return found

    def _check_same(self, net: StackedAutoencoder) -> None:
        """Check that the network is what the parameters still ask for."""
        for name, asked, has in (
            ("units", self._units(), net.sizes[1:]),
            ("dtype", self.dtype, net.dtype),
        ):
            if asked != has:
                raise DataError(f"{name}: expected {has} as before, got {asked}; fit starts anew")

    def _each_steps(self, name: str, value: Any, minimum: int) -> list[int]:
        """Return numbers of steps for each layer, checked under the parameter's own name."""
        return [check_int(name, one, minimum) for one in per_layer(name, value, len(self._units()))]

    def _check_rates(self, name: str) -> None:
        """Check a learning rate for all layers, or for each, under the parameter's own name."""
        for rate in per_layer(name, getattr(self, name), len(self._units())):
            if rate is not None:
                check_rate(name, rate)

    def _batch_size(self, n_samples: int) -> int:
        return min(check_int("batch_size", self.batch_size, 1), n_samples)

    def _steps(self, steps: Any, n_samples: int, *, passes: int, at_least: int = 1) -> Any:
        """Return `steps`, or those of so many passes over the rows if it is None."""
        if steps is not None:
            return steps
        return max(math.ceil(passes * n_samples / self._batch_size(n_samples)), at_least)

    def _evaluations(self, steps: int, one_pass: int) -> int:
        """Return the steps between two points of a curve: a pass, or a share of many."""
        if self.eval_every is not None:
            return check_int("eval_every", self.eval_every, 0)
        return max(one_pass, -(-steps // _POINTS))

    def _pretrain(
        self, net: StackedAutoencoder, X: Any, steps: Any, learning_rate: Any, **options: Any
    ) -> list[History]:
        """Pretrain the network; `steps` and `learning_rate` have been checked."""
        histories: list[History] = net.pretrain(
            X,
            steps=steps,
            learning_rate=learning_rate,
            batch_size=self._batch_size(X.shape[0]),
            weight_decay=self.weight_decay,
            eval_every=self._evaluations(max(steps), self._steps(None, X.shape[0], passes=1)),
            scale=self.scale,
            callbacks=self.callbacks,
            progress=bool(self.verbose),
            **options,
        )
        return histories

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class StackedAutoencoderTransformer(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    _StackedAutoencoderEstimator,
):
    """Codes and reconstruction errors from autoencoders trained one on top of the other.

    Features may be of any size: they are standardized first, see `standardize`.

    Parameters
    ----------
    units : int or sequence of int, default (100,)
        Units of each layer; the last is the width of the code.
    steps : int or sequence of int, optional
        Minibatches for all layers, or for each. None: 20 passes over the rows, at least 1000.
    learning_rate : float or object of :mod:`sae_fast.schedules`, or a sequence of them, optional
        Of Adam, for all layers or for each. None: 0.001, or less where all rows have much in common
        (thousands of numbers above zero), as for :meth:`sae_fast.Autoencoder.fit`.
    batch_size : int, default 100
        Rows of a minibatch; all rows if there are fewer.
    weight_decay : float, default 0
        L2 penalty on the weights, beside a loss that is a sum over the minibatch.
    init : {"data", "he", "normal"}, default "data"
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
    n_threads : int or None, default None
        None: as many as the process may use. Results do not depend on it.
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

    def __init__(
        self,
        units: int | Sequence[int] = (100,),
        *,
        steps: int | Sequence[int] | None = None,
        learning_rate: RateOption | Sequence[RateOption] | None = None,
        batch_size: int = 100,
        weight_decay: float = 0.0,
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

    def fit(self, X: Any, y: Any = None) -> StackedAutoencoderTransformer:
        """Train one autoencoder per layer.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : ignored

        Raises
        ------
        DataError, DivergenceError
            As :meth:`sae_fast.StackedAutoencoder.pretrain`; both scikit-learn's ValueErrors and
            DataError for X that does not fit.
        """
        return self._learn(X, self.steps, passes=20, at_least=1000)

    def partial_fit(self, X: Any, y: Any = None) -> StackedAutoencoderTransformer:
        """Train each autoencoder for one pass over these rows, from where it is.

        The first rows say how columns are standardized; those that are constant there are centred
        alone.

        Parameters
        ----------
        X : array, frame or sparse matrix, shape (n_samples, n_features)
        y : ignored
        """
        return self._learn(X, None, passes=1, continued=True)

    def _learn(
        self, X: Any, steps: Any, *, continued: bool = False, **otherwise: int
    ) -> StackedAutoencoderTransformer:
        with self._settled():
            X = self._validated(X, reset=not continued or not hasattr(self, "_network"))
            each = self._each_steps("steps", self._steps(steps, X.shape[0], **otherwise), 1)
            self._check_rates("learning_rate")
            net, X = self._begin(X, None, continued=continued)
            self.histories_ = self._pretrain(net, X, each, self.learning_rate, continued=continued)
            self._take(net)
        return self

    @property
    def loss_curve_(self) -> list[list[float]]:
        """For each layer, the loss per row at each evaluation."""
        check_is_fitted(self)
        return [history.mean_loss for history in self.histories_]

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
        return self._standard.squared_errors(X, self._network.reconstruct(self._standardized(X)))

    @property
    def _n_features_out(self) -> int:
        return self._network.n_hidden

    def __sklearn_tags__(self) -> Any:  # noqa: D105 (scikit-learn's own)
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = [self.dtype]
        return tags


class StackedAutoencoderClassifier(
    ClassifierMixin,  # type: ignore[misc]
    _StackedAutoencoderEstimator,
):
    """A softmax classifier whose hidden layers are pretrained as autoencoders.

    Rows with ``y == -1`` are unlabelled: they take part in pretraining alone. Features may be of
    any size: they are standardized first, see `standardize`.

    Parameters
    ----------
    units : int or sequence of int, default (100,)
        Units of each hidden layer.
    pretrain_steps : int or sequence of int, optional
        Minibatches of pretraining for all layers, or for each; 0: no pretraining. None: 4 passes
        over the rows, at least 50.
    steps : int, optional
        Minibatches of fine-tuning. None: 20 passes over the labelled rows, at least 300.
    pretrain_learning_rate : float or schedule, or a sequence of them, optional
        Of Adam in pretraining, for all layers or for each. None: 0.001, or less where all rows have
        much in common (thousands of numbers above zero), as for :meth:`sae_fast.Autoencoder.fit`.
    learning_rate : float or object of :mod:`sae_fast.schedules`, optional
        Of Adam in fine-tuning. None: 0.003, or less likewise.
    batch_size : int, default 100
        Rows of a minibatch; all rows if there are fewer.
    weight_decay : float, default 0.3
        L2 penalty on the weights, beside a loss that is a sum over the minibatch.
    loss : {"cross_entropy", "article"}, default "cross_entropy"
        The stable form, or the article's with a clipped logarithm.
    unlabelled : int, None or "warn", default "warn"
        What marks rows of y without a label; None: nothing, so that -1 is a class like any other.
        "warn": -1, and a warning says how many rows were taken for rows without a label.
    early_stopping : bool, default False
        Set a share of the labelled rows aside, stop when the loss on them no longer falls, and
        keep the weights with which it was lowest.
    validation_fraction : float, default 0.1
        That share.
    patience : int, default 10
        Evaluations without a lower loss after which to stop.
    eval_every : int, optional
        Steps between two evaluations. None: after each pass over the rows, and 20 times at most
        or, with early stopping, no more often than every 15 steps.
    init, standardize, scale, dtype, random_state, n_threads, callbacks, verbose
        As for :class:`StackedAutoencoderTransformer`.

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

    def __init__(
        self,
        units: int | Sequence[int] = (100,),
        *,
        pretrain_steps: int | Sequence[int] | None = None,
        steps: int | None = None,
        pretrain_learning_rate: RateOption | Sequence[RateOption] | None = None,
        learning_rate: RateOption | None = None,
        batch_size: int = 100,
        weight_decay: float = 0.3,
        loss: str = "cross_entropy",
        init: str = "data",
        standardize: bool = True,
        scale: float | None = None,
        dtype: str = "float32",
        unlabelled: int | str | None = "warn",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
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
            pretrain_steps = self._steps(self.pretrain_steps, X.shape[0], passes=4, at_least=50)
            pretrain_steps = self._each_steps("pretrain_steps", pretrain_steps, 0)
            if any(pretrain_steps) and not all(pretrain_steps):
                raise DataError(
                    f"pretrain_steps: expected 0 for all layers or none, got "
                    f"{self.pretrain_steps!r}"
                )
            classes = self._classes_of("y", y)
            X, y, sample_weight = self._weighted(X, y, sample_weight)
            net, X = self._begin(X, classes, continued=False)
            self.histories_ = []
            if any(pretrain_steps):
                rates = self.pretrain_learning_rate
                self.histories_ = self._pretrain(net, X, pretrain_steps, rates)
            self.history_ = self._finetune(net, classes, X, y, sample_weight)
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
            X, y, sample_weight = self._weighted(X, y, sample_weight)
            net, X = self._begin(X, classes, continued=True)
            if first:
                self.histories_ = []
            self.history_ = self._finetune(net, classes, X, y, sample_weight, continued=True)
            self.classes_ = classes
            self._take(net)
        return self

    def _check_settings(self) -> None:
        """Check what fine-tuning needs before anything is trained."""
        check_choice("loss", self.loss, ("article", "cross_entropy"))
        self._check_rates("pretrain_learning_rate")
        if self.learning_rate is not None:
            check_rate("learning_rate", self.learning_rate)
        if self._mark is not None:
            check_int("unlabelled", self._mark, -(2**63))
        check_float("weight_decay", self.weight_decay, positive=False)
        check_int("batch_size", self.batch_size, 1)
        check_int("patience", self.patience, 1)
        if self.steps is not None:
            check_int("steps", self.steps, 1)
        if self.eval_every is not None:
            check_int("eval_every", self.eval_every, 1 if self.early_stopping else 0)
        if check_float("validation_fraction", self.validation_fraction, positive=True) >= 1:
            raise DataError(
                f"validation_fraction: expected less than 1, got {self.validation_fraction!r}"
            )

    def _weighted(self, X: Any, y: NDArray[Any], sample_weight: Any) -> tuple[Any, Any, Any]:
        """Return the rows that have a weight, all of them if there are no weights."""
        weight = check_sample_weight("sample_weight", sample_weight, X.shape[0], self.dtype)
        if weight is None:
            return X, y, None
        if not weight.any():
            raise DataError("sample_weight: expected some weight above zero, got none")
        return _rows(weight > 0, X, y, weight)

    def _finetune(
        self,
        net: StackedAutoencoder,
        classes: NDArray[Any],
        X: Any,
        y: NDArray[Any],
        sample_weight: NDArray[Any] | None,
        *,
        continued: bool = False,
    ) -> History:
        """Fine-tune on the labelled rows; if `continued`, for one pass whatever the settings."""
        labelled = ~self._without_label(y)
        if not labelled.all():
            if self.unlabelled == "warn":
                warn(
                    f"y: {(~labelled).sum()} of {len(y)} rows are -1 and taken for rows without a "
                    "label (unlabelled=-1 says that they are, unlabelled=None that -1 is a class)",
                    UnlabelledWarning,
                )
            X, y, sample_weight = _rows(labelled, X, y, sample_weight)
        if X.shape[0] == 0:
            raise DataError("y: expected some labelled rows with a weight above zero, got none")
        number = {label: i for i, label in enumerate(classes.tolist())}
        labels, position = np.unique(_plain(y), return_inverse=True)
        unknown = [label for label in labels.tolist() if label not in number]
        if unknown:
            raise DataError(f"y: expected labels of {list(number)}, got {unknown}")
        codes = np.array([number[label] for label in labels.tolist()])[position]
        callbacks, eval_set = list(self.callbacks or []), None
        if self.early_stopping and not continued:
            try:
                kept, aside = train_test_split(
                    np.arange(len(codes)),
                    test_size=self.validation_fraction,
                    stratify=codes,
                    random_state=net.seed % 2**32,
                )
            except ValueError as error:
                raise DataError(
                    f"validation_fraction: expected enough labelled rows to set "
                    f"{self.validation_fraction!r} of each class aside, got {len(codes)}: {error}"
                ) from error
            eval_set = (X[aside], codes[aside])
            X, codes, sample_weight = _rows(kept, X, codes, sample_weight)
            callbacks.append(EarlyStopping(patience=self.patience))
        n_samples = X.shape[0]
        steps = one_pass = self._steps(None, n_samples, passes=1)
        if not continued:
            steps = self._steps(self.steps, n_samples, passes=20, at_least=_LEAST_STEPS)
        every = self._evaluations(steps, one_pass)
        if eval_set is None:
            eval_set = (X, codes)
        elif self.eval_every is None:  # often enough to stop in time, not after a few steps
            every = max(one_pass, _LEAST_STEPS // _POINTS)
        net._most_rate = _LEARNING_RATE
        return net.finetune(
            X,
            codes,
            sample_weight=sample_weight,
            steps=steps,
            batch_size=self._batch_size(n_samples),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            eval_every=every,
            eval_set=eval_set,
            scale=self.scale,
            loss=self.loss,
            continued=continued,
            callbacks=callbacks,
            progress=bool(self.verbose),
        )

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
    def loss_curve_(self) -> list[float]:
        """Loss per row at each evaluation of fine-tuning."""
        check_is_fitted(self)
        return self.history_.mean_loss

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


def _rows(which: NDArray[Any], X: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    return X[which], y[which], None if weight is None else weight[which]


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels out of an array of objects as one of their own type."""
    return np.array(labels.tolist()) if labels.dtype == object else labels
