# SPDX-License-Identifier: BSD-3-Clause
"""A disk that fails at any moment of a save leaves a checkpoint, or a model, that loads.

Every call that a save makes fails in turn, once or from then on, in a process with `faults.c`
before its C library.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sae_fast
from sae_fast import Autoencoder, RunCheckpoint
from sae_fast.errors import CheckpointError

from .row import ROOT, NotHereError, Row, python
from .runs import SECONDS

FAULTS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "short write": -1}
X = np.random.default_rng(0).random((50, 8))


def _checkpoint_fit(folder: Path, steps: int) -> None:
    checkpoint = RunCheckpoint(folder, 10, resume=False)
    Autoencoder(8, 3).fit(X, steps=steps, batch_size=10, callbacks=[checkpoint])


def _step_kept(folder: Path) -> int:
    """Return the step of the checkpoint that loads."""
    checkpoint = RunCheckpoint(folder)
    return max(kept["step"] for kept in checkpoint._trainings.values())


class _Checkpoint:
    """Steps 10 and 20 are kept; then a run keeps 10 again, and more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        _checkpoint_fit(folder, 20)

    def save(self) -> None:
        _checkpoint_fit(self.folder, 10)

    def loads(self) -> bool:
        return _step_kept(self.folder) in (10, 20)

    def is_new(self) -> bool:
        return _step_kept(self.folder) == 10


class _Model:
    """A model of seed 1 is there; then one of seed 2 is saved."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "model.safetensors"
        Autoencoder(8, 3, seed=1).save(self.path)

    def save(self) -> None:
        Autoencoder(8, 3, seed=2).save(self.path)

    def loads(self) -> bool:
        return sae_fast.load(self.path).seed in (1, 2)

    def is_new(self) -> bool:
        return sae_fast.load(self.path).seed == 2


def _try_all(kind: Callable[[Path], Any]) -> list[str]:
    """Let every call of a save fail in turn; return what went wrong, and how many were tried."""
    faults = ctypes.CDLL(None)
    wrong, n_tried = [], 0
    for name, error in FAULTS.items():
        for lasting in (False, True):
            at = 0
            while True:
                at += 1
                with tempfile.TemporaryDirectory() as folder:
                    saved = kind(Path(folder))
                    failed = None
                    faults.faults_arm(at, error, lasting)
                    try:
                        saved.save()
                    except (CheckpointError, OSError) as caught:
                        failed = caught
                    finally:
                        n_calls = faults.faults_disarm()
                    if n_calls < at:
                        break
                    n_tried += 1
                    what = f"{kind.__name__}, {name} at call {at} of {n_calls}"
                    try:
                        if not saved.loads():
                            wrong.append(f"{what}: another one loads")
                        elif failed is None and not saved.is_new():
                            wrong.append(f"{what}: no error, and nothing saved")
                    except Exception as caught:
                        wrong.append(f"{what}: {caught!r}")
    return [*wrong, str(n_tried)]


def check(short: bool) -> tuple[str, bool]:
    """Build the library, and try all faults with it; there is no shorter form."""
    compiler = os.environ.get("CC") or shutil.which("cc")
    if sys.platform != "linux" or not compiler:
        raise NotHereError("Linux and a C compiler")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "faults.so")
        source = ROOT / "reliability" / "faults.c"
        command = [*compiler.split(), "-shared", "-fPIC", "-O1", "-o", str(library), str(source)]
        subprocess.run([*command, "-ldl"], check=True)
        process = python(
            "faults", env={**os.environ, "LD_PRELOAD": str(library)}, stdout=subprocess.PIPE
        )
        out, _ = process.communicate(timeout=10 * SECONDS)
    if process.returncode:
        return f"status {process.returncode}", False
    *wrong, n_tried = json.loads(out)
    figure = f"it loads after {int(n_tried) - len(wrong)} of {n_tried} faults"
    return "; ".join([figure, *wrong[:3]]), not wrong and int(n_tried) > 100


ROW = Row(
    "ENOSPC, EIO, short write at every write, sync and rename of a save",
    "the previous checkpoint always loads",
    check,
)


if __name__ == "__main__":
    found = [_try_all(kind) for kind in (_Checkpoint, _Model)]
    n_tried = sum(int(tried) for *_, tried in found)
    print(json.dumps([*(line for *wrong, _ in found for line in wrong), str(n_tried)]))
