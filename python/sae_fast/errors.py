# SPDX-License-Identifier: BSD-3-Clause
"""Every error that sae_fast raises on purpose, and every warning.

Each derives from :class:`SaeFastError` and, where Python has a fitting type of its own, from that
too, so that ``except ValueError`` and ``except OSError`` keep working. Each message names the
argument, what came and what was expected.
"""

from __future__ import annotations

import sys
import warnings


class SaeFastError(Exception):
    """Base of all errors of this package."""


class DataError(SaeFastError, ValueError):
    """An argument or a data file does not fit."""


class DatasetUnavailableError(SaeFastError, OSError):
    """A data set is not on this machine and cannot be downloaded."""


class DivergenceError(SaeFastError, ArithmeticError):
    """A loss or a parameter became NaN or infinite during training.

    The model, and the optimizer's state with it, are those of the last evaluation that found all
    finite, or of the training's start.

    Attributes
    ----------
    phase : {"pretraining", "fine-tuning"} or None
        None if no training was under way.
    layer : int or None
        Of the autoencoder, counted from 1.
    step : int or None
        Steps done when it was noticed.
    """

    def __init__(
        self,
        message: str,
        *,
        phase: str | None = None,
        layer: int | None = None,
        step: int | None = None,
    ) -> None:
        super().__init__(message)
        self.phase, self.layer, self.step = phase, layer, step


class CheckpointError(SaeFastError, OSError):
    """A checkpoint cannot be written, read or resumed from."""


class ModelFileError(SaeFastError, ValueError):
    """A model file is damaged, or not one of ours."""


class OutputError(SaeFastError, OSError):
    """The output folder cannot be used.

    Attributes
    ----------
    result : ExperimentResult or None
        What a run has found that could not be written, or not all of it; its `save` can try again.
    """

    result: object = None


class ExecutorError(SaeFastError, RuntimeError):
    """The workers of a study are not there, cannot compute its runs, or have gone."""


class DistributedError(SaeFastError, RuntimeError):
    """A training cannot be shared with other processes, or one of them does not answer."""


class SaeFastWarning(UserWarning):
    """Base of all warnings of this package."""


class DeadUnitWarning(SaeFastWarning):
    """A training left half of a layer's units, or more, dead: the same on every sample."""


class ScaleWarning(SaeFastWarning):
    """Samples are of a size, or lie so far from zero, that training will hardly get anywhere."""


class UnlabelledWarning(SaeFastWarning):
    """Rows were taken for rows without a label."""


class EmptyClusterWarning(SaeFastWarning):
    """A clustering left some of the clusters without a sample."""


class UntrainedWarning(SaeFastWarning):
    """A model computes from its initial weights, which know nothing."""


def warn(message: str, category: type[Warning]) -> None:
    """Warn of something, at the line outside of this package that has led to it."""
    frame, level = sys._getframe(), 1
    package = __name__.partition(".")[0]
    while frame.f_back is not None and frame.f_globals["__name__"].partition(".")[0] == package:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
