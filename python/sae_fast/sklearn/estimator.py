# SPDX-License-Identifier: BSD-3-Clause
"""What all estimators share: from their parameters and X to a network, its input and training."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from ..base.checks import (
    check_int,
    check_sample_weight,
    check_sizes,
    check_unmasked,
    per_layer,
)
from ..base.text import shown
from ..core.inputs import from_frame, is_frame, labels_of
from ..datasets import DataSource, SubsetSource
from ..errors import DataError
from ..exchange import skl2onnx
from ..models.stacked import StackedAutoencoder
from ..models.standard import Standard
from ..training.corruptions import check_corruption
from ..training.distributed import current
from ..training.history import History
from ..training.rates import Cosine, Rate, check_rate

POINTS = 20  # of a curve, at most, if nobody has said how many


class Estimator(BaseEstimator):  # type: ignore[misc]
    """Base of the four; the units of each layer are those that its parameter asks for."""

    _part: str  # what it computes, as its network calls it
    _unit_of_constants = 0.0  # columns that do not vary are left out
    output: str | Sequence[str] = "linear"  # of what restores rows and codes
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

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the estimator of a pickle, whose version may have had fewer parameters."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        default = {one.name: one.default for one in parameters if one.default is not one.empty}
        super().__setstate__({**default, **state})

    def __sklearn_is_fitted__(self) -> bool:  # noqa: D105 (scikit-learn's own)
        return hasattr(self, "_network")

    def _take(self, net: StackedAutoencoder) -> None:
        """Have a network that has been trained, and no copy of an older one."""
        self._network = net
        self.__dict__.pop("network_", None)

    @functools.cached_property
    def network_(self) -> StackedAutoencoder:
        """The network, which takes rows as `fit` does: a copy, where these are standardized."""
        check_is_fitted(self)
        return self._folded()

    def _folded(self) -> StackedAutoencoder:
        return self._standard.fold_into(self._network) if self._standard else self._network

    def _whole(self) -> StackedAutoencoder:
        """Return the network, which computes all that the estimator does."""
        return self.network_

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
            transformer's `part` is by default the encoder, what `transform` computes, and a
            detector's the reconstruction.
        """
        if part is None:
            return self._whole().export_onnx(path, self._part)
        return self.network_.export_onnx(path, part)

    def onnx_shape_calculator(self) -> Callable[[Any], None]:
        """Return what the package skl2onnx asks for when it converts a pipeline."""
        classes: NDArray[Any] | None = getattr(self, "classes_", None)
        width = self._network._widths[-1]
        return functools.partial(skl2onnx.set_shapes, width=width, classes=classes)

    def onnx_converter(self) -> Callable[[Any, Any, Any], None]:
        """Return what the package skl2onnx asks for when it converts a pipeline."""
        classes: NDArray[Any] | None = getattr(self, "classes_", None)
        part = self._whole()._part(self._part)
        return functools.partial(skl2onnx.add_nodes, part=part, classes=classes)

    @property
    def _standardizes(self) -> bool:
        return bool(self.standardize) and self.scale is None

    def _standardized(self, X: Any) -> Any:
        return X if self._standard is None else self._standard.apply(X, self.dtype)

    def _units(self) -> tuple[int, ...]:
        units = self.units
        return check_sizes("units", units if np.ndim(units) else [units])

    def _functions(self) -> tuple[Any, Any]:
        """Return what hidden layers apply, and what restores what they read."""
        return self.activation, self.output

    def _build(self, X: Any, of_constants: float, **top: Any) -> StackedAutoencoder:
        """Return an untrained network; find out what is to be done to X before.

        `of_constants` is the unit of columns that are constant in X; `top` says what is on top.
        """
        standardize = self.standardize
        if not isinstance(standardize, (bool, np.bool_)):
            raise DataError(f"standardize: expected True or False, got {standardize!r}")
        self._standard = None
        if self._standardizes:
            first = per_layer("output", self._functions()[1], len(self._units()))[0]
            if first != "linear":
                raise DataError(
                    f"standardize: expected False with output {first!r}, which cannot restore "
                    "standardized columns, got True"
                )
            self._standard = Standard.of(X, of_constants)
        if isinstance(self.random_state, (int, np.integer)):
            seed = check_int("random_state", self.random_state, 0)
        else:
            seed = check_random_state(self.random_state).randint(2**31 - 1)
            if (session := current()) is not None:
                seed = session.of_first(seed)
        activation, output = self._functions()
        return StackedAutoencoder(
            [self.n_features_in_, *self._units()],
            seed=seed,
            init=self.init,
            activation=activation,
            output=output,
            dtype=self.dtype,
            n_threads=self.n_threads,
            **top,
        )

    def _begin(
        self, X: Any, *, continued: bool = False, **top: Any
    ) -> tuple[StackedAutoencoder, Any]:
        """Return the network to train, a new one unless it goes on, and X as it reads it."""
        if continued and hasattr(self, "_network"):
            net = self._network
            self._check_same(net)
        else:
            net = self._build(X, 1.0 if continued else self._unit_of_constants, **top)
        return net, self._standardized(X)

    def _fitted(self, X: Any) -> tuple[StackedAutoencoder, Any]:
        """Return the network that has been trained, and X as it reads it."""
        check_is_fitted(self)
        return self._network, self._standardized(self._validated(X, reset=False))

    def _validated(self, X: Any, *args: Any, **options: Any) -> Any:
        """Check X, or X and y, as scikit-learn does, without a copy of what the core can read."""
        if isinstance(X, DataSource) and X.small():
            X = X.take(slice(None))
        args = tuple(labels_of(one) for one in args)
        for name, values in zip("Xy", (X, *args), strict=False):
            check_unmasked(name, values)  # which scikit-learn would take for data
        dtype = [np.float32, np.float64] if self.scale is None else None
        try:
            if isinstance(X, DataSource):
                found = self._validated_source(X, *args, **options)
            else:
                found = validate_data(self, X, *args, accept_sparse="csr", dtype=dtype, **options)
        except (TypeError, ValueError):
            if is_frame(X):
                from_frame("X", X, self.dtype)  # which names a column that holds no numbers
            raise
        stored = (found[0] if args else found).dtype
        if self.scale is not None and stored != np.uint8:
            raise DataError(f"X: expected uint8 with scale={self.scale!r}, got {stored}")
        return found

    def _validated_source(self, X: DataSource, *args: Any, reset: bool, **options: Any) -> Any:
        """Check the features of a source that is read in windows, and a y that belongs to it."""
        validate_data(self, X, *args, reset=reset, skip_check_array=True)
        if not args:
            return X
        numeric = "numeric" if options.get("y_numeric") else None
        y = check_array(
            args[0], ensure_2d=False, dtype=numeric, accept_sparse="csr", input_name="y"
        )
        if not options.get("multi_output"):
            y = column_or_1d(y, warn=True)
        check_consistent_length(X, y)
        return X, y

    def _weighted(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Return the rows that have a weight, all of them if there are no weights."""
        weight = check_sample_weight("sample_weight", sample_weight, X.shape[0], self.dtype)
        if weight is None:
            return X, y, None
        return rows_of(weight > 0, X, y, weight)

    def _check_same(self, net: StackedAutoencoder) -> None:
        """Check that the network is what the parameters still ask for."""
        activation, output = self._functions()
        for name, asked, has in (
            ("units", self._units(), net.sizes[1:]),
            ("dtype", self.dtype, net.dtype),
            ("activation", activation, net.activation),
            ("output", output, net.output),
            ("init", self.init, net.init),
            ("scale", self.scale, net.scale),
            ("standardize", self._standardizes, self._standard is not None),
        ):
            if (tuple(asked) if isinstance(asked, list) else asked) != has:
                raise DataError(f"{name}: expected {has} as before, got {asked}; fit starts anew")

    def _length(
        self,
        which: str,
        n_samples: int,
        *,
        minimum: int = 1,
        passes: int = 0,
        at_least: int = 0,
        layered: bool = False,
    ) -> list[int]:
        """Return the steps of a training, or those for each layer if it is `layered`.

        They are what the parameter ``{which}steps`` says or, if it says nothing, `passes` over so
        many rows; ``{which}epochs`` says in passes what that says in steps.
        """
        name = f"{which}steps"
        value, epochs = getattr(self, name), getattr(self, f"{which}epochs")
        if epochs is not None and value is not None and np.any(value):
            raise DataError(f"{which}epochs: expected None beside {name}, got {shown(epochs)}")
        if epochs is None and value is None:
            value = max(self._steps_of(passes, n_samples), at_least)
        elif epochs is not None:
            name, value = f"{which}epochs", epochs
        each = per_layer(name, value, len(self._units())) if layered else [value]
        numbers = [check_int(name, one, minimum) for one in each]
        if epochs is not None:
            return [self._steps_of(one, n_samples) for one in numbers]
        return numbers

    def _rates(
        self, name: str, steps: list[int], *, continued: bool = False, whole: bool = False
    ) -> list[Rate | None]:
        """Return the learning rate of a `whole`, or of each layer, under the parameter's own name.

        DataError if one cannot begin a training of so many steps, 0 of which are none.
        """
        given = getattr(self, name)
        given = [given] if whole else per_layer(name, given, len(steps))
        rates = [None if one is None else check_rate(name, one) for one in given]
        for rate, n_steps in zip(rates, steps, strict=True):
            if continued and isinstance(rate, Cosine) and rate.steps is None:
                raise DataError(
                    f"{name}: expected Cosine(..., steps=) for partial_fit, which does not know "
                    f"where the last pass ends, got {shown(rate)}"
                )
            if rate is not None and n_steps and not continued:
                rate.check(0, n_steps)
        return rates

    def _batch_size(self, n_samples: int) -> int:
        return min(check_int("batch_size", self.batch_size, 1), n_samples)

    def _steps_of(self, passes: int, n_samples: int) -> int:
        """Return the steps of so many passes over the rows."""
        return -(-passes * n_samples // self._batch_size(n_samples))

    def _evaluations(self, steps: int, one_pass: int) -> int:
        """Return the steps between two points of a curve: a pass, or a share of many."""
        if self.eval_every is not None:
            return check_int("eval_every", self.eval_every, 0)
        return max(one_pass, -(-steps // POINTS))

    def _options(self, X: Any, most_steps: int) -> dict[str, Any]:
        """Return what every training on X takes, the longest of which is of so many steps."""
        one_pass = self._steps_of(1, X.shape[0])
        return {
            "batch_size": self._batch_size(X.shape[0]),
            "weight_decay": self.weight_decay,
            "eval_every": self._evaluations(most_steps, one_pass),
            "scale": self.scale,
            "optimizer": self.optimizer,
            "callbacks": self.callbacks,
            "progress": bool(self.verbose),
        }

    def _pretrain(
        self, net: StackedAutoencoder, X: Any, steps: list[int], learning_rate: Any, **options: Any
    ) -> list[History]:
        """Pretrain the network; `steps` and `learning_rate` have been checked."""
        noise = check_corruption(self.corruption, self.dtype)
        if not any(steps):
            return []
        options = {**self._options(X, max(steps)), "corruption": noise, **options}
        return net.pretrain(X, steps=steps, learning_rate=learning_rate, **options)

    def __sklearn_tags__(self) -> Any:  # noqa: D105
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def rows_of(which: NDArray[Any], X: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Return some of the rows, and what belongs to them; of a source in its order."""
    if isinstance(X, DataSource):
        which = np.flatnonzero(which) if which.dtype == bool else np.sort(which)
        X = SubsetSource(X, which)
    else:
        X = X[which]
    return X, *(None if one is None else one[which] for one in (y, weight))
