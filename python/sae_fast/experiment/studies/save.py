# SPDX-License-Identifier: BSD-3-Clause
"""The folder of a study: its settings, a file of each run, and what is made from them.

The settings are written first, so that a study that was broken off can be taken up without them.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...base.checks import check_path
from ...base.files import read_file, write_file
from ...errors import CheckpointError, DataError, OutputError
from ..pictures import save_pictures
from ..results import SCHEMA, plain
from ..save import check_output
from ..settings import StudySettings, options, written
from . import pictures
from .report import write_report
from .results import Findings
from .runs import FOLDER, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SETTINGS = "settings.json"
#: Every name that `StudyResult.save` may write; what a study leaves out, it removes.
OUTPUT_NAMES = (
    "study.json",
    "runs.csv",
    "runs.parquet",
    *(f"{name}.png" for name in pictures.PICTURES),
    "report.html",
)


@dataclasses.dataclass(repr=False)
class StudyResult(Findings):
    """Everything that `sae-fast study` found out.

    Attributes
    ----------
    dataset : dict
        ``name``, ``n_train``, ``n_test`` and ``sha256``.
    config : dict
        Every setting.
    runs : list of Run
        Each has ``arm``, ``seed``, ``settings`` (of the grid), ``accuracy`` (a share),
        ``steps_to_90`` (infinite if never), ``collapsed``, ``dead_units``, ``seconds`` and its
        ``curve``, an `ArmResult` (None if it diverged).
    arms : dict of str to Sample
        The runs of each arm; with a grid, of each arm at each of its points. Each has its ``runs``,
        ``accuracies``, ``mean_ci95``, ``median_ci95``, ``steps_to_90``, ``steps_ci95``,
        ``n_collapsed``, ``collapsed_ci95`` and ``dead_units`` (means, per layer).
    pairs : list of Pair
        Comparisons of two of them, ``a`` and ``b``, seed by seed: ``accuracy`` and ``steps`` have
        the ``differences``, a less b, their ``median``, its ``ci95``, and the ``test``: p-value and
        effect size.
    conclusion : str
        What may be concluded, and what may not; a line for each pair.
    missing : list of dict
        Runs that are not there: those of other shards, and those that failed with an ``error``.
    environment : dict
        As :func:`sae_fast.info` gives it, the path of Python left out.

    Examples
    --------
    >>> import sae_fast
    >>> data = sae_fast.datasets.load_strokes(n_train=300, n_test=100)
    >>> study = sae_fast.run_study(
    ...     dataset=data, hidden=[9, 5], arms=["normal", "he"], seeds=3, finetune_steps=60,
    ...     quiet=True
    ... )
    >>> [pair] = study.pairs
    >>> pair.title, len(pair.accuracy.differences)
    ('normal - he', 3)
    >>> low, high = study.arms["he"].mean_ci95
    >>> low <= sum(study.arms["he"].accuracies) / 3 <= high
    True
    """

    def plot_accuracy(self, ax: Axes | None = None) -> Axes:
        """Draw every run's test accuracy faintly, and each arm's median and quartiles."""
        return pictures.plot_accuracy(self, ax)

    def plot_steps_to_90(self, ax: Axes | None = None) -> Axes:
        """Draw each run at the step at which it reached 90 %."""
        return pictures.plot_steps_to_90(self, ax)

    def plot_differences(self, ax: Axes | None = None) -> Axes:
        """Draw the differences in final accuracy of runs of one seed."""
        return pictures.plot_differences(self, ax)

    def plot_dead_units(self, ax: Axes | None = None) -> Axes:
        """Draw the mean number of dead units of each hidden layer."""
        return pictures.plot_dead_units(self, ax)

    def save(self, output: str | os.PathLike[str]) -> list[Path]:
        """Write ``study.json``, ``runs.csv``, ``runs.parquet``, pictures and report into a folder.

        Each file appears whole, by an atomic rename. Without pyarrow there is no Parquet, without
        matplotlib no pictures.

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
            If the folder or a file in it cannot be written, or it holds files of these names that
            no ``sae-fast study`` has written.
        """
        folder = check_folder(output)
        try:
            if not (folder / SETTINGS).exists():
                write_settings(folder, {**self.config, "data": self.dataset["sha256"]})
            document = json.dumps(self.to_dict(), allow_nan=False, indent=1) + "\n"
            saved = [write_file(folder / "study.json", document.encode())]
            rows = [_row(run) for run in self.runs]
            saved.append(write_file(folder / "runs.csv", _csv(rows)))
            with contextlib.suppress(ImportError):
                saved.append(write_file(folder / "runs.parquet", _parquet(rows)))
            drawn: dict[str, Path] = {}
            with contextlib.suppress(ImportError):
                drawn = save_pictures(self, folder, pictures.PICTURES)
            write_report(self, folder / "report.html", drawn)
            saved += [*drawn.values(), folder / "report.html"]
            for name in OUTPUT_NAMES:
                if folder / name not in saved:
                    (folder / name).unlink(missing_ok=True)  # of an earlier study
        except OSError as error:
            raise OutputError(f"output: cannot write to {str(folder)!r}: {error}") from error
        return saved


def check_folder(output: str | os.PathLike[str]) -> Path:
    """Return the folder of a study; OutputError if it cannot be written or is somebody else's."""
    return check_output(output, StudySettings.command, (*OUTPUT_NAMES, SETTINGS), SETTINGS)


