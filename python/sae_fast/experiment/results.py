# SPDX-License-Identifier: BSD-3-Clause
"""What a run produced: plain records, their JSON form, their tables, and the files they go into.

Nothing here trains or touches the extension, so results can be built, tested and read back on
their own.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..base.checks import check_path
from ..base.text import Table, number, percent
from ..errors import OutputError, SaeFastError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = 1
#: Below this final accuracy a run counts as collapsed: all digits, or most, fall into one class.
COLLAPSE_ACCURACY = 0.90
#: Every name that `ExperimentResult.save` may write; what a run leaves out, it removes.
OUTPUT_NAMES = (
    "result.json",
    "accuracy.png",
    "confusion.png",
    "dead_units.png",
    "codes.png",
    "reconstructions.png",
    "pretraining.png",
    "weights.png",
    "report.html",
    "model.safetensors",
    *(f"model-{arm}.safetensors" for arm in ("pretrained", "normal", "he")),
)


@dataclasses.dataclass
class LayerResult:
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
        Units that are zero on every training sample.
    seconds : float
    """

    layer: int
    n_in: int
    n_hidden: int
    steps: list[int]
    loss: list[float]
    dead_units: int
    seconds: float


@dataclasses.dataclass
class ArmResult:
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
        Per hidden layer: units that are zero on every test sample.
    seconds : float

    Examples
    --------
    >>> arm = ArmResult([100, 200], [900.0, 300.0], [0.55, 0.91], dead_units=[3, 0], seconds=0.2)
    >>> arm.first_step_at_90, arm.final_accuracy, arm.collapsed
    (200, 0.91, False)
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


LAYER_COLUMNS = ("layer", "inputs", "units", "first loss", "last loss", "dead units", "seconds")
ARM_COLUMNS = ("arm", "accuracy", "step at 90 %", "top units dead", "all units dead", "seconds")
RECONSTRUCTION_COLUMNS = ("method", "mean squared error")


