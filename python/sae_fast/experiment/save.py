# SPDX-License-Identifier: BSD-3-Clause
"""The folder of an experiment: numbers, models, pictures, report; and the result that writes it."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .. import plot
from ..base.checks import check_path
from ..errors import OutputError, SaeFastError
from .pictures import PICTURES, save_pictures
from .report import write_report
from .results import Findings
from .settings import ARMS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Every name that `ExperimentResult.save` may write; what a run leaves out, it removes.
OUTPUT_NAMES = (
    "result.json",
    *(f"{name}.png" for name in PICTURES),
    "report.html",
    "model.safetensors",
    *(f"model-{arm}.safetensors" for arm in ARMS),
)


@dataclasses.dataclass(repr=False)
class ExperimentResult(Findings):
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

    def plot_accuracy(self, ax: Axes | None = None) -> Axes:
        """Draw the test accuracy of every arm; see :func:`sae_fast.plot.plot_accuracy`."""
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
        try:
            drawn = save_pictures(self, folder)
        except ImportError:
            drawn = {}
        page = folder / "report.html"
        write_report(self, page, drawn)
        return [*drawn.values(), page]


def check_output(output: str | os.PathLike[str]) -> Path:
    """Make sure, before any training, that a folder is there and can be written, and return it.

    OutputError names the path and the reason.
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
