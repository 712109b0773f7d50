# SPDX-License-Identifier: BSD-3-Clause
"""What a run produced: plain records, their JSON form and their summary as text.

Nothing here trains, draws or touches the extension, so results can be built, tested and read back
on their own.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = 1
#: Below this final accuracy a run counts as collapsed: all digits, or most, fall into one class.
COLLAPSE_ACCURACY = 0.90


@dataclasses.dataclass
class History:
    """Curve of one training phase, a point per evaluation.

    Attributes
    ----------
    steps : list of int
        Step after which each point was measured, counted from 1.
    loss : list of float
        Sum over the evaluated set (weight decay included where there is any).
    accuracy : list of float
        Share of right classes in ``[0, 1]``; empty for an autoencoder.
    seconds : float
        Wall time of the phase.
    """

    steps: list[int] = dataclasses.field(default_factory=list)
    loss: list[float] = dataclasses.field(default_factory=list)
    accuracy: list[float] = dataclasses.field(default_factory=list)
    seconds: float = 0.0


@dataclasses.dataclass
class LayerResult:
    """Pretraining of one layer: the curve of its autoencoder, and what it left."""

    layer: int  # counted from 1
    n_in: int
    n_hidden: int
    steps: list[int]
    loss: list[float]  # sum over the training set
    dead_units: int  # units that are zero on every training sample
    seconds: float


@dataclasses.dataclass
class ArmResult:
    """Fine-tuning of one arm."""

    steps: list[int]
    test_loss: list[float]  # sum over the test set
    test_accuracy: list[float]  # in [0, 1]
    dead_units: list[int]  # per hidden layer: units that are zero on every test sample
    seconds: float

    @property
    def final_accuracy(self) -> float:
        """Accuracy on the test set after the last step."""
        return self.test_accuracy[-1]

    @property
    def first_step_at_90(self) -> int | None:
        """First evaluated step with an accuracy of at least 0.9, or None."""
        reached = (s for s, a in zip(self.steps, self.test_accuracy, strict=True) if a >= 0.9)
        return next(reached, None)

    @property
    def collapsed(self) -> bool:
        """Whether the run ended below 90 % accuracy."""
        return self.final_accuracy < COLLAPSE_ACCURACY


@dataclasses.dataclass
class Reconstructions:
    """A few samples beside what is left of them after compression.

    Attributes
    ----------
    originals : ndarray, shape (n_images, n_features)
    rows : list of (label, images, mse)
        One row per method: its name, its images (as `originals`), and its mean squared error per
        pixel over the whole training set.
    image_shape : (height, width) or None
        None if the features are no image.
    """

    originals: NDArray[np.float32]
    rows: list[tuple[str, NDArray[np.float32], float]]
    image_shape: tuple[int, int] | None


@dataclasses.dataclass
class ExperimentResult:
    """Everything that `sae-fast run` or `sae-fast reconstruct` found out.

    The first group of fields goes into ``result.json``; the second is what the pictures and the
    model files are made from. `sae-fast reconstruct` trains one autoencoder and no arm.
    """

    command: str  # "run" or "reconstruct"
    dataset: dict[str, Any]  # "name", "n_train", "n_test", "sha256"
    config: dict[str, Any]  # every setting
    pretraining: list[LayerResult]  # one per autoencoder, in order
    arms: dict[str, ArmResult]  # in the order asked for
    seconds: float
    environment: dict[str, Any]  # as sae_fast.info()

    reconstructions: Reconstructions | None = None
    first_weights: dict[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    models: dict[str, Any] = dataclasses.field(default_factory=dict)
