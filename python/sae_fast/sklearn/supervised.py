# SPDX-License-Identifier: BSD-3-Clause
"""What the estimators share that learn something on top of their hidden layers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from ..base.checks import check_choice, check_float, check_int
from ..errors import DataError
from ..models.stacked import StackedAutoencoder
from ..training.callbacks import EarlyStopping
from ..training.history import History
from ..training.objective import check_dropout
from .estimator import POINTS, Estimator, rows_of

_LEARNING_RATE = 3e-3  # of fine-tuning where the rows allow it: it is short
_LEAST_STEPS = 300  # of fine-tuning, if nobody has said how many
_LONGER = 5  # times as many where early stopping decides, which else would hardly ever stop


class Supervised(Estimator):
    """From rows to what is known of some of them."""

    _losses: tuple[str, ...]
    history_: History

    def _check_settings(self) -> None:
        """Check what fine-tuning needs before anything is trained."""
        check_choice("loss", self.loss, self._losses)
        check_dropout(self.dropout, len(self._units()))
        self._rates("pretrain_learning_rate", [0] * len(self._units()))
        self._rates("learning_rate", [0], whole=True)
        check_float("weight_decay", self.weight_decay, positive=False)
        check_int("batch_size", self.batch_size, 1)
        check_int("patience", self.patience, 1)
        self._length("pretrain_", 1, minimum=0, layered=True, passes=1)
        self._length("", 1, passes=1)
        if self.eval_every is not None:
            check_int("eval_every", self.eval_every, 1 if self.early_stopping else 0)
        if check_float("validation_fraction", self.validation_fraction, positive=True) >= 1:
            raise DataError(
                f"validation_fraction: expected less than 1, got {self.validation_fraction!r}"
            )

    def _pretrain_first(self, net: StackedAutoencoder, X: Any) -> None:
        """Pretrain a network unless no steps are to be taken."""
        how = {"minimum": 0, "passes": 4, "at_least": 50}
        steps = self._length("pretrain_", X.shape[0], **how, layered=True)
        rates = self._rates("pretrain_learning_rate", steps)
        self.histories_ = self._pretrain(net, X, steps, rates)

    def _tuning(
        self,
        net: StackedAutoencoder,
        X: Any,
        y: NDArray[Any],
        sample_weight: NDArray[Any] | None,
        *,
        classes: bool = False,
        continued: bool = False,
    ) -> Callable[[], History]:
        """Return what fine-tunes on rows, whose y is classes or targets, as the network takes it.

        All is checked that could be refused once the network has been pretrained. If `continued`,
        for one pass whatever the settings.
        """
        callbacks, eval_set = list(self.callbacks or []), None
        if self.early_stopping and not continued:
            try:
                kept, aside = train_test_split(
                    np.arange(len(y)),
                    test_size=self.validation_fraction,
                    stratify=y if classes else None,
                    random_state=net.seed % 2**32,
                )
            except ValueError as error:
                each = " of each class" if classes else ""
                raise DataError(
                    f"validation_fraction: expected enough labelled rows to set "
                    f"{self.validation_fraction!r}{each} aside, got {len(y)}: {error}"
                ) from error
            eval_set = rows_of(aside, X, y, None)[:2]
            X, y, sample_weight = rows_of(kept, X, y, sample_weight)
            callbacks.append(EarlyStopping(patience=self.patience))
        n_samples = X.shape[0]
        steps = one_pass = self._steps_of(1, n_samples)
        if not continued:
            times = _LONGER if self.early_stopping else 1
            passes, at_least = 20 * times, _LEAST_STEPS * times
            (steps,) = self._length("", n_samples, passes=passes, at_least=at_least)
        (rate,) = self._rates("learning_rate", [steps], continued=continued, whole=True)
        options = self._options(X, steps) | {"callbacks": callbacks}
        if eval_set is None:
            eval_set = (X, y)
        elif self.eval_every is None:  # often enough to stop in time, not after a few steps
            options["eval_every"] = max(one_pass, _LEAST_STEPS // POINTS)
        net._most_rate = _LEARNING_RATE
        return functools.partial(
            net.finetune,
            X,
            y,
            sample_weight=sample_weight,
            steps=steps,
            learning_rate=rate,
            eval_set=eval_set,
            loss=self.loss,
            dropout=self.dropout,
            continued=continued,
            **options,
        )

    @property
    def loss_curve_(self) -> list[float]:
        """Loss per row at each evaluation of fine-tuning."""
        check_is_fitted(self)
        return self.history_.mean_loss