@dataclasses.dataclass
class ExperimentResult:
    """Everything that `sae-fast run` or `sae-fast reconstruct` found out.

    The first group of fields goes into ``result.json``; the second is what the pictures and the
    model files are made from. `sae-fast reconstruct` trains one autoencoder and no arm.

    Attributes
    ----------
    command : {"run", "reconstruct"}
    dataset : dict
        ``name``, ``n_train``, ``n_test`` and ``sha256``.
    config : dict
        Every setting.
    pretraining : list of LayerResult
        One per autoencoder, from the input up.
    arms : dict of str to ArmResult
        In the order asked for.
    seconds : float
        Wall time, from data in memory to the last result.
    environment : dict
        As :func:`sae_fast.info` gives it.
    reconstructions : Reconstructions or None
    first_weights : dict of str to ndarray, shape (n_features, n_hidden)
        Of each arm's first layer, or of the autoencoder.
    models : dict of str to Autoencoder or StackedAutoencoder
    y_test : ndarray of shape (n_test,), or None
        Classes of the test samples.
    predictions : dict of str to ndarray, shape (n_test,)
        Classes that each arm takes them for.
    codes : dict of str to ndarray, shape (n_shown, n_hidden)
        Of the first test samples, by what made them.
    """

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

    @property
    def hidden(self) -> list[int]:
        """Units of each hidden layer, from the input up."""
        pretrained = [layer.n_hidden for layer in self.pretraining]
        return [int(units) for units in self.config.get("hidden", pretrained)]

    @property
    def heading(self) -> str:
        """One line: the command, the data set and its size."""
        return (
            f"sae-fast {self.command} on {self.dataset.get('name')}: "
            f"{self.dataset.get('n_train', 0):,} training samples, "
            f"{self.dataset.get('n_test', 0):,} test samples"
        )

    def collapse(self, arm: str) -> str | None:
        """Say how an arm collapsed.

        Parameters
        ----------
        arm : str
            Name of the arm.

        Returns
        -------
        str or None
            Its final accuracy, and the dead units of the first layer that is dead altogether, else
            of the top layer: ``"11.35 %, all 5 units of hidden layer 6 are dead"``. None if it did
            not collapse.
        """
        run = self.arms[arm]
        if not run.collapsed:
            return None
        layers = list(zip(run.dead_units, self.hidden, strict=True))
        layer, (dead, units) = next(
            ((at, counts) for at, counts in enumerate(layers, 1) if counts[0] == counts[1]),
            (len(layers), layers[-1]),
        )
        how_many = f"all {units}" if dead == units else f"{dead} of {units}"
        return f"{percent(run.final_accuracy)}, {how_many} units of hidden layer {layer} are dead"

    def tables(self) -> list[Table]:
        """Tables of a summary: autoencoders, arms, reconstructions, as far as there are any."""
        tables = []
        if self.pretraining:
            title = "Pretraining" if self.arms else "Autoencoder"
            tables.append(Table(title, LAYER_COLUMNS, [_layer_row(la) for la in self.pretraining]))
        if self.arms:
            rows = [_arm_row(name, arm, self.hidden) for name, arm in self.arms.items()]
            tables.append(Table("Fine-tuning", ARM_COLUMNS, rows))
        if self.reconstructions:
            errors = [(label, f"{mse:.4g}") for label, _, mse in self.reconstructions.rows]
            tables.append(Table("Reconstruction", RECONSTRUCTION_COLUMNS, errors))
        return tables

    def summary(self) -> str:
        """Sum the run up in plain text, at most 100 columns wide.

        Returns
        -------
        str
            The tables, every collapsed arm by name, and the wall time.
        """
        collapsed = [
            f"{arm} collapsed: {how}"
            for arm in self.arms
            if (how := self.collapse(arm)) is not None
        ]
        blocks = [self.heading, *(table.text() for table in self.tables())]
        if collapsed:
            blocks.append("\n".join(collapsed))
        return "\n\n".join([*blocks, f"{self.seconds:.1f} seconds in all"])

    def to_dict(self) -> dict[str, Any]:
        """Give what goes into ``result.json``, in plain Python types.

        Returns
        -------
        dict
            Strictly valid JSON: NumPy's scalars and arrays are converted, and a number that JSON
            does not know (NaN, infinite) is None.
        """
        arms = {
            name: {
                "steps": arm.steps,
                "test_loss": arm.test_loss,
                "test_accuracy": arm.test_accuracy,
                "final_accuracy": arm.final_accuracy,
                "first_step_at_90": arm.first_step_at_90,
                "seconds": arm.seconds,
                "dead_units": arm.dead_units,
                "collapsed": arm.collapsed,
            }
            for name, arm in self.arms.items()
        }
        document: dict[str, Any] = _plain(
            {
                "schema": SCHEMA,
                "command": self.command,
                "dataset": self.dataset,
                "config": self.config,
                "pretraining": [dataclasses.asdict(layer) for layer in self.pretraining],
                "arms": arms,
                "seconds": self.seconds,
                "environment": self.environment,
            }
        )
        return document

    def plot_accuracy(self, ax: Axes | None = None) -> Axes:
        """Draw the test accuracy of every arm; see :func:`sae_fast.plot.plot_accuracy`."""
        from .. import plot

        return plot.plot_accuracy(self, ax)

    def save(self, output: str | os.PathLike[str]) -> list[Path]:
        """Write everything into a folder: numbers, models, pictures, report.

        Each file appears whole, by an atomic rename. Numbers and models come first, so that
        nothing that befalls the pictures can lose them. Where a ``result.json`` is, files of that
        earlier run which this one does not replace (`OUTPUT_NAMES`) are removed; all others stay.
        Without matplotlib there are no pictures, and the report says so.

        Parameters
        ----------
        output : path-like
            Folder, created if need be.

        Returns
        -------
        list of Path
            The files written.

        Raises
        ------
        OutputError
            If the folder or a file in it cannot be written.
        """
        folder = check_output(output)
        try:
            with tempfile.TemporaryDirectory(prefix=".sae-fast-", dir=folder) as stage:
                files = self._write_numbers(Path(stage))
                if (folder / "result.json").exists():
                    for stale in set(OUTPUT_NAMES).difference(file.name for file in files):
                        (folder / stale).unlink(missing_ok=True)
                saved = [file.replace(folder / file.name) for file in files]
                files = self._write_pictures(Path(stage))
                saved += [file.replace(folder / file.name) for file in files]
        except SaeFastError:
            raise
        except OSError as error:
            raise OutputError(f"output: cannot write to {str(folder)!r}: {error}") from error
        return saved

    def _write_numbers(self, folder: Path) -> list[Path]:
        """Write ``result.json`` and the models."""
        files = [folder / "result.json"]
        files[0].write_text(json.dumps(self.to_dict(), allow_nan=False, indent=1) + "\n", "utf-8")
        for arm, model in self.models.items():
            name = f"model-{arm}.safetensors" if len(self.models) > 1 else "model.safetensors"
            files.append(folder / name)
            model.save(folder / name)
        return files

    def _write_pictures(self, folder: Path) -> list[Path]:
        """Write the pictures, if matplotlib is there, and the report."""
        from . import pictures, report

        try:
            drawn = pictures.save_pictures(self, folder)
        except ImportError:
            drawn = {}
        page = folder / "report.html"
        report.write_report(self, page, drawn)
        return [*drawn.values(), page]


def check_output(output: str | os.PathLike[str]) -> Path:
    """Make sure, before any training, that a folder can be written.

    Parameters
    ----------
    output : path-like
        Folder, created with its parents if need be.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        With the path and the reason, if it cannot be created or written.
    """
    folder = check_path("output", output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".sae-fast-", dir=folder):
            pass
    except FileExistsError as error:
        raise OutputError(f"output: {str(folder)!r} is a file, expected a folder") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"output: cannot write to {str(folder)!r}: {reason}") from error
    return folder


def _layer_row(layer: LayerResult) -> tuple[str, ...]:
    first, last = (number(layer.loss[0]), number(layer.loss[-1])) if layer.loss else ("-", "-")
    return (
        str(layer.layer),
        str(layer.n_in),
        str(layer.n_hidden),
        first,
        last,
        str(layer.dead_units),
        f"{layer.seconds:.1f}",
    )


def _arm_row(name: str, arm: ArmResult, hidden: list[int]) -> tuple[str, ...]:
    first = arm.first_step_at_90
    return (
        name,
        percent(arm.final_accuracy),
        "never" if first is None else f"{first:,}",
        f"{arm.dead_units[-1]} of {hidden[-1]}",
        f"{sum(arm.dead_units)} of {sum(hidden)}",
        f"{arm.seconds:.1f}",
    )


def _plain(value: Any) -> Any:
    """Turn a value into what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
