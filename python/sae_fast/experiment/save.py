# SPDX-License-Identifier: BSD-3-Clause
"""The folder of an experiment: numbers, models, pictures, report; and the result that writes it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import plot
from ..base.checks import check_path
from ..base.files import read_file, write_file
from ..errors import OutputError
from .pictures import PICTURES, save_pictures
from .report import write_report
from .results import SCHEMA, Findings
from .settings import ARMS, COMMANDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: By which a command's folder is known: of a run, of a study.
MARKERS = ("result.json", "settings.json")
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
        Wall time, from data in memory to the end of the last training; of a run that was resumed,
        since then.
    environment : dict
        As :func:`sae_fast.info` gives it, the path of Python left out.
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
    resumed : bool
        Whether the run went on from a checkpoint.
    """

    def plot_accuracy(self, ax: Axes | None = None) -> Axes:
        """Draw the test accuracy of every arm; see :func:`sae_fast.plot.plot_accuracy`."""
        return plot.plot_accuracy(self, ax)

    def save(self, output: str | os.PathLike[str]) -> list[Path]:
        """Write everything into a folder: numbers, models, pictures, report.

        Each file appears whole, by an atomic rename, and keeps the mode of the one it replaces.
        ``result.json`` comes first, then the models, so that nothing that befalls the rest can lose
        them. Files of an earlier run of the same command (`OUTPUT_NAMES`) are replaced or removed;
        all others stay. Without matplotlib there are no pictures, and the report says so.

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
            If the folder or a file in it cannot be written: what else can be is written all the
            same, and named. Or if it holds files of these names that no earlier run of this command
            has written; nothing has changed then.
        """
        return self._save(output)

    def _save(
        self, output: str | os.PathLike[str], after_each: Callable[[], object] = lambda: None
    ) -> list[Path]:
        """Save it, and call what is given after each picture."""
        folder = check_output(output, self.command)
        document = json.dumps(self.to_dict(), allow_nan=False, indent=1) + "\n"
        saved, failures = [], []
        try:
            saved.append(write_file(folder / "result.json", document.encode()))
            try:
                for arm, model in self.models.items():
                    name = f"model-{arm}" if len(self.models) > 1 else "model"
                    try:
                        saved.append(model.save(folder / f"{name}.safetensors"))
                    except OSError as error:
                        failures.append(str(error))
                saved += self._write_pictures(folder, after_each)
            finally:
                for file in {folder / name for name in OUTPUT_NAMES}.difference(saved):
                    file.unlink(missing_ok=True)  # of an earlier run
        except OSError as error:
            failures.append(str(error))
        except KeyboardInterrupt as stop:
            if saved:
                names = ", ".join(file.name for file in saved)
                stop.args = (f"all was trained; written to {folder}: {names}",)
            raise
        if failures:
            written = ", ".join(file.name for file in saved) or "nothing"
            reasons = "; ".join(failures)
            raise OutputError(
                f"output: cannot write to {str(folder)!r}: {reasons}; written: {written}"
            )
        return saved

    def _write_pictures(self, folder: Path, after_each: Callable[[], object]) -> list[Path]:
        """Write the pictures, if matplotlib is there, and the report."""
        try:
            drawn = save_pictures(self, folder, after_each=after_each)
        except ImportError:
            drawn = {}
        page = folder / "report.html"
        write_report(self, page, drawn)
        return [*drawn.values(), page]


def check_output(
    output: str | os.PathLike[str],
    command: str,
    names: Sequence[str] = OUTPUT_NAMES,
    marker: str = "result.json",
) -> Path:
    """Make sure, before any training, that a command's output can be in a folder, and return it.

    OutputError if it cannot be written, or holds what a run would replace and is not this command's
    own, a file of these `names`: an earlier run is known by its `marker`.
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
    there = [name for name in names if os.path.lexists(folder / name)]
    found = _command_of(folder / marker)
    for other in MARKERS:
        if other != marker and (whose := _command_of(folder / other)) not in (None, command):
            there, found = [other], whose
    if there and found != command:
        whose = f"of sae-fast {found}" if found else f"that sae-fast {command} has not written"
        raise OutputError(
            f"output: expected a new folder, or one of an earlier sae-fast {command}, got "
            f"{str(folder)!r} with files {whose} ({', '.join(there)})"
        )
    return folder


@contextlib.contextmanager
def claimed_output(
    output: str | os.PathLike[str], check: Callable[[Any], Path], part: str = ""
) -> Iterator[Path]:
    """Check an output folder, and keep others out of it, or out of a part, until the end of this.

    OutputError as in `check`, or if another run has it. Nothing is kept out where the file system
    has no locks, or the lock belongs to another user. A folder that was made for nothing is
    removed.
    """
    import filelock

    there = os.path.lexists(check_path("output", output))
    folder = check(output)
    path = folder / f".sae-fast{part}.lock"
    lock = filelock.FileLock(path, timeout=0)  # gone with its process
    try:
        lock.acquire()
    except filelock.Timeout:
        parallel = any(name in os.environ for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK"))
        shared = "; `sae-fast run --distributed` shares one among the processes of an mpiexec"
        raise OutputError(
            f"output: expected a folder that no other run is using, got {str(folder)!r}"
            f"{shared * parallel}"
        ) from None
    except (OSError, NotImplementedError):
        pass
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # whatever becomes of the folder, the run's error counts
            if not there and {*folder.iterdir()} <= {path}:
                path.unlink(missing_ok=True)
                folder.rmdir()
        lock.release()


def _command_of(path: Path) -> str | None:
    """Return the command that wrote a ``result.json``, or None if it is none of ours."""
    try:
        document = json.loads(read_file(path))
        known = document["schema"] == SCHEMA and document["command"] in COMMANDS
        return document["command"] if known else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
