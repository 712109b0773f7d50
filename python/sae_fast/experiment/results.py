# SPDX-License-Identifier: BSD-3-Clause
"""What a run found out: plain records, their JSON form and their tables.

Nothing here trains or touches the extension, so results can be built, tested and read back on
their own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.text import Described, Table, number, percent

SCHEMA = 1
#: An accuracy that says, on the article's data, that an arm has learned.
LEARNED = 0.90


@dataclasses.dataclass(repr=False)
class LayerResult(Described):
    """Pretraining of one layer: the curve of its autoencoder, and what it left.

    Attributes
    ----------
    layer : int
        Counted from 1.
    n_in, n_hidden : int
        Widths of the autoencoder's input and code.
    steps : list of int
        Step after which each loss was measured, counted from 1.
    loss : list of float
        Sums over the training set.
    dead_units : int
        Units that are dead on the training set.
    seconds : float
    """

    layer: int
    n_in: int
    n_hidden: int
    steps: list[int]
    loss: list[float]
    dead_units: int
    seconds: float

    def _line(self) -> str:
        loss = f"loss {number(self.loss[-1])}, " if self.loss else ""
        dead = f"{self.dead_units} of {self.n_hidden} units dead"
        return f"LayerResult {self.layer}, {self.n_in} → {self.n_hidden}: {loss}{dead}"


@dataclasses.dataclass(repr=False)
class TuningResult(Described):
    """Tuning of all layers as one autoencoder, after each has been pretrained.

    Attributes
    ----------
    steps : list of int
        Step after which each loss was measured, counted from 1.
    loss : list of float
        Sums over the training set.
    dead_units : list of int
        Per hidden layer: units that are dead on the training set.
    seconds : float
    """

    steps: list[int]
    loss: list[float]
    dead_units: list[int]
    seconds: float

    def _line(self) -> str:
        loss = f"loss {number(self.loss[-1])}, " if self.loss else ""
        return f"TuningResult: {loss}{sum(self.dead_units)} dead units"


@dataclasses.dataclass(repr=False)
class ArmResult(Described):
    """Fine-tuning of one arm.

    Attributes
    ----------
    steps : list of int
        Step after which each point of the curve was measured, counted from 1.
    test_loss : list of float
        Sums over the test set.
    test_accuracy : list of float
        Shares in ``[0, 1]``.
    dead_units : list of int
        Per hidden layer: units that are dead on the test set.
    seconds : float

    Examples
    --------
    >>> arm = ArmResult([100, 200], [900.0, 300.0], [0.55, 0.91], dead_units=[3, 0], seconds=0.2)
    >>> arm.first_step_at_90, arm.final_accuracy
    (200, 0.91)
    """

    steps: list[int]
    test_loss: list[float]
    test_accuracy: list[float]
    dead_units: list[int]
    seconds: float

    @property
    def final_accuracy(self) -> float:
        """Accuracy on the test set after the last step; NaN if none was measured."""
        return self.test_accuracy[-1] if self.test_accuracy else math.nan

    @property
    def first_step_at_90(self) -> int | None:
        """First evaluated step with an accuracy of at least 0.9, or None."""
        reached = (s for s, a in zip(self.steps, self.test_accuracy, strict=True) if a >= LEARNED)
        return next(reached, None)

    def _line(self) -> str:
        steps = f"{self.steps[-1]:,}" if self.steps else "0"
        dead = f"{sum(self.dead_units)} dead units"
        return f"ArmResult of {steps} steps: {percent(self.final_accuracy)}, {dead}"


@dataclasses.dataclass(repr=False)
class Reconstructions(Described):
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

    def _line(self) -> str:
        rows = (f"{name} (MSE {mse:.4g})" for name, _, mse in self.rows)
        return f"Reconstructions of {len(self.originals)} samples: {', '.join(rows)}"


@dataclasses.dataclass(repr=False)
class Findings(Described):
    """All that `ExperimentResult` holds and says; it saves and draws as well."""

    command: str
    dataset: dict[str, Any]
    config: dict[str, Any]
    pretraining: list[LayerResult]
    arms: dict[str, ArmResult]
    seconds: float
    environment: dict[str, Any]

    reconstructions: Reconstructions | None = None
    first_weights: dict[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    models: dict[str, Any] = dataclasses.field(default_factory=dict)
    y_test: NDArray[np.int64] | None = None
    predictions: dict[str, NDArray[np.int64]] = dataclasses.field(default_factory=dict)
    codes: dict[str, NDArray[np.float32]] = dataclasses.field(default_factory=dict)
    resumed: bool = False
    tuning: TuningResult | None = None

    @property
    def hidden(self) -> list[int]:
        """Units of each hidden layer, from the input up."""
        pretrained = [layer.n_hidden for layer in self.pretraining]
        return [int(units) for units in self.config.get("hidden", pretrained)]

    @property
    def unrolled(self) -> str:
        """What is tuned, in words: from the input to the code and back."""
        n_features = self.pretraining[0].n_in
        return f"{n_features} → {self.hidden[-1]} → {n_features}"

    @property
    def restored(self) -> list[LayerResult | TuningResult]:
        """What learned to restore: the layers that were pretrained, and all of them as one."""
        trained: list[LayerResult | TuningResult] = [*self.pretraining]
        return [one for one in trained + ([self.tuning] if self.tuning else []) if one.steps]

    @property
    def heading(self) -> str:
        """One line: the command, the data set and its size."""
        return (
            f"sae-fast {self.command} on {self.dataset.get('name')}: "
            f"{self.dataset.get('n_train', 0):,} training samples, "
            f"{self.dataset.get('n_test', 0):,} test samples"
        )

    @property
    def trained(self) -> str:
        """How long the trainings took."""
        since = " since it was resumed" if self.resumed else ""
        return f"trained in {self.seconds:.1f} s{since}"

    def collapse(self, arm: str) -> str | None:
        """Say how an arm collapsed.

        Parameters
        ----------
        arm : str
            Name of the arm.

        Returns
        -------
        str or None
            What lets nothing through: below 90 %, a hidden layer of which dead units leave one or
            none, ``"all 5 units of hidden layer 6 are dead"``; or that the arm does no better than
            a guess. None if it did not collapse.
        """
        chance = None if self.y_test is None else chance_of(self.y_test)
        return how_collapsed(self.arms[arm], self.hidden, chance)

    def verdict(self, arm: str) -> str:
        """Say in a line how an arm ended: that it learned, collapsed or is not finished.

        Parameters
        ----------
        arm : str
            Name of the arm.

        Returns
        -------
        str
            What :meth:`collapse` says if the arm collapsed; below 90 % without it an arm is called
            not finished.

        Examples
        --------
        >>> import sae_fast
        >>> arm = sae_fast.ArmResult([100, 200], [9e3, 3e3], [0.55, 0.91], [3], 0.2)
        >>> arms, config = {"he": arm}, {"hidden": [20]}
        >>> result = sae_fast.ExperimentResult("run", {}, config, [], arms, 0.2, {})
        >>> result.verdict("he")
        'he: 91.00 %, 90 % at step 200'
        """
        run = self.arms[arm]
        accuracy = percent(run.final_accuracy)
        if how := self.collapse(arm):
            return f"{arm} collapsed: {accuracy}, {how}"
        if run.final_accuracy >= LEARNED:
            return f"{arm}: {accuracy}, 90 % at step {run.first_step_at_90:,}"
        return f"{arm} not finished: {accuracy}, more steps may help"

    @property
    def verdicts(self) -> list[str]:
        """How it ended: a line for each arm or, where there are none, for each reconstruction."""
        rows = [] if self.arms or not self.reconstructions else self.reconstructions.rows
        errors = (f"{name}: mean squared error {mse:.4g} per feature" for name, _, mse in rows)
        return [*map(self.verdict, self.arms), *errors]

    def _line(self) -> str:
        return self.heading

    def _tables(self) -> list[Table]:
        return self.tables()

    @property
    def first_loss(self) -> str:
        """What a table calls the first loss of a training, in words."""
        steps = next((layer.steps[0] for layer in self.pretraining if layer.steps), None)
        return "" if steps is None else f"at the first evaluation, after step {steps:,}"

    def _notes(self) -> list[str]:
        first = [f"first loss: {self.first_loss}"] if self.first_loss else []
        return [*first, *map(self.verdict, self.arms), self.trained]

    def __repr__(self) -> str:
        """Say what was run and how it ended."""
        return f"<{type(self).__name__}: {'; '.join([self.heading, *self.verdicts])}>"

    def tables(self) -> list[Table]:
        """Tables of a summary: autoencoders, tuning, arms, reconstructions: those there are."""
        hidden = self.hidden
        layers = [
            {
                "layer": str(layer.layer),
                "inputs": str(layer.n_in),
                "units": str(layer.n_hidden),
                "first loss": number(layer.loss[0]) if layer.loss else "-",
                "last loss": number(layer.loss[-1]) if layer.loss else "-",
                "dead units": str(layer.dead_units),
                "seconds": f"{layer.seconds:.1f}",
            }
            for layer in self.pretraining
        ]
        tuned = [
            {
                "autoencoder": self.unrolled,
                "first loss": number(tuning.loss[0]) if tuning.loss else "-",
                "last loss": number(tuning.loss[-1]) if tuning.loss else "-",
                "top units dead": f"{tuning.dead_units[-1]} of {hidden[-1]}",
                "all units dead": f"{sum(tuning.dead_units)} of {sum(hidden)}",
                "seconds": f"{tuning.seconds:.1f}",
            }
            for tuning in [self.tuning]
            if tuning
        ]
        arms = [
            {
                "arm": name,
                "accuracy": percent(arm.final_accuracy),
                "step at 90 %": "never" if (at := arm.first_step_at_90) is None else f"{at:,}",
                "top units dead": f"{arm.dead_units[-1]} of {hidden[-1]}",
                "all units dead": f"{sum(arm.dead_units)} of {sum(hidden)}",
                "seconds": f"{arm.seconds:.1f}",
            }
            for name, arm in self.arms.items()
        ]
        shown = self.reconstructions.rows if self.reconstructions else []
        errors = [{"method": name, "mean squared error": f"{mse:.4g}"} for name, _, mse in shown]
        tables = [
            Table("Pretraining" if self.arms else "Autoencoder", layers),
            Table("Tuning", tuned),
            Table("Fine-tuning", arms),
            Table("Reconstruction", errors),
        ]
        return [table for table in tables if table.rows]

    def to_dict(self) -> dict[str, Any]:
        """Give what goes into ``result.json``, in plain Python types.

        Returns
        -------
        dict
            Strictly valid JSON: NumPy's scalars and arrays are converted, and a number that JSON
            does not know (NaN, infinite) is None.
        """
        derived = ("final_accuracy", "first_step_at_90")
        arms = {
            name: {
                **vars(arm),
                **{what: getattr(arm, what) for what in derived},
                "collapsed": self.collapse(name) is not None,
            }
            for name, arm in self.arms.items()
        }
        fields = ("command", "dataset", "config", "pretraining", "arms", "seconds", "environment")
        values = {name: getattr(self, name) for name in fields}
        layers = [vars(layer) for layer in self.pretraining]
        document: dict[str, Any] = plain(
            {
                "schema": SCHEMA,
                **values,
                "pretraining": layers,
                **({"tuning": vars(self.tuning)} if self.tuning else {}),
                "arms": arms,
            }
        )
        return document


def chance_of(y: NDArray[Any]) -> float:
    """Return the accuracy of naming the most frequent of the classes `y` every time."""
    counts = np.unique(y, return_counts=True)[1]
    return float(counts.max() / counts.sum())


def how_collapsed(arm: ArmResult, hidden: Sequence[int], chance: float | None) -> str | None:
    """Say how an arm collapsed, as `Findings.collapse` does; None if it did not."""
    layers = enumerate(zip(arm.dead_units, hidden, strict=False), 1)
    alive = [(units - dead, layer, units) for layer, (dead, units) in layers if dead]
    left, layer, units = min(alive, default=(2, 0, 0))
    if arm.final_accuracy < LEARNED and left < 2:
        how_many = f"{units - left} of {units}" if left else f"all {units}"
        return f"{how_many} units of hidden layer {layer} are dead"
    if chance is not None and arm.final_accuracy <= chance:
        return "no better than naming the same class every time"
    return None


def plain(value: Any) -> Any:
    """Turn a value into what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