def write_settings(folder: Path, kept: Mapping[str, Any]) -> None:
    """Write what a study can be taken up with, and make room for its runs."""
    document = {"schema": SCHEMA, "command": StudySettings.command, "settings": plain(dict(kept))}
    (folder / FOLDER).mkdir(exist_ok=True)
    write_file(folder / SETTINGS, (json.dumps(document, indent=1) + "\n").encode())


def read_settings(output: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return what `write_settings` wrote, None if there is none; CheckpointError if it is bad."""
    path = check_path("output", output) / SETTINGS
    try:
        document = json.loads(read_file(path))
        if (document["schema"], document["command"]) != (SCHEMA, StudySettings.command):
            raise DataError("not of a study")
        return dict(document["settings"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        hint = advice_on_runs(path.parent)
        why = f"{error!r}; {hint}" if hint else repr(error)
        raise CheckpointError(f"output: cannot read {str(path)!r}: {why}") from error


def advice_on_runs(folder: Path) -> str:
    """Say what to do with the runs of a study whose settings are lost, "" if there are none."""
    runs = folder / FOLDER
    if not any(runs.glob("*.json")):
        return ""
    return (
        f"what is computed is in {str(runs)!r}: move that into a new folder and start the study "
        "there with all its settings: its runs are read"
    )


def check_same(kept: Mapping[str, Any], given: Mapping[str, Any], folder: Path) -> None:
    """Raise DataError if a study differs in more than what extends it, and name all that does."""
    names = {option.name for option in options(StudySettings)} | {"data"}
    others = [
        (name, value, kept.get(name))
        for name, value in plain(dict(given)).items()
        if name in names and kept.get(name) != value
    ]
    if not others:
        return
    said = [
        f"data with the SHA-256 {value[:8]}… where it has {str(had)[:8]}…"
        if name == "data"
        else f"{name} {written(value)} where it has {written(had)}"
        for name, value, had in others
    ]
    which = ", ".join("dataset" if name == "data" else name for name, _, _ in others)
    raise DataError(
        f"{which}: expected the settings in {str(folder / SETTINGS)!r}, got {'; '.join(said)}"
    )


def _row(run: Run) -> dict[str, Any]:
    """Return a run as a row of a table, which has a column for each setting and each layer."""
    row = run.to_dict()
    dead, settings = row.pop("dead_units"), row.pop("settings")
    return {
        **{name: row.pop(name) for name in ("arm", "seed")},
        **{
            name: written(value) if isinstance(value, list) else value
            for name, value in settings.items()
        },
        **row,
        **{f"dead_units_{layer}": count for layer, count in enumerate(dead, 1)},
    }


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    """Return the rows as Parquet; ImportError without pyarrow."""
    import pyarrow
    import pyarrow.parquet

    def column(values: list[Any]) -> Any:
        try:
            return pyarrow.array(values)
        except (pyarrow.ArrowException, OverflowError):  # "auto" beside numbers, or 2⁶³
            return pyarrow.array([None if value is None else written(value) for value in values])

    names = _columns(rows)
    table = pyarrow.table({name: column([row.get(name) for row in rows]) for name in names})
    target = io.BytesIO()
    pyarrow.parquet.write_table(table, target)
    return target.getvalue()
